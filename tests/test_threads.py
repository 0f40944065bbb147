"""Calls from many threads and processes, how many threads a call uses, and interrupts."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

import lpsim as lp
from lpsim import parts
from lpsim.cpu import gemm
from lpsim.cpu import threads as module
from lpsim.cpu.threads import check_stop, map_ranges

ROOT = Path(__file__).resolve().parents[1]
MOST = int(numba.config.NUMBA_NUM_THREADS)

needs_two = pytest.mark.skipif(MOST < 2, reason="needs two threads")


@pytest.fixture(autouse=True)
def everywhere() -> Iterator[None]:
    """Take back what a test sets for the whole process."""
    yield
    lp.set_num_threads(None)


def table() -> Any:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import every_operation
    finally:
        sys.path.pop(0)
    return every_operation


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@needs_two
def test_number_of_threads() -> None:
    before = lp.get_num_threads()
    with lp.threads(1):
        assert lp.get_num_threads() == 1
        lp.set_num_threads(2)
        with lp.threads(np.int64(2)):
            assert lp.get_num_threads() == 2
        assert lp.get_num_threads() == 1
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert pool.submit(lp.get_num_threads).result() == 2  # that of all threads, not that of this one
    assert lp.get_num_threads() == 2
    with pytest.raises(KeyError), lp.threads(1):
        raise KeyError
    assert lp.get_num_threads() == 2
    lp.set_num_threads(None)
    assert lp.get_num_threads() == before


@needs_two
def test_numba_s_number_counts_without_our_own() -> None:
    before = numba.get_num_threads()
    try:
        for n in (1, 2):
            numba.set_num_threads(n)
            assert lp.get_num_threads() == n
    finally:
        numba.set_num_threads(before)
    assert python("import lpsim as lp; print(lp.get_num_threads())", NUMBA_NUM_THREADS="1").stdout == "1\n"


@pytest.mark.parametrize("function", [lp.set_num_threads, lp.threads])
@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, f"n is 0; allowed: 1 to {MOST}, the NUMBA_NUM_THREADS of this process"),
        (-1, ValueError, "n is -1; allowed: 1 to"),
        (MOST + 1, ValueError, f"n is {MOST + 1}; allowed: 1 to {MOST}"),
        (1.0, TypeError, r"n is 1\.0; allowed: an integer"),
        (True, TypeError, "n is True; allowed: an integer"),
        ("2", TypeError, "n is '2'; allowed: an integer"),
    ],
)
def test_bad_numbers_of_threads(function: Any, n: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function(n)


@pytest.mark.parametrize("threads", [1, min(2, MOST)])
@pytest.mark.parametrize("smallest", [0.01, 1, 3, 16, 128])
@pytest.mark.parametrize("size", [0, 1, 15, 1000, 5000])
def test_ranges_cover_everything_once(
    size: int, smallest: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE", 4)
    ranges: list[tuple[int, int]] = []
    with lp.threads(threads):
        map_ranges(lambda *here: ranges.append(here), size, smallest=smallest)
    covered = [i for start, stop in sorted(ranges) for i in range(start, stop)]
    assert covered == list(range(size))
    most = max(int(4 * smallest), 1)
    assert all(stop - start <= most for start, stop in ranges)
    assert all(start % max(int(smallest), 1) in {0, *range(0, 129, 16)} for start, _ in ranges)


@needs_two
def test_a_call_within_a_call_is_by_one_thread() -> None:
    found: set[tuple[int, int]] = set()
    both = threading.Barrier(2, timeout=60)

    def outer(start: int, stop: int) -> None:
        both.wait()  # so that another thread takes part
        here = threading.get_ident()
        map_ranges(lambda *_: found.add((here, threading.get_ident())), 100, smallest=1)

    with lp.threads(2):
        map_ranges(outer, 2, smallest=1)
    assert len(found) == 2
    assert all(one == other for one, other in found)


@needs_two
def test_no_call_waits_for_a_busy_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads of the pool wait for the end of a call that asks it for help."""
    monkeypatch.setattr(module, "_pool", None)
    done, busy = threading.Event(), threading.Semaphore(0)

    def occupy() -> None:
        busy.release()
        assert done.wait(60)

    for _ in range(MOST):
        module._executor().submit(occupy)
    for _ in range(MOST):
        assert busy.acquire(timeout=60)
    ranges: list[Any] = []
    try:
        with lp.threads(2):
            map_ranges(lambda *here: ranges.append((here, threading.get_ident())), 10, smallest=1)
    finally:
        done.set()
    assert sum(stop - start for (start, stop), _ in ranges) == 10
    assert {thread for _, thread in ranges} == {threading.get_ident()}


