"""The largest magnitude of some numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.jit import core_function
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["largest_bits", "largest_bits_kernel", "largest_magnitude"]


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


def largest_bits_kernel() -> Callable[[Any], int]:
    """Return ``kernel(bits)``, which is `largest_bits`."""
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[[Any], int]:
    def kernel(bits: Any) -> Any:
        assert fingerprint >= 0
        return largest_bits(bits)

    return compile_kernel(kernel)
