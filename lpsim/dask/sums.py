"""Sums of dask arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.arguments import RealArray, as_real_float
from lpsim.dask.graph import Operand, as_dask, chained, refuse_arrays, unified
from lpsim.parts import depth_multiple, descends
from lpsim.reductions import add_up, sum_unit, summed_axes
from lpsim.units import MatrixUnit

__all__ = ["sum"]


def sum(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Return `lpsim.sum` of a dask array, given by argument name.

    The elements over several axes are in C order: the chunks of the first of these axes are the links of a chain, and
    the others become one chunk.
    """
    options = dict(given)
    refuse_arrays({argument: value for argument, value in options.items() if argument != "x"})
    x = as_dask(options.pop("x"), "x")
    # The function itself tells what is wrong with the rest, now and not in a worker.
    sample = function(np.zeros((0,) * x.ndim, x.dtype), **options)
    keepdims, seed = options.pop("keepdims", False), options.pop("seed", None)
    axes = summed_axes(options.pop("axis", None), x.ndim)
    unit = sum_unit(np.dtype(np.float64), **options)

    labels = tuple(range(x.ndim))
    kept = tuple(axis for axis in labels if axis not in axes)
    multiple = None if unit.is_stochastic else depth_multiple(unit)
    whole = labels if unit.is_stochastic else axes if multiple is None else axes[1:]
    multiples = {}
    if axes and multiple is not None:
        inner = math.prod(x.shape[axis] for axis in axes[1:])
        multiples[axes[0]] = multiple // math.gcd(multiple, inner)
    chunks, operands = unified([Operand(x, labels)], multiples, whole)
    links = {axes[0]: len(chunks[axes[0]])} if axes else {}
    step = functools.partial(_link, unit, axes, seed)
    descending = descends(unit)
    result = chained("sum", step, operands, None, chunks, kept, links, sample.dtype, descending=descending)
    if keepdims:
        result = result[tuple(None if axis in axes else slice(None) for axis in labels)]
    return result


def _link(
    unit: MatrixUnit,
    axes: tuple[int, ...],
    seed: int | None,
    start: RealArray | None,
    first: bool,
    last: bool,
    block: RealArray,
) -> RealArray:
    """Return the sums after some of their terms: ``start`` holds those before."""
    return add_up(as_real_float(block, "x").view(np.ndarray), axes, unit, start, seed)
