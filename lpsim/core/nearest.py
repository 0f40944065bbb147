"""Short ways to round a binary32 or binary64 number, mostly to nearest, ties to even, for formats that allow them.

`lpsim.core.rounding` defines what rounding is; these give the same bits in a handful of operations of vectors.
They know neither overflow, NaN nor the sign of a zero: a caller deals with those, or proves that they
do not occur. Which of the first two serves a format is decided by `lpsim.parameters.nearest_parameters`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lpsim.core.bits import copy_sign, fma, rounded_product, shift_left, shift_right
from lpsim.core.jit import by_size, core_function

__all__ = [
    "NearestParams",
    "nearest_by_addition",
    "nearest_by_bits",
    "nearest_by_fma",
    "one_below",
    "round_nearest",
    "toward_zero_by_fma",
    "truncated",
]

_EXPONENT_MASK = np.int32(0x7F800000)
_EXPONENT_MASK_64 = np.int64(0x7FF0000000000000)
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
def nearest_by_bits(x: Any, shift: Any) -> Any:
    """Round a binary32 number in its representation, of which a format with its exponents lacks ``shift`` bits.

    For formats whose infinity is that of binary32: overflow and the sign of zero come out right, infinities and quiet
    NaNs of the usual payload stay.
    """
    bits, shift = np.float32(x).view(np.int32), np.int32(shift)
    last = shift_left(_ONE, shift)
    # An odd last place of the format adds to what decides a tie.
    increment = np.int32(np.int32(shift_right(last, _ONE) - _ONE) + np.int32(shift_right(bits, shift) & _ONE))
    return np.int32(np.int32(bits + increment) & -last).view(np.float32)


@core_function
def _binade_32(x: Any) -> Any:
    return np.int32(np.float32(x).view(np.int32) & _EXPONENT_MASK).view(np.float32)


@core_function
def _binade_64(x: Any) -> Any:
    return np.int64(np.float64(x).view(np.int64) & _EXPONENT_MASK_64).view(np.float64)


#: Return the power of two at or below |x|, a float32 or float64; 0 for a subnormal number, infinity for
#: infinities and NaNs.
binade = by_size(_binade_32, _binade_64)


@core_function
def nearest_by_fma(x: Any, lowest: Any, constant: Any) -> Any:
    """Round x, a binary32 or binary64 number, as `nearest_by_addition` does, in one operation less.

    For a format with subnormal numbers, ``lowest`` is ``2**emin`` and ``constant`` is ``1.5 * 2**(q - p)`` with the
    precision q >= p + 2 of x. A result of zero is +0. Where ``1.5 * 2**(q - p)`` times the power of two below |x|
    overflows, and for infinite and NaN x, the result is not finite.
    """
    power = max(binade(x), lowest)
    return fma(-power, constant, fma(power, constant, x))


@core_function
def toward_zero_by_fma(x: Any, lowest: Any, constant: Any, last_place: Any) -> Any:
    """Round x toward zero, otherwise as `nearest_by_fma` does; ``last_place`` is ``2**(1 - p)``."""
    power = max(binade(x), lowest)
    rounded = fma(-power, constant, fma(power, constant, x))
    return rounded - copy_sign(rounded_product(power, last_place), x) if abs(rounded) > abs(x) else rounded


@core_function
def _one_below_32(x: Any, error: Any) -> Any:
    bits = np.float32(x).view(np.int32)
    below = np.int32(np.float32(error).view(np.int32) ^ bits) >> np.int32(31)
    return np.int32(bits + below).view(np.float32)


@core_function
def _one_below_64(x: Any, error: Any) -> Any:
    bits = np.float64(x).view(np.int64)
    below = (np.float64(error).view(np.int64) ^ bits) >> np.int64(63)
    return np.int64(bits + below).view(np.float64)


#: Return the neighbour of x that is nearer to zero if the signs of x and error differ, else x.
one_below = by_size(_one_below_32, _one_below_64)


@core_function
def truncated(x: Any, error: Any) -> Any:
    """Return x + error rounded toward zero, from x, which is x + error rounded to nearest.

    Infinities, of which the error is a NaN, stay.
    """
    return one_below(x, error) if abs(error) > 0 else x


@core_function
def round_nearest(x: Any, f: Any) -> Any:
    """Round x, any binary32 number, as `lpsim.core.rounding` does under `Overflow.IEEE`."""
    if f.by_bits != 0:
        rounded = nearest_by_bits(x, f.shift)
    else:
        largest, overflow = np.float32(f.max), np.float32(f.overflow)
        magnitude = abs(x)
        # Twice the largest value is in the range of the short way; a NaN goes through it as one.
        magnitude = largest + largest if magnitude > largest + largest else magnitude
        magnitude = nearest_by_addition(magnitude, f)
        rounded = copy_sign(overflow if magnitude > largest else magnitude, x)
    return np.float32(np.nan) if (x != x) | (rounded != rounded) else rounded
