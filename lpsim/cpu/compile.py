"""How the CPU kernels are compiled and cached."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numba

__all__ = ["compile_kernel", "source_fingerprint"]

_warned = False


@functools.cache
def source_fingerprint() -> int:
    """Return a number that changes with any source file of the core and of the kernels.

    Numba's disk cache looks at the file of the compiled function alone, so that a kernel from before
    a change in the core would be served after it. Kernel builders keep this number in a closure
    variable, which the cache does look at.
    """
    package = pathlib.Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted([*package.glob("core/*.py"), *package.glob("cpu/*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")


def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel that compiles at its first call, is cached on disk, and lets other threads run.

    Division follows IEEE 754 rather than raising, and nothing is contracted or reassociated.
    Where no cache can be written there is a warning, once, and each process compiles anew.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        kernel: Any = numba.njit(cache=True, **options)(function)
    except RuntimeError as error:  # Numba found no folder to write to
        _warn_of_cache(error)
        kernel = numba.njit(**options)(function)
    else:
        kernel._cache = _ForgivingCache(kernel._cache)
    compiled: Callable[..., Any] = kernel
    return compiled


class _ForgivingCache:
    """Numba's cache of a function, but damaged files are dropped, and where none can be written there is a warning."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *arguments: Any) -> Any:
        try:
            return self._cache.load_overload(*arguments)
        except Exception:  # a damaged pickle may raise anything
            self._drop()
            return None

    def save_overload(self, *arguments: Any) -> None:
        try:
            self._cache.save_overload(*arguments)
        except Exception as error:
            _warn_of_cache(error)

    def _drop(self) -> None:
        try:
            self._cache.flush()
        except OSError as error:
            _warn_of_cache(error)


def _warn_of_cache(error: Exception) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"lpsim can't keep compiled kernels on disk and compiles them anew in each process: {error}; "
            "set NUMBA_CACHE_DIR to a folder that can be written to",
            RuntimeWarning,
            stacklevel=2,
        )
