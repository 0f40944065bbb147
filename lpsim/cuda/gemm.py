"""Matrix products by float32 fused multiply-adds on a GPU: tiles in registers, k ascending.

Blocks of threads copy a panel of A and one of B into shared memory, and each thread adds the products of a column of
the one and a row of the other to its tile of accumulators. What of a panel is outside of the matrices is zero there,
and its terms are left out at the end of k, as -0 + 0 * 0 would be +0.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from lpsim.core.bits import fma
from lpsim.core.jit import core_function
from lpsim.cuda.target import device_kernel, is_simulated

__all__ = ["Tiling", "best_tiling", "gemm_kernel", "native_kernel"]


class Tiling(NamedTuple):
    """Sizes of tiles: of a thread, of a block in threads, and steps of k in shared memory."""

    rows: int
    columns: int
    down: int
    across: int
    depth: int


def best_tiling() -> Tiling:
    """Return the sizes for a GPU, or small ones for the simulator, in which threads are slow."""
    return Tiling(4, 4, 2, 1, 2) if is_simulated else Tiling(8, 8, 16, 16, 8)


#: Numbers that are loaded from shared memory at a time. Indices there are unsigned: negative ones might count from the
#: end, for all that the compiler knows, and it would not see which numbers are neighbours.
_TOGETHER = 4


#: Of the panels, in bytes.
_ALIGNMENT = 16


@core_function
def _place(thread: Any, index: Any, threads: Any) -> Any:
    """Return where in a block's tile the number of that index in a thread's tile is: four are side by side."""
    return (index // _TOGETHER * threads + thread) * _TOGETHER + index % _TOGETHER


@functools.cache
def gemm_kernel(tiling: Tiling, *, zero: bool) -> Any:
    """Return ``kernel(a, b, out, first_matrix)`` over C-contiguous float32 arrays.

    Their shapes are (batch, m, k), (batch, k, n) and (batch, m, n); ``first_matrix`` has no use here.


    Blocks of (across, down) threads, one for each tile and matrix of the batch. ``out`` holds the start values, unless
    they are ``zero``, and receives the results.
    """
    rows, columns, down, across, depth = tiling
    height, width, threads = rows * down, columns * across, down * across
    # Some numbers more in each row of A's panel: its columns are written by threads side by side.
    padded = height + _TOGETHER

    @cuda.jit(device=True)  # type: ignore[untyped-decorator]
    def multiply(a: Any, b: Any, out: Any, panel_a: Any, panel_b: Any) -> None:
        sums = cuda.local.array((rows, columns), np.float32)
        left = cuda.local.array(rows, np.float32)
        right = cuda.local.array(columns, np.float32)
        z, top, first = cuda.blockIdx.z, cuda.blockIdx.y * height, cuda.blockIdx.x * width
        ty, tx = cuda.threadIdx.y, cuda.threadIdx.x
        thread = ty * across + tx
        m, n, k = a.shape[1], b.shape[2], a.shape[2]
        for r in range(rows):
            for c in range(columns):
                i, j = top + _place(ty, r, down), first + _place(tx, c, across)
                sums[r, c] = np.float32(0) if zero or i >= m or j >= n else out[z, i, j]
        for begin in range(0, k, depth):
            for index in range(thread, height * depth, threads):
                i, step = top + index // depth, begin + index % depth
                inside = (i < m) & (step < k)
                panel_a[index % depth, index // depth] = a[z, i, step] if inside else np.float32(0)
            for index in range(thread, width * depth, threads):
                step, j = begin + index // width, first + index % width
                inside = (j < n) & (step < k)
                panel_b[index // width, index % width] = b[z, step, j] if inside else np.float32(0)
            cuda.syncthreads()
            if begin + depth <= k:
                for step in range(depth):
                    for r in range(rows):
                        left[r] = panel_a[np.uint64(step), np.uint64(_place(ty, r, down))]
                    for c in range(columns):
                        right[c] = panel_b[np.uint64(step), np.uint64(_place(tx, c, across))]
                    for r in range(rows):
                        for c in range(columns):
                            sums[r, c] = fma(left[r], right[c], sums[r, c])
            else:
                for step in range(k - begin):
                    for r in range(rows):
                        for c in range(columns):
                            sums[r, c] = fma(
                                panel_a[np.uint64(step), np.uint64(_place(ty, r, down))],
                                panel_b[np.uint64(step), np.uint64(_place(tx, c, across))],
                                sums[r, c],
                            )
            cuda.syncthreads()
        for r in range(rows):
            for c in range(columns):
                i, j = top + _place(ty, r, down), first + _place(tx, c, across)
                if i < m and j < n:
                    x = sums[r, c]
                    # Processors differ in the sign and payload of the NaNs that they make.
                    out[z, i, j] = x if x == x else np.float32(np.nan)

    def kernel(a: Any, b: Any, out: Any, first_matrix: Any) -> None:
        panel_a = cuda.shared.array((depth, padded), np.float32, _ALIGNMENT)
        panel_b = cuda.shared.array((depth, width), np.float32, _ALIGNMENT)
        multiply(a, b, out, panel_a, panel_b)

    def simulated(a: Any, b: Any, out: Any, first_matrix: Any) -> None:  # the simulator knows no alignments
        panel_a = cuda.shared.array((depth, padded), np.float32)
        panel_b = cuda.shared.array((depth, width), np.float32)
        multiply(a, b, out, panel_a, panel_b)

    return device_kernel(simulated if is_simulated else kernel)


@functools.cache
def native_kernel() -> Any:
    """Return ``kernel(a, b, out)`` as `gemm_kernel` does, for float64; a thread takes one element after the other."""

    def kernel(a: Any, b: Any, out: Any) -> None:
        m, n = out.shape[1], out.shape[2]
        for index in range(cuda.grid(1), out.shape[0] * m * n, cuda.gridsize(1)):
            z, i, j = index // (m * n), index // n % m, index % n
            x = out[z, i, j]
            for k in range(a.shape[2]):
                x = fma(a[z, i, k], b[z, k, j], x)
            out[z, i, j] = x if x == x else np.nan

    return device_kernel(kernel)
