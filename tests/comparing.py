"""Comparison of results bit for bit, and the flags that exceptions raise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim import reference
from lpsim.rounding import Flag

NONE, INVALID, DIVIDE_BY_ZERO = Flag(0), Flag.INVALID, Flag.DIVIDE_BY_ZERO
UNDERFLOW, INEXACT = Flag.UNDERFLOW | Flag.INEXACT, Flag.INEXACT
OVERFLOW = Flag.OVERFLOW | Flag.INEXACT


def same(x: float, y: float) -> bool:
    """Whether two floats are the same value: zeros by sign, and all NaNs are one."""
    return (x != x and y != y) or (x == y and math.copysign(1, x) == math.copysign(1, y))


def assert_same(got: npt.ArrayLike, expected: npt.ArrayLike, inputs: Any) -> None:
    """Compare arrays element by element, as `same` does; name the inputs of the first differences."""
    got, expected = np.array(got, np.float64).ravel(), np.array(expected, np.float64).ravel()
    wrong = (got.view(np.uint64) != expected.view(np.uint64)) & ~(np.isnan(got) & np.isnan(expected))
    assert not wrong.any(), [(inputs[i], got[i], expected[i]) for i in np.flatnonzero(wrong)[:5]]


def both(operation: str, *args: Any, **kwargs: Any) -> tuple[float, Flag]:
    """Return the value and the flags of an operation of the reference."""
    value, flags = getattr(reference, operation)(*args, flags=True, **kwargs)
    assert type(value) is float
    assert type(flags) is Flag
    return value, flags
