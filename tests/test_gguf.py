"""GGUF's block types against the package `gguf`, ggml's own library, and loops in binary32 from the rules."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import gguf as package
import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim.quantization import GGUF_TYPES, gguf, read_gguf

F = np.float32
Array = npt.NDArray[Any]
QUANTISED = [name for name, one in GGUF_TYPES.items() if one.quantises]
BY_PACKAGE = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"]


def dyadic() -> Array:
    i = np.arange(1024)
    x = (((7919 * i) % 257 - 128) / 64).astype(F)
    assert hashlib.sha256(x.tobytes()).hexdigest()[:16] == "b29c6233bb0153be"
    return x


@functools.cache
def data(size: int = 1 << 20) -> Array:
    """Normal numbers, ties, blocks of many magnitudes, of equal numbers, of one sign, of zeros of both signs."""
    rng = np.random.default_rng(size)
    part = size // 8
    scaled = rng.normal(size=2 * part) * np.exp2(rng.integers(-60, 40, 2 * part // 32)).repeat(32)
    pieces = [
        rng.normal(size=2 * part),
        rng.integers(-64, 65, part) / 8,
        scaled,
        rng.integers(-8, 9, part) * 0.5 ** rng.integers(0, 3, part // 32).repeat(32),
        rng.normal(size=part // 32).repeat(32),
        np.abs(rng.normal(size=part // 2)),
        np.copysign(np.zeros(part // 2), rng.normal(size=part // 2)),
    ]
    x = np.concatenate(pieces).astype(F).reshape(-1, 1024)
    x.flags.writeable = False
    return x


def test_known_bytes() -> None:
    x = dyadic()
    digests = {"Q8_0": "dc2718942e3ea16e", "Q4_0": "59d7bbd64363027d", "Q4_K": "87f9d145e7befd79"}
    for name, digest in digests.items():
        assert hashlib.sha256(lp.quantize(x, name).tobytes()).hexdigest()[:16] == digest
    assert lp.quantize(x, "Q4_0").tobytes()[:18].hex() == "003400ddaa774411eebb885522ffcc996633"
    assert lp.quantize(x, "Q8_0").tobytes()[:8].hex() == "0824815021f1c192"
    errors = {
        "Q8_0": 0.003547, "Q4_0": 0.061707, "Q4_1": 0.043446, "Q5_0": 0.031823, "Q4_K": 0.031491, "Q6_K": 0.014280,
        "IQ4_NL": 0.070254, "MXFP4": 0.134648, "NVFP4": 0.105409,
    }  # fmt: skip
    for name, error in errors.items():
        assert round(lp.quantize(x, gguf(name)).error(x).relative_rms, 6) == error, name


def test_zero_blocks() -> None:
    for name, one in GGUF_TYPES.items():
        if one.quantises:
            quantized = lp.quantize(np.zeros(one.block), gguf(name))
            expected = {"Q4_0": "0080" + 16 * "88", "IQ4_NL": "0000" + 16 * "88", "Q5_0": "0080ffffffff" + 16 * "00"}
            assert quantized.tobytes().hex() == expected.get(name, 2 * one.octets * "0"), name
            assert not quantized.dequantize().any()
            assert quantized.bits_per_value == 8 * one.octets / one.block


def many(kind: str) -> Array:
    """A million numbers: of all kinds, normal ones, or ties of most types."""
    rng = np.random.default_rng(7)
    if kind == "mixed":
        return data()
    if kind == "random":
        return rng.normal(size=(1024, 1024)).astype(F)
    ties = rng.integers(-254, 255, (1024, 1024)) / 2 * 0.5 ** rng.integers(0, 6, (1024, 32)).repeat(32, axis=1)
    return ties.astype(F)


@pytest.mark.parametrize("kind", ["mixed", "random", "ties"])
@pytest.mark.parametrize("name", BY_PACKAGE)
def test_bytes_of_the_package(name: str, kind: str) -> None:
    x = many(kind)
    with np.errstate(over="ignore"):  # scales beyond binary16
        expected = package.quants.quantize(x, package.GGMLQuantizationType[name])
    got = lp.quantize(x, gguf(name)).codes
    wrong = (got != expected).reshape(-1, GGUF_TYPES[name].octets).any(axis=1)
    # Of zeros of both signs, the package and ggml take different ones as the extreme or the least.
    zeros = ~x.reshape(-1, 32).any(axis=1) if name[0] == "Q" else np.zeros(wrong.size, bool)
    assert not (wrong & ~zeros).any()


@pytest.mark.parametrize("name", [name for name, one in GGUF_TYPES.items() if one.own])
def test_values_of_the_package(name: str) -> None:
    one = GGUF_TYPES[name]
    codes = np.random.default_rng(0).integers(0, 256, (256, 8 * one.octets), dtype=np.uint8)
    with np.errstate(all="ignore"):
        expected = package.quants.dequantize(codes, package.GGMLQuantizationType[name])
    got = lp.Quantized(gguf(name), (256, 8 * one.block), 1, {"codes": codes}).dequantize()
    nan = np.isnan(expected)  # scales that are NaN, or infinities minus infinities
    assert np.array_equal(np.isnan(got), nan)
    assert np.array_equal(got[~nan].view(np.uint32), expected[~nan].view(np.uint32))


def library() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("_pywhispercpp")
    paths = [] if found is None or found.origin is None else sorted(Path(found.origin).parent.glob("libggml-base.so*"))
    for path in paths:
        try:
            one = ctypes.CDLL(str(path))
        except OSError:
            continue
        size, pointer = ctypes.c_int64, ctypes.c_void_p
        one.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, size, size, size, pointer]
        one.ggml_quantize_chunk.restype = ctypes.c_size_t
        return one
    return None


@pytest.mark.skipif(library() is None, reason="pywhispercpp, which ships ggml's library, is not installed")
@pytest.mark.parametrize("name", QUANTISED)
def test_bytes_of_the_library(name: str) -> None:
    one = library()
    assert one is not None
    x = np.ascontiguousarray(data()[::4] if name in ("IQ4_NL", "Q4_K", "Q5_K", "Q6_K") else data())
    got = lp.quantize(x, gguf(name)).codes
    out = np.zeros(got.shape, np.uint8)
    kind = int(package.GGMLQuantizationType[name])
    one.ggml_quantize_chunk(kind, x.ctypes.data, out.ctypes.data, 0, *x.shape, None)
    wrong = np.flatnonzero((got != out).any(axis=1))
    assert wrong.size == 0, (wrong[:5], wrong.size)


@pytest.mark.skipif(library() is None, reason="pywhispercpp, which ships ggml's library, is not installed")
def test_iq4_nl_without_search_as_the_library() -> None:
    one = library()
    assert one is not None
    x = np.random.default_rng(1).normal(size=(64, 1024)).astype(F)
    got = lp.quantize(x, gguf("IQ4_NL", search=False)).codes
    out = np.zeros(got.shape, np.uint8)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, out)]
    one.quantize_row_iq4_nl_ref(*pointers, ctypes.c_int64(x.size))
    assert np.array_equal(got, out)


def half(x: F) -> F:
    return F(np.float16(x))


def search_with_minimum(x: Array, most: int, first: float, steps: int) -> tuple[F, F, list[int]]:
    """The rule of Q4_K and Q5_K for a group, one number after the other."""
    squares = F(0)
    for v in x:
        squares = F(squares + F(v * v))
    average = np.sqrt(F(squares / F(32)))
    weights = [F(average + abs(v)) for v in x]
    low, high = min(x.min(), F(0)), x.max()
    sum_w, sum_x = F(0), F(0)
    for i, (w, v) in enumerate(zip(weights, x, strict=True)):
        sum_w = w if i == 0 else F(sum_w + w)
        sum_x = F(w * v) if i == 0 else F(sum_x + F(w * v))
    if high == low:
        return F(0), -low, [0] * 32

    def coded(inverse: F) -> list[int]:
        return [int(max(0, min(most, np.rint(F(inverse * F(v - low)))))) for v in x]

    def error(scale: F, codes: list[int], least: F) -> F:
        total = F(0)
        for w, code, v in zip(weights, codes, x, strict=True):
            difference = F(F(F(scale * F(code)) + least) - v)
            total = F(total + F(w * F(difference * difference)))
        return total

    inverse = F(F(most) / F(high - low))
    scale, codes = F(F(1) / inverse), coded(inverse)
    best = error(scale, codes, low)
    for step in range(steps + 1):
        inverse = F(F(F(F(first) + F(F(0.1) * F(step))) + F(most)) / F(high - low))
        trial = coded(inverse)
        sum_l = sum_l2 = sum_xl = F(0)
        for w, code, v in zip(weights, trial, x, strict=True):
            product = F(w * F(code))
            sum_l, sum_l2, sum_xl = F(sum_l + product), F(sum_l2 + F(product * F(code))), F(sum_xl + F(product * v))
        determinant = F(F(sum_w * sum_l2) - F(sum_l * sum_l))
        if determinant > 0:
            a = F(F(F(sum_w * sum_xl) - F(sum_x * sum_l)) / determinant)
            b = F(F(F(sum_l2 * sum_x) - F(sum_l * sum_xl)) / determinant)
            if b > 0:
                a, b = F(sum_xl / sum_l2), F(0)
            if error(a, trial, b) < best:
                best, scale, low, codes = error(a, trial, b), a, b, trial
    return scale, -low, codes


@pytest.mark.parametrize(("name", "most", "first", "steps"), [("Q4_K", 15, -1.0, 20), ("Q5_K", 31, -0.5, 15)])
def test_k_types_with_minima(name: str, most: int, first: float, steps: int) -> None:
    """Values rather than bytes, whose layout the tests of dequantisation prove."""
    x = np.concatenate([dyadic()[:256], np.random.default_rng(0).normal(size=256).astype(F)])
    for start in (0, 256):
        part = x[start : start + 256]
        found = [search_with_minimum(part[j : j + 32], most, first, steps) for j in range(0, 256, 32)]
        top, top_low = max(s for s, _, _ in found), max(m for _, m, _ in found)
        d, low_d = half(F(top / F(63))), half(F(top_low / F(63)))
        values = []
        for j, (scale, low, codes) in enumerate(found):
            sc = min(63, int(np.rint(F(F(F(63) / top) * scale)))) if top > 0 else 0
            m = min(63, int(np.rint(F(F(F(63) / top_low) * low)))) if top_low > 0 else 0
            step, offset = F(d * F(sc)), F(low_d * F(m))
            for v, code in zip(part[32 * j : 32 * j + 32], codes, strict=True):
                again = code if step == 0 else int(max(0, min(most, np.rint(F(F(v + offset) / step)))))
                values.append(F(F(step * F(again)) - offset))
        assert np.array_equal(lp.fake_quantize(part, name), np.array(values, F))


def test_q6_k() -> None:
    x = np.concatenate([dyadic()[:256], np.random.default_rng(0).normal(size=256).astype(F)])
    for start in (0, 256):
        part = x[start : start + 256]
        scales = []
        for j in range(0, 256, 16):
            group = part[j : j + 16]
            extreme = group[np.argmax(np.abs(group))]

            def fit(inverse: F, group: Array = group) -> tuple[F, F]:
                lx = l2 = F(0)
                for v in group:
                    code = F(max(-32, min(31, np.rint(F(inverse * v)))))
                    w = F(v * v)
                    lx, l2 = F(lx + F(F(w * v) * code)), F(l2 + F(F(w * code) * code))
                return lx, l2

            lx, l2 = fit(F(F(-32) / extreme))
            scale = F(lx / l2)
            best = F(scale * lx)
            for step in [s for s in range(-9, 10) if s]:
                lx, l2 = fit(F(-F(F(32) + F(F(0.1) * F(step))) / extreme))
                if l2 > 0 and F(lx * lx) > F(best * l2):
                    scale = F(lx / l2)
                    best = F(scale * lx)
            scales.append(scale)
        extreme = scales[int(np.argmax(np.abs(scales)))]
        inverse = F(F(-128) / extreme)
        d = half(F(F(1) / inverse))
        values = []
        for j, scale in enumerate(scales):
            step = F(d * F(min(127, int(np.rint(F(inverse * scale))))))
            for v in part[16 * j : 16 * j + 16]:
                values.append(F(step * F(max(-32, min(31, np.rint(F(v / step)))))))
        assert np.array_equal(lp.fake_quantize(part, "Q6_K"), np.array(values, F))


def test_variants_of_iq4_nl() -> None:
    x = data(1 << 16)[:12]
    searched, plain = lp.quantize(x, "IQ4_NL"), lp.quantize(x, gguf("iq4_nl", search=False))
    assert searched.tobytes() != plain.tobytes()
    assert searched.error(x).rms < plain.error(x).rms
    assert plain.error(x).relative_rms < 0.1


def test_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:

    module = sys.modules["lpsim.quantization.gguf"]
    x = data(1 << 16)
    whole = {name: lp.quantize(x, gguf(name)) for name in ("Q5_1", "Q4_K", "NVFP4")}
    values = {name: one.dequantize() for name, one in whole.items()}
    monkeypatch.setattr(module, "_GRAIN", {True: 1, False: 1})
    for name, one in whole.items():
        assert lp.quantize(x, gguf(name)).tobytes() == one.tobytes()
        assert np.array_equal(one.dequantize().view(np.uint32), values[name].view(np.uint32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gguf("Q7_0"), "type is 'Q7_0'; allowed: Q8_0"),
        (lambda: gguf("Q8_0", search=False), "search is False for Q8_0; allowed: for IQ4_NL"),
        (lambda: lp.quantize(np.ones(100), "Q4_0"), "x has rows of 100 along axis; allowed: multiples of 32"),
        (lambda: lp.quantize(np.ones(128), "Q4_K"), "allowed: multiples of 256, the block of Q4_K"),
        (lambda: lp.quantize(np.ones(256), gguf("Q2_K")), "type is Q2_K, which can only be read; allowed: Q8_0"),
        (lambda: lp.quantize([np.nan] * 32, "Q8_0"), "x is nan at index"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def write(path: Path, tensors: dict[str, tuple[Array, str | None]]) -> None:
    writer = package.GGUFWriter(str(path), "test")
    for name, (array, kind) in tensors.items():
        if kind is None:
            writer.add_tensor(name, array)
        else:
            raw = package.GGMLQuantizationType[kind]
            writer.add_tensor(name, package.quants.quantize(array, raw), raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    x = np.random.default_rng(0).normal(size=(3, 5, 64)).astype(F)
    write(
        path,
        {"w": (x, "Q4_0"), "v": (x[0], "Q8_0"), "bias": (x[0, 0], None), "ids": (np.arange(6, dtype=np.int32), None)},
    )
    tensors = read_gguf(path)
    assert tensors.keys() == {"w", "v", "bias", "ids"}
    for name, array, kind in (("w", x, "Q4_0"), ("v", x[0], "Q8_0")):
        one = tensors[name]
        assert isinstance(one, lp.Quantized)
        assert one.shape == array.shape
        assert one.tobytes() == lp.quantize(array, kind).tobytes()
        assert np.array_equal(one.dequantize(), lp.fake_quantize(array, kind))
    assert np.array_equal(tensors["bias"], x[0, 0])  # type: ignore[arg-type]
    assert np.array_equal(tensors["ids"], np.arange(6))  # type: ignore[arg-type]
    del tensors, one
    whole = path.read_bytes()
    for size in (0, 3, 20, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"is no \.gguf file, or a damaged one"):
            read_gguf(path)
    with pytest.raises(FileNotFoundError):
        read_gguf(tmp_path / "none.gguf")


def test_every_type_of_the_package_is_read(tmp_path: Path) -> None:
    for kind, (block, octets) in package.GGML_QUANT_SIZES.items():
        if kind in package.quants._type_traits:
            assert (GGUF_TYPES[kind.name].block, GGUF_TYPES[kind.name].octets) == (block, octets)
    path = tmp_path / "model.gguf"
    x = np.random.default_rng(0).normal(size=(2, 256)).astype(F)
    write(path, {"w": (x, "TQ1_0")})
    one = read_gguf(path)["w"]
    assert isinstance(one, lp.Quantized)
    assert one.bits_per_value == 1.6875
    assert 0 < one.error(x).relative_rms < 1


def test_types_that_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    write(path, {"w": (np.ones((2, 256), F), "TQ1_0")})
    monkeypatch.delitem(GGUF_TYPES, "TQ1_0")
    with pytest.raises(ValueError, match="has tensor 'w' of type TQ1_0; allowed: F16, F32, Q8_0"):
        read_gguf(path)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match=r"files need the extra 'quantization'; install it with: pip install"):
        read_gguf(path)
