"""Matrix products by float32 fused multiply-adds at the speed of a BLAS, in one fixed order.

Both matrices are first copied into panels, in which a tile's operands of one step of k lie side by side, and
rounded on the way. Then each tile of the result takes its steps in registers. Tiles, blocks and threads divide the
result's elements and where an accumulator waits between two blocks of k, never its steps or their order, so that the
result is that of the plain loop on every bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import literally

from lpsim.arguments import RealArray
from lpsim.core.bits import fma
from lpsim.core.jit import core_function
from lpsim.core.nearest import NearestParams, round_nearest
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.threads import map_ranges
from lpsim.cpu.tile import Tile, best_tile, multiply_tile, pointer, read

__all__ = ["gemm"]

#: Steps of k in a block: a panel of B's block stays in the first cache.
_STEPS = 256

#: Panels of A in a block, which stays in the second cache, and of B, so that the block of C stays in the third.
_PANELS_A = 40
_PANELS_B = 32

#: Multiply-adds of one product that are worth all threads, and of many that are worth a thread.
_SHARED = 1 << 21
_GRAIN = 1 << 16

#: Largest result, and most multiply-adds, for which panels cost more than they bring.
_DIRECT_SIZE = 16
_DIRECT_STEPS = 64

_COPY = NearestParams(by_bits=0, lowest=0, offset=0, shift=0, max=0.0, overflow=0.0)
_NUMBER = 4


class _Matrix(NamedTuple):
    """An operand: where it is, with strides in elements, and how it is rounded."""

    address: int
    row: int
    column: int
    rounds: int  # whether f applies
    f: NearestParams


class _Product(NamedTuple):
    """What is multiplied."""

    a: _Matrix
    b: _Matrix
    c: int
    c_row: int
    m: int
    n: int
    k: int
    steps: int  # of k in a block
    zero: int  # whether accumulators start at +0 rather than C
    direct: int  # whether panels are not worth it


class _Part(NamedTuple):
    """What one call does: which panels it packs, then which tiles it computes; and where the panels are."""

    packed_a: int
    packed_b: int
    pack_a: tuple[int, int]
    pack_b: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]


@core_function
def _rounded(x: Any, matrix: Any) -> Any:
    return round_nearest(x, matrix.f) if matrix.rounds != 0 else x


@core_function
def _pack(address: Any, matrix: Any, across: Any, along: Any, size: Any, k: Any, steps: Any, width: Any,
          panels: Any, packed: Any) -> None:  # fmt: skip
    """Copy panels of an operand: ``width`` rows of A or columns of B each, ``across`` apart, and zeros past the last.

    Blocks of ``steps`` steps of k, ``along`` apart, follow each other; a block holds all panels.
    """
    run = np.empty(steps, np.float32)
    padded = -(-size // width) * width
    for first in range(0, k, steps):
        count = min(steps, k - first)
        for panel in range(panels[0], panels[1]):
            lines = min(width, size - panel * width)
            source = pointer(address + _NUMBER * (panel * width * across + first * along))
            target = pointer(packed + _NUMBER * (first * padded + panel * width * count))
            if across == 1 and lines == width:
                for step in range(count):
                    for line in range(width):
                        target[step * width + line] = _rounded(read(source, step * along + line), matrix)
            else:
                # Rounded first, in vectors: to write across the panel is what takes the time.
                for line in range(lines):
                    if along == 1:
                        for step in range(count):
                            run[step] = _rounded(read(source, line * across + step), matrix)
                    else:
                        for step in range(count):
                            run[step] = _rounded(read(source, line * across + step * along), matrix)
                    for step in range(count):
                        target[step * width + line] = run[step]
                for line in range(lines, width):
                    for step in range(count):
                        target[step * width + line] = np.float32(0)


@core_function
def _multiply(c: Any, product: Any, part: Any, rows: Any, columns: Any, lanes: Any) -> None:
    """Compute tiles from packed panels."""
    m, n, k = product.m, product.n, product.k
    padded_m, padded_n = -(-m // rows) * rows, -(-n // columns) * columns
    zeros = np.zeros(columns, np.float32)
    scratch = np.zeros((rows, columns), np.float32)
    no_start, edge = pointer(np.int64(zeros.ctypes.data)), pointer(np.int64(scratch.ctypes.data))
    for top in range(part.rows[0], part.rows[1], _PANELS_A):
        bottom = min(top + _PANELS_A, part.rows[1])
        for left in range(part.columns[0], part.columns[1], _PANELS_B):
            right = min(left + _PANELS_B, part.columns[1])
            # A product over no k at all is one block of no steps.
            for first in range(0, max(k, 1), product.steps):
                steps = min(product.steps, k - first)
                from_zero = (product.zero != 0) & (first == 0)
                for j in range(left, right):
                    panel_b = pointer(part.packed_b + _NUMBER * columns * (first * (padded_n // columns) + j * steps))
                    width = min(columns, n - j * columns)
                    for i in range(top, bottom):
                        panel_a = pointer(part.packed_a + _NUMBER * rows * (first * (padded_m // rows) + i * steps))
                        height = min(rows, m - i * rows)
                        place = pointer(c + _NUMBER * (i * rows * product.c_row + j * columns))
                        whole = (height == rows) & (width == columns)
                        result, stride = (place, product.c_row) if whole else (edge, columns)
                        start, start_stride = (no_start, 0) if from_zero else (result, stride)
                        if not whole and not from_zero:
                            for y in range(height):
                                for x in range(width):
                                    edge[y * columns + x] = place[y * product.c_row + x]
                        multiply_tile(
                            literally(rows), literally(columns), literally(lanes), panel_a, panel_b, steps, start, start_stride, result, stride
                        )
                        if not whole:
                            for y in range(height):
                                for x in range(width):
                                    place[y * product.c_row + x] = edge[y * columns + x]


@core_function
def _multiply_directly(a: Any, b: Any, c: Any, product: Any) -> None:
    """Compute a small product element by element."""
    left, right, result = pointer(a), pointer(b), pointer(c)
    for i in range(product.m):
        for j in range(product.n):
            total = np.float32(0) if product.zero != 0 else result[i * product.c_row + j]
            for k in range(product.k):
                x = _rounded(left[i * product.a.row + k * product.a.column], product.a)
                y = _rounded(right[k * product.b.row + j * product.b.column], product.b)
                total = fma(x, y, total)
            result[i * product.c_row + j] = np.float32(np.nan) if total != total else total


def _kernel() -> Callable[..., None]:
    """Return ``kernel(product, part, offsets)``; offsets are bytes to the matrices of a batch, one row for each."""
    return _build(*best_tile(), source_fingerprint())


@functools.cache
def _build(rows: int, columns: int, lanes: int, fingerprint: int) -> Callable[..., None]:
    def kernel(product: Any, part: Any, offsets: Any) -> None:
        assert fingerprint >= 0
        for index in range(offsets.shape[0]):
            a, b = product.a.address + offsets[index, 0], product.b.address + offsets[index, 1]
            c = product.c + offsets[index, 2]
            if product.direct != 0:
                _multiply_directly(a, b, c, product)
            else:
                _pack(a, product.a, product.a.row, product.a.column, product.m, product.k, product.steps, rows,
                      part.pack_a, part.packed_a)  # fmt: skip
                _pack(b, product.b, product.b.column, product.b.row, product.n, product.k, product.steps, columns,
                      part.pack_b, part.packed_b)  # fmt: skip
                _multiply(c, product, part, rows, columns, lanes)

    return compile_kernel(kernel)


def gemm(
    a: RealArray,
    b: RealArray,
    out: RealArray,
    round_a: NearestParams | None = None,
    round_b: NearestParams | None = None,
    *,
    zero: bool = False,
) -> None:
    """Add products of float32 matrices to ``out``: ``out[i, j] = fma(a[i, k], b[k, j], out[i, j])`` for k ascending.

    Parameters
    ----------
    a : ndarray, shape (..., m, k)
        float32, of any strides.
    b : ndarray, shape (..., k, n)
        float32, of any strides.
    out : ndarray, shape (..., m, n)
        float32, C-contiguous; it holds the accumulators' start values, receives the results, and shares no memory
        with ``a`` and ``b``. NaNs become the positive quiet one.
    round_a, round_b : NearestParams, optional
        The formats to which elements of ``a`` and ``b`` are rounded first, to nearest, ties to even, under
        `Overflow.IEEE`. Default: they are taken as they are.
    zero : bool
        Whether accumulators start at +0 instead, whatever ``out`` holds.
    """
    if out.size == 0:
        return
    if out.shape[-1] == 1:
        # The transposed product has its numbers along vectors.
        a, b, out = b.swapaxes(-1, -2), a.swapaxes(-1, -2), out.swapaxes(-1, -2)
        round_a, round_b = round_b, round_a
    m, n, k = *out.shape[-2:], a.shape[-1]
    kernel, tile = _kernel(), best_tile()
    product = _Product(
        a=_matrix(a, round_a),
        b=_matrix(b, round_b),
        c=out.ctypes.data,
        c_row=out.strides[-2] // _NUMBER,
        m=m,
        n=n,
        k=k,
        steps=-(-k // -(-k // _STEPS)) if k else 1,
        zero=int(zero),
        direct=int(m * n <= _DIRECT_SIZE or m * n * k <= _DIRECT_STEPS),
    )
    offsets = np.stack([_batch_offsets(matrix) for matrix in (a, b, out)], axis=1)
    size = m * n * k
    if size >= _SHARED and numba.get_num_threads() > 1:
        for i in range(len(offsets)):
            _run_shared(kernel, product, tile, offsets[i : i + 1])
        return

    def run(start: int, stop: int) -> None:
        panels_a, panels_b = -(-m // tile.rows), -(-n // tile.columns)
        buffer, part = _all_of(product, tile)
        kernel(product, part, offsets[start:stop])

    map_ranges(run, len(offsets), smallest=max(1, _GRAIN // max(size, 1)))


def _matrix(matrix: RealArray, rounding: NearestParams | None) -> _Matrix:
    row, column = (stride // _NUMBER for stride in matrix.strides[-2:])
    return _Matrix(matrix.ctypes.data, row, column, int(rounding is not None), rounding or _COPY)


def _batch_offsets(matrix: RealArray) -> RealArray:
    """Return the distance in bytes of each matrix of a batch from the first."""
    offsets = np.zeros((), np.int64)
    for size, stride in zip(matrix.shape[:-2], matrix.strides[:-2], strict=True):
        offsets = offsets[..., np.newaxis] + stride * np.arange(size)
    return offsets.reshape(-1)


def _all_of(product: _Product, tile: Tile) -> tuple[RealArray, _Part]:
    """Return memory for the panels, and the part of a product that is all of it."""
    panels_a, panels_b = -(-product.m // tile.rows), -(-product.n // tile.columns)
    size_a = 0 if product.direct else panels_a * tile.rows * product.k
    size_b = 0 if product.direct else panels_b * tile.columns * product.k
    # Vectors that straddle cache lines would cost two reads each.
    line = 64
    buffer = np.empty(size_a + size_b + 2 * line // _NUMBER, np.float32)
    packed_b = -(-buffer.ctypes.data // line) * line
    packed_a = -(-(packed_b + _NUMBER * size_b) // line) * line
    rows, columns = (0, panels_a), (0, panels_b)
    return buffer, _Part(packed_a, packed_b, rows, columns, rows, columns)


def _run_shared(kernel: Callable[..., None], product: _Product, tile: Tile, offsets: RealArray) -> None:
    """Compute one product with all threads: first they pack all panels, then each computes a rectangle of tiles."""
    buffer, everything = _all_of(product, tile)
    panels_a, panels_b = everything.rows[1], everything.columns[1]
    threads = numba.get_num_threads()
    down = min(threads, panels_a)
    right = min(threads // down, panels_b)
    nothing = (0, 0)

    def pack(start: int, stop: int) -> None:
        part = everything._replace(
            pack_a=(panels_a * start // threads, panels_a * stop // threads),
            pack_b=(panels_b * start // threads, panels_b * stop // threads),
            rows=nothing,
        )
        kernel(product, part, offsets)

    def multiply(start: int, stop: int) -> None:
        for i, j in (divmod(index, right) for index in range(start, stop)):
            part = everything._replace(
                pack_a=nothing,
                pack_b=nothing,
                rows=(panels_a * i // down, panels_a * (i + 1) // down),
                columns=(panels_b * j // right, panels_b * (j + 1) // right),
            )
            kernel(product, part, offsets)

    map_ranges(pack, threads, smallest=1)
    map_ranges(multiply, down * right, smallest=1)
