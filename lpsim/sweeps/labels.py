"""Values of a sweep's parameters, as they stand in its table."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lpsim.formats import Format
from lpsim.units import MatrixUnit

__all__ = ["definitions_digest", "is_mixed", "label_of"]


def label_of(value: Any, parameter: str) -> Any:
    """Return what stands for a value in the table: a name, or a plain scalar.

    Parameters
    ----------
    value : object
        The value.
    parameter : str
        The parameter's name, for the message.

    Raises
    ------
    TypeError
        If the value is of no kind that has a name.

    Examples
    --------
    >>> import numpy as np
    >>> import lpsim as lp
    >>> from lpsim.sweeps.labels import label_of
    >>> values = (lp.units.tf32, lp.bfloat16, lp.Rounding.TO_ODD, np.float16, np.int64(3), "any", None)
    >>> [label_of(value, "x") for value in values]
    ['tf32', 'bfloat16', 'to_odd', 'float16', 3, 'any', None]
    """
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Format, MatrixUnit)):
        return str(value)
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, type) or callable(value):
        name = getattr(value, "__name__", None)
        if name is not None:
            return name
    raise TypeError(
        f"{parameter} has the value {value!r:.60}; allowed: numbers, strings, booleans, None, formats, units, members "
        "of enumerations, dtypes, types and functions"
    )


def is_mixed(labels: list[Any]) -> bool:
    """Whether labels are of several kinds, so that a typed column cannot hold them."""
    kinds = {float if type(label) is int else type(label) for label in labels if label is not None}
    return len(kinds) > 1


def definitions_digest(parameters: Mapping[str, list[Any]]) -> str:
    """Return a short digest of what formats and units are, whose names may come to mean others."""
    definitions = [
        repr([(field.name, getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare])
        for values in parameters.values()
        for value in values
        if isinstance(value, (Format, MatrixUnit))
    ]
    return hashlib.sha256("\n".join(definitions).encode()).hexdigest()[:16]
