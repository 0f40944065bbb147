"""lpsim's elementwise functions for arrays on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import cuda

from lpsim.arguments import as_integer_pair, as_random_bits, as_real, as_real_float, as_seed
from lpsim.core.operations import ADD, DIV, FMA, MUL, ROUND, SQRT, SUB
from lpsim.core.short import FmaParams
from lpsim.cuda import elementwise as kernels
from lpsim.cuda.arrays import (
    as_device_array,
    as_numbers,
    copy,
    empty,
    expanded,
    flat,
    is_device_array,
    launch,
    to_device,
    zeros,
)
from lpsim.cuda.target import device_kernel
from lpsim.elementwise import as_words
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding
from lpsim.shortcuts import decode_way, short_way

__all__ = [
    "BINARY",
    "UNARY",
    "any_marked",
    "apply",
    "decode",
    "encode",
    "fma",
    "operand",
    "result_array",
    "round_numbers",
]


def operand(value: Any, argument: str, stream: Any) -> Any:
    """Return a number, or an array on the GPU, as an array of float32 or float64 there."""
    if is_device_array(value):
        return as_numbers(as_device_array(value), argument, stream)
    return to_device(np.asarray(as_real_float(_scalar(value, argument), argument)), stream)


def _scalar(value: Any, argument: str) -> Any:
    if np.ndim(value) > 0:
        raise TypeError(
            f"{argument} is an array of the host's beside arrays on a GPU; allowed: arrays there and single numbers "
            "(or NumPy's alone, with backend='cuda')"
        )
    return value


def result_array(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], holds: Any, stream: Any) -> tuple[Any, Any]:
    """Return an array for results of a dtype, and ``out`` as Numba's array: the results go there in the end."""
    if out is None:
        return empty(shape, dtype, stream), None
    if not is_device_array(out):
        raise TypeError(f"out is {out!r:.60}; allowed: an array on the GPU or None")
    target = as_device_array(out)
    if not holds(target.dtype):
        raise TypeError(f"out has dtype {target.dtype}; allowed: dtypes that hold all results")
    if tuple(target.shape) != shape:
        raise ValueError(f"out has shape {tuple(target.shape)}; allowed: {shape}, the shape of the result")
    return empty(shape, dtype, stream), target


def _holds_values(fmt: Format) -> Callable[[np.dtype[Any]], bool]:
    carriers = ("float32", "float64") if fmt.carrier == np.float32 else ("float64",)
    return lambda dtype: dtype.name in carriers


def _shape(operands: dict[str, Any]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(tuple(array.shape) for array in operands.values()))
    except ValueError:
        shapes = ", ".join(f"{name} has shape {tuple(array.shape)}" for name, array in operands.items())
        raise ValueError(f"{shapes}; allowed: shapes that broadcast together") from None


