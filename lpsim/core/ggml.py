"""Scalars and small searches of ggml's quantisation, in its order of binary32 operations.

Source of the rules: ggml d99724f2, ``ggml-quants.c`` and ``ggml-impl.h``. Nothing may be contracted or reassociated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.jit import core_function
from lpsim.core.short import EVEN, rounded_magnitude, short_code, short_value

__all__ = [
    "e2m1_code", "half_of", "iq4_index", "nearest_int", "put_half", "scale_and_min", "signed_scale", "ue4m3_code",
    "ue4m3_value",
]  # fmt: skip

F = np.float32
_ZERO, _ONE = F(0), F(1)

#: Largest magnitude of a group of numbers that are taken as zeros.
_EPSILON = F(1e-15)


@core_function
def nearest_int(x: Any) -> Any:
    """Return the nearest integer (int32), ties to even, to a number below 2**22 in magnitude.

    As in ggml by adding ``1.5 * 2**23``: of other numbers it is what the lower bits then say, of a NaN 0.
    """
    bits = F(x + F(12582912)).view(np.int32)
    return np.int32((bits & np.int32(0x7FFFFF)) - np.int32(0x400000))


@core_function
def put_half(out: Any, at: Any, x: Any, encoding: Any, decoding: Any) -> Any:
    """Write x, rounded to binary16, as two bytes, and return what was written.

    ``encoding`` and ``decoding`` are the format's ShortParams and DecodeParams, for float32.
    """
    magnitude = rounded_magnitude(x, np.int64(0), EVEN, encoding, F)
    code = short_code(magnitude, np.copysign(_ONE, x) < 0, x != x, EVEN, encoding, np.int32)
    out[at], out[at + 1] = np.uint8(code & 255), np.uint8((code >> 8) & 255)
    return short_value(code, decoding, F, np.int32)


@core_function
def half_of(octets: Any, at: Any, decoding: Any) -> Any:
    """Return the binary16 number that two bytes hold."""
    return short_value(np.int32(octets[at]) | (np.int32(octets[at + 1]) << 8), decoding, F, np.int32)


@core_function
def ue4m3_code(x: Any) -> Any:
    """Return the code of a number as an unsigned E4M3 scale, rounded by the next bit alone.

    All that comes to 256 or more becomes 448, code 0x7E.
    """
    if not x > _ZERO:
        return np.int32(0)
    bits = np.float32(min(x, F(448))).view(np.int32)
    exponent = (bits >> 23) - 127 + 7
    if exponent <= 0:
        return min(np.int32(x * F(512) + F(0.5)), np.int32(7))
    code = (exponent << 3 | (bits >> 20) & 7) + ((bits >> 19) & 1)
    return np.int32(code) if code < 0x78 else np.int32(0x7E)


@core_function
def ue4m3_value(code: Any) -> Any:
    """Return the value of an unsigned E4M3 scale; 0x7F, the NaN, is read as 0."""
    exponent, fraction = (code >> 3) & 15, code & 7
    if code == 0x7F:
        return _ZERO
    if exponent == 0:
        return F(fraction) * F(2.0**-9)
    return (_ONE + F(fraction) / F(8)) * F(2.0 ** (exponent - 7))


@core_function
def e2m1_code(x: Any, d: Any) -> Any:
    """Return the code of the E2M1 value that, times d, is nearest to x; the first of those that are as near.

    Distances are rounded to binary32: those of a number far beyond the range are all the same, so that its code is 0.
    """
    code, nearest = np.int32(0), abs(x)
    for i in range(1, 8):
        # Twice the values: 1, 2, 3, 4, 6, 8, 12.
        value = (F(i) if i < 5 else F(2 * i - 4) if i < 7 else F(12)) * (d * F(0.5))
        # Codes from 8 on are negative, and those of the other sign are no nearer.
        distance = abs(value - abs(x))
        code, nearest = (np.int32(i), distance) if distance < nearest else (code, nearest)
    return code | np.int32(8) if (x < 0) & (code > 0) else code


@core_function
def iq4_index(x: Any, values: Any) -> Any:
    """Return the index of the nearest of 16 ascending values; a tie goes to the higher one."""
    below = np.int32(0)
    for i in range(1, 15):
        below += np.int32(not x < values[i])  # a NaN, which overflow makes, is above all
    if x <= values[0]:
        return np.int32(0)
    if x >= values[15]:
        return np.int32(15)
    return below if x - values[below] < values[below + 1] - x else below + np.int32(1)


@core_function
def scale_and_min(x: Any, weights: Any, most: Any, first: Any, steps: Any, codes: Any, trial: Any) -> Any:
    """Return (scale, -min) of a group of a K type with minima, by a search of least squares, and write its codes.

    ``make_qkx2_quants`` with steps of 0.1 from ``first`` on. The minimum that a step finds counts in the next ones.
    """
    n = x.size
    low, high = x[0], x[0]
    sum_w = weights[0]
    sum_x = sum_w * x[0]
    for i in range(1, n):
        low, high = min(low, x[i]), max(high, x[i])
        sum_w += weights[i]
        sum_x += weights[i] * x[i]
    low = min(low, _ZERO)
    if high == low:
        for i in range(n):
            codes[i] = 0
        return _ZERO, -low
    inverse = F(most) / (high - low)
    scale, best = _ONE / inverse, _ZERO
    for i in range(n):
        codes[i] = max(np.int32(0), min(np.int32(most), nearest_int(inverse * (x[i] - low))))
        difference = scale * F(codes[i]) + low - x[i]
        best += weights[i] * (difference * difference)
    for step in range(steps + 1):
        inverse = (first + F(0.1) * F(step) + F(most)) / (high - low)
        sum_l, sum_l2, sum_xl = _ZERO, _ZERO, _ZERO
        for i in range(n):
            trial[i] = max(np.int32(0), min(np.int32(most), nearest_int(inverse * (x[i] - low))))
            code, w = F(trial[i]), weights[i]
            sum_l += w * code
            sum_l2 += w * code * code
            sum_xl += w * code * x[i]
        determinant = sum_w * sum_l2 - sum_l * sum_l
        if determinant > 0:
            a = (sum_w * sum_xl - sum_x * sum_l) / determinant
            b = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
            if b > 0:
                a, b = sum_xl / sum_l2, _ZERO
            error = _ZERO
            for i in range(n):
                difference = a * F(trial[i]) + b - x[i]
                error += weights[i] * (difference * difference)
            if error < best:
                codes[:] = trial[:n]
                best, scale, low = error, a, b
    return scale, -low


@core_function
def _fit(x: Any, inverse: Any, most: Any, codes: Any) -> Any:
    """Return the sums w x l and w l l of codes l = round(inverse x), which are written, with weights w = x x."""
    sum_lx, sum_l2 = _ZERO, _ZERO
    for i in range(x.size):
        codes[i] = max(-most, min(most - 1, nearest_int(inverse * x[i]))) + most
        code, w = F(codes[i] - most), x[i] * x[i]
        sum_lx += w * x[i] * code
        sum_l2 += w * code * code
    return sum_lx, sum_l2


@core_function
def signed_scale(x: Any, most: Any, codes: Any, trial: Any) -> Any:
    """Return the scale of a group of a symmetric K type and write its codes: ``make_qx_quants`` with weights x x."""
    largest, extreme = _ZERO, _ZERO
    for i in range(x.size):
        if abs(x[i]) > largest:
            largest, extreme = abs(x[i]), x[i]
    if largest < _EPSILON:
        for i in range(x.size):
            codes[i] = 0
        return _ZERO
    sum_lx, sum_l2 = _fit(x, F(-most) / extreme, most, codes)
    scale = sum_lx / sum_l2 if sum_l2 != 0 else _ZERO
    best = scale * sum_lx
    for step in range(-9, 10):
        if step != 0:
            sum_lx, sum_l2 = _fit(x, -(F(most) + F(0.1) * F(step)) / extreme, most, trial)
            if sum_l2 > 0 and sum_lx * sum_lx > best * sum_l2:
                codes[:] = trial[: x.size]
                scale = sum_lx / sum_l2
                best = scale * sum_lx
    return scale
