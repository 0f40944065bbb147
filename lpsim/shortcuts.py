"""Which operations on arrays have a short way, and its parameters.

A short way gives the same bits as `lpsim.cpu.elementwise.operation_kernel`, which is the definition, without flags.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lpsim.core.operations import ADD, DIV, FMA, MUL, ROUND, SQRT, SUB
from lpsim.core.short import BITS, DIRECTED, EVEN, RANDOM, ShortParams
from lpsim.cpu.elementwise import NONE
from lpsim.cpu.short import short_kernel
from lpsim.formats import Format
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding

__all__ = ["shortcut"]


class _Lane(NamedTuple):
    """A type to work in: float32 or float64."""

    dtype: type[np.floating[Any]]
    precision: int
    emax: int


_NARROW = _Lane(np.float32, 24, 127)
_WIDE = _Lane(np.float64, 53, 1023)

#: How far above the nearest number, in last places, a number goes to the next one; and how far below. 1: never.
#: Half a place is less the smallest difference that the lane knows, so that ties go.
_HALF = math.nan
_THRESHOLDS = {
    Rounding.TIES_TO_EVEN: (1.0, 1.0),
    Rounding.TIES_TO_AWAY: (_HALF, 1.0),
    Rounding.TIES_TO_ZERO: (1.0, _HALF),
    Rounding.TOWARD_ZERO: (1.0, 0.0),
    Rounding.AWAY_FROM_ZERO: (0.0, 1.0),
    Rounding.TO_ODD: (0.0, 0.0),
}


@functools.lru_cache(maxsize=1024)
def shortcut(
    operation: int,
    fmt: Format,
    mode: Rounding,
    policy: Overflow,
    random_bits: int,
    single: bool,
    randomness: int,
    codes: bool,
) -> tuple[Callable[..., None], ShortParams] | None:
    """Return the kernel, as of `operation_kernel`, and the parameters of a short way; None if there is none.

    Parameters
    ----------
    operation, randomness, codes
        As for `operation_kernel`.
    fmt, mode, policy, random_bits
        As for `lpsim.parameters.parameters`.
    single : bool
        Whether all operands are float32.
    """
    ordinary = fmt.signed and fmt.subnormals and fmt.mantissa_bits > 0
    if not ordinary or not (single or operation == ROUND):
        return None
    if mode.is_stochastic and operation not in (ROUND, MUL):
        return None  # there may be more random bits than a result that is rounded to odd has
    lane = _NARROW if single and operation == ROUND and not mode.is_stochastic else _WIDE
    kind = EVEN if mode == Rounding.TIES_TO_EVEN else RANDOM if mode.is_stochastic else DIRECTED
    if not _admits(lane, fmt):
        # As wide as binary32 in exponents: its representations are the format's, with some more digits.
        by_bits = kind == EVEN and fmt.emin == -126 and fmt.emax <= 127 and fmt.precision < 24 and not codes
        if lane is _NARROW and by_bits:
            kind = BITS
        elif _admits(_WIDE, fmt):
            lane = _WIDE
        else:
            return None
    sticky = fmt.precision > 24
    kernel = short_kernel(operation, wide=lane is _WIDE, kind=kind, sticky=sticky, randomness=randomness, codes=codes)
    return kernel, _short_parameters(fmt, mode, policy, random_bits, lane)


def _admits(lane: _Lane, fmt: Format) -> bool:
    """Return whether all that a short way computes in a lane is finite and, where it has to be, exact.

    Twice the largest value times ``1.5 * 2**(q - p)`` must not overflow, half a last place of the smallest binade
    must have all the lane's digits, and q - p be 2 at least.
    """
    lost = lane.precision - fmt.precision
    return (
        lost >= 2
        and max(fmt.emax, fmt.emin) + 1 + lost <= lane.emax
        and (fmt.quantum_exponent - 1 - lane.precision >= 1 - lane.emax)
    )


def _short_parameters(fmt: Format, mode: Rounding, policy: Overflow, random_bits: int, lane: _Lane) -> ShortParams:
    f = parameters(fmt, mode, policy, random_bits)
    half = float(np.nextafter(lane.dtype(0.5), lane.dtype(0)))
    toward = {True: Rounding.AWAY_FROM_ZERO, False: Rounding.TOWARD_ZERO}
    by_sign = [mode, mode]
    if mode in (Rounding.TOWARD_POSITIVE, Rounding.TOWARD_NEGATIVE):
        by_sign = [toward[bool(f.up_positive)], toward[bool(f.up_negative)]]
    thresholds = [_THRESHOLDS.get(one, (1.0, 1.0)) for one in by_sign]
    (up_positive, down_positive), (up_negative, down_negative) = (
        [half if math.isnan(threshold) else threshold for threshold in pair] for pair in thresholds
    )
    lost = lane.precision - fmt.precision
    return ShortParams(
        lowest=2.0**fmt.emin,
        constant=1.5 * 2.0**lost,
        last_place=fmt.eps,
        shift=lost,
        up_positive=up_positive,
        up_negative=up_negative,
        down_positive=down_positive,
        down_negative=down_negative,
        to_odd=f.to_odd,
        coin=f.coin,
        random_bits=f.random_bits,
        fraction=2.0**-random_bits,
        sum_sign=-1.0 if mode == Rounding.TOWARD_NEGATIVE else 1.0,
        max=fmt.max,
        over_positive=f.over_positive,
        over_negative=abs(f.over_negative),
        infinity=f.infinity_positive,
        zero=-0.0 if fmt.has_negative_zero else 0.0,
        trailing=lost,
        infinity_code=f.infinity_code,
        nan_code=f.nan_code,
        sign_shift=f.sign_shift,
    )