@needs_two
def test_no_threads_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    x = np.linspace(0, 1, 1 << 20)
    expected = lp.round(x, "half", flags=True)
    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", refuse)
    with lp.threads(2):
        for one, other in zip(lp.round(x, "half", flags=True), expected, strict=True):
            assert np.array_equal(one, other)


@needs_two
@pytest.mark.parametrize("at_fault", ["the caller", "another"])
def test_an_error_ends_the_call(at_fault: str) -> None:
    caller, both, calls = threading.get_ident(), threading.Barrier(2, timeout=60), []
    failed = threading.Event()

    def work(start: int, stop: int) -> None:
        if not calls or len(calls) == 1:
            calls.append(start)
            both.wait()
            if (threading.get_ident() == caller) == (at_fault == "the caller"):
                failed.set()
                raise KeyError(at_fault)
            assert failed.wait(60)
            while True:  # a part that takes forever, if it does not look
                check_stop()
                time.sleep(0.001)
        calls.append(start)

    with lp.threads(2), pytest.raises(KeyError, match=at_fault):
        map_ranges(work, 10_000, smallest=1)
    assert len(calls) == 2
    done: list[int] = []
    with lp.threads(2):
        map_ranges(lambda start, stop: done.extend(range(start, stop)), 100, smallest=1)
    assert sorted(done) == list(range(100))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_another_thread_compiles() -> None:
    """The child compiles and uses threads itself."""
    held, forked = threading.Event(), threading.Event()

    def compile_slowly() -> None:
        with global_compiler_lock:
            held.set()
            forked.wait(0.5)  # no longer, as the fork waits for this

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    assert held.wait(60)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)
            with global_compiler_lock:
                numba.njit(lambda x: x + 1)(1)
            x = np.linspace(0, 1, 1 << 20)
            with lp.threads(1):
                expected = lp.round(x, "half", flags=True)[0]
            os._exit(0 if np.array_equal(lp.round(x, "half", flags=True)[0], expected) else 1)
        finally:
            os._exit(2)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    with global_compiler_lock:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_other_threads_compute() -> None:
    x, stop = np.linspace(-1, 1, 1 << 18), threading.Event()
    context = lp.Context("stochastic", seed=1)

    def work() -> bytes:
        return b"".join(np.asarray(one).tobytes() for one in (
            lp.round(x, "half", flags=True)[0],
            lp.matmul(x[: 1 << 14].reshape(128, 128), x[: 1 << 14].reshape(128, 128), "mi300.fp16"),
            lp.matmul(x.reshape(512, 512), x.reshape(512, 512), "tf32"),
        ))  # fmt: skip

    def keep_working() -> None:
        while not stop.is_set():
            work()
            for _ in range(50):
                context.next_seed()

    expected = work()
    threads = [threading.Thread(target=keep_working) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            child = os.fork()
            if child == 0:
                try:
                    signal.alarm(60)
                    context.next_seed()
                    os._exit(0 if work() == expected else 1)
                finally:
                    os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class _Slow(int):
    """A number to which adding lets other threads run."""

    def __add__(self, other: int) -> _Slow:
        time.sleep(0.001)
        return _Slow(int(self) + other)


def test_each_operation_of_a_shared_context_has_bits_of_its_own() -> None:
    context, alone = lp.Context("stochastic", seed=1), lp.Context("stochastic", seed=1)
    context._drawn = _Slow(0)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seeds = list(pool.map(lambda _: context.next_seed(), range(50)))
    assert sorted(seeds) == sorted(alone.next_seed() for _ in range(50))


def test_every_public_function_is_in_the_table() -> None:
    called = {name.split()[0] for name in table().TABLE}
    functions = {name for name in lp.__all__ if callable(getattr(lp, name)) and not isinstance(getattr(lp, name), type)}
    assert functions - called == {"set_num_threads"}


def test_no_threading_layer_is_started() -> None:
    done = python(
        "import every_operation, numba\n"
        "every_operation.split_small_work()\n"
        "every_operation.expected()\n"
        "[every_operation.outcome(name, 0) for name in every_operation.TABLE]\n"
        "try:\n"
        "    print(numba.threading_layer())\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Threading layer is not initialized.\n"


@pytest.mark.parametrize(
    ("layer", "ways"), [("omp", ["threads", "fork"]), ("workqueue", ["threads", "executor", "spawn"])]
)
def test_threads_and_processes(layer: str, ways: list[str]) -> None:
    """A short share of `tools/stress_threads.py`."""
    command = [sys.executable, str(ROOT / "tools" / "stress_threads.py"), "--calls", "1", "--layers", layer]
    done = subprocess.run([*command, "--ways", *ways], capture_output=True, text=True, check=False, timeout=300)
    if "can't be loaded" in done.stdout:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    for way in ways:
        if f"{way}: not here" not in done.stdout:
            assert f"{layer}, {way}: 16 x 1 calls x {len(table().TABLE)} operations" in done.stdout
    assert done.stdout.count(", 0 differ") == done.stdout.count("operations")


def test_the_stress_test_finds_a_difference() -> None:
    """And says so, if a result is not that of one thread."""
    done = python(
        "import every_operation as table, stress_threads as tool, sys\n"
        "table.TABLE = {'round': table.TABLE['round']}\n"
        "right, calls = table.outcome, []\n"
        "def wrong(*call):\n"
        "    calls.append(call)\n"
        "    return right(*call) + bytes(len(calls) == 30)\n"
        "table.outcome = wrong\n"
        "sys.exit(not tool.run_layer('workqueue', ['threads'], 4, 20))\n",
        NUMBA_THREADING_LAYER="workqueue",
    )
    assert done.returncode == 1, done.stderr
    assert ", 1 differ" in done.stdout


def half(**options: Any) -> lp.MatrixUnit:
    return lp.MatrixUnit("half", accumulator_format="half", **options)


UNITS = {
    "directed": half(rounding="toward_positive"),
    "reverse": half(order="reverse"),
    "stochastic": half(order="reverse", rounding="stochastic"),
    "kahan": half(order="kahan"),
    "pairwise": half(order="pairwise"),
    "interleaved": half(order="interleaved(3)"),
    "blocked": half(order="blocked(24, pairwise)", outer_format="float32"),
    "blocked kahan": half(order="blocked(16, kahan)"),
    "flushed": half(flush_results="after"),
    **{
        name: lp.units.get(name)
        for name in ("h100.fp16", "mi100.fp16", "mi200.bf16", "mi300.e4m3", "b200.mxfp4", "b200.nvfp4", "h100.e4m3_mma")
    },
}


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("stats", [False, True])
def test_long_sums_are_cut(name: str, stats: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Span by span of k, the results are the same."""
    unit, rng = UNITS[name], np.random.default_rng(1)
    a, b = rng.standard_normal((5, 400)), rng.standard_normal((400, 7))
    given: dict[str, Any] = {"seed": 3} if unit.is_stochastic else {}
    if unit.scale_format is not None:
        assert unit.scale_block is not None
        blocks = -(-400 // unit.scale_block)
        given = {"a_scale": np.exp2(rng.integers(-2, 3, (5, blocks))), "b_scale": np.ones((blocks, 7))}
    whole = lp.matmul(a, b, unit, c=0.5, stats=stats, **given)
    monkeypatch.setattr(parts, "_STEPS", 37)
    assert (len(parts.spans(unit, 400)) > 1) == (name not in ("stochastic", "kahan", "pairwise", "interleaved"))
    cut = lp.matmul(a, b, unit, c=0.5, stats=stats, **given)
    if stats:
        assert str(cut[1]) == str(whole[1])
        cut, whole = cut[0], whole[0]
    assert cut.tobytes() == whole.tobytes()


@pytest.mark.parametrize("unit", ["h100.fp16", "fp16_fp16acc", "mi300.fp16", half(order="kahan"), "mi100.fp64"])
@pytest.mark.parametrize("shape", [(70, 30, 1100), (1100, 30, 70), (1, 40, 700), (700, 40, 1)])
def test_products_are_cut(unit: Any, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rectangle by rectangle, the results are the same."""
    m, k, n = shape
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    whole = lp.matmul(a, b, unit, c=0.5)
    looks: list[None] = []
    monkeypatch.setattr(parts, "_PIECE", 50 * k)
    monkeypatch.setattr(parts, "_QUICK_PIECE", 50 * k)
    monkeypatch.setattr(parts, "check_stop", lambda: looks.append(None))
    assert lp.matmul(a, b, unit, c=0.5).tobytes() == whole.tobytes()
    assert len(looks) >= m * n // 50


@pytest.mark.parametrize("threads", [1, min(2, MOST)])
@pytest.mark.parametrize("shape", [(100, 50, 90), (3, 40, 60, 70), (64, 50, 20, 30)])
def test_tiles_are_cut(shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    *batch, m, k, n = shape
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal((*batch, *one)).astype(np.float32) for one in ((m, k), (k, n)))
    looks: list[None] = []
    with lp.threads(threads):
        whole = lp.matmul(a, b, "tf32")
        monkeypatch.setattr(gemm, "_PIECE", 1 << 10)
        monkeypatch.setattr(gemm, "_BLOCK", 1 << 10)
        monkeypatch.setattr(gemm, "check_stop", lambda: looks.append(None))
        assert lp.matmul(a, b, "tf32").tobytes() == whole.tobytes()
    assert len(looks) >= 2 * int(np.prod(batch))


WORK = {
    "round": "lp.round(np.linspace(0, 1, 40_000_000), 'half', out=out, flags=True)",
    "careful": "lp.matmul(np.ones((4000, 4000)), np.ones((4000, 4000)), 'mi300.fp16')",
    "vectors": "lp.matmul(np.ones((7000, 7000), 'f4'), np.ones((7000, 7000), 'f4'), 'fp16_fp16acc')",
    "h100": "lp.matmul(np.ones((6000, 9000), 'f4'), np.ones((9000, 6000), 'f4'), 'h100.fp16')",
    "tf32": "lp.matmul(np.broadcast_to(one, (4096, 1 << 19)), np.broadcast_to(one, (1 << 19, 4096)), 'tf32')",
    "float64": "lp.matmul(np.ones((6000, 6000)), np.ones((6000, 6000)), 'mi100.fp64')",
    "gptq": "lp.quantize(np.ones((12_000, 2048), 'f4'), lp.quantization.gptq(), calibration=np.eye(2048)[None])",
}  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")
@pytest.mark.parametrize("name", WORK)
def test_interrupts(name: str) -> None:
    """Ctrl-C ends what would take much longer than this test waits, and all works afterwards."""
    code = (
        "import numpy as np, lpsim as lp, sys, time\n"
        "one = np.float32(1)\n"
        "def short():\n"
        "    x = np.linspace(-3, 3, 1 << 20).reshape(1 << 10, -1)\n"
        "    y = x[:64, :200], x[:200, :70]\n"
        "    units = ('mi300.fp16', 'fp16_fp16acc', 'h100.fp16', 'tf32')\n"
        "    return [lp.round(x, 'half', flags=True)[0].tobytes(), *(lp.matmul(*y, u).tobytes() for u in units)]\n"
        "before = short()\n"
        "out = np.full(40_000_000, 7.0, np.float32)\n"
        "print('started', flush=True)\n"
        "try:\n"
        f"    {WORK[name]}\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
        "assert short() == before\n"
        "print('the same,', 'round' if (out == 7).any() else 'no round', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.3 if name == "round" else 1.5)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - start < 5
        assert process.stdout.readline() == "the same, round\n"  # the result of round was not finished
        assert process.wait(timeout=60) == 0
