"""Short ways to round a binary32 number to nearest, ties to even, for the formats that allow them.

`lpsim.core.rounding` defines what rounding is; these give the same bits in a handful of operations of float32
vectors. They know neither overflow, NaN nor the sign of a zero: a caller deals with those, or proves that they
do not occur. Which of the two serves a format is decided by `lpsim.parameters.nearest_parameters`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lpsim.core.jit import core_function

__all__ = ["NearestParams", "nearest_by_addition", "nearest_by_bits", "round_nearest"]

_EXPONENT_MASK = np.int32(0x7F800000)
_ONE = np.int32(1)


class NearestParams(NamedTuple):
    """A format, reduced to what rounding a binary32 number to nearest takes; every field keeps its type."""

    by_bits: int  # 1: nearest_by_bits serves the format, 0: nearest_by_addition
    lowest: int  # binary32 representation of 2**emin
    offset: int  # from the exponent field of x to the representation of 1.5 * 2**(e + 24 - p)
    shift: int  # how many trailing bits of a binary32 significand the format lacks
    max: float  # largest finite value
    overflow: float  # what lies beyond it: infinity, NaN or the largest finite value


@core_function
def nearest_by_addition(x: Any, f: Any) -> Any:
    """Round x by adding a number whose last place is that of the format at x, and subtracting it.

    For |x| < 2**(103 + p), p <= 22, in a format with subnormal numbers, of an unbounded range: what lies beyond
    the largest finite value is rounded as if the exponents went on. A result of zero is +0.
    """
    exponent = max(np.float32(x).view(np.int32) & _EXPONENT_MASK, np.int32(f.lowest))
    constant = np.int32(exponent + np.int32(f.offset)).view(np.float32)
    return np.float32(np.float32(x + constant) - constant)


@core_function
def nearest_by_bits(x: Any, f: Any) -> Any:
    """Round x in its representation, for formats with the exponent range of binary32, whose infinity is theirs.

    Overflow and the sign of zero come out right, infinities and quiet NaNs stay.
    """
    bits = np.float32(x).view(np.int32)
    shift = np.int32(f.shift)
    below_half = (_ONE << np.int32(shift - _ONE)) - _ONE
    odd = (bits >> shift) & _ONE
    return np.int32((bits + below_half + odd) & -(_ONE << shift)).view(np.float32)


@core_function
def round_nearest(x: Any, f: Any) -> Any:
    """Round x, any binary32 number, as `lpsim.core.rounding` does under `Overflow.IEEE`."""
    if f.by_bits != 0:
        rounded = nearest_by_bits(x, f)
    else:
        largest, overflow = np.float32(f.max), np.float32(f.overflow)
        magnitude = abs(x)
        # Twice the largest value is in the range of the short way; a NaN goes through it as one.
        magnitude = largest + largest if magnitude > largest + largest else magnitude
        magnitude = nearest_by_addition(magnitude, f)
        rounded = np.copysign(overflow if magnitude > largest else magnitude, x)
    return np.float32(np.nan) if (x != x) | (rounded != rounded) else rounded
