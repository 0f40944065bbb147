"""Checks of what users pass in: arrays of real numbers, outputs, seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.checks import shown
from lpsim.formats import NAMED_FORMATS, Format
from lpsim.memory import PIECE, check_size, pieces
from lpsim.rounding import Rounding

__all__ = [
    "MOST_AXES",
    "RealArray",
    "as_array",
    "as_float64",
    "as_integer_pair",
    "as_random_bits",
    "as_real",
    "as_real_float",
    "as_seed",
    "batch_shape",
    "broadcast_shape",
    "check_inner",
    "check_out",
    "check_value_out",
    "has_wide_integers",
    "working_dtype",
]

RealArray = npt.NDArray[Any]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

_SMALL_INTEGERS = ("int4", "uint4", "int2", "uint2")
_EXACT_INTEGER = 1 << 53

#: Elements from which on an array may be a view of fewer, that is too large for memory.
_LARGE = 1 << 26

#: Axes that arrays may have, and that `numpy.broadcast_shapes` takes.
MOST_AXES = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0b1" else 32
_FEW_AXES = 32


def _listed_type(value: Any) -> str:
    return f"an array of dtype {value.dtype}" if isinstance(value, np.ndarray) else f"{shown(value)}"


def as_array(value: Any, argument: str) -> RealArray:
    """Return an array-like as an array of any dtype; refuse what memory can't hold, and masks, which would be lost."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{argument} is a masked array, whose mask would be lost; allowed: arrays without a mask")
    try:
        array: RealArray = np.asanyarray(value)
    except ValueError as error:
        raise ValueError(f"{argument} is {shown(value)}; allowed: a real array of one shape ({error})") from None
    if array.size > _LARGE:
        check_size(argument, array.shape)
    return array


def as_real(value: Any, argument: str, *, lazy: bool = False) -> RealArray:
    """Return an array-like as an array of float32, float64, int64 or uint64 of the same values.

    Integers come back as int64 or uint64 only if some may not be binary64 numbers. If ``lazy``, a large array comes
    back as it is, since a copy of it takes memory: `working_dtype` says to what its elements may be cast.

    Raises
    ------
    TypeError
        If it does not hold real numbers of a supported dtype.
    """
    array = as_array(value, argument)
    dtype = array.dtype
    if dtype.char in "fd":  # float32 and float64; names take long
        return array
    is_integer = dtype.kind in "bui"
    if not (is_integer or dtype.name == "float16" or dtype.name in NAMED_FORMATS or dtype.name in _SMALL_INTEGERS):
        raise TypeError(
            f"{argument} is {_listed_type(array if isinstance(value, np.ndarray) else value)}; allowed: booleans, "
            "integers of up to 64 bits, float16, float32, float64 and the dtypes of ml_dtypes"
        )
    if lazy and array.size > PIECE:
        return array
    if has_wide_integers(array):
        return array
    with np.errstate(invalid="ignore"):  # casts of signalling NaNs warn
        return array.astype(working_dtype(dtype))


def has_wide_integers(array: RealArray) -> bool:
    """Return whether these are integers that may not be binary64 numbers."""
    if array.dtype.kind not in "ui" or array.dtype.itemsize < 8 or array.size == 0:
        return False
    return bool(array.max() > _EXACT_INTEGER or (array.dtype.kind == "i" and array.min() < -_EXACT_INTEGER))


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that kernels take elements of a real dtype in: float32 if all are binary32 numbers."""
    return _FLOAT32 if dtype.char == "f" or dtype.itemsize <= 2 else _FLOAT64


def as_integer_pair(array: RealArray) -> tuple[RealArray, RealArray]:
    """Return two float64 arrays whose exact sum is a 64-bit integer array."""
    low = array & np.array(0xFFFFFFFF, dtype=array.dtype)
    return (array - low).astype(np.float64), low.astype(np.float64)


def as_real_float(value: Any, argument: str, *, lazy: bool = False) -> RealArray:
    """Return an array-like as float32 or float64; refuse integers that are not binary64 numbers.

    If ``lazy``, a large array of other dtypes comes back as it is, as from `as_real`.
    """
    array = as_real(value, argument, lazy=lazy)
    if has_wide_integers(array):
        for piece in pieces(array):
            high, low = as_integer_pair(piece)
            wrong = low - (high + low - high) != 0
            if wrong.any():
                raise ValueError(
                    f"{argument} holds {piece[wrong][0]}, which float64 does not represent; allowed: integers that "
                    "float64 represents (round them with lpsim.round first)"
                )
        return array if lazy and array.size > PIECE else array.astype(np.float64)
    return array


def as_float64(value: Any, argument: str) -> npt.NDArray[np.float64]:
    """Return an array-like as a float64 array of the same values; refuse integers that are not binary64 numbers."""
    with np.errstate(invalid="ignore"):  # casts of signalling NaNs warn
        return np.asarray(as_real_float(value, argument), np.float64)


def broadcast_shape(operands: dict[str, RealArray]) -> tuple[int, ...]:
    """Return the common shape of the named operands."""
    given = [array.shape for array in operands.values()]
    try:
        shape = _common_shape(given)
        if math.prod(shape) > _LARGE:
            check_size("the result", shape)
        return shape
    except ValueError:
        shapes = ", ".join(f"{name} has shape {array.shape}" for name, array in operands.items())
        raise ValueError(f"{shapes}; allowed: shapes that broadcast together") from None


def _common_shape(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape to which shapes broadcast, of any number of axes."""
    ndim = max(map(len, shapes))
    if len(set(shapes)) == 1:
        return shapes[0]
    if ndim <= _FEW_AXES:
        return np.broadcast_shapes(*shapes)
    columns = zip(*((1,) * (ndim - len(shape)) + shape for shape in shapes), strict=True)
    shape = []
    for sizes in columns:
        others = set(sizes) - {1}
        if len(others) > 1:
            raise ValueError("shapes do not broadcast")
        shape.append(others.pop() if others else 1)
    return tuple(shape)


