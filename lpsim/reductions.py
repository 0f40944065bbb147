"""Dot products and sums, every addition rounded, in any order of summation."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arguments import (
    MOST_AXES,
    RealArray,
    as_real,
    as_real_float,
    check_inner,
    check_value_out,
    working_dtype,
)
from lpsim.checks import shown
from lpsim.dispatch import overridable
from lpsim.formats import FormatLike, float32, float64
from lpsim.formats import format as as_format
from lpsim.linalg import matmul
from lpsim.operands import start_array
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit
from lpsim.units.order import parse_order

__all__ = ["add_up", "dot", "reordered", "sum", "sum_unit", "summed_axes"]


@overridable
def dot(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnit | str = units.tf32,
    *,
    order: str | None = None,
    c: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    seed: int | None = None,
) -> Any:
    """Return the sums of products over the last axis of a and the second-to-last (or only) one of b.

    Parameters
    ----------
    a : array_like, shape (..., k)
        Real numbers; the unit rounds them to its ``a_format``.
    b : array_like, shape (..., k, n) or (k,)
        Real numbers; the unit rounds them to its ``b_format``.
    unit : MatrixUnit or str
        The unit, or the name of one in `lpsim.units`.
    order : str, optional
        Order of summation in place of the unit's own, see `MatrixUnit`. An order with a single chain drops the unit's
        ``outer_format`` and ``outer_rounding``.
    c : array_like, optional
        Start values, of a shape that broadcasts to the result's.
    out : ndarray, optional
        Where to write the result: an array of its shape and of a floating-point dtype that holds every
        value of the unit's result format.
    seed : int, optional
        Seed of stochastic units, 0 to ``2**64 - 1``; required for these.

    Returns
    -------
    ndarray or scalar
        Values of the unit's result format, in its carrier, of the shape that `numpy.dot` gives: the axes of ``a``
        but the last, then those of ``b`` but the second-to-last.

    Raises
    ------
    ValueError
        If an operand is 0-d, shapes do not match, the unit is unknown or needs scales, the order is unknown or not one
        for this unit, a stochastic unit has no seed, or ``out`` is read-only or of another shape.
    TypeError
        If an argument holds no real numbers, or ``out`` is of a wrong dtype.

    Notes
    -----
    All elements are those of one `lpsim.matmul` of the operands as two matrices, bit for bit: ``a`` as
    (the product of its other axes, k), and ``b``, its second-to-last axis moved to the front, as (k, that of its
    others). Random bits of stochastic units belong to positions in these.

    Examples
    --------
    >>> import lpsim as lp
    >>> half = lp.MatrixUnit("half", accumulator_format="half")
    >>> x = [2048, 1, 1, 1]
    >>> [float(lp.dot(x, [1] * 4, half, order=order)) for order in ("sequential", "reverse", "pairwise")]
    [2048.0, 2052.0, 2050.0]
    """
    unit = units.get(unit)
    if unit.scale_format is not None:
        raise ValueError(f"unit is {unit}, which needs scales; allowed: units without (lpsim.matmul takes scales)")
    if order is not None:
        unit = reordered(unit, order)
    left, right = (as_real(x, name, lazy=True).view(np.ndarray) for x, name in ((a, "a"), (b, "b")))
    check_inner(left, right)
    depth = left.shape[-1]
    front = right if right.ndim == 1 else np.moveaxis(right, -2, 0)
    shape = left.shape[:-1] + front.shape[1:]
    if len(shape) > MOST_AXES:
        raise ValueError(
            f"a has {left.ndim} axes and b has {right.ndim}, which gives {len(shape)}; allowed: up to {MOST_AXES}"
        )
    if out is not None:
        out = check_value_out(out, shape, unit.result_format)
    m, n = math.prod(left.shape[:-1]), math.prod(front.shape[1:])
    if c is not None:
        c = start_array(c, shape).reshape(m, n)
    return _delivered(matmul(left.reshape(m, depth), front.reshape(depth, n), unit, c, seed=seed), shape, out)


@overridable
def sum(
    x: npt.ArrayLike,
    fmt: FormatLike,
    *,
    order: str = "sequential",
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    outer_format: FormatLike | None = None,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    out: RealArray | None = None,
) -> Any:
    """Return the sum of array elements, every addition rounded to ``fmt``.

    Parameters
    ----------
    x : array_like
        Real numbers, of any dtype that `lpsim.add` takes. They enter as they are: they need not be values of ``fmt``.
    fmt : Format, str or dtype
        Format of the sums, as `lpsim.format` reads it.
    order : str
        Order of summation: ``"sequential"``, ``"reverse"``, ``"pairwise"``, ``"kahan"``, ``"interleaved(n)"``,
        ``"blocked(n)"`` or ``"blocked(n, inner)"``; `MatrixUnit` defines them.
    axis : int or tuple of int, optional
        The axes to sum over, their elements in C order. Default: all.
    keepdims : bool
        Whether these axes stay in the result, of length 1.
    outer_format : Format, str or dtype, optional
        Format of the additions of finished partial sums to the total. Default: ``fmt``, and this is all that is
        allowed in orders with a single chain.
    rounding : Rounding or str
        The rounding mode.
    overflow : Overflow or str
        What becomes of sums beyond the largest finite value.
    seed : int, optional
        Seed of the stochastic modes, 0 to ``2**64 - 1``; required for these.
    random_bits : int
        How many random bits a stochastic mode compares the discarded fraction with, 1 to 53.
    out : ndarray, optional
        Where to write the result: an array of its shape and of a floating-point dtype that holds every
        value of ``outer_format``. It may be ``x``.

    Returns
    -------
    ndarray or scalar
        Values of ``outer_format`` in its carrier, float32 or float64.

    Raises
    ------
    ValueError
        For an unknown format, mode or order, axes that ``x`` does not have, integers that float64 does not
        represent, a stochastic mode without a seed, or an ``out`` that is read-only or of another shape.
    TypeError
        If ``x`` holds no real numbers, ``axis`` is no integer or tuple of integers, or ``out`` is of a wrong dtype.

    Notes
    -----
    The sum is defined as the matrix product of ``x`` and ones under a `MatrixUnit` whose inputs hold ``x`` exactly and
    which has no ``product_format``. So it starts from +0, which is also the sum of no elements; a chain rounds
    each of its sums of an exact element and the total so far, the first one included; and a leaf of a pairwise tree is
    an element rounded to ``fmt`` once.

    Source of the orders: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, chapter 4.

    Examples
    --------
    >>> import lpsim as lp
    >>> tenths = [0.1] * 10000
    >>> [float(lp.sum(tenths, "half", order=order)) for order in ("sequential", "pairwise", "kahan")]
    [256.0, 1000.0, 1000.0]
    """
    array = as_real_float(x, "x", lazy=True).view(np.ndarray)
    unit = sum_unit(array.dtype, fmt, order, outer_format, rounding, overflow, random_bits)
    axes = summed_axes(axis, array.ndim)
    shape = tuple(1 if i in axes else size for i, size in enumerate(array.shape) if keepdims or i not in axes)
    if out is not None:
        out = check_value_out(out, shape, unit.result_format)
    return _delivered(add_up(array, axes, unit, seed=seed), shape, out)


def sum_unit(
    dtype: np.dtype[Any],
    fmt: FormatLike,
    order: str = "sequential",
    outer_format: FormatLike | None = None,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    random_bits: int = 32,
) -> MatrixUnit:
    """Return the unit whose product of ones and an array of a real dtype is the array's `sum`."""
    return MatrixUnit(
        float32,
        float32 if working_dtype(dtype) == np.float32 else float64,
        accumulator_format=as_format(fmt),
        order=order,
        outer_format=outer_format,
        rounding=rounding,
        overflow=overflow,
        random_bits=random_bits,
    )


