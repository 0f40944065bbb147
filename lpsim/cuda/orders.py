"""Matrix products in any order of summation and by fused dots on a GPU: a thread takes one element after the other."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda

from lpsim.core.dots import at_rest, dot_parts, key_of, settle
from lpsim.core.exact import exact_add
from lpsim.core.jit import core_function
from lpsim.core.random import OUTER_LEVEL, stream_key, word_at
from lpsim.core.sums import INTERLEAVED, PAIRWISE, STACK, StepParams, add_to, inner_sum
from lpsim.cuda.target import device_kernel

__all__ = ["dot_kernel", "order_kernel"]

#: Rows of memory for sums; compiled code takes sizes as constants.
_ROWS = STACK + 1


def _choice(present: bool) -> Any:
    """Return a function for kernels of its argument, or of None: a constant, by which they are compiled."""

    def argument(value: Any) -> Any:
        return value

    def nothing(value: Any) -> Any:
        return None

    return core_function(argument if present else nothing)


@functools.cache
def order_kernel(*, wide: bool, stochastic: bool, outer_stochastic: bool, has_product: bool, flushes: bool) -> Any:
    """Return ``kernel(a, b, out, seed, product, accumulator, outer, flush, inner, lanes, block)``.

    Arrays are as for `lpsim.cuda.gemm.gemm_kernel`, float64 if ``wide``; parameters are those of
    `lpsim.core.sums.StepParams`, and whether they are used.
    """
    lane = np.float64 if wide else np.float32
    products, flushing = _choice(has_product), _choice(flushes)
    step_keys, outer_keys = _choice(stochastic), _choice(outer_stochastic)

    def kernel(
        a: Any, b: Any, out: Any, seed: Any, product: Any, accumulator: Any, outer: Any, flush: Any, inner: Any,
        lanes: Any, block: Any,
    ) -> None:  # fmt: skip
        work = cuda.local.array((_ROWS, 1), lane)
        marks = cuda.local.array((2, STACK), np.int64)
        acc, part = cuda.local.array(1, lane), cuda.local.array(1, lane)
        key = cuda.local.array(1, np.uint64)
        m, n, depth = out.shape[1], out.shape[2], a.shape[2]
        s = StepParams(product, accumulator, outer, None, flushing(flush), inner, lanes, block)
        chained = (block == 0) & (inner != PAIRWISE) & (inner != INTERLEAVED)
        size = block if block > 0 else max(depth, 1)
        for index in range(cuda.grid(1), out.shape[0] * m * n, cuda.gridsize(1)):
            z, i, j = index // (m * n), index // n % m, index % n
            row, panel = a[z, i], b[z, :, j : j + 1]
            acc[0] = out[z, i, j]
            key[0] = word_at(stream_key(seed, 0), index)
            if chained:
                inner_sum(row, panel, 0, depth, acc, step_keys(key), products(product), s, work, marks)
            else:
                for first in range(0, depth, size):
                    last = min(first + size, depth)
                    part[0] = 0
                    inner_sum(row, panel, first, last, part, step_keys(key), products(product), s, work, marks)
                    number = 2 * last - 1 + (OUTER_LEVEL << 40)
                    add_to(acc, lane(1), part, outer_keys(key), number, outer, s)
            out[z, i, j] = acc[0]

    return device_kernel(kernel)


@functools.cache
def dot_kernel(terms: int, *, stochastic: bool, outer_stochastic: bool) -> Any:
    """Return ``kernel(a, b, a_scale, b_scale, out, seed, accumulator, outer, f)`` for dots of so many terms.

    The arrays are C-contiguous float64 arrays (batch, rows, columns); ``b`` and ``b_scale`` are transposed, so that a
    row is a column of B. ``f`` is a DotParams.
    """
    step_seed, outer_seed = _choice(stochastic), _choice(outer_stochastic)
    memory = terms + 1

    def kernel(
        a: Any, b: Any, a_scale: Any, b_scale: Any, out: Any, seed: Any, accumulator: Any, outer: Any, f: Any
    ) -> None:  # fmt: skip
        expansion = cuda.local.array(memory, np.float64)
        m, n, depth = out.shape[1], out.shape[2], a.shape[2]
        size = f.block if f.block > 0 else f.terms
        dots = size // f.terms
        for index in range(cuda.grid(1), out.shape[0] * m * n, cuda.gridsize(1)):
            z, i, j = index // (m * n), index // n % m, index % n
            key = key_of(step_seed(seed), index)
            outer_key = key_of(outer_seed(seed), index)
            acc = np.float64(out[z, i, j])
            for first in range(0, depth, size):
                part = np.float64(0.0) if f.block > 0 else acc
                for d in range(dots):
                    begin, step, before = first + d * f.run, dots * f.run, part
                    parts = dot_parts(a[z, i], b[z, j], a_scale[z, i], b_scale[z, j], begin, step, part, f, expansion)
                    part = settle(parts, key, 2 * (first + (d + 1) * f.terms - 1) + 1, accumulator, None)
                    if begin >= depth and at_rest(part, before, key):
                        break
                if f.block > 0:
                    number = 2 * (first + size - 1) + 1 + (OUTER_LEVEL << 40)
                    acc = settle(exact_add(acc, part, outer), outer_key, number, outer, None)
                else:
                    acc = part
            out[z, i, j] = acc

    return device_kernel(kernel)
