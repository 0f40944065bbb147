"""Sums of products in any order, one rounding after the other: the steps of some elements of a result together.

Those elements are a row of an output tile, or a single one, and share a row of A; their columns of B are the columns of
a panel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lpsim.core.bits import copy_sign, rounded_product, scale
from lpsim.core.counters import count
from lpsim.core.exact import exact_add, exact_fma, exact_mul
from lpsim.core.jit import core_part
from lpsim.core.random import random_integer, word_at
from lpsim.core.rounding import round_parts, round_parts_stochastic

__all__ = ["INNER", "INTERLEAVED", "PAIRWISE", "STACK", "StepParams", "add_to", "inner_sum"]

#: Inner orders by name, as kernels know them.
INNER = {"sequential": 0, "reverse": 1, "pairwise": 2, "kahan": 3, "interleaved": 4}
_SEQUENTIAL, _REVERSE, PAIRWISE, _KAHAN, INTERLEAVED = range(5)

#: Levels of additions, which select their random words: see `lpsim.reference.steps`.
_LANES = 32

#: Rows of partial sums: pairwise summation needs one for each binary digit of the number of terms.
STACK = 64

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


@core_part
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
        value = copy_sign(0.0, value) if tiny else value
    if counts is not None:
        count(counts, flags, tiny, value)
    return value


@core_part
def _multiply(factor: Any, terms: Any, out: Any, keys: Any, number: Any, f: Any, s: Any) -> None:
    for j in range(out.size):
        out[j] = _settle(exact_mul(factor, terms[j], f), keys, j, number, f, s.flush, s.counts)


# Sums are made in place: were two arguments the same row, compiled loops would not be vectorised.


@core_part
def add_to(acc: Any, sign: Any, y: Any, keys: Any, number: Any, f: Any, s: Any) -> None:
    """Add y, times 1 or -1, to the sums, rounded with the random words of that number."""
    for j in range(acc.size):
        acc[j] = _settle(exact_add(acc[j], rounded_product(sign, y[j]), f), keys, j, number, f, s.flush, s.counts)


@core_part
def _fma_to(acc: Any, factor: Any, terms: Any, keys: Any, number: Any, f: Any, s: Any) -> None:
    for j in range(acc.size):
        acc[j] = _settle(exact_fma(factor, terms[j], acc[j], f), keys, j, number, f, s.flush, s.counts)


@core_part
def _accumulate(acc: Any, factor: Any, terms: Any, keys: Any, k: Any, product: Any, s: Any, spare: Any) -> None:
    if product is None:
        _fma_to(acc, factor, terms, keys, 2 * k + 1, s.accumulator, s)
    else:
        _multiply(factor, terms, spare, keys, 2 * k, product, s)
        add_to(acc, acc.dtype.type(1), spare, keys, 2 * k + 1, s.accumulator, s)


@core_part
def _chain(row: Any, b: Any, ks: Any, acc: Any, keys: Any, product: Any, s: Any, spare: Any) -> None:
    for k in range(ks[0], ks[1], ks[2]):
        _accumulate(acc, row[k], b[k], keys, k, product, s, spare)


@core_part
def _compensated(row: Any, b: Any, first: Any, last: Any, acc: Any, keys: Any, product: Any, s: Any, work: Any) -> None:
    lost, corrected, total, spare = work[0], work[1], work[2], work[3]
    one = acc.dtype.type(1)
    for j in range(acc.size):
        lost[j] = 0
    for k in range(first, last):
        for j in range(acc.size):
            corrected[j] = -lost[j]
        _accumulate(corrected, row[k], b[k], keys, k, product, s, spare)
        for j in range(acc.size):
            total[j] = acc[j]
        add_to(total, one, corrected, keys, 2 * k + 1 + (1 << 40), s.accumulator, s)
        for j in range(acc.size):
            lost[j] = total[j]
        add_to(lost, -one, acc, keys, 2 * k + 1 + (2 << 40), s.accumulator, s)
        add_to(lost, -one, corrected, keys, 2 * k + 1 + (3 << 40), s.accumulator, s)
        for j in range(acc.size):
            acc[j] = total[j]


@core_part
def _merge(stack: Any, levels: Any, ends: Any, top: Any, keys: Any, s: Any) -> None:
    """Replace the two sums on top of the stack by their sum."""
    left, right = top - 2, top - 1
    levels[left] += 1
    ends[left] = max(ends[left], ends[right])
    number = 2 * ends[left] + 1 + (levels[left] << 40)
    add_to(stack[left], stack.dtype.type(1), stack[right], keys, number, s.accumulator, s)


@core_part
def _tree(
    row: Any,
    b: Any,
    first: Any,
    last: Any,
    out: Any,
    keys: Any,
    product: Any,
    s: Any,
    stack: Any,
    spare: Any,
    marks: Any,
) -> None:  # fmt: skip
    """Sum in pairs what is either products or chains; sums of equally many wait on a stack for each other."""
    levels, ends = marks[0], marks[1]
    chains = s.inner == INTERLEAVED
    leaves = min(s.lanes, last - first) if chains else last - first
    top = 0
    for leaf in range(leaves):
        k = first + leaf
        if chains:
            for j in range(out.size):
                stack[top, j] = 0
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
        for j in range(out.size):
            out[j] = stack[0, j]


@core_part
def inner_sum(
    row: Any, b: Any, first: Any, last: Any, acc: Any, keys: Any, product: Any, s: Any, work: Any, marks: Any
) -> None:
    """Add terms to ``acc``, or, in a tree, write their sum to it.

    Parameters
    ----------
    row : ndarray
        A row of A.
    b : ndarray
        The columns of B.
    first, last : int
        Which terms.
    acc : ndarray
        The sums, of the dtype of A and B.
    keys : ndarray or None
        The elements' keys of random words.
    product : Params or None
        Of the products; None: they are exact.
    s : StepParams
    work, marks : ndarray
        Memory: `STACK` + 1 rows like ``acc``, and two rows of `STACK` int64.
    """
    if s.inner == _SEQUENTIAL:
        _chain(row, b, (first, last, 1), acc, keys, product, s, work[0])
    elif s.inner == _REVERSE:
        _chain(row, b, (last - 1, first - 1, -1), acc, keys, product, s, work[0])
    elif s.inner == _KAHAN:
        _compensated(row, b, first, last, acc, keys, product, s, work)
    else:
        _tree(row, b, first, last, acc, keys, product, s, work[1:], work[0], marks)
