"""``lpsim matmul``: the product of two matrices in files under matrix units, and its errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from lpsim.cli.inputs import check_folder, load_factors, parse_units, prepare_figure
from lpsim.cli.multiply import products
from lpsim.cli.output import fail, number, print_json, show, writing
from lpsim.errors import ProductError, product_error
from lpsim.files import replacing
from lpsim.units import MatrixUnit

__all__ = ["EXAMPLES", "matmul"]

EXAMPLES = """Examples:

lpsim matmul A.npy B.npy --unit tf32

lpsim matmul A.npy B.npy --unit tf32,a100.tf32,h100.e4m3 --plot errors.png

lpsim matmul A.npy B.npy --unit fp16_fp16acc --out C.npy --json
"""


def matmul(
    a: Annotated[Path, typer.Argument(metavar="A.npy", help="Left matrix.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B.npy", help="Right matrix.", show_default=False)],
    unit: Annotated[str, typer.Option(help="A matrix unit or several, separated by commas.")] = "tf32",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="C.npy",
            show_default=False,
            help="Save the product. With several units, one file each: C.tf32.npy, C.bf16.npy.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save a figure of errors and bounds.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed for units that round stochastically.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Multiply A by B as each unit does and compare with the float64 product.

    Beside each error stands its a-priori bound, from the unit's order of summation and its roundings
    (lpsim.errors.matmul_bound).
    """
    chosen = parse_units(unit)
    if seed is None and any(each.is_stochastic for each in chosen):
        fail("--seed is missing; a unit that rounds stochastically needs one")
    if out is not None:
        check_folder(out, "--out")
    if plot is not None:
        prepare_figure(plot, "--plot")
    left, right = load_factors(a, b)
    errors: dict[str, ProductError] = {}
    saved: dict[str, str] = {}
    for each, product in products(left, right, chosen, seed):
        name = str(each.name)
        errors[name] = product_error(product, left, right, each)
        if out is not None:
            path = out if len(chosen) == 1 else out.with_suffix(f".{name}{out.suffix}")
            _save(path, product)
            saved[name] = str(path)
    if plot is not None:
        from lpsim.cli.figures import error_figure, save_figure

        shape = f"{left.shape[0]} × {left.shape[1]} by {right.shape[0]} × {right.shape[1]}"
        save_figure(error_figure(errors, f"{a.name} · {b.name}, {shape}"), plot, "--plot")

    if json:
        print_json(
            {
                "a": {"file": str(a), "shape": left.shape, "dtype": str(left.dtype)},
                "b": {"file": str(b), "shape": right.shape, "dtype": str(right.dtype)},
                "units": [_as_dict(each, errors[str(each.name)], saved) for each in chosen],
                "plot": None if plot is None else str(plot),
            }
        )
        return
    show(_table(errors))
    for name, file in saved.items():
        print(f"{name}: {file}")
    if plot is not None:
        print(f"plot: {plot}")


def _save(path: Path, product: npt.NDArray[Any]) -> None:
    with writing(path, "--out"), replacing(path) as file:
        np.save(file, product, allow_pickle=False)


def _as_dict(unit: MatrixUnit, error: ProductError, saved: dict[str, str]) -> dict[str, Any]:
    name = str(unit.name)
    return {
        "unit": name,
        "a_format": str(unit.a_format),
        "b_format": str(unit.b_format),
        "accumulator_format": str(unit.accumulator_format),
        **dataclasses.asdict(error),
        "out": saved.get(name),
    }


def _table(errors: dict[str, ProductError]) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left", caption_style="dim")
    table.add_column("Unit", no_wrap=True)
    for heading in ("max |C-AB|", "bound", "rel. Frobenius", "bound", "max |C-AB|/|A||B|", "bound"):
        table.add_column(heading, justify="right", style="dim" if heading == "bound" else "")
    for name, error in errors.items():
        table.add_row(
            name,
            number(error.max_absolute),
            number(error.max_absolute_bound),
            number(error.relative_frobenius),
            number(error.relative_frobenius_bound),
            number(error.max_componentwise),
            number(error.max_componentwise_bound),
        )
    lost = [f"{name}: {error.not_finite}" for name, error in errors.items() if error.not_finite]
    if lost:
        table.caption = f"Elements that are infinite or NaN - {', '.join(lost)}"
    return table
