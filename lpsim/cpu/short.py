"""Kernels of the short ways: one vector loop for all operations, modes and formats that `lpsim.shortcuts` admits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.random import random_integer, stream_key, word_at
from lpsim.core.short import (
    DIRECTED,
    DecodeParams,
    ShortParams,
    rounded_magnitude,
    short_code,
    short_result,
    short_value,
)
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.elementwise import COUNTER, GIVEN
from lpsim.cpu.records import record_reader

__all__ = ["short_decode_kernel", "short_kernel"]

_short_params = record_reader(ShortParams)
_decode_params = record_reader(DecodeParams)


def _types(wide: bool) -> tuple[Any, Any]:
    """Return the types of a lane's numbers and representations."""
    return (np.float64, np.int64) if wide else (np.float32, np.int32)


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
        See `short_result`.
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
    lane, integer = _types(wide)

    def kernel(
        x: Any, y: Any, z: Any, words: Any, seed: Any, stream: Any, start: Any, out: Any, raised: Any, record: Any
    ) -> None:
        assert fingerprint >= 0
        f = _short_params(record)
        key = stream_key(seed, stream)
        sum_sign = f.sum_sign if kind == DIRECTED else lane(1)
        for i in range(out.size):
            result = short_result(operation, lane(x[i]), lane(y[i]), lane(z[i]), sum_sign, sticky)
            word = np.int64(0)
            if randomness == COUNTER:
                word = random_integer(word_at(key, start + i), f)
            elif randomness == GIVEN:
                word = words[i]
            magnitude = rounded_magnitude(result, word, kind, f, lane)
            signed = np.copysign(magnitude, result) + f.zero
            nan = (result != result) | (magnitude != magnitude)
            if codes:
                out[i] = short_code(magnitude, np.copysign(lane(1), signed) < 0, nan, kind, f, integer)
            else:
                # Processors differ in the sign and payload of the NaNs that they make.
                out[i] = lane(np.nan) if nan else signed

    return compile_kernel(kernel)


def short_decode_kernel(*, wide: bool) -> Callable[..., None]:
    """Return ``kernel(codes, out, record)``, as `decode_kernel` does, with the record of DecodeParams."""
    return _build_decode(wide, source_fingerprint())


@functools.cache
def _build_decode(wide: bool, fingerprint: int) -> Callable[..., None]:
    lane, integer = _types(wide)

    def kernel(codes: Any, out: Any, record: Any) -> None:
        assert fingerprint >= 0
        f = _decode_params(record)
        for i in range(out.size):
            out[i] = short_value(codes[i], f, lane, integer)

    return compile_kernel(kernel)
