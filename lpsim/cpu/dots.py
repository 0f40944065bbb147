"""The careful product by fused dots: any alignment, formats and rounding, one element after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.bits import scale
from lpsim.core.counters import count
from lpsim.core.dot import (
    CDNA3,
    CDNA3_SPLIT,
    EXACT,
    align,
    join_cdna3,
    parts_of_integer,
    parts_of_special,
    parts_of_sum,
    split,
)
from lpsim.core.exact import exact_add
from lpsim.core.random import OUTER_LEVEL, random_integer, stream_key, word_at
from lpsim.core.rounding import round_parts, round_parts_stochastic
from lpsim.cpu.compile import compile_kernel, kernel_part, source_fingerprint

__all__ = ["dot_kernel"]


@kernel_part
def _special_sum(a: Any, b: Any, a_scale: Any, b_scale: Any, first: Any, step: Any, acc: Any, f: Any) -> Any:
    """Return the infinity or NaN that a dot gives, or a finite number if it gives a number."""
    total = np.float64(0.0) if abs(acc) < np.inf else np.float64(acc)
    limit = scale(np.float64(1.0), f.c_emax + 1)
    for t in range(f.terms):
        k = first + t // f.run * step + t % f.run
        if k >= a.size:
            continue
        x, y = np.float64(a[k]), np.float64(b[k])
        scales = np.float64(1.0)
        if f.scale_block > 0:
            scales = np.float64(a_scale[k // f.scale_block]) * np.float64(b_scale[k // f.scale_block])
        finite = (abs(x) < np.inf) & (abs(y) < np.inf) & (abs(scales) < np.inf)
        if finite:
            if (f.alignment == CDNA3) & (abs(x * y) >= limit):
                total += np.copysign(np.inf, x) * np.copysign(1.0, y)
        else:
            total += x * y * scales
    return total


@kernel_part
def _exact_sum(a: Any, b: Any, first: Any, step: Any, acc: Any, f: Any, expansion: Any) -> Any:
    """Return the exact sum's parts: an expansion (Shewchuk 1997) grows by each product."""
    expansion[0] = np.float64(acc)
    size = 1
    for t in range(f.terms):
        k = first + t // f.run * step + t % f.run
        if k >= a.size:
            continue
        q = np.float64(a[k]) * np.float64(b[k])
        for i in range(size):
            h = expansion[i]
            s = q + h
            v = s - q
            expansion[i] = (q - (s - v)) + (h - v)
            q = s
        expansion[size] = q
        size += 1
    # From the top: each component that is left is beyond the last place of the one before.
    head, rest, tail = np.float64(0.0), np.float64(0.0), np.float64(0.0)
    q = expansion[size - 1]
    found = 0
    for i in range(size - 2, -1, -1):
        s = q + expansion[i]
        e = expansion[i] - (s - q)
        if e != 0.0:
            if found == 0:
                head = s
            elif found == 1:
                rest = s
            elif found == 2:
                tail = s
            found += 1
            q = e
        else:
            q = s
    if found == 0:
        head = q
    elif found == 1:
        rest = q
    elif found == 2:
        tail = q
    return parts_of_sum(head, rest, tail)


