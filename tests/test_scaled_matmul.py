"""Products of block-scaled arrays: scales applied by the unit, bit for bit as the reference does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lpsim as lp
from lpsim import reference
from lpsim.quantization import block_float, mx, nvfp4

UNITS = {
    "e4m3": "b200.mxfp8_e4m3",
    "e5m2": "b200.mxfp8_e5m2",
    "e3m2": "b200.mxfp6_e3m2",
    "e2m3": "b200.mxfp6_e2m3",
    "e2m1": "b200.mxfp4",
}


def factors(k: int = 128) -> tuple[Any, Any]:
    rng = np.random.default_rng(k)
    a = rng.normal(size=(3, k)) * np.exp2(rng.integers(-12, 12, (3, k // 16))).repeat(16, axis=1)
    b = rng.normal(size=(k, 4)) * np.exp2(rng.integers(-12, 12, (k // 16, 4))).repeat(16, axis=0)
    return a, b


def elements_and_scales(quantized: lp.Quantized, element: lp.Format, scale: lp.Format) -> tuple[Any, Any]:
    """Decode what is stored, rows first."""
    codes = lp.unpack(quantized.codes, element, quantized.n)
    return lp.decode(codes, element), lp.decode(quantized.parts["scales"], scale)


@pytest.mark.parametrize("element", UNITS)
@pytest.mark.parametrize("chip", ["b200", "rtx50"])
def test_mx(element: str, chip: str) -> None:
    a, b = factors()
    qa, qb = lp.quantize(a, mx(element)), lp.quantize(b, mx(element), axis=0)
    unit = lp.units.get(UNITS[element].replace("b200", chip))
    ea, sa = elements_and_scales(qa, unit.a_format, lp.float8_e8m0fnu)
    eb, sb = elements_and_scales(qb, unit.b_format, lp.float8_e8m0fnu)
    expected = reference.matmul(ea, eb.T, unit, a_scale=sa, b_scale=sb.T)
    assert np.array_equal(lp.matmul(qa, qb, unit), expected)
    if chip == "b200":
        assert np.array_equal(lp.matmul(qa, qb), expected)
    # Near the product of the values, of which the unit drops low bits.
    assert np.allclose(expected, qa.dequantize() @ qb.dequantize(), rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("two_level", [True, False])
def test_nvfp4(two_level: bool) -> None:
    a, b = factors()
    qa, qb = lp.quantize(a, nvfp4(two_level)), lp.quantize(b, nvfp4(two_level), axis=0)
    unit = lp.units.b200.nvfp4
    ea, sa = elements_and_scales(qa, lp.float4_e2m1fn, lp.float8_e4m3fn)
    eb, sb = elements_and_scales(qb, lp.float4_e2m1fn, lp.float8_e4m3fn)
    expected = reference.matmul(ea, eb.T, unit, a_scale=sa, b_scale=sb.T).astype(np.float32)
    if two_level:
        expected = expected * (qa.parts["tensor_scale"][0] * qb.parts["tensor_scale"][0])
    got = lp.matmul(qa, qb)
    assert got.dtype == np.float32
    assert np.array_equal(got, expected)
    out = np.empty_like(got)
    assert lp.matmul(qa, qb, unit, out=out) is out
    assert np.array_equal(out, expected)
    if two_level:
        with pytest.raises(ValueError, match="c is given with scales of tensors"):
            lp.matmul(qa, qb, c=1)


def test_two_element_formats() -> None:
    unit = lp.MatrixUnit(
        lp.float8_e4m3fn,
        lp.float4_e2m1fn,
        rounding="toward_zero",
        dot=lp.FusedDot(32, 25, -133),
        scale_format=lp.float8_e8m0fnu,
        scale_block=16,
    )
    a, b = factors()
    qa, qb = lp.quantize(a, mx("e4m3")), lp.quantize(b, mx("e2m1", block=16), axis=0)
    ea, sa = elements_and_scales(qa, unit.a_format, lp.float8_e8m0fnu)
    eb, sb = elements_and_scales(qb, unit.b_format, lp.float8_e8m0fnu)
    # The unit's blocks are half as long as a's.
    expected = reference.matmul(ea, eb.T, unit, a_scale=sa.repeat(2, axis=1), b_scale=sb.T)
    assert np.array_equal(lp.matmul(qa, qb, unit), expected)


def test_batches_and_vectors() -> None:
    a, b = factors()
    qa, qb = lp.quantize(np.stack([a, 2 * a]), mx("e4m3")), lp.quantize(np.stack([b, -b]), mx("e4m3"), axis=1)
    got = lp.matmul(qa, qb)
    assert got.shape == (2, 3, 4)
    single = lp.matmul(lp.quantize(a, mx("e4m3")), lp.quantize(b, mx("e4m3"), axis=0))
    assert np.array_equal(got, np.stack([single, -2 * single]))


def test_a_block_with_nan() -> None:
    a, b = factors()
    a[1, 40] = np.nan
    got = lp.matmul(lp.quantize(a, mx("e4m3")), lp.quantize(b, mx("e4m3"), axis=0))
    assert np.isnan(got).tolist() == [[False] * 4, [True] * 4, [False] * 4]


def test_refused() -> None:
    a, b = factors()
    qa, qb = lp.quantize(a, mx("e2m1")), lp.quantize(b, mx("e2m1"), axis=0)
    for arguments, message in (
        ((qa, b), "unit is None for .* times ndarray that is not quantised"),
        ((qa, b, "b200.mxfp4"), "b is ndarray that is not quantised; allowed: arrays in a block format"),
        ((qa, lp.quantize(b, mx("e4m3"), axis=0)), "for which there is no default"),
        ((lp.quantize(a, mx("int8")), lp.quantize(b, mx("int8"), axis=0)), "for which there is no default"),
        ((qa, qb, "b200.mxfp8_e4m3"), "a has elements in float4_e2m1fn, but unit b200.mxfp8_e4m3 takes float8_e4m3fn"),
        ((qa, lp.quantize(b.T.copy().T[:, :].repeat(8, 1), mx("e2m1"))), "b is quantised along axis 1; allowed: 0"),
        ((lp.quantize(a, block_float("e2m1", block=16)), qb, "b200.mxfp4"), "a has a scale for each 16 elements"),
        ((qa, qb, "b200.e2m1"), "but unit b200.e2m1 for none; allowed"),
    ):
        with pytest.raises(ValueError, match=message):
            lp.matmul(*arguments)
    with pytest.raises(ValueError, match="a_scale is given with quantised factors"):
        lp.matmul(qa, qb, a_scale=1)
