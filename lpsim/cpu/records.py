"""Parameters of kernels as arrays of one record, which a call passes on as one pointer.

A kernel that took the fields of a named tuple would have each of them converted at every call, which for a few
numbers takes longer than the work on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from lpsim.core.jit import core_function

__all__ = ["as_record", "record_reader"]


def as_record(params: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Return a named tuple of numbers, or of such tuples, as an array of one record.

    NumPy's numbers keep their types, others become 64 bits wide. Without a compiler it is a list of one named tuple,
    which Python reads as kernels read records.
    """
    if numba.config.DISABLE_JIT:
        return [_typed(params)]  # type: ignore[return-value]
    return np.array([params], _dtype(params))


def _dtype(value: Any) -> np.dtype[Any]:
    if not hasattr(value, "_asdict"):
        return np.asarray(value).dtype
    return np.dtype([(name, _dtype(field)) for name, field in value._asdict().items()], align=True)


def _typed(value: Any) -> Any:
    """Return a number, or those of a named tuple, in the types of a record's fields."""
    return type(value)(*map(_typed, value)) if hasattr(value, "_asdict") else np.asarray(value)[()]


def record_reader(kind: type[NamedTuple], member: str = "") -> Callable[[Any], Any]:
    """Return a function for kernels from what `as_record` returns to the named tuple, or to a member that is one.

    Its fields are loaded there and then, so that no store of the kernel can be thought to change them.
    """
    fields: tuple[str, ...] = kind._fields
    place = f"record[0].{member}." if member else "record[0]."
    # Compiled code can neither loop over the fields of a record nor build a named tuple from keywords.
    namespace: dict[str, Any] = {"kind": kind}
    exec(f"def read(record): return kind({', '.join(place + name for name in fields)})", namespace)
    read: Callable[[Any], Any] = namespace["read"]
    return core_function(read)
