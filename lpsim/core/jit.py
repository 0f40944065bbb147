"""How the scalar core is made callable from compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba.extending import register_jitable

__all__ = ["core_function"]

_F = TypeVar("_F", bound=Callable[..., Any])


def core_function(function: _F) -> _F:
    """Make a plain Python function callable from jitted code, always inlined.

    Inlining is forced because LLVM leaves functions of this size as calls, and a call in the body
    of a loop keeps the loop from being vectorised.
    """
    jitable: _F = register_jitable(forceinline=True)(function)
    return jitable
