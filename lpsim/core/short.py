"""Short ways to round binary64 or binary32 numbers in every mode, in a few operations of vectors, without flags.

`lpsim.core.rounding` defines what rounding is; these give the same bits for the formats and numbers that
`lpsim.shortcuts` admits. A *lane* is the type worked in, float64 or float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from lpsim.core.bits import fma
from lpsim.core.jit import core_function
from lpsim.core.nearest import binade, nearest_by_bits, nearest_by_fma
from lpsim.core.operations import DIV, FMA, MUL, ROUND, SQRT, SUB

__all__ = ["BITS", "DIRECTED", "EVEN", "RANDOM", "ShortParams", "rounded_magnitude", "short_code", "short_result"]

#: How to choose between neighbours: ties to even, the same in the representation of a binary32 number, any
#: deterministic mode, a stochastic mode.
EVEN = 0
BITS = 1
DIRECTED = 2
RANDOM = 3

_ONE_64 = np.int64(1)


class ShortParams(NamedTuple):
    """A format, a rounding mode and an overflow policy for the short ways; every field keeps its type."""

    # The format's grid, see `nearest_by_fma`; ``shift`` is for `nearest_by_bits`.
    lowest: float
    constant: float
    last_place: float
    shift: int

    # The mode. A number is rounded to nearest, ties to even, and then to the next place above (or below) in magnitude
    # if it exceeds the rounded one (or is below it) by more than so much of a last place; 1 means never.
    up_positive: float
    up_negative: float
    down_positive: float
    down_negative: float
    to_odd: int
    coin: int
    random_bits: int
    fraction: float  # 2.0**-random_bits
    sum_sign: float  # -1 toward negative: what sums are multiplied by to give exact zeros their sign

    # The range, and the magnitudes of what lies outside of it.
    max: float
    over_positive: float
    over_negative: float
    infinity: float
    zero: float  # what is added to a result: 0.0 makes the negative zero positive, -0.0 does nothing

    # Codes.
    trailing: int  # bits of a lane's significand that the format lacks
    infinity_code: int
    nan_code: int
    sign_shift: int


@core_function
def _bits_32(x: Any) -> Any:
    return np.float32(x).view(np.int32)


@core_function
def _bits_64(x: Any) -> Any:
    return np.float64(x).view(np.int64)


def _bits(x: Any) -> Any:
    """Return the representation of x, a float32 or float64."""
    return _bits_32(x) if isinstance(x, np.float32) else _bits_64(x)


@overload(_bits, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
def _bits_overload(x: Any) -> Any:
    chosen = _bits_32 if x == types.float32 else _bits_64

    def implementation(x: Any) -> Any:
        return chosen(x)

    return implementation


@core_function
def _directed(magnitude: Any, negative: Any, f: Any, lane: Any) -> Any:
    """Round a magnitude in the deterministic mode that f describes."""
    power = max(binade(magnitude), lane(f.lowest))
    # The last place of `shifted` is that of the format, and its parity is that of the rounded magnitude's code.
    shifted = fma(power, lane(f.constant), magnitude)
    rounded = fma(-power, lane(f.constant), shifted)
    # Exact: both are multiples of the magnitude's last place, and they are at most half of the format's apart.
    difference = magnitude - rounded
    place = power * lane(f.last_place)
    up = lane(f.up_negative) if negative else lane(f.up_positive)
    down = lane(f.down_negative) if negative else lane(f.down_positive)
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
    place = power * f.last_place
    rounded = rounded - place if rounded > magnitude else rounded
    discarded = magnitude - rounded
    # With N = 2**random_bits and T = discarded / place, the carry of floor(T * N) + word beyond N means
    # T >= 1 - word / N, as word is an integer; 53 bits hold all of this.
    needed = np.float64(1.0) - np.float64(word) * np.float64(f.fraction)
    if f.coin != 0:
        needed = np.float64(needed > np.float64(0.5))
    return rounded + place if (discarded > 0) & (discarded >= needed * place) else rounded


@core_function
def rounded_magnitude(x: Any, word: Any, kind: Any, f: Any, lane: Any) -> Any:
    """Return the magnitude of x rounded as `kind` says, the range and its ends applied; NaNs stay NaNs, mostly."""
    largest, negative, magnitude = lane(f.max), x < 0, abs(x)
    if kind == BITS:
        rounded = lane(nearest_by_bits(magnitude, f))
    else:
        # Twice the largest value is in the range of the short ways, and beyond that of the format.
        clamped = largest + largest if magnitude > largest + largest else magnitude
        if kind == EVEN:
            rounded = nearest_by_fma(clamped, lane(f.lowest), lane(f.constant))
        elif kind == DIRECTED:
            rounded = _directed(clamped, negative, f, lane)
        else:
            rounded = lane(_random(np.float64(clamped), word, f))
    over = lane(f.over_negative) if negative else lane(f.over_positive)
    rounded = over if rounded > largest else rounded
    return lane(f.infinity) if magnitude == np.inf else rounded


@core_function
def short_code(magnitude: Any, negative: Any, nan: Any, f: Any, lane: Any) -> Any:
    """Return the code of a magnitude of the format and a sign (0 or 1)."""
    power = max(binade(magnitude), lane(f.lowest))
    offset = power * lane(f.constant)
    # In places of its binade; each binade above the lowest one has as many codes as one place has halves, and so on.
    places = _bits(magnitude + offset) - _bits(offset)
    code = places + ((_bits(power) - _bits(lane(f.lowest))) >> f.trailing)
    code = f.infinity_code if magnitude == np.inf else code
    return f.nan_code if nan else code | (negative << f.sign_shift)


@core_function
def _two_sum_error(a: Any, b: Any, total: Any) -> Any:
    virtual = total - a
    return (a - (total - virtual)) + (b - virtual)


@core_function
def _to_odd(x: Any, error: Any) -> Any:
    """Return x + error rounded to odd, from x, which is x + error rounded to nearest (or infinite, or NaN)."""
    bits = np.float64(x).view(np.int64)
    truncated = bits + ((np.float64(error).view(np.int64) ^ bits) >> np.int64(63))
    return np.int64(truncated | _ONE_64 if abs(error) > 0 else bits).view(np.float64)


@core_function
def short_result(operation: Any, x: Any, y: Any, z: Any, sum_sign: Any, sticky: Any) -> Any:
    """Return a binary64 number that rounds to a format as an operation's exact result on binary32 operands does.

    Of binary32 operands, nothing here overflows or underflows. Products of two are exact. Sums, and results of the
    other operations if ``sticky``, are rounded to odd, to 53 bits: rounded once more, to a format of at most 51
    digits, these give what the exact result does, whatever the mode (Boldo and Melquiond,
    doi:10.1109/TC.2007.70819).

    Not ``sticky`` is for formats of p <= 24 digits, where rounding to nearest does the same for quotients and roots.
    What matters is on which side of a number m of at most p + 1 = 25 digits (a value or a middle) the exact result
    is, or whether it is m. A quotient x / y differs from m by ``(x - m * y) / y``: the numerator is zero, or at least
    one in the last of the 49 places of m * y, which is more than 2**-50 of the quotient. A root differs from m by
    ``(x - m**2) / (root + m)``: zero, or at least one in the last of the 50 places of m**2, more than 2**-51 of the
    root. Either is beyond the half place, 2**-53, by which rounding to nearest moves a result.
    """
    if operation == ROUND:
        return x
    if operation == MUL:
        return x * y
    if operation == DIV:
        quotient = x / y
        return _to_odd(quotient, np.copysign(1.0, y) * fma(-quotient, y, x)) if sticky else quotient
    if operation == SQRT:
        root = np.sqrt(x)
        return _to_odd(root, fma(-root, root, x)) if sticky else root
    a, b = x, y
    if operation == FMA:
        a, b = x * y, z
    elif operation == SUB:
        b = -y
    a, b = a * sum_sign, b * sum_sign
    total = a + b
    return _to_odd(total, _two_sum_error(a, b, total)) * sum_sign
