"""Which kernels compute a unit's products on a GPU: the choices of `lpsim.engine`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from lpsim.core.operations import ADD
from lpsim.core.sums import INNER
from lpsim.cuda import gemm, orders, steps
from lpsim.cuda.arrays import empty, expanded, launch, ones, swapped, zeros
from lpsim.cuda.functions import apply
from lpsim.cuda.gemm import Tiling
from lpsim.dots import dot_parameters
from lpsim.engine import FLUSH, Engine
from lpsim.parameters import parameters
from lpsim.steps import may_be_tiny, step_passes
from lpsim.units import MatrixUnit

__all__ = ["Products"]

#: Most matrices of a launch: what CUDA allows of blocks along its third axis.
_MOST = 65535


class Products:
    """Computes products of stacks of matrices of a unit's input formats.

    Parameters
    ----------
    unit : MatrixUnit
    seed : uint64
        Of stochastic modes.
    stream
        On which the kernels are started.
    """

    def __init__(self, unit: MatrixUnit, seed: np.uint64, stream: Any) -> None:
        self._unit = unit
        self._seed = seed
        self._stream = stream
        self._engine = Engine(unit, seed)

    def run(self, a: Any, b: Any, starts: Any, scales: tuple[Any, Any] | None = None) -> Any:
        """Return the product of C-contiguous stacks (batch, m, k) and (batch, k, n) plus the start values.

        The result may be in the memory of ``starts``, and of another dtype than it.
        """
        unit = self._unit
        if math.prod(starts.shape) == 0:
            return starts
        if unit.dot is not None:
            return self._dots(a, b, starts, scales)
        order = unit.summation
        plain = unit.flush_results is None
        if order.block is not None and order.inner == "sequential" and plain and not unit.is_stochastic:
            return self._sum_blocks(a, b, starts, order.block)
        dtype = starts.dtype if self._engine.is_native else self._engine.working_dtype
        a, b, out = (self._as(array, dtype) for array in (a, b, starts))
        if self._engine.is_gemm:
            tiling = gemm.best_tiling()
            self._over_tiles(gemm.gemm_kernel(tiling, zero=False), tiling, (a, b, out))
        elif self._engine.is_native:
            launch(gemm.native_kernel(), math.prod(out.shape), self._stream, a, b, out)
        else:
            found = step_passes(unit, may_be_tiny(unit)) if plain else None
            if found is not None:
                return self._steps(a, b, out, found)
            self._orders(a, b, out)
        return out

    def _as(self, array: Any, dtype: Any) -> Any:
        return expanded(array, tuple(array.shape), dtype, self._stream)

    def _over_tiles(self, kernel: Any, tiling: Tiling, stacks: tuple[Any, ...], *arguments: Any) -> None:
        batch, m = stacks[0].shape[0], stacks[0].shape[1]
        n = stacks[1].shape[2]
        across, down = -(-n // (tiling.columns * tiling.across)), -(-m // (tiling.rows * tiling.down))
        for first in range(0, batch, _MOST):
            last = min(first + _MOST, batch)
            part = stacks if batch <= _MOST else tuple(stack[first:last] for stack in stacks)
            kernel[(across, down, last - first), (tiling.across, tiling.down), self._stream](
                *part, *arguments, np.int64(first)
            )

    def _steps(self, a: Any, b: Any, starts: Any, found: Any) -> Any:
        out = empty(tuple(starts.shape), starts.dtype, self._stream)
        todo = ones(tuple(starts.shape), np.uint8, self._stream)
        tiling = steps.best_tiling()
        for one in found:
            kernel = steps.step_kernel(tiling, **one.options)
            arguments = (self._seed, np.int64(self._unit.random_bits), *one.arguments)
            self._over_tiles(kernel, tiling, (a, b, starts, out, todo), *arguments)
        return out

    def _orders(self, a: Any, b: Any, out: Any) -> None:
        unit, order = self._unit, self._unit.summation
        accumulator = self._engine.rounding_parameters(unit.accumulator_format, unit.rounding)
        outer = self._engine.rounding_parameters(unit.total_format, unit.total_rounding)
        product = accumulator
        if unit.product_format is not None:
            product = self._engine.rounding_parameters(unit.product_format, unit.rounding)
        flush = FLUSH[unit.flush_results]
        kernel = orders.order_kernel(
            wide=out.dtype == np.float64,
            stochastic=unit.rounding.is_stochastic,
            outer_stochastic=unit.total_rounding.is_stochastic,
            has_product=unit.product_format is not None,
            flushes=flush is not None,
        )
        launch(
            kernel, math.prod(out.shape), self._stream, a, b, out, self._seed, product, accumulator, outer,
            np.int64(flush or 0), np.int64(INNER[order.inner]), np.int64(order.lanes), np.int64(order.block or 0),
        )  # fmt: skip

    def _dots(self, a: Any, b: Any, starts: Any, scales: tuple[Any, Any] | None) -> Any:
        unit = self._unit
        assert unit.dot is not None
        left, right, out = self._as(a, np.float64), self._as(swapped(b), np.float64), self._as(starts, np.float64)
        if scales is None:
            scales = tuple(zeros((one.shape[0], one.shape[1], 1), np.float64, self._stream) for one in (left, right))
        assert scales is not None
        accumulator = parameters(unit.accumulator_format, unit.rounding, unit.overflow, unit.random_bits)
        outer = parameters(unit.total_format, unit.total_rounding, unit.overflow, unit.random_bits)
        kernel = orders.dot_kernel(
            unit.dot.terms, stochastic=unit.rounding.is_stochastic, outer_stochastic=unit.total_rounding.is_stochastic
        )
        launch(
            kernel, math.prod(out.shape), self._stream, left, right, *scales, out, self._seed, accumulator, outer,
            dot_parameters(unit),
        )  # fmt: skip
        return out

    def _sum_blocks(self, a: Any, b: Any, starts: Any, block: int) -> Any:
        """Sum each block of terms from +0 as a unit without blocks, and add the sums to the accumulators."""
        unit = self._unit
        inner = dataclasses.replace(unit, order="sequential", outer_format=None, outer_rounding=None)
        products, total = Products(inner, self._seed, self._stream), starts
        depth, shape = a.shape[2], tuple(starts.shape)
        for first in range(0, depth, block):
            last = min(first + block, depth)
            left = expanded(a[:, :, first:last], (a.shape[0], a.shape[1], last - first), a.dtype, self._stream)
            right = expanded(b[:, first:last, :], (b.shape[0], last - first, b.shape[2]), b.dtype, self._stream)
            sums = products.run(left, right, zeros(shape, inner.accumulator_format.carrier, self._stream))
            mode = (unit.total_format, unit.total_rounding, unit.overflow)
            total = apply(ADD, {"x": total, "y": sums}, *mode, stream=self._stream)
        return total
