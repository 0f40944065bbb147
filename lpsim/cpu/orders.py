"""The careful matrix product: any format, mode and order of summation, one rounding after the other.

A row of an output tile is the unit of work: its elements go through the same steps, in vectorised loops.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lpsim.core.bits import scale
from lpsim.core.counters import count
from lpsim.core.exact import exact_add, exact_fma, exact_mul
from lpsim.core.random import OUTER_LEVEL, random_integer, stream_key, word_at
from lpsim.core.rounding import round_parts, round_parts_stochastic
from lpsim.cpu.compile import compile_kernel, kernel_part, source_fingerprint

__all__ = ["INNER", "StepParams", "order_kernel"]

#: Inner orders by name, as kernels know them.
INNER = {"sequential": 0, "reverse": 1, "pairwise": 2, "kahan": 3, "interleaved": 4}
_SEQUENTIAL, _REVERSE, _PAIRWISE, _KAHAN, _INTERLEAVED = range(5)

#: Levels of additions, which select their random words: see `lpsim.reference.steps`.
_LANES = 32

#: Rows of partial sums: pairwise summation needs one for each binary digit of the number of terms.
_STACK = 64

_ONE = np.float64(1.0)
_UNDERFLOW = np.int64(8)


class StepParams(NamedTuple):
    """The roundings and the order of a sum."""

    leaf: Any  # Params of products that stand alone: product or accumulator
    accumulator: Any  # Params
    outer: Any  # Params
    counts: Any  # None, or an int64 array for `lpsim.core.counters.count`
    flush: Any  # what becomes zero; None: nothing, 0: what is subnormal once rounded, 1: what is tiny
    inner: int
    lanes: int
    block: int  # 0: no blocks


@kernel_part
def _settle(parts: Any, keys: Any, j: Any, number: Any, f: Any, flush: Any, counts: Any) -> Any:
    """Round an exact result with the random word of that number."""
    if keys is None:
        value, flags = round_parts(parts, f)
    else:
        value, flags = round_parts_stochastic(parts, random_integer(word_at(keys[j], number), f), f)
    tiny = False
    if flush is not None:
        subnormal = (value != 0.0) & (abs(value) < scale(_ONE, f.emin))
        tiny = subnormal | ((flush > 0) & ((flags & _UNDERFLOW) != 0))
        value = np.copysign(0.0, value) if tiny else value
    if counts is not None:
        count(counts, flags, tiny, value)
    return value


@kernel_part
def _multiply(factor: Any, terms: Any, out: Any, keys: Any, number: Any, f: Any, s: Any) -> None:
    for j in range(out.size):
        out[j] = _settle(exact_mul(factor, terms[j], f), keys, j, number, f, s.flush, s.counts)


# Sums are made in place: were two arguments the same row, compiled loops would not be vectorised.


@kernel_part
def _add_to(acc: Any, sign: Any, y: Any, keys: Any, number: Any, f: Any, s: Any) -> None:
    for j in range(acc.size):
        acc[j] = _settle(exact_add(acc[j], sign * y[j], f), keys, j, number, f, s.flush, s.counts)


@kernel_part
def _fma_to(acc: Any, factor: Any, terms: Any, keys: Any, number: Any, f: Any, s: Any) -> None:
    for j in range(acc.size):
        acc[j] = _settle(exact_fma(factor, terms[j], acc[j], f), keys, j, number, f, s.flush, s.counts)


@kernel_part
def _accumulate(acc: Any, factor: Any, terms: Any, keys: Any, k: Any, product: Any, s: Any, spare: Any) -> None:
    if product is None:
        _fma_to(acc, factor, terms, keys, 2 * k + 1, s.accumulator, s)
    else:
        _multiply(factor, terms, spare, keys, 2 * k, product, s)
        _add_to(acc, acc.dtype.type(1), spare, keys, 2 * k + 1, s.accumulator, s)


@kernel_part
def _chain(row: Any, b: Any, ks: Any, acc: Any, keys: Any, product: Any, s: Any, spare: Any) -> None:
    for k in range(ks[0], ks[1], ks[2]):
        _accumulate(acc, row[k], b[k], keys, k, product, s, spare)


@kernel_part
def _compensated(row: Any, b: Any, first: Any, last: Any, acc: Any, keys: Any, product: Any, s: Any, work: Any) -> None:
    lost, corrected, total, spare = work[0], work[1], work[2], work[3]
    one = acc.dtype.type(1)
    lost[:] = 0
    for k in range(first, last):
        corrected[:] = -lost
        _accumulate(corrected, row[k], b[k], keys, k, product, s, spare)
        total[:] = acc
        _add_to(total, one, corrected, keys, 2 * k + 1 + (1 << 40), s.accumulator, s)
        lost[:] = total
        _add_to(lost, -one, acc, keys, 2 * k + 1 + (2 << 40), s.accumulator, s)
        _add_to(lost, -one, corrected, keys, 2 * k + 1 + (3 << 40), s.accumulator, s)
        acc[:] = total


@kernel_part
def _merge(stack: Any, levels: Any, ends: Any, top: Any, keys: Any, s: Any) -> None:
    """Replace the two sums on top of the stack by their sum."""
    left, right = top - 2, top - 1
    levels[left] += 1
    ends[left] = max(ends[left], ends[right])
    number = 2 * ends[left] + 1 + (levels[left] << 40)
    _add_to(stack[left], stack.dtype.type(1), stack[right], keys, number, s.accumulator, s)


@kernel_part
def _tree(
    row: Any, b: Any, first: Any, last: Any, out: Any, keys: Any, product: Any, s: Any, stack: Any, spare: Any
) -> None:
    """Sum in pairs what is either products or chains; sums of equally many wait on a stack for each other."""
    levels, ends = np.zeros(_STACK, np.int64), np.zeros(_STACK, np.int64)
    chains = s.inner == _INTERLEAVED
    leaves = min(s.lanes, last - first) if chains else last - first
    top = 0
    for leaf in range(leaves):
        k = first + leaf
        if chains:
            stack[top, :] = 0
            _chain(row, b, (k, last, s.lanes), stack[top], keys, product, s, spare)
            levels[top], ends[top] = _LANES - 1, k + (last - 1 - k) // s.lanes * s.lanes
        else:
            _multiply(row[k], b[k], stack[top], keys, 2 * k, s.leaf, s)
            levels[top], ends[top] = 0, k
        top += 1
        count = leaf + 1
        while count % 2 == 0:
            _merge(stack, levels, ends, top, keys, s)
            top -= 1
            count //= 2
    while top > 1:
        _merge(stack, levels, ends, top, keys, s)
        top -= 1
    if leaves > 0:
        out[:] = stack[0]


@kernel_part
def _inner_sum(row: Any, b: Any, first: Any, last: Any, acc: Any, keys: Any, product: Any, s: Any, work: Any) -> None:
    """Add terms to ``acc``, or, in a tree, write their sum to it."""
    if s.inner == _SEQUENTIAL:
        _chain(row, b, (first, last, 1), acc, keys, product, s, work[0])
    elif s.inner == _REVERSE:
        _chain(row, b, (last - 1, first - 1, -1), acc, keys, product, s, work[0])
    elif s.inner == _KAHAN:
        _compensated(row, b, first, last, acc, keys, product, s, work)
    else:
        _tree(row, b, first, last, acc, keys, product, s, work[1:], work[0])


@kernel_part
def _keys(seed: Any, first: Any, width: Any) -> Any:
    """Return the elements' keys of random words, or None if there is no seed."""
    if seed is None:
        return None
    keys = np.empty(width, np.uint64)
    for j in range(width):
        keys[j] = word_at(stream_key(seed, 0), first + j)
    return keys


