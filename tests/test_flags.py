"""Flags against those that the processor itself raises in binary32 and binary64."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import operands

import lpsim as lp
from lpsim import reference

#: When processors detect tininess: IEEE 754-2019, section 7.5, leaves them the choice.
TININESS = {"x86_64": "after", "AMD64": "after", "aarch64": "before", "arm64": "before"}.get(platform.machine())

NAMES = {
    "invalid value": lp.Flag.INVALID,
    "divide by zero": lp.Flag.DIVIDE_BY_ZERO,
    "overflow": lp.Flag.OVERFLOW,
    "underflow": lp.Flag.UNDERFLOW,
}
OPERATIONS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "sqrt": np.sqrt}


def raised_by_processor(operation: str, numbers: tuple[Any, ...]) -> lp.Flag:
    """The processor's flags of one operation; NumPy passes on all but INEXACT."""
    seen = lp.Flag(0)

    def note(kind: str, _: int) -> None:
        nonlocal seen
        seen |= NAMES[kind]

    with np.errstate(all="call", call=note):
        OPERATIONS[operation](*numbers)
    return seen


@pytest.mark.skipif(TININESS is None, reason="it is not known how this processor detects tininess")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fmt", [lp.float32, lp.float64], ids=str)
@settings(max_examples=400)
@given(data=st.data())
def test_flags_as_the_processor(operation: str, fmt: lp.Format, data: st.DataObject) -> None:
    with np.errstate(all="ignore"):
        numbers = tuple(map(fmt.carrier.type, data.draw(operands(fmt, operation))))
    expected = raised_by_processor(operation, numbers)
    value, flags = getattr(lp, operation)(*numbers, fmt, flags=True, tininess=TININESS)
    assert lp.Flag(int(flags)) & ~lp.Flag.INEXACT == expected, (numbers, value)
    # A NaN that float() has made quiet is another operand.
    if not any(np.isnan(numbers)):
        by_reference = getattr(reference, operation)(*map(float, numbers), fmt, flags=True, tininess=TININESS)
        assert by_reference[1] & ~lp.Flag.INEXACT == expected, (numbers, value)


def test_underflow_flags_differ_just_below_the_smallest_normal_number() -> None:
    exact = 2.0**-126 * (1 - 2.0**-26)  # a quarter of an ulp below 2**-126, were there exponents below -126
    inexact, underflow = lp.Flag.INEXACT, lp.Flag.INEXACT | lp.Flag.UNDERFLOW
    for tininess, flags in (("after", inexact), ("before", underflow)):
        assert lp.round(exact, "float32", flags=True, tininess=tininess) == (2.0**-126, flags)
        assert reference.round(exact, "float32", flags=True, tininess=tininess) == (2.0**-126, flags)
