"""What overflowed, underflowed and saturated in a matrix product."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.core.counters import COUNTED
from lpsim.rounding import Flag

__all__ = ["Counter", "Counts", "MatmulStats", "counts_of"]


class Counts(NamedTuple):
    """How often something happened in roundings.

    Attributes
    ----------
    overflow : int
        Results beyond the largest finite value, and infinities in formats that have none.
    saturated : int
        Those of them that became a finite number.
    underflow : int
        Results that are tiny and inexact (see `lpsim.Flag`), or flushed to zero.
    invalid : int
        NaNs made of numbers and infinities, and signalling NaNs.
    """

    overflow: int
    saturated: int
    underflow: int
    invalid: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {number:,}" for name, number in zip(self._fields, self, strict=True))


class MatmulStats(NamedTuple):
    """Counts of a matrix product.

    Attributes
    ----------
    inputs : Counts
        Of the rounding of A, B and C to the unit's formats.
    steps : Counts
        Of all roundings of products, sums and dots.
    output : Counts
        Of the rounding of the result to the unit's output format.

    Examples
    --------
    >>> import lpsim as lp
    >>> product, stats = lp.matmul([[300.0, 1e9]], [[300.0], [1e-9]], lp.units.fp16_fp16acc, stats=True)
    >>> product.tolist(), stats.inputs.overflow, stats.inputs.underflow, stats.steps.overflow
    ([[nan]], 1, 1, 1)
    """

    inputs: Counts
    steps: Counts
    output: Counts

    def __str__(self) -> str:
        return "\n".join(f"{name}: {counts}" for name, counts in zip(self._fields, self, strict=True))


class Counter:
    """Sums of the counts of kernels that may run at the same time."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(COUNTED), np.int64)
        self._lock = threading.Lock()

    def counting(self, kernel: Callable[[npt.NDArray[np.int64]], None]) -> None:
        """Call a kernel with an array of its own for its counts."""
        counts = np.zeros_like(self._counts)
        kernel(counts)
        with self._lock:
            self._counts += counts

    def add(self, counts: Counts) -> None:
        """Add counts."""
        with self._lock:
            self._counts += np.array(counts)

    @property
    def total(self) -> Counts:
        """The sums."""
        return Counts(**dict(zip(COUNTED, self._counts.tolist(), strict=True)))


def counts_of(values: npt.NDArray[Any], flags: npt.NDArray[np.uint8]) -> Counts:
    """Return the counts of rounded values with their flags."""
    over = (flags & Flag.OVERFLOW) != 0
    return Counts(
        overflow=int(np.count_nonzero(over)),
        saturated=int(np.count_nonzero(over & np.isfinite(values))),
        underflow=int(np.count_nonzero(flags & Flag.UNDERFLOW)),
        invalid=int(np.count_nonzero(flags & Flag.INVALID)),
    )
