"""NVFP4 against plain float32 loops from torchao's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim.quantization import nvfp4

f32 = np.float32
E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
E4M3 = [(8 * (f > 0) + t) / 8 * 2.0 ** (max(f, 1) - 7) for f in range(16) for t in range(8) if (f, t) != (15, 7)]


def nearest_even(values: list[float], x: float) -> int:
    """Return the code of the value nearest to x >= 0, ties to the even code; exact, as all are float64 numbers."""
    return min(range(len(values)), key=lambda i: (abs(values[i] - x), i % 2))


def model(x: npt.NDArray[np.float32], two_level: bool) -> tuple[bytes, list[int], np.float32, npt.NDArray[Any]]:
    """Return packed codes, scale codes, the tensor's scale and values."""
    flat = x.reshape(-1, 16)
    ts = f32(np.abs(x).max()) / f32(2688)
    codes, scales, values = [], [], []
    for block in flat:
        bs = f32(np.abs(block).max()) / f32(6)
        if two_level and ts > 0:
            bs = bs / ts
        scale_code = nearest_even(E4M3, float(min(max(bs, f32(2.0**-6)), f32(448))))
        s8 = f32(E4M3[scale_code])
        factor = (f32(1) / ts) / s8 if two_level and ts > 0 else f32(1) / s8
        back = ts * s8 if two_level else s8
        scales.append(scale_code)
        for v in block:
            scaled = v * factor
            code = nearest_even(E2M1, min(abs(float(scaled)), 6.0))
            codes.append(code | 8 * int(np.signbit(v)))
            values.append(np.copysign(f32(E2M1[code]) * back, v))
    octets = bytes(codes[i] | codes[i + 1] << 4 for i in range(0, len(codes), 2))
    return octets, scales, ts, np.array(values, np.float32).reshape(x.shape)


def inputs() -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    ties = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 6], np.float32)
    mixed = (rng.normal(size=(20, 64)) * np.exp2(rng.integers(-25, 10, (20, 1)))).astype(np.float32)
    mixed[3] = 0
    mixed[4, :16] = -0.0
    mixed[5] = 1.3
    mixed[6, 5] = 1e-42
    return [
        rng.normal(size=(40, 64)).astype(np.float32),
        mixed,
        np.tile(np.r_[ties, -ties], (4, 2)),
        np.tile(np.r_[ties, -ties], (4, 2)) * f32(448),
        np.tile(ties, (2, 4)) * f32(2.0**100),
        np.tile(ties, (2, 4)) * f32(2.0**-100),
        np.zeros((2, 32), np.float32),
    ]


@pytest.mark.parametrize("which", range(len(inputs())))
@pytest.mark.parametrize("two_level", [True, False])
def test_model(which: int, two_level: bool) -> None:
    x = inputs()[which]
    octets, scales, ts, values = model(x, two_level)
    quantized = lp.quantize(x, nvfp4(two_level))
    assert quantized.codes.tobytes() == octets
    assert quantized.scales is not None
    assert quantized.scales.ravel().tolist() == scales
    assert ("tensor_scale" in quantized.parts) == two_level
    if two_level:
        assert quantized.parts["tensor_scale"].tolist() == [ts]
    assert quantized.dequantize().tobytes() == values.tobytes()
    assert quantized.nbytes == x.size // 2 + x.size // 16 + 4 * two_level


def test_zeros() -> None:
    for two_level in (True, False):
        quantized = lp.quantize(np.zeros(16), nvfp4(two_level))
        assert quantized.codes.tobytes() == bytes(8)
        assert quantized.parts["scales"].tolist() == [[8]]  # 2**-6, the smallest normal number
        assert not quantized.dequantize().any()


def test_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.random.default_rng(1).normal(size=(100, 16)).astype(np.float32)
    ts = np.abs(x).max() / f32(2688)
    s8 = np.clip(np.abs(x).max(axis=1) / f32(6) / ts, f32(2.0**-6), f32(448)).astype(ml_dtypes.float8_e4m3fn)
    factor = (f32(1) / ts) / s8.astype(np.float32)
    q = np.clip(x * factor[:, None], -6, 6).astype(ml_dtypes.float4_e2m1fn)
    quantized = lp.quantize(x, nvfp4())
    assert np.array_equal(quantized.parts["scales"][:, 0], s8.view(np.uint8))
    assert np.array_equal(lp.unpack(quantized.codes, lp.float4_e2m1fn), q.view(np.uint8))


def test_rounding() -> None:
    x = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 6] * 2, np.float32)
    got = lp.fake_quantize(x, nvfp4(two_level=False, rounding="ties_to_away"))
    assert got[:8].tolist() == [0.5, 1, 1.5, 2, 3, 4, 6, 6]


def test_bad_values() -> None:
    with pytest.raises(ValueError, match="x has rows of 17 along axis; allowed: multiples of the block length, 16"):
        lp.quantize(np.ones(17), nvfp4())
    with pytest.raises(ValueError, match=r"x is nan at index \(3,\), for which NVFP4 has no rule"):
        lp.quantize([0, 0, 0, np.nan] * 4, nvfp4())
    with pytest.raises(ValueError, match="too small for the tensor scale's reciprocal"):
        lp.quantize([1e-40] * 16, nvfp4())
    with pytest.raises(TypeError, match="two_level is 1; allowed: True or False"):
        nvfp4(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed is None"):
        nvfp4(rounding="stochastic")


def test_empty() -> None:
    assert lp.quantize(np.empty((0, 16)), nvfp4()).dequantize().shape == (0, 16)
