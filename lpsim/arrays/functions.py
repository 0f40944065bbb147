"""NumPy's functions on arrays that carry their format (NEP 18)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim import arithmetic
from lpsim.arrays.array import Array
from lpsim.arrays.operands import exact_values, own_array, values_for
from lpsim.arrays.ufuncs import fold, sum_over, written
from lpsim.checks import shown
from lpsim.codec import round as round_to
from lpsim.reductions import dot as dot_of

__all__ = ["apply_function"]

#: NumPy, whose stubs know its own arrays alone.
_numpy: Any = np

_Function = Callable[..., Any]

#: Move or choose elements of the array that is their first argument.
_MOVING: set[_Function] = {
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.expand_dims, np.squeeze, np.copy,
    np.broadcast_to, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.take, np.take_along_axis, np.diag, np.diagonal,
    np.triu, np.tril, np.roll, np.flip, np.fliplr, np.flipud, np.rot90, np.sort, np.partition, np.repeat, np.tile,
    np.split, np.array_split, np.hsplit, np.vsplit, np.zeros_like, np.ones_like, np.empty_like, np.compress,
    np.delete, np.unique, np.trim_zeros,
}  # fmt: skip

#: Join a sequence of arrays, their first argument.
_JOINING: set[_Function] = {
    np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, np.block
}  # fmt: skip

#: Tell something about the values, exactly.
_TELLING: set[_Function] = {
    np.shape, np.ndim, np.size, np.any, np.all, np.argmax, np.argmin, np.argsort, np.nonzero, np.flatnonzero,
    np.argwhere, np.count_nonzero, np.array_equal, np.array_equiv, np.allclose, np.isclose, np.searchsorted,
    np.shares_memory, np.may_share_memory, np.iscomplexobj, np.isrealobj, np.isposinf, np.isneginf, np.result_type,
    np.can_cast, np.min_scalar_type, np.savetxt,
}  # fmt: skip

_DEFINED: dict[_Function, _Function] = {}


def _defines(*functions: _Function) -> Callable[[_Function], _Function]:
    def register(definition: _Function) -> _Function:
        _DEFINED.update(dict.fromkeys(functions, definition))
        return definition

    return register


def apply_function(function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do what NumPy's protocol asks for; a TypeError names what is not defined."""
    name = _name(function)
    if function in _TELLING:
        plain = [exact_values(one, name) if isinstance(one, Array) else one for one in args]
        return function(*plain, **{key: _without_format(one, name) for key, one in kwargs.items()})
    if function in _MOVING and args and isinstance(args[0], Array):
        own = args[0]
        if "out" in kwargs or any(isinstance(one, Array) for one in (*args[1:], *kwargs.values())):
            raise TypeError(
                f"{name} is called with more than one array with a format; allowed: one, the first argument"
            )
        return _wrapped(function(own._values, *args[1:], **kwargs), own)
    if function in _JOINING:
        own = own_array(name, _leaves(args[0]))
        values = _joined(args[0], own, name)
        if kwargs.get("out") is not None:
            raise TypeError(f"{name} is called with out; allowed for arrays with a format: no out")
        return _wrapped(function(values, *args[1:], **kwargs), own)
    if function not in _DEFINED:
        raise TypeError(
            f"{name} is not defined for arrays with a format; allowed: functions that round each step of a defined "
            "sequence once, or not at all (np.asarray gives the values)"
        )
    try:
        return _DEFINED[function](*args, **kwargs)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        given = str(error).rsplit(" ", 1)[-1]
        raise TypeError(
            f"{name} is called with {given}, which is not defined for arrays with a format; allowed: without"
        ) from None


def _name(function: _Function) -> str:
    module = getattr(function, "__module__", "numpy")
    return f"{module}.{function.__name__}"


def _without_format(one: Any, name: str) -> Any:
    return exact_values(one, name) if isinstance(one, Array) else one


def _wrapped(result: Any, own: Array) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(Array.of_values(one, own.format, own.context) for one in result)
    return Array.of_values(result, own.format, own.context)


def _leaves(nested: Any) -> list[Any]:
    if isinstance(nested, (list, tuple)):
        return [leaf for one in nested for leaf in _leaves(one)]
    return [nested]


def _joined(nested: Any, own: Array, name: str) -> Any:
    if isinstance(nested, (list, tuple)):
        return [_joined(one, own, name) for one in nested]
    return values_for(nested, own.format, own.context, name)


# Sums and products.


