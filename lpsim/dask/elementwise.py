"""Elementwise functions on dask arrays."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np

from lpsim.arguments import RealArray, broadcast_shape
from lpsim.core.random import stream_key, word_at
from lpsim.dask.graph import Operand, as_dask, refuse_arrays, unified
from lpsim.rounding import as_rounding

__all__ = ["OPERANDS", "elementwise", "random_chunk", "random_integers"]

#: The arrays that each function takes.
OPERANDS = {
    "abs": ("x",),
    "add": ("x", "y"),
    "decode": ("codes",),
    "div": ("x", "y"),
    "encode": ("x",),
    "fma": ("x", "y", "z"),
    "mul": ("x", "y"),
    "neg": ("x",),
    "round": ("x",),
    "sqrt": ("x",),
    "sub": ("x", "y"),
}


def elementwise(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Return a function's results for dask arrays among its arguments: a dask array, with ``flags`` two.

    Parameters
    ----------
    function : callable
        One of `OPERANDS`.
    given : dict
        Its arguments by name.
    """
    name = function.__name__
    options = dict(given)
    read = np.asarray if name == "decode" else None
    arrays = {argument: as_dask(options.pop(argument), argument, read) for argument in OPERANDS[name]}
    if options.get("bits") is not None:
        arrays["bits"] = as_dask(options.pop("bits"), "bits", np.asarray)
    refuse_arrays(options)
    # The function itself tells what is wrong with arguments, now and not in a worker, and the dtype of its results.
    empty = {argument: np.empty(0, array.dtype) for argument, array in arrays.items()}
    sample = function(**empty, **options)
    shape = broadcast_shape(arrays)
    axes = tuple(range(len(shape)))
    operands = [Operand(array, axes[len(shape) - array.ndim :]) for array in arrays.values()]
    chunks, operands = unified(operands)
    names = [*arrays]
    if "bits" not in arrays and name != "decode" and as_rounding(options.get("rounding", "ties_to_even")).is_stochastic:
        words = _random_array(int(options.pop("seed")), options.get("random_bits", 32), shape, chunks)
        names, operands = [*names, "bits"], [*operands, Operand(words, axes)]
    on_chunks = functools.partial(_on_chunks, function, tuple(names), options)
    inputs = [part for array, labels in operands for part in (array, labels)]
    result = functools.partial(da.blockwise, on_chunks, axes, *inputs, align_arrays=False)
    if not options.get("flags"):
        return result(token=name, meta=np.empty((0,) * len(shape), sample.dtype))
    both = result(token=f"{name}-with-flags", meta=np.empty((0,) * len(shape), object))
    return tuple(
        da.blockwise(operator.itemgetter(i), axes, both, axes, token=name, meta=np.empty((0,) * len(shape), one.dtype))
        for i, one in enumerate(sample)
    )


def _on_chunks(function: Callable[..., Any], names: tuple[str, ...], options: dict[str, Any], *chunks: Any) -> Any:
    result = function(**dict(zip(names, chunks, strict=True)), **options)
    return tuple(map(np.asarray, result)) if isinstance(result, tuple) else np.asarray(result)


def _random_array(seed: int, random_bits: int, shape: tuple[int, ...], chunks: dict[Any, tuple[int, ...]]) -> Any:
    """Return the random integers of the elements of an array of a shape as a dask array."""
    if not shape:
        return da.from_array(random_integers(seed, random_bits, (), ()), chunks=())
    return da.map_blocks(
        random_chunk,
        seed=seed,
        random_bits=random_bits,
        shape=shape,
        chunks=tuple(chunks[axis] for axis in range(len(shape))),
        meta=np.empty((0,) * len(shape), np.int64),
    )


def random_chunk(seed: int, random_bits: int, shape: tuple[int, ...], block_info: Any = None) -> RealArray:
    """Return the chunk of `random_integers` that dask's ``block_info`` names."""
    return random_integers(seed, random_bits, shape, block_info[None]["array-location"])


def random_integers(seed: int, random_bits: int, shape: tuple[int, ...], part: Any) -> RealArray:
    """Return the random integers that a stochastic mode compares with in a part of an array.

    Parameters
    ----------
    seed : int
        The seed, 0 to ``2**64 - 1``.
    random_bits : int
        How many bits they have.
    shape : tuple of int
        Shape of the whole array.
    part : sequence of (int, int)
        Where the part starts and stops along each axis.

    Returns
    -------
    ndarray of int64

    Examples
    --------
    >>> from lpsim.dask.elementwise import random_integers
    >>> whole = random_integers(7, 8, (2, 3), [(0, 2), (0, 3)])
    >>> random_integers(7, 8, (2, 3), [(1, 2), (1, 3)]).tolist() == whole[1:2, 1:3].tolist()
    True
    """
    index = np.zeros((1,) * len(shape), np.int64)
    for axis, (start, stop) in enumerate(part):
        # No product of sizes is taken where one of them is 0: then no element is asked for.
        places = np.arange(start, stop, dtype=np.int64).reshape(-1, *[1] * (len(shape) - axis - 1))
        index = index * shape[axis] + places
    with np.errstate(over="ignore"):
        words = word_at(stream_key(np.uint64(seed), 0), index)
    return np.asarray(words >> np.uint64(64 - random_bits)).astype(np.int64)
