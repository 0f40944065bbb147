"""Kernels of blocks that share a scale: largest magnitudes, scaling, and codes in bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["largest_kernel", "pack_kernel", "scale_kernel", "unpack_kernel", "unscale_kernel"]


# Indices are unsigned: whether signed ones that are sums count from the end is checked at each element.

#: Block lengths for which there are loops of a fixed length, which take half the time.
_FIXED = (16, 32)


def _fixed(block: int) -> int:
    return block if block in _FIXED else 0


def largest_kernel(block: int) -> Callable[..., None]:
    """Return ``kernel(bits, block, out)``: the largest magnitude of each block, in float32 representations (int32).

    Infinities and NaNs are above all numbers there.
    """
    return _build_largest(_fixed(block), source_fingerprint())


@functools.cache
def _build_largest(fixed: int, fingerprint: int) -> Callable[..., None]:
    def kernel(bits: Any, block: Any, out: Any) -> None:
        assert fingerprint >= 0
        for b in range(out.size):
            # Integers, so that the reduction is one of vectors.
            largest = np.int32(0)
            start = np.uint64(b) * np.uint64(block)
            for i in range(fixed or block):
                magnitude = np.int32(bits[start + np.uint64(i)] & np.int32(0x7FFFFFFF))
                largest = max(largest, magnitude)
            out[b] = largest

    return compile_kernel(kernel)


def scale_kernel(block: int) -> Callable[..., None]:
    """Return ``kernel(x, factors, block, out)``: each block times its factor, zeros where that is NaN."""
    return _build_scale(_fixed(block), source_fingerprint())


@functools.cache
def _build_scale(fixed: int, fingerprint: int) -> Callable[..., None]:
    def kernel(x: Any, factors: Any, block: Any, out: Any) -> None:
        assert fingerprint >= 0
        for b in range(factors.size):
            factor = factors[b]
            start = np.uint64(b) * np.uint64(block)
            if factor != factor:
                for i in range(fixed or block):
                    out[start + np.uint64(i)] = 0
            else:
                for i in range(fixed or block):
                    out[start + np.uint64(i)] = x[start + np.uint64(i)] * factor

    return compile_kernel(kernel)


def unscale_kernel(block: int) -> Callable[..., None]:
    """Return ``kernel(values, scales, block)``, which multiplies each block by its scale in place."""
    return _build_unscale(_fixed(block), source_fingerprint())


@functools.cache
def _build_unscale(fixed: int, fingerprint: int) -> Callable[..., None]:
    def kernel(values: Any, scales: Any, block: Any) -> None:
        assert fingerprint >= 0
        for b in range(scales.size):
            scale = scales[b]
            start = np.uint64(b) * np.uint64(block)
            for i in range(fixed or block):
                values[start + np.uint64(i)] = values[start + np.uint64(i)] * scale

    return compile_kernel(kernel)


def pack_kernel() -> Callable[..., None]:
    """Return ``kernel(codes, bits, complement, out)``, the bit string of `lpsim.pack`.

    ``complement`` turns signs and magnitudes into two's complement. The last byte is filled up with zeros.
    """
    return _build_pack(source_fingerprint())


@functools.cache
def _build_pack(fingerprint: int) -> Callable[..., None]:
    def kernel(codes: Any, bits: Any, complement: Any, out: Any) -> None:
        assert fingerprint >= 0
        if bits == 4 and not complement:
            for i in range(codes.size // 2):
                out[i] = np.uint8(codes[2 * i] | np.uint8(codes[2 * i + 1] << 4))
            if codes.size % 2:
                out[codes.size // 2] = np.uint8(codes[-1])
            return
        if bits == 8:
            for i in range(codes.size):
                code = np.int8(codes[i])
                magnitude = np.int8(code & np.int8(127))
                integer = np.int8(-magnitude) if code < 0 else magnitude
                out[i] = np.uint8(integer if complement else code)
            return
        sign, mask = np.int64(1) << np.int64(bits - 1), (np.int64(1) << np.int64(bits)) - np.int64(1)
        held, filled, position = np.int64(0), np.int64(0), 0
        for i in range(codes.size):
            code = np.int64(codes[i])
            if complement:
                magnitude = code & (sign - np.int64(1))
                code = (-magnitude if code & sign else magnitude) & mask
            held |= code << filled
            filled += bits
            while filled >= 8:
                out[position] = np.uint8(held & np.int64(255))
                held >>= np.int64(8)
                filled -= 8
                position += 1
        if filled:
            out[position] = np.uint8(held)

    return compile_kernel(kernel)


def unpack_kernel() -> Callable[..., None]:
    """Return ``kernel(octets, bits, complement, codes)``, which undoes what `pack_kernel` does."""
    return _build_unpack(source_fingerprint())


@functools.cache
def _build_unpack(fingerprint: int) -> Callable[..., None]:
    def kernel(octets: Any, bits: Any, complement: Any, codes: Any) -> None:
        assert fingerprint >= 0
        if bits == 4 and not complement:
            for i in range(codes.size // 2):
                codes[2 * i] = octets[i] & np.uint8(15)
                codes[2 * i + 1] = octets[i] >> np.uint8(4)
            if codes.size % 2:
                codes[-1] = octets[codes.size // 2] & np.uint8(15)
            return
        if bits == 8:
            for i in range(codes.size):
                # The one integer without a counterpart is never written; it reads as the largest magnitude.
                code = np.int8(octets[i])
                magnitude = np.int8(~code if code == np.int8(-128) else (-code if code < 0 else code))
                signed = np.uint8(magnitude) | np.uint8(128 if code < 0 else 0)
                codes[i] = signed if complement else octets[i]
            return
        sign, mask = np.int64(1) << np.int64(bits - 1), (np.int64(1) << np.int64(bits)) - np.int64(1)
        held, filled, position = np.int64(0), np.int64(0), 0
        for i in range(codes.size):
            while filled < bits:
                held |= np.int64(octets[position]) << filled
                filled += 8
                position += 1
            code = held & mask
            held >>= np.int64(bits)
            filled -= bits
            if complement and code & sign:
                code = sign | min(mask + np.int64(1) - code, sign - np.int64(1))
            codes[i] = code

    return compile_kernel(kernel)
