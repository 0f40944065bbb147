"""Kernels that quantise blocks of numbers to the entries of a table, relative to each block's largest magnitude."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.jit import core_function
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.largest import largest_magnitude

__all__ = ["COMPARED", "codebook_decode_kernel", "codebook_kernel"]

#: Up to so many limits are compared with each number, more are searched.
COMPARED = 15

_ONE = np.float32(1)

#: The smallest divisor of bitsandbytes.
_LEAST = np.float32(1e-38)


@core_function
def _ratios(values: Any, block: Any, out: Any) -> Any:
    """Write the ratios of a block to its largest magnitude, and return that."""
    largest = largest_magnitude(values.view(np.int32))
    divisor = max(largest, _LEAST)
    # bitsandbytes multiplies whole blocks, and divides what is left over.
    if values.size == block:
        factor = _ONE / divisor
        for i in range(values.size):
            out[i] = min(max(values[i] * factor, -_ONE), _ONE)
    else:
        for i in range(values.size):
            out[i] = min(max(values[i] / divisor, -_ONE), _ONE)
    return largest


@core_function
def _search(ratio: Any, limits: Any) -> Any:
    """Return how many of 255 ascending limits a ratio exceeds."""
    place = np.int32(0)
    for k in range(8):
        step = np.int32(128 >> k)
        place += step if ratio > limits[place + step - 1] else np.int32(0)
    return place


def codebook_kernel(*, compared: bool, packed: bool) -> Callable[..., None]:
    """Return ``kernel(x, limits, order, by_magnitude, sign_code, block, first, codes, scales)``.

    It takes whole blocks of the flat array x, the last of which may be short, from block number ``first`` on for as
    many scales as ``scales`` has. A number's place is how many of the ascending ``limits`` its ratio to the block's
    scale exceeds, in magnitude if ``by_magnitude`` is not 0; its code is ``order[place]``, with ``sign_code`` for
    negative numbers then.

    Parameters
    ----------
    compared : bool
        Whether there are `COMPARED` limits, or else 255; infinite ones fill these up.
    packed : bool
        Whether codes take half a byte each, the first in the upper half.
    """
    return _build(compared, packed, source_fingerprint())


@functools.cache
def _build(compared: bool, packed: bool, fingerprint: int) -> Callable[..., None]:
    def kernel(
        x: Any,
        limits: Any,
        order: Any,
        by_magnitude: Any,
        sign_code: Any,
        block: Any,
        first: Any,
        codes: Any,
        scales: Any,
    ) -> None:
        assert fingerprint >= 0
        ratios, places = np.empty(block, np.float32), np.empty(block + 1, np.int32)
        for index in range(scales.size):
            start = (first + index) * block
            values = x[start : min(start + block, x.size)]
            n = values.size
            scales[index] = _ratios(values, block, ratios)
            if compared:
                for i in range(n):
                    ratio = abs(ratios[i]) if by_magnitude != 0 else ratios[i]
                    place = np.int32(0)
                    for t in range(COMPARED):
                        place += np.int32(ratio > limits[t])
                    places[i] = place
            else:
                for i in range(n):
                    places[i] = _search(abs(ratios[i]) if by_magnitude != 0 else ratios[i], limits)
            for i in range(n):
                negative = by_magnitude != 0 and ratios[i] < 0
                places[i] = order[places[i]] | (sign_code if negative else 0)
            if packed:
                places[n] = 0
                outs = codes[start // 2 : (start + n + 1) // 2]
                for j in range(outs.size):
                    outs[j] = (places[2 * j] << 4) | places[2 * j + 1]
            else:
                outs = codes[start : start + n]
                for i in range(n):
                    outs[i] = places[i]

    return compile_kernel(kernel)


def codebook_decode_kernel(*, packed: bool) -> Callable[..., None]:
    """Return ``kernel(codes, scales, table, block, first, out)``: values of the table times scales, for whole blocks.

    ``out`` is flat and holds all numbers; blocks are taken from number ``first`` on, as many as ``scales`` has.
    """
    return _build_decode(packed, source_fingerprint())


@functools.cache
def _build_decode(packed: bool, fingerprint: int) -> Callable[..., None]:
    def kernel(codes: Any, scales: Any, table: Any, block: Any, first: Any, out: Any) -> None:
        assert fingerprint >= 0
        for index in range(scales.size):
            start = (first + index) * block
            scale = scales[index]
            outs = out[start : min(start + block, out.size)]
            if packed:
                ins = codes[start // 2 : (start + outs.size + 1) // 2]
                for j in range(outs.size // 2):
                    outs[2 * j] = table[ins[j] >> 4] * scale
                    outs[2 * j + 1] = table[ins[j] & 15] * scale
                if outs.size % 2 != 0:
                    outs[outs.size - 1] = table[ins[ins.size - 1] >> 4] * scale
            else:
                ins = codes[start : start + outs.size]
                for i in range(outs.size):
                    outs[i] = table[ins[i]] * scale

    return compile_kernel(kernel)
