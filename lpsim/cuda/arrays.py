"""Arrays on a GPU, whoever made them: views without a copy, streams, and copies that broadcast and convert."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import cuda

from lpsim.cuda.calls import is_device_array
from lpsim.cuda.target import device_kernel, is_simulated

__all__ = [
    "as_device_array",
    "as_numbers",
    "copy",
    "empty",
    "expanded",
    "flat",
    "is_device_array",
    "launch",
    "like",
    "ones",
    "stream_of",
    "swapped",
    "to_device",
    "zeros",
]

#: Threads of a block, and most blocks of a launch: each thread takes more elements then.
_BLOCK = 256
_MOST_BLOCKS = 1 << 16
_SIMULATED = 4

#: Axes of arrays of any strides; with fewer, the first ones have length 1.
_AXES = 4


def as_device_array(array: Any) -> Any:
    """Return an array on a GPU as one of Numba's, without a copy and without waiting for its stream."""
    if hasattr(array, "__cuda_ndarray__"):
        return array
    return cuda.from_cuda_array_interface(array.__cuda_array_interface__, owner=array, sync=False)


def stream_of(arrays: Iterable[Any]) -> Any:
    """Return the stream on which to work: that of the first array that has one; other streams are waited for."""
    streams = [stream for stream in map(_stream, arrays) if stream is not None]
    for other in streams[1:]:
        if other is not streams[0]:
            other.synchronize()
    return streams[0] if streams else 0


def _stream(array: Any) -> Any:
    if hasattr(array, "__cuda_ndarray__"):
        return array.stream or None
    pointer = array.__cuda_array_interface__.get("stream")
    if pointer is None and _package(array) == "torch":
        # PyTorch does not say with its arrays on which stream they are worked on.
        pointer = importlib.import_module("torch").cuda.current_stream(array.device).cuda_stream or None
    return None if pointer is None else cuda.external_stream(pointer)


def _package(array: Any) -> str:
    return type(array).__module__.partition(".")[0]


def like(result: Any, arrays: Sequence[Any]) -> Any:
    """Return one of Numba's arrays as one of the package of the first of the arrays, without a copy."""
    package = _package(arrays[0])
    if package == "cupy":
        return importlib.import_module("cupy").asarray(result)
    if package == "torch":
        return importlib.import_module("torch").as_tensor(result, device=arrays[0].device)
    return result


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Any) -> Any:
    """Return a new array on the GPU."""
    return cuda.device_array(tuple(shape), np.dtype(dtype), stream=stream)


def to_device(array: npt.NDArray[Any], stream: Any) -> Any:
    """Return a copy on the GPU of a NumPy array."""
    return cuda.to_device(np.ascontiguousarray(array).reshape(array.shape), stream=stream)


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Any) -> Any:
    """Return a new array of zeros on the GPU."""
    return _filled(shape, np.dtype(dtype).type(0), stream)


def ones(shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Any) -> Any:
    """Return a new array of ones on the GPU."""
    return _filled(shape, np.dtype(dtype).type(1), stream)


def _filled(shape: tuple[int, ...], value: Any, stream: Any) -> Any:
    result = empty(shape, value.dtype, stream)
    launch(_fill_kernel, math.prod(shape), stream, flat(result), value)
    return result


def swapped(array: Any) -> Any:
    """Return a view of a stack of matrices with rows and columns swapped."""
    if is_simulated:
        return type(array)(array._ary.swapaxes(-1, -2))
    interface = dict(array.__cuda_array_interface__)
    (*batch, rows, columns), (*others, row, column) = array.shape, array.strides
    interface.update(shape=(*batch, columns, rows), strides=(*others, column, row), stream=None)
    return cuda.from_cuda_array_interface(interface, owner=array, sync=False)


def flat(array: Any) -> Any:
    """Return a C-contiguous array as one of one axis."""
    return array.reshape(math.prod(array.shape))


