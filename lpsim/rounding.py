"""Rounding directions, overflow policies and exception flags.

The integer values are stable: they travel into compiled kernels and into saved files.
"""

from __future__ import annotations

import enum
from typing import TypeVar

from lpsim.checks import shown

__all__ = ["TININESS", "Flag", "Overflow", "Rounding"]


class Rounding(enum.IntEnum):
    """How a real number that lies between two values of a format is rounded.

    The first six are the rounding-direction attributes of IEEE 754-2019 (sections 4.3.1 and 4.3.2)
    and its augmented operations' ``roundTiesTowardZero`` (section 9.5); ``TO_ODD`` is that of Boldo
    and Melquiond (doi:10.1109/TC.2007.70819). Wherever a function takes a mode, the lower-case name
    is accepted as well: ``"ties_to_even"``.

    Attributes
    ----------
    TIES_TO_EVEN
        To the nearest value; a tie goes to the neighbour with an even code.
    TIES_TO_AWAY
        To the nearest value; a tie goes to the neighbour of larger magnitude.
    TIES_TO_ZERO
        To the nearest value; a tie goes to the neighbour of smaller magnitude.
    TOWARD_ZERO, TOWARD_POSITIVE, TOWARD_NEGATIVE, AWAY_FROM_ZERO
        To the neighbour in the stated direction.
    TO_ODD
        To the neighbour with an odd code; a value of the format stays as it is.
    STOCHASTIC
        Away from zero with a probability equal to the discarded fraction of the gap, truncated to
        ``random_bits`` bits; values of the format never change.
    STOCHASTIC_EQUAL
        To either neighbour with probability one half; values of the format never change.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.round(2.5, "E3M0", rounding="toward_zero"))
    2.0
    """

    TIES_TO_EVEN = 0
    TIES_TO_AWAY = 1
    TIES_TO_ZERO = 2
    TOWARD_ZERO = 3
    TOWARD_POSITIVE = 4
    TOWARD_NEGATIVE = 5
    AWAY_FROM_ZERO = 6
    TO_ODD = 7
    STOCHASTIC = 8
    STOCHASTIC_EQUAL = 9

    @property
    def is_stochastic(self) -> bool:
        """Whether the mode consumes random bits."""
        return self >= Rounding.STOCHASTIC

    @property
    def is_nearest(self) -> bool:
        """Whether the mode rounds to a nearest value."""
        return self <= Rounding.TIES_TO_ZERO


class Overflow(enum.IntEnum):
    """What becomes of a result beyond the largest finite value of a format.

    A result overflows when, rounded as if the exponent range had no upper end, it exceeds the
    largest finite value (IEEE 754-2019, section 7.4).

    Attributes
    ----------
    IEEE
        By rounding mode: the nearest modes, ``AWAY_FROM_ZERO`` and the stochastic modes give infinity,
        ``TOWARD_ZERO`` and ``TO_ODD`` the largest finite value, the directed modes one or the other
        by sign. A format without infinities has NaN in their place; one with neither saturates.
        (OCP calls it non-saturating, P3109 OvfInf.)
    SATURATE
        Finite overflow and infinities become the largest finite value of their sign
        (OCP saturating mode; P3109 SatFinite).
    SATURATE_FINITE
        Finite overflow becomes the largest finite value; infinities are kept, where the format has
        them (P3109 SatPropagate).
    TO_NAN
        Finite overflow becomes NaN; infinities are kept, where the format has them.
    TO_INFINITY
        As ``IEEE`` in the nearest modes, whatever the mode: matrix units that truncate overflow to
        infinity all the same.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.round(1e6, lp.float8_e4m3fn, overflow="saturate"))
    448.0
    """

    IEEE = 0
    SATURATE = 1
    SATURATE_FINITE = 2
    TO_NAN = 3
    TO_INFINITY = 4


#: When a result counts as tiny: after rounding to the precision with an unbounded exponent, or before.
TININESS = ("after", "before")


class Flag(enum.IntFlag):
    """Exceptions of one operation (IEEE 754-2019, section 7), as bits of a ``uint8``.

    Attributes
    ----------
    INVALID
        The operation has no result in the extended reals (``inf - inf``, ``0 * inf``, ``0 / 0``,
        ``inf / inf``, the square root of a negative number), an operand is a signalling NaN, or no value of the
        format can stand for the result (a negative number in an unsigned format).
    DIVIDE_BY_ZERO
        A finite non-zero number divided by zero.
    OVERFLOW
        See `Overflow`; also an infinity in a format that has none.
    UNDERFLOW
        The result is tiny and the delivered result is inexact. A result is tiny if, rounded to the format's
        precision as if the exponent range had no lower end, it is not zero and smaller in magnitude than
        ``2**emin`` (tininess *after* rounding); with ``tininess="before"``, if the exact result is. No overflow
        is an underflow, whatever the format.
    INEXACT
        The delivered result is not the exact result.

    Examples
    --------
    >>> import lpsim as lp
    >>> value, flags = lp.div(1.0, 3.0, lp.float16, flags=True)
    >>> lp.Flag(int(flags)).name
    'INEXACT'
    """

    INVALID = 1
    DIVIDE_BY_ZERO = 2
    OVERFLOW = 4
    UNDERFLOW = 8
    INEXACT = 16


_Mode = TypeVar("_Mode", Rounding, Overflow)


def _as_member(value: object, kind: type[_Mode], argument: str) -> _Mode:
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        member = kind.__members__.get(value.upper())
        if member is not None:
            return member
    names = ", ".join(repr(name.lower()) for name in kind.__members__)
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"{argument} is {shown(value)}; allowed: a lpsim.{kind.__name__} or one of {names}")


def as_rounding(value: object, argument: str = "rounding") -> Rounding:
    """Return the `Rounding` that a user's argument names."""
    return _as_member(value, Rounding, argument)


def as_overflow(value: object, argument: str = "overflow") -> Overflow:
    """Return the `Overflow` that a user's argument names."""
    return _as_member(value, Overflow, argument)
