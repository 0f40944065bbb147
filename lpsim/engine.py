"""The kernel that computes a unit's products, and its work on several threads."""

from __future__ import annotations

import numpy as np

from lpsim.arguments import RealArray
from lpsim.core.params import Params
from lpsim.cpu.matmul import native_matmul_kernel
from lpsim.cpu.orders import INNER, StepParams, order_kernel
from lpsim.dots import accumulate_dots
from lpsim.formats import Format, float32, float64
from lpsim.parameters import parameters
from lpsim.parts import Part, over_parts, read_only, step_seeds
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit

__all__ = ["Engine"]

_FLUSH = {None: None, "rounded": 0, "before": 1, "after": 1}


class Engine:
    """Computes products of matrices of a unit's input formats.

    Parameters
    ----------
    unit : MatrixUnit
        The unit.
    seed : uint64
        Seed of stochastic modes.
    """

    def __init__(self, unit: MatrixUnit, seed: np.uint64) -> None:
        self._unit = unit
        self._seed = seed
        formats = [unit.a_format, unit.b_format, unit.accumulator_format, unit.outer_format]
        formats += [unit.product_format] if unit.product_format is not None else []
        #: float32 operands are the faster ones, where all formats are in it.
        self._narrow = np.dtype(np.float32 if all(fmt.carrier == np.float32 for fmt in formats) else np.float64)

    def accumulate(
        self, a: RealArray, b: RealArray, out: RealArray, start: int, scales: tuple[RealArray, RealArray]
    ) -> None:
        """Add the product of two matrices to the accumulators in ``out``.

        Parameters
        ----------
        a, b : ndarray, shapes (m, k) and (k, n)
            Values of the input formats.
        out : ndarray, shape (m, n)
            Start values, and then results.
        start : int
            Index of ``out[0, 0]`` in the whole result: it selects random words.
        scales : tuple of ndarray
            Scales of A, shape (m, blocks), and of B, shape (n, blocks); without blocks where there are none.
        """
        if self._unit.dot is not None:
            accumulate_dots(a, b, out, self._unit, self._seed, start, scales)
            return
        dtype = out.dtype if self._is_native else self._narrow
        a, b, accumulators = read_only(a, dtype), read_only(b, dtype), np.ascontiguousarray(out, dtype)
        part = self._native(a, b, accumulators) if self._is_native else self._steps(a, b, accumulators, start)
        over_parts(part, a, b)
        if accumulators is not out:
            out[...] = accumulators

    @property
    def _is_native(self) -> bool:
        """Whether the processor's own fma does the steps of the unit."""
        unit = self._unit
        fits = unit.accumulator_format == float64 or (
            unit.accumulator_format == float32 and unit.a_format.carrier == unit.b_format.carrier == np.float32
        )
        plain = unit.product_format is None and unit.flush_results is None
        modes = (unit.rounding, unit.overflow) == (Rounding.TIES_TO_EVEN, Overflow.IEEE)
        return fits and plain and modes and unit.order == "sequential"

    def _parameters(self, fmt: Format, rounding: Rounding) -> Params:
        tininess = "before" if self._unit.flush_results == "before" else "after"
        return parameters(fmt, rounding, self._unit.overflow, self._unit.random_bits, tininess)

    def _native(self, a: RealArray, b: RealArray, out: RealArray) -> Part:
        kernel = native_matmul_kernel()
        return lambda rows, columns: kernel(a, b, out, rows, columns)

    def _steps(self, a: RealArray, b: RealArray, out: RealArray, start: int) -> Part:
        unit, order, kernel = self._unit, self._unit.summation, order_kernel()
        accumulator = self._parameters(unit.accumulator_format, unit.rounding)
        product = None if unit.product_format is None else self._parameters(unit.product_format, unit.rounding)
        steps = StepParams(
            leaf=product or accumulator,
            accumulator=accumulator,
            outer=self._parameters(unit.outer_format, unit.outer_rounding),
            flush=_FLUSH[unit.flush_results],
            inner=INNER[order.inner],
            lanes=order.lanes,
            block=order.block or 0,
        )
        seeds = step_seeds(unit, self._seed)
        return lambda rows, columns: kernel(a, b, out, rows, columns, seeds, start, product, steps)
