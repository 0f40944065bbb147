"""Elementwise functions behave as NumPy's ufuncs: shapes, strides, dtypes, ``out=``, subclasses, errors."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numba
import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp
from lpsim import elementwise, reference

RNG = np.random.default_rng(20)
X = RNG.standard_normal((6, 10)).astype(np.float32)
Y = RNG.standard_normal((6, 10))
Z = RNG.standard_normal(10)


def test_broadcasting() -> None:
    got = lp.fma(X[:, :1], Y, Z, lp.float16)
    expected = [[reference.fma(float(X[i, 0]), Y[i, j], Z[j], lp.float16) for j in range(10)] for i in range(6)]
    assert got.shape == (6, 10)
    assert_same(got, expected, list(np.ndindex(6, 10)))


LAYOUTS = {
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 3, 1), 2, 0)[::2, ::3],
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    "3-d": lambda x: x.reshape(1, *x.shape),
}


@pytest.mark.parametrize("rounding", ["ties_to_even", "stochastic"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_no_bit(layout: str, rounding: str) -> None:
    expected = lp.mul(X, Y, "bf16", rounding, seed=1)
    got = lp.mul(LAYOUTS[layout](X), LAYOUTS[layout](Y), "bf16", rounding, seed=1)
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)
    out = LAYOUTS[layout](np.zeros_like(expected))
    if out.flags.writeable:
        lp.mul(X.reshape(out.shape), Y.reshape(out.shape), "bf16", rounding, seed=1, out=out)
        np.testing.assert_array_equal(out.reshape(expected.shape), expected)


@pytest.mark.parametrize("rounding", ["ties_to_even", "stochastic"])
@pytest.mark.parametrize("shape", [(7001,), (1, 7001), (70, 101), (2, 1, 3500), (7001, 1)])
def test_threads_change_no_bit(shape: tuple[int, ...], rounding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).standard_normal(shape)
    strided = np.repeat(x, 2, -1)[..., ::2]
    before = numba.get_num_threads()
    results = []
    try:
        for grain, threads in ((1 << 30, 1), (64, 1), (64, min(2, numba.config.NUMBA_NUM_THREADS))):
            monkeypatch.setattr(elementwise, "_GRAIN", grain)
            monkeypatch.setattr(elementwise, "PIECE", min(grain, 512))
            numba.set_num_threads(threads)
            results += [lp.round(a, "e4m3fn", rounding, seed=9, flags=True) for a in (x, strided)]
    finally:
        numba.set_num_threads(before)
    for value, flags in results[1:]:
        np.testing.assert_array_equal(value, results[0][0])
        np.testing.assert_array_equal(flags, results[0][1])


def test_carriers() -> None:
    for fmt in (*lp.formats.NAMED_FORMATS.values(), lp.format("E9M3"), lp.format("E5M24")):
        wide = fmt in (lp.float64, lp.format("E9M3"), lp.format("E5M24"))
        assert lp.round(X, fmt).dtype == (np.float64 if wide else np.float32)


def test_scalars_empty_and_0d() -> None:
    assert type(lp.round(1.1, "half")) is np.float32
    assert type(lp.add(1, np.float64(2), "double")) is np.float64
    value, flags = lp.round(np.array(1.1), "half", flags=True)
    assert (type(value), type(flags)) == (np.float32, np.uint8)
    for shape in ((0,), (3, 0, 2)):
        assert lp.round(np.empty(shape), "half").shape == shape
        assert lp.encode(np.empty(shape), "half").dtype == np.uint16
        assert lp.decode(np.empty(shape, np.uint8), "e4m3").shape == shape
    assert lp.round([], "half").shape == (0,)
    out = np.zeros(())
    assert lp.round(2.2, "e4m3", out=out) is out
    assert out == 2.25


DTYPES = [np.bool_, *np.typecodes["AllInteger"], "e", "f", "d", ">f4", ">i4", "<f2"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_input_dtypes(dtype: Any) -> None:
    x = (np.array([0, 1, 3, 100, 119]) if dtype != np.bool_ else np.array([0, 1])).astype(dtype)
    assert_same(lp.round(x, "e4m3"), [reference.round(float(v), "e4m3") for v in x], x)
    assert_same(lp.add(x, x, "e4m3"), [reference.add(float(v), float(v), "e4m3") for v in x], x)


ML_FLOATS = [name for name in lp.formats.NAMED_FORMATS if hasattr(ml_dtypes, name)]


@pytest.mark.parametrize("name", [*ML_FLOATS, "int4", "uint4"])
def test_ml_dtypes_inputs(name: str) -> None:
    values = [1, 2, 0.5] if name in ML_FLOATS else [1, 2, 3]
    x = np.array(values).astype(getattr(ml_dtypes, name))
    np.testing.assert_array_equal(lp.round(x, "half"), values)
    np.testing.assert_array_equal(lp.add(x, x, "half"), np.array(values) * 2)
    if name in ML_FLOATS:
        assert lp.format(x.dtype) == lp.formats.NAMED_FORMATS[name]


INTEGERS = [
    2**53 + 1, 2**54 + 2, 2**60 - 1, 2**62 + 2**37, 2**62 + 2**37 + 1, 2**62 + 3 * 2**37, 2**63 - 1, 2**63 - 2**9, 3, 0,
]  # fmt: skip


@pytest.mark.parametrize("fmt", [lp.float64, lp.float32, lp.bfloat16, lp.format("E6M52")], ids=str)
@pytest.mark.parametrize("rounding", [mode for mode in lp.Rounding if not mode.is_stochastic])
def test_integers_beyond_float64_are_rounded_once(fmt: lp.Format, rounding: lp.Rounding) -> None:
    signed = np.array([*INTEGERS, *(-n for n in INTEGERS), -(2**63)], np.int64)
    unsigned = np.array([2**64 - 1, 2**63 + 1, 2**63 + 2**39, *INTEGERS], np.uint64)
    for x in (signed, unsigned):
        expected = [reference.round(int(v), fmt, rounding=rounding, flags=True) for v in x]
        value, flags = lp.round(x, fmt, rounding, flags=True)
        assert_same(value, [v for v, _ in expected], x)
        np.testing.assert_array_equal(flags, [int(f) for _, f in expected])
        np.testing.assert_array_equal(
            lp.encode(x, fmt, rounding), [reference.encode(int(v), fmt, rounding=rounding) for v in x]
        )


def test_float64_is_rounded_once() -> None:
    x = 1 + 2.0**-11 + 2.0**-50  # binary32 would make a tie of it
    assert lp.round(x, "half") == 1 + 2.0**-10
    assert lp.round(np.float32(x), "half") == 1


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 3])
def test_out_may_overlap_an_operand(shift: int) -> None:
    base = np.random.default_rng(5).standard_normal(2000).astype(np.float32)
    x, out = base[3:-3], base[3 + shift : base.size - 3 + shift]
    expected = lp.add(x.copy(), 1, "bf16")
    assert lp.add(x, 1, "bf16", out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_out_dtypes() -> None:
    for dtype in (np.float16, np.float32, np.float64, ">f4"):
        out = np.zeros(X.shape, dtype)
        assert lp.round(X, "e4m3fn", out=out) is out
        np.testing.assert_array_equal(out, lp.round(X, "e4m3fn"))
    for dtype in (np.uint8, np.uint16, np.uint64):
        codes = np.zeros(X.shape, dtype)
        assert lp.encode(X, "e4m3fn", out=codes) is codes
        np.testing.assert_array_equal(codes, lp.encode(X, "e4m3fn"))
        values = np.zeros(X.shape)
        assert lp.decode(codes, "e4m3fn", out=values) is values
        np.testing.assert_array_equal(values, lp.round(X, "e4m3fn"))


class Labelled(np.ndarray):
    """A subclass as users write them."""


def test_subclasses_are_kept() -> None:
    x = X.view(Labelled)
    assert type(lp.round(x, "half")) is Labelled
    assert type(lp.add(Y, x, "half")) is Labelled
    assert type(lp.round(np.asarray(x), "half")) is np.ndarray
    np.testing.assert_array_equal(np.asarray(lp.round(x, "half")), lp.round(X, "half"))


def test_signalling_nans_pass_quietly() -> None:
    signalling = np.array([0x7F800001, 0xFF800001, 0x3F800000], np.uint32).view(np.float32)
    half = np.array([0x7C01, 0xFC01, 0x3C00], np.uint16).view(np.float16)
    for x in (signalling, half):
        assert_same(lp.add(x, np.zeros(3), "bf16"), [math.nan, math.nan, 1], range(3))
        assert_same(lp.add(x[::-1], np.zeros(3), "bf16"), [1, math.nan, math.nan], range(3))
        assert_same(lp.round(x, "double"), [math.nan, math.nan, 1], range(3))
        assert lp.encode(x, "half").tolist() == [0x7E00, 0x7E00, 0x3C00]
        assert lp.round(x, "bf16", flags=True)[1].tolist() == [lp.Flag.INVALID, lp.Flag.INVALID, 0]
        for operation in (lp.add, lp.sub, lp.mul, lp.div):
            assert operation(x, np.float32(1), "bf16", flags=True)[1].tolist() == [lp.Flag.INVALID, lp.Flag.INVALID, 0]
            assert operation(np.float32(1), x, "bf16", flags=True)[1].tolist() == [lp.Flag.INVALID, lp.Flag.INVALID, 0]
        assert lp.sqrt(x, "bf16", flags=True)[1].tolist() == [lp.Flag.INVALID, lp.Flag.INVALID, 0]
        one = np.float32(1)
        for operands in ((x, one, one), (one, x, one), (one, one, x)):
            assert lp.fma(*operands, "bf16", flags=True)[1].tolist() == [lp.Flag.INVALID, lp.Flag.INVALID, 0]
        assert_same(lp.ulp(x, "half"), [math.nan, math.nan, 2.0**-10], range(3))
        assert_same(lp.nextafter(x, 2, "half"), [math.nan, math.nan, 1 + 2.0**-10], range(3))
        assert_same(lp.matmul(x[:, np.newaxis], [[1.0]]), [math.nan, math.nan, 1], range(3))


def test_neg_and_abs() -> None:
    assert_same(lp.neg([0.0, -0.0, 2.3], "e4m3"), [-0.0, 0.0, -2.25], range(3))
    assert_same(lp.abs([-0.0, -2.3, -math.inf], "e4m3"), [0.0, 2.25, math.inf], range(3))
    assert lp.neg(np.uint8(3), "half") == -3


BAD = {
    "format": (lambda: lp.round(1, "hlaf"), ValueError, "fmt is 'hlaf'.*did you mean 'half'"),
    "format type": (lambda: lp.round(1, 3.5), TypeError, "fmt is 3.5"),
    "format none": (lambda: lp.round(1, None), TypeError, "fmt is None"),
    "integer dtype": (lambda: lp.round(1, np.int8), ValueError, "fmt is the dtype 'int8'"),
    "rounding": (lambda: lp.round(1, "half", "up"), ValueError, "rounding is 'up'; allowed: .*'ties_to_even'"),
    "rounding type": (lambda: lp.round(1, "half", 3), TypeError, "rounding is 3"),
    "overflow": (lambda: lp.round(1, "half", overflow="wrap"), ValueError, "overflow is 'wrap'.*'saturate'"),
    "no nan": (lambda: lp.round(1, "e2m1fn", overflow="to_nan"), ValueError, "float4_e2m1fn has no NaN"),
    "complex": (lambda: lp.round([1j], "half"), TypeError, r"x is \[1j\]; allowed: booleans"),
    "object": (lambda: lp.add(1, np.array([None]), "half"), TypeError, "y is an array of dtype object"),
    "string": (lambda: lp.sqrt("2", "half"), TypeError, "x is '2'"),
    "dates": (lambda: lp.round(np.zeros(2, "M8[s]"), "half"), TypeError, "datetime64"),
    "ragged": (lambda: lp.round([[1], [1, 2]], "half"), ValueError, r"x is \[\[1\], \[1, 2\]\]"),
    "huge integer": (lambda: lp.round(2**70, "half"), TypeError, "x is 1180591620717411303424"),
    "long double": (lambda: lp.round(np.longdouble(1), "half"), TypeError, "x is "),
    "masked": (lambda: lp.round(np.ma.masked_array([1.0], [True]), "half"), TypeError, "x is a masked array"),
    "inexact integer": (lambda: lp.mul(2**53 + 1, 1, "half"), ValueError, "x holds 9007199254740993"),
    "shapes": (lambda: lp.fma([1, 2], 1, [1, 2, 3], "half"), ValueError, r"z has shape \(3,\)"),
    "seed missing": (lambda: lp.round(1, "half", "stochastic"), ValueError, "seed is None.*or bits="),
    "seed negative": (lambda: lp.round(1, "half", "stochastic", seed=-1), ValueError, "seed is -1"),
    "seed large": (lambda: lp.round(1, "half", "stochastic", seed=2**64), ValueError, "seed is 18446744073709551616"),
    "seed type": (lambda: lp.round(1, "half", "stochastic", seed=1.5), TypeError, "seed is 1.5"),
    "seed and bits": (lambda: lp.round(1, "half", "stochastic", seed=1, bits=1), ValueError, "seed and bits"),
    "bits": (lambda: lp.round(1, "half", "stochastic", random_bits=3, bits=8), ValueError, r"allowed: 0 to 2\*\*3 - 1"),
    "bits type": (lambda: lp.round(1, "half", "stochastic", bits=0.5), TypeError, "bits has dtype float64"),
    "tininess": (lambda: lp.round(1, "half", tininess="during"), ValueError, "tininess is 'during'; allowed: 'after'"),
    "random_bits": (lambda: lp.round(1, "half", random_bits=54), ValueError, "random_bits is 54; allowed: 1 to 53"),
    "random_bits type": (lambda: lp.round(1, "half", random_bits=2.0), TypeError, "random_bits is 2.0"),
    "out type": (lambda: lp.round([1], "half", out=[0]), TypeError, r"out is \[0\]"),
    "out shape": (lambda: lp.round([1], "half", out=np.zeros(2)), ValueError, r"out has shape \(2,\); allowed: \(1,\)"),
    "out broadcast": (lambda: lp.round([1, 2], "half", out=np.zeros(1)), ValueError, "out has shape"),
    "out dtype": (lambda: lp.round([1], "bf16", out=np.zeros(1, "e")), TypeError, "float16; allowed: float32"),
    "out codes dtype": (lambda: lp.encode([1], "bf16", out=np.zeros(1, "u1")), TypeError, "at least 16 bits"),
    "out read-only": (lambda: lp.round([1], "half", out=np.broadcast_to(1.0, (1,))), ValueError, "out is read-only"),
    "codes range": (lambda: lp.decode([1, 256], "e4m3"), ValueError, "codes holds 256; allowed: 0 to 255"),
    "codes negative": (lambda: lp.decode(-1, "half"), ValueError, "codes holds -1"),
    "codes type": (lambda: lp.decode([1.0], "half"), TypeError, "codes has dtype float64"),
    "codes boolean": (lambda: lp.decode([True], "half"), TypeError, "codes has dtype bool"),
    "encode nan": (lambda: lp.encode([0, math.nan], "e2m1fn"), ValueError, r"first at index \(1,\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
