"""Kernels of affine quantisation: the range of each group of a row, and its integers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lpsim.core.integers import nearest_integer
from lpsim.core.jit import core_function
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["AffineMap", "affine_kernel", "affine_value_kernel", "range_kernel"]


class AffineMap(NamedTuple):
    """Arrays with a number for each group: x becomes ``round((x - shift) * factor / divisor) + offset``.

    Steps that a convention does not have are exact: 0, 1 and 1.
    """

    shift: Any
    factor: Any
    divisor: Any
    offset: Any


def range_kernel() -> Callable[..., None]:
    """Return ``kernel(x, group, lowest, highest)`` over rows: least and greatest of each group and 0."""
    return _build_range(source_fingerprint())


@functools.cache
def _build_range(fingerprint: int) -> Callable[..., None]:
    def kernel(x: Any, group: Any, lowest: Any, highest: Any) -> None:
        assert fingerprint >= 0
        for r in range(x.shape[0]):
            for g in range(lowest.shape[1]):
                values = x[r, g * group : min((g + 1) * group, x.shape[1])]
                low, high = np.float32(0), np.float32(0)
                for i in range(values.size):
                    low, high = min(low, values[i]), max(high, values[i])
                lowest[r, g], highest[r, g] = low, high

    return compile_kernel(kernel)


@core_function
def _integer(x: Any, shift: Any, factor: Any, divisor: Any, offset: Any, low: Any, high: Any, mode: Any) -> Any:
    scaled = np.float32(np.float32(np.float32(x - shift) * factor) / divisor)
    return min(max(np.float32(nearest_integer(scaled, mode) + offset), low), high)


def affine_kernel(mode: int) -> Callable[..., None]:
    """Return ``kernel(x, group, shift, factor, divisor, offset, low, high, codes)`` over rows.

    The four arrays are those of `AffineMap`, of shape (rows, groups). Codes are kept within low to high; those of
    groups whose divisor is 0 are ``offset``.
    """
    return _build_integers(mode, source_fingerprint())


@functools.cache
def _build_integers(mode: int, fingerprint: int) -> Callable[..., None]:
    def kernel(
        x: Any, group: Any, shift: Any, factor: Any, divisor: Any, offset: Any, low: Any, high: Any, codes: Any
    ) -> None:
        assert fingerprint >= 0
        for r in range(x.shape[0]):
            for g in range(shift.shape[1]):
                values = x[r, g * group : min((g + 1) * group, x.shape[1])]
                outs = codes[r, g * group : g * group + values.size]
                a, b, c, d = shift[r, g], factor[r, g], divisor[r, g], offset[r, g]
                if c == 0:
                    b, c = np.float32(0), np.float32(1)
                for i in range(values.size):
                    outs[i] = np.int32(_integer(values[i], a, b, c, d, low, high, mode))

    return compile_kernel(kernel)


def affine_value_kernel() -> Callable[..., None]:
    """Return ``kernel(codes, group, scales, zeros, base, out)`` over rows: ``base + scale * (code - zero)``."""
    return _build_values(source_fingerprint())


@functools.cache
def _build_values(fingerprint: int) -> Callable[..., None]:
    def kernel(codes: Any, group: Any, scales: Any, zeros: Any, base: Any, out: Any) -> None:
        assert fingerprint >= 0
        for r in range(out.shape[0]):
            for g in range(scales.shape[1]):
                outs = out[r, g * group : min((g + 1) * group, out.shape[1])]
                ins = codes[r, g * group : g * group + outs.size]
                scale, zero, start = scales[r, g], np.float32(zeros[r, g]), base[r, g]
                for i in range(outs.size):
                    outs[i] = start + np.float32(scale * np.float32(np.float32(ins[i]) - zero))

    return compile_kernel(kernel)
