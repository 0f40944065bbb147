"""Matrix products whose every step is rounded, in vectors of binary32 or binary64 numbers.

Sixteen or eight accumulators go through a step together. Nothing inside the loop asks whether a number is special:
all of it is proved beforehand (`lpsim.steps`) or seen at the end of a row. Rows that need more are left as they are,
and marked, for a second kernel that does ask.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lpsim.core.jit import core_function
from lpsim.core.random import stream_key, word_at
from lpsim.core.steps import in_lanes, next_sum
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["WIDTH", "Words", "step_kernel"]

#: Accumulators of a row that are worked on together. Their numbers, and those of a few rows, stay in the first-level
#: cache, and there are enough of them that a vector's next step need not wait for the previous one.
WIDTH = 512
_ROWS = 4
#: What a row of accumulators is padded to, a cache line of binary32 numbers.
_LINE = 16


class Words(NamedTuple):
    """Which random words a matrix product takes: element (i, j) has the index start + i * row + j * column."""

    seed: np.uint64
    start: int
    row: int
    column: int
    random_bits: int


@core_function
def _aligned(size: Any, lane: Any) -> Any:
    """Return an array at the start of a cache line: vectors that straddle two cost twice the time."""
    raw = np.empty(size + _LINE, lane)
    first = (-raw.ctypes.data % 64) // raw.itemsize
    return raw[first : first + size]


def step_kernel(
    *, wide: bool, fused: bool, toward_zero: bool, stochastic: bool, clamped: bool, signed: bool, guarded: bool
) -> Callable[..., None]:
    """Return ``kernel(a, b, out, todo, rows, columns, depths, words, scale, product, accumulator)``.

    Parameters
    ----------
    wide : bool
        Work in binary64 instead of binary32 numbers. Either takes matrices of both.
    fused : bool
        Round the sums only.
    toward_zero : bool
        Round toward zero instead of to nearest, ties to even.
    stochastic : bool
        With ``toward_zero`` and ``wide``: round stochastically.
    clamped : bool
        Do what is beyond the range, infinities and NaNs as well, with a ``scale`` of 1. If False, a row in which there
        are any is not done.
    signed : bool
        Do negative zeros. If False, a row that starts with any is not done, and none arises.
    guarded : bool
        Terms may have more digits than accumulators, which may be so small beside them that they get lost.

    Returns
    -------
    callable
        The matrices are C-contiguous; ``rows``, ``columns`` and ``depths`` are (start, stop) of what is to be done.
        ``todo[i, j]`` tells whether to do row i of ``rows`` in the jth `WIDTH` columns of ``columns``, and is set to
        False if that was done; else this part of ``out`` is as it was. ``words`` are Words,
        ``product`` and ``accumulator`` StepParams.
    """
    return _build(wide, fused, toward_zero, stochastic, clamped, signed, guarded, source_fingerprint())


@functools.cache
def _build(
    wide: bool,
    fused: bool,
    toward_zero: bool,
    stochastic: bool,
    clamped: bool,
    signed: bool,
    guarded: bool,
    fingerprint: int,
) -> Callable[..., None]:
    lane: Any = np.float64 if wide else np.float32
    few_last_places = 2.0**-50 if wide else 2.0**-21
    how = fused, toward_zero, stochastic, clamped, signed, guarded

    def kernel(
        a: Any,
        b: Any,
        out: Any,
        todo: Any,
        rows: Any,
        columns: Any,
        depths: Any,
        words: Any,
        scale: Any,
        product: Any,
        accumulator: Any,
    ) -> None:
        assert fingerprint >= 0
        up, down, epsilon = lane(scale), lane(1 / scale), lane(few_last_places)
        to_product, to_sum = in_lanes(product, lane), in_lanes(accumulator, lane)
        depth = depths[1] - depths[0]
        padded = min(WIDTH, -(-(columns[1] - columns[0]) // _LINE) * _LINE)
        panel = _aligned(depth * padded, lane).reshape(depth, padded)
        sums = _aligned(_ROWS * padded, lane).reshape(_ROWS, padded)
        keys = _aligned(_ROWS * padded, np.uint64).reshape(_ROWS, padded)
        key = stream_key(words.seed, 0)
        for block in range(todo.shape[1]):
            if not todo[:, block].any():
                continue
            first = columns[0] + block * WIDTH
            width = min(WIDTH, columns[1] - first)
            for k in range(depth):
                for j in range(width):
                    panel[k, j] = lane(b[depths[0] + k, first + j])
                for j in range(width, padded):
                    panel[k, j] = lane(0)
            for top in range(0, rows[1] - rows[0], _ROWS):
                height = min(_ROWS, rows[1] - rows[0] - top)
                for r in range(height):
                    for j in range(width):
                        sums[r, j] = lane(out[rows[0] + top + r, first + j]) * up
                    for j in range(width, padded):
                        sums[r, j] = lane(0)
                    if stochastic:
                        index = words.start + (rows[0] + top + r) * words.row + first * words.column
                        for j in range(padded):
                            keys[r, j] = word_at(key, index + j * words.column)
                for k in range(depth):
                    for r in range(height):
                        if todo[top + r, block]:
                            factor = lane(a[rows[0] + top + r, depths[0] + k]) * up
                            step = 2 * (depths[0] + k)
                            for j in range(padded):
                                sums[r, j] = next_sum(
                                    sums[r, j], factor, panel[k, j], to_product, to_sum, epsilon, keys[r, j], step,
                                    words.random_bits, how, lane,
                                )  # fmt: skip
                for r in range(height):
                    if todo[top + r, block]:
                        given = out[rows[0] + top + r, first : first + width]
                        done = True
                        for j in range(width):
                            if not clamped:
                                done &= sums[r, j] - sums[r, j] == 0
                            if not signed:
                                done &= (given[j] != 0) | (np.copysign(lane(1), lane(given[j])) > 0)
                        if done:
                            todo[top + r, block] = False
                            for j in range(width):
                                x = sums[r, j] * down
                                # Processors differ in the sign and payload of the NaNs that they make.
                                given[j] = x if x == x else lane(np.nan)

    return compile_kernel(kernel)
