"""NumPy's ufuncs on arrays that carry their format (NEP 13)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim import arithmetic
from lpsim.arguments import RealArray, broadcast_shape, check_out
from lpsim.arrays.array import Array
from lpsim.arrays.operands import exact_values, own_array, values_for
from lpsim.checks import shown
from lpsim.codec import round as round_to
from lpsim.formats import Format
from lpsim.linalg import matmul
from lpsim.reductions import sum as sum_of
from lpsim.reductions import summed_axes
from lpsim.spacing import nextafter

__all__ = ["apply_ufunc", "fold", "sum_over", "written"]

#: NumPy, whose stubs know its own arrays alone.
_numpy: Any = np


def _square(x: RealArray, fmt: Format, **how: Any) -> Any:
    return arithmetic.mul(x, x, fmt, **how)


def _reciprocal(x: RealArray, fmt: Format, **how: Any) -> Any:
    return arithmetic.div(np.float32(1), x, fmt, **how)


#: Arithmetic: one exact result, one rounding.
_ROUNDED: dict[np.ufunc, Callable[..., Any]] = {
    np.add: arithmetic.add,
    np.subtract: arithmetic.sub,
    np.multiply: arithmetic.mul,
    np.divide: arithmetic.div,
    np.sqrt: arithmetic.sqrt,
    np.square: _square,
    np.reciprocal: _reciprocal,
    np.negative: arithmetic.neg,
    np.absolute: arithmetic.abs,
    np.fabs: arithmetic.abs,
}

#: What NumPy does to the values exactly.
_EXACT = {
    np.positive, np.maximum, np.minimum, np.fmax, np.fmin, np.copysign, np.sign, np.floor, np.ceil, np.trunc, np.rint,
    np.fmod,
}  # fmt: skip

#: Those whose results are truth values.
_TRUTH = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isnan, np.isinf, np.isfinite,
    np.signbit, np.logical_and, np.logical_or, np.logical_xor, np.logical_not,
}  # fmt: skip

#: Powers that are other operations.
_POWERS: dict[float, np.ufunc] = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do what NumPy's protocol asks for; a TypeError names what is not defined."""
    name = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    out = kwargs.pop("out", (None,))
    if method == "__call__" and kwargs:
        raise TypeError(f"{name} is called with {', '.join(kwargs)}; allowed for arrays with a format: out")
    target = out[0]
    if len(out) > 1 or ufunc.nout > 1:
        raise _undefined(name)
    if method == "outer" and len(inputs) == 2:
        first, second = inputs
        axes = (1,) * np.ndim(second)
        first = (
            first.reshape(first.shape + axes) if isinstance(first, Array) else np.reshape(first, np.shape(first) + axes)
        )
        return _call(ufunc, name, (first, second), target)
    if method == "__call__":
        return _call(ufunc, name, inputs, target)
    if method == "reduce":
        return _reduce(ufunc, name, inputs[0], target, **kwargs)
    if method == "accumulate" and ufunc in (np.add, np.multiply):
        x = inputs[0]
        if kwargs.pop("dtype", None) is not None:
            raise TypeError(f"{name} is called with dtype; allowed for arrays with a format: axis and out")
        return written(fold(_ROUNDED[ufunc], x, keep=True, **kwargs), target, name)
    raise _undefined(name)


def _undefined(name: str) -> TypeError:
    return TypeError(
        f"{name} is not defined for arrays with a format; allowed: functions with one rounding, or a defined sequence "
        "of them (np.asarray gives the values)"
    )


