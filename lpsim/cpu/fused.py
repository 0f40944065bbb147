"""Fused dots in vectors: truncated alignment of products of at most 24 bits, columns side by side.

A product of significands is exact in float32, and its conversion to an integer after multiplication by a power of
two truncates toward zero, which is the alignment. The aligned sum is exact in float64, and so is its value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lpsim.core.bits import MAGNITUDE_MASK, bits_of, float_of, power_of_two
from lpsim.core.dot import split
from lpsim.core.exact import exact_round
from lpsim.core.jit import core_function, core_part
from lpsim.core.rounding import round_parts
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["DIRECT_EXPONENTS", "NO_EXPONENT", "WIDTH", "FusedParams", "fused_kernel", "split_kernel"]

#: Columns of a tile, and terms of it between which rows change: both stay in the cache.
WIDTH = 256
_DEPTH = 256

#: Exponent of zero elements, far below that of any product.
NO_EXPONENT = np.int32(-1 << 20)

_ZERO = np.float64(0.0)

#: Exponents of products that float32 holds with all their bits, and the scales with which they are aligned.
DIRECT_EXPONENTS = (-100, 100)


class FusedParams(NamedTuple):
    """A fused dot product, reduced to numbers."""

    terms: int
    fraction_bits: int
    zero_exponent: int
    chunk: int  # terms of which the sum is an int32
    truncates: int  # whether toward zero is the rounding, and infinity follows the largest value
    c_bits: int
    c_emin: int
    c_max: float


def split_kernel() -> Callable[..., tuple[int, int]]:
    """Return ``kernel(x, values, significands, exponents, mantissa_bits, emin)``.

    Elements of the flat array ``x`` become float32 numbers, their significands below 2 and int32 exponents from emin
    on; those that are not finite become zero. Returns the smallest and the largest exponent of an element that is
    not zero.
    """
    return _build_split(source_fingerprint())


@functools.cache
def _build_split(fingerprint: int) -> Callable[..., tuple[int, int]]:
    def kernel(x: Any, values: Any, significands: Any, exponents: Any, mantissa_bits: Any, emin: Any) -> Any:
        assert fingerprint >= 0
        least, most = np.int64(1 << 20), np.int64(-1 << 20)
        for i in range(x.size):
            number = x[i] if abs(x[i]) < np.inf else _ZERO
            n, e = split(number, mantissa_bits, emin)
            values[i] = number
            significands[i] = np.float64(n) * power_of_two(-mantissa_bits)
            exponents[i] = NO_EXPONENT if n == 0 else np.int32(e)
            least, most = (least if n == 0 else min(least, e)), (most if n == 0 else max(most, e))
        return least, most

    return compile_kernel(kernel)


@core_part
def _exponents_of(acc: Any, largest: Any, f: Any) -> None:
    for j in range(acc.size):
        exponent = ((bits_of(acc[j]) & MAGNITUDE_MASK) >> np.int64(52)) - np.int64(1023)
        exponent = max(exponent, np.int64(f.c_emin))
        largest[j] = np.int32(np.int64(f.zero_exponent) if acc[j] == _ZERO else exponent)


# Four terms at a time: fewer loads and stores of the rows of sums.


@core_part
def _raise_to_four(p: Any, exponents: Any, k: Any, left: Any, right: Any, largest: Any) -> None:
    p0, p1, p2, p3 = p[k], p[k + 1], p[k + 2], p[k + 3]
    # Rows taken one by one: compiled code knows then that their elements are neighbours.
    q0, q1 = exponents[k, left:right], exponents[k + 1, left:right]
    q2, q3 = exponents[k + 2, left:right], exponents[k + 3, left:right]
    for j in range(largest.size):
        first = max(np.int32(p0 + q0[j]), np.int32(p1 + q1[j]))
        second = max(np.int32(p2 + q2[j]), np.int32(p3 + q3[j]))
        largest[j] = max(largest[j], first, second)


@core_part
def _add_four(x: Any, y: Any, k: Any, left: Any, right: Any, unit: Any, sums: Any) -> None:
    """Add products of elements, not of significands: scales depend on the column alone then."""
    x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
    y0, y1, y2, y3 = y[k, left:right], y[k + 1, left:right], y[k + 2, left:right], y[k + 3, left:right]
    for j in range(sums.size):
        exponent = np.int32(127) - min(max(unit[j], np.int32(-126)), np.int32(127))
        scale = np.int32(exponent << np.int32(23)).view(np.float32)
        first = np.int32(np.int32(x0 * y0[j] * scale) + np.int32(x1 * y1[j] * scale))
        second = np.int32(np.int32(x2 * y2[j] * scale) + np.int32(x3 * y3[j] * scale))
        sums[j] += np.int32(first + second)


@core_part
def _raise_to(exponent: Any, exponents: Any, largest: Any) -> None:
    for j in range(largest.size):
        largest[j] = max(largest[j], np.int32(exponent + exponents[j]))


@core_part
def _align_c(acc: Any, unit: Any, totals: Any, fraction_bits: Any) -> None:
    """Turn largest exponents into those of the last kept bit, and start the sums with the accumulators."""
    for j in range(acc.size):
        unit[j] -= np.int32(fraction_bits)
        totals[j] = np.trunc(acc[j] * power_of_two(-np.int64(unit[j])))


@core_part
def _add_aligned(significand: Any, exponent: Any, significands: Any, exponents: Any, unit: Any, sums: Any) -> None:
    for j in range(sums.size):
        shift = max(np.int32(exponent + exponents[j]) - unit[j], np.int32(-126))
        scale = np.int32((shift + np.int32(127)) << np.int32(23)).view(np.float32)
        sums[j] += np.int32(significand * significands[j] * scale)


@core_part
def _add_sums(totals: Any, sums: Any) -> None:
    for j in range(totals.size):
        totals[j] += np.float64(sums[j])
        sums[j] = np.int32(0)


@core_function
def _truncated(value: Any, f: Any) -> Any:
    """Round toward zero to the accumulator's format; beyond its largest value is infinity."""
    last_bit = np.int64(1) << (np.int64(52) - f.c_bits)
    normal = float_of(bits_of(value) & -last_bit)
    quantum = power_of_two(f.c_emin - f.c_bits)
    tiny = np.trunc(value * power_of_two(f.c_bits - f.c_emin)) * quantum
    rounded = tiny if abs(value) < power_of_two(f.c_emin) else normal
    return np.copysign(np.inf, value) if abs(rounded) > f.c_max else rounded


