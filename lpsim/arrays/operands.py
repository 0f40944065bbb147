"""What may stand beside an array in an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import RealArray, as_real
from lpsim.arrays.context import Context
from lpsim.codec import round as round_to
from lpsim.formats import Format

if TYPE_CHECKING:
    from lpsim.arrays.array import Array

__all__ = ["exact_values", "own_array", "values_for"]


def own_array(operation: str, candidates: Any) -> Array:
    """Return the first array among the candidates, once all agree on format and context.

    Raises
    ------
    TypeError
        If they do not.
    """
    from lpsim.arrays.array import Array

    first: Array | None = None
    for one in candidates:
        if not isinstance(one, Array):
            continue
        if first is None:
            first = one
        elif one.format != first.format:
            raise TypeError(
                f"{operation} is called with arrays in {first.format} and {one.format}; allowed: one format (astype "
                "converts)"
            )
        elif one.context is not first.context and one.context != first.context:
            raise TypeError(
                f"{operation} is called with arrays of {first.context} and {one.context}; allowed: equal contexts, and "
                "the same one if it uses random bits (with_context sets it)"
            )
    assert first is not None
    return first


def values_for(x: Any, fmt: Format, context: Context, operation: str) -> RealArray:
    """Return the values of an operand as numbers of a format.

    Python's numbers are literals: they are rounded to the format, ties to even. NumPy's arrays and scalars, and
    sequences, must hold values of the format.

    Raises
    ------
    TypeError
        If they do not, or if ``x`` is of another format or holds no real numbers.
    """
    from lpsim.arrays.array import Array

    if isinstance(x, Array):
        if x.format != fmt:
            raise TypeError(
                f"{operation} is called with an array in {x.format} for one in {fmt}; allowed: one format (astype "
                "converts)"
            )
        return x.values
    if isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        return np.asarray(round_to(x, fmt, overflow=context.overflow))
    given = as_real(x, f"an operand of {operation}").view(np.ndarray)
    rounded = np.asarray(round_to(given, fmt))
    with np.errstate(invalid="ignore"):  # casts of signalling NaNs warn
        wrong = ~((rounded == given) | (np.isnan(rounded) & np.isnan(given)))
    if wrong.any():
        raise TypeError(
            f"{operation} is called with {given[wrong][0]!s} in an operand of dtype {np.asanyarray(x).dtype}, which is "
            f"no value of {fmt}; allowed: its values, Python's numbers, or lpsim.array of the operand, which rounds it"
        )
    return rounded


def exact_values(x: Any, argument: str) -> npt.NDArray[Any]:
    """Return the values of an operand as they are, in whatever format."""
    from lpsim.arrays.array import Array

    return x.values if isinstance(x, Array) else as_real(x, argument).view(np.ndarray)
