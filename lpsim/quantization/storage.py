"""Quantised arrays in ``.npz`` and ``.safetensors`` files."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.checks import shown
from lpsim.files import replacing
from lpsim.npy import read_npz
from lpsim.quantization.quantized import Quantized
from lpsim.quantization.scheme import Layout, Parts, scheme_from_dict

__all__ = ["load", "load_arrays", "save", "save_arrays"]

_HEADER = "lpsim"

_Array = npt.NDArray[Any]


def save(quantized: Quantized, path: str | Path) -> None:
    """Write a file that `load` reads; see `Quantized.save`."""
    save_arrays({"": quantized}, path)


def load(path: str | Path) -> Quantized:
    """Read a file that `save` wrote.

    Raises
    ------
    ValueError
        If the file is none of them, or is damaged.
    """
    arrays = load_arrays(path)
    only = arrays.get("")
    if len(arrays) != 1 or not isinstance(only, Quantized):
        raise ValueError(f"{path} holds several arrays; allowed: files of one, as Quantized.save writes them")
    return only


def save_arrays(arrays: Mapping[str, Quantized | _Array], path: str | Path) -> None:
    """Write arrays by name, quantised or as they are, to a file that `load_arrays` reads.

    Parameters
    ----------
    arrays : dict of Quantized or ndarray
        By name, which must not hold a slash.
    path : str or Path
        A name that ends with ``.npz`` or ``.safetensors`` (extra ``quantization``). A file of that name is there only
        once it is whole.

    Raises
    ------
    ValueError
        For another ending or a slash in a name.
    OSError
        If the file cannot be written; one that was there is as it was.

    Examples
    --------
    >>> import os, tempfile
    >>> import lpsim as lp
    >>> weights = {"w": lp.quantize([[0.5, -1.0]], "nf4"), "bias": lp.round([0.1], "half")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lp.quantization.save_arrays(weights, os.path.join(folder, "weights.npz"))
    ...     again = lp.quantization.load_arrays(os.path.join(folder, "weights.npz"))
    >>> again["w"].dequantize().tolist(), again["bias"].tolist()
    ([[0.44070982933044434, -1.0]], [0.0999755859375])
    """
    path = _checked(path)
    parts: dict[str, _Array] = {}
    described = {}
    for name, array in arrays.items():
        if not isinstance(name, str) or "/" in name or name == _HEADER:
            raise ValueError(
                f"a name is {shown(name)}; allowed: names without a slash, and other ones than {_HEADER!r}"
            )
        if isinstance(array, Quantized):
            described[name] = {"scheme": array.scheme.asdict(), "shape": list(array.shape), "axis": array.axis}
            parts.update({_joined(name, part): np.asarray(value, order="C") for part, value in array.parts.items()})
        else:
            parts[name] = np.asarray(array, order="C")
    header = json.dumps(described)
    with replacing(path) as file:
        if path.suffix == ".npz":
            contents: dict[str, Any] = {_HEADER: np.array(header), **parts}
            np.savez(file, **contents)
        else:
            file.write(_safetensors().save(parts, metadata={_HEADER: header}))


def load_arrays(path: str | Path) -> dict[str, Quantized | _Array]:
    """Read what `save_arrays` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict of Quantized or ndarray
        By name.

    Raises
    ------
    ValueError
        If the file was written by something else, or is damaged.
    MemoryError
        If its arrays are larger than the memory that is available.

    Examples
    --------
    See `save_arrays`.
    """
    path = _checked(path)
    try:
        with warnings.catch_warnings():  # of headers that are no literals, and of names that come twice
            warnings.simplefilter("ignore")
            text, parts = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
        arrays: dict[str, Quantized | _Array] = {}
        for name, header in json.loads(text).items():
            shape = tuple(int(size) for size in header["shape"])
            axis = int(header["axis"])
            if not 0 <= axis < len(shape) or min(shape) < 0:
                raise ValueError(f"axis {axis} of shape {shape}")
            np.broadcast_to(np.float32(0), shape)  # NumPy refuses shapes beyond its range
            scheme = scheme_from_dict(header["scheme"])
            layout = scheme.layout(math.prod(shape[:axis] + shape[axis + 1 :]), shape[axis])
            own = {part: parts.pop(_joined(name, part)) for part in layout}
            arrays[name] = Quantized(scheme, shape, axis, _in_order(own, layout))
        if any("/" in name for name in parts) or ("" in arrays and parts):
            raise ValueError(f"parts {sorted(parts)} belong to none of the arrays")
        return {**arrays, **parts}
    except Exception as error:  # what readers raise depends on where the damage is
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.filename is not None):
            raise  # it can't be opened, or there is no room for it
        raise ValueError(f"{path} holds no quantised array that lpsim wrote: {error}") from error


def _joined(name: str, part: str) -> str:
    return f"{name}/{part}" if name else part


def _in_order(parts: Parts, layout: Layout) -> Parts:
    """Return the parts in the order of the layout, which files need not keep; refuse other ones."""
    for name, (dtype, shape) in layout.items():
        part = parts[name]
        if part.dtype != np.dtype(dtype) or part.shape != shape:
            raise ValueError(f"{name} is {part.dtype} of shape {part.shape} instead of {np.dtype(dtype)} of {shape}")
    return {name: parts[name] for name in layout}


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"path is {str(path)!r}; allowed: names that end with .npz or .safetensors")
    return path


def _read_npz(path: Path) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    arrays = read_npz(path)
    return str(arrays.pop(_HEADER)), arrays


def _read_safetensors(path: Path) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    module = _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {})[_HEADER]
        return text, module.load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            ".safetensors files need the extra 'quantization'; install it with: pip install 'lpsim[quantization]'"
        ) from error
    return safetensors.numpy
