"""Kernels of ggml's K types: super-blocks of 256 numbers whose groups have scales of a few bits themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.ggml import half_of, nearest_int, put_half, scale_and_min, signed_scale
from lpsim.core.jit import core_function
from lpsim.core.short import DecodeParams, ShortParams
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.records import record_reader

__all__ = ["decode_k_kernel", "encode_k_kernel"]

F = np.float32
_encoding, _decoding = record_reader(ShortParams), record_reader(DecodeParams)

#: Of Q4_K and Q5_K: bits of a code, where the search of a scale starts, in tenths, and its steps.
_WITH_MINIMA = {"Q4_K": (4, -1.0, 20), "Q5_K": (5, -0.5, 15)}


@core_function
def _six_bits(packed: Any, j: Any) -> Any:
    """Return the j-th scale and minimum, six bits each, of the twelve bytes of Q4_K and Q5_K."""
    if j < 4:
        return np.int32(packed[j] & 63), np.int32(packed[j + 4] & 63)
    low = np.int32(packed[j + 4] & 15) | (np.int32(packed[j - 4] >> 6) << 4)
    return low, np.int32(packed[j + 4] >> 4) | (np.int32(packed[j] >> 6) << 4)


@core_function
def _put_six_bits(packed: Any, j: Any, scale: Any, low: Any) -> None:
    if j < 4:
        packed[j], packed[j + 4] = np.uint8(scale), np.uint8(low)
    else:
        packed[j + 4] = np.uint8((scale & 15) | ((low & 15) << 4))
        packed[j - 4] |= np.uint8((scale >> 4) << 6)
        packed[j] |= np.uint8((low >> 4) << 6)


def encode_k_kernel(name: str) -> Callable[..., None]:
    """Return ``kernel(x, out, encoding, decoding)``, as `lpsim.cpu.ggml.encode_kernel` does, for Q4_K, Q5_K or Q6_K."""
    if name == "Q6_K":
        return _q6_k(source_fingerprint())
    return _with_minima(name, source_fingerprint())


@functools.cache
def _with_minima(name: str, fingerprint: int) -> Callable[..., None]:
    bits, start, steps = _WITH_MINIMA[name]
    first, most, size = F(start), (1 << bits) - 1, 144 if bits == 4 else 176

    def kernel(x: Any, out: Any, encoding: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        to_half, half = _encoding(encoding), _decoding(decoding)
        codes, trial = np.empty(256, np.int32), np.empty(32, np.int32)
        weights, scales, lows = np.empty(32, F), np.empty(8, F), np.empty(8, F)
        for b in range(x.size // 256):
            octets = out[b * size : b * size + size]
            top_scale, top_low = F(0), F(0)
            for j in range(8):
                values = x[b * 256 + 32 * j : b * 256 + 32 * j + 32]
                squares = F(0)
                for i in range(32):
                    squares += values[i] * values[i]
                average = np.sqrt(squares / F(32))
                for i in range(32):
                    weights[i] = average + abs(values[i])
                scales[j], lows[j] = scale_and_min(
                    values, weights, most, first, steps, codes[32 * j : 32 * j + 32], trial
                )
                top_scale, top_low = max(top_scale, scales[j]), max(top_low, lows[j])
            per_scale = F(63) / top_scale if top_scale > 0 else F(0)
            per_low = F(63) / top_low if top_low > 0 else F(0)
            d = put_half(octets, 0, top_scale / F(63), to_half, half)
            low_d = put_half(octets, 2, top_low / F(63), to_half, half)
            packed = octets[4:16]
            packed[:] = 0
            for j in range(8):
                scale = min(np.int32(63), nearest_int(per_scale * scales[j]))
                _put_six_bits(packed, j, scale, min(np.int32(63), nearest_int(per_low * lows[j])))
            for j in range(8):
                scale, low = _six_bits(packed, j)
                step, offset = d * F(scale), low_d * F(low)
                if step != 0:
                    for i in range(32):
                        code = nearest_int((x[b * 256 + 32 * j + i] + offset) / step)
                        codes[32 * j + i] = max(np.int32(0), min(np.int32(most), code))
            places = octets[size - 128 :]
            if bits == 5:
                octets[16:48] = 0
            for k in range(4):
                for i in range(32):
                    one, two = codes[64 * k + i], codes[64 * k + 32 + i]
                    places[32 * k + i] = np.uint8((one & 15) | ((two & 15) << 4))
                    if bits == 5:
                        octets[16 + i] |= np.uint8(((one >> 4) | ((two >> 4) << 1)) << (2 * k))

    return compile_kernel(kernel)


@functools.cache
def _q6_k(fingerprint: int) -> Callable[..., None]:
    def kernel(x: Any, out: Any, encoding: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        to_half, half = _encoding(encoding), _decoding(decoding)
        codes, trial, scales = np.empty(256, np.int32), np.empty(16, np.int32), np.empty(16, F)
        for b in range(x.size // 256):
            octets = out[b * 210 : b * 210 + 210]
            largest, extreme = F(0), F(0)
            for j in range(16):
                group = codes[16 * j : 16 * j + 16]
                scales[j] = signed_scale(x[b * 256 + 16 * j : b * 256 + 16 * j + 16], np.int32(32), group, trial)
                if abs(scales[j]) > largest:
                    largest, extreme = abs(scales[j]), scales[j]
            if largest < F(1e-15):
                octets[:] = 0
                continue
            inverse = F(-128) / extreme
            d = put_half(octets, 208, F(1) / inverse, to_half, half)
            for j in range(16):
                scale = min(np.int32(127), nearest_int(inverse * scales[j]))
                octets[192 + j] = np.uint8(scale & 255)
                step = d * F(scale)
                if step != 0:
                    for i in range(16):
                        code = nearest_int(x[b * 256 + 16 * j + i] / step)
                        codes[16 * j + i] = max(np.int32(-32), min(np.int32(31), code)) + 32
            for k in range(2):
                for i in range(32):
                    c = 128 * k + i
                    one, two, three, four = codes[c], codes[c + 32], codes[c + 64], codes[c + 96]
                    octets[64 * k + i] = np.uint8((one & 15) | ((three & 15) << 4))
                    octets[64 * k + 32 + i] = np.uint8((two & 15) | ((four & 15) << 4))
                    high = (one >> 4) | ((two >> 4) << 2) | ((three >> 4) << 4) | ((four >> 4) << 6)
                    octets[128 + 32 * k + i] = np.uint8(high)

    return compile_kernel(kernel)


def decode_k_kernel(name: str) -> Callable[..., None]:
    """Return ``kernel(octets, out, decoding)``, as `lpsim.cpu.ggml.decode_kernel` does, for Q2_K to Q6_K."""
    makers = {"Q2_K": _decode_q2_k, "Q3_K": _decode_q3_k, "Q6_K": _decode_q6_k}
    if name in makers:
        return makers[name](source_fingerprint())
    return _decode_with_minima(name, source_fingerprint())


@functools.cache
def _decode_with_minima(name: str, fingerprint: int) -> Callable[..., None]:
    bits = _WITH_MINIMA[name][0]
    size = 144 if bits == 4 else 176

    def kernel(octets: Any, out: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        half = _decoding(decoding)
        for b in range(out.size // 256):
            block = octets[b * size : b * size + size]
            d, low_d = half_of(block, 0, half), half_of(block, 2, half)
            places = block[size - 128 :]
            for j in range(8):
                scale, low = _six_bits(block[4:16], j)
                step, offset = d * F(scale), low_d * F(low)
                values = out[b * 256 + 32 * j : b * 256 + 32 * j + 32]
                for i in range(32):
                    code = (np.int32(places[32 * (j // 2) + i]) >> (4 * (j % 2))) & 15
                    if bits == 5:
                        code += ((np.int32(block[16 + i]) >> j) & 1) << 4
                    values[i] = step * F(code) - offset

    return compile_kernel(kernel)


@functools.cache
def _decode_q2_k(fingerprint: int) -> Callable[..., None]:
    def kernel(octets: Any, out: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        half = _decoding(decoding)
        for b in range(out.size // 256):
            block = octets[b * 84 : b * 84 + 84]
            d, low_d = half_of(block, 80, half), half_of(block, 82, half)
            for g in range(16):
                step, offset = d * F(block[g] & 15), low_d * F(block[g] >> 4)
                k, shift, part = g // 8, 2 * ((g % 8) // 2), g % 2
                for i in range(16):
                    code = (np.int32(block[16 + 32 * k + 16 * part + i]) >> shift) & 3
                    out[b * 256 + 16 * g + i] = step * F(code) - offset

    return compile_kernel(kernel)


@functools.cache
def _decode_q3_k(fingerprint: int) -> Callable[..., None]:
    def kernel(octets: Any, out: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        half = _decoding(decoding)
        for b in range(out.size // 256):
            block = octets[b * 110 : b * 110 + 110]
            d = half_of(block, 108, half)
            for g in range(16):
                low = (np.int32(block[96 + g % 8]) >> (4 * (g // 8))) & 15
                high = (np.int32(block[104 + g % 4]) >> (2 * (g // 4))) & 3
                step = d * F((low | (high << 4)) - 32)
                k, shift, part = g // 8, 2 * ((g % 8) // 2), g % 2
                for i in range(16):
                    code = (np.int32(block[32 + 32 * k + 16 * part + i]) >> shift) & 3
                    code -= 4 * (1 - ((np.int32(block[16 * part + i]) >> (4 * k + shift // 2)) & 1))
                    out[b * 256 + 16 * g + i] = step * F(code)

    return compile_kernel(kernel)


@functools.cache
def _decode_q6_k(fingerprint: int) -> Callable[..., None]:
    def kernel(octets: Any, out: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        half = _decoding(decoding)
        for b in range(out.size // 256):
            block = octets[b * 210 : b * 210 + 210]
            d = half_of(block, 208, half)
            for g in range(16):
                step = d * F(np.int8(block[192 + g]))
                k, quarter, part = g // 8, (g % 8) // 2, g % 2
                for i in range(16):
                    c = 16 * part + i
                    low = (np.int32(block[64 * k + 32 * (quarter % 2) + c]) >> (4 * (quarter // 2))) & 15
                    high = (np.int32(block[128 + 32 * k + c]) >> (2 * quarter)) & 3
                    out[b * 256 + 16 * g + i] = step * F((low | (high << 4)) - 32)

    return compile_kernel(kernel)
