"""How the CPU kernels are compiled and cached."""

from __future__ import annotations

import functools
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.extending import register_jitable

__all__ = ["compile_kernel", "kernel_part", "source_fingerprint"]

_F = TypeVar("_F", bound=Callable[..., Any])


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
    """
    kernel: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return kernel


def kernel_part(function: _F) -> _F:
    """Make a function with loops of its own callable from kernels, compiled with them but not inlined."""
    part: _F = register_jitable(function)
    return part
