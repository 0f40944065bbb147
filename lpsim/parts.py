"""Parts of a matrix product, and their division among threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lpsim.arguments import RealArray
from lpsim.cpu.threads import check_stop, map_ranges
from lpsim.units import MatrixUnit

__all__ = ["Part", "Place", "depth_multiple", "descends", "over_parts", "read_only", "spans", "step_seeds"]

#: Fewest multiply-adds that are worth a thread.
_GRAIN = 1 << 15

#: Numbers whose copy takes much memory.
_LARGE = 1 << 22

#: Multiply-adds between two looks at whether to stop: careful kernels take 10 to 30 nanoseconds for one, quick ones
#: less than one.
_PIECE, _QUICK_PIECE = 1 << 22, 1 << 28

#: Steps of k of one call for an element, for the same reason.
_STEPS = 1 << 20

#: Fewest columns of a piece, however long they take.
_NARROWEST = 16

#: What computes the elements in (start, stop) of the rows and of the columns of a product.
Part = Callable[[tuple[int, int], tuple[int, int]], object]


class Place(NamedTuple):
    """Where a part of a product is in the whole result, which selects the random words of its elements."""

    #: Index of its first element.
    first: int
    #: Elements in a row of the whole result.
    row: int


def over_parts(
    part: Part, a: RealArray, b: RealArray, grain: int = 1, *, width: int | None = None, depth: int | None = None
) -> None:
    """Compute a product of matrices in parts, in parallel over rows or columns.

    Parameters
    ----------
    part : callable
        Computes a part.
    a, b : ndarray, shapes (m, k) and (k, n)
        The matrices, for the sizes.
    grain : int
        How many times as quick as the careful kernels this one is.
    width : int, optional
        How many columns the part computes in all rows before the next ones. Default: all, row after row.
    depth : int, optional
        Steps of k after which the part itself looks at whether to stop. Default: it does not.
    """
    m, n = a.shape[0], b.shape[1]
    steps = max(a.shape[1] if depth is None else min(depth, a.shape[1]), 1)
    worth, most = _GRAIN * grain, max((_PIECE if grain == 1 else _QUICK_PIECE) // steps, 1)

    def pieces(rows: tuple[int, int], columns: tuple[int, int]) -> None:
        for piece in _pieces(rows, columns, most, width or n):
            check_stop()
            part(*piece)

    if m >= n:
        map_ranges(lambda *rows: pieces(rows, (0, n)), m, smallest=max(1, worth // max(b.size, 1)))
    else:
        # Whole cache lines to each thread.
        smallest = -(-max(1, worth // max(a.size, 1)) // 16) * 16
        map_ranges(lambda *columns: pieces((0, m), columns), n, smallest=smallest)


def _pieces(
    rows: tuple[int, int], columns: tuple[int, int], most: int, width: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Cut a part of a result into pieces of about ``most`` elements, those of the same columns after each other."""
    height, breadth = rows[1] - rows[0], columns[1] - columns[0]
    if height * breadth <= most:
        yield rows, columns
        return
    across = min(breadth, max(most // height // width, 1) * width, max(most, _NARROWEST))
    down = max(most // across, 1)
    for left in range(columns[0], columns[1], across):
        for top in range(rows[0], rows[1], down):
            yield (top, min(top + down, rows[1])), (left, min(left + across, columns[1]))


def depth_multiple(unit: MatrixUnit) -> int | None:
    """Return of what a sum may be cut into parts of multiples, of which each continues the previous one.

    Parameters
    ----------
    unit : MatrixUnit
        A unit without stochastic modes.

    Returns
    -------
    int or None
        None: the sum cannot be cut.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.parts import depth_multiple
    >>> [depth_multiple(lp.units.get(name)) for name in ("tf32", "h100.e4m3")]
    [1, 32]
    >>> depth_multiple(lp.MatrixUnit("half", order="pairwise")) is None
    True
    """
    order = unit.summation
    if order.block is None and unit.dot is None:
        # Others have more than one number between two terms, or add c to the finished sum.
        return 1 if order.inner in ("sequential", "reverse") else None
    return math.lcm(order.block or 1, unit.dot.terms if unit.dot else 1, unit.scale_block or 1)


def spans(unit: MatrixUnit, depth: int) -> list[tuple[int, int]]:
    """Cut k into spans of which each one's product, the one before it as its c, is the next part of the whole product.

    They are in the order of summation, and none takes long; but where an order does not let itself be cut, or random
    words are for places in all of k, there is one span.
    """
    multiple = None if depth <= _STEPS or unit.is_stochastic else depth_multiple(unit)
    if multiple is None:
        return [(0, depth)]
    size = max(_STEPS // multiple, 1) * multiple
    found = [(first, min(first + size, depth)) for first in range(0, depth, size)]
    return found[::-1] if descends(unit) else found


def descends(unit: MatrixUnit) -> bool:
    """Whether the last term comes first."""
    return unit.summation.block is None and unit.summation.inner == "reverse"


def read_only(matrix: RealArray, dtype: np.dtype[Any]) -> RealArray:
    """Return a C-contiguous matrix of a dtype that kernels take: they compile for read-only arrays alone.

    A large matrix of one number stays a view of it, for which they compile anew.
    """
    if matrix.size > _LARGE and not any(matrix.strides):
        return np.broadcast_to(matrix[:1, :1].astype(dtype), matrix.shape)
    view: RealArray = np.ascontiguousarray(matrix, dtype).view()
    view.flags.writeable = False
    return view


def step_seeds(unit: MatrixUnit, seed: np.uint64) -> tuple[np.uint64 | None, np.uint64 | None]:
    """Return the seeds of steps and of outer additions: None unless their mode is stochastic."""
    modes = (unit.rounding, unit.total_rounding)
    return (seed if modes[0].is_stochastic else None), (seed if modes[1].is_stochastic else None)
