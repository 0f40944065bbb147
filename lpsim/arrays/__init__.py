"""Arrays that carry their format: NumPy's arithmetic and functions, every result rounded to it."""

from __future__ import annotations

from lpsim.arrays.array import Array, array
from lpsim.arrays.context import Context

__all__ = ["Array", "Context", "array"]
