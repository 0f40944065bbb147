"""Rounding to integers, as the schemes of quantisation do it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.jit import core_function

__all__ = ["nearest_integer"]

#: The deterministic modes by the numbers of `lpsim.rounding.Rounding`, since the core knows no enums.
_TIES_TO_EVEN, _TIES_TO_AWAY, _TIES_TO_ZERO = range(3)
_TOWARD_ZERO, _TOWARD_POSITIVE, _TOWARD_NEGATIVE, _AWAY_FROM_ZERO = range(3, 7)


@core_function
def nearest_integer(x: Any, mode: Any) -> Any:
    """Round a binary32 number to an integer, as binary32, in a deterministic mode that the compiler knows."""
    if mode == _TIES_TO_EVEN:
        return np.rint(x)
    if mode == _TOWARD_POSITIVE:
        return np.ceil(x)
    if mode == _TOWARD_NEGATIVE:
        return np.floor(x)
    truncated = np.trunc(x)
    # Exact: from 2**23 on, all binary32 numbers are integers.
    rest = abs(x - truncated)
    away = np.float32(truncated + np.copysign(np.float32(1), x))
    if mode == _TOWARD_ZERO:
        return truncated
    if mode == _AWAY_FROM_ZERO:
        return away if rest > 0 else truncated
    if mode == _TIES_TO_AWAY:
        return away if rest >= np.float32(0.5) else truncated
    if mode == _TIES_TO_ZERO:
        return away if rest > np.float32(0.5) else truncated
    half = np.float32(truncated * np.float32(0.5))
    return away if (np.trunc(half) == half) & (rest > 0) else truncated  # to odd
