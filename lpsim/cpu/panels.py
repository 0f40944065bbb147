"""The kernel of fast matrix products: operands copied into panels, and tiles computed from these.

A panel holds the lines (rows of A, columns of B) that a tile takes, step of k by step, and zeros past the last line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import literally

from lpsim.core.bits import fma
from lpsim.core.jit import core_function
from lpsim.core.nearest import NearestParams, round_nearest
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.tile import best_tile, multiply_tile, pointer, read, transpose

__all__ = ["NUMBER", "Matrix", "Part", "Product", "panel_kernel", "scratch_size"]

#: Bytes of a float32.
NUMBER = 4

#: Steps for which a panel's lines are rounded, before they are transposed.
_RUN = 128


class Matrix(NamedTuple):
    """An operand: where it is, with strides in elements, and how it is rounded."""

    address: int
    row: int
    column: int
    rounds: int  # whether f applies
    f: NearestParams


class Product(NamedTuple):
    """What is multiplied."""

    a: Matrix
    b: Matrix
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


class Part(NamedTuple):
    """What one call does: which panels of B it packs, and where; then which tiles it computes, by their panels."""

    packed: int
    work: int  # memory of the call's own: scratch_size numbers and a block of packed A
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
            place = pointer(target + NUMBER * (first + step) * width)
            transpose(literally(width), literally(lanes), pointer(buffer + NUMBER * step), _RUN, place)
        for step in range(whole, count):
            for line in range(width):
                packed[(first + step) * width + line] = rounded[line * _RUN + step]


@core_function
def _copy(source: Any, source_row: Any, target: Any, target_row: Any, height: Any, width: Any) -> None:
    for i in range(height):
        for j in range(width):
            target[i * target_row + j] = source[i * source_row + j]


@core_function
def scratch_size(rows: Any, columns: Any) -> Any:
    """Return the size of a row of zeros, a tile, and the buffer of _pack."""
    return columns * (rows + 1) + max(rows, columns) * _RUN


@core_function
def _multiply(a: Any, c: Any, product: Any, part: Any, rows: Any, columns: Any, lanes: Any) -> None:
    """Compute tiles from A and packed B."""
    m, n, k = product.m, product.n, product.k
    # Memory of arrays that are made here would be freed at their last use, not at that of the pointers.
    no_start, edge = pointer(part.work), pointer(part.work + NUMBER * columns)
    buffer = part.work + NUMBER * columns * (rows + 1)
    packed = part.work + NUMBER * scratch_size(rows, columns)
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
                address = a + NUMBER * (i * rows * product.a.row + first * product.a.column)
                _pack(address, product.a, product.a.row, product.a.column, min(rows, m - i * rows), steps, rows, lanes,
                      packed + NUMBER * (i - top) * rows * steps, buffer)  # fmt: skip
            for j in range(part.columns[0], part.columns[1]):
                panel_b = pointer(_panel_of_b(part.packed, product, first, steps, j, columns))
                width = min(columns, n - j * columns)
                for i in range(top, bottom):
                    panel_a = pointer(packed + NUMBER * (i - top) * rows * steps)
                    height_here = min(rows, m - i * rows)
                    place = pointer(c + NUMBER * (i * rows * product.c_row + j * columns))
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
    return packed + NUMBER * columns * (first * product.panels_b + j * steps)


@core_function
def _pack_b(b: Any, product: Any, part: Any, rows: Any, columns: Any, lanes: Any) -> None:
    buffer = part.work + NUMBER * columns * (rows + 1)
    for first in range(0, product.k, product.steps):
        steps = min(product.steps, product.k - first)
        for j in range(part.pack[0], part.pack[1]):
            address = b + NUMBER * (first * product.b.row + j * columns * product.b.column)
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


def panel_kernel() -> Callable[..., None]:
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
