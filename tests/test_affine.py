"""Affine quantisation against scalar loops in binary32, written from each convention's definition."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim.quantization import CONVENTIONS, affine, integer_matmul

F = np.float32
Array = npt.NDArray[Any]


def data(rows: int = 5, n: int = 48) -> Array:
    """Numbers of many magnitudes, ties, zeros of both signs, and rows of one sign, of zeros and of equal numbers."""
    rng = np.random.default_rng(rows * n)
    x = rng.normal(size=(rows, n)) * np.exp2(rng.integers(-8, 9, (rows, n)))
    x[0] = rng.integers(-127, 128, n) / 2
    x[0, :2] = 63.5, -63.5
    x[1] = 0
    x[1, 3] = -0.0
    x[2] = np.abs(x[2])
    x[3, ::2] = 0.75
    return x.astype(F)


def half_away(x: float) -> float:
    return math.copysign(math.floor(abs(x) + 0.5), x) if abs(x) < 2**40 else x


def expected(x: Array, bits: int, symmetric: bool, convention: str, signed: bool, narrow: bool) -> tuple[Array, Array]:
    """Codes and values of the numbers of one group."""
    qmin = (-(2 ** (bits - 1)) if signed else 0) + narrow
    qmax = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    low, high = F(min(x.min(), 0)), F(max(x.max(), 0))
    codes, values = [], []
    for number in x:
        if convention == "tensorflow_min_combined":
            scale = F((high - low) / F(qmax - qmin))
            factor = F(1) / scale if scale > 0 else F(0)
            code = half_away(float(F(F(number - low) * factor))) + qmin
            code = min(max(code, qmin), qmax)
            value = F(low + F(scale * F(code - qmin)))
        elif symmetric:
            if convention in ("torchao_no_clipping", "tensorflow_scaled"):
                scale = max(F(low / F(qmin)), F(high / F(qmax)))
            elif convention == "torchao":
                scale = F(max(-low, high) / F((qmax - qmin) / 2))
            else:
                scale = F(max(-low, high) / F(qmax))
            if convention.startswith("torchao"):
                scale = max(scale, np.finfo(F).smallest_normal)
                ratio = F(number * F(F(1) / scale))
            else:
                ratio = F(number / scale) if scale > 0 else F(0)
            code = half_away(float(ratio)) if convention == "tensorflow_scaled" else float(np.rint(ratio))
            code = min(max(code, qmin), qmax)
            value = F(scale * F(code))
        else:
            scale = F((high - low) / F(qmax - qmin))
            if convention == "torchao":
                scale = max(scale, np.finfo(F).smallest_normal)
            zero = min(max(F(qmin) - np.rint(F(low / scale)), qmin), qmax) if scale > 0 else max(qmin, 0)
            ratio = (
                F(0) if scale == 0 else F(number * F(F(1) / scale)) if convention == "torchao" else F(number / scale)
            )
            code = min(max(float(np.rint(ratio)) + float(zero), qmin), qmax)
            value = F(scale * F(code - zero))
        codes.append(code)
        values.append(value)
    return np.array(codes), np.array(values, F)


CASES = [
    (symmetric, convention, signed, narrow)
    for convention, (_, asymmetric) in CONVENTIONS.items()
    if convention != "tensorflow_min_first"
    for symmetric in (True, False)
    if (symmetric or asymmetric) and not (symmetric and convention.startswith("tensorflow_min"))
    for signed in (True, False)
    if signed or not symmetric
    for narrow in (False, True)
]


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8, 12, 16])
@pytest.mark.parametrize(("symmetric", "convention", "signed", "narrow"), CASES)
def test_as_defined(bits: int, symmetric: bool, convention: str, signed: bool, narrow: bool) -> None:
    x = data()
    for group in (None, 16):
        scheme = affine(bits, symmetric, group, convention=convention, signed=signed, narrow_range=narrow)
        quantized = lp.quantize(x, scheme)
        codes = scheme.unpacked(quantized.parts, x.shape[1])
        values = quantized.dequantize()
        for row in range(x.shape[0]):
            for start in range(0, x.shape[1], group or x.shape[1]):
                part = slice(start, start + (group or x.shape[1]))
                want_codes, want_values = expected(x[row, part], bits, symmetric, convention, signed, narrow)
                assert np.array_equal(codes[row, part], want_codes), (row, start)
                assert np.array_equal(values[row, part], want_values), (row, start)


def test_one_scale() -> None:
    x = data()
    quantized = lp.quantize(x, affine(8, per="tensor"))
    codes, values = expected(x.reshape(-1), 8, True, "absmax", True, False)
    assert np.array_equal(quantized.codes.reshape(-1), codes)
    assert np.array_equal(quantized.dequantize().reshape(-1), values)
    assert quantized.scales is not None
    assert quantized.scales.shape == (1, 1)


def test_static() -> None:
    scheme = affine(scale=0.1, zero_point=10, signed=False)
    quantized = lp.quantize([-1, 0, 1, 2, 100, -100], scheme)
    assert quantized.codes.tolist() == [[0, 10, 20, 30, 255, 0]]  # torch.quantize_per_tensor's example
    assert np.array_equal(quantized.dequantize()[:4], F(0.1) * np.array([-10, 0, 10, 20], F))


def test_min_first() -> None:
    """The range starts at a multiple of the step, so that zero is a value: TensorFlow's MIN_FIRST."""
    x = np.array([[-1.0, 0.0, 0.5, 3.0]], F)
    quantized = lp.quantize(x, affine(8, False, convention="tensorflow_min_first"))
    step = F(4) * F(256 / 255) / F(256)
    base = half_away(float(-1 / step))
    assert quantized.codes.tolist() == [[half_away(float(v / step)) - base for v in x[0]]]
    assert quantized.error(x).max_abs <= step