@kernel_part
def _term(a: Any, b: Any, a_scale: Any, b_scale: Any, first: Any, step: Any, t: Any, f: Any) -> Any:
    """Return the term from the product t on, as (n, exponent of its last bit, exponent for the alignment)."""
    n, last_bit, exponent = np.int64(0), np.int64(0), np.int64(0)
    zero = True
    for u in range(t, t + f.group):
        k = first + u // f.run * step + u % f.run
        if k >= a.size:
            continue
        na, ea = split(a[k], f.a_bits, f.a_emin)
        nb, eb = split(b[k], f.b_bits, f.b_emin)
        zero &= na * nb == 0
        if f.group == 1:
            n, last_bit, exponent = na * nb, ea + eb - f.a_bits - f.b_bits, ea + eb
        elif na * nb != 0:
            n += (na * nb) << (ea + eb - f.a_emin - f.b_emin)
            last_bit, exponent = np.int64(f.a_emin + f.b_emin - f.a_bits - f.b_bits), np.int64(0)
    k = first + t // f.run * step + t % f.run
    if (f.scale_block > 0) & (k < a.size):
        np_, ep = split(a_scale[k // f.scale_block], f.scale_bits, f.scale_emin)
        nq, eq = split(b_scale[k // f.scale_block], f.scale_bits, f.scale_emin)
        n *= np_ * nq
        zero |= np_ * nq == 0
        last_bit += ep + eq - 2 * f.scale_bits
        exponent += ep + eq
    # A group whose products cancel is not a zero term.
    return n, last_bit, (np.int64(f.zero_exponent) if zero else exponent)


@kernel_part
def _aligned_sum(
    a: Any, b: Any, a_scale: Any, b_scale: Any, first: Any, step: Any, lane: Any, lanes: Any, least: Any, f: Any
) -> Any:
    """Return (sum of truncated terms, largest exponent), which is at least ``least``."""
    largest = np.int64(least)
    for t in range(lane, f.terms, lanes * f.group):
        largest = max(largest, _term(a, b, a_scale, b_scale, first, step, t, f)[2])
    total = np.int64(0)
    for t in range(lane, f.terms, lanes * f.group):
        n, last_bit, _ = _term(a, b, a_scale, b_scale, first, step, t, f)
        total += align(n, last_bit - (largest - f.fraction_bits))
    return total, largest


@kernel_part
def _dot(a: Any, b: Any, a_scale: Any, b_scale: Any, first: Any, step: Any, acc: Any, f: Any, expansion: Any) -> Any:
    """Return the parts of one dot: the terms from ``first`` on, in runs that are ``step`` apart."""
    special = _special_sum(a, b, a_scale, b_scale, first, step, acc, f)
    if not abs(special) < np.inf:
        return parts_of_special(special)
    if f.alignment == EXACT:
        return _exact_sum(a, b, first, step, acc, f, expansion)
    c, c_exponent = split(acc, f.c_bits, f.c_emin)
    if f.alignment in (CDNA3, CDNA3_SPLIT):
        least = np.int64(-30000)  # below any exponent
        if f.alignment == CDNA3:
            total, exponent = _aligned_sum(a, b, a_scale, b_scale, first, step, 0, 1, least, f)
        else:
            even, even_exponent = _aligned_sum(a, b, a_scale, b_scale, first, step, 0, 2, least, f)
            odd, odd_exponent = _aligned_sum(a, b, a_scale, b_scale, first, step, 1, 2, least, f)
            exponent = max(even_exponent, odd_exponent)
            total = (even >> min(exponent - even_exponent, 62)) + (odd >> min(exponent - odd_exponent, 62))
        n, q = join_cdna3(total, exponent, c, c_exponent, f.alignment == CDNA3_SPLIT, f)
        return parts_of_integer(n, q)
    c_exponent = c_exponent if c != 0 else np.int64(f.zero_exponent)
    total, exponent = _aligned_sum(a, b, a_scale, b_scale, first, step, 0, 1, c_exponent, f)
    q = exponent - f.fraction_bits
    return parts_of_integer(total + align(c, c_exponent - f.c_bits - q), q)


@kernel_part
def _settle(parts: Any, key: Any, number: Any, f: Any, counts: Any) -> Any:
    if key is None:
        value, flags = round_parts(parts, f)
    else:
        value, flags = round_parts_stochastic(parts, random_integer(word_at(key, number), f), f)
    if counts is not None:
        count(counts, flags, False, value)
    return value


@kernel_part
def _key(seed: Any, index: Any) -> Any:
    return None if seed is None else word_at(stream_key(seed, 0), index)


def dot_kernel() -> Callable[..., None]:
    """Return ``kernel(a, b, a_scale, b_scale, out, rows, columns, seeds, start, accumulator, outer, dot, counts)``.

    ``a``, ``out`` and ``a_scale`` are C-contiguous; ``b`` and ``b_scale`` are transposed, so that a row is a column
    of B. ``rows`` and ``columns`` are (start, stop); that part of ``out`` holds the start values and receives
    the results. ``seeds`` are those of dots and of outer additions, each None unless its mode is stochastic; ``start``
    is the index of ``out[0, 0]`` in the whole result. ``counts`` is None, or an int64 array for
    `lpsim.core.counters.count`.
    """
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[..., None]:
    def kernel(
        a: Any, b: Any, a_scale: Any, b_scale: Any, out: Any, rows: Any, columns: Any, seeds: Any, start: Any,
        accumulator: Any, outer: Any, f: Any, counts: Any,
    ) -> None:  # fmt: skip
        assert fingerprint >= 0
        depth = a.shape[1]
        size = f.block if f.block > 0 else f.terms
        dots = size // f.terms
        expansion = np.empty(f.terms + 1, np.float64)
        for i in range(rows[0], rows[1]):
            for j in range(columns[0], columns[1]):
                key = _key(seeds[0], start + i * out.shape[1] + j)
                outer_key = _key(seeds[1], start + i * out.shape[1] + j)
                acc = np.float64(out[i, j])
                for first in range(0, depth, size):
                    part = np.float64(0.0) if f.block > 0 else acc
                    for d in range(dots):
                        # The runs of a dot are as far apart as the block has dots.
                        begin, step = first + d * f.run, dots * f.run
                        parts = _dot(a[i], b[j], a_scale[i], b_scale[j], begin, step, part, f, expansion)
                        part = _settle(parts, key, 2 * (first + (d + 1) * f.terms - 1) + 1, accumulator, counts)
                    if f.block > 0:
                        parts = exact_add(acc, part, outer)
                        acc = _settle(parts, outer_key, 2 * (first + size - 1) + 1 + (OUTER_LEVEL << 40), outer, counts)
                    else:
                        acc = part
                out[i, j] = acc

    return compile_kernel(kernel)
