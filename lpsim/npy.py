"""Arrays in ``.npy`` and ``.npz`` files, whose headers are held against their files before memory is asked for."""

from __future__ import annotations

import math
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from lpsim.memory import check_size

__all__ = ["read_npy", "read_npz"]

_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def read_npy(file: IO[bytes], size: int) -> npt.NDArray[Any]:
    """Read an array from a file of so many bytes that can be sought in; never a pickle.

    Raises
    ------
    ValueError
        If there is no array, or the header says that it is longer than the file.
    MemoryError
        If it is larger than the memory that is available.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of sizes that lie, and of headers that are no literals
        _check_header(file, size)
        file.seek(0)
        array: npt.NDArray[Any] = npy_format.read_array(file, allow_pickle=False)
    return array


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an archive, by name; errors are those of `read_npy`, and what `zipfile` raises for damage."""
    arrays = {}
    with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        sizes = {one.filename: one.file_size for one in archive.infolist()}
        check_size("the archive", (sum(sizes.values()),), 1)
        for name, size in sizes.items():
            with archive.open(name) as file:
                arrays[name.removesuffix(".npy")] = read_npy(file, size)
    return arrays


def _check_header(file: IO[bytes], size: int) -> None:
    try:
        read_header = _HEADERS.get(npy_format.read_magic(file))
        if read_header is None:
            return  # of names in Unicode, or of a version that NumPy refuses
        shape, _, dtype = read_header(file)
    except Exception as error:  # what Python raises for a literal depends on its damage: also MemoryError
        raise ValueError(f"its header is damaged ({error or type(error).__name__})") from None
    if dtype.hasobject:
        raise ValueError("it holds Python's objects as a pickle, which is never loaded")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"its header says shape {shape!r:.80}")
    length = math.prod(shape) * max(dtype.itemsize, 1)
    if length > size - file.tell():
        raise ValueError(f"its header says that {length} bytes follow, but {size - file.tell()} do")
    check_size("the array", shape, max(dtype.itemsize, 1))
