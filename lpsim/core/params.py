"""Parameters of one rounding, as typed scalars that compiled code takes at run time."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

__all__ = ["Params", "StochasticParams", "stochastic"]


class Params(NamedTuple):
    """A format, a rounding mode and an overflow policy, reduced to what the kernels compare and add.

    Every field is an ``int`` or a ``float`` and keeps that type, so that one compiled kernel serves
    all formats and modes. ``positive`` and ``negative`` in a name mean the sign of the exact result.
    """

    # The format's grid.
    mantissa_bits: int
    emin: int
    tiny_quantum: int  # exponent of the spacing below 2**emin
    field_offset: int  # biased exponent field of emin
    has_subnormals: int

    # The mode, as 0/1 coefficients (see rounding._increment).
    nearest: int
    tie_even: int
    tie_away: int
    up_positive: int
    up_negative: int
    to_odd: int
    toward_negative: int
    coin: int  # STOCHASTIC_EQUAL
    random_bits: int
    tiny_before: int  # underflow: tininess is detected before rounding

    # The range and what lies outside of it, the overflow policy already applied.
    min_magnitude: float
    max_positive: float
    max_negative: float
    over_positive: float
    over_negative: float
    infinity_positive: float
    infinity_negative: float
    zero_positive: float
    zero_negative: float

    # Codes.
    signed: int
    sign_shift: int
    magnitude_mask: int
    max_code: int
    infinity_code: int  # -1: none
    nan_code: int
    has_negative_zero: int


#: The same, of a stochastic mode: a type of its own, by which compiled code tells that it needs random integers.
StochasticParams: Any = namedtuple("StochasticParams", Params._fields)  # type: ignore[misc]


def stochastic(f: Params) -> Any:
    """Return parameters as those of a stochastic mode."""
    return StochasticParams(**f._asdict())
