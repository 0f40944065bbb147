"""Every benchmark sets up and runs: a suite that breaks is found here, not when its figures are missed."""

import importlib
import inspect
import itertools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUITES = ("bench_round", "bench_arithmetic", "bench_matmul")


def load(suite):
    sys.path.append(str(ROOT))
    try:
        return importlib.import_module(f"benchmarks.{suite}")
    finally:
        sys.path.remove(str(ROOT))


def parameters(benchmark):
    """Yield each combination of parameters, as asv forms them."""
    params = getattr(benchmark, "params", [])
    axes = params if params and isinstance(params[0], (list, tuple)) else [params] if params else []
    yield from itertools.product(*axes)


@pytest.mark.parametrize("suite", SUITES)
def test_every_benchmark_runs(suite, monkeypatch):
    monkeypatch.setattr(load("bench_round"), "SIZE", 100)
    monkeypatch.setattr(load("compare").ratio, "__defaults__", (1,))
    ran = 0
    for _, kind in inspect.getmembers(load(suite), inspect.isclass):
        methods = [name for name in vars(kind) if name.startswith(("time_", "track_"))]
        for combination in parameters(kind):
            benchmark = kind()
            benchmark.setup(*combination)
            for name in methods:
                result = getattr(benchmark, name)(*combination)
                assert name.startswith("time_") or result > 0
                ran += 1
    assert ran > 0
