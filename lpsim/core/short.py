"""Short ways to round binary64 or binary32 numbers in every mode, in a few operations of vectors, without flags.

`lpsim.core.rounding` defines what rounding is; these give the same bits for the formats and numbers that
`lpsim.shortcuts` admits. A *lane* is the type worked in, float64 or float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lpsim.core.bits import bits_of, copy_sign, float_of, fma, rounded_product, shift_left, shift_right
from lpsim.core.jit import by_size, core_function
from lpsim.core.nearest import binade, nearest_by_bits, nearest_by_fma

__all__ = [
    "BITS",
    "DIRECTED",
    "EVEN",
    "EVEN_BITS",
    "NATIVE",
    "RANDOM",
    "DecodeParams",
    "FmaParams",
    "ShortParams",
    "lane_types",
    "native_value",
    "nearest_number",
    "rounded_magnitude",
    "rounded_number",
    "short_code",
    "short_value",
]

#: How to choose between neighbours: ties to even, with an infinity's value for what is beyond the range; any
#: deterministic mode in the representation of a binary32 number; any deterministic mode; a stochastic mode; ties to
#: even in the representation of a binary32 number, for formats whose infinity is the end of their range; binary64
#: itself, in any deterministic mode, from a result rounded to nearest and the sign of its error.
EVEN = 0
BITS = 1
DIRECTED = 2
RANDOM = 3
EVEN_BITS = 4
NATIVE = 5


class ShortParams(NamedTuple):
    """A format, a rounding mode and an overflow policy for the short ways.

    Floats and integers are of the lane's type and size, but for those of the stochastic modes: where a
    kernel converted them, it would do so at each element.
    """

    # The format's grid, see `nearest_by_fma`.
    lowest: Any
    constant: Any
    last_place: Any
    lost: Any  # how many bits of a lane's significand the format lacks

    # The mode. A number is rounded to nearest, ties to even, and then to the next place above (or below) in magnitude
    # if it exceeds the rounded one (or is below it) by more than so much of a last place; 1 means never.
    up_positive: Any
    up_negative: Any
    down_positive: Any
    down_negative: Any
    to_odd: int
    sum_sign: Any  # -1 toward negative: what sums are multiplied by to give exact zeros their sign

    # The same for `_by_bits`: what is added to a representation before it is truncated.
    add_positive: Any
    add_negative: Any
    add_odd: Any
    add_even: Any

    # The stochastic modes.
    coin: int
    random_bits: int
    fraction: float  # 2.0**-random_bits

    # The range, and the magnitudes of what lies outside of it.
    max: Any
    over_positive: Any
    over_negative: Any
    infinity: Any
    zero: Any  # what is added to a result: 0.0 makes the negative zero positive, -0.0 does nothing

    # Codes.
    infinity_code: Any
    nan_code: Any
    sign_code: Any


class FmaParams(NamedTuple):
    """What fused multiply-adds take that are done in either lane."""

    narrow: ShortParams
    wide: ShortParams


def lane_types(wide: bool) -> tuple[Any, Any]:
    """Return the types of a lane's numbers and representations."""
    return (np.float64, np.int64) if wide else (np.float32, np.int32)


@core_function
def _bits_32(x: Any) -> Any:
    return np.float32(x).view(np.int32)


@core_function
def _float_32(bits: Any) -> Any:
    return np.int32(bits).view(np.float32)


#: The representation of a float32 or float64, and the number of a representation.
_bits = by_size(_bits_32, bits_of)
_float = by_size(_float_32, float_of)


@core_function
def _directed(magnitude: Any, negative: Any, f: Any, lane: Any) -> Any:
    """Round a magnitude in the deterministic mode that f describes."""
    power = max(binade(magnitude), f.lowest)
    # The last place of `shifted` is that of the format, and its parity is that of the rounded magnitude's code.
    shifted = fma(power, f.constant, magnitude)
    rounded = fma(-power, f.constant, shifted)
    # Exact: both are multiples of the magnitude's last place, and they are at most half of the format's apart.
    difference = magnitude - rounded
    place = rounded_product(power, f.last_place)
    up = f.up_negative if negative else f.up_positive
    down = f.down_negative if negative else f.down_positive
    stays = (f.to_odd != 0) & ((_bits(shifted) & 1) != 0)
    up, down = lane(1) if stays else up, lane(1) if stays else down
    step = place if difference > up * place else lane(0)
    step = -place if difference < -(down * place) else step
    return rounded + step


@core_function
def _random(magnitude: Any, word: Any, f: Any) -> Any:
    """Round a binary64 magnitude stochastically, with a random integer below ``2**f.random_bits``."""
    power = max(binade(magnitude), f.lowest)
    rounded = nearest_by_fma(magnitude, f.lowest, f.constant)
    place = rounded_product(power, f.last_place)
    rounded = rounded - place if rounded > magnitude else rounded
    discarded = magnitude - rounded
    # With N = 2**random_bits and T = discarded / place, the carry of floor(T * N) + word beyond N means
    # T >= 1 - word / N, as word is an integer; 53 bits hold all of this.
    needed = np.float64(1.0) - rounded_product(np.float64(word), np.float64(f.fraction))
    if f.coin != 0:
        needed = np.float64(needed > np.float64(0.5))
    return rounded + place if (discarded > 0) & (discarded >= needed * place) else rounded


