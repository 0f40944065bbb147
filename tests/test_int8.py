"""LLM.int8() and EETQ against loops in exact or binary32 arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim.quantization import eetq, linear, llm_int8

F, H = np.float32, np.float16
Array = npt.NDArray[Any]


def half(x: Any) -> Array:
    return np.asarray(x, F).astype(H).astype(F)


def weights(rows: int = 6, n: int = 40) -> Array:
    rng = np.random.default_rng(rows * n)
    x = rng.normal(size=(rows, n)).astype(F)
    x[0] = rng.integers(-127, 128, n) / 2
    x[0, 0] = 63.5
    x[1] = 0
    x[2, ::2] = -x[2].max() * 2
    return x


def rows_of_integers(x: Array) -> tuple[Array, Array]:
    scales = np.array([max((abs(v) for v in row), default=F(0)) for row in x], F)
    codes = [
        [int(np.rint(F(v * F(F(127) / s)))) if s > 0 else 0 for v in row] for row, s in zip(x, scales, strict=True)
    ]
    return np.array(codes, np.int8).reshape(x.shape), scales


def test_weights_of_llm_int8() -> None:
    x = weights()
    codes, scales = rows_of_integers(half(x))
    quantized = lp.quantize(x, "llm_int8")
    assert np.array_equal(quantized.codes, codes)
    assert quantized.scales is not None
    assert np.array_equal(quantized.scales, scales)
    assert quantized.nbytes == x.size + 4 * len(x)


@pytest.mark.parametrize("threshold", [6.0, 2.5, 0.0])
@pytest.mark.parametrize("rows", [1, 7])
def test_llm_int8(threshold: float, rows: int) -> None:
    rng = np.random.default_rng(rows)
    a, w = rng.normal(size=(rows, 40)).astype(F), weights()
    a[:, 5] *= 10
    a[0, 9] = 6.0
    if rows > 1:
        a[1] = 0
    bias = rng.normal(size=len(w)).astype(F)
    quantized = lp.quantize(w, llm_int8(threshold))
    x = half(a)
    large = (np.abs(x) >= threshold) & (threshold > 0)
    columns = [j for j in range(40) if large[:, j].any()]
    codes, scales = rows_of_integers(np.where(large, F(0), x))
    codes[:, columns] = 0
    sums = codes.astype(np.int64) @ quantized.codes.astype(np.int64).T
    assert quantized.scales is not None
    for given in (None, bias):
        got = linear(a, quantized, bias=given)
        for i in range(rows):
            for j in range(len(w)):
                value = F(F(F(sums[i, j]) * F(scales[i] * quantized.scales[j])) * F(1 / 127**2))
                value = half(value if given is None else F(value + given[j]))
                outliers = F(0)
                for k in columns:
                    weight = half(F(F(quantized.codes[j, k]) * F(quantized.scales[j] * F(1 / 127))))
                    exact = Fraction(float(x[i, k])) * Fraction(float(weight)) + Fraction(float(outliers))
                    outliers = F(float(exact))  # the exact sum of so few digits is a binary64 number
                assert got[i, j] == (half(F(value + outliers)) if columns else value), (i, j)


def test_eetq() -> None:
    x = weights()
    x[3, 0] = -np.abs(x[3]).max() * 2
    quantized = lp.quantize(x, "eetq")
    for row, codes, stored in zip(x, quantized.codes, quantized.parts["scales"], strict=True):
        scale = F(np.abs(row).max() / F(128))
        assert stored == H(scale)
        for value, code in zip(row, codes, strict=True):
            if scale == 0:
                assert code == 127
                continue
            ratio = float(F(value / scale))
            rounded = np.sign(ratio) * np.floor(abs(ratio) + 0.5)
            assert code == min(max(rounded, -128), 127)
    assert -128 in quantized.codes
    values = quantized.dequantize()
    assert np.array_equal(values, half(quantized.codes.astype(F) * quantized.parts["scales"].astype(F)[:, None]))
    assert not values[1].any()
    a = np.random.default_rng(0).normal(size=(3, 40)).astype(F)
    for accum, unit in (("fp32", "fp16"), ("fp16", "fp16_fp16acc")):
        got = linear(a, lp.quantize(x, eetq(accum)))
        assert np.array_equal(got, half(lp.matmul(half(a), values.T, unit)))


def test_linear_of_other_schemes() -> None:
    rng = np.random.default_rng(0)
    a, w, bias = rng.normal(size=(2, 3, 64)), rng.normal(size=(5, 64)), rng.normal(size=5)
    quantized = lp.quantize(w, "nf4")
    product = lp.matmul(a.astype(F), quantized.dequantize().T, "fp32")
    assert np.array_equal(linear(a, quantized), product)
    assert np.array_equal(linear(a, quantized, bias=bias), product + bias.astype(F))
    assert np.array_equal(linear(a, quantized, "bf16"), lp.matmul(a.astype(F), quantized.dequantize().T, "bf16"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: llm_int8(-1), "threshold is -1; allowed: 0"),
        (lambda: eetq("bf16"), "accum is 'bf16'; allowed: 'fp32', 'fp16'"),
        (lambda: lp.quantize([[1e5]], "llm_int8"), "x is 100000.0 at row and column .*beyond float16"),
        (lambda: lp.quantize([[1e8]], "eetq"), "x has a scale of .*beyond float16"),
        (lambda: linear([[1.0]], lp.quantize([[1.0, 2.0]], "int8")), r"a has shape \(1, 1\); allowed: \(..., 2\)"),
        (lambda: linear([1.0], lp.quantize([[1.0]], "int8", 0)), "allowed: two axes, and axis 1"),
        (lambda: linear([1.0], lp.quantize([[1.0]], "int8"), bias=[1, 2]), r"bias has shape \(2,\); allowed: \(1,\)"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