def apply(
    operation: int,
    operands: dict[str, Any],
    fmt: FormatLike,
    rounding: Any = Rounding.TIES_TO_EVEN,
    overflow: Any = Overflow.IEEE,
    seed: Any = None,
    random_bits: Any = 32,
    bits: Any = None,
    out: Any = None,
    flags: bool = False,
    tininess: str = "after",
    *,
    codes: bool = False,
    sign: int = kernels.AS_IT_IS,
    random_stream: int = 0,
    stream: Any = 0,
) -> Any:
    """Do what `lpsim.elementwise.apply` does, for arrays of float32 and float64 on the GPU."""
    fmt, mode, policy = as_format(fmt), as_rounding(rounding), as_overflow(overflow)
    f = parameters(fmt, mode, policy, as_random_bits(random_bits), tininess)
    number = np.uint64(as_seed(seed, mode, alternative=" (or bits=, the random integers)") if bits is None else 0)
    randomness, words, shaping = kernels.NONE, None, operands
    if bits is not None:
        words = _words(bits, f.random_bits, stream)
        shaping = {**operands, "bits": words}
        if mode.is_stochastic and seed is not None:
            raise ValueError("seed and bits are both given; allowed: one of them")
    if mode.is_stochastic:
        randomness = kernels.COUNTER if words is None else kernels.GIVEN
    shape = _shape(shaping)
    dtype = fmt.code_dtype if codes else fmt.carrier
    holds = (lambda d: d.kind == "u" and d.itemsize >= dtype.itemsize) if codes else _holds_values(fmt)
    result, target = result_array(out, shape, dtype, holds, stream)
    raised = empty(shape, np.uint8, stream) if flags else None

    arrays = [_flattened(array, shape, stream) for array in operands.values()]
    x, y, z = (arrays[min(i, len(arrays) - 1)] for i in range(3))
    single = all(array.dtype == np.float32 for array in arrays)
    to, nothing = flat(result), flat(result)  # in the place of arrays that a kernel does not look at
    taken = nothing if words is None else _flattened(words, shape, stream)
    way = None if flags else short_way(operation, fmt, mode, policy, f.random_bits, single)
    kernel: Any
    if way is None:
        kernel = kernels.operation_kernel(
            operation, single=single, sign=sign, randomness=randomness, flags=flags, codes=codes
        )
    elif isinstance(way.params, FmaParams):
        kernel = kernels.narrow_fma_kernel()
    else:
        kernel = kernels.short_kernel(
            operation, wide=way.wide, kind=way.kind, sticky=way.sticky, sign=sign, randomness=randomness, codes=codes
        )
    to_flags = nothing if raised is None else flat(raised)
    last = f if way is None else way.params
    stream_number = np.int64(random_stream)
    launch(
        kernel, math.prod(shape), stream, x, y, z, taken, number, stream_number, to, to_flags, last,
        work=1 if way is None else 4,
    )  # fmt: skip
    if target is not None:
        copy(result, target, stream)
        result = out
    return result if raised is None else (result, raised)


def _flattened(array: Any, shape: tuple[int, ...], stream: Any) -> Any:
    """Return an array as contiguous elements of one axis: all of a shape, or a single one for all."""
    if math.prod(array.shape) != 1:
        array = expanded(array, shape, array.dtype, stream)
    return flat(expanded(array, tuple(array.shape), array.dtype, stream))


def _words(bits: Any, random_bits: int, stream: Any) -> Any:
    if not is_device_array(bits):
        return to_device(as_words(bits, random_bits), stream)
    words = as_device_array(bits)
    if words.dtype.kind not in "ui":
        raise TypeError(f"bits has dtype {words.dtype}; allowed: integers")
    return expanded(words, tuple(words.shape), np.dtype(np.int64), stream)


def round_numbers(array: Any, *mode: Any, random_stream: int, stream: Any) -> Any:
    """Round an array on the GPU, for `lpsim.cuda.matmul`."""
    return apply(ROUND, {"x": array}, *mode, random_stream=random_stream, stream=stream)


def _unary(operation: int, sign: int) -> Callable[..., Any]:
    def call(x: Any, fmt: Any, *rest: Any, stream: Any, **keywords: Any) -> Any:
        return apply(operation, {"x": operand(x, "x", stream)}, fmt, *rest, sign=sign, stream=stream, **keywords)

    return call


def _binary(operation: int) -> Callable[..., Any]:
    def call(x: Any, y: Any, fmt: Any, *rest: Any, stream: Any, **keywords: Any) -> Any:
        operands = {"x": operand(x, "x", stream), "y": operand(y, "y", stream)}
        return apply(operation, operands, fmt, *rest, stream=stream, **keywords)

    return call


#: The functions by name, with the parameters of lpsim's own and a stream.
UNARY: dict[str, Callable[..., Any]] = {
    "sqrt": _unary(SQRT, kernels.AS_IT_IS),
    "neg": _unary(ROUND, kernels.NEGATED),
    "abs": _unary(ROUND, kernels.ABSOLUTE),
}
BINARY = {name: _binary(operation) for name, operation in (("add", ADD), ("sub", SUB), ("mul", MUL), ("div", DIV))}


