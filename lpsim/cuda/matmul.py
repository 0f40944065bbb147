"""Matrix products on a GPU, as `lpsim.matmul` does them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from lpsim import units
from lpsim.arguments import RealArray, as_seed, batch_shape, check_inner
from lpsim.core.bits import copy_sign, scale
from lpsim.cuda.arrays import copy, expanded, flat, is_device_array, launch, swapped, zeros
from lpsim.cuda.functions import any_marked, operand, result_array, round_numbers
from lpsim.cuda.products import Products
from lpsim.cuda.target import device_kernel
from lpsim.formats import Format
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit

__all__ = ["matmul"]

#: Streams of a seed's random bits, as in `lpsim.operands`.
_STREAMS = {"a": 1, "b": 2, "c": 3, "result": 4}

_MODE = (Rounding.TIES_TO_EVEN, Overflow.IEEE)


def matmul(
    a: Any,
    b: Any,
    unit: MatrixUnit | str | None = None,
    c: Any = None,
    out: Any = None,
    seed: Any = None,
    a_scale: Any = None,
    b_scale: Any = None,
    stats: bool = False,
    *,
    stream: Any,
) -> Any:
    """Do `lpsim.matmul` for arrays on the GPU."""
    unit = units.tf32 if unit is None else units.get(unit)
    number = np.uint64(as_seed(seed, Rounding.STOCHASTIC if unit.is_stochastic else Rounding.TIES_TO_EVEN))
    if stats:
        raise ValueError("stats is True on a GPU; allowed: False")
    for name, value in (("a", a), ("b", b)):
        if not is_device_array(value):
            raise TypeError(f"{name} is {type(value).__name__} beside an array on a GPU; allowed: arrays there")
    left, right = operand(a, "a", stream), operand(b, "b", stream)
    shape_a, shape_b = tuple(left.shape), tuple(right.shape)
    like_a, like_b = _standing_for(shape_a), _standing_for(shape_b)
    check_inner(like_a, like_b)
    batch = batch_shape(like_a, like_b)
    rows = () if len(shape_a) == 1 else (shape_a[-2],)
    columns = () if len(shape_b) == 1 else (shape_b[-1],)
    shape = batch + rows + columns
    m, n, depth = math.prod(rows), math.prod(columns), shape_a[-1]

    rounded = _Rounded(unit, seed, stream)
    left, right = rounded.factor(left, "a"), rounded.factor(right, "b")
    starts = rounded.start_values(c, shape)
    size = math.prod(batch)
    scales = _scales(unit, a_scale, b_scale, batch, (m, depth, n), stream)
    work = Products(unit, number, stream)
    result = work.run(
        _matrices(left, (*batch, m, depth), stream),
        _matrices(right.reshape(depth, 1) if not columns else right, (*batch, depth, n), stream),
        starts.reshape(size, m, n),
        scales,
    )
    carrier = unit.total_format.carrier
    result = rounded.output(expanded(result, (size, m, n), carrier, stream).reshape(*shape) if shape else
                            expanded(result, (size, m, n), carrier, stream).reshape(()))  # fmt: skip
    if out is None:
        return result
    _, target = result_array(out, shape, result.dtype, lambda dtype: dtype in (result.dtype, np.float64), stream)
    copy(result, target, stream)
    return out


def _standing_for(shape: tuple[int, ...]) -> RealArray:
    """Return an array of a shape without memory, for checks of shapes."""
    return np.broadcast_to(np.float32(0), shape)


def _matrices(array: Any, shape: tuple[int, ...], stream: Any) -> Any:
    """Return a stack of C-contiguous matrices."""
    whole = expanded(array, shape, array.dtype, stream)
    return whole.reshape(math.prod(shape[:-2]), *shape[-2:])


def _scales(
    unit: MatrixUnit, a_scale: Any, b_scale: Any, batch: tuple[int, ...], shape: tuple[int, int, int], stream: Any
) -> tuple[Any, Any] | None:
    """Return the scales as stacks of matrices, of B's columns transposed; None: no scales."""
    fmt, (m, depth, n) = unit.scale_format, shape
    if fmt is None or unit.scale_block is None:
        for argument, given in (("a_scale", a_scale), ("b_scale", b_scale)):
            if given is not None:
                raise ValueError(f"{argument} is given, but unit {unit} has no scales; allowed: None")
        return None
    blocks = -(-depth // unit.scale_block)
    pair = []
    for argument, given, one in (("a_scale", a_scale, (m, blocks)), ("b_scale", b_scale, (blocks, n))):
        if given is None:
            raise ValueError(f"{argument} is None, but unit {unit} has scales; allowed: an array of shape {one}")
        array = operand(given, argument, stream)
        values = round_numbers(array, fmt, *_MODE, random_stream=0, stream=stream)
        contiguous = expanded(array, tuple(array.shape), array.dtype, stream)
        if any_marked(_differs_kernel, values, stream, flat(contiguous)):
            raise ValueError(f"{argument} holds numbers that are not in {fmt}; allowed: its values")
        pair.append(_matrices(expanded(values, (*batch, *one), np.float64, stream), (*batch, *one), stream))
    turned = swapped(pair[1])
    return pair[0], expanded(turned, tuple(turned.shape), np.float64, stream)


class _Rounded:
    """The roundings of a product outside of its steps, as `lpsim.operands.Operands` has them."""

    def __init__(self, unit: MatrixUnit, seed: Any, stream: Any) -> None:
        self._unit = unit
        self._seed = seed
        self._stream = stream

    def _round(self, array: Any, fmt: Format, argument: str, rounding: Rounding, overflow: Overflow) -> Any:
        seed = self._seed if rounding.is_stochastic else None
        mode = (fmt, rounding, overflow, seed, self._unit.random_bits)
        return round_numbers(array, *mode, random_stream=_STREAMS[argument], stream=self._stream)

    def factor(self, array: Any, argument: str) -> Any:
        """Return A or B in its format."""
        unit = self._unit
        fmt = unit.a_format if argument == "a" else unit.b_format
        rounded = self._round(array, fmt, argument, unit.input_rounding, unit.input_overflow)
        return rounded if unit.flush_inputs == "signed_c" else self._flushed(rounded, fmt)

    def start_values(self, c: Any, shape: tuple[int, ...]) -> Any:
        """Return a new array of the accumulators' start values."""
        unit, fmt = self._unit, self._unit.total_format
        if c is None:
            return zeros(shape, fmt.carrier, self._stream)
        start = operand(c, "c", self._stream)
        try:
            np.broadcast_to(_standing_for(tuple(start.shape)), shape)
        except ValueError:
            raise ValueError(f"c has shape {tuple(start.shape)}; allowed: shapes that broadcast to {shape}") from None
        full = expanded(start, shape, start.dtype, self._stream)
        return self._flushed(self._round(full, fmt, "c", unit.total_rounding, unit.overflow), fmt)

    def output(self, result: Any) -> Any:
        """Return the accumulators as the unit delivers them."""
        unit = self._unit
        if unit.output_format is not None:
            result = self._round(result, unit.output_format, "result", unit.rounding, unit.overflow)
        if unit.nan_bits is not None:
            nan = np.uint32(unit.nan_bits).view(np.int32)
            launch(_nan_kernel, math.prod(result.shape), self._stream, flat(result).view(np.int32), nan)
        return result

    def _flushed(self, values: Any, fmt: Format) -> Any:
        flush = self._unit.flush_inputs
        if flush is not None:
            size, signed = math.prod(values.shape), np.int64(flush != "positive")
            launch(_flush_kernel, size, self._stream, flat(values), np.int64(fmt.emin), signed)
        return values


@device_kernel
def _nan_kernel(bits: Any, nan: Any) -> None:
    for i in range(cuda.grid(1), bits.size, cuda.gridsize(1)):
        if (bits[i] & 0x7FFFFFFF) > 0x7F800000:
            bits[i] = nan


@device_kernel
def _flush_kernel(values: Any, emin: Any, signed: Any) -> None:
    limit = scale(np.float64(1), emin)
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        x = np.float64(values[i])
        if abs(x) < limit:
            values[i] = copy_sign(np.float64(0), x) if signed != 0 else np.float64(0)


@device_kernel
def _differs_kernel(values: Any, others: Any, found: Any) -> None:
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        x, y = np.float64(values[i]), np.float64(others[i])
        if (x != y) & ((x == x) | (y == y)):
            found[0] = 1
