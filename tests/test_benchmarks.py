"""Every benchmark sets up and runs: a suite that breaks is found here, not when its figures are missed."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

import lpsim.cuda
from lpsim.cli import timing
from lpsim.cli.timing import ratio

ROOT = Path(__file__).resolve().parents[1]
#: Not bench_start, which compiles everything anew, and whose calls are made all over the tests.
SUITES = sorted(path.stem for path in (ROOT / "benchmarks").glob("bench_*.py") if path.stem != "bench_start")
if not lpsim.cuda.is_available():
    SUITES.remove("bench_cuda")
#: What the suites' constants are here.
SMALL = {"SHRINK": 64, "SIZE": 1000, "ORDER": 64, "SIZES": {"10^3": 100, "10^6": 1000}}
PREFIXES = ("time_", "track_", "peakmem_")


def load(suite):
    sys.path.append(str(ROOT))
    try:
        return importlib.import_module(f"benchmarks.{suite}")
    finally:
        sys.path.remove(str(ROOT))


def parameters(benchmark):
    """Yield combinations of parameters, as asv passes them: each value of each, not each with every other."""
    params = getattr(benchmark, "params", [])
    axes = params if params and isinstance(params[0], (list, tuple)) else [params] if params else []
    for i in range(max(map(len, axes), default=1)):
        yield tuple(axis[i % len(axis)] for axis in axes)


@pytest.mark.parametrize("suite", SUITES)
def test_every_benchmark_runs(suite, monkeypatch):
    module = load(suite)
    monkeypatch.setattr(timing, "_SHORTEST", 0.0)
    monkeypatch.setattr(timing.best_times, "__defaults__", (1, 0.0))
    monkeypatch.setattr(ratio, "__defaults__", (1,))
    for name, value in SMALL.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)
    ran = 0
    for _, kind in inspect.getmembers(module, inspect.isclass):
        for combination in parameters(kind):
            ran += run(kind(), combination)
    assert ran > 0


def run(benchmark, combination):
    """Run all methods of a benchmark and return their number: 0 if it does not apply."""
    methods = [name for name in vars(type(benchmark)) if name.startswith(PREFIXES)]
    try:
        if hasattr(benchmark, "setup"):
            benchmark.setup(*combination)
    except NotImplementedError:
        return 0
    for name in methods:
        result = getattr(benchmark, name)(*combination)
        assert not name.startswith("track_") or result > 0
    if hasattr(benchmark, "teardown"):
        benchmark.teardown(*combination)
    return len(methods)
