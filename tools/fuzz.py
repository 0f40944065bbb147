"""Call the whole interface with hostile arguments, and read damaged files, for some time.

A call may return, or raise an error that says which argument is wrong and what is allowed; a file may be read, or
refused in a sentence that names it. Whatever else happens is a finding: a crash, ten seconds without an end, another
error, a warning, an argument that changed, a result of a wrong shape or dtype. Findings are printed with what
reproduces them, and make the exit status 1.

    python tools/fuzz.py --calls 1000000 --files 100000 --seed 1
    python tools/fuzz.py --seconds 180
    python tools/fuzz.py --seed 1 --first 4711 --calls 1     # one call again, in this process
"""

from __future__ import annotations

import argparse
import concurrent.futures
import faulthandler
import mmap
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

#: Seconds that a call may take on an idle machine, not counting the compilation of kernels, and that a compilation may.
HANG, COMPILATION = 10.0, 300.0

#: Address space of a worker beyond what it starts with: enough for all that is honest.
MEMORY = 6 << 30

#: Progress of a worker: index of the call at work, how many kernels are being compiled, findings.
PROGRESS = struct.Struct("qqq")

#: Calls of a worker before the next process takes over. Each loads the kernels that it meets, which takes seconds.
BATCH = 50_000


def work(kind: str, seed: int, first: int, count: int, progress: Any, until: float) -> int:
    """Make calls first ... first + count - 1 of a seed; return how many were findings."""
    import numpy as np
    from fuzzing.calls import make_call
    from fuzzing.files import FileJudge
    from fuzzing.judge import Judge
    from numba.core import event

    compiling = 0

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            nonlocal compiling
            compiling += 1
            report()

        def on_end(self, event: Any) -> None:
            nonlocal compiling
            compiling -= 1
            report()

    index, findings = first, 0

    def report() -> None:
        if progress is not None:
            progress[: PROGRESS.size] = PROGRESS.pack(index, compiling, findings)

    event.register("numba:compile", Listener())
    judge: Any = Judge() if kind == "calls" else FileJudge()
    for index in range(first, first + count):
        report()
        if time.time() > until:
            break
        rng = random.Random(f"{seed}:{kind}:{index}")
        with np.errstate(all="warn"):
            if kind == "calls":
                with np.errstate(all="ignore"):
                    call = make_call(rng)
                wrong, name = judge(call), call.name
            else:
                wrong, name = judge(rng)
        if wrong is not None:
            findings += 1
            print(f"FINDING --kind {kind} --seed {seed} --first {index} {name}: {wrong}", flush=True)
    else:
        index = first + count
    report()
    print("OUTCOMES", *(f"{kind}={number}" for kind, number in sorted(judge.outcomes.items())), flush=True)
    return findings


def supervise(kind: str, seed: int, first: int, count: int, until: float, workers: int, out: Any) -> tuple[int, int]:
    """Let worker processes make the calls; return how many were made, and the number of findings."""
    starts = iter(range(first, first + count, BATCH))
    lock = threading.Lock()

    def serve() -> tuple[int, int]:
        made, findings = 0, 0
        while time.time() < until:
            with lock:
                start = next(starts, None)
            if start is None:
                break
            more, wrong = _supervise_batch(kind, seed, start, min(BATCH, first + count - start), until, out)
            made, findings = made + more, findings + wrong
        return made, findings

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        served = [one.result() for one in [pool.submit(serve) for _ in range(workers)]]
    return sum(made for made, _ in served), sum(findings for _, findings in served)


def _supervise_batch(kind: str, seed: int, first: int, count: int, until: float, out: Any) -> tuple[int, int]:
    done, findings = first, 0
    while done < first + count and time.time() < until:
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(PROGRESS.size))
            file.flush()
            rest = first + count - done
            command = [sys.executable, str(HERE / "fuzz.py"),
                       "--worker", file.name, "--kind", kind, "--seed", str(seed),
                       "--first", str(done), "--calls", str(rest), "--until", str(until)]  # fmt: skip
            process = subprocess.Popen(command, stdout=out, stderr=out)
            with mmap.mmap(file.fileno(), PROGRESS.size, prot=mmap.PROT_READ) as progress:
                status, wrong = _watch(process, progress, first + count)
                index, _, found = PROGRESS.unpack(progress[: PROGRESS.size])
        findings += found
        if wrong is None and status == 0:
            done = index
            continue
        wrong = wrong or f"the process ended with status {status}"
        findings += 1
        print(f"FINDING --kind {kind} --seed {seed} --first {index}: {wrong}", file=out, flush=True)
        done = max(index, done) + 1
    return done - first, findings


def _watch(process: subprocess.Popen[bytes], progress: mmap.mmap, end: int) -> tuple[int, str | None]:
    last, since = b"", time.monotonic()
    while True:
        try:
            return process.wait(0.5), None
        except subprocess.TimeoutExpired:
            now = progress[: PROGRESS.size]
            if now != last:
                last, since = now, time.monotonic()
            index, kernels, _ = PROGRESS.unpack(now)
            compiling = kernels > 0 or not any(now) or index == end  # or it starts, or ends
            busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # other processes take their share
            if time.monotonic() - since > busy * (COMPILATION if compiling else HANG):
                process.send_signal(6)  # faulthandler prints where it is
                process.wait()
                return -6, f"no end within {HANG:g} s"


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=0, help="number of calls")
    parser.add_argument("--files", type=int, default=0, help="number of files")
    parser.add_argument("--seconds", type=float, help="stop after so long; without numbers, calls take 80 % of it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="index of the first call")
    parser.add_argument("--kind", choices=("calls", "files"), default="calls")
    parser.add_argument("--workers", type=int, default=2, help="number of processes at once")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=float("inf"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        _prepare()
        with open(given.worker, "r+b") as file, mmap.mmap(file.fileno(), PROGRESS.size) as progress:
            work(given.kind, given.seed, given.first, given.calls, progress, given.until)
        return 0
    if given.calls == 1 or given.files == 1:
        _prepare()
        return work(given.kind if given.calls else "files", given.seed, given.first, 1, None, float("inf")) > 0
    start = time.time()
    counts = {"calls": given.calls, "files": given.files}
    if not any(counts.values()):
        counts = dict.fromkeys(counts, 1 << 40)
    total = 0
    for kind, part in (("files", 0.2), ("calls", 1.0)):  # what a call takes beyond its time is that of compilations
        share = start + part * (given.seconds or float("inf"))
        made, findings = supervise(kind, given.seed, given.first, counts[kind], share, given.workers, sys.stdout)
        print(
            f"{kind}: {made} of seed {given.seed} from {given.first}, {findings} findings, {time.time() - start:.0f} s"
        )
        total += findings
    return total > 0


def _prepare() -> None:
    faulthandler.enable()
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")
    import lpsim.cli.inputs  # noqa: F401  # what is loaded counts before the limit

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))


if __name__ == "__main__":
    sys.exit(main())
