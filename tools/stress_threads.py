"""Call every operation from many threads and processes at once, and compare all bits with what one thread gets.

Under each of Numba's threading layers that can be loaded, while a parallel function of the user's own keeps that layer
at work: threads, a thread pool, process pools (fork, forkserver, spawn), joblib (threading, loky) and a worker of dask.
Prints what was called and how often; the exit status is 0 if all results were the same and nothing crashed or hung.

    python tools/stress_threads.py --calls 1000
    python tools/stress_threads.py --calls 20 --layers workqueue --ways threads fork
"""

from __future__ import annotations

import argparse
import concurrent.futures
import faulthandler
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).resolve().parent), *([] if "lpsim" in sys.modules else [str(ROOT)])]

#: What calls the operations; each but the first with a twentieth of the calls.
WAYS = ("threads", "executor", "fork", "forkserver", "spawn", "joblib-threading", "joblib-loky", "dask")

#: Seconds after which a layer's process prints where its threads are, and ends.
HANG = 3000

Results = dict[tuple[str, int], bytes]

_expected: Results = {}


def prepare(expected: Results) -> None:
    """Make a process ready to `check`."""
    import every_operation

    every_operation.split_small_work()
    _expected.update(expected)


def check(seed: int, calls: int) -> tuple[int, list[str]]:
    """Call every operation so often, in an order by the seed; return the number of calls and what differed."""
    import numpy as np
    from every_operation import VARIANTS, outcome

    rng, names, differ = np.random.default_rng(seed), sorted({name for name, _ in _expected}), []
    for _ in range(calls):
        for index in rng.permutation(len(names)):
            name, variant = names[index], int(rng.integers(VARIANTS))
            if outcome(name, variant) != _expected[name, variant]:
                differ.append(f"{name}, variant {variant}")
    return calls * len(names), differ


def _check_prepared(expected: Results, seed: int, calls: int) -> tuple[int, list[str]]:
    """Do `check` where no process can be made ready before."""
    if not _expected:
        prepare(expected)
    return check(seed, calls)


def _by_threads(count: int, calls: int) -> list[Any]:
    results: list[Any] = [None] * count

    def work(i: int) -> None:
        try:
            results[i] = check(i, calls)
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _by_executor(count: int, calls: int) -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(check, range(count), [calls] * count))


def _by_processes(method: str) -> Callable[[int, int], list[Any]]:
    def run(count: int, calls: int) -> list[Any]:
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, context, prepare, (_expected,)) as pool:
            return list(pool.map(check, range(count), [calls] * count))

    return run


def _by_joblib(backend: str) -> Callable[[int, int], list[Any]]:
    def run(count: int, calls: int) -> list[Any]:
        import joblib

        jobs = (joblib.delayed(_check_prepared)(_expected, i, calls) for i in range(count))
        workers = count if backend == "threading" else 2
        return list(joblib.Parallel(workers, backend=backend)(jobs))

    return run


def _by_dask(count: int, calls: int) -> list[Any]:
    import dask.distributed

    with (
        dask.distributed.LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=None) as cluster,
        dask.distributed.Client(cluster) as client,
    ):
        shared = client.scatter(_expected, hash=False)
        futures = [client.submit(_check_prepared, shared, i, calls, pure=False) for i in range(count)]
        return list(client.gather(futures))


_RUN: dict[str, Callable[[int, int], list[Any]]] = {
    "threads": _by_threads,
    "executor": _by_executor,
    **{method: _by_processes(method) for method in ("fork", "forkserver", "spawn")},
    **{f"joblib-{backend}": _by_joblib(backend) for backend in ("threading", "loky")},
    "dask": _by_dask,
}


def _parallel_loop(stop: threading.Event) -> None:
    """Keep Numba's threads at work, as a user's own function does."""
    import numba
    import numpy as np

    @numba.njit(parallel=True, nogil=True)  # type: ignore[untyped-decorator]
    def total(x: Any) -> Any:
        result = 0.0
        for i in numba.prange(x.size):
            result += x[i]
        return result

    x = np.ones(1000)
    while not stop.is_set():
        assert total(x) == 1000
        stop.wait(0.002)


def _importable(way: str) -> bool:
    needed = {"dask": "distributed", "joblib-threading": "joblib", "joblib-loky": "joblib"}.get(way)
    if needed is not None:
        return importlib.util.find_spec(needed) is not None
    return way in ("threads", "executor") or way in multiprocessing.get_all_start_methods()


def run_layer(layer: str, ways: list[str], threads: int, calls: int) -> bool:
    """Do all ways in this process, whose layer is ``layer``; return whether all results were the same."""
    import every_operation
    import numba

    faulthandler.dump_traceback_later(HANG, exit=True)
    _expected.update(every_operation.expected())
    every_operation.split_small_work()
    stop = threading.Event()
    user = threading.Thread(target=_parallel_loop, args=(stop,), daemon=True)
    user.start()
    good = True
    for way in ways:
        share = calls if way == "threads" else max(calls // 20, 1)
        start = time.perf_counter()
        results = _RUN[way](threads, share)
        seconds = time.perf_counter() - start
        total, differ = sum(count for count, _ in results), [one for _, some in results for one in some]
        each = f"{threads} x {share} calls x {len(every_operation.TABLE)} operations"
        print(f"{layer}, {way}: {each} = {total:,}, {len(differ)} differ, {seconds:.0f} s", flush=True)
        for one in sorted(set(differ)):
            print(f"  {one}: {differ.count(one)} times")
        good &= not differ and user.is_alive()
    assert numba.threading_layer() == layer
    stop.set()
    user.join()
    return good


def _layers(chosen: list[str]) -> Iterator[str]:
    for layer in chosen:
        code = f"from numba.np.ufunc import {layer if layer == 'workqueue' else layer + 'pool'}"
        if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0:
            yield layer
        else:
            print(f"{layer}: can't be loaded here")


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20, help="of each operation in each thread")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--layers", nargs="*", default=["omp", "tbb", "workqueue"])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--layer", help="of this process; for the tool itself")
    given = parser.parse_args()
    if given.layer is not None:
        return int(not run_layer(given.layer, given.ways, given.threads, given.calls))
    ways = [way for way in given.ways if _importable(way)]
    for way in given.ways:
        if way not in ways:
            print(f"{way}: not here")
    failed = 0
    for layer in _layers(given.layers):
        command = [sys.executable, __file__, "--layer", layer, "--calls", str(given.calls)]
        command += ["--threads", str(given.threads), "--ways", *ways]
        status = subprocess.run(command, env={**os.environ, "NUMBA_THREADING_LAYER": layer}, check=False).returncode
        if status:
            print(f"{layer}: exit status {status}", flush=True)
        failed |= bool(status)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