def _call(ufunc: np.ufunc, name: str, inputs: tuple[Any, ...], target: Any) -> Any:
    if ufunc in _TRUTH:
        values = [exact_values(x, f"an operand of {name}") for x in inputs]
        shape = broadcast_shape({f"operand {i}": x for i, x in enumerate(values)})
        if target is not None:
            check_out(target, shape, "arrays of truth values", lambda dtype: dtype.kind == "b")
        with np.errstate(invalid="ignore"):
            return ufunc(*values) if target is None else ufunc(*values, out=target)
    if ufunc is np.power:
        exponent = inputs[1]
        replacement = None if not isinstance(exponent, (int, float)) else _POWERS.get(exponent)
        if replacement is None:
            allowed = ", ".join(f"{power:g}" for power in _POWERS)
            raise TypeError(f"{name} is called with the exponent {shown(exponent)}; allowed: {allowed}")
        ufunc, inputs = replacement, inputs[:1]
    own = own_array(name, (*inputs, target))
    fmt, context = own.format, own.context
    known = ufunc in _ROUNDED or ufunc in _EXACT or ufunc in (np.matmul, np.nextafter)
    if not known:
        raise _undefined(name)
    operands = [values_for(x, fmt, context, name) for x in inputs]
    place = None if target is None else _place(target, name)
    if ufunc is not np.matmul:
        broadcast_shape({f"operand {i} of {name}": x for i, x in enumerate(operands)})
    else:
        product = Array.of_values(context.products(matmul, operands[0], operands[1], fmt), fmt, context)
        return written(product, target, name)
    if ufunc in _ROUNDED:
        result = _ROUNDED[ufunc](*operands, fmt, **context.how(), out=place)
    elif ufunc is np.nextafter:
        result = nextafter(operands[0], operands[1], fmt)
        if place is not None:
            place[...] = result
    else:
        # Exact, but in an unsigned format or one without 1 the result may be no value of it.
        result = round_to(ufunc(*operands), fmt, **context.how(), out=place)
    return target if target is not None else Array.of_values(result, fmt, context)


def _place(target: Any, name: str) -> RealArray:
    if not isinstance(target, Array):
        raise TypeError(f"out of {name} is {shown(target)}; allowed: a lpsim.Array of the operands' format")
    return target._values


def written(result: Array, target: Any, name: str) -> Array:
    """Return a result, written to an array if there is one."""
    if target is None:
        return result
    own_array(name, (result, target))
    place = _place(target, name)
    if place.shape != result.shape:
        raise ValueError(f"out of {name} has shape {place.shape}; allowed: {result.shape}, the shape of the result")
    place[...] = result.values
    return target  # type: ignore[no-any-return]  # _place has checked what it is


def _reduce(
    ufunc: Any,
    name: str,
    x: Array,
    target: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: bool = False,
    **others: Any,
) -> Any:
    if dtype is not None or others:
        given = ", ".join([*(["dtype"] if dtype is not None else []), *others])
        raise TypeError(f"{name} is called with {given}; allowed for arrays with a format: axis, keepdims and out")
    if ufunc in (np.logical_and, np.logical_or):
        return ufunc.reduce(x.values, axis=axis, keepdims=keepdims)
    if ufunc is np.add:
        return written(sum_over(x, axis, keepdims), target, name)
    if ufunc is np.multiply:
        return written(fold(arithmetic.mul, x, axis, keepdims), target, name)
    if ufunc in (np.maximum, np.minimum, np.fmax, np.fmin):
        values = ufunc.reduce(x.values, axis=axis, keepdims=keepdims)
        return written(Array.of_values(values, x.format, x.context), target, name)
    raise _undefined(name)


def sum_over(x: Array, axis: Any, keepdims: bool) -> Array:
    """Return the sum over axes, in the order of the index, every sum rounded."""
    result = sum_of(x.values, x.format, axis=axis, keepdims=keepdims, **x.context.how())
    return Array.of_values(result, x.format, x.context)


def fold(operation: Callable[..., Any], x: Array, axis: Any = 0, keepdims: bool = False, keep: bool = False) -> Array:
    """Return the first element, then its combination with the next one, and so on along an axis.

    All of these if ``keep``, otherwise the last one; without elements 1, the empty product.
    """
    values, fmt = x.values, x.format
    if keep and isinstance(axis, tuple):
        raise TypeError(f"axis is {shown(axis)}; allowed for cumulative results: an integer or None")
    axes = summed_axes(axis, values.ndim)
    others = [i for i in range(values.ndim) if i not in axes]
    kept = tuple(values.shape[i] for i in others)
    rows = values.transpose(*sorted(axes), *others).reshape(math.prod(values.shape[i] for i in axes), *kept)
    if keep:
        results = np.empty(rows.shape, rows.dtype)
        for i, row in enumerate(rows if rows.size else ()):  # of nothing there may be any number
            results[i] = row if i == 0 else operation(results[i - 1], row, fmt, **x.context.how())
        moved = np.moveaxis(results, 0, axes[0]) if values.ndim > 1 and axis is not None else results
        return Array.of_values(moved, fmt, x.context)
    total: Any = rows[0] if len(rows) else round_to(np.ones(kept), fmt)
    for row in rows[1:] if rows.size else ():
        total = operation(total, row, fmt, **x.context.how())
    shape = tuple(1 if i in axes else size for i, size in enumerate(values.shape)) if keepdims else kept
    return Array.of_values(np.array(total).reshape(shape), fmt, x.context)
