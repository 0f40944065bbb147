"""NF4, FP4 and the dynamic map against scalar loops, bitsandbytes' own library, and the figures of its tables."""

from __future__ import annotations

import bisect
import ctypes
import hashlib
import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim.quantization import NF4_TABLE, bnb_fp4, codebook, dynamic8, dynamic_map, nf, nf4, normal_map

F = np.float32
Array = npt.NDArray[Any]

FP4_VALUES = [0, 0.0625, 8, 12, 4, 6, 2, 3]
FP4_LIMITS = [F(t) for t in (0.00260417, 0.0859375, 0.20833333, 0.29166667, 0.4166667, 0.583333, 0.8333333)]
FP4_ORDER = [0, 1, 6, 7, 4, 5, 2, 3]


def fp4_code(ratio: F) -> int:
    return FP4_ORDER[sum(abs(ratio) > limit for limit in FP4_LIMITS)] | (8 if ratio < 0 else 0)


def nearest_code(table: Array, ratio: F) -> int:
    """Of the nearest in exact arithmetic, the lower one, up to the rounding of middles to binary32."""
    middles = [F((a + b) / F(2)) for a, b in itertools.pairwise(table)]
    return bisect.bisect_left(middles, ratio)


def expected(x: Array, block: int, code_of: Any) -> tuple[list[int], list[F]]:
    codes, scales = [], []
    for start in range(0, x.size, block):
        part = x[start : start + block]
        scale = F(np.abs(part).max())
        divisor = max(scale, F(1e-38))
        for number in part:
            ratio = F(number * F(F(1) / divisor)) if part.size == block else F(number / divisor)
            codes.append(code_of(min(max(ratio, F(-1)), F(1))))
        scales.append(scale)
    return codes, scales


def data(size: int) -> Array:
    rng = np.random.default_rng(size)
    x = rng.normal(size=size).astype(F) * np.exp2(rng.integers(-3, 4, size)).astype(F)
    middles = (np.array(NF4_TABLE[:-1], F) + np.array(NF4_TABLE[1:], F)) / F(2)
    x[: min(size, 15)] = middles[: min(size, 15)]
    x[15:16] = 1
    x[64:128] = 0
    x[128:192] = 2.0**-140
    x[192:200] = -0.0
    x[200:201] = 3e38
    return x


def unpacked(codes: Array, size: int) -> list[int]:
    return [int(half) for byte in codes for half in (byte >> 4, byte & 15)][:size]


