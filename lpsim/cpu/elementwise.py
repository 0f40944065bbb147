"""Elementwise kernels: one loop for all operations, modes and formats, and one to decode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim.core.codes import code_of, value_of
from lpsim.core.operations import exact_result
from lpsim.core.params import Params
from lpsim.core.random import random_integer, stream_key, word_at
from lpsim.core.rounding import round_parts, round_parts_stochastic
from lpsim.cpu.compile import compile_kernel, source_fingerprint
from lpsim.cpu.records import record_reader

__all__ = ["COUNTER", "GIVEN", "NONE", "decode_kernel", "operation_kernel"]

#: Where the random bits come from.
NONE = 0
COUNTER = 1
GIVEN = 2

_params = record_reader(Params)


def operation_kernel(operation: int, *, randomness: int, flags: bool, codes: bool) -> Callable[..., None]:
    """Return ``kernel(x, y, z, words, seed, stream, start, out, raised, record)`` over contiguous 1-D arrays.

    Parameters
    ----------
    operation : int
        One of `lpsim.core.operations`.
    randomness : int
        `NONE` for the deterministic modes; `COUNTER` takes element i's random word at index
        ``start + i`` of the seed's ``stream``, `GIVEN` takes its random integer from ``words[i]``.
    flags : bool
        Whether ``raised`` is written.
    codes : bool
        Whether ``out`` receives codes rather than values.

    Notes
    -----
    The record is that of `lpsim.core.params.Params`, as `lpsim.cpu.records.as_record` makes it.
    """
    return _build(operation, randomness, flags, codes, source_fingerprint())


@functools.cache
def _build(operation: int, randomness: int, flags: bool, codes: bool, fingerprint: int) -> Callable[..., None]:
    def kernel(
        x: Any, y: Any, z: Any, words: Any, seed: Any, stream: Any, start: Any, out: Any, raised: Any, record: Any
    ) -> None:
        assert fingerprint >= 0
        f = _params(record)
        key = stream_key(seed, stream)
        for i in range(out.size):
            parts = exact_result(operation, x[i], y[i], z[i], f)
            if randomness == NONE:
                value, exceptions = round_parts(parts, f)
            elif randomness == COUNTER:
                word = random_integer(word_at(key, start + i), f)
                value, exceptions = round_parts_stochastic(parts, word, f)
            else:
                value, exceptions = round_parts_stochastic(parts, words[i], f)
            if codes:
                out[i] = code_of(value, f)
            else:
                out[i] = value
            if flags:
                raised[i] = exceptions

    return compile_kernel(kernel)


def decode_kernel() -> Callable[..., None]:
    """Return ``kernel(codes, out, record)`` over contiguous 1-D arrays; the record is that of Params."""
    return _build_decode(source_fingerprint())


@functools.cache
def _build_decode(fingerprint: int) -> Callable[..., None]:
    def kernel(codes: Any, out: Any, record: Any) -> None:
        assert fingerprint >= 0
        f = _params(record)
        for i in range(out.size):
            out[i] = value_of(np.int64(codes[i]), f)

    return compile_kernel(kernel)
