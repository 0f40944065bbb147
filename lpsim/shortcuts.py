"""Which operations on arrays have a short way, and its parameters.

A short way gives the same bits as `lpsim.cpu.elementwise.operation_kernel`, which is the definition, without flags.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.core.operations import ADD, DIV, FMA, MUL, ROUND, SQRT, SUB
from lpsim.core.params import Params
from lpsim.core.short import BITS, DIRECTED, EVEN, EVEN_BITS, NATIVE, RANDOM, DecodeParams, FmaParams, ShortParams
from lpsim.cpu.elementwise import decode_kernel, operation_kernel
from lpsim.cpu.records import as_record
from lpsim.cpu.short import narrow_fma_kernel, short_decode_kernel, short_kernel
from lpsim.formats import Format, float64
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding

__all__ = [
    "Shortcut",
    "Way",
    "decode_shortcut",
    "decode_way",
    "decoder",
    "general",
    "quickest",
    "short_way",
    "shortcut",
]


class Shortcut(NamedTuple):
    """A kernel, the record of its parameters, and about how many times as fast as a general kernel it is."""

    kernel: Callable[..., None]
    record: npt.NDArray[Any]
    speed: int


class Way(NamedTuple):
    """A short way, whichever machine goes it."""

    wide: bool  # in float64 instead of float32
    kind: int  # of `lpsim.core.short`
    sticky: bool  # see `lpsim.core.results.wide_result`
    params: ShortParams | FmaParams  # FmaParams: float32, but where products are too small for that, float64
    speed: int


class _Lane(NamedTuple):
    """A type to work in, float32 or float64."""

    dtype: type[np.floating[Any]]
    integer: type[np.signedinteger[Any]]
    precision: int
    emax: int


_NARROW = _Lane(np.float32, np.int32, 24, 127)
_WIDE = _Lane(np.float64, np.int64, 53, 1023)


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
) -> Shortcut | None:
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
    way = short_way(operation, fmt, mode, policy, random_bits, single)
    if way is None:
        return None
    if isinstance(way.params, FmaParams):
        kernel = narrow_fma_kernel()
    else:
        kernel = short_kernel(
            operation, wide=way.wide, kind=way.kind, sticky=way.sticky, randomness=randomness, codes=codes
        )
    return Shortcut(kernel, as_record(way.params), way.speed)


@functools.lru_cache(maxsize=1024)
def short_way(
    operation: int, fmt: Format, mode: Rounding, policy: Overflow, random_bits: int, single: bool
) -> Way | None:
    """Return a short way, for arguments as of `shortcut`; None if there is none."""
    if fmt == float64:
        return _native_way(operation, mode, policy, single)
    ordinary = fmt.signed and fmt.subnormals and fmt.mantissa_bits > 0
    if not ordinary or not (single or operation == ROUND):
        return None
    if mode.is_stochastic and operation not in (ROUND, MUL):
        return None  # there may be more random bits than a result that is rounded to odd has
    f = parameters(fmt, mode, policy, random_bits)
    kind = RANDOM if mode.is_stochastic else DIRECTED
    if mode == Rounding.TIES_TO_EVEN and _same(f.over_positive, f.infinity_positive):
        kind = EVEN
    lane = _WIDE
    if single and kind != RANDOM and (operation == ROUND or kind == EVEN):
        if _admits(_NARROW, fmt):
            # A product that overflows is one term of a sum that need not.
            lane = _WIDE if operation == FMA and fmt.emax >= 100 else _NARROW
        elif operation not in (ROUND, ADD, SUB):
            pass  # the errors of products and residuals underflow
        elif fmt.emin == -126 and fmt.emax <= 127 and fmt.precision <= (23 if operation == ROUND else 22):
            # As wide as binary32 in exponents: its representations are the format's, with some more digits.
            infinite = kind == EVEN and f.infinity_positive == math.inf and fmt.emax == _NARROW.emax
            lane, kind = _NARROW, EVEN_BITS if infinite else BITS
    if kind not in (BITS, EVEN_BITS) and not _admits(lane, fmt):
        return None
    params: ShortParams | FmaParams
    if operation == FMA and lane is _NARROW:
        params = FmaParams(*(_short_parameters(fmt, mode, f, one) for one in (_NARROW, _WIDE)))
    else:
        params = _short_parameters(fmt, mode, f, lane)
    return Way(lane is _WIDE, kind, fmt.precision > 24, params, _speed(operation, lane, kind))


def general(operation: int, f: Params, randomness: int, flags: bool, codes: bool) -> Shortcut:
    """Return the general kernel as if it were a short way."""
    return Shortcut(operation_kernel(operation, randomness=randomness, flags=flags, codes=codes), as_record(f), 1)


def quickest(
    operation: int,
    fmt: Format,
    mode: Rounding,
    policy: Overflow,
    random_bits: int,
    single: bool,
    randomness: int,
    codes: bool,
) -> Shortcut:
    """Return the short way, as `shortcut` does, or else the general kernel."""
    short = shortcut(operation, fmt, mode, policy, random_bits, single, randomness, codes)
    return short or general(operation, parameters(fmt, mode, policy, random_bits), randomness, False, codes)


def _speed(operation: int, lane: _Lane, kind: int) -> int:
    """Return about how many times as fast as a general kernel a short way is, as measured in cache."""
    if lane is _NARROW:
        return 32 if operation == ROUND else 10 if operation in (DIV, FMA, SQRT) else 16
    speed = 8 if kind in (EVEN, NATIVE) else 6
    return 2 * speed if operation == ROUND and kind != RANDOM else speed


def _native_way(operation: int, mode: Rounding, policy: Overflow, single: bool) -> Way | None:
    """Return the short way to binary64: float32 operands have results in its range, and errors that it holds."""
    f = parameters(float64, mode, policy)
    single = single or operation == ROUND
    native = mode == Rounding.TIES_TO_EVEN and f.over_positive == f.infinity_positive == math.inf
    if mode.is_stochastic or not (single or native):
        return None
    params = _short_parameters(float64, mode, f, _WIDE)
    return Way(True, NATIVE, not native, params, _speed(operation, _WIDE, NATIVE))


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


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


def _short_parameters(fmt: Format, mode: Rounding, f: Params, lane: _Lane) -> ShortParams:
    real, integer = lane.dtype, lane.integer
    lost = lane.precision - fmt.precision
    # How far above the nearest number, in last places, a number goes to the next one, and how far below. Half a place
    # is less the smallest difference that the lane knows, so that ties go.
    never, always, half = real(1), real(0), np.nextafter(real(0.5), real(0))
    thresholds = {
        Rounding.TIES_TO_AWAY: (half, never),
        Rounding.TIES_TO_ZERO: (never, half),
        Rounding.TOWARD_ZERO: (never, always),
        Rounding.AWAY_FROM_ZERO: (always, never),
        Rounding.TO_ODD: (always, always),
    }

    def steps(away: int) -> tuple[np.floating[Any], np.floating[Any]]:
        directed = mode in (Rounding.TOWARD_POSITIVE, Rounding.TOWARD_NEGATIVE)
        effective = (Rounding.AWAY_FROM_ZERO if away else Rounding.TOWARD_ZERO) if directed else mode
        return thresholds.get(effective, (never, never))

    def addend(away: int) -> np.signedinteger[Any]:
        below_one = (1 << lost) - 1
        value: np.signedinteger[Any] = integer(below_one * away + (below_one >> 1) * f.nearest + f.tie_away)
        return value

    up_positive, down_positive = steps(f.up_positive)
    up_negative, down_negative = steps(f.up_negative)
    return ShortParams(
        lowest=real(2.0**fmt.emin),
        constant=real(1.5 * 2.0**lost),
        last_place=real(fmt.eps),
        lost=integer(lost),
        up_positive=up_positive,
        up_negative=up_negative,
        down_positive=down_positive,
        down_negative=down_negative,
        to_odd=f.to_odd,
        sum_sign=real(-1.0 if f.toward_negative else 1.0),
        add_positive=addend(f.up_positive),
        add_negative=addend(f.up_negative),
        add_odd=integer(f.tie_even),
        add_even=integer(f.to_odd * ((1 << lost) - 1)),
        coin=f.coin,
        random_bits=f.random_bits,
        fraction=2.0**-f.random_bits,
        max=real(fmt.max),
        over_positive=real(f.over_positive),
        over_negative=abs(real(f.over_negative)),
        infinity=real(f.infinity_positive),
        zero=real(-0.0 if fmt.has_negative_zero else 0.0),
        infinity_code=_wrapped(f.infinity_code, integer),
        nan_code=_wrapped(f.nan_code, integer),
        sign_code=_wrapped(fmt.sign_mask, integer),
    )


def _wrapped(code: int, integer: type[np.signedinteger[Any]]) -> np.signedinteger[Any]:
    """Return a code as a signed integer of a lane's size with the same bits."""
    bits = 8 * np.dtype(integer).itemsize
    value: np.signedinteger[Any] = integer((code + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1))
    return value


