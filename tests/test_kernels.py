"""The kernels against the reference, on aimed operands: values, codes and flags, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from comparing import same
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OPERATIONS, SAMPLE_FORMATS, floats, formats, modes, operands

import lpsim as lp
from lpsim import reference


def check(operation: str, numbers: tuple[Any, ...], fmt: lp.Format, mode: dict[str, Any]) -> None:
    """Compare one result and its flags."""
    expected, flags = getattr(reference, operation)(*map(float, numbers), fmt, **mode, flags=True)
    value, raised = getattr(lp, operation)(*numbers, fmt, **mode, flags=True)
    assert value.dtype == fmt.carrier
    assert same(float(getattr(lp, operation)(*numbers, fmt, **mode)), float(value)), (
        f"without flags: {operation}{numbers}"
    )
    case = f"{operation}{numbers} to {fmt.spec}, {mode}: {value!r} for {expected!r}"
    assert same(float(value), expected), case
    assert lp.Flag(int(raised)) == flags, f"{case}: {lp.Flag(int(raised))!r} for {flags!r}"


TININESS = st.sampled_from(("after", "before"))


def check_both_carriers(
    operation: str, numbers: tuple[float, ...], fmt: lp.Format, mode: dict[str, Any], tininess: str
) -> None:
    """Compare for float64 operands, and for the same ones in float32, which takes a shorter way."""
    mode = {**mode, "tininess": tininess}
    check(operation, numbers, fmt, mode)
    with np.errstate(over="ignore"):
        check(operation, tuple(map(np.float32, numbers)), fmt, mode)


@settings(max_examples=600)
@given(st.data())
def test_round(data: st.DataObject) -> None:
    fmt = data.draw(st.one_of(formats(), st.sampled_from(SAMPLE_FORMATS)))
    check_both_carriers("round", (data.draw(floats(fmt)),), fmt, data.draw(modes(fmt)), data.draw(TININESS))


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=600)
@given(data=st.data())
def test_operation(operation: str, data: st.DataObject) -> None:
    fmt = data.draw(st.one_of(formats(), st.sampled_from(SAMPLE_FORMATS)))
    numbers = data.draw(operands(fmt, operation))
    check_both_carriers(operation, numbers, fmt, data.draw(modes(fmt)), data.draw(TININESS))


@pytest.mark.parametrize("rounding", lp.Rounding)
@pytest.mark.parametrize("fmt", [lp.float64, lp.format("E11M51")], ids=str)
def test_fma_beside_a_tie_by_less_than_binary64_holds(fmt: lp.Format, rounding: lp.Rounding) -> None:
    """The product is half a last place to within 2**-104 of it: what a sum of two binary64 numbers cannot say."""
    ulp = fmt.eps
    for first, second in ((1 + 2.0**-52, 1 - 2.0**-52), (1 + 2.0**-52, 1 + 2.0**-52), (1.0, 1.0)):
        for z in (1.0, 1 + ulp, -1.0, -1 - ulp):
            for sign in (1, -1):
                numbers = (sign * first, second * ulp / 2, z)
                for bits in (0, 1):  # one random bit: up from the middle on, and not before
                    check("fma", numbers, fmt, {"rounding": rounding, "random_bits": 1, "bits": bits})
