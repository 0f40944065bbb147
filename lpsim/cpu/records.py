"""Parameters of kernels as arrays of one record, which a call passes on as one pointer.

A kernel that took the fields of a named tuple would have each of them converted at every call, which for a few
numbers takes longer than the work on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.core.jit import core_function

__all__ = ["as_record", "record_reader"]


def as_record(params: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Return a named tuple of numbers as an array of one record: others than NumPy's become 64 bits wide."""
    fields: dict[str, Any] = params._asdict()  # type: ignore[attr-defined]  # a named tuple
    dtype = np.dtype([(name, np.asarray(value).dtype) for name, value in fields.items()], align=True)
    return np.array([params], dtype)


def record_reader(kind: type[NamedTuple]) -> Callable[[Any], Any]:
    """Return a function for kernels from what `as_record` returns to the named tuple.

    Its fields are loaded there and then, so that no store of the kernel can be thought to change them.
    """
    fields: tuple[str, ...] = kind._fields
    # Compiled code can neither loop over the fields of a record nor build a named tuple from keywords.
    namespace: dict[str, Any] = {"kind": kind}
    exec(f"def read(record): return kind({', '.join(f'record[0].{name}' for name in fields)})", namespace)
    read: Callable[[Any], Any] = namespace["read"]
    return core_function(read)
