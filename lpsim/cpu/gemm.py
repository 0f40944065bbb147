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
import numpy.typing as npt
from numba import literally

from lpsim.core.bits import fma
from lpsim.core.jit import core_function
from lpsim.core.nearest import NearestParams, round_nearest
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.threads import map_ranges
from lpsim.cpu.tile import best_tile, multiply_tile, pointer, read, transpose

__all__ = ["gemm"]

#: Most steps of k in a block. Two panels that meet may exceed the first cache: what costs more is that tiles go back to
#: memory after each block.
_STEPS = 768

#: Steps for which a panel's lines are rounded, before they are transposed.
_RUN = 128

#: Numbers in a block of packed A, which stays in the second cache.
_BLOCK = 5 << 15

#: Numbers in packed B, which stays in the third cache, and its most columns.
_PACKED, _COLUMNS = 1 << 22, 1 << 13

#: Multiply-adds of one product that are worth all threads, and of many that are worth a thread.
_SHARED, _GRAIN = 1 << 21, 1 << 16

#: Numbers in B that each thread packs for itself, as to wait for others would take longer.
_PRIVATE = 1 << 17

#: Largest result, and most multiply-adds, for which panels cost more than they bring.
_DIRECT_SIZE, _DIRECT_STEPS = 4, 192

_Array = npt.NDArray[Any]

_COPY = NearestParams(by_bits=0, lowest=0, offset=0, shift=0, max=0.0, overflow=0.0)
_NUMBER = 4
_ONE_MATRIX = np.zeros((1, 3), np.int64)


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
    block: int  # panels of A in a block
    panels_a: int
    panels_b: int
    zero: int  # whether accumulators start at +0 rather than C
    direct: int  # whether panels are not worth it


class _Part(NamedTuple):
    """What one call does: which panels of B it packs, and where; then which tiles it computes, by their panels."""

    packed: int
    work: int  # memory of the call's own: _scratch_size numbers and a block of packed A
    pack: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]


@core_function
def _rounded(x: Any, matrix: Any) -> Any:
    return round_nearest(x, matrix.f) if matrix.rounds != 0 else x


@core_function
def _pack(
    address: Any, matrix: Any, across: Any, along: Any, lines: Any, steps: Any, width: Any, lanes: Any, target: Any,
    buffer: Any,
) -> None:  # fmt: skip
    """Copy a panel of an operand: for each of ``steps`` steps of k, ``width`` numbers of which ``lines`` exist.

    ``across`` and ``along`` are the operand's strides between lines and between steps; ``buffer`` takes ``_RUN``
    numbers of each line.
    """
    source, packed, rounded = pointer(address), pointer(target), pointer(buffer)
    if across == 1 and lines == width:
        for step in range(steps):
            for line in range(width):
                packed[step * width + line] = _rounded(read(source, step * along + line), matrix)
        return
    for i in range(lines * _RUN, width * _RUN):
        rounded[i] = np.float32(0)
    for first in range(0, steps, _RUN):
        count = min(_RUN, steps - first)
        for line in range(lines):
            start = line * across + first * along
            if along == 1:
                for step in range(count):
                    rounded[line * _RUN + step] = _rounded(read(source, start + step), matrix)
            else:
                for step in range(count):
                    rounded[line * _RUN + step] = _rounded(read(source, start + step * along), matrix)
        whole = count // lanes * lanes
        for step in range(0, whole, lanes):
            place = pointer(target + _NUMBER * (first + step) * width)
            transpose(literally(width), literally(lanes), pointer(buffer + _NUMBER * step), _RUN, place)
        for step in range(whole, count):
            for line in range(width):
                packed[(first + step) * width + line] = rounded[line * _RUN + step]


@core_function
def _copy(source: Any, source_row: Any, target: Any, target_row: Any, height: Any, width: Any) -> None:
    for i in range(height):
        for j in range(width):
            target[i * target_row + j] = source[i * source_row + j]


@core_function
def _scratch_size(rows: Any, columns: Any) -> Any:
    """Return the size of a row of zeros, a tile, and the buffer of _pack."""
    return columns * (rows + 1) + max(rows, columns) * _RUN


