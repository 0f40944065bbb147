"""``lpsim units compare``: where the products of matrix units differ, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from lpsim.cli.inputs import load_factors, parse_units
from lpsim.cli.multiply import products
from lpsim.cli.output import number, print_json, show
from lpsim.errors import ulp_error
from lpsim.formats import float16, float32
from lpsim.units import NAMED_UNITS, MatrixUnit

__all__ = ["EXAMPLES", "compare"]

EXAMPLES = """Examples:

lpsim units compare A.npy B.npy

lpsim units compare A.npy B.npy --unit a100.tf32,h100.tf32 --json
"""


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.npy", help="Left matrix.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B.npy", help="Right matrix.", show_default=False)],
    unit: Annotated[
        str | None,
        typer.Option(
            help="Units, separated by commas; the first one is the reference. Default: fp16, and every chip's unit "
            "that reads FP16 and returns FP32, whose inputs are the same.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Multiply A by B as each unit does and show where the products differ from the first unit's.

    How many elements differ, by how much at most - in binary32 units in the last place of the first unit's element,
    and relative to it - and the element with the most units, counted from 0.
    """
    chosen = _default() if unit is None else parse_units(unit)
    left, right = load_factors(a, b)
    rows: list[dict[str, Any]] = []
    reference: npt.NDArray[Any] | None = None
    for each, product in products(left, right, chosen):
        reference = product if reference is None else reference
        rows.append({"unit": str(each.name), **_difference(reference, product)})
    if json:
        print_json({"a": str(a), "b": str(b), "reference": chosen[0].name, "units": rows})
    else:
        show(_table(rows))


def _default() -> list[MatrixUnit]:
    # By their own names: those that are the same under another chip's name are left out.
    return [
        unit
        for name, unit in NAMED_UNITS.items()
        if unit.name == name and unit.a_format == float16 == unit.b_format and unit.result_format == float32
    ]


def _difference(reference: npt.NDArray[Any], product: npt.NDArray[Any]) -> dict[str, Any]:
    differ = (product != reference) & ~(np.isnan(product) & np.isnan(reference))
    count = int(np.count_nonzero(differ))
    if count == 0:
        return {"differ": 0, "share": 0.0, "largest_ulps": 0.0, "largest_relative": 0.0, "worst": None}
    ulps = np.where(differ, ulp_error(product, reference, float32), 0.0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        values = np.asarray(reference, np.float64)
        relative = np.where(differ, np.abs(product - values) / np.abs(values), 0.0)
    # A NaN or an infinity in one of the products only is as large a difference as there is.
    ulps, relative = (np.where(np.isnan(x), np.inf, x) for x in (ulps, relative))
    row, column = map(int, np.unravel_index(np.argmax(ulps), ulps.shape))
    return {
        "differ": count,
        "share": count / product.size,
        "largest_ulps": float(ulps.max()),
        "largest_relative": float(relative.max()),
        "worst": {
            "index": [row, column],
            "reference": float(reference[row, column]),
            "value": float(product[row, column]),
        },
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        box=None, pad_edge=False, caption_justify="left", caption_style="dim",
        caption=f"Differences from {rows[0]['unit']}; units in the last place (ulps) of binary32",
    )  # fmt: skip
    table.add_column("Unit", no_wrap=True)
    for heading in ("Differ", "Share", "Max ulps", "Max relative", "Worst at", f"{rows[0]['unit']}", "Unit's"):
        table.add_column(heading, justify="right")
    for row in rows:
        worst = row["worst"]
        place = ("", "", "")
        if worst is not None:
            index = "[{}, {}]".format(*worst["index"])
            place = (index, f"{worst['reference']:.9g}", f"{worst['value']:.9g}")
        table.add_row(
            row["unit"],
            f"{row['differ']:,}",
            f"{row['share']:.2%}",
            number(row["largest_ulps"]),
            number(row["largest_relative"]),
            # Rich reads square brackets as its markup.
            *(text.replace("[", r"\[") for text in place),
        )
    return table