def add_up(
    array: RealArray, axes: tuple[int, ...], unit: MatrixUnit, c: RealArray | None = None, seed: int | None = None
) -> RealArray:
    """Return the sums over axes, in ascending order, under a `sum_unit`; ``c`` holds their start values."""
    others = [i for i in range(array.ndim) if i not in axes]
    kept = tuple(array.shape[i] for i in others)
    depth = math.prod(array.shape[i] for i in axes)
    # As columns, not rows: many sums at once are the faster ones.
    columns = array.transpose(*axes, *others).reshape(depth, math.prod(kept))
    start = None if c is None else c.reshape(1, -1)
    total: RealArray = matmul(np.broadcast_to(np.float32(1), (1, depth)), columns, unit, start, seed=seed)
    return total.reshape(kept)


def reordered(unit: MatrixUnit, order: str) -> MatrixUnit:
    """Return the unit with another order."""
    if parse_order(order).chains_from_c:  # a chain has one format and one mode
        return dataclasses.replace(
            unit, order=order, outer_format=unit.accumulator_format, outer_rounding=unit.rounding
        )
    return dataclasses.replace(unit, order=order)


def summed_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes to sum over, in ascending order."""
    if axis is None:
        return tuple(range(ndim))
    axes = []
    for one in axis if isinstance(axis, tuple) else (axis,):
        try:
            index = operator.index(one)
        except TypeError:
            raise TypeError(f"axis is {shown(axis)}; allowed: an integer, a tuple of integers or None") from None
        if not -ndim <= index < ndim:
            allowed = f"{-ndim} to {ndim - 1}" if ndim else "None or ()"
            raise ValueError(f"axis is {shown(axis)}, but x has {ndim} axes; allowed: {allowed}")
        axes.append(index % ndim)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis is {shown(axis)}; allowed: each axis once")
    return tuple(sorted(axes))


def _delivered(result: RealArray, shape: tuple[int, ...], out: RealArray | None) -> Any:
    """Return a result in its shape, as a scalar if it has no axes, or written to ``out``."""
    result = result.reshape(shape)
    if out is not None:
        out[...] = result
        return out
    return result if result.ndim else result[()]
