"""Results of calls, compared bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import lpsim as lp
from fuzzing.call import Call
from lpsim.formats import NAMED_FORMATS

__all__ = ["alias", "difference", "internally_overlapping", "plain"]

#: Largest array that is copied.
MOST = 1 << 12

_SMALL_INTEGERS = ("int2", "uint2", "int4", "uint4")


def plain(value: Any, wide: bool) -> Any:
    """Return an array of numbers as a contiguous one in native byte order, as float64 if ``wide``; else as it is."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray) or value.size > MOST:
        return value
    dtype = value.dtype
    if dtype.kind not in "biuf" and dtype.name not in NAMED_FORMATS and dtype.name not in _SMALL_INTEGERS:
        return value
    array = np.array(value, dtype.newbyteorder("=") if dtype.isbuiltin != 2 else dtype, order="C", subok=False)
    if wide and dtype.itemsize <= 8:
        with np.errstate(all="ignore"):
            widened = array.astype(np.float64)
        if dtype.itemsize < 8 or dtype.kind == "f" or not array.size or np.abs(widened).max() < 2.0**53:
            return widened
    return array


def leaves(result: Any) -> list[Any]:
    """Return the arrays of a result, in an order of their own."""
    if isinstance(result, lp.Quantized):
        return list(result.parts.values())
    if isinstance(result, tuple):
        return [leaf for one in result for leaf in leaves(one)]
    return [np.asarray(result)] if isinstance(result, (np.ndarray, np.generic)) else []


def difference(result: Any, expected: Any) -> str | None:
    """Return how a result differs from what it is to be, or None."""
    if isinstance(expected, Exception):
        return f"plain copies of the arrays gave {type(expected).__name__}: {expected!s:.200}"
    got, wanted = leaves(result), leaves(expected)
    if len(got) != len(wanted):
        return f"{len(got)} arrays, of plain copies {len(wanted)}"
    for one, other in zip(got, wanted, strict=True):
        if one.shape != other.shape and not isinstance(result, np.matrix):
            return f"shape {one.shape}, of plain copies {other.shape}"
        if not _same(one.reshape(other.shape), other):
            return f"other bits than of plain copies: {one!s:.150} instead of {other!s:.150}"
    return None


def _same(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype:
        if other.dtype.kind in "ui":
            return bool((one == other).all())
        with np.errstate(all="ignore"):
            one, other = one.astype(np.float64), other.astype(np.float64)
    if one.dtype.kind != "f":
        return bool(one.tobytes() == other.tobytes())
    nan = np.isnan(other)
    if not np.array_equal(nan, np.isnan(one)):
        return False
    return bool(one[~nan].tobytes() == other[~nan].tobytes())


def internally_overlapping(out: Any) -> bool:
    """Return whether elements of an array share memory, so that not all results can be there."""
    if isinstance(out, tuple) and out:
        out = out[0]
    if not isinstance(out, np.ndarray) or not 1 < out.size <= MOST:
        return isinstance(out, np.ndarray) and out.size > MOST
    places = np.zeros(out.shape, np.int64)
    for axis, (length, stride) in enumerate(zip(out.shape, out.strides, strict=True)):
        places += (np.arange(length) * stride).reshape((-1,) + (1,) * (out.ndim - axis - 1))
    return bool(np.diff(np.sort(places, axis=None)).min() < out.itemsize)


def alias(result: Any, call: Call) -> bool:
    """Return whether a result shares memory with an argument."""
    given = [one for one in (*call.args, *call.kwargs.values()) if isinstance(one, np.ndarray) and one.size <= MOST]
    return any(math.prod(leaf.shape) > 0 and np.shares_memory(leaf, one) for leaf in leaves(result) for one in given)