@core_function
def _multiply(a: Any, c: Any, product: Any, part: Any, rows: Any, columns: Any, lanes: Any) -> None:
    """Compute tiles from A and packed B."""
    m, n, k = product.m, product.n, product.k
    # Memory of arrays that are made here would be freed at their last use, not at that of the pointers.
    no_start, edge = pointer(part.work), pointer(part.work + _NUMBER * columns)
    buffer = part.work + _NUMBER * columns * (rows + 1)
    packed = part.work + _NUMBER * _scratch_size(rows, columns)
    for i in range((rows + 1) * columns):
        no_start[i] = np.float32(0)
    height = part.rows[1] - part.rows[0]
    blocks = -(-height // product.block)
    for block in range(blocks):
        top = part.rows[0] + height * block // blocks
        bottom = part.rows[0] + height * (block + 1) // blocks
        # A product over no k at all is one block of no steps.
        for first in range(0, max(k, 1), product.steps):
            steps = min(product.steps, k - first)
            from_zero = (product.zero != 0) & (first == 0)
            for i in range(top, bottom):
                address = a + _NUMBER * (i * rows * product.a.row + first * product.a.column)
                _pack(address, product.a, product.a.row, product.a.column, min(rows, m - i * rows), steps, rows, lanes,
                      packed + _NUMBER * (i - top) * rows * steps, buffer)  # fmt: skip
            for j in range(part.columns[0], part.columns[1]):
                panel_b = pointer(_panel_of_b(part.packed, product, first, steps, j, columns))
                width = min(columns, n - j * columns)
                for i in range(top, bottom):
                    panel_a = pointer(packed + _NUMBER * (i - top) * rows * steps)
                    height_here = min(rows, m - i * rows)
                    place = pointer(c + _NUMBER * (i * rows * product.c_row + j * columns))
                    whole = (height_here == rows) & (width == columns)
                    result, stride = (place, product.c_row) if whole else (edge, columns)
                    start, start_stride = (no_start, 0) if from_zero else (result, stride)
                    if not whole and not from_zero:
                        _copy(place, product.c_row, edge, columns, height_here, width)
                    multiply_tile(
                        literally(rows), literally(columns), literally(lanes),
                        panel_a, panel_b, steps, start, start_stride, result, stride,
                    )  # fmt: skip
                    if not whole:
                        _copy(edge, columns, place, product.c_row, height_here, width)


@core_function
def _panel_of_b(packed: Any, product: Any, first: Any, steps: Any, j: Any, columns: Any) -> Any:
    """Return the address of a panel of packed B: blocks of steps follow each other, each with all its panels."""
    return packed + _NUMBER * columns * (first * product.panels_b + j * steps)


@core_function
def _pack_b(b: Any, product: Any, part: Any, rows: Any, columns: Any, lanes: Any) -> None:
    buffer = part.work + _NUMBER * columns * (rows + 1)
    for first in range(0, product.k, product.steps):
        steps = min(product.steps, product.k - first)
        for j in range(part.pack[0], part.pack[1]):
            address = b + _NUMBER * (first * product.b.row + j * columns * product.b.column)
            target = _panel_of_b(part.packed, product, first, steps, j, columns)
            lines = min(columns, product.n - j * columns)
            _pack(address, product.b, product.b.column, product.b.row, lines, steps, columns, lanes, target, buffer)


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
                _pack_b(b, product, part, rows, columns, lanes)
                if part.rows[1] > part.rows[0]:
                    _multiply(a, c, product, part, rows, columns, lanes)

    return compile_kernel(kernel)


def gemm(
    a: _Array,
    b: _Array,
    out: _Array,
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
        float32, with contiguous rows; it holds the accumulators' start values, receives the results, and shares no
        memory with ``a`` and ``b``. NaNs become the positive quiet one.
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
    offsets = np.column_stack([_batch_offsets(matrix) for matrix in (a, b, out)]) if out.ndim > 2 else _ONE_MATRIX
    # Parts of large products, one after the other, keep packed B small.
    n, k = b.shape[-1], b.shape[-2]
    longest = max(_PACKED // min(n, _COLUMNS) // _STEPS, 1) * _STEPS
    for left in range(0, n, _COLUMNS):
        right = min(left + _COLUMNS, n)
        for first in range(0, max(k, 1), longest):
            last = min(first + longest, k)
            product = _product(
                _matrix(a[..., first:last], round_a),
                _matrix(b[..., first:last, left:right], round_b),
                out[..., left:right],
                last - first,
                zero and first == 0,
            )
            _run(product, offsets)


def _product(a: _Matrix, b: _Matrix, out: _Array, k: int, zero: bool) -> _Product:
    m, n = out.shape[-2:]
    tile = best_tile()
    steps = -(-k // -(-k // _STEPS)) if k else 1
    return _Product(
        a=a,
        b=b,
        c=out.ctypes.data,
        c_row=out.strides[-2] // _NUMBER,
        m=m,
        n=n,
        k=k,
        steps=steps,
        block=max(1, _BLOCK // (steps * tile.rows)),
        panels_a=-(-m // tile.rows),
        panels_b=-(-n // tile.columns),
        zero=int(zero),
        direct=int(m * n <= _DIRECT_SIZE or m * n * k <= _DIRECT_STEPS),
    )


def _matrix(matrix: _Array, rounding: NearestParams | None) -> _Matrix:
    row, column = (stride // _NUMBER for stride in matrix.strides[-2:])
    return _Matrix(matrix.ctypes.data, row, column, int(rounding is not None), rounding or _COPY)


def _batch_offsets(matrix: _Array) -> _Array:
    """Return the distance in bytes of each matrix of a batch from the first."""
    offsets = np.zeros((), np.int64)
    for size, stride in zip(matrix.shape[:-2], matrix.strides[:-2], strict=True):
        offsets = offsets[..., np.newaxis] + stride * np.arange(size)
    return offsets.reshape(-1)


def _run(product: _Product, offsets: _Array) -> None:
    """Compute the products of a batch with as many threads as are worth it."""
    size = product.m * product.n * product.k
    if size >= _SHARED and not product.direct and numba.get_num_threads() > 1:
        for index in range(len(offsets)):
            _run_shared(product, offsets[index : index + 1])
        return
    rows, columns = (0, product.panels_a), (0, product.panels_b)
    map_ranges(
        lambda start, stop: _compute(product, offsets[start:stop], 0, rows, columns, columns),
        len(offsets),
        smallest=max(1, _GRAIN // max(size, 1)),
    )


def _run_shared(product: _Product, offset: _Array) -> None:
    """Compute one product with all threads, each of which takes a rectangle of tiles."""
    panels_a, panels_b = product.panels_a, product.panels_b
    threads = numba.get_num_threads()
    down = min(threads, panels_a)
    right = min(threads // down, panels_b)
    memory, packed = None, 0
    if product.n * product.k > _PRIVATE:
        memory, packed = _memory(_size_of_b(product))
        nothing = (0, 0)
        map_ranges(
            lambda start, stop: _compute(product, offset, packed, nothing, nothing, (start, stop)), panels_b, smallest=1
        )

    def multiply(start: int, stop: int) -> None:
        for i, j in (divmod(index, right) for index in range(start, stop)):
            rows = panels_a * i // down, panels_a * (i + 1) // down
            columns = panels_b * j // right, panels_b * (j + 1) // right
            _compute(product, offset, packed, rows, columns, (0, 0) if packed else columns)

    map_ranges(multiply, down * right, smallest=1)
    del memory


def _compute(
    product: _Product,
    offsets: _Array,
    packed: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    pack: tuple[int, int],
) -> None:
    """Pack panels of B, at ``packed`` or else in memory of the call's own; compute a rectangle of tiles."""
    tile = best_tile()
    block = min(rows[1] - rows[0], product.block) * tile.rows * product.steps
    size_b = 0 if packed else _size_of_b(product)
    memory, address = _memory(size_b + _scratch_size(tile.rows, tile.columns) + block)
    _kernel()(product, _Part(packed or address, address + _NUMBER * size_b, pack, rows, columns), offsets)
    del memory


def _size_of_b(product: _Product) -> int:
    return 0 if product.direct else product.panels_b * best_tile().columns * product.k


def _memory(size: int) -> tuple[_Array, int]:
    """Return an array to keep, and the address in it where ``size`` numbers may be.

    Vectors there straddle no cache lines, which would cost two reads each.
    """
    line = 64
    memory = np.empty(size + line // _NUMBER, np.float32)
    return memory, -(-memory.ctypes.data // line) * line