@core_part
def _finish(acc: Any, unit: Any, totals: Any, f: Any, accumulator: Any) -> None:
    if f.truncates != 0:
        for j in range(acc.size):
            value = _truncated(totals[j] * power_of_two(unit[j]), f)
            acc[j] = value if abs(acc[j]) < np.inf else acc[j]
    else:
        for j in range(acc.size):
            # A sum of zero is +0, not -0 + 0.
            value = totals[j] * power_of_two(unit[j]) + _ZERO
            value = round_parts(exact_round(value, accumulator), accumulator)[0]
            acc[j] = value if abs(acc[j]) < np.inf else acc[j]


def fused_kernel() -> Callable[..., None]:
    """Return ``kernel(a, a_exponents, b, b_exponents, direct, out, rows, columns, f, accumulator)``.

    The operands are C-contiguous, as `split_kernel` makes them, except that with ``direct`` a and b are the elements
    themselves, the number of their products is a multiple of four in each dot and chunk, and exponents of
    products are in DIRECT_EXPONENTS. ``out`` is float64. ``rows`` and ``columns`` are
    (start, stop); that part of ``out`` holds the start values and receives the results. ``f`` is a FusedParams,
    ``accumulator`` the Params of the rounding.
    """
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[..., None]:
    def kernel(
        a: Any, a_exponents: Any, b: Any, b_exponents: Any, direct: Any, out: Any, rows: Any, columns: Any, f: Any,
        accumulator: Any,
    ) -> None:  # fmt: skip
        assert fingerprint >= 0
        depth = a.shape[1]
        unit_row, total_row = np.empty(WIDTH, np.int32), np.empty(WIDTH, np.float64)
        sum_row = np.zeros(WIDTH, np.int32)
        panel = max(_DEPTH // f.terms, 1) * f.terms
        for left in range(columns[0], columns[1], WIDTH):
            right = min(left + WIDTH, columns[1])
            unit, totals, sums = unit_row[: right - left], total_row[: right - left], sum_row[: right - left]
            for top in range(0, depth, panel):
                bottom = min(top + panel, depth)
                for i in range(rows[0], rows[1]):
                    acc = out[i, left:right]
                    for first in range(top, bottom, f.terms):
                        last = min(first + f.terms, depth)
                        _exponents_of(acc, unit, f)
                        step = 4 if direct else 1
                        for k in range(first, last, step):
                            if direct:
                                _raise_to_four(a_exponents[i], b_exponents, k, left, right, unit)
                            else:
                                _raise_to(a_exponents[i, k], b_exponents[k, left:right], unit)
                        _align_c(acc, unit, totals, f.fraction_bits)
                        for begin in range(first, last, f.chunk):
                            for k in range(begin, min(begin + f.chunk, last), step):
                                if direct:
                                    _add_four(a[i], b, k, left, right, unit, sums)
                                else:
                                    _add_aligned(
                                        a[i, k], a_exponents[i, k], b[k, left:right], b_exponents[k, left:right],
                                        unit, sums,
                                    )  # fmt: skip
                            _add_sums(totals, sums)
                        _finish(acc, unit, totals, f, accumulator)

    return compile_kernel(kernel)
