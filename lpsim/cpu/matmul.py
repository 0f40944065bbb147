"""The plain matrix product: k ascending, columns in the vectorised inner loop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.bits import fma
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["native_matmul_kernel"]


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
