"""Ratios of run times that one noisy machine gives reproducibly."""

from __future__ import annotations

import time
from collections.abc import Callable


def ratio(subject: Callable[[], object], peer: Callable[[], object], rounds: int = 15) -> float:
    """Return the run time of ``subject`` over that of ``peer``: best of rounds that alternate."""
    subject()
    peer()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for function, found in zip((subject, peer), times, strict=True):
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return min(times[0]) / min(times[1])