def check_inner(a: RealArray, b: RealArray) -> None:
    """Refuse factors that have no axis, or not as many columns of a as rows of b."""
    for name, array in (("a", a), ("b", b)):
        if array.ndim == 0:
            raise ValueError(f"{name} is 0-d; allowed: at least one axis")
    columns, rows = a.shape[-1], b.shape[-min(b.ndim, 2)]
    if columns != rows:
        raise ValueError(
            f"a has shape {a.shape} and b has shape {b.shape}; allowed: as many columns of a "
            f"({columns}) as rows of b ({rows})"
        )


def batch_shape(a: RealArray, b: RealArray) -> tuple[int, ...]:
    """Return the common shape of the leading axes of two factors."""
    try:
        return _common_shape([a.shape[:-2], b.shape[:-2]])
    except ValueError:
        raise ValueError(
            f"a has shape {a.shape} and b has shape {b.shape}; allowed: leading axes that broadcast together"
        ) from None


def _holds(dtype: np.dtype[Any], fmt: Format) -> bool:
    """Return whether a NumPy floating-point dtype holds every value of a format."""
    if dtype == np.float64:
        return True
    if dtype.name == "float32":
        return bool(fmt.carrier == np.float32)
    if dtype.name == "float16":
        return fmt.mantissa_bits <= 10 and fmt.emax <= 15 and fmt.quantum_exponent >= -24
    return False


def check_out(
    out: Any, shape: tuple[int, ...], allowed: str, holds: Callable[[np.dtype[Any]], bool], argument: str = "out"
) -> RealArray:
    """Return ``out`` if results of this shape can be written to it.

    Parameters
    ----------
    out : object
        What the user passed.
    shape : tuple of int
        The result's shape.
    allowed : str
        The dtypes that ``holds`` accepts, for the message.
    holds : callable
        Whether a dtype holds the results.
    argument : str
        The argument's name, for the message.
    """
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{argument} is {shown(out)}; allowed: a NumPy array or None")
    if not holds(out.dtype):
        raise TypeError(f"{argument} has dtype {out.dtype}; allowed: {allowed}")
    if out.shape != shape:
        raise ValueError(f"{argument} has shape {out.shape}; allowed: {shape}, the shape of the result")
    if not out.flags.writeable:
        raise ValueError(f"{argument} is read-only; allowed: an array that can be written to")
    return out


def check_value_out(out: Any, shape: tuple[int, ...], fmt: Format) -> RealArray:
    """Return ``out`` if values of a format and of this shape can be written to it."""
    names = [name for name in ("float16", "float32", "float64") if _holds(np.dtype(name), fmt)]
    allowed = f"{', '.join(names)}, which hold every value of {fmt}"
    return check_out(out, shape, allowed, lambda dtype: _holds(dtype, fmt))


def as_seed(seed: Any, rounding: Rounding, *, alternative: str = "") -> int:
    """Return the seed of the random bits, checked; 0 for modes that use none.

    Raises
    ------
    ValueError
        If a stochastic mode has none: results are reproducible always, so no seed is made up.
    """
    if seed is None:
        if not rounding.is_stochastic:
            return 0
        raise ValueError(
            f"seed is None, but rounding={rounding.name.lower()!r} needs random bits; allowed: an integer from 0 to "
            f"2**64 - 1{alternative}"
        )
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed is {shown(seed)}; allowed: an integer from 0 to 2**64 - 1, or None")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed is {shown(int(seed))}; allowed: 0 to 2**64 - 1")
    return int(seed)


def as_random_bits(random_bits: Any) -> int:
    """Return a number of random bits, checked to be an integer."""
    if isinstance(random_bits, (bool, np.bool_)) or not isinstance(random_bits, (int, np.integer)):
        raise TypeError(f"random_bits is {shown(random_bits)}; allowed: an integer")
    return int(random_bits)
