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

from lpsim.core.bits import fma
from lpsim.core.jit import core_function
from lpsim.core.nearest import binade, nearest_by_fma, toward_zero_by_fma, truncated
from lpsim.core.random import stream_key, word_at
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["WIDTH", "StepParams", "Words", "step_kernel"]

#: Accumulators of a row that are worked on together. Their numbers, and those of a few rows, stay in the first-level
#: cache, and there are enough of them that a vector's next step need not wait for the previous one.
WIDTH = 512
_ROWS = 4
#: What a row of accumulators is padded to, a cache line of binary32 numbers.
_LINE = 16


class StepParams(NamedTuple):
    """One rounding of a step."""

    lowest: float  # see nearest_by_fma; multiplied by the kernel's scale
    constant: float
    last_place: float  # see toward_zero_by_fma
    max: float  # the format's largest finite value
    overflow: float  # what becomes of numbers beyond it
    infinity: float  # and of infinity
    fine_constant: float  # for a format of so many digits more as there are random bits
    fine_last_place: float


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


@core_function
def _in_lanes(f: Any, lane: Any) -> Any:
    range_ = lane(f.max), lane(f.overflow), lane(f.infinity)
    return lane(f.lowest), lane(f.constant), lane(f.last_place), range_, lane(f.fine_constant), lane(f.fine_last_place)


@core_function
def _with_noise(x: Any, word: Any, random_bits: Any, f: Any, lane: Any) -> Any:
    """Return x and a random part of its last place in the format, of as many bits as both have; exact but for x's rest.

    Truncated to the format, this is x rounded stochastically.
    """
    lowest, _, _, _, constant, last_place = f
    integer = np.int64(word >> np.uint64(np.int64(64) - random_bits))
    noise = lane(integer) * (max(binade(x), lowest) * last_place)
    return toward_zero_by_fma(x, lowest, constant, last_place) + np.copysign(noise, x)


@core_function
def _round(x: Any, noisy: Any, f: Any, toward_zero: Any, clamped: Any, signed: Any) -> Any:
    lowest, constant, last_place, (largest, overflow, infinity), _, _ = f
    if toward_zero:
        rounded = toward_zero_by_fma(noisy, lowest, constant, last_place)
    else:
        rounded = nearest_by_fma(x, lowest, constant)
    if clamped:
        rounded = overflow if abs(rounded) > largest else rounded
        rounded = infinity if abs(x) == np.inf else rounded
    return np.copysign(rounded, x) if signed else rounded


@core_function
def _off_the_tie(x: Any, term: Any, accumulator: Any, epsilon: Any) -> Any:
    """Return x, the rounded sum of a term and an accumulator, off a tie that only rounding made of it.

    An accumulator that got lost beside the term moves x by a few last places to its own side.
    """
    nudged = x + np.copysign(abs(x) * epsilon, accumulator)
    # The difference of infinities is a NaN: they stay.
    return nudged if (x - term == 0) & (accumulator != 0) else x


@core_function
def _truncated_sum(term: Any, accumulator: Any) -> Any:
    x = term + accumulator
    virtual = x - term
    return truncated(x, (term - (x - virtual)) + (accumulator - virtual))


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
        to_product, to_sum = _in_lanes(product, lane), _in_lanes(accumulator, lane)
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
                                noisy = term = factor * panel[k, j]
                                if stochastic:
                                    noisy = _with_noise(
                                        term, word_at(keys[r, j], step), words.random_bits, to_product, lane
                                    )
                                if not fused:
                                    term = _round(term, noisy, to_product, toward_zero, clamped, signed)
                                if toward_zero:
                                    x = _truncated_sum(term, sums[r, j])
                                elif fused:
                                    x = fma(factor, panel[k, j], sums[r, j])
                                else:
                                    x = sums[r, j] + term
                                if guarded:
                                    x = _off_the_tie(x, term, sums[r, j], epsilon)
                                noisy = x
                                if stochastic:
                                    noisy = _with_noise(
                                        x, word_at(keys[r, j], step + 1), words.random_bits, to_sum, lane
                                    )
                                sums[r, j] = _round(x, noisy, to_sum, toward_zero, clamped, signed)
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
