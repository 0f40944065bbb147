"""The one rounding function: the exact result of an operation to a value of the format, and flags.

`round_parts` serves the deterministic modes, `round_parts_stochastic` those that consume random bits.
Both truncate the exact magnitude to a 53-bit integer significand and what lies beyond it, choose between
the two neighbours in the format by integer arithmetic, and share everything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.bits import FRACTION_MASK, IMPLICIT_BIT, MAGNITUDE_MASK, bits_of, divide, float_of, floor, fma, scale
from lpsim.core.jit import core_function

__all__ = ["MAX_RANDOM_BITS", "round_parts", "round_parts_stochastic"]

#: The part of a result beyond its first 53 bits is known to 53 more bits and a sign, so that this many
#: random bits can be compared with the discarded fraction exactly, whatever the operation.
MAX_RANDOM_BITS = 53

_ZERO = np.float64(0.0)
_INVALID = np.int64(1)
_OVERFLOW_INEXACT = np.int64(4 | 16)
_UNDERFLOW = np.int64(8)
_INEXACT = np.int64(16)

#: Beyond the range of any format, so that scaling by it overflows.
_LARGEST_QUANTUM = np.int64(1100)


@core_function
def _truncate(parts: Any) -> Any:
    """Return (negative, significand, exponent, beyond, nearest) of the exact magnitude.

    The magnitude is ``(significand + fraction) * 2**(exponent - 52)`` with a 53-bit significand and
    0 <= fraction < 1; ``nearest`` holds the bits of the head's magnitude, and ``beyond`` is the rest with its
    sign relative to it: below 0 if the head was rounded up.
    """
    head, rest, tail, exponent = parts[0], parts[1], parts[3], parts[5]
    negative = bits_of(head) < np.int64(0)
    remainder = tail if rest == _ZERO else rest
    beyond = -remainder if negative else remainder
    nearest = bits_of(head) & MAGNITUDE_MASK
    truncated = nearest - np.int64(beyond < _ZERO)
    significand = (truncated & FRACTION_MASK) | IMPLICIT_BIT
    return negative, significand, exponent + (truncated >> np.int64(52)) - np.int64(1023), beyond, nearest


@core_function
def _grid(exponent: Any, f: Any) -> Any:
    """Return (quantum exponent, right shift of a 53-bit significand) of the format at a magnitude."""
    quantum = exponent - f.mantissa_bits if exponent >= f.emin else np.int64(f.tiny_quantum)
    return quantum, quantum - (exponent - np.int64(52))


@core_function
def _is_odd(truncated: Any, exponent: Any, f: Any) -> Any:
    """Return the parity (0 or 1) of the code of the neighbour toward zero."""
    field_parity = np.int64(exponent >= f.emin) & (exponent - f.emin + f.field_offset)
    return (field_parity if f.mantissa_bits == 0 else truncated) & np.int64(1)


@core_function
def _increment(negative: Any, odd: Any, below_one: Any, f: Any) -> Any:
    """Return what, added to an extended significand, carries into the bits that are kept if it rounds up.

    ``below_one`` is the largest integer below one unit of the last place that is kept.
    """
    away = (f.up_negative if negative else f.up_positive) | (f.to_odd & (odd ^ np.int64(1)))
    increment = below_one if away != 0 else np.int64(0)
    return increment + ((below_one >> np.int64(1)) & -f.nearest) + (f.tie_even & odd) + f.tie_away


@core_function
def _rounds_up_randomly(significand: Any, fraction: Any, beyond: Any, shift: Any, word: Any, f: Any) -> Any:
    """Return (1 if a stochastic mode rounds away from zero else 0, whether the result is inexact)."""
    discarded = significand & ((np.int64(1) << min(shift, np.int64(62))) - np.int64(1))
    inexact = (discarded != 0) | (beyond != _ZERO)
    left = max(f.random_bits - shift, np.int64(0))
    right = min(max(shift - f.random_bits, np.int64(0)), np.int64(62))
    threshold = ((discarded << left) >> right) | (fraction >> (np.int64(53) - left))
    up = (threshold + word) >> f.random_bits
    coin = np.int64(inexact) & (word >> (f.random_bits - np.int64(1)))
    return (coin if f.coin != 0 else up), inexact


@core_function
def _is_tiny(exponent: Any, unbounded: Any, f: Any) -> Any:
    """Return whether a result is tiny (IEEE 754-2019, section 7.5).

    ``unbounded`` is its significand rounded to the format's precision as if the exponent range had no lower end;
    it matters in the binade below 2**emin, from which rounding may lead to 2**emin.
    """
    reaches_normal = (exponent == f.emin - 1) & ((unbounded >> (f.mantissa_bits + np.int64(1))) != 0)
    return (exponent < f.emin) & (not (reaches_normal & (f.tiny_before == 0)))


@core_function
def _deliver(
    parts: Any, negative: Any, rounded: Any, exponent: Any, quantum: Any, inexact: Any, tiny: Any, f: Any
) -> Any:
    """Return (value, flags): apply the range, the overflow policy, the sign and the special results."""
    special, plain, zero_negative, flags = parts[6], parts[7], parts[8], parts[9]
    magnitude = scale(np.float64(rounded), min(quantum, _LARGEST_QUANTUM))
    magnitude = max(magnitude, f.min_magnitude)
    signed = -magnitude if negative else magnitude
    zero = f.zero_negative if negative else f.zero_positive
    signed = zero if magnitude == _ZERO else signed
    over = magnitude > (f.max_negative if negative else f.max_positive)
    finite = (f.over_negative if negative else f.over_positive) if over else signed
    finite_flags = _INEXACT if inexact else np.int64(0)
    finite_flags |= _UNDERFLOW if inexact & tiny else np.int64(0)
    finite_flags = _OVERFLOW_INEXACT if over else finite_flags
    finite_flags = _INVALID if negative & (f.signed == 0) else finite_flags

    zero = f.zero_negative if zero_negative != 0 else f.zero_positive
    zero_flags = (_INVALID if zero != zero else _INEXACT) if zero != _ZERO else np.int64(0)
    infinity = f.infinity_negative if plain < _ZERO else f.infinity_positive
    infinity_flags = _OVERFLOW_INEXACT if infinity != plain else np.int64(0)
    infinity_flags |= flags
    infinity_flags = _INVALID if (plain < _ZERO) & (f.signed == 0) else infinity_flags
    nan = plain != plain
    out = zero if plain == _ZERO else infinity
    out_flags = zero_flags if plain == _ZERO else infinity_flags
    out = np.float64(np.nan) if nan else out
    out_flags = flags if nan else out_flags
    return (out if special else finite), (out_flags if special else finite_flags)


@core_function
def round_parts(parts: Any, f: Any) -> Any:
    """Return (value, flags) of an exact result rounded in a deterministic mode.

    Parameters
    ----------
    parts : tuple
        What a function of `lpsim.core.exact` returns.
    f : Params

    Returns
    -------
    tuple
        The value of the format (float64) and the `lpsim.Flag` bits (int64).
    """
    rest, divisor, tail, root = parts[1], parts[2], parts[3], parts[4]
    negative, significand, exponent, beyond, nearest = _truncate(parts)
    below = beyond < _ZERO
    # Two more bits: 0 the truncated value itself, 1 below the middle to the next one, 2 the middle, 3 above.
    neighbour = float_of(nearest + (np.int64(-1) if below else np.int64(1)))
    gap = neighbour - float_of(nearest)
    middle = (beyond + beyond == gap * divisor) & (tail == _ZERO) & (root == _ZERO) & (rest != _ZERO)
    position = (np.int64(2) if middle | below else np.int64(0)) | np.int64((beyond != _ZERO) & (not middle))
    extended = (significand << np.int64(2)) | position

    quantum, shift = _grid(exponent, f)
    shift = min(shift + np.int64(2), np.int64(60))
    below_one = (np.int64(1) << shift) - np.int64(1)
    odd = _is_odd(extended >> shift, exponent, f)
    rounded = (extended + _increment(negative, odd, below_one, f)) >> shift
    inexact = (extended & below_one) != 0

    shift = np.int64(54) - f.mantissa_bits
    below_one = (np.int64(1) << shift) - np.int64(1)
    odd = (extended >> shift if f.mantissa_bits != 0 else f.field_offset - np.int64(1)) & np.int64(1)
    unbounded = (extended + _increment(negative, odd, below_one, f)) >> shift
    return _deliver(parts, negative, rounded, exponent, quantum, inexact, _is_tiny(exponent, unbounded, f), f)


@core_function
def round_parts_stochastic(parts: Any, word: Any, f: Any) -> Any:
    """Return (value, flags) of an exact result rounded in a stochastic mode.

    Parameters
    ----------
    parts : tuple
        What a function of `lpsim.core.exact` returns.
    word : int64
        A random integer, 0 <= word < 2**f.random_bits.
    f : Params

    Returns
    -------
    tuple
        The value of the format (float64) and the `lpsim.Flag` bits (int64).
    """
    rest, divisor, tail, root = parts[1], parts[2], parts[3], parts[4]
    negative, significand, exponent, beyond, nearest = _truncate(parts)
    # fraction * 2**53, rounded down: a float64 quotient, and the sign of what it misses.
    quotient = divide(rest, divisor)
    missed = fma(-quotient, divisor, rest)
    missed = fma(-quotient * root, quotient, missed)
    missed = tail if missed == _ZERO else missed
    quotient = -quotient if negative else quotient
    missed = -missed if negative else missed
    truncated = nearest - np.int64(beyond < _ZERO)
    last_place = (truncated >> np.int64(52)) - np.int64(1023 + 52)
    scaled = scale(quotient, np.int64(53) - last_place)
    whole = floor(scaled)
    fraction = np.int64(whole) - np.int64((whole == scaled) & (missed < _ZERO))
    fraction &= (np.int64(1) << np.int64(53)) - np.int64(1)

    quantum, shift = _grid(exponent, f)
    up, inexact = _rounds_up_randomly(significand, fraction, beyond, shift, word, f)
    rounded = (significand >> min(shift, np.int64(62))) + up
    shift = np.int64(52) - f.mantissa_bits
    unbounded = (significand >> shift) + _rounds_up_randomly(significand, fraction, beyond, shift, word, f)[0]
    return _deliver(parts, negative, rounded, exponent, quantum, inexact, _is_tiny(exponent, unbounded, f), f)
