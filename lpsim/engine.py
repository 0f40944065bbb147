"""The kernel that computes a unit's products, and its work on several threads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numba
import numpy as np

from lpsim.arguments import RealArray
from lpsim.arithmetic import add
from lpsim.core.nearest import NearestParams
from lpsim.core.params import Params
from lpsim.core.sums import INNER, StepParams
from lpsim.counts import Counter
from lpsim.cpu.gemm import gemm
from lpsim.cpu.matmul import native_matmul_kernel
from lpsim.cpu.orders import order_kernel
from lpsim.cpu.steps import WIDTH
from lpsim.dots import accumulate_dots
from lpsim.formats import Format, float32, float64
from lpsim.parameters import nearest_parameters, parameters
from lpsim.parts import Part, Place, over_parts, read_only, spans, step_seeds
from lpsim.rounding import Overflow, Rounding
from lpsim.steps import DEPTH, step_runner
from lpsim.units import MatrixUnit

__all__ = ["FLUSH", "Engine"]

#: What becomes zero, by name, as `lpsim.core.sums.StepParams` has it.
FLUSH = {None: None, "rounded": 0, "before": 1, "after": 1}

#: How many times as quick as the careful kernel those in vectors are.
_SPEED = 16


class Engine:
    """Computes products of matrices of a unit's input formats.

    Parameters
    ----------
    unit : MatrixUnit
        The unit.
    seed : uint64
        Seed of stochastic modes.
    counter : Counter, optional
        Counts what happens in the steps, which only the careful kernels can.
    """

    def __init__(self, unit: MatrixUnit, seed: np.uint64, counter: Counter | None = None) -> None:
        self._counter = counter
        self._unit = unit
        self._seed = seed
        formats = [unit.a_format, unit.b_format, unit.accumulator_format, unit.total_format]
        formats += [unit.product_format] if unit.product_format is not None else []
        #: float32 operands are the faster ones, where all formats are in it.
        self.working_dtype = np.dtype(np.float32 if all(fmt.carrier == np.float32 for fmt in formats) else np.float64)
        plain = unit.dot is None and unit.product_format is None and unit.flush_results is None
        modes = (unit.rounding, unit.overflow) == (Rounding.TIES_TO_EVEN, Overflow.IEEE)
        by_fma = plain and modes and unit.order == "sequential" and counter is None
        #: Whether the processor's own fma does the steps of the unit, and whether in the product of `gemm`.
        self.is_native = by_fma and unit.accumulator_format == float64
        single = unit.accumulator_format == float32 and self.working_dtype == np.float32
        self.is_gemm = by_fma and single and not numba.config.DISABLE_JIT  # it is made of LLVM's instructions

    def short_rounding(self, fmt: Format, dtype: np.dtype[Any]) -> tuple[bool, NearestParams | None]:
        """Return whether `gemm` can round an operand of that dtype to its input format itself, and how."""
        unit = self._unit
        ordinary = (unit.input_rounding, unit.input_overflow) == (Rounding.TIES_TO_EVEN, Overflow.IEEE)
        if not (self.is_gemm and ordinary and unit.flush_inputs is None and dtype == np.float32):
            return False, None
        short = nearest_parameters(fmt)
        return fmt == float32 or short is not None, short

    def accumulate(
        self,
        a: RealArray,
        b: RealArray,
        out: RealArray,
        place: Place,
        scales: tuple[RealArray, RealArray] | None = None,
    ) -> None:
        """Add the product of two matrices to the accumulators in ``out``.

        Parameters
        ----------
        a, b : ndarray, shapes (m, k) and (k, n)
            Values of the input formats.
        out : ndarray, shape (m, n)
            Start values, and then results.
        place : Place
            Where ``out`` is in the whole result: it selects random words.
        scales : tuple of ndarray, optional
            Scales of A, shape (m, blocks), and of B, shape (n, blocks).
        """
        unit = self._unit
        if out.size == 0:
            return  # of however many steps
        if unit.dot is not None:
            accumulate_dots(a, b, out, unit, self._seed, place, scales, self._counter)
            return
        order = unit.summation
        plain = unit.flush_results is None and self._counter is None
        if order.block is not None and order.inner == "sequential" and plain and not unit.is_stochastic:
            self._sum_blocks(a, b, out, order.block)
            return
        dtype = out.dtype if self.is_native else self.working_dtype
        a, b, accumulators = read_only(a, dtype), read_only(b, dtype), np.ascontiguousarray(out, dtype)
        if self.is_gemm:
            gemm(a, b, accumulators)
        elif self.is_native:
            over_parts(self._native(a, b, accumulators), a, b, _SPEED)
        else:
            runner = step_runner(a, b, accumulators, unit, self._seed, place) if plain else None
            if runner is not None:
                over_parts(runner, a, b, _SPEED, width=WIDTH, depth=DEPTH)
            else:
                for first, last in spans(unit, a.shape[1]):
                    left, right = read_only(a[:, first:last], dtype), b[first:last]
                    over_parts(self.carefully(left, right, accumulators, place), left, right)
        if accumulators is not out:
            out[...] = accumulators

    def _sum_blocks(self, a: RealArray, b: RealArray, out: RealArray, block: int) -> None:
        """Sum each block of terms from +0 as a unit without blocks, and add the sums to the accumulators."""
        unit = self._unit
        inner = dataclasses.replace(unit, order="sequential", outer_format=None, outer_rounding=None)
        engine = Engine(inner, self._seed)
        for first in range(0, a.shape[1], block):
            sums = np.zeros(out.shape, inner.accumulator_format.carrier)
            engine.accumulate(a[:, first : first + block], b[first : first + block], sums, Place(0, sums.shape[1]))
            add(out, sums, unit.total_format, rounding=unit.total_rounding, overflow=unit.overflow, out=out)

    def rounding_parameters(self, fmt: Format, rounding: Rounding) -> Params:
        """Return the parameters of a rounding of a step."""
        tininess = "before" if self._unit.flush_results == "before" else "after"
        return parameters(fmt, rounding, self._unit.overflow, self._unit.random_bits, tininess)

    def _native(self, a: RealArray, b: RealArray, out: RealArray) -> Part:
        kernel = native_matmul_kernel()
        return lambda rows, columns: kernel(a, b, out, rows, columns)

    def carefully(self, a: RealArray, b: RealArray, out: RealArray, place: Place) -> Part:
        """Return what computes parts of the product one rounding after the other, for any unit without a dot.

        The matrices are C-contiguous and of one dtype that holds all values of the unit's formats, and ``a`` and ``b``
        are read-only.
        """
        unit, order, kernel = self._unit, self._unit.summation, order_kernel()
        accumulator = self.rounding_parameters(unit.accumulator_format, unit.rounding)
        product = None if unit.product_format is None else self.rounding_parameters(unit.product_format, unit.rounding)
        steps = StepParams(
            leaf=product or accumulator,
            accumulator=accumulator,
            outer=self.rounding_parameters(unit.total_format, unit.total_rounding),
            counts=None,
            flush=FLUSH[unit.flush_results],
            inner=INNER[order.inner],
            lanes=order.lanes,
            block=order.block or 0,
        )
        seeds = step_seeds(unit, self._seed)
        counter = self._counter

        def part(rows: tuple[int, int], columns: tuple[int, int]) -> None:
            arguments = (a, b, out, rows, columns, seeds, place, product)
            if counter is None:
                kernel(*arguments, steps)
            else:
                counter.counting(lambda counts: kernel(*arguments, steps._replace(counts=counts)))

        return part
