"""Matrix products by float32 fused multiply-adds at the speed of a BLAS, in one fixed order.

Both matrices are first copied into panels, in which a tile's operands of one step of k lie side by side, and
rounded on the way. Then each tile of the result takes its steps in registers. Tiles, blocks and threads divide the
result's elements and where an accumulator waits between two blocks of k, never its steps or their order, so that the
result is that of the plain loop on every bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.core.nearest import NearestParams
from lpsim.cpu.panels import NUMBER, Matrix, Part, Product, panel_kernel, scratch_size
from lpsim.cpu.thread_count import get_num_threads
from lpsim.cpu.threads import check_stop, map_ranges
from lpsim.cpu.tile import best_tile

__all__ = ["gemm"]

#: Most steps of k in a block. Two panels that meet may exceed the first cache: what costs more is that tiles go back to
#: memory after each block.
_STEPS = 768

#: Numbers in a block of packed A, which stays in the second cache.
_BLOCK = 5 << 15

#: Numbers in packed B, which stays in the third cache, and its most columns.
_PACKED, _COLUMNS = 1 << 22, 1 << 13

#: Multiply-adds of one product that are worth all threads (below, to wake them takes as long as they save), and of
#: a batch that are worth a thread.
_SHARED, _GRAIN = 1 << 24, 1 << 16

#: Multiply-adds between two looks at whether to stop.
_PIECE = 1 << 31

#: Multiply-adds for which a thread that is woken comes late: the calling thread takes so many more, and need not wait.
_LAG = 3 << 20

#: Numbers in B that each thread packs for itself, as to wait for others would take longer.
_PRIVATE = 1 << 18

#: Largest result, and most multiply-adds, for which panels cost more than they bring.
_DIRECT_SIZE, _DIRECT_STEPS = 4, 192

_Array = npt.NDArray[Any]

_COPY = NearestParams(by_bits=0, lowest=0, offset=0, shift=0, max=0.0, overflow=0.0)
_ONE_MATRIX = np.zeros((1, 3), np.int64)


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
        float32, of any strides; the leading axes are those of ``out``.
    b : ndarray, shape (..., k, n)
        float32, of any strides; the leading axes are those of ``out``.
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
    if out.shape[-1] == 1 and out.strides[-2] == NUMBER:
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


def _product(a: Matrix, b: Matrix, out: _Array, k: int, zero: bool) -> Product:
    m, n = out.shape[-2:]
    tile = best_tile()
    steps = -(-k // -(-k // _STEPS)) if k else 1
    return Product(
        a=a,
        b=b,
        c=out.ctypes.data,
        c_row=out.strides[-2] // NUMBER,
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


def _matrix(matrix: _Array, rounding: NearestParams | None) -> Matrix:
    row, column = (stride // NUMBER for stride in matrix.strides[-2:])
    return Matrix(matrix.ctypes.data, row, column, int(rounding is not None), rounding or _COPY)


def _batch_offsets(matrix: _Array) -> _Array:
    """Return the distance in bytes of each matrix of a batch from the first."""
    offsets = np.zeros((), np.int64)
    for size, stride in zip(matrix.shape[:-2], matrix.strides[:-2], strict=True):
        offsets = offsets[..., np.newaxis] + stride * np.arange(size)
    return offsets.reshape(-1)


def _run(product: Product, offsets: _Array) -> None:
    """Compute the products of a batch with as many threads as are worth it."""
    size, threads = product.m * product.n * product.k, get_num_threads()
    few = threads > 1 and len(offsets) < 4 * threads
    if ((few and size >= _SHARED) or size > _PIECE) and not product.direct:
        for index in range(len(offsets)):
            _run_shared(product, offsets[index : index + 1])
        return
    rows, columns = (0, product.panels_a), (0, product.panels_b)
    map_ranges(
        lambda start, stop: _compute(product, offsets[start:stop], 0, rows, columns, columns),
        len(offsets),
        smallest=_GRAIN / max(size, 1),
    )


def _run_shared(product: Product, offset: _Array) -> None:
    """Compute one product with all threads, each of which takes a rectangle of tiles."""
    panels_a, panels_b = product.panels_a, product.panels_b
    threads = get_num_threads()
    down = min(threads, panels_a)
    right = min(threads // down, panels_b)
    memory, packed = None, 0
    if product.n * product.k > _PRIVATE:
        memory, packed = _memory(_size_of_b(product))
        nothing = (0, 0)
        map_ranges(
            lambda start, stop: _compute(product, offset, packed, nothing, nothing, (start, stop)), panels_b, smallest=1
        )

    # Along one axis: with rectangles in both, the caller's is one of several with as many rows.
    lag = _LAG / (product.m * product.n * product.k) if min(down, right) == 1 else 0.0

    def multiply(start: int, stop: int) -> None:
        for i, j in (divmod(index, right) for index in range(start, stop)):
            rows = _share(panels_a, down, i, lag), _share(panels_a, down, i + 1, lag)
            columns = _share(panels_b, right, j, lag), _share(panels_b, right, j + 1, lag)
            for piece in _pieces(product, rows, columns):
                check_stop()
                _compute(product, offset, packed, piece, columns, (0, 0) if packed else columns)

    map_ranges(multiply, down * right, smallest=1)
    del memory


def _share(size: int, parts: int, part: int, lag: float) -> int:
    """Return where a part of a range begins: the first is larger, by ``lag`` of the whole, than each other one."""
    first = min((1 + lag * (parts - 1)) / parts, 1.0)
    fraction = 0.0 if part == 0 else first + (part - 1) * (1 - first) / max(parts - 1, 1)
    return size if part == parts else round(size * fraction)


def _pieces(product: Product, rows: tuple[int, int], columns: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Cut rows of tiles so that none takes long: whole blocks of A, between which packed B stays."""
    tile = best_tile()
    steps = (columns[1] - columns[0]) * tile.columns * tile.rows * max(product.k, 1)
    height = max(_PIECE // max(steps, 1) // product.block, 1) * product.block
    for top in range(rows[0], rows[1], height):
        yield top, min(top + height, rows[1])


def _compute(
    product: Product,
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
    memory, address = _memory(size_b + scratch_size(tile.rows, tile.columns) + block)
    panel_kernel()(product, Part(packed or address, address + NUMBER * size_b, pack, rows, columns), offsets)
    del memory


def _size_of_b(product: Product) -> int:
    return 0 if product.direct else product.panels_b * best_tile().columns * product.k


def _memory(size: int) -> tuple[_Array, int]:
    """Return an array to keep, and the address in it where ``size`` numbers may be.

    Vectors there straddle no cache lines, which would cost two reads each.
    """
    line = 64
    memory = np.empty(size + line // NUMBER, np.float32)
    return memory, -(-memory.ctypes.data // line) * line
