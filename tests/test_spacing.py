"""Values, neighbours, spacing and distances of a format."""

from __future__ import annotations

import math

import numpy as np
import pytest
from comparing import assert_same
from hypothesis import given
from hypothesis import strategies as st
from strategies import SAMPLE_FORMATS, floats, formats

import lpsim as lp
from lpsim import reference


def finite_values(fmt: lp.Format) -> list[float]:
    """All finite values by the definition of the codes."""
    decoded = {reference.decode(code, fmt) for code in range(1 << fmt.bits)}
    return sorted({x + 0.0 for x in decoded if math.isfinite(x)})


@given(formats(max_bits=9))
def test_values(fmt: lp.Format) -> None:
    got = lp.values(fmt)
    assert got.tolist() == finite_values(fmt)
    assert got.dtype == fmt.carrier


@given(st.data())
def test_nextafter(data: st.DataObject) -> None:
    fmt = data.draw(formats(max_bits=9))
    x, up = data.draw(floats(fmt).filter(lambda x: not math.isnan(x))), data.draw(st.booleans())
    values = finite_values(fmt)
    if fmt.has_infinity:
        values = [-math.inf] * fmt.signed + values + [math.inf]
    beyond = [v for v in values if (v > x if up else v < x)]
    last = math.nan if fmt.has_nan else values[-1 if up else 0]
    expected = (min(beyond) if up else max(beyond)) if beyond else last
    direction = math.inf if up else -math.inf
    got = float(lp.nextafter(x, direction, fmt))
    if x == direction:
        expected = reference.round(x, fmt)
    assert got == expected or (math.isnan(got) and math.isnan(expected)), (x, direction, fmt, got, expected)


def test_nextafter_as_numpy() -> None:
    rng = np.random.default_rng(1)
    x = np.append(rng.integers(0, 1 << 16, 5000, dtype=np.uint16).view(np.float16), np.float16([0, -0.0, 1]))
    y = np.append(rng.integers(0, 1 << 16, 5000, dtype=np.uint16).view(np.float16), np.float16([0, 0, 1]))
    with np.errstate(all="ignore"):
        expected = np.nextafter(x, y)
    got = lp.nextafter(x, y, "half")
    keep = x != y
    assert_same(got[keep], expected[keep], list(zip(x[keep], y[keep], strict=True)))
    assert lp.nextafter(1.0, 1.0, "half") == 1


def test_ulp() -> None:
    x = np.abs(np.random.default_rng(2).integers(0, 31743, 2000, dtype=np.uint16).view(np.float16))
    np.testing.assert_array_equal(lp.ulp(x, "half"), np.spacing(x))
    np.testing.assert_array_equal(lp.ulp(-x, "half"), np.spacing(x))
    assert lp.ulp(1e300, "half") == 32
    assert lp.ulp(0, lp.format("E5M10_nosubnormals")) == 2.0**-14
    assert lp.ulp(2.0**-14, lp.format("E5M10_nosubnormals")) == 2.0**-24
    assert lp.ulp(math.inf, "half") == math.inf
    assert math.isnan(lp.ulp(math.nan, "half"))
    for value in (1.0, 5e-324, 1.7e308, 2.0**-1022):
        assert lp.ulp(value, "float64") == math.ulp(value)


@pytest.mark.parametrize("fmt", [f for f in SAMPLE_FORMATS if f.bits <= 8], ids=str)
def test_ulp_distance(fmt: lp.Format) -> None:
    values = lp.values(fmt)
    position = np.arange(values.size)
    np.testing.assert_array_equal(
        lp.ulp_distance(values[:, np.newaxis], values, fmt), np.abs(position[:, np.newaxis] - position)
    )


def test_ulp_distance_of_wide_formats() -> None:
    assert lp.ulp_distance(1.7976931348623157e308, -1.7976931348623157e308, "double") == 2 * 0x7FEFFFFFFFFFFFFF
    assert lp.ulp_distance(0.0, -0.0, "double") == 0
    assert lp.ulp_distance(math.inf, 65504, "half") == 1
    assert lp.ulp_distance(1, math.nextafter(1, 2), "double").dtype == np.uint64
    assert lp.ulp_distance(1, 1, "half").dtype == np.int64


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="float32 with 32 bits; allowed: at most 24"):
        lp.values("float32")
    with pytest.raises(ValueError, match=r"x holds 0\.1"):
        lp.ulp_distance(0.1, 1, "half")
    with pytest.raises(ValueError, match="y holds nan"):
        lp.ulp_distance(0.5, [1, math.nan], "half")
    with pytest.raises(ValueError, match="direction has shape"):
        lp.nextafter([1, 2], [1, 2, 3], "half")


@pytest.mark.parametrize("fmt", ["half", "e4m3fn", "float32"])
def test_nextafter_reaches_zero_with_the_sign_of_the_start(fmt):
    # IEEE 754-2019, section 5.3.1: nextUp of the negative number of least magnitude is -0.
    least = lp.finfo(fmt).smallest_subnormal
    assert np.signbit(lp.nextafter(-least, 1, fmt))
    assert not np.signbit(lp.nextafter(least, -1, fmt))
    assert lp.nextafter(-least, 1, fmt) == lp.nextafter(least, -1, fmt) == 0
