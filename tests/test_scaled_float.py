"""Scaled floating point against NumPy in binary32 and `lpsim.reference`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lpsim as lp
from lpsim import reference
from lpsim.quantization import scaled_float

F = np.float32


@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "half", "bf16", "e2m3fn", "e2m1fn", "E3M4"])
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("kind", [{}, {"per": "tensor"}, {"block": 8}])
def test_as_defined(name: str, power_of_two: bool, kind: dict[str, Any]) -> None:
    fmt = lp.format(name)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4, 16)) * np.exp2(rng.integers(-30, 30, (4, 1)))).astype(F)
    x[1], x[2, :8] = 0, 2.0**-140
    for mode in ("ties_to_even", "toward_zero"):
        quantized = lp.quantize(x, scaled_float(fmt, power_of_two=power_of_two, rounding=mode, **kind))
        codes = lp.unpack(quantized.codes, fmt, 16) if fmt.bits < 8 else quantized.codes.view(fmt.code_dtype)
        values = quantized.dequantize()
        size = kind.get("block", 16)
        for row in range(4):
            for start in range(0, 16, size):
                part = x if kind.get("per") == "tensor" else x[row, start : start + size]
                amax = np.abs(part).max()
                factor = F(1) if amax == 0 else min(F(fmt.max) / amax if amax > 2.0**-110 else F(np.inf), F(2.0**126))
                if power_of_two and math.isfinite(factor):
                    factor = F(2.0 ** math.floor(math.log2(factor)))
                for i in range(start, start + size):
                    with np.errstate(under="ignore"):
                        product = F(x[row, i] * factor)
                    value = reference.round(float(product), fmt, rounding=mode, overflow="saturate")
                    assert lp.decode(codes[row, i], fmt) == value, (row, i)
                    assert values[row, i] == F(F(value) * F(F(1) / factor)), (row, i)


def test_sizes() -> None:
    x = np.ones((4, 32), F)
    assert lp.quantize(x, "fp8").nbytes == 4 * 32 + 4 * 4
    assert lp.quantize(x, scaled_float("e4m3fn", per="tensor")).nbytes == 4 * 32 + 4
    assert lp.quantize(x, scaled_float("e2m1fn", block=16)).nbytes == 4 * 16 + 4 * 2 * 4
    assert lp.fake_quantize(np.empty((0, 3)), "fp8").shape == (0, 3)
    assert lp.fake_quantize(np.empty((3, 0)), scaled_float(per="tensor")).shape == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fmt": "double"}, "fmt is float64; allowed: signed formats"),
        ({"per": "row"}, "per is 'row'; allowed"),
        ({"per": "tensor", "block": 4}, "block is given, but per is 'tensor'"),
        ({"block": 0}, "block is 0; allowed: 1 or more"),
        ({"rounding": "stochastic"}, "seed is None"),
    ],
)
def test_bad_parameters(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scaled_float(**arguments)