@pytest.mark.parametrize("mode", [mode for mode in lp.Rounding if not mode.is_stochastic])
def test_modes_are_those_of_formats(mode: lp.Rounding) -> None:
    """Rounding to integers is rounding to a fixed-point format."""
    x = np.concatenate([np.arange(-60, 61) / 4, np.random.default_rng(0).normal(size=2000) * 5]).astype(F)
    quantized = lp.quantize(x, affine(8, scale=1.0, rounding=mode))
    assert np.array_equal(quantized.dequantize(), lp.round(x, lp.Format(0, 15, bias=-14, specials="finite"), mode))


def test_packed_codes() -> None:
    quantized = lp.quantize([[1, 2, 3, -8 / 8 * 7]], affine(4, scale=1.0))
    assert quantized.codes.tolist() == [[0x21, 0x93]]
    quantized = lp.quantize([[1, -1, 2, -4, 3]], affine(3, scale=1.0))
    fields = sum((code & 7) << 3 * i for i, code in enumerate([1, -1, 2, -4, 3]))
    assert quantized.tobytes()[:2] == fields.to_bytes(2, "little")
    for bits in range(2, 8):
        for n in range(1, 20):
            codes = np.random.default_rng(n).integers(-(1 << bits - 1), 1 << bits - 1, (3, n))
            assert np.array_equal(lp.fake_quantize(codes, affine(bits, scale=1.0)), codes)


def test_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:

    from lpsim.quantization import affine as module  # noqa: F401  # the function; the module is asked for below

    monkeypatch.setattr(sys.modules["lpsim.quantization.affine"], "_GRAIN", 1)
    x = data(33, 48)
    quantized = lp.quantize(x, affine(4, False, 16))
    monkeypatch.undo()
    assert quantized.tobytes() == lp.quantize(x, affine(4, False, 16)).tobytes()
    assert np.array_equal(quantized.dequantize(), lp.fake_quantize(x, affine(4, False, 16)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 1}, "bits is 1; allowed: 2 to 16"),
        ({"bits": 17}, "bits is 17"),
        ({"convention": "keras"}, "convention is 'keras'; allowed: 'absmax"),
        ({"per": "row"}, "per is 'row'; allowed: 'tensor', 'channel'"),
        ({"symmetric": False, "convention": "tensorrt"}, "has no zero points"),
        ({"convention": "tensorflow_min_first"}, "starts at the least number"),
        ({"group": 0}, "group is 0; allowed: a positive integer"),
        ({"group": 8, "per": "tensor"}, "group is given, but per is 'tensor'"),
        ({"rounding": "stochastic"}, "allowed: the deterministic modes"),
        ({"scale": 0.0}, "scale is 0.0; allowed: a positive number"),
        ({"zero_point": 3}, "zero_point is given without scale"),
        ({"scale": 1.0, "zero_point": 128}, "zero_point is 128; allowed: -128 to 127"),
    ],
)
def test_bad_parameters(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        affine(**arguments)


def test_bad_groups() -> None:
    with pytest.raises(ValueError, match="x has 10 numbers along the axis; allowed: multiples of group=4"):
        lp.quantize(np.ones(10), affine(group=4))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_integer_products(dtype: type) -> None:
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    for m, k, n in [(1, 1, 1), (7, 300, 5), (3, 30_000 if info.bits == 8 else 1, 4), (0, 3, 2), (2, 0, 3)]:
        a, b = (rng.integers(info.min, info.max, shape, dtype, endpoint=True) for shape in ((m, k), (k, n)))
        if info.bits == 16:
            a //= 1024
        a[: min(m, 1)] = info.max // (1024 if info.bits == 16 else 1)
        assert np.array_equal(integer_matmul(a, b), a.astype(np.int64) @ b.astype(np.int64))
    a, b = rng.integers(0, 100, (4, 9), dtype), rng.integers(0, 100, (9, 4), dtype)
    exact = (a.astype(int) - 7) @ (b.astype(int) + 3)
    assert np.array_equal(integer_matmul(a, b, 7, -3), exact)


def test_integer_products_that_may_overflow() -> None:
    ones = np.full((1, 133_145), -127, np.int8)
    with pytest.raises(OverflowError, match=r"k is 133145 and the largest products are 16129.*k of at most 133144"):
        integer_matmul(ones, ones.T)
    assert integer_matmul(ones[:, 1:], ones.T[1:])[0, 0] == 133_144 * 16_129
    with pytest.raises(TypeError, match="a has dtype float64; allowed: integers of 8 or 16 bits"):
        integer_matmul([[0.5]], [[1]])
    with pytest.raises(ValueError, match=r"a has shape \(1, 2\) and b has shape \(1, 1\); allowed"):
        integer_matmul([[1, 2]], [[1]])
