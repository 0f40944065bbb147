"""The values of a format as a sequence: all of them, the next one, spacing and distance in steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import RealArray, as_real_float, broadcast_shape, working_dtype
from lpsim.codec import decode, encode, round
from lpsim.elementwise import in_pieces
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.memory import pieces
from lpsim.rounding import Rounding

__all__ = ["nextafter", "ulp", "ulp_distance", "values"]

_MOST_BITS = 24


def values(fmt: FormatLike) -> RealArray:
    """Return all finite values of a format, in increasing order.

    Parameters
    ----------
    fmt : Format, str or dtype
        A format of at most 24 bits.

    Returns
    -------
    ndarray, shape (n,)
        The values in the format's carrier; zero is listed once.

    Raises
    ------
    ValueError
        If the format is wider than 24 bits.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.values("e2m1fn")[7:].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """
    fmt = as_format(fmt)
    if fmt.bits > _MOST_BITS:
        raise ValueError(f"fmt is {fmt} with {fmt.bits} bits; allowed: at most {_MOST_BITS} bits")
    codes = np.arange(fmt.max_code + 1, dtype=fmt.code_dtype)
    if not fmt.subnormals and fmt.has_zero:
        codes = np.delete(codes, np.s_[1 : 1 << fmt.mantissa_bits])
    magnitudes: RealArray = decode(codes, fmt)
    if not fmt.signed:
        return magnitudes
    return np.concatenate([-magnitudes[magnitudes > 0][::-1], magnitudes])


def _index(x: RealArray, fmt: Format) -> npt.NDArray[np.int64]:
    """Return the position of values among the format's values, infinities included.

    Zero, or in a format without it the smallest positive value, is at 0; the next one below is at -1.
    """
    codes = np.asarray(encode(x, fmt))
    magnitude = (codes & fmt.code_dtype.type(fmt.magnitude_mask)).astype(np.int64)
    if not fmt.subnormals and fmt.has_zero:
        magnitude = np.maximum(magnitude - ((1 << fmt.mantissa_bits) - 1), 0)
    position: npt.NDArray[np.int64] = np.where(np.signbit(x), -magnitude - (not fmt.has_zero), magnitude)
    return position


def _value_at(index: npt.NDArray[np.int64], negative_zero: Any, fmt: Format) -> RealArray:
    """Return the value at a position; beyond the last one NaN, or the last one if there is no NaN."""
    last = fmt.max_code + fmt.has_infinity
    gap = (1 << fmt.mantissa_bits) - 1 if not fmt.subnormals and fmt.has_zero else 0
    magnitude = np.where(index < 0, -index - (not fmt.has_zero), index)
    magnitude += np.where(index != 0, gap, 0)
    first_invalid = (magnitude > last) | ((index < 0) & (not fmt.signed))
    clipped = np.minimum(np.where((index < 0) & (not fmt.signed), 0, magnitude), last)
    found = np.asarray(decode(clipped.astype(fmt.code_dtype), fmt))
    negative = (index < 0) | ((index == 0) & negative_zero & fmt.has_negative_zero)
    signed = np.where(negative & fmt.signed, -found, found)
    return np.where(first_invalid & fmt.has_nan, found.dtype.type(np.nan), signed)


def nextafter(x: npt.ArrayLike, direction: npt.ArrayLike, fmt: FormatLike) -> Any:
    """Return the first value of a format beyond x in a direction.

    Parameters
    ----------
    x : array_like
        Real numbers; they need not be values of the format.
    direction : array_like
        Real numbers to go towards; where equal to x, the result is x rounded to the format.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.

    Returns
    -------
    ndarray or scalar
        Values in the format's carrier; infinity after the largest finite value where the format has it. Where
        there is no value beyond x, NaN, or in formats without NaN the last value.

    Raises
    ------
    ValueError
        If shapes do not broadcast.
    TypeError
        If an argument holds no real numbers.

    Notes
    -----
    Source: IEEE 754-2019, section 5.3.1, nextUp and nextDown.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.nextafter(1, 2, lp.float16))
    1.0009765625
    """
    fmt = as_format(fmt)
    start, target = as_real_float(x, "x", lazy=True), as_real_float(direction, "direction", lazy=True)
    shape = broadcast_shape({"x": start, "direction": target})
    result = in_pieces(lambda x, y: _next(x, y, fmt), [start, target], fmt.carrier, shape)
    return result if result.ndim else result[()]


def _next(start: RealArray, target: RealArray, fmt: Format) -> RealArray:
    """Return the values beyond ``start`` in the direction of ``target``."""
    nan = np.isnan(start) | np.isnan(target)
    start, target = np.where(nan, 1, start).astype(np.float64), np.where(nan, 1, target).astype(np.float64)
    up = target > start
    infinite = np.isinf(start) & fmt.has_infinity & ((start > 0) | fmt.signed)
    inside = np.clip(start, fmt.min, fmt.max)
    toward = np.where(
        up,
        round(inside, fmt, Rounding.TOWARD_NEGATIVE, "saturate"),
        round(inside, fmt, Rounding.TOWARD_POSITIVE, "saturate"),
    )
    # Infinities sit one position past the largest finite value; they take part like any other value.
    position = _index(toward, fmt) + np.where(infinite, np.where(start > 0, 1, -1), 0)
    if not fmt.has_zero:
        # Rounding leaves no gap around zero, but there is one: from position -1 to 0.
        position = np.where(np.abs(inside) < fmt.smallest_normal, np.where(up, -1, 0), position)
    moved = _value_at(position + np.where(up, 1, -1), up, fmt)
    moved = np.where(up & (start < fmt.min) & ~infinite, fmt.min, moved)
    moved = np.where(~up & (start > fmt.max) & ~infinite, fmt.max, moved)
    result = np.where(target == start, round(start, fmt), moved)
    return np.where(nan, np.nan, result)


def ulp(x: npt.ArrayLike, fmt: FormatLike) -> Any:
    """Return the spacing of a format's values at x: its unit in the last place there.

    Parameters
    ----------
    x : array_like
        Real numbers.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.

    Returns
    -------
    ndarray or scalar of float64
        ``2**(max(e, emin) - mantissa_bits)`` with e the exponent of x, or of the largest finite value
        where x is beyond it; in formats without subnormals ``2**emin`` below the normal range. Infinite for
        infinities, NaN for NaN.

    Raises
    ------
    TypeError
        If x holds no real numbers.

    Notes
    -----
    Source: Handbook of Floating-Point Arithmetic (Muller et al., 2nd ed., 2018), section 2.3.2.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.ulp(1000, lp.float16))
    0.5
    """
    fmt = as_format(fmt)
    array = as_real_float(x, "x", lazy=True)
    result = in_pieces(lambda x: _spacing(x, fmt), [array], np.float64, array.shape)
    return result if result.ndim else result[()]


def _spacing(x: RealArray, fmt: Format) -> RealArray:
    """Return the spacing of the format's values at numbers."""
    finite = np.where(np.isfinite(x), np.abs(x), 1).astype(np.float64)
    exponent = np.frexp(finite)[1] - 1
    normal = (exponent >= fmt.emin) & (finite > 0)
    quantum = np.where(
        normal,
        np.minimum(exponent, fmt.emax) - fmt.mantissa_bits,
        fmt.quantum_exponent if fmt.subnormals else fmt.emin,
    )
    spacing = np.ldexp(1.0, quantum)
    return np.where(np.isfinite(x), spacing, np.where(np.isnan(x), np.nan, np.inf))


