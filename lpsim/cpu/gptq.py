"""The inner loop of GPTQ."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["gptq_kernel"]


def gptq_kernel() -> Callable[..., None]:
    """Return ``kernel(work, factor, scales, zeros, groups, largest, codes, errors)`` for a block of columns.

    Rows are independent. ``work`` (rows, count) holds the block's weights and is used up, ``factor`` (count, count) is
    the block of the upper Cholesky factor, ``groups`` (count) the column of ``scales`` and ``zeros`` that each
    weight takes; ``codes`` and ``errors`` (rows, count) are written. All arithmetic is in the arrays' dtype.
    """
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[..., None]:
    def kernel(
        work: Any, factor: Any, scales: Any, zeros: Any, groups: Any, largest: Any, codes: Any, errors: Any
    ) -> None:
        assert fingerprint >= 0
        rows, count = work.shape
        for row in range(rows):
            for i in range(count):
                group = groups[i]
                scale, zero = scales[row, group], zeros[row, group]
                code = np.rint(work[row, i] / scale) + zero
                code = min(max(code, work.dtype.type(0)), largest)
                error = (work[row, i] - scale * (code - zero)) / factor[i, i]
                codes[row, i] = np.uint8(code)
                errors[row, i] = error
                for j in range(i, count):
                    work[row, j] -= error * factor[i, j]

    return compile_kernel(kernel)
