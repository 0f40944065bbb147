"""Run times, and ratios of them, that a noisy machine gives reproducibly. Needs no extra."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["best_times", "numbers", "one_thread_environment", "ratio"]

#: What the BLAS libraries, OpenMP and Numba read when a process starts.
_THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

#: Seconds that one measurement takes at least; shorter calls are repeated.
_SHORTEST = 2e-3

#: Seconds of a call that is measured several times in a turn.
_SHORT = 2e-2


def best_times(functions: Sequence[Callable[[], object]], rounds: int = 15, seconds: float = math.inf) -> list[float]:
    """Return the shortest run time of each function.

    All take turns, so that a load that comes and goes meets them alike. The first call of each, which may compile,
    is not counted. Short calls are repeated, so that what a turn finds in the caches is mostly its own.

    Parameters
    ----------
    functions : sequence of callables
        What to measure.
    rounds : int
        Turns of each function at most.
    seconds : float
        After this time no further round begins; a function that takes longer is measured once.
    """
    for function in functions:
        function()
    start = time.perf_counter()
    first = [_time(function, 1) for function in functions]
    best = list(first)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            if first[i] > seconds:
                continue  # what is that slow is not noisy
            # Several turns at once for what takes few milliseconds, so that it has enough of them beside a slow peer.
            for _ in range(5 if best[i] < _SHORT else 1):
                best[i] = min(best[i], _time(function, max(1, math.ceil(_SHORTEST / max(first[i], 1e-9)))))
        if time.perf_counter() - start > seconds:
            break
    return best


def ratio(subject: Callable[[], object], peer: Callable[[], object], rounds: int = 15) -> float:
    """Return the run time of ``subject`` over that of ``peer``."""
    mine, other = best_times((subject, peer), rounds)
    return mine / other


def numbers(size: int, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return random numbers of many magnitudes, in the range of every format that is measured."""
    rng = np.random.default_rng(0)
    different = min(size, 1_000_000)
    return np.resize((rng.normal(size=different) * np.exp2(rng.integers(-4, 5, different))).astype(dtype), size)


def one_thread_environment() -> dict[str, str]:
    """Return the environment of a process whose libraries use one thread: BLAS takes no later wish."""
    return {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1")}


def _time(function: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        function()
    return (time.perf_counter() - start) / repeat
