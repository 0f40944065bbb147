"""Matrix products in slices of rows, so that a progress bar can move."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

import lpsim as lp
from lpsim.cli.output import progress
from lpsim.units import MatrixUnit

__all__ = ["multiply", "products"]

# Enough work that slicing costs nothing, little enough that the bar moves every second or so.
_OPERATIONS_PER_SLICE = 2**28


def multiply(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    unit: MatrixUnit,
    seed: int | None = None,
    advance: Callable[[float], None] = lambda part: None,
) -> npt.NDArray[Any]:
    """Return ``lpsim.matmul(a, b, unit)``, calling ``advance`` with each finished part of the whole, 1."""
    rows, inner = a.shape
    step = max(_OPERATIONS_PER_SLICE // max(inner * b.shape[1], 1), 1)
    # Random bits depend on the position in the whole array, so such products stay in one piece.
    if rows <= step or unit.is_stochastic:
        result = lp.matmul(a, b, unit, seed=seed)
        advance(1.0)
        return np.asarray(result)
    slices = []
    for start in range(0, rows, step):
        slices.append(lp.matmul(a[start : start + step], b, unit))
        advance(min(step, rows - start) / rows)
    return np.concatenate(slices)


def products(
    a: npt.NDArray[Any], b: npt.NDArray[Any], units: Iterable[MatrixUnit], seed: int | None = None
) -> Iterator[tuple[MatrixUnit, npt.NDArray[Any]]]:
    """Yield each unit and its product, with a progress bar."""
    with progress() as bar:
        for unit in units:
            advance = functools.partial(bar.advance, bar.add_task(str(unit.name), total=1.0))
            yield unit, multiply(a, b, unit, seed, advance)
