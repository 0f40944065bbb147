"""Counts of what happened in the roundings of a matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.jit import core_function

__all__ = ["COUNTED", "count"]

#: What `count` counts, in this order.
COUNTED = ("overflow", "saturated", "underflow", "invalid")

_INVALID, _OVERFLOW, _UNDERFLOW = np.int64(1), np.int64(4), np.int64(8)


@core_function
def count(counts: Any, flags: Any, flushed: Any, value: Any) -> None:
    """Count a rounding that raised ``flags`` and delivered ``value``, which was flushed to zero or not."""
    over = (flags & _OVERFLOW) != 0
    counts[0] += over
    counts[1] += over & (abs(value) < np.inf)
    counts[2] += flushed | ((flags & _UNDERFLOW) != 0)
    counts[3] += (flags & _INVALID) != 0
