"""Kernels of ggml's types of 32 and 64 numbers, both ways; blocks follow each other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.ggml import e2m1_code, half_of, iq4_index, put_half, ue4m3_code, ue4m3_value
from lpsim.core.short import DecodeParams, ShortParams
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.largest import largest_magnitude
from lpsim.cpu.records import record_reader

__all__ = ["LEGACY", "decode_kernel", "encode_kernel"]

F = np.float32
_encoding, _decoding = record_reader(ShortParams), record_reader(DecodeParams)

#: Bits of a code, of which fifth ones are stored apart, and whether there is a minimum.
LEGACY = {"Q4_0": (4, False), "Q4_1": (4, True), "Q5_0": (5, False), "Q5_1": (5, True)}

#: Values of IQ4_NL.
IQ4_NL = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


def encode_kernel(name: str) -> Callable[..., None]:
    """Return ``kernel(x, out, encoding, decoding)`` for a type: whole blocks of float32 numbers to bytes.

    The records are those of binary16's ShortParams and DecodeParams, for float32. ``IQ4_NL_REF`` is IQ4_NL without a
    search.
    """
    return _ENCODERS[name](name, source_fingerprint())


def decode_kernel(name: str) -> Callable[..., None]:
    """Return ``kernel(octets, out, decoding)`` for a type: bytes of whole blocks to float32 numbers."""
    return _DECODERS[name](name, source_fingerprint())


@functools.cache
def _q8_0(name: str, fingerprint: int) -> Callable[..., None]:
    def kernel(x: Any, out: Any, encoding: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        to_half, half = _encoding(encoding), _decoding(decoding)
        for b in range(x.size // 32):
            values, octets = x[b * 32 : b * 32 + 32], out[b * 34 : b * 34 + 34]
            d = largest_magnitude(values.view(np.int32)) / F(127)
            inverse = F(1) / d if d != 0 else F(0)
            put_half(octets, 0, d, to_half, half)
            codes = octets[2:]
            for i in range(32):
                scaled = values[i] * inverse
                truncated = np.trunc(scaled)
                away = F(truncated + np.copysign(F(1), scaled))
                codes[i] = np.uint8(np.int32(away if abs(scaled - truncated) >= F(0.5) else truncated))

    return compile_kernel(kernel)


@functools.cache
def _legacy(name: str, fingerprint: int) -> Callable[..., None]:
    bits, has_minimum = LEGACY[name]
    size = 2 + 2 * has_minimum + 4 * (bits == 5) + 16
    start, middle, most = 2 + 2 * has_minimum, 1 << (bits - 1), (1 << bits) - 1

    def kernel(x: Any, out: Any, encoding: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        to_half, half = _encoding(encoding), _decoding(decoding)
        codes = np.empty(32, np.int32)
        for b in range(x.size // 32):
            values, octets = x[b * 32 : b * 32 + 32], out[b * size : b * size + size]
            if has_minimum:
                low, high = values[0], values[0]
                for i in range(32):
                    low, high = min(low, values[i]), max(high, values[i])
                d = (high - low) / F(most)
                inverse = F(1) / d if d != 0 else F(0)
                put_half(octets, 0, d, to_half, half)
                put_half(octets, 2, low, to_half, half)
                for i in range(32):
                    codes[i] = min(np.int32((values[i] - low) * inverse + F(0.5)), np.int32(most))
            else:
                largest, extreme = largest_magnitude(values.view(np.int32)), F(0)
                for i in range(31, -1, -1):
                    # Of zeros, which may be negative, none is taken.
                    extreme = values[i] if abs(values[i]) == largest and largest > 0 else extreme
                d = extreme / F(-middle)
                inverse = F(1) / d if d != 0 else F(0)
                put_half(octets, 0, d, to_half, half)
                for i in range(32):
                    codes[i] = min(np.int32(values[i] * inverse + F(middle + 0.5)), np.int32(most))
            if bits == 5:
                top = np.int64(0)
                for i in range(32):
                    top |= np.int64(codes[i] >> 4) << i
                for k in range(4):
                    octets[start + k] = np.uint8((top >> (8 * k)) & 255)
            places = octets[size - 16 :]
            for i in range(16):
                places[i] = np.uint8((codes[i] & 15) | ((codes[i + 16] & 15) << 4))

    return compile_kernel(kernel)


@functools.cache
def _mxfp4(name: str, fingerprint: int) -> Callable[..., None]:
    def kernel(x: Any, out: Any, encoding: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        codes = np.empty(32, np.int32)
        for b in range(x.size // 32):
            values, octets = x[b * 32 : b * 32 + 32], out[b * 17 : b * 17 + 17]
            largest = largest_magnitude(values.view(np.int32))
            # The logarithm is rounded to binary32 before its floor is taken.
            exponent = 0
            if largest > 0:
                exponent = max(np.int32(np.floor(F(np.log2(np.float64(largest))))) - 2 + 127, 0)
            octets[0] = np.uint8(exponent)
            d = F(np.ldexp(1.0, exponent - 127))
            for i in range(32):
                codes[i] = e2m1_code(values[i], d)
            for i in range(16):
                octets[1 + i] = np.uint8(codes[i] | (codes[i + 16] << 4))

    return compile_kernel(kernel)


@functools.cache
def _nvfp4(name: str, fingerprint: int) -> Callable[..., None]:
    def kernel(x: Any, out: Any, encoding: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        for b in range(x.size // 64):
            octets = out[b * 36 : b * 36 + 36]
            for s in range(4):
                values = x[b * 64 + s * 16 : b * 64 + s * 16 + 16]
                largest = largest_magnitude(values.view(np.int32))
                code = ue4m3_code(largest / F(6))
                octets[s] = np.uint8(code)
                d = ue4m3_value(code)
                for i in range(8):
                    octets[4 + s * 8 + i] = np.uint8(e2m1_code(values[i], d) | (e2m1_code(values[i + 8], d) << 4))

    return compile_kernel(kernel)


@functools.cache
def _iq4_nl(name: str, fingerprint: int) -> Callable[..., None]:
    tries = -1 if name.endswith("REF") else 7
    table = IQ4_NL

    def kernel(x: Any, out: Any, encoding: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        to_half, half = _encoding(encoding), _decoding(decoding)
        codes = np.empty(32, np.int32)
        for b in range(x.size // 32):
            values, octets = x[b * 32 : b * 32 + 32], out[b * 18 : b * 18 + 18]
            largest, extreme = F(0), F(0)
            for i in range(32):
                if abs(values[i]) > largest:
                    largest, extreme = abs(values[i]), values[i]
            scale = F(0)
            for i in range(32):
                codes[i] = 8 if tries > 0 else 0
            if largest >= F(1e-15):
                d = -extreme / table[0] if tries > 0 else extreme / table[0]
                inverse = F(1) / d
                best = F(0)
                for attempt in range(-tries - 1, max(tries + 1, -tries)):  # the first one is without a search
                    if attempt >= -tries:
                        inverse = (F(attempt) + table[0]) / extreme
                    sum_qx, sum_q2 = F(0), F(0)
                    for i in range(32):
                        index = iq4_index(inverse * values[i], table)
                        if attempt < -tries:
                            codes[i] = index
                        q, w = table[index], values[i] * values[i]
                        sum_qx += w * q * values[i]
                        sum_q2 += w * q * q
                    if attempt < -tries or (sum_q2 > 0 and sum_qx * sum_qx > best * sum_q2):
                        scale = sum_qx / sum_q2
                        best = scale * sum_qx
            put_half(octets, 0, scale, to_half, half)
            if tries > 0:
                inverse = F(1) / scale if scale != 0 else F(0)
                for i in range(32):
                    codes[i] = iq4_index(inverse * values[i], table)
            for i in range(16):
                octets[2 + i] = np.uint8(codes[i] | (codes[i + 16] << 4))

    return compile_kernel(kernel)


@functools.cache
def _decode_q8_0(name: str, fingerprint: int) -> Callable[..., None]:
    def kernel(octets: Any, out: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        half = _decoding(decoding)
        for b in range(out.size // 32):
            d = half_of(octets, b * 34, half)
            codes, values = octets[b * 34 + 2 : b * 34 + 34], out[b * 32 : b * 32 + 32]
            for i in range(32):
                values[i] = d * F(np.int8(codes[i]))

    return compile_kernel(kernel)


@functools.cache
def _decode_legacy(name: str, fingerprint: int) -> Callable[..., None]:
    bits, has_minimum = LEGACY[name]
    size = 2 + 2 * has_minimum + 4 * (bits == 5) + 16
    start, middle = 2 + 2 * has_minimum, 0 if has_minimum else 1 << (bits - 1)

    def kernel(octets: Any, out: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        half = _decoding(decoding)
        for b in range(out.size // 32):
            block, values = octets[b * size : b * size + size], out[b * 32 : b * 32 + 32]
            d = half_of(block, 0, half)
            low = half_of(block, 2, half) if has_minimum else F(0)
            top = np.int64(0)
            if bits == 5:
                for k in range(4):
                    top |= np.int64(block[start + k]) << (8 * k)
            places = block[size - 16 :]
            for i in range(16):
                first, second = np.int32(places[i] & 15), np.int32(places[i] >> 4)
                if bits == 5:
                    first |= np.int32((top >> i) & 1) << 4
                    second |= np.int32((top >> (i + 16)) & 1) << 4
                if has_minimum:
                    values[i] = F(first) * d + low
                    values[i + 16] = F(second) * d + low
                else:
                    values[i] = F(first - middle) * d
                    values[i + 16] = F(second - middle) * d

    return compile_kernel(kernel)


@functools.cache
def _decode_fours(name: str, fingerprint: int) -> Callable[..., None]:
    """MXFP4, NVFP4 and IQ4_NL: values of a table times a scale."""
    table = (
        IQ4_NL if name == "IQ4_NL" else np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
    )
    scales, group, start = (4, 16, 4) if name == "NVFP4" else (1, 32, 2 if name == "IQ4_NL" else 1)
    size, block = start + scales * group // 2, scales * group
    kind = {"MXFP4": 0, "NVFP4": 1, "IQ4_NL": 2}[name]

    def kernel(octets: Any, out: Any, decoding: Any) -> None:
        assert fingerprint >= 0
        half = _decoding(decoding)
        for b in range(out.size // block):
            codes = octets[b * size : b * size + size]
            for s in range(scales):
                if kind == 0:
                    d = F(np.ldexp(1.0, np.int32(codes[0]) - 128))
                elif kind == 1:
                    d = ue4m3_value(np.int32(codes[s])) * F(0.5)
                else:
                    d = half_of(codes, 0, half)
                values = out[b * block + s * group : b * block + (s + 1) * group]
                for i in range(group // 2):
                    code = codes[start + s * (group // 2) + i]
                    values[i] = d * table[code & 15]
                    values[i + group // 2] = d * table[code >> 4]

    return compile_kernel(kernel)


_ENCODERS = {
    "Q8_0": _q8_0,
    **dict.fromkeys(LEGACY, _legacy),
    "MXFP4": _mxfp4,
    "NVFP4": _nvfp4,
    "IQ4_NL": _iq4_nl,
    "IQ4_NL_REF": _iq4_nl,
}
_DECODERS = {
    "Q8_0": _decode_q8_0,
    **dict.fromkeys(LEGACY, _decode_legacy),
    **dict.fromkeys(("MXFP4", "NVFP4", "IQ4_NL"), _decode_fours),
}
