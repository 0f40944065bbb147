"""lpsim's functions called with arrays on a GPU, or told to go there."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["call", "handler_of", "is_device_array", "require_gpu"]

_NEEDS = (
    "needs a GPU by NVIDIA with a driver, and Numba for it: pip install 'lpsim[cuda]' "
    "(NUMBA_ENABLE_CUDASIM=1 in the environment simulates one, slowly)"
)

Function = Callable[..., Any]


def require_gpu() -> None:
    """Refuse to go on without a GPU.

    Raises
    ------
    RuntimeError
        If there is no GPU, or no Numba for it.
    """
    try:
        cuda = importlib.import_module("numba.cuda")
        available = bool(cuda.is_available())
    except Exception as error:  # whatever keeps a driver from being loaded
        raise RuntimeError(f"backend 'cuda' {_NEEDS}; {type(error).__name__}: {error}") from None
    if not available:
        reason = cuda.cuda_error() if hasattr(cuda, "cuda_error") else None
        raise RuntimeError(
            f"backend 'cuda' {_NEEDS}" + (f"; {' '.join(str(reason).split())}" if reason else "; found none")
        )


def is_device_array(value: Any) -> bool:
    """Return whether a value is an array on a GPU: PyTorch's arrays, for example, may be or not."""
    # The second name is the one that arrays of Numba's simulator have.
    return hasattr(value, "__cuda_array_interface__") or hasattr(value, "__cuda_ndarray__")


def handler_of(kind: type) -> Any:
    """Return what does lpsim's functions for arguments of a type that may be an array on a GPU."""

    def handler(value: Any, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = [one for one in (*args, *kwargs.values()) if is_device_array(one)]
        if not given:  # an array that is of this type, but of the host's memory
            return inspect.unwrap(function)(*args, **kwargs)
        require_gpu()
        arrays = importlib.import_module("lpsim.cuda.arrays")
        stream = arrays.stream_of(given)
        result = _run(function, args, kwargs, stream)
        return _as_given(result, given, kwargs.get("out"), arrays)

    return handler


def _as_given(result: Any, given: list[Any], out: Any, arrays: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(_as_given(one, given, out, arrays) for one in result)
    return result if result is out else arrays.like(result, given)


def _run(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], stream: Any) -> Any:
    name = function.__name__
    functions = importlib.import_module("lpsim.cuda.functions")
    table = {**functions.UNARY, **functions.BINARY}
    table.update(fma=functions.fma, encode=functions.encode, decode=functions.decode)
    table["matmul"] = importlib.import_module("lpsim.cuda.matmul").matmul
    if name not in table:
        raise TypeError(
            f"lpsim.{name} is called for a GPU; allowed there: {', '.join(f'lpsim.{one}' for one in table)}"
        )
    bound = inspect.signature(inspect.unwrap(function)).bind(*args, **kwargs)
    return table[name](**bound.arguments, stream=stream)


def call(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function of lpsim with arguments of the host's memory, computed on the GPU; results come back.

    Arguments that are arrays on the GPU stay there, and so does the result then.
    """
    require_gpu()
    arrays = importlib.import_module("lpsim.cuda.arrays")
    if any(is_device_array(one) for one in (*args, *kwargs.values())):
        return handler_of(object)(None, function, args, kwargs)
    target = kwargs.get("out")
    bound = inspect.signature(inspect.unwrap(function)).bind(*args, **{**kwargs, "out": None})
    copied = {name: _copied(name, value, arrays) for name, value in bound.arguments.items()}
    result = _run(function, (), copied, 0)
    back = tuple(_back(one) for one in result) if isinstance(result, tuple) else _back(result)
    if target is None:
        return back
    values = back[0] if isinstance(back, tuple) else back
    # Checked by lpsim's own rules, and written: values of the format do not change.
    place = target[0] if isinstance(target, tuple) else target
    if not isinstance(place, np.ndarray) or place.shape != np.shape(values) or not place.flags.writeable:
        raise ValueError(f"out is {place!r:.60}; allowed: a NumPy array of shape {np.shape(values)} to be written to")
    np.copyto(place, values, casting="same_kind")
    return (place, *back[1:]) if isinstance(back, tuple) else place


#: Arguments that are arrays.
_ARRAYS = ("x", "y", "z", "codes", "a", "b", "c", "a_scale", "b_scale")


def _copied(name: str, value: Any, arrays: Any) -> Any:
    if name not in _ARRAYS or value is None:
        return value
    if name == "codes":
        return arrays.to_device(np.asarray(value), 0)
    arguments = importlib.import_module("lpsim.arguments")
    array = arguments.as_real(value, name)
    if array.dtype.kind in "ui":
        return value if name == "x" else arrays.to_device(np.asarray(arguments.as_real_float(value, name)), 0)
    return arrays.to_device(np.asarray(array), 0)


def _back(array: Any) -> Any:
    host = array.copy_to_host()
    return host if host.ndim else host[()]