def fma(x: Any, y: Any, z: Any, fmt: Any, *rest: Any, stream: Any, **keywords: Any) -> Any:
    """Do `lpsim.fma`."""
    operands = {name: operand(one, name, stream) for name, one in (("x", x), ("y", y), ("z", z))}
    return apply(FMA, operands, fmt, *rest, stream=stream, **keywords)


def _round(x: Any, fmt: Any, *rest: Any, stream: Any, codes: bool = False, **keywords: Any) -> Any:
    if not is_device_array(x):  # a copied array of the host's, whose large integers are sums of two numbers
        array = as_real(x, "x")
        if array.dtype.kind in "ui":
            pair = [to_device(half, stream) for half in as_integer_pair(array)]
            operands = {"x": pair[0], "its low half": pair[1]}
            return apply(ADD, operands, fmt, *rest, codes=codes, stream=stream, **keywords)
        x = to_device(array, stream)
    return apply(ROUND, {"x": operand(x, "x", stream)}, fmt, *rest, codes=codes, stream=stream, **keywords)


UNARY["round"] = _round


def encode(x: Any, fmt: Any, *rest: Any, stream: Any, **keywords: Any) -> Any:
    """Do `lpsim.encode`."""
    fmt = as_format(fmt)
    if not fmt.has_nan and is_device_array(x) and as_device_array(x).dtype.kind == "f":
        array = operand(x, "x", stream)
        if any_marked(_nan_kernel, array, stream):
            raise ValueError(f"x holds NaN, but {fmt} has no code for NaN; allowed: numbers and infinities")
    return _round(x, fmt, *rest, stream=stream, codes=True, **keywords)


def decode(codes: Any, fmt: Any, out: Any = None, *, stream: Any) -> Any:
    """Do `lpsim.decode`."""
    fmt = as_format(fmt)
    array = as_device_array(codes) if is_device_array(codes) else to_device(np.asarray(codes), stream)
    if array.dtype.kind not in "ui":
        raise TypeError(f"codes has dtype {array.dtype}; allowed: integers from 0 to 2**{fmt.bits} - 1")
    all_are_codes = array.dtype.kind == "u" and array.dtype.itemsize * 8 == fmt.bits
    if not all_are_codes and any_marked(_outside_kernel, array, stream, np.int64(fmt.bits)):
        raise ValueError(f"codes holds others than 0 to {(1 << fmt.bits) - 1}; allowed: these, the codes of {fmt}")
    shape = tuple(array.shape)
    result, target = result_array(out, shape, fmt.carrier, _holds_values(fmt), stream)
    way = decode_way(fmt)
    kernel = kernels.decode_kernel() if way is None else kernels.short_decode_kernel(wide=way[0])
    narrow = flat(expanded(array, shape, fmt.code_dtype, stream))
    launch(kernel, math.prod(shape), stream, narrow, flat(result), parameters(fmt) if way is None else way[1])
    if target is not None:
        copy(result, target, stream)
        return out
    return result


def any_marked(kernel: Any, array: Any, stream: Any, *arguments: Any) -> bool:
    """Return whether a kernel finds something in an array, which waits for it."""
    found = zeros((1,), np.uint8, stream)
    contiguous = flat(expanded(array, tuple(array.shape), array.dtype, stream))
    launch(kernel, math.prod(array.shape), stream, contiguous, *arguments, found)
    host: npt.NDArray[np.uint8] = found.copy_to_host(stream=stream)
    if stream:
        stream.synchronize()
    return bool(host[0])


@device_kernel
def _nan_kernel(array: Any, found: Any) -> None:
    for i in range(cuda.grid(1), array.size, cuda.gridsize(1)):
        if array[i] != array[i]:
            found[0] = 1


@device_kernel
def _outside_kernel(array: Any, bits: Any, found: Any) -> None:
    for i in range(cuda.grid(1), array.size, cuda.gridsize(1)):
        if np.int64(array[i]) >> bits != 0:
            found[0] = 1
