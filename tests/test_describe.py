"""Descriptions of numbers and limits of formats."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import floats, formats

import lpsim as lp
from lpsim import reference


@given(st.data())
def test_description_is_exact(data: st.DataObject) -> None:
    fmt = data.draw(formats())
    x = data.draw(floats(fmt))
    d = lp.describe(x, fmt)
    value = reference.round(x, fmt)
    if math.isnan(value):
        assert math.isnan(d.value)
        assert d.kind == "nan"
        return
    assert d.value == value
    if math.isfinite(value):
        assert Fraction(d.exact_value) == Fraction(value)
        if math.isfinite(x):
            assert Fraction(d.error) == Fraction(value) - Fraction(x)
    assert d.exact == (value == x)
    assert d.code == reference.encode(x, fmt)
    assert int(d.hex, 16) == d.code
    assert int(d.sign + d.exponent_bits + d.fraction_bits, 2) == d.code
    widths = [len(d.sign), len(d.exponent_bits), len(d.fraction_bits)]
    assert widths == [fmt.signed, fmt.exponent_bits, fmt.mantissa_bits]
    assert reference.decode(d.code, fmt) == value


def test_description_of_the_textbook_number() -> None:
    d = lp.describe(-27.15625, "fp16")
    assert (d.sign, d.exponent_bits, d.fraction_bits, d.hex) == ("1", "10011", "1011001010", "0xCECA")
    assert d.exact
    assert d.error == "0"
    bf16 = lp.describe(-27.15625, "bf16")
    assert (bf16.hex, bf16.exact_value, bf16.error, bf16.exact) == ("0xC1D9", "-27.125", "0.03125", False)


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (1, "normal"),
        (2.0**-24, "subnormal"),
        (0, "zero"),
        (-0.0, "zero"),
        (1e9, "infinity"),
        (math.nan, "nan"),
    ],
)
def test_kinds(x: float, kind: str) -> None:
    assert lp.describe(x, "half").kind == kind
    assert kind in str(lp.describe(x, "half"))


def test_nan_without_a_code() -> None:
    d = lp.describe(math.nan, "e2m1fn")
    assert (d.code, d.hex) == (None, "")
    assert "none" in str(d)


def test_bad_descriptions() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(2,\); allowed: one number"):
        lp.describe([1, 2], "half")
    with pytest.raises(TypeError, match="x is 'abc'"):
        lp.describe("abc", "half")


FINFO = {
    "max": float,
    "min": float,
    "eps": float,
    "smallest_normal": float,
    "smallest_subnormal": float,
    "bits": int,
}


@pytest.mark.parametrize("name", [n for n in lp.formats.NAMED_FORMATS if hasattr(ml_dtypes, n) or n[:5] == "float"])
def test_finfo_as_numpy_and_ml_dtypes(name: str) -> None:
    peer = ml_dtypes.finfo(name) if not hasattr(ml_dtypes, name) else ml_dtypes.finfo(getattr(ml_dtypes, name))
    info = lp.finfo(name)
    for attribute, kind in FINFO.items():
        assert getattr(info, attribute) == kind(getattr(peer, attribute)), attribute
    assert (info.emin, info.emax) == (peer.minexp, peer.maxexp - 1)
    assert info.precision == peer.nmant + 1


def test_finfo_of_bfloat16_as_pytorch_prints_it() -> None:
    info = lp.finfo("bf16")
    printed = {name: f"{getattr(info, name):.6g}" for name in ("max", "eps", "smallest_normal", "resolution")}
    assert printed == {
        "max": "3.38953e+38",
        "eps": "0.0078125",
        "smallest_normal": "1.17549e-38",
        "resolution": "0.01",
    }
    assert info.unit_roundoff == 2.0**-8
    assert info.tiny == info.smallest_normal
    assert np.isnan(lp.finfo(lp.format("E0M4_finite")).smallest_normal)
