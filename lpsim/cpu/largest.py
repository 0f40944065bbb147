"""The largest magnitude of some numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.jit import core_function

__all__ = ["largest_bits", "largest_magnitude"]


@core_function
def largest_bits(bits: Any) -> Any:
    """Return the largest magnitude among representations of float32 numbers (int32), infinities and NaNs on top.

    A maximum of integers, unlike one of floating-point numbers, is computed in vectors.
    """
    largest = np.int32(0)
    for i in range(bits.size):
        largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
    return largest


@core_function
def largest_magnitude(bits: Any) -> Any:
    """Return it as a float32 number."""
    return np.int32(largest_bits(bits)).view(np.float32)