@core_function
def _by_bits(magnitude: Any, negative: Any, f: Any) -> Any:
    """Round a binary32 magnitude in its representation, for formats with the exponents of binary32.

    What is beyond their range comes out beyond it, infinities stay, and NaNs become anything.
    """
    bits = _bits_32(magnitude)
    last = np.int32(np.int32(1) << f.lost)
    increment = f.add_negative if negative else f.add_positive
    increment = np.int32(increment + (f.add_odd if np.int32(bits & last) != 0 else f.add_even))
    return np.int32(np.int32(bits + increment) & -last).view(np.float32)


@core_function
def native_value(result: Any, error: Any, f: Any) -> Any:
    """Round result + error in the deterministic mode that f describes to binary64, to which result is the nearest.

    A NaN as the error is one of zero.
    """
    negative, bits = result < 0, bits_of(result)
    outward = (error < 0) == negative
    neighbour = float_of(bits + np.int64(1) if outward else bits - np.int64(1))
    limit = f.up_positive if outward else f.down_positive
    if negative:
        limit = f.up_negative if outward else f.down_negative
    stays = (f.to_odd != 0) & ((bits & np.int64(1)) != 0)
    moves = (abs(error) > limit * abs(neighbour - result)) & (not stays)
    rounded = neighbour if moves else result
    return copy_sign(f.infinity, result) if abs(result) == np.inf else rounded


@core_function
def rounded_magnitude(x: Any, word: Any, kind: Any, f: Any, lane: Any) -> Any:
    """Return the magnitude of x rounded as ``kind`` says, or of what stands for it beyond the range.

    Of a NaN it may be anything.
    """
    largest, negative, magnitude = f.max, x < 0, abs(x)
    if kind == EVEN_BITS:
        return nearest_by_bits(magnitude, f.lost)
    if kind == EVEN:
        rounded = nearest_by_fma(magnitude, f.lowest, f.constant)
        # What overflows on the way becomes infinity or NaN, which is not below either.
        return rounded if rounded <= largest else f.infinity
    # Twice the largest value is in the range of the short ways, and beyond that of the format.
    clamped = largest + largest if magnitude > largest + largest else magnitude
    if kind == BITS:
        rounded = lane(_by_bits(magnitude, negative, f))
    elif kind == DIRECTED:
        rounded = _directed(clamped, negative, f, lane)
    else:
        rounded = _random(clamped, word, f)
    over = f.over_negative if negative else f.over_positive
    rounded = over if rounded > largest else rounded
    return f.infinity if magnitude == np.inf else rounded


@core_function
def rounded_number(x: Any, word: Any, kind: Any, f: Any, lane: Any) -> Any:
    """Return the rounded magnitude, the number with its sign, and whether it is a NaN."""
    magnitude = rounded_magnitude(x, word, kind, f, lane)
    return magnitude, copy_sign(magnitude, x) + f.zero, (x != x) | (magnitude != magnitude)


@core_function
def nearest_number(x: Any, f: Any, lane: Any) -> Any:
    """Return x rounded to nearest, ties to even."""
    _, signed, nan = rounded_number(x, np.int64(0), EVEN, f, lane)
    return lane(np.nan) if nan else signed


@core_function
def short_code(magnitude: Any, negative: Any, nan: Any, kind: Any, f: Any, integer: Any) -> Any:
    """Return the code, an integer of the lane's size, of a magnitude of the format and a sign."""
    if kind in (BITS, EVEN_BITS, NATIVE):
        code = shift_right(_bits(magnitude), f.lost)
    else:
        power = max(binade(magnitude), f.lowest)
        offset = rounded_product(power, f.constant)
        # A binade's last places, and how many binades there are below: the exponent field, shifted, counts these.
        places = integer(_bits(magnitude + offset) - _bits(offset))
        binades = integer(shift_right(_bits(power), f.lost) - shift_right(_bits(f.lowest), f.lost))
        code = integer(places + binades)
    code = f.infinity_code if magnitude == np.inf else code
    code = integer(code | f.sign_code) if negative else code
    return f.nan_code if nan else code


class DecodeParams(NamedTuple):
    """What decoding takes, in the lane's type and in integers of its size."""

    magnitude_mask: Any
    sign_code: Any
    lost: Any  # how many bits of a lane's significand the format lacks
    lowest: Any  # 2.0**emin
    offset: Any  # from a code, in the lane's places, to the representation of its value
    binade: Any  # codes of a binade, in the lane's places
    max_code: Any
    infinity_code: Any
    nan_code: Any


@core_function
def short_value(code: Any, f: Any, lane: Any, integer: Any) -> Any:
    """Return the value of a code."""
    code = integer(code)
    magnitude_code = integer(code & f.magnitude_mask)
    leading = shift_left(magnitude_code, f.lost)
    normal = _float(integer(leading + f.offset))
    # Subnormal codes are places above the lowest power of two, which is taken off: no operand is subnormal here.
    subnormal = _float(integer(leading + integer(f.offset + f.binade))) - f.lowest
    magnitude = normal if leading >= f.binade else subnormal
    magnitude = lane(np.inf) if magnitude_code == f.infinity_code else magnitude
    nan = ((magnitude_code > f.max_code) & (magnitude_code != f.infinity_code)) | (code == f.nan_code)
    value = -magnitude if integer(code & f.sign_code) != 0 else magnitude
    return lane(np.nan) if nan else value
