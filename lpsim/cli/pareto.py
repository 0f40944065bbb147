"""``lpsim units pareto``: accuracy of matrix units on given matrices against their published speed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lpsim.cli.inputs import load_factors, parse_units, prepare_figure
from lpsim.cli.multiply import products
from lpsim.cli.output import fail, number, print_json, show
from lpsim.errors import product_error
from lpsim.units import NAMED_UNITS, MatrixUnit

__all__ = ["EXAMPLES", "Point", "mark_front", "pareto"]

EXAMPLES = """Examples:

lpsim units pareto A.npy B.npy --plot pareto.png

lpsim units pareto A.npy B.npy --unit h100.tf32,h100.bf16,h100.e4m3 --json
"""


@dataclass
class Point:
    """A unit's speed and its errors on the matrices; see `lpsim.errors.ProductError` for these."""

    unit: str
    input_format: str
    speed: float
    relative_frobenius: float
    max_componentwise: float
    pareto: bool = False


def pareto(
    a: Annotated[Path, typer.Argument(metavar="A.npy", help="Left matrix.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B.npy", help="Right matrix.", show_default=False)],
    unit: Annotated[
        str | None,
        typer.Option(
            help="Units, separated by commas. Default: all that have a published speed and no scales.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save a figure of error and speed.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Multiply A by B as each unit does and set the error against the unit's speed.

    Speed is the published dense peak rate relative to FP32 arithmetic of the same chip; errors are against the float64
    product. A unit is Pareto-optimal if no other one is as fast and as accurate (in the Frobenius norm), and better
    in one of the two.
    """
    chosen = _with_speed() if unit is None else parse_units(unit)
    for each in chosen:
        if each.throughput is None:
            known = ", ".join(str(one.name) for one in _with_speed())
            fail(f"--unit is {each.name!r}, which has no published speed; allowed: {known}")
    if plot is not None:
        prepare_figure(plot, "--plot")
    left, right = load_factors(a, b)
    points = []
    for each, product in products(left, right, chosen):
        error = product_error(product, left, right, each)
        speed = each.throughput or 0.0
        points.append(
            Point(str(each.name), str(each.a_format), speed, error.relative_frobenius, error.max_componentwise)
        )
    mark_front(points)
    points.sort(key=lambda point: (-point.speed, point.relative_frobenius))
    if plot is not None:
        from lpsim.cli.figures import save_figure
        from lpsim.cli.pareto_figure import pareto_figure

        shape = f"{left.shape[0]} × {left.shape[1]} by {right.shape[0]} × {right.shape[1]}"
        save_figure(pareto_figure(points, f"{a.name} · {b.name}, {shape}"), plot, "--plot")
    if json:
        print_json(
            {"a": str(a), "b": str(b), "units": list(map(asdict, points)), "plot": None if plot is None else str(plot)}
        )
        return
    show(_table(points))
    if plot is not None:
        print(f"plot: {plot}")


def _with_speed() -> list[MatrixUnit]:
    return [
        unit
        for name, unit in NAMED_UNITS.items()
        if unit.name == name and unit.throughput is not None and unit.scale_format is None
    ]


def mark_front(points: list[Point]) -> None:
    """Mark the points that no other one dominates; those with an infinite or NaN error never are."""
    for point in points:
        error = point.relative_frobenius
        dominated = any(
            other.speed >= point.speed
            and other.relative_frobenius <= error
            and (other.speed, other.relative_frobenius) != (point.speed, error)
            for other in points
        )
        point.pareto = error < float("inf") and not dominated


def _table(points: list[Point]) -> Table:
    table = Table(
        box=None, pad_edge=False, caption_justify="left", caption_style="dim",
        caption="Speed: published, relative to FP32 on the same chip. Pareto: no unit is faster and more accurate.",
    )  # fmt: skip
    table.add_column("Unit", no_wrap=True)
    table.add_column("Inputs")
    for heading in ("Speed", "rel. Frobenius", "max |C-AB|/|A||B|"):
        table.add_column(heading, justify="right")
    table.add_column("Pareto")
    for point in points:
        table.add_row(
            point.unit,
            point.input_format,
            number(point.speed),
            number(point.relative_frobenius),
            number(point.max_componentwise),
            "yes" if point.pareto else "",
            style="bold" if point.pareto else "",
        )
    return table
