"""Fused dots of rows of A and columns of B: any alignment, formats and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.bits import copy_sign, rounded_product, scale
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
from lpsim.core.jit import core_part
from lpsim.core.random import random_integer, stream_key, word_at
from lpsim.core.rounding import round_parts, round_parts_stochastic

__all__ = ["at_rest", "dot_parts", "key_of", "settle"]


@core_part
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
                total += rounded_product(copy_sign(np.inf, x), copy_sign(1.0, y))
        else:
            total += rounded_product(x * y, scales)
    return total


@core_part
def _exact_sum(a: Any, b: Any, first: Any, step: Any, acc: Any, f: Any, expansion: Any) -> Any:
    """Return the exact sum's parts: an expansion (Shewchuk 1997) grows by each product."""
    expansion[0] = np.float64(acc)
    size = 1
    for t in range(f.terms):
        k = first + t // f.run * step + t % f.run
        if k >= a.size:
            continue
        q = rounded_product(np.float64(a[k]), np.float64(b[k]))
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


@core_part
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


@core_part
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


@core_part
def dot_parts(
    a: Any, b: Any, a_scale: Any, b_scale: Any, first: Any, step: Any, acc: Any, f: Any, expansion: Any
) -> Any:
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


@core_part
def settle(parts: Any, key: Any, number: Any, f: Any, counts: Any) -> Any:
    """Round an exact result with the random word of that number of an element, whose key is None without them."""
    if key is None:
        value, flags = round_parts(parts, f)
    else:
        value, flags = round_parts_stochastic(parts, random_integer(word_at(key, number), f), f)
    if counts is not None:
        count(counts, flags, False, value)
    return value


@core_part
def key_of(seed: Any, index: Any) -> Any:
    """Return an element's key of random words, or None if there is no seed."""
    return None if seed is None else word_at(stream_key(seed, 0), index)


@core_part
def at_rest(part: Any, before: Any, key: Any) -> Any:
    """Return whether a dot of nothing but zeros has changed nothing, so that no more of them will: without chance."""
    return (key is None) & ((part == before) | ((part != part) & (before != before)))