@functools.lru_cache(maxsize=1024)
def decode_shortcut(fmt: Format) -> Shortcut | None:
    """Return the kernel, as of `decode_kernel`, and the parameters of a short way to decode; None if there is none."""
    way = decode_way(fmt)
    if way is None:
        return None
    wide, params = way
    return Shortcut(short_decode_kernel(wide=wide), as_record(params), 8 if wide else 16)


def decode_way(fmt: Format) -> tuple[bool, DecodeParams] | None:
    """Return whether a short way to decode is in float64, and its parameters; None if there is none."""
    # Without exponent bits emin is above emax.
    highest = max(fmt.emin, fmt.emax)
    lane = _NARROW if fmt.carrier == np.float32 and fmt.emin > -_NARROW.emax and highest <= _NARROW.emax else _WIDE
    if not fmt.subnormals or fmt.emin <= -lane.emax or highest > lane.emax:
        return None
    f = parameters(fmt)
    integer, binade = lane.integer, 1 << (lane.precision - 1)
    params = DecodeParams(
        magnitude_mask=integer(fmt.magnitude_mask),
        sign_code=_wrapped(fmt.sign_mask, integer),
        lost=integer(lane.precision - fmt.precision),
        lowest=lane.dtype(2.0**fmt.emin),
        offset=integer((fmt.emin + lane.emax - 1) * binade),
        binade=integer(binade),
        max_code=integer(fmt.max_code),
        infinity_code=integer(f.infinity_code),
        nan_code=_wrapped(f.nan_code, integer),
    )
    return lane is _WIDE, params


def decoder(fmt: Format) -> Shortcut:
    """Return the short way to decode, as `decode_shortcut` does, or else the general kernel."""
    return decode_shortcut(fmt) or Shortcut(decode_kernel(), as_record(parameters(fmt)), 1)
