"""Quantised arrays in ``.npz`` and ``.safetensors`` files."""

from __future__ import annotations

import json
import math
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.quantization.quantized import Quantized
from lpsim.quantization.scheme import Layout, Parts, scheme_from_dict

__all__ = ["load", "save"]

_HEADER = "lpsim"


def save(quantized: Quantized, path: str | Path) -> None:
    """Write a file that `load` reads; see `Quantized.save`."""
    path = _checked(path)
    header = json.dumps({"scheme": quantized.scheme.asdict(), "shape": list(quantized.shape), "axis": quantized.axis})
    parts = {name: np.ascontiguousarray(part) for name, part in quantized.parts.items()}
    # A file of that name is there only once it is whole.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if path.suffix == ".npz":
                arrays: dict[str, Any] = {_HEADER: np.array(header), **parts}
                np.savez(file, **arrays)
            else:
                file.write(_safetensors().save(parts, metadata={_HEADER: header}))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: str | Path) -> Quantized:
    """Read a file that `save` wrote.

    Raises
    ------
    ValueError
        If the file is none of them, or is damaged.
    """
    path = _checked(path)
    try:
        text, parts = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
        header = json.loads(text)
        shape = tuple(int(size) for size in header["shape"])
        axis = int(header["axis"])
        if not 0 <= axis < len(shape) or min(shape) < 0:
            raise ValueError(f"axis {axis} of shape {shape}")
        scheme = scheme_from_dict(header["scheme"])
        rows = math.prod(shape[:axis] + shape[axis + 1 :])
        return Quantized(scheme, shape, axis, _in_order(parts, scheme.layout(rows, shape[axis])))
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} holds no quantised array that lpsim wrote: {error}") from error


def _in_order(parts: Parts, layout: Layout) -> Parts:
    """Return the parts in the order of the layout, which safetensors files do not keep; refuse other ones."""
    if layout.keys() != parts.keys():
        raise ValueError(f"parts {sorted(parts)} instead of {sorted(layout)}")
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
    # NumPy leaves a file open that it can't read.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
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
