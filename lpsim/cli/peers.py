"""Other libraries that round to low precision, each used as its users do. All are optional; this needs no extra.

A peer's operands are made before the clock starts, in whatever it computes with; its results stay there, save that
casts go there and back: simulations want the rounded values in the array that they came from, as `lpsim.round` does.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PEERS", "Peer", "installed"]

_Array = npt.NDArray[Any]

_ARITHMETIC: dict[str, Callable[..., Any]] = {"add": operator.add, "mul": operator.mul}
_PRODUCTS = {**_ARITHMETIC, "matmul": operator.matmul}


@dataclass(frozen=True)
class Peer:
    """A library, and how to call it.

    Attributes
    ----------
    name, package : str
        What people call it, and what is imported; its distribution has the package's name.
    how : str
        How it computes: why it is faster or slower.
    formats : mapping
        The library's name or numbers for each format, by lpsim's name.
    operations : mapping
        Operations besides ``"round"``, as functions of operands that `native` made; they need not round.
    rounded : function
        From the library, a float32 array of its own and a format's entry: the rounded array.
    native : function
        Likewise, but from a NumPy array of values of the format: an operand.
    array : function
        From the library and a NumPy float32 array: its own float32 array.
    values : function
        From one of its results: a NumPy array.
    finish : bool
        Whether `rounded` has to follow every operation, for libraries that compute in float32.
    """

    name: str
    package: str
    how: str
    formats: Mapping[str, Any]
    rounded: Callable[[Any, Any, Any], Any]
    operations: Mapping[str, Callable[..., Any]]
    native: Callable[[Any, _Array, Any], Any]
    array: Callable[[Any, _Array], Any] = lambda library, x: x
    values: Callable[[Any], _Array] = np.asarray
    finish: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """The installed version."""
        return importlib.metadata.version(self.package)

    def can(self, operation: str, fmt: str) -> bool:
        """Return whether it has the operation in the format."""
        # The dtypes of 8 bits are for storage.
        few = fmt.startswith("float8") and isinstance(self.formats.get(fmt), str) and not self.finish
        return fmt in self.formats and (operation == "round" or (operation in self.operations and not few))

    def call(self, operation: str, fmt: str, *operands: _Array) -> Callable[[], Any]:
        """Return the operation on float32 operands, which hold values of the format unless it is ``"round"``."""
        library, entry = importlib.import_module(self.package), self.formats[fmt]
        if operation == "round":
            return functools.partial(self.rounded, library, self.array(library, operands[0]), entry)
        given = [self.native(library, x, entry) for x in operands]
        function = self.operations[operation]
        if self.finish:
            return lambda: self.rounded(library, function(*given), entry)
        return functools.partial(function, *given)


def _there_and_back(library: Any, x: _Array, dtype: str) -> _Array:
    return x.astype(getattr(library, dtype)).astype(np.float32)


def _as_dtype(library: Any, x: _Array, dtype: str) -> _Array:
    return x.astype(getattr(library, dtype))


def _gfloat(library: Any, x: _Array, name: str) -> _Array:
    info = getattr(importlib.import_module("gfloat.formats"), f"format_info_{name}")
    result: _Array = library.round_ndarray(info, x)
    return result


def _unchanged(library: Any, x: _Array, entry: Any) -> _Array:
    return x


def _apytypes(library: Any, x: _Array, bits: tuple[int, int]) -> Any:
    return library.APyFloatArray.from_array(x, *bits)


def _torch_values(result: Any) -> _Array:
    values: _Array = result.float().numpy()
    return values


def _on_jax(library: Any, x: _Array, dtype: str | None = None) -> Any:
    return importlib.import_module("jax.numpy").asarray(x, dtype)


def _waiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of JAX that ends when its result is there."""
    return lambda *operands: function(*operands).block_until_ready()


_FLOAT8 = {"float8_e4m3fn": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}
_DTYPES = {"float16": "float16", "bfloat16": "bfloat16", **_FLOAT8}
_BITS = {"float16": (5, 10), "bfloat16": (8, 7), "float8_e5m2": (5, 2)}

#: All peers that the benchmarks know.
PEERS = (
    Peer(
        "NumPy",
        "numpy",
        "loops in C that take each element to float32 and back, on one thread",
        {"float16": "float16"},
        _there_and_back,
        _PRODUCTS,
        _as_dtype,
    ),
    Peer(
        "ml_dtypes",
        "ml_dtypes",
        "loops in C++ made for each dtype, on arrays of 16 or 8 bits, on one thread",
        {"bfloat16": "bfloat16", **_FLOAT8},
        _there_and_back,
        _ARITHMETIC,
        _as_dtype,
    ),
    Peer(
        "gfloat",
        "gfloat",
        "NumPy expressions for any format, with a temporary array for each step",
        {"float16": "binary16", "bfloat16": "bfloat16", "float8_e4m3fn": "ocp_e4m3", "float8_e5m2": "ocp_e5m2"},
        _gfloat,
        _ARITHMETIC,
        _unchanged,
        finish=True,
    ),
    Peer(
        "pychop",
        "pychop",
        "NumPy expressions for any format, on chunks of 800 elements that Dask schedules",
        _BITS,
        lambda library, x, bits: library.Chop(*bits)(x),
        _ARITHMETIC,
        _unchanged,
        finish=True,
    ),
    Peer(
        "APyTypes",
        "apytypes",
        "loops in C++ for any format, on elements of three fields, on one thread",
        _BITS,
        lambda library, x, bits: x.cast(*bits),
        _PRODUCTS,
        _apytypes,
        array=lambda library, x: library.APyFloatArray.from_array(x, 8, 23),
        values=lambda result: np.asarray(result.to_numpy(), np.float32),
    ),
    Peer(
        "PyTorch",
        "torch",
        "vector instructions on arrays of 16 bits, so half the memory, in formats that processors convert to and from",
        _DTYPES,
        lambda library, x, dtype: x.to(getattr(library, dtype)).to(library.float32),
        _PRODUCTS,
        lambda library, x, dtype: library.from_numpy(x).to(getattr(library, dtype)),
        array=lambda library, x: library.from_numpy(x),
        values=_torch_values,
    ),
    Peer(
        "JAX",
        "jax",
        "code that XLA compiles for vectors, on arrays of 16 bits",
        _DTYPES,
        # Two dispatches: compiled together, XLA may drop a cast there and back.
        lambda library, x, dtype: x.astype(dtype).astype("float32").block_until_ready(),
        {name: _waiting(function) for name, function in _PRODUCTS.items()},
        _on_jax,
        array=_on_jax,
        values=lambda result: np.asarray(result, np.float32),
    ),
)


def installed() -> list[Peer]:
    """Return the peers that can be imported."""
    return [peer for peer in PEERS if peer.is_installed]