@_defines(np.sum)
def _sum(a: Array, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    _no_dtype(dtype, "numpy.sum")
    return written(sum_over(a, axis, bool(keepdims)), out, "numpy.sum")


@_defines(np.mean)
def _mean(a: Array, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    _no_dtype(dtype, "numpy.mean")
    total = sum_over(a, axis, bool(keepdims))
    count = a.size / total.size if total.size else 1  # exact: neither is over 2**53
    values = arithmetic.div(total.values, count, a.format, **a.context.how())
    return written(Array.of_values(values, a.format, a.context), out, "numpy.mean")


@_defines(np.prod)
def _prod(a: Array, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    _no_dtype(dtype, "numpy.prod")
    return written(fold(arithmetic.mul, a, axis, bool(keepdims)), out, "numpy.prod")


@_defines(np.cumsum)
def _cumsum(a: Array, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    _no_dtype(dtype, "numpy.cumsum")
    return written(fold(arithmetic.add, a, axis, keep=True), out, "numpy.cumsum")


@_defines(np.cumprod)
def _cumprod(a: Array, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    _no_dtype(dtype, "numpy.cumprod")
    return written(fold(arithmetic.mul, a, axis, keep=True), out, "numpy.cumprod")


def _no_dtype(dtype: Any, name: str) -> None:
    if dtype is not None:
        raise TypeError(f"dtype of {name} is {shown(dtype)}; allowed for arrays with a format: None (astype converts)")


@_defines(np.dot)
def _dot(a: Any, b: Any, out: Any = None) -> Any:
    own = own_array("numpy.dot", (a, b))
    fmt, context = own.format, own.context
    left, right = (values_for(one, fmt, context, "numpy.dot") for one in (a, b))
    if not left.ndim or not right.ndim:
        return written(_numpy.multiply(a, b), out, "numpy.dot")
    result = context.products(dot_of, left, right, fmt)
    return written(Array.of_values(result, fmt, context), out, "numpy.dot")


@_defines(np.vdot)
def _vdot(a: Any, b: Any) -> Any:
    return _dot(_numpy.ravel(a), _numpy.ravel(b))


@_defines(np.inner)
def _inner(a: Any, b: Any) -> Any:
    return _dot(a, _numpy.swapaxes(b, -1, -2) if np.ndim(b) > 1 else b)


@_defines(np.outer)
def _outer(a: Any, b: Any, out: Any = None) -> Any:
    return written(_numpy.multiply(_numpy.ravel(a)[:, np.newaxis], _numpy.ravel(b)[np.newaxis, :]), out, "numpy.outer")


@_defines(np.trace)
def _trace(a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return _numpy.sum(_numpy.diagonal(a, offset, axis1, axis2), axis=-1)


@_defines(np.linalg.norm)
def _norm(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    name = "numpy.linalg.norm"
    axes = axis
    if axis is None:
        axes = tuple(range(x.ndim))
    elif not isinstance(axis, tuple):
        axes = (axis,)
    vectors = len(axes) == 1
    undefined = TypeError(
        f"{name} is called with ord={shown(ord)} for {len(axes)} axes; allowed for arrays with a format: None, 1 and "
        "inf, 2 for vectors and 'fro' for matrices"
    )
    if not (ord is None or isinstance(ord, (int, float, str))):
        raise undefined
    if ord is None or (ord == 2 and vectors) or (ord == "fro" and len(axes) == 2):
        return _numpy.sqrt(_numpy.sum(_numpy.square(x), axis=axes, keepdims=keepdims))
    magnitudes = _numpy.absolute(x)
    if vectors and ord == 1:
        return _numpy.sum(magnitudes, axis=axes, keepdims=keepdims)
    if vectors and ord == math.inf:
        return _largest(magnitudes, axes, keepdims)
    if len(axes) == 2 and ord in (1, math.inf):
        summed, searched = axes if ord == 1 else axes[::-1]
        result = _largest(_numpy.sum(magnitudes, axis=summed, keepdims=True), searched, True)
        return result if keepdims else _numpy.squeeze(result, axis=axes)
    raise undefined


def _largest(magnitudes: Array, axis: Any, keepdims: bool) -> Array:
    """Return the largest magnitude, that of no elements being 0, as in NumPy's norms."""
    values = np.max(magnitudes.values, axis=axis, keepdims=keepdims, initial=0)
    return Array.of_values(round_to(values, magnitudes.format), magnitudes.format, magnitudes.context)


# Choices among values.


@_defines(np.max)
def _max(a: Array, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return written(_numpy.maximum.reduce(a, axis=axis, keepdims=bool(keepdims)), out, "numpy.max")


@_defines(np.min)
def _min(a: Array, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return written(_numpy.minimum.reduce(a, axis=axis, keepdims=bool(keepdims)), out, "numpy.min")


@_defines(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None) -> Any:
    result = a
    if a_min is not None:
        result = _numpy.maximum(result, a_min)
    if a_max is not None:
        result = _numpy.minimum(result, a_max)
    return written(result, out, "numpy.clip")


@_defines(np.where)
def _where(condition: Any, *choices: Any) -> Any:
    truth = np.asarray(_without_format(condition, "numpy.where"), dtype=bool)
    if not choices:
        return np.nonzero(truth)
    if not any(isinstance(one, Array) for one in choices):
        return np.where(truth, *choices)
    own = own_array("numpy.where", choices)
    values = (values_for(one, own.format, own.context, "numpy.where") for one in choices)
    return Array.of_values(np.where(truth, *values), own.format, own.context)


@_defines(np.full_like)
def _full_like(a: Array, fill_value: Any, shape: Any = None) -> Any:
    result = Array.of_values(np.empty_like(a.values, shape=shape), a.format, a.context)
    result[...] = fill_value
    return result


@_defines(np.copyto)
def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, Array):
        raise TypeError(
            "dst of numpy.copyto is no array with a format; allowed: one (np.asarray(src) gives the values)"
        )
    np.copyto(dst._values, values_for(src, dst.format, dst.context, "numpy.copyto"), where=where)


@_defines(np.fill_diagonal)
def _fill_diagonal(a: Array, val: Any, wrap: bool = False) -> None:
    np.fill_diagonal(a._values, values_for(val, a.format, a.context, "numpy.fill_diagonal"), wrap)


@_defines(np.array2string)
def _array2string(a: Array, *args: Any, **kwargs: Any) -> str:
    return str(a)


@_defines(np.array_repr)
def _array_repr(arr: Array, *args: Any, **kwargs: Any) -> str:
    return repr(arr)


@_defines(np.array_str)
def _array_str(a: Array, *args: Any, **kwargs: Any) -> str:
    return str(a)
