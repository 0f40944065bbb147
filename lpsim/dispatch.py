"""Functions that arguments of other kinds than NumPy's may do in their own way."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["overridable"]

#: What does lpsim's functions for the arrays of other packages, by the package: a function that is called like the
#: method ``__lpsim_function__``. It is imported when an array of the package is met.
_PACKAGES = {"dask": "lpsim.dask"}

_Handler = Callable[[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
_F = TypeVar("_F", bound=Callable[..., Any])


class _Handlers(dict[type, "_Handler | None"]):
    """What does lpsim's functions for arguments of a type; None: lpsim itself."""

    def __missing__(self, kind: type) -> _Handler | None:
        handler: _Handler | None = getattr(kind, "__lpsim_function__", None)
        if handler is None:
            module = _PACKAGES.get(kind.__module__.partition(".")[0])
            if module is not None:
                handler = importlib.import_module(module).handler_of(kind)
        self[kind] = handler
        return handler


_HANDLERS = _Handlers()


def overridable(function: _F) -> _F:
    """Return the function so that an argument's type can do it in its own way.

    If the type of an argument has a method ``__lpsim_function__(self, function, args, kwargs)``, this is called with
    the function, which can be called for arguments of other types, and its result is returned.
    """
    handlers = _HANDLERS

    def call(*args: Any, **kwargs: Any) -> Any:
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
