"""lpsim's functions on dask arrays: lazily, chunk by chunk, with the bits that one machine computes for whole arrays.

`lpsim.round`, `lpsim.encode`, `lpsim.decode`, the arithmetic, `lpsim.matmul`, `lpsim.dot` and `lpsim.sum` take dask
arrays, also together with NumPy arrays, and return dask arrays. No result depends on chunks, scheduler or workers.

*Elementwise functions* keep the chunks. Element i of the whole result (in C order) has its random bits from (seed, i)
in stochastic modes, however it is chunked.

*Products and sums* chain the chunks of the summed axis through their start values, in the order of the sum, one after
the other, while other chunks of the result can be computed at the same time:

- orders ``"sequential"`` and ``"reverse"`` keep the chunks of the summed axis;
- blocked summation, fused dots and scales of blocks move the boundaries of chunks down to multiples of the blocks;
- orders ``"pairwise"``, ``"kahan"`` and ``"interleaved(n)"`` of the whole sum have no start value to continue from: the
  summed axis becomes one chunk;
- stochastic units and sums have random bits for positions in whole matrices: all of a product is computed in one task,
  which needs the memory for it.

A unit's ``output_format`` is applied once, to the last link of a chain.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

try:
    import dask.array as da
except ImportError as error:
    raise ImportError(
        f"dask arrays need the extra 'dask' ({error}); install it with: pip install 'lpsim[dask]'"
    ) from error

from lpsim.dask.elementwise import OPERANDS, elementwise
from lpsim.dask.products import dot, matmul
from lpsim.dask.sums import sum as _sum

__all__ = ["handler_of"]

_Function = Callable[..., Any]

#: What does a function that is not elementwise: it is called with the function and its arguments by name.
_OTHERS: dict[str, Callable[[_Function, dict[str, Any]], Any]] = {"dot": dot, "matmul": matmul, "sum": _sum}


def handler_of(kind: type) -> Callable[[Any, _Function, tuple[Any, ...], dict[str, Any]], Any] | None:
    """Return what does lpsim's functions for arguments of a type of dask; None: lpsim itself.

    Parameters
    ----------
    kind : type
        The type of an argument.

    Returns
    -------
    callable or None
        ``handler(value, function, args, kwargs)`` for dask arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import lpsim as lp
    >>> x = da.ones((4, 4), chunks=2) / 3
    >>> lp.round(x, "e4m3fn")
    dask.array<round, shape=(4, 4), dtype=float32, chunksize=(2, 2), chunktype=numpy.ndarray>
    >>> float(lp.sum(x, "half").compute())
    5.328125
    """
    return _handle if issubclass(kind, da.Array) else None


def _handle(value: Any, function: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = function.__name__
    given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    if given.pop("out", None) is not None:
        raise TypeError(f"out is given to lpsim.{name} of dask arrays; allowed: None, the result is a new dask array")
    if name in OPERANDS:
        return elementwise(function, given)
    if name in _OTHERS:
        return _OTHERS[name](function, given)
    raise TypeError(
        f"lpsim.{name} is called with a dask array, for which it is not made; allowed: NumPy arrays "
        "(compute() returns one)"
    )
