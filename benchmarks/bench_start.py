"""What a fresh process pays: the import, and the first call with and without Numba's cache on disk."""

import os
import subprocess
import sys
import tempfile


def seconds_in_a_fresh_process(statement, cache, setup="pass"):
    code = f"import time; {setup}; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    result = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return float(result.stdout.split()[-1])


class Start:
    params = ["lp.round([1.1], 'bf16')", "lp.add([1.1], [2.2], 'bf16')", "lp.matmul([[1.1]], [[2.2]])"]
    param_names = ("call",)
    timeout = 300

    def setup(self, call):
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self, call):
        self.folder.cleanup()

    def track_first_call_with_an_empty_cache(self, call):
        return seconds_in_a_fresh_process(call, self.folder.name, "import lpsim as lp")

    track_first_call_with_an_empty_cache.unit = "seconds"

    def track_first_call_with_a_warm_cache(self, call):
        seconds_in_a_fresh_process(call, self.folder.name, "import lpsim as lp")
        return min(seconds_in_a_fresh_process(call, self.folder.name, "import lpsim as lp") for _ in range(3))

    track_first_call_with_a_warm_cache.unit = "seconds"


def track_import_beyond_numba():
    with tempfile.TemporaryDirectory() as folder:
        return min(seconds_in_a_fresh_process("import lpsim", folder, "import numba, numpy") for _ in range(5))


track_import_beyond_numba.unit = "seconds"
