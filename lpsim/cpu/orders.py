"""The careful matrix product: any format, mode and order of summation, one rounding after the other.

A row of an output tile is the unit of work: its elements go through the same steps, in vectorised loops.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.jit import core_part
from lpsim.core.random import OUTER_LEVEL, stream_key, word_at
from lpsim.core.sums import INTERLEAVED, PAIRWISE, STACK, add_to, inner_sum
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["order_kernel"]


@core_part
def _keys(seed: Any, first: Any, width: Any) -> Any:
    """Return the elements' keys of random words, or None if there is no seed."""
    if seed is None:
        return None
    keys = np.empty(width, np.uint64)
    for j in range(width):
        keys[j] = word_at(stream_key(seed, 0), first + j)
    return keys


def order_kernel() -> Callable[..., None]:
    """Return ``kernel(a, b, out, rows, columns, seeds, place, product, steps)``.

    The matrices are C-contiguous and of one dtype: float32 if that is the carrier of all the formats involved (which
    is faster), else float64. ``rows`` and ``columns`` are (start, stop); that part of ``out`` holds the start values
    and receives the results. ``seeds`` are those of steps and of outer additions, each None
    unless its mode is stochastic; ``place`` has the index of ``out[0, 0]`` in the whole result and the number of
    elements in a row of that: they select the random words. ``product`` is the Params of products, or None: they are
    exact. ``steps`` is a `lpsim.core.sums.StepParams`.
    """
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[..., None]:
    def kernel(
        a: Any, b: Any, out: Any, rows: Any, columns: Any, seeds: Any, place: Any, product: Any, s: Any
    ) -> None:  # fmt: skip
        assert fingerprint >= 0
        width, depth = columns[1] - columns[0], a.shape[1]
        work = np.zeros((STACK + 1, width), out.dtype)
        marks = np.empty((2, STACK), np.int64)
        part = np.empty(width, out.dtype)
        panel = b[:, columns[0] : columns[1]]
        chained = (s.block == 0) & (s.inner != PAIRWISE) & (s.inner != INTERLEAVED)
        size = s.block if s.block > 0 else max(depth, 1)
        for i in range(rows[0], rows[1]):
            acc = out[i, columns[0] : columns[1]]
            first_key = place[0] + i * place[1] + columns[0]
            keys = _keys(seeds[0], first_key, width)
            outer_keys = _keys(seeds[1], first_key, width)
            if chained:
                inner_sum(a[i], panel, 0, depth, acc, keys, product, s, work, marks)
                continue
            for first in range(0, depth, size):
                last = min(first + size, depth)
                part[:] = 0
                inner_sum(a[i], panel, first, last, part, keys, product, s, work, marks)
                add_to(acc, out.dtype.type(1), part, outer_keys, 2 * last - 1 + (OUTER_LEVEL << 40), s.outer, s)

    return compile_kernel(kernel)
