"""Matrix products and dot products of dask arrays."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim import units
from lpsim.arguments import RealArray, as_real, batch_shape, check_inner
from lpsim.dask.graph import Label, Operand, as_dask, chained, in_chunks, refuse_arrays, unified
from lpsim.engine import Engine
from lpsim.operands import Operands
from lpsim.parts import depth_multiple, descends
from lpsim.reductions import reordered
from lpsim.units import MatrixUnit

__all__ = ["dot", "matmul"]

_DEPTH = "k"


def matmul(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Return `lpsim.matmul` of dask arrays, given by argument name."""
    options = dict(given)
    if options.pop("stats", False) is not False:
        raise ValueError("stats is given to lpsim.matmul of dask arrays; allowed: False, nothing is counted")
    a, b = (as_dask(options.pop(argument), argument) for argument in ("a", "b"))
    check_inner(a, b)
    batch = tuple(range(len(batch_shape(a, b))))
    rows, columns = ("m",) * (a.ndim > 1), ("n",) * (b.ndim > 1)
    left = (*_last(batch, a.ndim - 2), *rows, _DEPTH)
    right = (*_last(batch, b.ndim - 2), _DEPTH, *columns)
    labels = (*batch, *rows, *columns)
    unit = options.pop("unit", None)
    unit = units.tf32 if unit is None else units.get(unit)
    operands = [Operand(a, left), Operand(b, right)]
    for argument, scaled in (("a_scale", (*batch, "m", "blocks")), ("b_scale", (*batch, "blocks", "n"))):
        scale = options.pop(argument, None)
        if unit.scale_format is None and scale is not None:
            raise ValueError(f"{argument} is given, but unit {unit} has no scales; allowed: None")
        if unit.scale_block is not None:
            operands.append(_scale_operand(scale, argument, scaled, operands, unit))
    return _product(function, unit, operands, labels, options)


def dot(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Return `lpsim.dot` of dask arrays, given by argument name."""
    options = dict(given)
    a, b = (as_dask(options.pop(argument), argument) for argument in ("a", "b"))
    unit, order = units.get(options.pop("unit", units.tf32)), options.pop("order", None)
    if unit.scale_format is not None:
        raise ValueError(f"unit is {unit}, which needs scales; allowed: units without (lpsim.matmul takes scales)")
    if order is not None:
        unit = reordered(unit, order)
    check_inner(a, b)
    rows = tuple(f"m{axis}" for axis in range(a.ndim - 1))
    columns = tuple(f"n{axis}" for axis in range(b.ndim - 1))
    operands = [Operand(a, (*rows, _DEPTH)), Operand(b, (*columns[:-1], _DEPTH, *columns[-1:]))]
    return _product(function, unit, operands, (*rows, *columns), options)


def _last(labels: tuple[Label, ...], count: int) -> tuple[Label, ...]:
    return labels[len(labels) - count :] if count > 0 else ()


def _scale_operand(
    scale: Any, argument: str, labels: tuple[Label, ...], operands: list[Operand], unit: MatrixUnit
) -> Operand:
    """Return the scales of blocks of a factor as an operand."""
    (a, _), (b, _) = operands[:2]
    blocks = -(-a.shape[-1] // (unit.scale_block or 1))
    m, n = (a.shape[-2] if a.ndim > 1 else 1), (b.shape[-1] if b.ndim > 1 else 1)
    shape = (*batch_shape(a, b), *((m, blocks) if argument == "a_scale" else (blocks, n)))
    if scale is None:
        raise ValueError(f"{argument} is None, but unit {unit} has scales; allowed: an array of shape {shape}")
    array = as_dask(scale, argument)
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{argument} has shape {array.shape}; allowed: shapes that broadcast to {shape}")
    return Operand(array, _last(labels, array.ndim))


def _product(
    function: Callable[..., Any],
    unit: MatrixUnit,
    operands: list[Operand],
    labels: tuple[Label, ...],
    options: dict[str, Any],
) -> Any:
    """Return the products of two operands, and of their scales, with labels of the result's axes."""
    name = function.__name__
    c, seed = options.pop("c", None), options.pop("seed", None)
    refuse_arrays({**options, "seed": seed})
    # The function itself tells what is wrong with the rest, now and not in a worker.
    sample = function(*(np.empty((0, 0), one.array.dtype) for one in operands[:2]), _without_scales(unit), seed=seed)

    multiple = None if unit.is_stochastic else depth_multiple(unit)
    every = {label for operand in operands for label in operand.labels}
    whole = every if unit.is_stochastic else {_DEPTH} if multiple is None else set()
    chunks, joined = unified(operands[:2], {_DEPTH: multiple or 1}, whole)
    links = {_DEPTH: len(chunks[_DEPTH])}
    if operands[2:]:
        size = unit.scale_block or 1
        chunks["blocks"] = tuple(-(-part // size) for part in chunks[_DEPTH])
        links["blocks"] = links[_DEPTH]
        joined += [in_chunks(operand, chunks) for operand in operands[2:]]
    start = None
    if c is not None:
        array = as_dask(c, "c")
        shape = tuple(sum(chunks[label]) for label in labels)
        try:
            fits = np.broadcast_shapes(array.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"c has shape {array.shape}; allowed: shapes that broadcast to {shape}")
        start = in_chunks(Operand(array, _last(labels, array.ndim)), chunks)
    scales = ("a_scale", "b_scale") if operands[2:] else ()
    step = functools.partial(_link, function, unit, seed, scales)
    descending = descends(unit)
    return chained(name, step, joined, start, chunks, labels, links, sample.dtype, descending=descending)


def _without_scales(unit: MatrixUnit) -> MatrixUnit:
    return unit if unit.scale_format is None else dataclasses.replace(unit, scale_format=None, scale_block=None)


def _link(
    function: Callable[..., Any],
    unit: MatrixUnit,
    seed: int | None,
    scales: tuple[str, ...],
    start: RealArray | None,
    first: bool,
    last: bool,
    a: RealArray,
    b: RealArray,
    *scale_blocks: RealArray,
) -> RealArray:
    """Return the accumulators of a product after some of its terms: ``start`` holds those before."""
    here = unit if last else dataclasses.replace(unit, output_format=None, nan_bits=None)
    if not first and unit.flush_inputs is not None:
        # Start values lose their subnormal numbers then, and accumulators on their way keep them.
        here = dataclasses.replace(here, flush_inputs=None)
        if unit.flush_inputs != "signed_c":
            read = Operands(unit, Engine(unit, np.uint64(0)), None, None)
            a, b = (read.factor(as_real(array, name), name)[0] for array, name in ((a, "a"), (b, "b")))
    named = dict(zip(scales, scale_blocks, strict=True))
    return np.asarray(function(a, b, here, c=start, seed=seed, **named))
