"""Matrix product kernels: rows in parallel, k ascending, columns in the vectorised inner loop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.bits import fma
from lpsim.core.exact import exact_add, exact_fma, exact_mul
from lpsim.core.random import random_integer, stream_key, word_at
from lpsim.core.rounding import round_parts, round_parts_stochastic
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["matmul_kernel", "native_matmul_kernel"]


def native_matmul_kernel() -> Callable[..., None]:
    """Return ``kernel(a, b, out, rows, columns)`` that accumulates with the processor's own fma.

    The three matrices are C-contiguous and of one dtype, float32 or float64. ``rows`` and ``columns`` are
    (start, stop); that part of ``out`` holds the start values and receives the results.
    """
    return _build_native(source_fingerprint())


@functools.cache
def _build_native(fingerprint: int) -> Callable[..., None]:
    def kernel(a: Any, b: Any, out: Any, rows: Any, columns: Any) -> None:
        assert fingerprint >= 0
        for i in range(rows[0], rows[1]):
            accumulators = out[i, columns[0] : columns[1]]
            for k in range(a.shape[1]):
                factor = a[i, k]
                terms = b[k, columns[0] : columns[1]]
                for j in range(terms.size):
                    accumulators[j] = fma(factor, terms[j], accumulators[j])
            for j in range(accumulators.size):
                # Processors differ in the sign and payload of the NaNs that they make.
                if accumulators[j] != accumulators[j]:
                    accumulators[j] = np.nan

    return compile_kernel(kernel)


def matmul_kernel(*, fused: bool, stochastic: bool) -> Callable[..., None]:
    """Return ``kernel(a, b, out, rows, columns, seed, start, product, accumulator)``.

    The matrices are C-contiguous and of one dtype: float32 if that is the carrier of all the formats involved (which
    is faster), else float64. ``product`` and ``accumulator`` are the Params of the two roundings of a step, of which
    the fused kernel does the second only. ``start`` is the index of ``out[0, 0]`` in the whole result: it selects
    the random words.
    """
    return _build(fused, stochastic, source_fingerprint())


@functools.cache
def _build(fused: bool, stochastic: bool, fingerprint: int) -> Callable[..., None]:
    def kernel(
        a: Any,
        b: Any,
        out: Any,
        rows: Any,
        columns: Any,
        seed: Any,
        start: Any,
        product: Any,
        accumulator: Any,
    ) -> None:
        assert fingerprint >= 0
        width = columns[1] - columns[0]
        keys = np.empty(width, np.uint64)
        key = stream_key(seed, 0)
        for i in range(rows[0], rows[1]):
            accumulators = out[i, columns[0] : columns[1]]
            for j in range(width):
                keys[j] = word_at(key, start + i * out.shape[1] + columns[0] + j)
            for k in range(a.shape[1]):
                factor = a[i, k]
                terms = b[k, columns[0] : columns[1]]
                for j in range(width):
                    if fused:
                        parts = exact_fma(factor, terms[j], accumulators[j], accumulator)
                    else:
                        parts = exact_mul(factor, terms[j], product)
                        if stochastic:
                            word = random_integer(word_at(keys[j], 2 * k), product)
                            term = round_parts_stochastic(parts, word, product)[0]
                        else:
                            term = round_parts(parts, product)[0]
                        parts = exact_add(accumulators[j], out.dtype.type(term), accumulator)
                    if stochastic:
                        word = random_integer(word_at(keys[j], 2 * k + 1), accumulator)
                        accumulators[j] = round_parts_stochastic(parts, word, accumulator)[0]
                    else:
                        accumulators[j] = round_parts(parts, accumulator)[0]

    return compile_kernel(kernel)
