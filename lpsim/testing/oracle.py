"""A fast oracle: exact results are placed between their neighbours once, then rounded in every mode at once.

Where an exact result lies - between which two codes, and in which part of the gap - does not depend on the rounding
mode. `place` works it out in Python integers, one result after the other; `round_placed` then needs no more than
comparisons of small integers, for whole arrays. The kernels have no part in either, nor has the rounding of
`lpsim.reference`, only its exact results.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.formats import Format
from lpsim.reference import Exact
from lpsim.rounding import Flag, Overflow, Rounding

__all__ = ["NAN", "RANDOM_BITS", "Placed", "Rounded", "codes_of", "place", "round_placed", "values_of"]

#: Stands for NaN among magnitude codes, as no format has a code below 0.
NAN = -1

#: How many random bits the stochastic modes use here. Placed results keep this many bits of their fractions.
RANDOM_BITS = 16

#: Widest codes whose values are put in a table.
_TABLE_BITS = 12

_Bools = npt.NDArray[np.bool_]
_Integers = npt.NDArray[np.int64]

# Kinds of results.
_BETWEEN, _ZERO, _INFINITE, _NOT_A_NUMBER = range(4)

# Positions in a gap between neighbours, counted from the lower end.
_AT_LOW, _BELOW_HALF, _AT_HALF, _ABOVE_HALF = range(4)


class Placed(NamedTuple):
    """Exact results by their places among the values of a format; arrays with an element for each result.

    Attributes
    ----------
    kind : ndarray of int
        Finite and not zero, zero, infinite or NaN.
    negative : ndarray of bool
        The sign.
    cancelled : ndarray of bool
        Whether it is a zero whose sign depends on the rounding direction.
    raised : ndarray of int
        Flags that the operation itself raises.
    low, high : ndarray of int
        Magnitude codes of the neighbours. All numbers of which the neighbour toward zero is beyond the largest
        finite value have the code after this value twice.
    position, fraction : ndarray of int
        Position in the gap: at its lower end, below its middle, at it, above it; and the distance from the lower
        end in units of ``2**-RANDOM_BITS`` of the gap, rounded down.
    tiny : ndarray of bool
        Whether the magnitude is below ``2**emin``.
    last_position, last_fraction : ndarray of int
        The same as ``position`` and ``fraction`` in the last gap below ``2**emin`` that there would be if the
        precision went on below it; 0 outside this gap.
    """

    kind: _Integers
    negative: _Bools
    cancelled: _Bools
    raised: _Integers
    low: _Integers
    high: _Integers
    position: _Integers
    fraction: _Integers
    tiny: _Bools
    last_position: _Integers
    last_fraction: _Integers


class Rounded(NamedTuple):
    """Rounded results: the code without its sign bit (NAN: a NaN), the sign, and the flags."""

    magnitude: _Integers
    negative: _Bools
    flags: npt.NDArray[np.uint8]


_Place = tuple[int, int, int, int]
_Locate = Callable[[int, int, bool], _Place]


def place(exact: Iterable[Exact], fmt: Format) -> Placed:
    """Place exact results among the values of a format.

    Parameters
    ----------
    exact : iterable of Exact
        Results, as `lpsim.reference.exact_add` and its siblings return them.
    fmt : Format
        The format.

    Returns
    -------
    Placed

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim import reference
    >>> from lpsim.testing import oracle
    >>> placed = oracle.place([reference.exact_add(1.0, 0.125)], lp.float4_e2m1fn)
    >>> oracle.values_of(oracle.round_placed(placed, lp.float4_e2m1fn, "toward_positive"), lp.float4_e2m1fn)
    array([1.5])
    """
    locate = _by_table(fmt) if fmt.bits <= _TABLE_BITS else _by_binade(fmt)
    emin = fmt.emin
    rows: list[tuple[int, ...]] = []
    for kind, negative, significand, exponent, sticky, cancelled, raised in exact:
        if kind != "finite":
            rows.append((_INFINITE if kind == "infinite" else _NOT_A_NUMBER, negative, 0, raised, *_NOWHERE))
        elif not significand and not sticky:
            rows.append((_ZERO, negative, cancelled, raised, *_NOWHERE))
        else:
            where = locate(significand, exponent, sticky)
            size = significand.bit_length() + exponent  # the magnitude is below 2**size, and at least half of it
            last = _in_last_gap(significand, exponent, sticky, fmt) if size == emin else (0, 0)
            rows.append((_BETWEEN, negative, 0, raised, *where, size <= emin, *last))
    columns = np.array(rows, np.int64).reshape(-1, 11).T.copy()
    kind_, negative_, cancelled_, raised_, low, high, position, fraction, tiny, last_position, last_fraction = columns
    return Placed(
        kind_, negative_ != 0, cancelled_ != 0, raised_, low, high, position, fraction, tiny != 0,
        last_position, last_fraction,
    )  # fmt: skip


_NOWHERE = (0,) * 7


def _cut(significand: int, exponent: int, sticky: bool, unit: int) -> tuple[int, bool]:
    """Return how often ``2**unit`` goes into a magnitude, and whether something is left."""
    shift = exponent - unit
    if shift >= 0:
        return significand << shift, sticky
    n = significand >> -shift
    return n, sticky or n << -shift != significand


def _in_gap(n: int, rest: bool, low: int, width: int) -> tuple[int, int]:
    """Return position and fraction of ``n``, and something more if ``rest``, in the gap that starts at ``low``."""
    twice = 2 * (n - low)
    if twice == 0 and not rest:
        position = _AT_LOW
    elif twice < width:
        position = _BELOW_HALF
    else:
        position = _AT_HALF if twice == width and not rest else _ABOVE_HALF
    return position, ((n - low) << RANDOM_BITS) // width


def _by_table(fmt: Format) -> _Locate:
    """Return a function that looks for the neighbours in a sorted table of all values, as integers."""
    # Fine enough that neither the middle of a gap nor a step of a fraction lies between two integers.
    unit = fmt.quantum_exponent - RANDOM_BITS - 1
    first_normal = 1 << fmt.mantissa_bits
    codes = list(range(fmt.max_code + 2))  # the last one is what the largest value would be followed by
    if not fmt.has_zero:
        fields = [(first_normal + code % first_normal, code // first_normal) for code in codes]
    else:
        if not fmt.subnormals:
            codes = [0, *codes[first_normal:]]
        fields = [
            (code, 0) if code < first_normal else (first_normal + code % first_normal, code // first_normal - 1)
            for code in codes
        ]
    table = [significand << (lift + RANDOM_BITS + 1) for significand, lift in fields]
    end = len(table) - 1

    def locate(significand: int, exponent: int, sticky: bool) -> _Place:
        n, rest = _cut(significand, exponent, sticky, unit)
        i = bisect_right(table, n) - 1
        if i < 0:  # below the smallest value of a format without zero: there is no other to go to
            return 0, 0, _BELOW_HALF, 0
        if i == end:
            return codes[end], codes[end], _AT_LOW, 0
        return codes[i], codes[i + 1], *_in_gap(n, rest, table[i], table[i + 1] - table[i])

    return locate


def _by_binade(fmt: Format) -> _Locate:
    """Return a function that works the neighbours out from the binade: the same places, for any width."""
    mantissa_bits, quantum, emin, beyond = fmt.mantissa_bits, fmt.quantum_exponent, fmt.emin, fmt.max_code + 1
    has_zero, subnormals = fmt.has_zero, fmt.subnormals

    def locate(significand: int, exponent: int, sticky: bool) -> _Place:
        top = significand.bit_length() + exponent - 1
        if top < emin and not subnormals:
            if not has_zero:
                return 0, 0, _BELOW_HALF, 0
            n, rest = _cut(significand, exponent, sticky, emin - RANDOM_BITS - 1)
            return 0, 1 << mantissa_bits, *_in_gap(n, rest, 0, 2 << RANDOM_BITS)
        spacing = max(top - mantissa_bits, quantum)
        n, rest = _cut(significand, exponent, sticky, spacing - RANDOM_BITS - 1)
        k = n >> (RANDOM_BITS + 1)
        low = ((spacing - quantum) << mantissa_bits) + k - (0 if has_zero else 1 << mantissa_bits)
        if low >= beyond:
            return beyond, beyond, _AT_LOW, 0
        return low, low + 1, *_in_gap(n, rest, k << (RANDOM_BITS + 1), 2 << RANDOM_BITS)

    return locate


def _in_last_gap(significand: int, exponent: int, sticky: bool, fmt: Format) -> tuple[int, int]:
    """Return position and fraction between ``2**emin`` and its predecessor at full precision, (0, 0) below it."""
    spacing = fmt.emin - 1 - fmt.mantissa_bits
    n, rest = _cut(significand, exponent, sticky, spacing - RANDOM_BITS - 1)
    width = 2 << RANDOM_BITS
    low = (width << (fmt.mantissa_bits + 1)) - width
    return _in_gap(n, rest, low, width) if n >= low else (0, 0)


def round_placed(
    placed: Placed,
    fmt: Format,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    bits: _Integers | None = None,
    tininess: str = "after",
) -> Rounded:
    """Round placed results to the format they were placed in.

    Parameters
    ----------
    placed : Placed
        Results, as `place` returned them for ``fmt``.
    fmt : Format
        The format.
    rounding, overflow : Rounding, Overflow or str
        The mode and the policy.
    bits : ndarray of int, optional
        For stochastic modes, a random integer below ``2**RANDOM_BITS`` for each result.
    tininess : str
        ``"after"`` or ``"before"`` rounding; see `lpsim.Flag`.

    Returns
    -------
    Rounded
    """
    mode = Rounding[rounding.upper()] if isinstance(rounding, str) else rounding
    policy = Overflow[overflow.upper()] if isinstance(overflow, str) else overflow
    p = placed
    up = _goes_up(p.position, p.fraction, p.low & 1, p.negative, mode, bits)
    magnitude = np.where(up, p.high, p.low)
    overflows = magnitude > fmt.max_code
    inexact = (p.position != _AT_LOW) | overflows
    tiny = p.tiny & ~(_becomes_normal(p, fmt, mode, bits) & (tininess == "after"))
    flags = _where(inexact, Flag.INEXACT) | _where(overflows, Flag.OVERFLOW)
    flags |= _where(tiny & inexact & ~overflows, Flag.UNDERFLOW)
    beyond = [_overflowed(sign, fmt, mode, policy) for sign in (False, True)]
    magnitude = np.where(overflows, np.where(p.negative, beyond[1], beyond[0]), magnitude)

    infinite = p.kind == _INFINITE
    magnitude = np.where(infinite, _infinity(fmt, policy), magnitude)
    no_infinity = _infinity(fmt, policy) != fmt.infinity_code
    flags = np.where(infinite, p.raised | (Flag.OVERFLOW | Flag.INEXACT if no_infinity else 0), flags)

    negative = p.negative
    if not fmt.signed:
        refused = negative & ((p.kind == _BETWEEN) | infinite)
        magnitude = np.where(refused, NAN if _prefers_nan(fmt, policy) else 0, magnitude)
        flags = np.where(refused, Flag.INVALID, flags)

    zero = p.kind == _ZERO
    zero_is_nan = not fmt.has_zero and _prefers_nan(fmt, policy)
    zero_flags = 0 if fmt.has_zero else Flag.INVALID if zero_is_nan else Flag.INEXACT
    magnitude = np.where(zero, NAN if zero_is_nan else 0, magnitude)
    flags = np.where(zero, zero_flags, flags)
    if mode == Rounding.TOWARD_NEGATIVE:
        negative = negative | p.cancelled
    if not fmt.has_negative_zero:
        negative = negative & ~(zero | (fmt.has_zero & (magnitude == 0)))

    nan = p.kind == _NOT_A_NUMBER
    magnitude, flags = np.where(nan, NAN, magnitude), np.where(nan, p.raised, flags)
    # A format without negative numbers has its smallest one where these would be.
    negative = negative & (magnitude != NAN) & fmt.signed
    return Rounded(magnitude, negative, flags.astype(np.uint8))


def _goes_up(
    position: _Integers, fraction: _Integers, odd: _Integers, negative: _Bools, mode: Rounding, bits: _Integers | None
) -> _Bools:
    """Whether numbers in a gap go to its upper end; ``odd`` is the parity of the code of the lower."""
    up: _Bools
    if mode.is_stochastic:
        if bits is None:
            raise ValueError(f"bits is None; allowed with rounding={mode.name.lower()!r}: an array of integers")
        carry = bits + (fraction if mode == Rounding.STOCHASTIC else 1 << RANDOM_BITS >> 1)
        up = (position != _AT_LOW) & (carry >= 1 << RANDOM_BITS)
    elif mode.is_nearest:
        tie_goes_up: Any = {Rounding.TIES_TO_EVEN: odd == 1, Rounding.TIES_TO_AWAY: True}.get(mode, False)
        up = (position == _ABOVE_HALF) | ((position == _AT_HALF) & tie_goes_up)
    else:
        moves: Any = {
            Rounding.TOWARD_ZERO: False,
            Rounding.AWAY_FROM_ZERO: True,
            Rounding.TOWARD_POSITIVE: ~negative,
            Rounding.TOWARD_NEGATIVE: negative,
            Rounding.TO_ODD: odd == 0,
        }[mode]
        up = (position != _AT_LOW) & moves
    return up


def _becomes_normal(p: Placed, fmt: Format, mode: Rounding, bits: _Integers | None) -> _Bools:
    """Whether tiny results round to ``2**emin`` at full precision, were there exponents below emin."""
    # The code before that of 2**emin, in the sequence of codes continued at full precision.
    odd = ((fmt.has_zero << fmt.mantissa_bits) - 1) & 1
    return _goes_up(p.last_position, p.last_fraction, np.full_like(p.low, odd), p.negative, mode, bits)


def _where(condition: _Bools, flag: Flag) -> _Integers:
    return condition.astype(np.int64) * int(flag)


def _saturates(policy: Overflow) -> bool:
    return policy in (Overflow.SATURATE, Overflow.SATURATE_FINITE)


def _prefers_nan(fmt: Format, policy: Overflow) -> bool:
    """Whether what is not in the format at all becomes a NaN, not the nearest value."""
    return fmt.has_nan and not _saturates(policy)


def _infinity(fmt: Format, policy: Overflow) -> int:
    """Return the magnitude code that stands for an infinity."""
    if policy == Overflow.SATURATE:
        return fmt.max_code
    if fmt.infinity_code is not None:
        return fmt.infinity_code
    return NAN if fmt.has_nan else fmt.max_code


def _overflowed(negative: bool, fmt: Format, mode: Rounding, policy: Overflow) -> int:
    """Return the magnitude code that a finite result beyond the largest finite value gets."""
    if policy == Overflow.TO_NAN:
        return NAN
    if policy == Overflow.TO_INFINITY:
        return _infinity(fmt, policy)
    toward_zero = {
        Rounding.TOWARD_ZERO: True,
        Rounding.TO_ODD: True,
        Rounding.TOWARD_POSITIVE: negative,
        Rounding.TOWARD_NEGATIVE: not negative,
    }.get(mode, False)
    return fmt.max_code if toward_zero or _saturates(policy) else _infinity(fmt, policy)


def values_of(rounded: Rounded, fmt: Format) -> npt.NDArray[np.float64]:
    """Return rounded results as numbers; exact, with one NaN."""
    code = np.maximum(rounded.magnitude, 0)
    field, trailing = code >> fmt.mantissa_bits, code & ((1 << fmt.mantissa_bits) - 1)
    is_normal = (field > 0) | (not fmt.has_zero)
    significand = trailing + (is_normal.astype(np.int64) << fmt.mantissa_bits)
    exponent = fmt.quantum_exponent + np.where(is_normal, field - fmt.has_zero, 0)
    if fmt.infinity_code is not None:
        exponent = np.where(code == fmt.infinity_code, 0, exponent)
    values = np.ldexp(significand.astype(np.float64), exponent)
    if fmt.infinity_code is not None:
        values = np.where(code == fmt.infinity_code, np.inf, values)
    signed: npt.NDArray[np.float64] = np.where(rounded.negative, -values, values)
    return np.where(rounded.magnitude == NAN, np.nan, signed)


def codes_of(rounded: Rounded, fmt: Format) -> npt.NDArray[np.uint64]:
    """Return the codes of rounded results; `Format.nan_code` for a NaN, which ``fmt`` must have then."""
    nan = rounded.magnitude == NAN
    if nan.any() and fmt.nan_code is None:
        raise ValueError(f"rounded holds NaN, but {fmt} has none; allowed: numbers")
    codes: npt.NDArray[np.uint64] = np.maximum(rounded.magnitude, 0).astype(np.uint64)
    codes[rounded.negative] |= np.uint64(fmt.sign_mask)
    codes[nan] = fmt.nan_code or 0
    return codes
