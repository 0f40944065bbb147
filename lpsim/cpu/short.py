"""Kernels of the short ways: one vector loop for all operations, modes and formats that `lpsim.shortcuts` admits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.operations import FMA
from lpsim.core.random import random_integer, stream_key, word_at
from lpsim.core.results import binary64_pair, binary64_result, narrow_result, product_is_tiny, wide_result
from lpsim.core.short import (
    DIRECTED,
    NATIVE,
    DecodeParams,
    ShortParams,
    lane_types,
    native_value,
    nearest_number,
    rounded_number,
    short_code,
    short_value,
)
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.elementwise import COUNTER, GIVEN
from lpsim.cpu.records import record_reader

__all__ = ["narrow_fma_kernel", "short_decode_kernel", "short_kernel"]

#: Elements whose products are looked at together.
_BLOCK = 1024


_short_params = record_reader(ShortParams)
_decode_params = record_reader(DecodeParams)
_narrow_params = record_reader(ShortParams, "narrow")
_wide_params = record_reader(ShortParams, "wide")


def short_kernel(
    operation: int, *, wide: bool, kind: int, sticky: bool, randomness: int, codes: bool
) -> Callable[..., None]:
    """Return ``kernel(x, y, z, words, seed, stream, start, out, raised, record)``, as `operation_kernel` does.

    Parameters
    ----------
    operation : int
        One of `lpsim.core.operations`.
    wide : bool
        Work in float64 instead of float32.
    kind : int
        How to round, of `lpsim.core.short`.
    sticky : bool
        See `wide_result`. For `NATIVE`: any mode, for float32 operands; otherwise ties to even, for all.
    randomness, codes
        As for `operation_kernel`.

    Notes
    -----
    The record is that of `lpsim.core.short.ShortParams`.
    """
    return _build(operation, wide, kind, sticky, randomness, codes, source_fingerprint())


@functools.cache
def _build(
    operation: int, wide: bool, kind: int, sticky: bool, randomness: int, codes: bool, fingerprint: int
) -> Callable[..., None]:
    lane, integer = lane_types(wide)

    def kernel(
        x: Any, y: Any, z: Any, words: Any, seed: Any, stream: Any, start: Any, out: Any, raised: Any, record: Any
    ) -> None:
        assert fingerprint >= 0
        f = _short_params(record)
        key = stream_key(seed, stream)
        sum_sign = f.sum_sign if kind in (DIRECTED, NATIVE) else lane(1)
        for i in range(out.size):
            a, b, c, error = lane(x[i]), lane(y[i]), lane(z[i]), lane(0)
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
                word = random_integer(word_at(key, start + i), f)
            elif randomness == GIVEN:
                word = words[i]
            if kind == NATIVE:
                signed = native_value(result, error, f)
                magnitude, nan = abs(signed), signed != signed
            else:
                magnitude, signed, nan = rounded_number(result, word, kind, f, lane)
            if codes:
                out[i] = short_code(magnitude, np.copysign(lane(1), signed) < 0, nan, kind, f, integer)
            else:
                # Processors differ in the sign and payload of the NaNs that they make.
                out[i] = lane(np.nan) if nan else signed

    return compile_kernel(kernel)


def narrow_fma_kernel() -> Callable[..., None]:
    """Return a kernel as `short_kernel` does: of fused multiply-adds in float32, ties to even.

    In blocks where a product is too small for that, it works in float64. The record is that of FmaParams.
    """
    return _build_narrow_fma(source_fingerprint())


@functools.cache
def _build_narrow_fma(fingerprint: int) -> Callable[..., None]:
    def kernel(
        x: Any, y: Any, z: Any, words: Any, seed: Any, stream: Any, start: Any, out: Any, raised: Any, record: Any
    ) -> None:
        assert fingerprint >= 0
        narrow, wide = _narrow_params(record), _wide_params(record)
        for begin in range(0, out.size, _BLOCK):
            # Slices, whose indices start at 0: others might be negative, which keeps loops from being vectorised.
            end = min(begin + _BLOCK, out.size)
            xs, ys, zs, outs = x[begin:end], y[begin:end], z[begin:end], out[begin:end]
            tiny = False
            for i in range(outs.size):
                tiny |= product_is_tiny(xs[i], ys[i])
            if tiny:
                for i in range(outs.size):
                    a, b, c = np.float64(xs[i]), np.float64(ys[i]), np.float64(zs[i])
                    result = wide_result(FMA, a, b, c, np.float64(1), False)
                    outs[i] = nearest_number(result, wide, np.float64)
            else:
                for i in range(outs.size):
                    outs[i] = nearest_number(narrow_result(FMA, xs[i], ys[i], zs[i]), narrow, np.float32)

    return compile_kernel(kernel)


def short_decode_kernel(*, wide: bool) -> Callable[..., None]:
    """Return ``kernel(codes, out, record)``, as `decode_kernel` does, with the record of DecodeParams."""
    return _build_decode(wide, source_fingerprint())


@functools.cache
def _build_decode(wide: bool, fingerprint: int) -> Callable[..., None]:
    lane, integer = lane_types(wide)

    def kernel(codes: Any, out: Any, record: Any) -> None:
        assert fingerprint >= 0
        f = _decode_params(record)
        for i in range(out.size):
            out[i] = short_value(codes[i], f, lane, integer)

    return compile_kernel(kernel)
