"""Dask arrays by labelled axes: common chunks, and graphs of sums in which one link continues another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from lpsim.arguments import as_real

try:
    from dask.task_spec import Task, TaskRef
except ImportError:  # before dask 2026
    from dask._task_spec import Task, TaskRef

__all__ = ["Operand", "as_dask", "chained", "in_chunks", "refuse_arrays", "unified"]

Label = Any  # hashable
Chunks = tuple[int, ...]


class Operand(NamedTuple):
    """A dask array with a label for each axis: axes with one label go together, as letters of an einsum do."""

    array: Any
    labels: tuple[Label, ...]


def as_dask(value: Any, argument: str, read: Callable[[Any], Any] | None = None) -> Any:
    """Return an operand as a dask array of known chunks; other arrays than dask's are one chunk.

    Parameters
    ----------
    value : array_like
        The operand.
    argument : str
        Its name, for messages.
    read : callable, optional
        Makes a NumPy array of an array-like. Default: one of real numbers.

    Raises
    ------
    ValueError
        If the array's chunks are of unknown size.
    TypeError
        If it does not hold real numbers.
    """
    if not isinstance(value, da.Array):
        array = as_real(value, argument) if read is None else read(value)
        return da.from_array(array.view(np.ndarray), chunks=-1)
    if any(math.isnan(size) for size in value.shape):
        raise ValueError(
            f"{argument} is a dask array with chunks of unknown size, shape {value.shape}; allowed: chunks of known "
            f"size ({argument}.compute_chunk_sizes() finds them)"
        )
    if read is None:
        as_real(np.empty(0, value.dtype), argument)
    return value


def refuse_arrays(given: Mapping[str, Any]) -> None:
    """Refuse dask arrays among the arguments that are no operands."""
    for argument, value in given.items():
        if isinstance(value, da.Array):
            raise TypeError(f"{argument} is a dask array; allowed: a plain value")


def unified(
    operands: Sequence[Operand], multiples: Mapping[Label, int] | None = None, whole: Collection[Label] = ()
) -> tuple[dict[Label, Chunks], list[Operand]]:
    """Return common chunks of each label, and the operands in these.

    Parameters
    ----------
    operands : sequence of Operand
        Axes of length 1 broadcast.
    multiples : mapping, optional
        Of what number the boundaries between a label's chunks have to be multiples: they move down to them.
    whole : collection
        Labels that are to have a single chunk.
    """
    sizes: dict[Label, int] = {}
    for array, labels in operands:
        for label, size in zip(labels, array.shape, strict=True):
            if sizes.get(label, 1) == 1:
                sizes[label] = size
    chunks = {}
    for label, size in sizes.items():
        step = (multiples or {}).get(label, 1)
        ends = {size}
        for array, labels in operands:
            for own, length, parts in zip(labels, array.shape, array.chunks, strict=True):
                if own == label and length == size and label not in whole:
                    ends.update(end // step * step for end in itertools.accumulate(parts[:-1]))
        bounds = [0, *sorted(ends - {0})] if size else [0, 0]
        chunks[label] = tuple(stop - start for start, stop in itertools.pairwise(bounds))
    return chunks, [in_chunks(operand, chunks) for operand in operands]


def in_chunks(operand: Operand, chunks: Mapping[Label, Chunks]) -> Operand:
    """Return an operand whose axes are in the chunks of their labels, but those of length 1 that broadcast."""
    array, labels = operand
    pairs = zip(labels, array.shape, strict=True)
    target = tuple(chunks[one] if size == sum(chunks.get(one, (1,))) else (size,) for one, size in pairs)
    if target == array.chunks:
        return operand
    # Dask leaves arrays without elements in their chunks.
    new = array.rechunk(target) if array.size else da.zeros(array.shape, array.dtype, chunks=target)
    return Operand(new, labels)


def chained(
    name: str,
    step: Callable[..., Any],
    operands: Sequence[Operand],
    start: Operand | None,
    chunks: Mapping[Label, Chunks],
    result: tuple[Label, ...],
    links: Mapping[Label, int],
    dtype: Any,
    *,
    descending: bool = False,
) -> Any:
    """Return the dask array whose chunks are chains of ``step(start, first, last, *operands' chunks)``.

    Parameters
    ----------
    name : str
        Of the tasks.
    step : callable
        Returns one link's chunk of the result, from the previous link's as ``start`` (the first one: from a chunk of
        the operand ``start``, or None). Two booleans say whether it is the first, and the last. It has to be pure, so
        that tasks of lost workers can be repeated.
    operands, start : Operand
        In common chunks, see `unified`.
    chunks : mapping
        Chunks of each label of the result.
    result : tuple
        Labels of the result's axes.
    links : mapping
        Labels along which chains go, each with the number of links.
    dtype : dtype
        Of the result.
    descending : bool
        Whether chains go from the last chunk to the first.
    """
    if da.Array.__module__ != "dask.array.core":
        raise TypeError(
            f"dask's setting array.query-planning is True, for whose arrays lpsim.{name} is not made; allowed: False "
            "or None, before dask.array is imported"
        )
    length = max(links.values(), default=1)
    inputs = [operand.array for operand in operands] + ([] if start is None else [start.array])
    token = tokenize(step, inputs, [operand.labels for operand in operands], descending)
    final, partial = f"{name}-{token}", f"{name}-part-{token}"
    shape = tuple(chunks[label] for label in result)
    order = range(length - 1, -1, -1) if descending else range(length)
    tasks: dict[Any, Any] = {}
    # Not by dask's blockwise, which would fuse the links of a chain to one task that needs all their chunks at once.
    for place in itertools.product(*(range(len(parts)) for parts in shape)):
        at = dict(zip(result, place, strict=True))
        previous = None if start is None else TaskRef(_key(start, at))
        for number, link in enumerate(order):
            last = number == length - 1
            key = (final, *place) if last else (partial, number, *place)
            at.update(dict.fromkeys(links, link))
            blocks = [TaskRef(_key(operand, at)) for operand in operands]
            tasks[key] = Task(key, step, previous, number == 0, last, *blocks)
            previous = TaskRef(key)
    graph = HighLevelGraph.from_collections(final, tasks, dependencies=inputs)
    return da.Array(graph, final, shape, meta=np.empty((0,) * len(shape), dtype))


def _key(operand: Operand, at: Mapping[Label, int]) -> tuple[Any, ...]:
    array, labels = operand
    return (array.name, *(at[label] if parts > 1 else 0 for label, parts in zip(labels, array.numblocks, strict=True)))