@pytest.mark.parametrize("size", [1, 15, 64, 65, 640, 1001])
@pytest.mark.parametrize("block", [32, 64, 128])
def test_as_defined(size: int, block: int) -> None:
    x = data(size)
    tables: list[tuple[Any, Any]] = [
        (nf4(block), lambda ratio: nearest_code(np.array(NF4_TABLE, F), ratio)),
        (bnb_fp4(block), fp4_code),
    ]
    for scheme, code_of in tables:
        codes, scales = expected(x, block, code_of)
        quantized = lp.quantize(x, scheme)
        assert unpacked(quantized.codes, size) == codes
        assert quantized.scales is not None
        assert quantized.scales.tolist() == scales
        values = [F(F(scheme.table[code]) * scales[i // block]) for i, code in enumerate(codes)]
        assert np.array_equal(quantized.dequantize(), np.array(values, F))
    codes, scales = expected(x, block, lambda ratio: nearest_code(np.array(dynamic_map(), F), ratio))
    quantized = lp.quantize(x, dynamic8(block))
    assert quantized.codes.tolist() == codes


def test_known_bytes() -> None:
    x = np.linspace(-2, 2, 64).astype(F)
    quantized = lp.quantize(x, "nf4")
    assert quantized.codes.tobytes().hex() == "00000111111112222233344445556667788899aaabbbccccddddeeeeeeefffff"
    assert quantized.scales is not None
    assert quantized.scales.tolist() == [2.0]
    error = quantized.error(x)
    assert round(error.rms, 6) == 0.107135
    assert round(error.max_abs, 6) == 0.290154
    assert set(lp.quantize(np.zeros(64), "nf4").codes.tolist()) == {0x77}
    assert not lp.fake_quantize(np.zeros(64), "nf4").any()


def test_double_quantisation() -> None:
    i = np.arange(32768)
    x = ((7919 * i) % 257 - 128) / 64 * (1 + (i // 64 % 7) / 8)
    plain, double = lp.quantize(x, nf4()), lp.quantize(x, nf4(double_quant=True))
    assert plain.scales is not None
    assert plain.scales[:8].tolist() == [F(s) for s in (2, 2.2324219, 2.5, 2.7070312, 3, 3.2246094, 3.5, 1.96875)]
    assert hashlib.sha256(double.codes.tobytes()).hexdigest()[:16] == "fe825a535210cad2"
    assert double.parts["offset"].tolist() == [F(2.7318192)]
    assert double.parts["scale_scales"].tolist() == [F(0.77869415)] * 2
    assert double.scales is not None
    assert double.scales[:8].tolist() == [4, 25, 49, 88, 208, 228, 254, 1]
    assert round(double.error(x).relative_rms, 8) == 0.09237129
    large = lp.quantize(np.ones(64 * 256 * 4), nf4(double_quant=True))
    assert large.nbytes == 64 * 256 * 4 // 2 + 256 * 4 + 4 * 4 + 4  # 4.127 bits a number, and the offset
    assert np.array_equal(large.dequantize(), np.ones(64 * 256 * 4, F))


def test_tables() -> None:
    table = dynamic_map()
    assert len(table) == len(set(table)) == 256
    assert table[126:130] == (-5.500000384017767e-07, 0.0, 5.500000384017767e-07, 3.250000190746505e-06)
    digest = hashlib.sha256(np.array(table, F).tobytes()).hexdigest()  # of what PyTorch 2.14 computes for bitsandbytes
    assert digest == "e732639a65f497b4ad684bb166a4467708255edd5207757de8b8f0c7e1fda89c"
    assert [F(value) for value in (table[0], *table[254:])] == [F(v) for v in (-0.99296874, 0.99296874, 1)]
    assert np.abs(np.array(normal_map(4)) - NF4_TABLE).max() < 3e-7
    for bits in range(2, 9):
        values = normal_map(bits)
        assert len(set(values)) == 1 << bits
        assert values == tuple(sorted(values))
        assert (values[0], values[(1 << bits - 1) - 1], values[-1]) == (-1, 0, 1)
    codes = np.array([0x01, 0x23, 0x45, 0x67], np.uint8)
    values = bnb_fp4()._dequantize(codes, np.ones(1, F), 8).tolist()
    assert values == [F(v) for v in (0, 0.0052083335, 0.6666667, 1, 0.33333334, 0.5, 0.16666667, 0.25)]
    assert [F(v / 12) for v in FP4_VALUES] == values


def test_own_tables() -> None:
    table = [0.5, -1.0, 0.0, 1.0, -0.25]
    scheme = codebook(table, block=4)
    x = np.random.default_rng(0).normal(size=100).astype(F)
    order = np.argsort(table)
    codes, _ = expected(x, 4, lambda ratio: int(order[nearest_code(np.sort(np.array(table, F)), ratio)]))
    quantized = lp.quantize(x, scheme)
    assert unpacked(quantized.codes, 100) == codes
    assert lp.quantization.get("nf4(block=128)") == nf4(128)
    assert lp.quantize(x, nf(5)).codes.size == 100


def test_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import lpsim.quantization.codebooks as module

    x = data(10_001)
    whole = lp.quantize(x, nf4(double_quant=True))
    values = whole.dequantize()
    monkeypatch.setattr(module, "_GRAIN", 1)
    parted = lp.quantize(x, nf4(double_quant=True))
    assert parted.tobytes() == whole.tobytes()
    assert np.array_equal(parted.dequantize(), values)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nf4(63), "block is 63; allowed: an even integer of at least 2"),
        (lambda: codebook([0.5]), "allowed: 2 to 256 numbers from -1 to 1"),
        (lambda: codebook([0.5, 1.5]), "allowed: 2 to 256 numbers from -1 to 1"),
        (lambda: codebook([0.5, 0.5]), "table has a value twice"),
        (lambda: nf(9), "bits is 9; allowed: 2 to 8"),
    ],
)
def test_bad_parameters(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def library() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("bitsandbytes")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "libbitsandbytes_cpu.so"
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        return None


@pytest.mark.skipif(library() is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_decoding_as_bitsandbytes(kind: str) -> None:
    one = library()
    assert one is not None
    rng = np.random.default_rng(0)
    codes, scales = rng.integers(0, 256, 64 * 32, dtype=np.uint8), rng.normal(size=64).astype(F)
    out = np.empty(64 * 64, F)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (codes, scales, out)]
    function = getattr(one, f"cdequantize_blockwise_cpu_{kind}_fp32")
    function(*pointers, ctypes.c_longlong(64), ctypes.c_longlong(64), ctypes.c_longlong(64))
    scheme = nf4() if kind == "nf4" else bnb_fp4()
    assert np.array_equal(scheme._dequantize(codes, scales, out.size), out)


@pytest.mark.skipif(library() is None, reason="bitsandbytes is not installed")
def test_dynamic_map_as_bitsandbytes() -> None:
    """Its library quantises by a table of 65,536 bins, so that a code may not be the nearest."""
    one = library()
    assert one is not None
    x = np.random.default_rng(0).normal(size=1 << 18).astype(F)
    table, scales, codes = np.array(dynamic_map(), F), np.empty(x.size // 256, F), np.empty(x.size, np.uint8)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (table, x, scales, codes)]
    one.cquantize_blockwise_cpu_fp32(*pointers, ctypes.c_longlong(256), ctypes.c_longlong(x.size))
    quantized = lp.quantize(x, dynamic8(256))
    assert quantized.scales is not None
    assert np.array_equal(quantized.scales, scales)
    different = quantized.codes != codes
    assert different.mean() < 0.002
    ratios = (x.reshape(-1, 256) / scales[:, None]).reshape(-1).astype(np.float64)
    ours, theirs = (np.abs(table[c] - ratios) for c in (quantized.codes, codes))
    assert (theirs <= ours + 2.0**-15).all()  # by less than a bin is it farther
    assert (ours <= theirs + 2.0**-24).all()
    # And back: the same numbers.
    out = np.empty(x.size, F)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (table, codes, scales, out)]
    one.cdequantize_blockwise_cpu_fp32(*pointers, ctypes.c_longlong(256), ctypes.c_longlong(x.size))
    assert np.array_equal(dynamic8(256)._dequantize(codes, scales, x.size), out)
