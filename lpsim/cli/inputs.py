"""What commands read: numbers, modes, units, ``.npy`` files and the names of figures to write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy.typing as npt
from numpy.lib.format import MAGIC_PREFIX

import lpsim as lp
from lpsim import units
from lpsim.cli.output import bad_input, fail
from lpsim.npy import read_npy
from lpsim.units import MatrixUnit

__all__ = [
    "check_folder",
    "load_factors",
    "load_matrix",
    "parse_code",
    "parse_formats",
    "parse_number",
    "parse_units",
    "prepare_figure",
]


def parse_number(text: str) -> float:
    """Read a decimal or hexadecimal number as binary64; also ``inf`` and ``nan``."""
    try:
        return float.fromhex(text) if "0x" in text.lower() else float(text)
    except (ValueError, OverflowError):
        fail(f"VALUE is {text!r}; allowed: a number such as -27.15625, 1e-3 or 0x1.8p3, or inf or nan")


def parse_code(text: str) -> int:
    """Read a code: decimal, ``0x...``, ``0b...`` or ``0o...``."""
    try:
        code = int(text, 0)
    except ValueError:
        code = -1
    if code < 0:
        fail(f"--code is {text!r}; allowed: an integer that is not negative, such as 0xCECA or 0b1100")
    return code


def parse_formats(names: list[str], argument: str = "--format") -> list[lp.Format]:
    """Read formats, each option holding one or several separated by commas."""
    with bad_input(f"{argument}: "):
        return [lp.format(name) for text in names for name in text.split(",")]


def parse_units(text: str) -> list[MatrixUnit]:
    """Read the names of units without scales, separated by commas."""
    with bad_input("--unit: "):
        found = {unit.name: unit for unit in map(units.get, text.split(","))}
    for unit in found.values():
        if unit.scale_format is not None:
            fail(f"--unit is {unit.name!r}, which multiplies blocks with scales; allowed: units without scales")
    return list(found.values())


def load_matrix(path: Path, argument: str) -> npt.NDArray[Any]:
    """Read a matrix of real numbers from a ``.npy`` file."""
    with bad_input(f"{argument}: ", (OSError,)), path.open("rb") as file:
        if file.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
            fail(f"{argument} is {str(path)!r}, which is no .npy file; allowed: what numpy.save writes")
        file.seek(0)
        # What NumPy raises for a damaged file depends on where the damage is.
        with bad_input(f"{argument}: cannot read {str(path)!r}: ", (Exception,)):
            array = read_npy(file, os.fstat(file.fileno()).st_size)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        fail(
            f"{argument} is {str(path)!r} of dtype {array.dtype}; allowed: real numbers "
            "(bool, integers, float16, float32, float64)"
        )
    if array.ndim != 2:
        fail(f"{argument} is {str(path)!r} of shape {array.shape}; allowed: two dimensions")
    return array


def load_factors(a: Path, b: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Read two matrices that can be multiplied."""
    left, right = load_matrix(a, "A"), load_matrix(b, "B")
    if left.shape[1] != right.shape[0]:
        fail(f"A has shape {left.shape} and B {right.shape}; allowed: as many columns of A as rows of B")
    return left, right


def prepare_figure(path: Path, argument: str) -> None:
    """Fail now, not after the work, if a figure cannot be written to ``path``."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        fail(f"{argument} needs the extra 'plot'; install it with: pip install 'lpsim[plot]'")
    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in kinds:
        allowed = ", ".join(f".{kind}" for kind in sorted(kinds))
        fail(f"{argument} is {str(path)!r}; allowed: a name that ends in one of {allowed}")
    check_folder(path, argument)


def check_folder(path: Path, argument: str) -> None:
    """Fail now, not after the work, if a file cannot be put at ``path``."""
    if path.is_dir() or not path.parent.is_dir():
        fail(f"{argument} is {str(path)!r}; allowed: the name of a file in a folder that exists")