def launch(kernel: Any, size: int, stream: Any, *arguments: Any, work: int = 1) -> None:
    """Start a kernel whose threads take so many elements in turn, ``work`` at a time."""
    if size == 0:
        return
    if is_simulated:  # each thread is one of Python's
        threads, blocks = _SIMULATED, 1
    else:
        threads, blocks = _BLOCK, min(-(-size // (_BLOCK * work)), _MOST_BLOCKS)
    kernel[blocks, threads, stream](*arguments)


def _strided(array: Any, shape: tuple[int, ...]) -> Any:
    """Return a view of an array, broadcast to a shape, with `_AXES` axes."""
    missing = len(shape) - len(array.shape)
    if len(shape) > _AXES:
        raise ValueError(
            f"an array that is not C-contiguous has shape {tuple(array.shape)}; allowed: at most {_AXES} axes"
        )
    sizes = (1,) * missing + tuple(array.shape)
    strides = (0,) * missing + tuple(array.strides)
    strides = tuple(0 if one == 1 else stride for one, stride in zip(sizes, strides, strict=True))
    full, steps = (1,) * (_AXES - len(shape)) + tuple(shape), (0,) * (_AXES - len(shape)) + strides
    if is_simulated:
        return type(array)(np.broadcast_to(array._ary, shape).reshape(full) if missing or sizes != tuple(shape) else
                           array._ary.reshape(full))  # fmt: skip
    interface = dict(array.__cuda_array_interface__)
    interface.update(shape=full, strides=steps, stream=None)
    return cuda.from_cuda_array_interface(interface, owner=array, sync=False)


def copy(source: Any, target: Any, stream: Any) -> None:
    """Copy an array to another one, of any strides, dtypes and, for the source, a shape that broadcasts."""
    shape = tuple(target.shape)
    if source.is_c_contiguous() and tuple(source.shape) == shape and target.is_c_contiguous():
        launch(_copy_kernel, math.prod(shape), stream, flat(source), flat(target))
        return
    launch(_strided_copy_kernel, math.prod(shape), stream, _strided(source, shape), _strided(target, shape))


def expanded(array: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Any) -> Any:
    """Return an array C-contiguous, broadcast to a shape, of a dtype: itself, if it is all of that."""
    if tuple(array.shape) == tuple(shape) and array.dtype == dtype and array.is_c_contiguous():
        return array
    result = empty(shape, dtype, stream)
    copy(array, result, stream)
    return result


_NARROW = ("float16", "bool", "int8", "uint8", "int16", "uint16")


def as_numbers(array: Any, argument: str, stream: Any) -> Any:
    """Return an array on the GPU as float32 or float64, as `lpsim.arguments.as_real` does for NumPy's."""
    name = array.dtype.name
    if name in ("float32", "float64"):
        return array
    if name in _NARROW:
        return expanded(array, tuple(array.shape), np.dtype(np.float32), stream)
    if name in ("int32", "uint32"):
        return expanded(array, tuple(array.shape), np.dtype(np.float64), stream)
    raise TypeError(
        f"{argument} is an array of dtype {array.dtype} on a GPU; allowed: booleans, integers of up to 32 bits, "
        "float16, float32 and float64"
    )


@device_kernel
def _copy_kernel(source: Any, target: Any) -> None:
    for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
        target[i] = source[i]


@device_kernel
def _fill_kernel(target: Any, value: Any) -> None:
    for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
        target[i] = value


@device_kernel
def _strided_copy_kernel(source: Any, target: Any) -> None:
    rows, columns, depth = target.shape[1], target.shape[2], target.shape[3]
    for i in range(cuda.grid(1), target.shape[0] * rows * columns * depth, cuda.gridsize(1)):
        rest, last = i // depth, i % depth
        rest, column = rest // columns, rest % columns
        target[rest // rows, rest % rows, column, last] = source[rest // rows, rest % rows, column, last]
