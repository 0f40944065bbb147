"""Formats: the facts of the standards, parsing, validation."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import SAMPLE_FORMATS, continued_magnitude, formats

from lpsim import formats as lpf
from lpsim.formats import NAMED_FORMATS, Format
from lpsim.p3109 import p3109

# Facts.


@pytest.mark.parametrize(
    ("fmt", "bits", "precision", "emax", "bias"),
    [
        (lpf.float16, 16, 11, 15, 15),
        (lpf.float32, 32, 24, 127, 127),
        (lpf.float64, 64, 53, 1023, 1023),
    ],
    ids=str,
)
def test_interchange_formats(fmt: Format, bits: int, precision: int, emax: int, bias: int) -> None:
    """IEEE 754-2019, table 3.5, and emin = 1 - emax (section 3.3)."""
    assert (fmt.bits, fmt.precision, fmt.emax, fmt.bias, fmt.emin) == (bits, precision, emax, bias, 1 - emax)
    assert fmt.has_infinity
    assert fmt.has_nan
    assert fmt.has_negative_zero


@pytest.mark.parametrize(
    ("fmt", "largest", "smallest_normal", "smallest_subnormal", "infinity", "nan"),
    [
        # OCP OFP8 1.0, table 1 and 2.
        (lpf.float8_e4m3fn, 448.0, 2.0**-6, 2.0**-9, None, 0x7F),
        (lpf.float8_e5m2, 57344.0, 2.0**-14, 2.0**-16, 0x7C, 0x7E),
        # OCP MX 1.0, tables 2 to 4 and section 5.4.
        (lpf.float6_e3m2fn, 28.0, 0.25, 0.0625, None, None),
        (lpf.float6_e2m3fn, 7.5, 1.0, 0.125, None, None),
        (lpf.float4_e2m1fn, 6.0, 1.0, 0.5, None, None),
        (lpf.float8_e8m0fnu, 2.0**127, 2.0**-127, 2.0**-127, None, 0xFF),
        # arXiv:2206.02915, table 1: one more exponent value, and a bias larger by one.
        (lpf.float8_e4m3fnuz, 240.0, 2.0**-7, 2.0**-10, None, 0x80),
        (lpf.float8_e5m2fnuz, 57344.0, 2.0**-15, 2.0**-17, None, 0x80),
        # By definition of bfloat16 and TF32: the upper bits of binary32.
        (lpf.bfloat16, float.fromhex("0x1.fep127"), 2.0**-126, 2.0**-133, 0x7F80, 0x7FC0),
        (lpf.tf32, float.fromhex("0x1.ffcp127"), 2.0**-126, 2.0**-136, 0x3FC00, 0x3FE00),
    ],
    ids=str,
)
def test_limits(
    fmt: Format,
    largest: float,
    smallest_normal: float,
    smallest_subnormal: float,
    infinity: int | None,
    nan: int | None,
) -> None:
    assert fmt.max == largest
    assert fmt.min == (-largest if fmt.signed else smallest_normal)
    assert fmt.smallest_normal == smallest_normal
    assert fmt.smallest_subnormal == smallest_subnormal
    assert fmt.infinity_code == infinity
    assert fmt.nan_code == nan
    assert (fmt.has_infinity, fmt.has_nan) == (infinity is not None, nan is not None)


@pytest.mark.parametrize("name", [name for name in NAMED_FORMATS if name != "tf32"])
def test_finfo_of_ml_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    fmt = NAMED_FORMATS[name]
    info = ml_dtypes.finfo(name if name in ("float16", "float32", "float64") else getattr(ml_dtypes, name))
    assert fmt.bits == info.bits
    assert fmt.mantissa_bits == info.nmant
    assert fmt.exponent_bits == info.nexp or name == "float8_e8m0fnu"
    for attribute in ("max", "min", "eps", "smallest_normal", "smallest_subnormal"):
        if name == "float8_e8m0fnu" and attribute == "smallest_subnormal":
            continue  # there is none
        assert getattr(fmt, attribute) == float(getattr(info, attribute)), attribute
    assert fmt.unit_roundoff == fmt.eps / 2
    if name.startswith("float8") or name == "bfloat16":
        dtype = np.dtype(getattr(ml_dtypes, name))
        assert lpf.format(dtype) is fmt
        assert lpf.format(getattr(ml_dtypes, name)) is fmt
        assert fmt.code_dtype.itemsize == dtype.itemsize


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.dtype(">f4"), float])
def test_numpy_dtypes(dtype: Any) -> None:
    fmt, info = lpf.format(dtype), np.finfo(np.dtype(dtype).newbyteorder("="))
    assert (fmt.max, fmt.eps, fmt.smallest_subnormal) == (info.max, info.eps, info.smallest_subnormal)
    assert fmt.bits == 8 * np.dtype(dtype).itemsize


@settings(deadline=None)
@given(formats())
def test_derived_facts_agree(fmt: Format) -> None:
    assert fmt.bits == fmt.signed + fmt.exponent_bits + fmt.mantissa_bits
    assert fmt.sign_mask + fmt.magnitude_mask == (1 << fmt.bits) - 1
    assert fmt.max == continued_magnitude(fmt, fmt.max_code)
    assert 2.0**fmt.emax <= fmt.max < 2 * 2.0**fmt.emax
    assert fmt.quantum_exponent == fmt.emin - fmt.mantissa_bits
    if fmt.emax >= fmt.emin:
        first = (1 << fmt.mantissa_bits) if fmt.has_zero else 0
        assert fmt.smallest_normal == 2.0**fmt.emin == fmt.magnitude(first)
    else:
        assert math.isnan(fmt.smallest_normal)
    # Codes grow with their values, and special codes lie beyond those of all numbers.
    codes = sorted({min(c, fmt.max_code) for c in (0, 1, 2, 1 << fmt.mantissa_bits, fmt.max_code - 1, fmt.max_code)})
    magnitudes = [fmt.magnitude(max(c, 0)) for c in codes]
    assert magnitudes == sorted(magnitudes)
    for code in (fmt.infinity_code, fmt.nan_code):
        assert code is None or fmt.max_code < code < 1 << fmt.bits
    assert fmt.carrier.type(fmt.max) == fmt.max
    assert fmt.carrier.type(fmt.smallest_subnormal) == fmt.smallest_subnormal
    assert fmt.carrier == np.float64 or fmt.precision <= 24
    assert 8 * fmt.code_dtype.itemsize >= fmt.bits


# P3109.


@pytest.mark.parametrize(
    ("k", "p", "largest", "smallest"),
    [
        (8, 1, 2.0**62, 2.0**-63),
        (8, 2, 2.0**31, 2.0**-32),
        (8, 3, 49152.0, 2.0**-17),
        (8, 4, 224.0, 2.0**-10),
        (8, 5, 15.0, 2.0**-7),
        (8, 6, 3.875, 2.0**-6),
        (8, 7, 1.96875, 2.0**-6),
    ],
)
def test_p3109_signed_extended(k: int, p: int, largest: float, smallest: float) -> None:
    """Largest and smallest positive values of the 8-bit formats of the P3109 report."""
    fmt = p3109(k, p)
    assert (fmt.max, fmt.smallest_subnormal) == (largest, smallest)
    assert fmt.bias == 2 ** (k - p - 1)
    assert (fmt.infinity_code, fmt.nan_code) == (0x7F, 0x80)
    assert not fmt.has_negative_zero
    assert fmt.name == f"binary{k}p{p}se"
    # 1 is half-way through the codes of positive numbers, NaN where -0 would be.
    assert fmt.magnitude(1 << (k - 2)) == 1.0


@pytest.mark.parametrize("k", [3, 5, 8, 12, 16])
@pytest.mark.parametrize("extended", [True, False])
def test_p3109_unsigned_and_finite(k: int, extended: bool) -> None:
    for p in range(max(1, k - 10), k + 1):
        fmt = p3109(k, p, signed=False, extended=extended)
        assert (fmt.bits, fmt.precision, fmt.bias) == (k, p, 2 ** (k - p))
        assert fmt.nan_code == 2**k - 1
        assert fmt.infinity_code == (2**k - 2 if extended else None)
        assert fmt.max_code == 2**k - 2 - extended
        assert fmt.magnitude(1 << (k - 1)) == 1.0
        assert lpf.format(str(fmt)) == fmt
    for p in range(max(1, k - 11), k):
        fmt = p3109(k, p, extended=extended)
        assert fmt.max_code == 2 ** (k - 1) - 1 - extended
        assert fmt.nan_code == 2 ** (k - 1)
        assert lpf.format(str(fmt)) == fmt


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((2, 1), ValueError, "^k is 2; allowed: 3 to 16"),
        ((17, 3), ValueError, "^k is 17; allowed: 3 to 16"),
        ((8, 0), ValueError, "^p is 0; allowed: 1 to 7"),
        ((8, 8), ValueError, "^p is 8; allowed: 1 to 7 for k=8 and signed=True"),
        ((8, 9, False), ValueError, "^p is 9; allowed: 1 to 8 for k=8 and signed=False"),
        ((16, 4), ValueError, "^p is 4; allowed: 5 to 15 for k=16 and signed=True"),
        ((8.0, 3), TypeError, "^k is 8.0; allowed: an integer"),
        ((8, True), TypeError, "^p is True; allowed: an integer"),
    ],
)
def test_p3109_out_of_range(args: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        p3109(*args)


# Parsing.


#: Spellings that by custom mean another format than the grammar would give: without NaN, or without sign.
@given(formats())
def test_spec_is_parsed_back(fmt: Format) -> None:
    assert lpf.format(fmt.spec) == fmt
    assert lpf.format(f"  {fmt.spec.lower()} ") == fmt


@pytest.mark.parametrize("spec", ["e2m1fn", "e2m3fn", "e3m2fn", "e8m0"])
def test_spec_of_formats_whose_plain_spelling_is_another(spec: str) -> None:
    exponent_bits, mantissa_bits = int(spec[1]), int(spec[3])
    fmt = Format(exponent_bits, mantissa_bits, specials="fn" if spec.endswith("fn") else "ieee")
    assert lpf.format(spec) != fmt
    assert lpf.format(fmt.spec) == fmt


@pytest.mark.parametrize("fmt", [*NAMED_FORMATS.values(), *SAMPLE_FORMATS], ids=str)
def test_str_is_parsed_back(fmt: Format) -> None:
    assert lpf.format(str(fmt)) == fmt
    assert lpf.format(fmt) is fmt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E5M10", lpf.float16),
        ("half", lpf.float16),
        ("FP16", lpf.float16),
        ("binary32", lpf.float32),
        ("double", lpf.float64),
        ("bf16", lpf.bfloat16),
        ("TensorFloat32", lpf.tf32),
        ("e8m10", lpf.tf32),
        ("e4m3fn", lpf.float8_e4m3fn),
        ("e4m3", lpf.float8_e4m3),
        ("E4M3B11FNUZ", lpf.float8_e4m3b11fnuz),
        ("e8m0", lpf.float8_e8m0fnu),
        ("e2m1fn", lpf.float4_e2m1fn),
        ("E3M2_finite", lpf.float6_e3m2fn),
        (
            "E4M3_finite_unsigned_nosubnormals",
            Format(4, 3, specials="finite", signed=False, subnormals=False),
        ),
        ("E4M3B-3_p3109_finite", Format(4, 3, bias=-3, specials="p3109_finite")),
        ("binary8p3", p3109(8, 3)),
        ("binary8p3uf", p3109(8, 3, signed=False, extended=False)),
        ("p3109_k6p2se", p3109(6, 2)),
    ],
)
def test_spellings(text: str, expected: Format) -> None:
    assert lpf.format(text) == expected


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (
            "flaot16",
            ValueError,
            "^fmt is 'flaot16', which names no format; allowed: .*did you mean 'float16'",
        ),
        ("", ValueError, "^fmt is '', which names no format; allowed: "),
        ("E4M3FN_finite", ValueError, "^fmt is 'E4M3FN_finite', which names no format; allowed: "),
        ("E4M3_signed", ValueError, "^fmt is 'E4M3_signed', which names no format; allowed: "),
        ("E12M3", ValueError, "^exponent_bits is 12; allowed: 0 to 11"),
        ("binary8p9", ValueError, "^p is 9; allowed: 1 to 7"),
        (np.int32, ValueError, "^fmt is the dtype 'int32'; allowed: float16, float32"),
        (np.complex64, ValueError, "^fmt is the dtype 'complex64'; allowed: "),
        (None, TypeError, "^fmt is None; allowed: a lpsim.Format, a string such as 'E5M10' or a dtype"),
        (3.5, TypeError, "^fmt is 3.5; allowed: "),
    ],
)
def test_spellings_of_nothing(spec: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lpf.format(spec)


# Validation.


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((-1, 3), {}, ValueError, "^exponent_bits is -1; allowed: 0 to 11"),
        ((4, 53), {}, ValueError, "^mantissa_bits is 53; allowed: 0 to 52"),
        ((4.0, 3), {}, TypeError, "^exponent_bits is 4.0; allowed: an integer from 0 to 11"),
        ((True, 3), {}, TypeError, "^exponent_bits is True; allowed: an integer"),
        ((4, 3), {"bias": 5000}, ValueError, "^bias is 5000; allowed: -4096 to 4096"),
        ((4, 3), {"bias": 1.5}, TypeError, "^bias is 1.5; allowed: an integer"),
        ((4, 3), {"specials": "ocp"}, ValueError, "^specials is 'ocp'; allowed: 'ieee', 'fn', "),
        ((4, 3), {"specials": 3}, ValueError, "^specials is 3; allowed: "),
        (
            (4, 3),
            {"specials": "fnuz", "signed": False},
            ValueError,
            "^specials is 'fnuz', which needs a sign bit",
        ),
        ((4, 3), {"signed": 1}, TypeError, "^signed is 1; allowed: True or False"),
        ((4, 3), {"subnormals": None}, TypeError, "^subnormals is None; allowed: True or False"),
        ((4, 3), {"name": 3}, TypeError, "^name is 3; allowed: a string or None"),
        (
            (0, 3),
            {},
            ValueError,
            "^exponent_bits=0, mantissa_bits=3, subnormals=True with specials='ieee' leave no code",
        ),
        ((0, 0), {"specials": "finite"}, ValueError, "leave no code for a positive number"),
        ((1, 3), {"subnormals": False}, ValueError, "subnormals=False with specials='ieee' leave no code"),
        ((4, 0), {"specials": "fnuz", "subnormals": False}, ValueError, "take the code of a negative number for NaN"),
        ((11, 52), {"specials": "fn"}, ValueError, r"^E11M52FN with bias=1023 has values from 2\*\*-1074 to"),
        (
            (11, 52),
            {"bias": 1024},
            ValueError,
            r"2\*\*-1075 .*allowed: formats whose every value is a binary64",
        ),
        (
            (11, 10),
            {"bias": 1022},
            ValueError,
            r"2\*\*1024; allowed: formats whose every value is a binary64",
        ),
    ],
)
def test_out_of_range(args: Any, kwargs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Format(*args, **kwargs)


def test_extremes_of_binary64_are_allowed() -> None:
    assert Format(11, 52) == lpf.float64
    assert Format(4, 3, bias=1072).smallest_subnormal == 5e-324
    assert Format(11, 0, specials="finite", bias=1024).max == 2.0**1023
    assert Format(1, 0, specials="finite", bias=-1022).max == 2.0**1023


# Formats as values.


def test_equality_is_by_facts_and_not_by_name() -> None:
    assert Format(5, 10, name="mine") == lpf.float16
    assert hash(Format(5, 10, bias=15)) == hash(lpf.float16)
    different = [Format(5, 10, bias=14), Format(5, 10, specials="fn"), Format(5, 10, signed=False),
                 Format(5, 10, subnormals=False), Format(10, 5)]  # fmt: skip
    assert len({lpf.float16, *different}) == 6


@pytest.mark.parametrize("fmt", SAMPLE_FORMATS, ids=str)
def test_copies_and_pickles(fmt: Format) -> None:
    for twin in (copy.deepcopy(fmt), pickle.loads(pickle.dumps(fmt))):
        assert twin == fmt
        assert hash(twin) == hash(fmt)
        assert str(twin) == str(fmt)


def test_formats_are_frozen() -> None:
    with pytest.raises(AttributeError):
        lpf.float16.bias = 3  # type: ignore[misc]


def test_numpy_integers_are_integers() -> None:
    fmt = Format(np.int64(5), np.uint8(10))  # type: ignore[arg-type]
    assert fmt == lpf.float16
    assert type(fmt.exponent_bits) is int
