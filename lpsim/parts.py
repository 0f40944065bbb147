"""Parts of a matrix product, and their division among threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.arguments import RealArray
from lpsim.cpu.threads import map_ranges
from lpsim.units import MatrixUnit

__all__ = ["Part", "over_parts", "read_only", "step_seeds"]

#: Fewest multiply-adds that are worth a thread.
_GRAIN = 1 << 15

#: Numbers whose copy takes much memory.
_LARGE = 1 << 22

#: What computes the elements in (start, stop) of the rows and of the columns of a product.
Part = Callable[[tuple[int, int], tuple[int, int]], object]


def over_parts(part: Part, a: RealArray, b: RealArray, grain: int = 1) -> None:
    """Compute a product of matrices in parts, in parallel over rows or columns.

    Parameters
    ----------
    part : callable
        Computes a part.
    a, b : ndarray, shapes (m, k) and (k, n)
        The matrices, for the sizes.
    grain : int
        How many times as quick as the careful kernels this one is.
    """
    m, n = a.shape[0], b.shape[1]
    worth = _GRAIN * grain
    if m >= n:
        map_ranges(lambda *rows: part(rows, (0, n)), m, smallest=max(1, worth // max(b.size, 1)))
    else:
        # Whole cache lines to each thread.
        smallest = -(-max(1, worth // max(a.size, 1)) // 16) * 16
        map_ranges(lambda *columns: part((0, m), columns), n, smallest=smallest)


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
