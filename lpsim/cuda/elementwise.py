"""Elementwise kernels on a GPU: the loops of `lpsim.cpu.elementwise` and `lpsim.cpu.short`, divided among threads."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda

from lpsim.core.bits import copy_sign, negated
from lpsim.core.codes import code_of, value_of
from lpsim.core.operations import FMA, exact_result
from lpsim.core.random import random_integer, stream_key, word_at
from lpsim.core.results import binary64_pair, binary64_result, narrow_result, product_is_tiny, wide_result
from lpsim.core.rounding import round_parts, round_parts_stochastic
from lpsim.core.short import (
    DIRECTED,
    NATIVE,
    lane_types,
    native_value,
    nearest_number,
    rounded_number,
    short_code,
    short_value,
)
from lpsim.cuda.target import device_kernel

__all__ = [
    "ABSOLUTE",
    "AS_IT_IS",
    "COUNTER",
    "GIVEN",
    "NEGATED",
    "NONE",
    "decode_kernel",
    "narrow_fma_kernel",
    "operation_kernel",
    "short_decode_kernel",
    "short_kernel",
]

#: Where the random bits come from, as in `lpsim.cpu.elementwise`.
NONE, COUNTER, GIVEN = range(3)

#: What is done to the first operand, which is exact.
AS_IT_IS, NEGATED, ABSOLUTE = range(3)

#: Elements that a thread loads before it works on the first of them: memory is far away.
_AHEAD = 4


# Operands of one element stand for as many as there are results: each index is cut to the last one of its array.


@functools.cache
def operation_kernel(operation: int, *, single: bool, sign: int, randomness: int, flags: bool, codes: bool) -> Any:
    """Return ``kernel(x, y, z, words, seed, stream, out, raised, f)`` over contiguous 1-D arrays; f is a Params.

    Parameters
    ----------
    operation, randomness, flags, codes
        As for `lpsim.cpu.elementwise.operation_kernel`.
    single : bool
        Whether all operands are float32; if not, they are taken as float64.
    sign : int
        One of `AS_IT_IS`, `NEGATED` and `ABSOLUTE`.
    """
    lane = np.float32 if single else np.float64

    def kernel(
        x: Any, y: Any, z: Any, words: Any, seed: Any, stream: Any, out: Any, raised: Any, f: Any
    ) -> None:  # fmt: skip
        key = stream_key(seed, stream)
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            a = lane(x[min(i, x.size - 1)])
            b, c = lane(y[min(i, y.size - 1)]), lane(z[min(i, z.size - 1)])
            if sign != AS_IT_IS:
                a = negated(a) if (sign == NEGATED) | (copy_sign(lane(1), a) < 0) else a
            parts = exact_result(operation, a, b, c, f)
            if randomness == NONE:
                value, exceptions = round_parts(parts, f)
            elif randomness == COUNTER:
                value, exceptions = round_parts_stochastic(parts, random_integer(word_at(key, i), f), f)
            else:
                value, exceptions = round_parts_stochastic(parts, np.int64(words[min(i, words.size - 1)]), f)
            if codes:
                out[i] = code_of(value, f)
            else:
                out[i] = value
            if flags:
                raised[i] = exceptions

    return device_kernel(kernel)


@functools.cache
def short_kernel(
    operation: int, *, wide: bool, kind: int, sticky: bool, sign: int, randomness: int, codes: bool
) -> Any:
    """Return ``kernel(x, y, z, words, seed, stream, out, raised, f)``, as `operation_kernel`; f is a ShortParams.

    The parameters are those of `lpsim.cpu.short.short_kernel`, and ``sign``.
    """
    lane, integer = lane_types(wide)

    def kernel(
        x: Any, y: Any, z: Any, words: Any, seed: Any, stream: Any, out: Any, raised: Any, f: Any
    ) -> None:  # fmt: skip
        key = stream_key(seed, stream)
        sum_sign = f.sum_sign if kind in (DIRECTED, NATIVE) else lane(1)
        near = cuda.local.array((3, _AHEAD), lane)
        stride = cuda.gridsize(1)
        for first in range(cuda.grid(1), out.size, _AHEAD * stride):
            for u in range(_AHEAD):
                i = first + u * stride
                near[0, u] = lane(x[min(i, x.size - 1)])
                near[1, u], near[2, u] = lane(y[min(i, y.size - 1)]), lane(z[min(i, z.size - 1)])
            for u in range(_AHEAD):
                i = first + u * stride
                if i < out.size:
                    a, b, c, error = near[0, u], near[1, u], near[2, u], lane(0)
                    if sign != AS_IT_IS:
                        a = negated(a) if (sign == NEGATED) | (copy_sign(lane(1), a) < 0) else a
                    if kind == NATIVE and sticky:
                        result, error = binary64_pair(operation, a, b, c, sum_sign)
                    elif kind == NATIVE:
                        result = binary64_result(operation, a, b, c)
                    elif wide:
                        result = wide_result(operation, a, b, c, sum_sign, sticky)
                    else:
                        result = narrow_result(operation, a, b, c)
                    word = np.int64(0)
                    if randomness == COUNTER:
                        word = random_integer(word_at(key, i), f)
                    elif randomness == GIVEN:
                        word = np.int64(words[min(i, words.size - 1)])
                    if kind == NATIVE:
                        signed = native_value(result, error, f)
                        magnitude, nan = abs(signed), signed != signed
                    else:
                        magnitude, signed, nan = rounded_number(result, word, kind, f, lane)
                    if codes:
                        out[i] = short_code(magnitude, copy_sign(lane(1), signed) < 0, nan, kind, f, integer)
                    else:
                        out[i] = lane(np.nan) if nan else signed

    return device_kernel(kernel)


@functools.cache
def narrow_fma_kernel() -> Any:
    """Return a kernel as `short_kernel` does, of fused multiply-adds in float32, ties to even; f is a FmaParams.

    Elements whose product is too small for that are done in float64.
    """

    def kernel(
        x: Any, y: Any, z: Any, words: Any, seed: Any, stream: Any, out: Any, raised: Any, f: Any
    ) -> None:  # fmt: skip
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            a, b, c = x[min(i, x.size - 1)], y[min(i, y.size - 1)], z[min(i, z.size - 1)]
            if product_is_tiny(a, b):
                result = wide_result(FMA, np.float64(a), np.float64(b), np.float64(c), np.float64(1), False)
                out[i] = nearest_number(result, f.wide, np.float64)
            else:
                out[i] = nearest_number(narrow_result(FMA, a, b, c), f.narrow, np.float32)

    return device_kernel(kernel)


@functools.cache
def decode_kernel() -> Any:
    """Return ``kernel(codes, out, f)`` over contiguous 1-D arrays; f is a Params."""

    def kernel(codes: Any, out: Any, f: Any) -> None:
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = value_of(np.int64(codes[i]), f)

    return device_kernel(kernel)


@functools.cache
def short_decode_kernel(*, wide: bool) -> Any:
    """Return ``kernel(codes, out, f)``, as `decode_kernel` does; f is a DecodeParams."""
    lane, integer = lane_types(wide)

    def kernel(codes: Any, out: Any, f: Any) -> None:
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = short_value(codes[i], f, lane, integer)

    return device_kernel(kernel)
