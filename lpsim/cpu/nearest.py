"""The short way to round binary32 arrays to nearest, at the speed of a copy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lpsim.core.nearest import round_nearest
from lpsim.cpu.compile import compile_kernel, source_fingerprint

__all__ = ["nearest_kernel"]


def nearest_kernel() -> Callable[..., None]:
    """Return ``kernel(x, out, f)`` over contiguous 1-D float32 arrays, with a NearestParams."""
    return _build(source_fingerprint())


@functools.cache
def _build(fingerprint: int) -> Callable[..., None]:
    def kernel(x: Any, out: Any, f: Any) -> None:
        assert fingerprint >= 0
        for i in range(out.size):
            out[i] = round_nearest(x[i], f)

    return compile_kernel(kernel)