def order_kernel() -> Callable[..., None]:
    """Return ``kernel(a, b, out, rows, columns, seeds, start, product, steps)``.

    The matrices are C-contiguous and of one dtype: float32 if that is the carrier of all the formats involved (which
    is faster), else float64. ``rows`` and ``columns`` are (start, stop); that part of ``out`` holds the start values
    and receives the results. ``seeds`` are those of steps and of outer additions, each None
    unless its mode is stochastic; ``start`` is the index of ``out[0, 0]`` in
    the whole result: it selects the random words. ``product`` is the Params of products, or None: they are
    exact. ``steps`` is a `StepParams`.
    """
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[..., None]:
    def kernel(
        a: Any, b: Any, out: Any, rows: Any, columns: Any, seeds: Any, start: Any, product: Any, s: Any
    ) -> None:  # fmt: skip
        assert fingerprint >= 0
        width, depth = columns[1] - columns[0], a.shape[1]
        work = np.zeros((_STACK + 1, width), out.dtype)
        part = np.empty(width, out.dtype)
        panel = b[:, columns[0] : columns[1]]
        chained = (s.block == 0) & (s.inner != _PAIRWISE) & (s.inner != _INTERLEAVED)
        size = s.block if s.block > 0 else max(depth, 1)
        for i in range(rows[0], rows[1]):
            acc = out[i, columns[0] : columns[1]]
            first_key = start + i * out.shape[1] + columns[0]
            keys = _keys(seeds[0], first_key, width)
            outer_keys = _keys(seeds[1], first_key, width)
            if chained:
                _inner_sum(a[i], panel, 0, depth, acc, keys, product, s, work)
                continue
            for first in range(0, depth, size):
                last = min(first + size, depth)
                part[:] = 0
                _inner_sum(a[i], panel, first, last, part, keys, product, s, work)
                _add_to(acc, out.dtype.type(1), part, outer_keys, 2 * last - 1 + (OUTER_LEVEL << 40), s.outer, s)

    return compile_kernel(kernel)
