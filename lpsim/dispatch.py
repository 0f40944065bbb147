"""Functions that arguments of other kinds than NumPy's may do in their own way."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any, TypeVar, cast

from lpsim.checks import check_choice

__all__ = ["overridable"]

#: What does lpsim's functions for the arrays of other packages, by the package: a function that is called like the
#: method ``__lpsim_function__``. It is imported when an array of the package is met.
_PACKAGES = {"dask": "lpsim.dask"}

#: What types of arrays that may be on a GPU have; the second one is that of Numba's simulator.
_ON_A_GPU = ("__cuda_array_interface__", "__cuda_ndarray__")

_Handler = Callable[[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
_F = TypeVar("_F", bound=Callable[..., Any])


class _Handlers(dict[type, "_Handler | None"]):
    """What does lpsim's functions for arguments of a type; None: lpsim itself."""

    def __missing__(self, kind: type) -> _Handler | None:
        handler: _Handler | None = getattr(kind, "__lpsim_function__", None)
        if handler is None:
            module = _PACKAGES.get(kind.__module__.partition(".")[0])
            if module is None and any(hasattr(kind, name) for name in _ON_A_GPU):
                module = "lpsim.cuda.calls"
            if module is not None:
                handler = importlib.import_module(module).handler_of(kind)
        self[kind] = handler
        return handler


_HANDLERS = _Handlers()


def _divert(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function with the keyword ``backend`` taken out, where that says."""
    backend = kwargs.pop("backend")
    if backend is not None:
        check_choice("backend", backend, ("cpu", "cuda"), " or None")
    if backend == "cuda":
        return importlib.import_module("lpsim.cuda.calls").call(function, args, kwargs)
    return function(*args, **kwargs)


def overridable(function: _F) -> _F:
    """Return the function so that an argument's type can do it in its own way.

    If the type of an argument has a method ``__lpsim_function__(self, function, args, kwargs)``, this is called with
    the function, which can be called for arguments of other types, and its result is returned.

    The function takes a keyword more: ``backend="cuda"`` computes on a GPU, by `lpsim.cuda`; ``"cpu"`` and None do not
    matter.
    """
    handlers, divert = _HANDLERS, _divert

    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs and "backend" in kwargs:
            return divert(overridden, args, kwargs)
        for value in args:
            if (handler := handlers[type(value)]) is not None:
                return handler(value, overridden, args, kwargs)
        for value in kwargs.values():
            if (handler := handlers[type(value)]) is not None:
                return handler(value, overridden, args, kwargs)
        return function(*args, **kwargs)

    # With the globals of the function, by which doctest tells what a module defines.
    same = types.FunctionType(call.__code__, function.__globals__, function.__name__, None, call.__closure__)
    overridden = functools.wraps(function)(same)
    return cast("_F", overridden)
