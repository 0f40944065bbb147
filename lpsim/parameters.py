"""From a Format, a rounding mode and an overflow policy to the numbers that kernels take."""

from __future__ import annotations

import functools
import math
from typing import Any

from lpsim.checks import check_choice, shown
from lpsim.core.nearest import NearestParams
from lpsim.core.params import Params, stochastic
from lpsim.core.rounding import MAX_RANDOM_BITS
from lpsim.formats import Format
from lpsim.rounding import TININESS, Overflow, Rounding, as_overflow, as_rounding

__all__ = ["jit_parameters", "nearest_parameters", "parameters"]


def _negated(value: float) -> float:
    # NaNs stay the positive one: results hold one NaN only.
    return value if math.isnan(value) else -value


@functools.lru_cache(maxsize=1024)
def parameters(
    fmt: Format,
    rounding: Rounding = Rounding.TIES_TO_EVEN,
    overflow: Overflow = Overflow.IEEE,
    random_bits: int = 32,
    tininess: str = "after",
) -> Params:
    """Return the parameters of one rounding.

    Raises
    ------
    ValueError
        If the policy asks for a NaN that the format lacks, or random_bits is out of range.
    """
    if overflow == Overflow.TO_NAN and not fmt.has_nan:
        raise ValueError(
            f"overflow is 'to_nan', but the format {fmt} has no NaN; "
            "allowed: 'ieee', 'saturate', 'saturate_finite', 'to_infinity'"
        )
    if not 1 <= random_bits <= MAX_RANDOM_BITS:
        raise ValueError(f"random_bits is {shown(int(random_bits))}; allowed: 1 to {MAX_RANDOM_BITS}")
    check_choice("tininess", tininess, TININESS)
    saturates = overflow in (Overflow.SATURATE, Overflow.SATURATE_FINITE)
    up_positive = rounding in (Rounding.AWAY_FROM_ZERO, Rounding.TOWARD_POSITIVE)
    up_negative = rounding in (Rounding.AWAY_FROM_ZERO, Rounding.TOWARD_NEGATIVE)
    rounds_past = rounding.is_nearest or rounding.is_stochastic

    nan_or_max = math.nan if fmt.has_nan else fmt.max
    infinity = math.inf if fmt.has_infinity else nan_or_max

    def beyond(up: bool) -> float:
        if overflow == Overflow.IEEE:
            return infinity if rounds_past or up else fmt.max
        return {Overflow.TO_NAN: math.nan, Overflow.TO_INFINITY: infinity}.get(overflow, fmt.max)

    infinite = fmt.max if overflow == Overflow.SATURATE else infinity
    if fmt.signed:
        max_negative = fmt.max
        over_negative, infinity_negative = _negated(beyond(up_negative)), _negated(infinite)
    else:
        # No negative number is in range, so that each one goes the way of an overflow.
        unsigned = fmt.min if saturates or not fmt.has_nan else math.nan
        max_negative, over_negative, infinity_negative = -1.0, unsigned, unsigned
    no_zero = fmt.smallest_normal if saturates or not fmt.has_nan else math.nan
    zero = 0.0 if fmt.has_zero else no_zero
    return Params(
        mantissa_bits=fmt.mantissa_bits,
        emin=fmt.emin,
        tiny_quantum=fmt.quantum_exponent if fmt.subnormals else fmt.emin,
        field_offset=int(fmt.has_zero),
        has_subnormals=int(fmt.subnormals),
        nearest=int(rounding.is_nearest),
        tie_even=int(rounding == Rounding.TIES_TO_EVEN),
        tie_away=int(rounding == Rounding.TIES_TO_AWAY),
        up_positive=int(up_positive),
        up_negative=int(up_negative),
        to_odd=int(rounding == Rounding.TO_ODD),
        toward_negative=int(rounding == Rounding.TOWARD_NEGATIVE),
        coin=int(rounding == Rounding.STOCHASTIC_EQUAL),
        random_bits=int(random_bits),
        tiny_before=int(tininess == "before"),
        min_magnitude=0.0 if fmt.has_zero else fmt.smallest_normal,
        max_positive=fmt.max,
        max_negative=max_negative,
        over_positive=beyond(up_positive),
        over_negative=over_negative,
        infinity_positive=infinite,
        infinity_negative=infinity_negative,
        zero_positive=zero,
        zero_negative=-0.0 if fmt.has_negative_zero else zero,
        signed=int(fmt.signed),
        sign_shift=fmt.exponent_bits + fmt.mantissa_bits if fmt.signed else 0,
        magnitude_mask=fmt.magnitude_mask,
        max_code=fmt.max_code,
        infinity_code=-1 if fmt.infinity_code is None else fmt.infinity_code,
        # As int64, the type of all codes in the kernels: the NaN of a 64-bit format may be the sign bit.
        nan_code=-1 if fmt.nan_code is None else fmt.nan_code - ((fmt.nan_code >> 63) << 64),
        has_negative_zero=int(fmt.has_negative_zero),
    )


def jit_parameters(fmt: Format, rounding: Any, overflow: Any, random_bits: Any, tininess: str) -> Any:
    """Return what `Format.params` does."""
    mode = as_rounding(rounding)
    if isinstance(random_bits, bool) or not isinstance(random_bits, int):
        raise TypeError(f"random_bits is {shown(random_bits)}; allowed: an integer")
    check_choice("tininess", tininess, TININESS)  # before it is a key of a cache
    f = parameters(fmt, mode, as_overflow(overflow), random_bits, tininess)
    return stochastic(f) if mode.is_stochastic else f


@functools.lru_cache(maxsize=1024)
def nearest_parameters(fmt: Format) -> NearestParams | None:
    """Return the parameters of a short way to round binary32 numbers to nearest, ties to even; None: there is none.

    They serve under `Overflow.IEEE`. See `lpsim.core.nearest` for what the two ways leave to their callers.
    """
    ordinary = fmt.signed and fmt.subnormals and fmt.has_zero and fmt.has_negative_zero and fmt.mantissa_bits > 0
    if not ordinary or fmt.precision > 24 or fmt.emax > 127 or fmt.emin < -126:
        return None
    by_bits = fmt.emin == -126 and fmt.specials == "ieee" and fmt.emax == 127 and fmt.precision < 24
    # The constant of nearest_by_addition must be finite for every x that is not beyond all doubt too large.
    by_addition = fmt.precision <= 22 and fmt.emax + 2 < 103 + fmt.precision
    if not (by_bits or by_addition):
        return None
    return NearestParams(
        by_bits=int(by_bits),
        lowest=(fmt.emin + 127) << 23,
        offset=((24 - fmt.precision) << 23) | 0x400000,
        shift=24 - fmt.precision,
        max=fmt.max,
        overflow=parameters(fmt).over_positive,
    )
