"""How the CPU kernels are compiled and cached."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock

from lpsim.cpu.kernel_files import KernelFiles, warn_of_cache

__all__ = ["compile_kernel", "source_fingerprint"]

_imported = time.time()

if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would wait forever for that thread, which it does not have,
    # and find what the thread was changing. So a fork waits for the end of a compilation.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def source_fingerprint() -> int:
    """Return a number that changes with any source file of the core and of the kernels.

    Numba's disk cache looks at the file of the compiled function alone, so that a kernel from before
    a change in the core would be served after it. Kernel builders keep this number in a closure
    variable, which the cache does look at.
    """
    return _sources()[0]


@functools.cache
def _sources() -> tuple[int, bool]:
    """Return the fingerprint, and whether files changed since they were imported, so that it is that of other code."""
    package = pathlib.Path(__file__).parent.parent
    digest, latest = hashlib.sha256(), 0.0
    for path in sorted([*package.glob("core/*.py"), *package.glob("cpu/*.py")]):
        status = path.stat()
        latest = max(latest, status.st_mtime, status.st_ctime)
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big"), latest > _imported


def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel that compiles at its first call, is cached on disk, and lets other threads run.

    Division follows IEEE 754 rather than raising, and nothing is contracted or reassociated.
    Where no cache can be written there is a warning, once, and each process compiles anew. So it is as well where
    lpsim was replaced while this process ran: its code would be kept as that of the new files.
    """
    if numba.config.DISABLE_JIT:
        return _in_python(function)
    options = {"nogil": True, "error_model": "numpy"}
    fingerprint, changed = _sources()
    if changed:
        warn_of_cache("its files changed after it was imported", "start Python anew")
        return _uncached(function, options)
    try:
        kernel: Any = numba.njit(cache=True, **options)(function)
    except RuntimeError as error:  # Numba found no folder to write to
        warn_of_cache(error)
        return _uncached(function, options)
    kernel._cache = _ForgivingCache(kernel._cache, fingerprint)
    compiled: Callable[..., Any] = kernel
    return compiled


def _in_python(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel without a compiler, as ``NUMBA_DISABLE_JIT`` asks for: its integers wrap around silently, too."""

    @functools.wraps(function)
    def kernel(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arguments)

    return kernel


def _uncached(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = numba.njit(**options)(function)
    return compiled


class _ForgivingCache:
    """Numba's cache of a function, but with `KernelFiles`.

    Damaged files are dropped, and where none can be written there is a warning.
    """

    def __init__(self, cache: Any, fingerprint: int) -> None:
        self._cache = cache
        stamp = cache._impl.locator.get_source_stamp(), fingerprint
        self._files = cache._cache_file = KernelFiles(cache.cache_path, cache._impl.filename_base, stamp)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            return self._cache.load_overload(signature, target_context)
        except Exception:  # a damaged pickle may raise anything
            self._drop(self._cache._index_key(signature, target_context.codegen()))
            return None

    def save_overload(self, *arguments: Any) -> None:
        try:
            self._cache.save_overload(*arguments)
        except Exception as error:
            warn_of_cache(error)

    def _drop(self, key: Any) -> None:
        try:
            self._files.drop(key)
        except OSError as error:
            warn_of_cache(error)
