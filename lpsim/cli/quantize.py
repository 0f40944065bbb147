"""``lpsim quantize``: the arrays of a file under a scheme."""

from __future__ import annotations

import inspect
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy.typing as npt
import typer
from rich.table import Table

import lpsim as lp
from lpsim.cli.inputs import check_folder
from lpsim.cli.output import bad_input, fail, number, print_json, progress, show, writing
from lpsim.npy import read_npy, read_npz
from lpsim.quantization import NAMED_SCHEMES, Quantized, Scheme, save_arrays

__all__ = ["EXAMPLES", "Stored", "quantize", "read_input"]

EXAMPLES = """Examples:

lpsim quantize model.safetensors --scheme nf4 --out model-nf4.safetensors

lpsim quantize weights.npy --scheme "affine(bits=4, group=128)" --json

lpsim quantize --list
"""

_INPUTS = (".npy", ".npz", ".safetensors")


@dataclass(frozen=True)
class Stored:
    """What became of an array: its bits for each value and its error, or why it is kept as it is."""

    name: str
    shape: tuple[int, ...]
    bits_per_value: float
    relative_rms: float
    kept: str | None = None


def quantize(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="IN", help="A .npy, .npz or .safetensors file.", show_default=False),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="A name of --list, with or without parameters.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Where to write the arrays: .npz or .safetensors.", show_default=False),
    ] = None,
    axis: Annotated[int, typer.Option(help="The axis along which blocks and groups lie.")] = -1,
    listing: Annotated[bool, typer.Option("--list", help="List the schemes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Quantise the floating-point arrays of a file and say what that costs.

    Arrays that the scheme has no rule for, such as rows that its blocks do not divide, and those that hold no
    floating-point numbers are kept as they are. The output is read by `lpsim.quantization.load_arrays`.
    """
    if listing:
        _list(json)
        return
    if source is None or scheme is None:
        fail(f"{'IN' if source is None else '--scheme'} is missing; allowed: a file and --scheme, or --list")
    with bad_input("--scheme: "):
        chosen = lp.quantization.get(scheme)
    if chosen.needs:
        fail(f"--scheme is {scheme!r}, which needs {', '.join(chosen.needs)} inputs; use lpsim.quantize in Python")
    if out is not None:
        if out.suffix not in (".npz", ".safetensors"):
            fail(f"--out is {str(out)!r}; allowed: a name that ends in .npz or .safetensors")
        check_folder(out, "--out")
    arrays = read_input(source)
    results: dict[str, Any] = {}
    stored = []
    with progress() as bar:
        task = bar.add_task("quantising", total=len(arrays))
        for name, array in arrays.items():
            one, quantized = _quantized(name, array, chosen, axis)
            stored.append(one)
            results[name] = array if quantized is None else quantized
            bar.advance(task)
    if not any(one.kept is None for one in stored):
        fail(
            f"IN is {str(source)!r}, in which no array can be quantised: {stored[0].kept if stored else 'it is empty'}"
        )
    if out is not None:
        with bad_input("--out: ", (ValueError, ImportError)), writing(out, "--out"):
            save_arrays(results, out)
    _report(stored, results, out, json)


def _list(json: bool) -> None:
    rows = []
    for name, make in NAMED_SCHEMES.items():
        function = getattr(make, "func", make)
        sentence = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").removeprefix("Return ")
        given = ", ".join(map(repr, getattr(make, "args", ())))
        rows.append((name, sentence + f" {function.__name__}({given})" * bool(given)))
    if json:
        print_json([{"name": name, "description": sentence} for name, sentence in rows])
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    show(table)


def read_input(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a file, by name."""
    if path.suffix not in _INPUTS:
        fail(f"IN is {str(path)!r}; allowed: names that end in {', '.join(_INPUTS)}")
    with bad_input("IN: ", (OSError,)), path.open("rb"):
        pass
    # What damaged files raise depends on where the damage is; a pickle is an error, too.
    with bad_input(f"IN: cannot read {str(path)!r}: ", (Exception,)):
        if path.suffix == ".safetensors":
            try:
                from safetensors.numpy import load_file
            except ImportError:
                fail("IN: .safetensors files need the extra 'quantization': pip install 'lpsim[quantization]'")
            loaded: dict[str, npt.NDArray[Any]] = load_file(path)
            return loaded
        if path.suffix == ".npz":
            return read_npz(path)
        with path.open("rb") as file:
            return {"array": read_npy(file, os.fstat(file.fileno()).st_size)}


def _quantized(name: str, array: npt.NDArray[Any], scheme: Scheme, axis: int) -> tuple[Stored, Quantized | None]:
    """Return what became of an array, and its quantised form if it has one."""
    kept = None
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        kept = f"dtype {array.dtype}"
    elif not -array.ndim <= axis < array.ndim:
        kept = f"{array.ndim} axes"
    else:
        n = array.shape[axis]
        try:
            scheme.check_shape(array.size // n if n else 0, n)
        except ValueError as error:
            kept = str(error)
    if kept is not None:
        return Stored(name, array.shape, 8.0 * array.itemsize, 0.0, kept), None
    with bad_input(f"{name}: "):
        quantized = lp.quantize(array, scheme, axis)
        relative_rms = quantized.error(array).relative_rms
    return Stored(name, array.shape, quantized.bits_per_value, relative_rms), quantized


def _report(stored: list[Stored], results: dict[str, Any], out: Path | None, json: bool) -> None:
    done = [one for one in stored if one.kept is None]
    worst = max(done, key=lambda one: one.relative_rms)
    values = sum(math.prod(one.shape) for one in stored)
    size = sum(array.nbytes for array in results.values())
    bits = 8 * size / values if values else math.nan
    if json:
        print_json(
            {
                "arrays": list(map(asdict, stored)),
                "bits_per_value": bits,
                "worst": worst.name,
                "out": None if out is None else str(out),
            }
        )
        return
    table = Table(
        box=None, pad_edge=False, caption_justify="left", caption_style="dim",
        caption=f"{len(done)} of {len(stored)} arrays quantised, {number(bits, 4)} bits for each value of all; "
        f"worst: {worst.name}",
    )  # fmt: skip
    for heading in ("Array", "Shape"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Bits/value", "rel. RMS error"):
        table.add_column(heading, justify="right")
    table.add_column("", style="dim")
    for one in stored:
        error = number(one.relative_rms) if one.kept is None else ""
        shape = " × ".join(map(str, one.shape)) or "scalar"
        style = "bold" if one is worst else ""
        table.add_row(
            one.name, shape, number(one.bits_per_value, 4), error, f"kept: {one.kept}" if one.kept else "", style=style
        )
    show(table)
    if out is not None:
        print(f"written: {out}")
