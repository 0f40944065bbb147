"""The array itself: values of a format, with NumPy's operators and methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

from lpsim.arguments import RealArray, as_array
from lpsim.arrays.context import Context
from lpsim.arrays.operands import values_for
from lpsim.checks import shown
from lpsim.codec import decode, encode
from lpsim.codec import round as round_to
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit

__all__ = ["Array", "array"]

#: NumPy, whose stubs know its own arrays alone.
_numpy: Any = np


class Array(NDArrayOperatorsMixin):
    """An array of values of a format, whose arithmetic is rounded to that format.

    It follows NumPy's protocols for duck arrays (NEP 13 and NEP 18): operators, ufuncs and functions of NumPy work on
    it, and give arrays of the same format and context. Each operation's exact result is rounded once. A function of
    NumPy that is not defined for it raises a TypeError that names it.

    Parameters
    ----------
    x : array_like
        Real numbers, rounded to the format as the context says.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.
    context : Context, optional
        How results are rounded. Default: to nearest, ties to even, overflow as in IEEE 754.

    Attributes
    ----------
    format : Format
        The format.
    context : Context
        How results are rounded.

    Raises
    ------
    ValueError, TypeError
        If an argument is no format, context or array of real numbers.

    Notes
    -----
    Mixed operands:

    - arrays of two formats, or of two contexts, raise a TypeError: convert one by ``astype`` or ``with_context``;
    - Python's numbers are literals of the format: they are rounded to it, ties to even, whatever the context's mode,
      as a compiler rounds constants (and as NumPy's own arrays take Python's numbers, NEP 50);
    - NumPy's arrays and scalars are taken if each of their values is a value of the format, and raise a TypeError
      otherwise;
    - comparisons take all numbers as they are, and are exact.

    Sums, means and cumulative sums add in the order of the index, from +0, every sum rounded (`lpsim.sum` has other
    orders); the mean is that sum divided by the exact count. Products of matrices and vectors round every product
    and every sum, k ascending, unless the context has a matrix unit. A norm is the root of the sum of the squares,
    each of them rounded.

    Examples
    --------
    >>> import numpy as np
    >>> import lpsim as lp
    >>> x = lp.array([1, 2, 3], "e4m3fn")
    >>> x / 3
    Array([0.34, 0.7, 1.0], float8_e4m3fn)
    >>> np.sqrt(x) @ x
    Array(9.0, float8_e4m3fn)
    """

    format: Format
    context: Context
    _values: RealArray

    #: NumPy's scalars and arrays leave operators to this class.
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]  # as arrays have none

    def __init__(self, x: npt.ArrayLike, fmt: FormatLike, context: Context | None = None) -> None:
        self.format = as_format(fmt)
        self.context = _as_context(context)
        source: Any = x.values if isinstance(x, Array) else x
        rounded = np.asarray(round_to(source, self.format, **self.context.how()))
        self._values = np.array(rounded) if np.may_share_memory(rounded, np.asarray(source)) else rounded

    @classmethod
    def of_values(cls, values: Any, fmt: Format, context: Context) -> Array:
        """Return an array that holds, without a copy, what are values of the format already."""
        result = cls.__new__(cls)
        result.format, result.context, result._values = fmt, context, np.asarray(values)
        return result

    @classmethod
    def from_codes(cls, codes: npt.ArrayLike, fmt: FormatLike, context: Context | None = None) -> Array:
        """Return the array of the values with the given codes.

        Examples
        --------
        >>> import lpsim as lp
        >>> lp.Array.from_codes([0x38, 0x7E], "e4m3fn")
        Array([1.0, 448.0], float8_e4m3fn)
        """
        return cls.of_values(decode(codes, fmt), as_format(fmt), _as_context(context))

    # What it is.

    @property
    def values(self) -> RealArray:
        """The values in their carrier, float32 or float64: a read-only view."""
        view: RealArray = self._values.view()
        view.flags.writeable = False
        return view

    @property
    def codes(self) -> npt.NDArray[Any]:
        """The codes of the values: unsigned integers."""
        codes: npt.NDArray[Any] = np.asarray(encode(self._values, self.format))
        return codes

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the carrier."""
        return self._values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._values.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._values.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._values.size

    @property
    def T(self) -> Array:  # NumPy's name
        """The array with its axes reversed: a view."""
        return self._like(self._values.T)

    def _like(self, values: Any) -> Array:
        return self.of_values(values, self.format, self.context)

    def __repr__(self) -> str:
        from lpsim.arrays.printing import as_text

        context = "" if self.context == Context() else f", {self.context}"
        return f"Array({as_text(self._values, self.format, 'Array(', separator=', ')}, {self.format}{context})"

    def __str__(self) -> str:
        from lpsim.arrays.printing import as_text

        return as_text(self._values, self.format)

    def __format__(self, specification: str) -> str:
        if not specification:
            return str(self)
        return format(float(self), specification)

    # NumPy's protocols.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> RealArray:
        converted: RealArray = self.values if dtype is None else self.values.astype(dtype, copy=False)
        if copy is False and not np.may_share_memory(converted, self._values):
            raise ValueError(f"copy is False, but values in {self._values.dtype} become {dtype}; allowed: True or None")
        return np.array(converted, copy=True) if copy else converted

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from lpsim.arrays.ufuncs import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        from lpsim.arrays.functions import apply_function

        return apply_function(function, args, kwargs)

    # Elements.

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: object) -> bool:
        return bool(np.any(self == value))

    def __getitem__(self, index: Any) -> Array:
        return self._like(self._values[_plain_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[_plain_index(index)] = values_for(value, self.format, self.context, "an assignment")

    def __bool__(self) -> bool:
        return bool(self._values)

    def __float__(self) -> float:
        return float(self._one("float"))

    def __int__(self) -> int:
        value = self._one("int")
        if not math.isfinite(value):
            error = ValueError if math.isnan(value) else OverflowError  # as Python's floats
            raise error(f"int is called with an array of {value}; allowed: finite values")
        return int(value)

    def _one(self, kind: str) -> Any:
        if self.size != 1:
            raise TypeError(f"{kind} is called with an array of shape {self.shape}; allowed: arrays of one element")
        return self._values.item()

    def item(self, *index: SupportsIndex) -> float:
        """Return an element as a Python float."""
        return float(self._values.item(*index))

    def tolist(self) -> Any:
        """Return the values as Python's floats in nested lists."""
        return self._values.tolist()

    # Conversion.

    def astype(self, fmt: FormatLike, context: Context | None = None) -> Array:
        """Return the array in another format, each value rounded once.

        Parameters
        ----------
        fmt : Format, str or dtype
            The format, as `lpsim.format` reads it.
        context : Context, optional
            How this and later operations round. Default: as those of this array.
        """
        return Array(self, fmt, self.context if context is None else context)

    def with_context(self, context: Context) -> Array:
        """Return the array with another context: a view of the same values."""
        return self.of_values(self._values, self.format, _as_context(context))

    def copy(self, order: Any = "C") -> Array:
        """Return a copy."""
        return self._like(self._values.copy(order=order))

    def fill(self, value: Any) -> None:
        """Set all elements to a value."""
        self[...] = value

    # Methods that are NumPy's functions.

    def sum(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the sum over axes, as `numpy.sum`."""
        return _numpy.sum(self, axis=axis, out=out, keepdims=keepdims)

    def mean(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the mean over axes, as `numpy.mean`."""
        return _numpy.mean(self, axis=axis, out=out, keepdims=keepdims)

    def prod(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the product over axes, as `numpy.prod`."""
        return _numpy.prod(self, axis=axis, out=out, keepdims=keepdims)

    def cumsum(self, axis: Any = None) -> Any:
        """Return the cumulative sum, as `numpy.cumsum`."""
        return _numpy.cumsum(self, axis=axis)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the largest value, as `numpy.max`."""
        return _numpy.max(self, axis=axis, out=out, keepdims=keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the smallest value, as `numpy.min`."""
        return _numpy.min(self, axis=axis, out=out, keepdims=keepdims)

    def clip(self, min: Any = None, max: Any = None) -> Any:
        """Return the values limited to a range, as `numpy.clip`."""
        return _numpy.clip(self, min, max)

    def dot(self, other: Any) -> Any:
        """Return the product with another array, as `numpy.dot`."""
        return _numpy.dot(self, other)

    def argmax(self, axis: Any = None) -> Any:
        """Return where the largest value is, as `numpy.argmax`."""
        return self._values.argmax(axis)

    def argmin(self, axis: Any = None) -> Any:
        """Return where the smallest value is, as `numpy.argmin`."""
        return self._values.argmin(axis)

    def any(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return whether any element is not zero, as `numpy.any`."""
        return self._values.any(axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return whether all elements are not zero, as `numpy.all`."""
        return self._values.all(axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any, order: Any = "C") -> Array:
        """Return the elements in another shape: a view where NumPy's is one."""
        return self._like(self._values.reshape(*shape, order=order))

    def ravel(self, order: Any = "C") -> Array:
        """Return the elements along one axis: a view where NumPy's is one."""
        return self._like(self._values.ravel(order))

    def flatten(self, order: Any = "C") -> Array:
        """Return a copy of the elements along one axis."""
        return self._like(self._values.flatten(order))

    def transpose(self, *axes: Any) -> Array:
        """Return the array with its axes permuted: a view."""
        return self._like(self._values.transpose(*axes))

    def swapaxes(self, first: int, second: int) -> Array:
        """Return the array with two axes interchanged: a view."""
        return self._like(self._values.swapaxes(first, second))

    def squeeze(self, axis: Any = None) -> Array:
        """Return the array without its axes of length 1: a view."""
        return self._like(self._values.squeeze(axis))

    def take(self, indices: Any, axis: Any = None) -> Array:
        """Return elements at indices, as `numpy.take`."""
        return self._like(self._values.take(_as_indices(indices), axis))


def array(
    x: npt.ArrayLike,
    fmt: FormatLike,
    *,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    unit: MatrixUnit | str | None = None,
) -> Array:
    """Return an array that carries its format, with a context of its own.

    Parameters
    ----------
    x : array_like
        Real numbers, rounded to the format in the stated mode.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.
    rounding, overflow, seed, random_bits, unit
        How this and the array's operations round, as for `lpsim.Context`. Arrays that are to meet in operations in a
        stochastic mode need one context: make it once, and the arrays by ``lpsim.Array(x, fmt, context)``.

    Returns
    -------
    Array
        The array.

    Raises
    ------
    ValueError, TypeError
        If an argument is no format or mode, ``x`` holds no real numbers, or a stochastic mode has no seed.

    Examples
    --------
    >>> import lpsim as lp
    >>> x = lp.array([0.1, 100], "half", rounding="toward_zero")
    >>> x * x
    Array([0.009995, 10000.0], float16, Context(rounding='toward_zero'))
    """
    return Array(x, fmt, Context(rounding, overflow, seed=seed, random_bits=random_bits, unit=unit))


def _as_context(context: Any) -> Context:
    if context is None:
        return Context()
    if not isinstance(context, Context):
        raise TypeError(f"context is {shown(context)}; allowed: a lpsim.Context or None")
    return context


def _as_indices(indices: Any) -> Any:
    """Return indices, checked to be integers: NumPy warns of NaNs where it refuses floats."""
    array = as_array(_plain_index(indices), "indices")
    if array.size and array.dtype.kind not in "iub":
        raise TypeError(f"indices has dtype {array.dtype}; allowed: integers")
    return indices if array.size else array.astype(np.intp)


def _plain_index(index: Any) -> Any:
    """Return an index without arrays of formats, whose values are no indices."""
    for one in index if isinstance(index, tuple) else (index,):
        if isinstance(one, Array):
            raise IndexError(f"an index is an array in {one.format}; allowed: integers, slices and arrays of them")
    return index
