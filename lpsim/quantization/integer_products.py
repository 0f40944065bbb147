"""Exact products of integer matrices, accumulated in int32 as integer matrix units do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_array
from lpsim.checks import shown
from lpsim.memory import check_size

__all__ = ["integer_matmul"]

#: The integers whose sums binary32 holds exactly, and those of an int32 accumulator.
_EXACT = 1 << 24
_LARGEST = (1 << 31) - 1

#: Rows of a, and columns of it at most, that are converted together.
_ROWS = 512
_COLUMNS = 4096


def integer_matmul(a: npt.ArrayLike, b: npt.ArrayLike, a_zero: int = 0, b_zero: int = 0) -> npt.NDArray[np.int32]:
    """Return the exact product of two integer matrices, less their zero points.

    Parameters
    ----------
    a : array_like of int, shape (m, k)
        Integers of up to 16 bits.
    b : array_like of int, shape (k, n)
        Likewise.
    a_zero, b_zero : int
        Zero points: subtracted from each element before the product.

    Returns
    -------
    ndarray of int32, shape (m, n)

    Raises
    ------
    OverflowError
        If a sum might not fit into int32: k times the largest magnitudes of a and b is beyond 2**31 - 1.
    ValueError, TypeError
        If shapes do not fit, or the arrays do not hold integers of up to 16 bits.

    Notes
    -----
    Sums are taken in binary32 by BLAS, over so few terms at a time that each is an integer below 2**24 in magnitude:
    exact whatever the order. INT8 products of up to 133,144 terms fit into int32.

    Examples
    --------
    >>> from lpsim.quantization import integer_matmul
    >>> integer_matmul([[100, -128]], [[127], [-128]]).tolist()
    [[29084]]
    """
    left, right = _as_integers(a, "a", a_zero), _as_integers(b, "b", b_zero)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise ValueError(f"a has shape {left.shape} and b has shape {right.shape}; allowed: (m, k) and (k, n)")
    k = left.shape[1]
    check_size("the result", (left.shape[0], right.shape[1]))
    bound = _magnitude(left) * _magnitude(right)
    if k * bound > _LARGEST:
        raise OverflowError(
            f"k is {k} and the largest products are {bound}, so that sums may exceed int32; "
            f"allowed: k of at most {_LARGEST // bound}"
        )
    out = np.zeros((left.shape[0], right.shape[1]), np.int32)
    step = min(max(_EXACT // max(bound, 1), 1), _COLUMNS)
    exact: Any = np.float32 if bound <= _EXACT else np.float64
    for start in range(0, k if out.size else 0, step):
        factor = right[start : start + step].astype(exact)
        for row in range(0, left.shape[0], _ROWS):
            part = left[row : row + _ROWS, start : start + step].astype(exact)
            out[row : row + _ROWS] += (part @ factor).astype(np.int32)
    return out


def _magnitude(array: npt.NDArray[Any]) -> int:
    return int(max(-int(array.min(initial=0)), int(array.max(initial=0))))


def _as_integers(value: npt.ArrayLike, argument: str, zero: int) -> npt.NDArray[Any]:
    array = as_array(value, argument).view(np.ndarray)
    if array.dtype.kind in "ui" and array.dtype.itemsize > 2 and not isinstance(value, np.ndarray):
        narrow = array.astype(np.int16)
        array = narrow if np.array_equal(narrow, array) else array
    if array.dtype.kind not in "ui" or array.dtype.itemsize > 2:
        raise TypeError(f"{argument} has dtype {array.dtype}; allowed: integers of 8 or 16 bits")
    if isinstance(zero, bool) or not isinstance(zero, (int, np.integer)) or not -(1 << 16) < zero < 1 << 16:
        raise ValueError(f"{argument}_zero is {shown(zero)}; allowed: an integer of up to 16 bits")
    return array if zero == 0 else array.astype(np.int32) - np.int32(zero)
