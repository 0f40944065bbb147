"""The careful product by fused dots: any alignment, formats and rounding, one element after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.dots import at_rest, dot_parts, key_of, settle
from lpsim.core.exact import exact_add
from lpsim.core.jit import core_part
from lpsim.core.random import OUTER_LEVEL
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["dot_kernel"]


@core_part
def _total(counts: Any) -> Any:
    """Return the sum of the counts, or 0 without them."""
    return np.int64(0) if counts is None else counts.sum()


def dot_kernel() -> Callable[..., None]:
    """Return ``kernel(a, b, a_scale, b_scale, out, rows, columns, seeds, place, accumulator, outer, dot, counts)``.

    ``a``, ``out`` and ``a_scale`` are C-contiguous; ``b`` and ``b_scale`` are transposed, so that a row is a column
    of B. ``rows`` and ``columns`` are (start, stop); that part of ``out`` holds the start values and receives
    the results. ``seeds`` are those of dots and of outer additions, each None unless its mode is stochastic; ``place``
    is as for `lpsim.cpu.orders.order_kernel`. ``counts`` is None, or an int64 array for
    `lpsim.core.counters.count`.
    """
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[..., None]:
    def kernel(
        a: Any, b: Any, a_scale: Any, b_scale: Any, out: Any, rows: Any, columns: Any, seeds: Any, place: Any,
        accumulator: Any, outer: Any, f: Any, counts: Any,
    ) -> None:  # fmt: skip
        assert fingerprint >= 0
        depth = a.shape[1]
        size = f.block if f.block > 0 else f.terms
        dots = size // f.terms
        expansion = np.empty(f.terms + 1, np.float64)
        for i in range(rows[0], rows[1]):
            for j in range(columns[0], columns[1]):
                key = key_of(seeds[0], place[0] + i * place[1] + j)
                outer_key = key_of(seeds[1], place[0] + i * place[1] + j)
                acc = np.float64(out[i, j])
                for first in range(0, depth, size):
                    part = np.float64(0.0) if f.block > 0 else acc
                    for d in range(dots):
                        # The runs of a dot are as far apart as the block has dots.
                        begin, step = first + d * f.run, dots * f.run
                        before, counted = part, _total(counts)
                        parts = dot_parts(a[i], b[j], a_scale[i], b_scale[j], begin, step, part, f, expansion)
                        part = settle(parts, key, 2 * (first + (d + 1) * f.terms - 1) + 1, accumulator, counts)
                        if begin >= depth and at_rest(part, before, key) and counted == _total(counts):
                            break
                    if f.block > 0:
                        parts = exact_add(acc, part, outer)
                        acc = settle(parts, outer_key, 2 * (first + size - 1) + 1 + (OUTER_LEVEL << 40), outer, counts)
                    else:
                        acc = part
                out[i, j] = acc

    return compile_kernel(kernel)
