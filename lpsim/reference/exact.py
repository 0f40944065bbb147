"""Exact results of the operations, on Python integers."""

from __future__ import annotations

import math
import operator
import struct
from fractions import Fraction
from typing import NamedTuple

from lpsim.rounding import Flag

__all__ = [
    "Exact", "Operand", "exact_add", "exact_div", "exact_fma", "exact_mul", "exact_sqrt", "exact_sub",
    "exact_value",
]  # fmt: skip

#: An operand, taken exactly as it is.
Operand = int | float

# No format has a bit below 2**-1074, and stochastic rounding looks at no more than 62 bits below
# the last place: of a quotient or root, the bits from here on matter only by not all being zero.
_FINEST = -1074 - 64

_INVALID, _DIVIDE_BY_ZERO = int(Flag.INVALID), int(Flag.DIVIDE_BY_ZERO)


class Exact(NamedTuple):
    """The exact result of an operation, before it is rounded.

    A finite result has a magnitude from ``significand * 2**exponent`` to below
    ``(significand + 1) * 2**exponent``: the lower end itself, or, if ``sticky``, a number strictly
    between the ends. Results that are not dyadic are cut where no format has bits (see the source),
    so nothing that a rounding depends on is lost.

    Attributes
    ----------
    kind : str
        ``"finite"``, ``"infinite"`` or ``"nan"``.
    negative : bool
        The sign, also of a zero and an infinity.
    significand, exponent : int
        The magnitude; ``significand >= 0``.
    sticky : bool
        Whether the magnitude is larger than ``significand * 2**exponent``.
    cancelled : bool
        Whether the result is a zero whose sign depends on the rounding direction (IEEE 754-2019,
        section 6.3): a sum of opposite operands.
    raised : int
        `Flag` bits that the operation itself raises: INVALID or DIVIDE_BY_ZERO.
    """

    kind: str
    negative: bool = False
    significand: int = 0
    exponent: int = 0
    sticky: bool = False
    cancelled: bool = False
    raised: int = 0

    @property
    def is_zero(self) -> bool:
        """Whether the result is exactly zero."""
        return self.kind == "finite" and self.significand == 0 and not self.sticky


_NAN = Exact("nan")
_INVALID_RESULT = Exact("nan", raised=_INVALID)


def exact_value(x: Operand | Fraction) -> Exact:
    """Return ``x`` itself as an `Exact`.

    Parameters
    ----------
    x : int, float or fractions.Fraction
        Any such number, without limit of range or precision.

    Returns
    -------
    Exact

    Raises
    ------
    TypeError
        If ``x`` is none of these.
    """
    if isinstance(x, float):
        if math.isfinite(x):
            fraction, exponent = math.frexp(abs(x))
            return Exact("finite", math.copysign(1.0, x) < 0, int(math.ldexp(fraction, 53)), exponent - 53)
        if math.isinf(x):
            return Exact("infinite", x < 0)
        quiet = struct.unpack("<Q", struct.pack("<d", x))[0] >> 51 & 1
        return _NAN if quiet else _INVALID_RESULT
    if isinstance(x, Fraction):
        return _quotient(x < 0, abs(x.numerator), x.denominator, 0)
    try:
        integer = operator.index(x)
    except TypeError:
        raise TypeError(f"x is {x!r}; allowed: an int, a float or a fractions.Fraction") from None
    return Exact("finite", integer < 0, abs(integer))


def exact_add(x: Operand, y: Operand) -> Exact:
    """Return the exact sum of ``x`` and ``y``."""
    return _sum(exact_value(x), exact_value(y))


def exact_sub(x: Operand, y: Operand) -> Exact:
    """Return the exact difference of ``x`` and ``y``."""
    subtrahend = exact_value(y)
    return _sum(exact_value(x), subtrahend._replace(negative=not subtrahend.negative))


def exact_mul(x: Operand, y: Operand) -> Exact:
    """Return the exact product of ``x`` and ``y``."""
    return _product(exact_value(x), exact_value(y))


def exact_fma(x: Operand, y: Operand, z: Operand) -> Exact:
    """Return the exact value of ``x * y + z``."""
    # The product 0 * inf is invalid also if a quiet NaN is added (IEEE 754-2019, section 7.2, leaves the choice to
    # the implementation; RISC-V, Arm and SoftFloat choose this).
    return _sum(_product(exact_value(x), exact_value(y)), exact_value(z))


def exact_div(x: Operand, y: Operand) -> Exact:
    """Return the exact quotient of ``x`` and ``y``."""
    a, b = exact_value(x), exact_value(y)
    negative = a.negative != b.negative
    if a.kind == "nan" or b.kind == "nan":
        return _nan_of(a, b)
    if (a.kind == b.kind == "infinite") or (a.is_zero and b.is_zero):
        return _INVALID_RESULT
    if a.kind == "infinite":
        return Exact("infinite", negative)
    if b.kind == "infinite":
        return Exact("finite", negative)
    if b.is_zero:
        return Exact("infinite", negative, raised=_DIVIDE_BY_ZERO)
    return _quotient(negative, a.significand, b.significand, a.exponent - b.exponent)


def exact_sqrt(x: Operand) -> Exact:
    """Return the exact square root of ``x``."""
    a = exact_value(x)
    if a.kind == "nan" or a.is_zero:
        return a
    if a.negative:
        return _INVALID_RESULT
    if a.kind == "infinite":
        return a
    # The floor of sqrt(a) / 2**_FINEST is the integer root of a / 2**(2 * _FINEST), an integer too.
    square = a.significand << (a.exponent - 2 * _FINEST)
    root = math.isqrt(square)
    return Exact("finite", False, root, _FINEST, root * root != square)


def _nan_of(*operands: Exact) -> Exact:
    """Return the NaN of an operation on a NaN: invalid if an operand is signalling or came from an invalid step."""
    invalid = any(operand.kind == "nan" and operand.raised for operand in operands)
    return _INVALID_RESULT if invalid else _NAN


def _sum(a: Exact, b: Exact) -> Exact:
    if a.kind == "nan" or b.kind == "nan":
        return _nan_of(a, b)
    if a.kind == "infinite" or b.kind == "infinite":
        if a.kind == b.kind and a.negative != b.negative:
            return _INVALID_RESULT
        return a if a.kind == "infinite" else b
    exponent = min(a.exponent, b.exponent)
    x = a.significand << (a.exponent - exponent)
    y = b.significand << (b.exponent - exponent)
    total = (-x if a.negative else x) + (-y if b.negative else y)
    if total == 0:
        return Exact("finite", a.negative and b.negative, cancelled=a.negative != b.negative)
    return Exact("finite", total < 0, abs(total), exponent)


def _product(a: Exact, b: Exact) -> Exact:
    negative = a.negative != b.negative
    if a.kind == "nan" or b.kind == "nan":
        return _nan_of(a, b)
    if a.kind == "infinite" or b.kind == "infinite":
        return _INVALID_RESULT if a.is_zero or b.is_zero else Exact("infinite", negative)
    return Exact("finite", negative, a.significand * b.significand, a.exponent + b.exponent)


def _quotient(negative: bool, numerator: int, denominator: int, exponent: int) -> Exact:
    """Return ``numerator / denominator * 2**exponent``."""
    shift = exponent - _FINEST
    quotient, remainder = divmod(numerator << max(shift, 0), denominator << max(-shift, 0))
    return Exact("finite", negative, quotient, _FINEST, remainder != 0)
