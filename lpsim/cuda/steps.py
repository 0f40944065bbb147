"""Matrix products whose every step is rounded, on a GPU: the short steps of `lpsim.core.steps`, tiles in registers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda

from lpsim.core.bits import copy_sign, rounded_product
from lpsim.core.random import stream_key, word_at
from lpsim.core.steps import in_lanes, next_sum
from lpsim.cuda.gemm import Tiling
from lpsim.cuda.target import device_kernel, is_simulated

__all__ = ["best_tiling", "step_kernel"]


def best_tiling() -> Tiling:
    """Return the sizes for a GPU, or small ones for the simulator, in which threads are slow."""
    return Tiling(2, 1, 1, 2, 2) if is_simulated else Tiling(4, 4, 16, 16, 16)


@functools.cache
def step_kernel(
    tiling: Tiling,
    *,
    wide: bool,
    fused: bool,
    toward_zero: bool,
    stochastic: bool,
    clamped: bool,
    signed: bool,
    guarded: bool,
) -> Any:
    """Return ``kernel(a, b, starts, out, todo, seed, random_bits, scale, product, accumulator, first_matrix)``.

    Arrays are as for `lpsim.cuda.gemm.gemm_kernel`, ``starts`` holds the start values, and ``todo``, of the shape of
    ``out``, which elements are to be done: it is set to 0 where an element was. ``first_matrix`` is the index in the
    whole batch of the first matrix: it selects random words. The parameters are those of
    `lpsim.cpu.steps.step_kernel`, whose rules for what is left to do serve for elements instead of rows here.
    """
    lane: Any = np.float64 if wide else np.float32
    few_last_places = 2.0**-50 if wide else 2.0**-21
    how = fused, toward_zero, stochastic, clamped, signed, guarded
    rows, columns, down, across, depth = tiling
    height, width, threads = rows * down, columns * across, down * across
    padded = height + 1

    def kernel(
        a: Any, b: Any, starts: Any, out: Any, todo: Any, seed: Any, random_bits: Any, scale: Any, product: Any,
        accumulator: Any, first_matrix: Any,
    ) -> None:  # fmt: skip
        up, down_scale, epsilon = lane(scale), lane(1 / scale), lane(few_last_places)
        to_product, to_sum = in_lanes(product, lane), in_lanes(accumulator, lane)
        panel_a = cuda.shared.array((depth, padded), lane)
        panel_b = cuda.shared.array((depth, width), lane)
        sums = cuda.local.array((rows, columns), lane)
        keys = cuda.local.array((rows, columns), np.uint64)
        z, top, first = cuda.blockIdx.z, cuda.blockIdx.y * height, cuda.blockIdx.x * width
        ty, tx = cuda.threadIdx.y, cuda.threadIdx.x
        thread = ty * across + tx
        m, n, k = a.shape[1], b.shape[2], a.shape[2]
        any_left = 0
        key = stream_key(seed, 0)
        for r in range(rows):
            for c in range(columns):
                i, j = top + ty + r * down, first + tx + c * across
                sums[r, c] = lane(0)
                keys[r, c] = np.uint64(0)
                if i < m and j < n:
                    sums[r, c] = rounded_product(lane(starts[z, i, j]), up)
                    any_left |= np.int32(todo[z, i, j])
                    if stochastic:
                        keys[r, c] = word_at(key, ((first_matrix + z) * m + i) * n + j)
        if cuda.syncthreads_or(any_left) == 0:
            return
        for begin in range(0, k, depth):
            for index in range(thread, height * depth, threads):
                i, step = top + index // depth, begin + index % depth
                inside = (i < m) & (step < k)
                panel_a[index % depth, index // depth] = rounded_product(lane(a[z, i, step]), up) if inside else lane(0)
            for index in range(thread, width * depth, threads):
                step, j = begin + index // width, first + index % width
                inside = (j < n) & (step < k)
                panel_b[index // width, index % width] = lane(b[z, step, j]) if inside else lane(0)
            cuda.syncthreads()
            for step in range(min(depth, k - begin)):
                for r in range(rows):
                    factor = panel_a[step, ty + r * down]
                    for c in range(columns):
                        sums[r, c] = next_sum(
                            sums[r, c], factor, panel_b[step, tx + c * across], to_product, to_sum, epsilon,
                            keys[r, c], 2 * (begin + step), random_bits, how, lane,
                        )  # fmt: skip
            cuda.syncthreads()
        for r in range(rows):
            for c in range(columns):
                i, j = top + ty + r * down, first + tx + c * across
                if i < m and j < n and todo[z, i, j] != 0:
                    x = sums[r, c]
                    done = True
                    if not clamped:
                        done &= x - x == 0
                    if not signed:
                        start = lane(starts[z, i, j])
                        done &= (start != 0) | (copy_sign(lane(1), start) > 0)
                    if done:
                        todo[z, i, j] = 0
                        x = rounded_product(x, down_scale)
                        out[z, i, j] = x if x == x else lane(np.nan)

    return device_kernel(kernel)
