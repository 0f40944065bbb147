"""Values as text: the fewest digits that tell them from their format's other values."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from lpsim.arguments import RealArray
from lpsim.codec import round as round_to
from lpsim.formats import Format

__all__ = ["as_text"]


def as_text(values: RealArray, fmt: Format, prefix: str = "", separator: str = " ") -> str:
    """Return an array as NumPy prints arrays."""
    if not values.ndim:
        return _shortest(float(values), fmt)
    show: Any = {"float_kind": lambda value: _shortest(float(value), fmt)}
    return np.array2string(values, separator=separator, prefix=prefix, formatter=show)


@functools.lru_cache(maxsize=4096)
def _shortest(value: float, fmt: Format) -> str:
    """Return an integer as it is, and else the shortest decimal number that rounds to a value of the format."""
    if not math.isfinite(value) or (value.is_integer() and abs(value) < 1e16):
        return repr(value)
    for digits in range(1, 17):
        text = f"{value:.{digits}g}"
        if float(round_to(float(text), fmt)) == value:
            return repr(float(text))
    return repr(value)
