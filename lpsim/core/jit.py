"""How the scalar core is made callable from compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import types
from numba.extending import overload, register_jitable

__all__ = ["by_size", "core_function", "core_part", "on_each_target"]

_F = TypeVar("_F", bound=Callable[..., Any])


def core_function(function: _F) -> _F:
    """Make a plain Python function callable from jitted code, always inlined.

    Inlining is forced because LLVM leaves functions of this size as calls, and a call in the body
    of a loop keeps the loop from being vectorised.
    """
    jitable: _F = register_jitable(forceinline=True)(function)
    return jitable


def core_part(function: _F) -> _F:
    """Make a function with loops of its own callable from kernels, compiled with them but not inlined."""
    part: _F = register_jitable(function)
    return part


def on_each_target(compiled: Callable[..., Any], plain: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Return a function that is ``compiled`` in compiled code, and ``plain`` (default: the same) in plain Python.

    A function of its own, so that `lpsim.cuda` can say what it is on a GPU.
    """
    python = plain or compiled

    def function(*arguments: Any) -> Any:
        return python(*arguments)

    @overload(function, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
    def _overload(*arguments: Any) -> Any:
        def implementation(*arguments: Any) -> Any:
            return compiled(*arguments)

        return implementation

    return function


def by_size(narrow: Callable[..., Any], wide: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is one core function for a first argument of 32 bits, in compiled code, else another."""

    def function(*arguments: Any) -> Any:
        return (narrow if getattr(arguments[0], "itemsize", 8) == 4 else wide)(*arguments)

    @overload(function, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
    def _overload(*arguments: Any) -> Any:
        chosen = narrow if arguments[0] in (types.float32, types.int32) else wide

        def implementation(*arguments: Any) -> Any:
            return chosen(*arguments)

        return implementation

    return function
