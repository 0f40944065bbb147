"""One rounding of an exact result to a format, and the operations made of the two."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.reference.exact import (
    Exact,
    Operand,
    exact_add,
    exact_div,
    exact_fma,
    exact_mul,
    exact_sqrt,
    exact_sub,
    exact_value,
)
from lpsim.rounding import TININESS, Flag, Overflow, Rounding, as_overflow, as_rounding

if TYPE_CHECKING:
    # Part of typing from Python 3.11 on.
    from typing_extensions import Unpack

__all__ = ["Mode", "add", "div", "fma", "mul", "round", "round_exact", "sqrt", "sub"]

_MAX_RANDOM_BITS = 62

# Members bound to plain names: attribute access on an enumeration is slow.
_TIES_TO_EVEN, _TIES_TO_AWAY, _TIES_TO_ZERO = (
    Rounding.TIES_TO_EVEN,
    Rounding.TIES_TO_AWAY,
    Rounding.TIES_TO_ZERO,
)
_TOWARD_ZERO, _TOWARD_POSITIVE, _TOWARD_NEGATIVE, _AWAY_FROM_ZERO = (
    Rounding.TOWARD_ZERO,
    Rounding.TOWARD_POSITIVE,
    Rounding.TOWARD_NEGATIVE,
    Rounding.AWAY_FROM_ZERO,
)
_TO_ODD, _STOCHASTIC = Rounding.TO_ODD, Rounding.STOCHASTIC

# Flags are gathered as plain integers for the same reason.
_INVALID, _OVERFLOW = int(Flag.INVALID), int(Flag.OVERFLOW)
_UNDERFLOW, _INEXACT = int(Flag.UNDERFLOW), int(Flag.INEXACT)


class Mode(TypedDict, total=False):
    """Keyword arguments of every function that rounds; see `round`."""

    rounding: Rounding | str
    overflow: Overflow | str
    random_bits: int
    bits: int
    flags: bool
    tininess: str


class Grid(NamedTuple):
    """What rounding needs to know of a format, worked out once."""

    fmt: Format
    mantissa_bits: int
    emin: int
    quantum_exponent: int
    max_code: int
    max: float
    signed: bool
    subnormals: bool
    has_zero: bool
    has_negative_zero: bool
    has_infinity: bool
    has_nan: bool


@functools.lru_cache(maxsize=4096)
def grid_of(fmt: Format) -> Grid:
    """Return the facts of ``fmt`` that rounding needs."""
    return Grid(
        fmt, fmt.mantissa_bits, fmt.emin, fmt.quantum_exponent, fmt.max_code, fmt.max, fmt.signed,
        fmt.subnormals, fmt.has_zero, fmt.has_negative_zero, fmt.has_infinity, fmt.has_nan,
    )  # fmt: skip


def round_exact(
    exact: Exact,
    fmt: FormatLike,
    *,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    random_bits: int = 32,
    bits: int = 0,
    flags: bool = False,
    tininess: str = "after",
) -> float | tuple[float, Flag]:
    """Round an exact result to a value of ``fmt``; see `round` for the parameters."""
    rounding, overflow = as_rounding(rounding), as_overflow(overflow)
    fmt = as_format(fmt)
    check_overflow(fmt, overflow)
    grid = grid_of(fmt)
    check_random_bits(random_bits)
    if not 0 <= bits < 1 << random_bits:
        raise ValueError(f"bits is {bits}; allowed: 0 to 2**{random_bits} - 1, as random_bits={random_bits}")
    if tininess not in TININESS:
        raise ValueError(f"tininess is {tininess!r}; allowed: {', '.join(map(repr, TININESS))}")
    value, raised = deliver(exact, grid, rounding, overflow, random_bits, bits, tininess)
    return (value, Flag(raised)) if flags else value


def check_random_bits(random_bits: int) -> None:
    """Raise ValueError if a stochastic mode cannot use that many bits."""
    if not 1 <= random_bits <= _MAX_RANDOM_BITS:
        raise ValueError(f"random_bits is {random_bits}; allowed: 1 to {_MAX_RANDOM_BITS}")


def check_overflow(fmt: Format, overflow: Overflow) -> None:
    """Raise ValueError if the policy asks for a NaN that the format does not have."""
    if overflow == Overflow.TO_NAN and not fmt.has_nan:
        allowed = "'ieee', 'saturate', 'saturate_finite', 'to_infinity'"
        raise ValueError(f"overflow is 'to_nan', but {fmt} has no NaN; allowed: {allowed}")


def deliver(
    exact: Exact,
    grid: Grid,
    rounding: Rounding,
    overflow: Overflow,
    random_bits: int,
    bits: int,
    tininess: str = "after",
) -> tuple[float, int]:
    """Return the rounded value and its flags."""
    if exact.kind == "nan":
        return math.nan, exact.raised
    negative = exact.negative
    if exact.is_zero:
        return _zero(negative or (exact.cancelled and rounding is _TOWARD_NEGATIVE), grid, overflow)
    if negative and not grid.signed:
        return _stand_in(grid, overflow), _INVALID
    if exact.kind == "infinite":
        value = _infinity(negative, grid, overflow)
        return value, exact.raised | (0 if math.isinf(value) else _OVERFLOW | _INEXACT)

    significand, exponent = exact.significand, exact.exponent
    k, q, code, inexact = round_magnitude(
        significand, exponent, exact.sticky, negative, grid, rounding, random_bits, bits
    )
    if code > grid.max_code:
        value, raised = _overflowed(negative, grid, rounding, overflow), _OVERFLOW | _INEXACT
    else:
        value, raised = math.ldexp(k, q), _INEXACT if inexact else 0
        if negative and (k or grid.has_negative_zero):
            value = -value
    if raised == _INEXACT and significand.bit_length() + exponent <= grid.emin:  # below 2**emin
        reaches_normal = tininess == "after" and _rounds_to_smallest_normal(
            significand, exponent, exact.sticky, negative, grid, rounding, random_bits, bits
        )
        raised |= 0 if reaches_normal else _UNDERFLOW
    return value, raised


def _rounds_to_smallest_normal(
    n: int,
    exponent: int,
    sticky: bool,
    negative: bool,
    grid: Grid,
    rounding: Rounding,
    random_bits: int,
    bits: int,
) -> bool:
    """Whether a magnitude below ``2**emin`` rounds to it at full precision, were there exponents below emin."""
    if n.bit_length() + exponent < grid.emin:
        return False
    q = grid.quantum_exponent - 1
    if q <= exponent:  # exact
        return False
    k = n >> (q - exponent)
    rest = n - (k << (q - exponent))
    inexact = rest != 0 or sticky
    # As in round_magnitude, with the sequence of codes continued below that of 2**emin.
    code = k - ((2 - grid.has_zero) << grid.mantissa_bits)
    up = inexact and _rounds_up(rest, q - exponent, sticky, code & 1, negative, rounding, random_bits, bits)
    return k + up == 1 << (grid.mantissa_bits + 1)


def round_magnitude(
    n: int,
    exponent: int,
    sticky: bool,
    negative: bool,
    grid: Grid,
    rounding: Rounding,
    random_bits: int,
    bits: int,
) -> tuple[int, int, int, bool]:
    """Round the nonzero magnitude ``n * 2**exponent`` (and more, if ``sticky``).

    The exponent range has no upper end here. Returns ``k`` and ``q``, where ``k * 2**q`` is the
    rounded magnitude; its code, in the sequence of codes continued beyond the largest finite one;
    and whether the result is inexact.
    """
    mantissa_bits, quantum_exponent = grid.mantissa_bits, grid.quantum_exponent
    # n + 1 is no more than the next power of two, so a sticky bit leaves floor(log2) alone.
    q = exponent + n.bit_length() - 1 - mantissa_bits
    if q < quantum_exponent:
        if not grid.subnormals:
            return _round_below_normal(n, exponent, sticky, negative, grid, rounding, random_bits, bits)
        q = quantum_exponent
    shift = q - exponent
    if shift <= 0:  # never with a sticky bit: then exponent is _FINEST
        k, inexact, up = n << -shift, False, False
    else:
        k = n >> shift
        rest = n - (k << shift)
        inexact = rest != 0 or sticky
        up = False
    # Subnormals and the binade above them share a spacing; from there each binade has 2**M codes.
    code = ((q - quantum_exponent) << mantissa_bits) + k
    if not grid.has_zero:
        code -= 1 << mantissa_bits
    if inexact:
        up = _rounds_up(rest, shift, sticky, code & 1, negative, rounding, random_bits, bits)
    return k + up, q, code + up, inexact


def _round_below_normal(
    n: int,
    exponent: int,
    sticky: bool,
    negative: bool,
    grid: Grid,
    rounding: Rounding,
    random_bits: int,
    bits: int,
) -> tuple[int, int, int, bool]:
    """Round a magnitude below ``2**emin`` in a format without subnormals: to zero or ``2**emin``."""
    if not grid.has_zero:
        return 1, grid.emin, 0, True
    # Both neighbours have even codes; zero is the one that counts as even.
    up = _rounds_up(n, grid.emin - exponent, sticky, 0, negative, rounding, random_bits, bits)
    code = up << grid.mantissa_bits
    return code, grid.quantum_exponent, code, True


def _rounds_up(
    rest: int,
    shift: int,
    sticky: bool,
    odd: int,
    negative: bool,
    rounding: Rounding,
    random_bits: int,
    bits: int,
) -> bool:
    """Whether an inexact magnitude goes to the neighbour away from zero.

    The discarded fraction of the gap is ``rest / 2**shift``, or a little more if ``sticky``; ``odd``
    is the parity of the code of the neighbour toward zero.
    """
    if rounding is _TIES_TO_EVEN or rounding is _TIES_TO_AWAY or rounding is _TIES_TO_ZERO:
        half = 1 << (shift - 1)
        if rest != half or sticky:
            return rest >= half
        return rounding is _TIES_TO_AWAY or (rounding is _TIES_TO_EVEN and odd == 1)
    if rounding is _TOWARD_ZERO:
        return False
    if rounding is _AWAY_FROM_ZERO:
        return True
    if rounding is _TOWARD_POSITIVE:
        return not negative
    if rounding is _TOWARD_NEGATIVE:
        return negative
    if rounding is _TO_ODD:
        return odd == 0
    if rounding is _STOCHASTIC:
        # With a sticky bit, shift is at least 64 and the floor does not see what lies beyond rest.
        return (rest << random_bits >> shift) + bits >= 1 << random_bits
    return bits >> (random_bits - 1) == 1


def _zero(negative: bool, grid: Grid, overflow: Overflow) -> tuple[float, int]:
    """Deliver an exact zero."""
    if grid.has_zero:
        return (-0.0 if negative and grid.has_negative_zero else 0.0), 0
    if overflow in (Overflow.SATURATE, Overflow.SATURATE_FINITE):
        return grid.fmt.smallest_normal, _INEXACT
    return (math.nan, _INVALID) if grid.has_nan else (grid.fmt.smallest_normal, _INEXACT)


def _stand_in(grid: Grid, overflow: Overflow) -> float:
    """Return what an unsigned format delivers for a negative number."""
    saturating = overflow in (Overflow.SATURATE, Overflow.SATURATE_FINITE)
    return grid.fmt.min if saturating or not grid.has_nan else math.nan


def _infinity(negative: bool, grid: Grid, overflow: Overflow) -> float:
    """Return what a format delivers for an infinity."""
    if overflow == Overflow.SATURATE or not (grid.has_infinity or grid.has_nan):
        return -grid.max if negative else grid.max
    if not grid.has_infinity:
        return math.nan
    return -math.inf if negative else math.inf


def _overflowed(negative: bool, grid: Grid, rounding: Rounding, overflow: Overflow) -> float:
    """Return what a format delivers for a finite result that overflows."""
    if overflow == Overflow.TO_NAN:
        return math.nan
    inward = _TOWARD_POSITIVE if negative else _TOWARD_NEGATIVE
    if overflow == Overflow.TO_INFINITY or (
        overflow == Overflow.IEEE and rounding not in (_TOWARD_ZERO, _TO_ODD, inward)
    ):
        return _infinity(negative, grid, overflow)
    return -grid.max if negative else grid.max


def round(x: Operand | Fraction, fmt: FormatLike, **mode: Unpack[Mode]) -> float | tuple[float, Flag]:
    """Round ``x`` to a value of ``fmt``.

    Parameters
    ----------
    x : int, float or fractions.Fraction
        A number of any size and precision.
    fmt : Format, str or dtype
        The format; see `lpsim.format`.
    rounding : Rounding or str
        How a number between two values is rounded; default ties to even.
    overflow : Overflow or str
        What becomes of a result beyond the largest finite value; default by rounding mode.
    random_bits : int
        How many random bits a stochastic mode uses: 1 to 62, default 32.
    bits : int
        These bits, as an integer from 0 to ``2**random_bits - 1``; default 0. ``STOCHASTIC`` rounds
        away from zero if the discarded fraction of the gap, truncated to ``random_bits`` bits, and
        ``bits`` have a carry in their sum; ``STOCHASTIC_EQUAL`` if the top bit of ``bits`` is set.
    flags : bool
        Whether to return the flags too.
    tininess : str
        For the flag UNDERFLOW: ``"after"`` (default) or ``"before"`` rounding; see `lpsim.Flag`.

    Returns
    -------
    float or (float, Flag)
        A value of ``fmt``. A NaN is delivered as a NaN even where ``fmt`` has none.

    Raises
    ------
    ValueError
        If ``bits`` or ``random_bits`` is out of range, or ``overflow`` asks for a NaN that the format
        does not have.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    Source: IEEE 754-2019, sections 4.3 (rounding), 6.3 (the sign bit) and 7 (exceptions).

    Examples
    --------
    >>> from fractions import Fraction
    >>> from lpsim import reference
    >>> reference.round(Fraction(1, 3), "bfloat16")
    0.333984375
    >>> reference.round(1 + 2**-100, "bfloat16", rounding="toward_positive")  # the float is 1
    1.0
    >>> reference.round(1 + Fraction(1, 2**100), "bfloat16", rounding="toward_positive")
    1.0078125
    """
    return round_exact(exact_value(x), fmt, **mode)


def add(x: Operand, y: Operand, fmt: FormatLike, **mode: Unpack[Mode]) -> float | tuple[float, Flag]:
    """Return ``x + y``, rounded once to ``fmt``; see `round` for the mode."""
    return round_exact(exact_add(x, y), fmt, **mode)


def sub(x: Operand, y: Operand, fmt: FormatLike, **mode: Unpack[Mode]) -> float | tuple[float, Flag]:
    """Return ``x - y``, rounded once to ``fmt``; see `round` for the mode."""
    return round_exact(exact_sub(x, y), fmt, **mode)


def mul(x: Operand, y: Operand, fmt: FormatLike, **mode: Unpack[Mode]) -> float | tuple[float, Flag]:
    """Return ``x * y``, rounded once to ``fmt``; see `round` for the mode."""
    return round_exact(exact_mul(x, y), fmt, **mode)


def div(x: Operand, y: Operand, fmt: FormatLike, **mode: Unpack[Mode]) -> float | tuple[float, Flag]:
    """Return ``x / y``, rounded once to ``fmt``; see `round` for the mode."""
    return round_exact(exact_div(x, y), fmt, **mode)


def sqrt(x: Operand, fmt: FormatLike, **mode: Unpack[Mode]) -> float | tuple[float, Flag]:
    """Return the square root of ``x``, rounded once to ``fmt``; see `round` for the mode."""
    return round_exact(exact_sqrt(x), fmt, **mode)


def fma(x: Operand, y: Operand, z: Operand, fmt: FormatLike, **mode: Unpack[Mode]) -> float | tuple[float, Flag]:
    """Return ``x * y + z``, rounded once to ``fmt``; see `round` for the mode."""
    return round_exact(exact_fma(x, y, z), fmt, **mode)