def ulp_distance(x: npt.ArrayLike, y: npt.ArrayLike, fmt: FormatLike) -> Any:
    """Return how many steps from value to value of a format lie between x and y.

    Parameters
    ----------
    x, y : array_like
        Values of the format, of shapes that broadcast; infinities count as the values after the
        largest finite ones, and -0 equals 0.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.

    Returns
    -------
    ndarray or scalar of int64
        Non-negative numbers of steps. For 64-bit formats uint64, which holds them all.

    Raises
    ------
    ValueError
        If x or y holds NaN or a number that is not a value of the format, or shapes do not broadcast.
    TypeError
        If an argument holds no real numbers.

    Examples
    --------
    >>> import lpsim as lp
    >>> int(lp.ulp_distance(1.0, 1.5, lp.float8_e4m3fn))
    4
    """
    fmt = as_format(fmt)
    arrays = {"x": as_real_float(x, "x", lazy=True), "y": as_real_float(y, "y", lazy=True)}
    shape = broadcast_shape(arrays)
    for name, array in arrays.items():
        for piece in pieces(array):
            with np.errstate(invalid="ignore"):  # casts of signalling NaNs warn
                numbers = piece.astype(working_dtype(piece.dtype))
                wrong = np.asarray(round(numbers, fmt)) != numbers
            if wrong.any():
                raise ValueError(
                    f"{name} holds {numbers[wrong][0]}; allowed: values of {fmt} (round with lpsim.round first)"
                )
    dtype = np.uint64 if fmt.bits == 64 else np.int64
    result = in_pieces(lambda x, y: _distance(x, y, fmt), list(arrays.values()), dtype, shape)
    return result if result.ndim else result[()]


def _distance(x: RealArray, y: RealArray, fmt: Format) -> RealArray:
    """Return the numbers of steps between values, as uint64."""
    positions = _index(x, fmt), _index(y, fmt)
    # Modulo 2**64 the difference of two positions is right even where int64 overflows.
    return np.maximum(*positions).view(np.uint64) - np.minimum(*positions).view(np.uint64)
