"""``lpsim units``: the named matrix units, by hardware."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from lpsim.cli.output import fail, number, print_json, show
from lpsim.rounding import Rounding
from lpsim.units import HARDWARE, NAMED_UNITS, MatrixUnit

__all__ = ["EXAMPLES", "heading_of", "inputs_of", "steps_of", "summation_of", "unit_groups", "units"]

EXAMPLES = """Examples:

lpsim units

lpsim units --hardware h100,mi300

lpsim units compare A.npy B.npy --unit a100.tf32,h100.tf32

lpsim units pareto A.npy B.npy --plot pareto.png
"""


class _Group(NamedTuple):
    """Units of one kind of hardware, and all its names; of none: those that are definitions."""

    names: tuple[str, ...]
    title: str
    units: list[MatrixUnit]


def units(
    context: typer.Context,
    hardware: Annotated[
        str | None,
        typer.Option(help="Only these chips, separated by commas, such as h100 or a100,mi300.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, with sources.")] = False,
) -> None:
    """List the matrix units of each chip: what they read, how they sum, how fast they are, what they agree with.

    Speed is the published dense peak rate relative to FP32 of the same chip.
    With a subcommand, compare units on your own matrices.
    """
    if context.invoked_subcommand is not None:
        if hardware is not None or json:
            fail(f"--hardware and --json before {context.invoked_subcommand!r}; allowed: options after it")
        return
    groups = list(unit_groups())
    if hardware is not None:
        wanted = [name.strip().lower() for name in hardware.split(",")]
        if unknown := [name for name in wanted if name not in HARDWARE]:
            fail(f"--hardware is {unknown[0]!r}; allowed: {', '.join(HARDWARE)}")
        groups = [group for group in groups if set(wanted) & set(group.names)]
    if json:
        print_json(
            [
                {"hardware": list(group.names), "title": group.title, "units": list(map(_facts, group.units))}
                for group in groups
            ]
        )
        return
    for group in groups:
        show(Text(heading_of(group), style="bold"), _table(group))


def unit_groups() -> Iterator[_Group]:
    """Yield the definitions, then the units of each chip."""
    definitions = [unit for name, unit in NAMED_UNITS.items() if "." not in name]
    yield _Group((), "Definitions: k ascending, no chip's behaviour", definitions)
    for chip in (chip for name, chip in HARDWARE.items() if name == chip.name):
        others = (name for name, one in HARDWARE.items() if one is chip and name != chip.name)
        yield _Group((chip.name, *others), chip.title, list(chip.values()))


def heading_of(group: _Group) -> str:
    """Return the names and title of a group."""
    if not group.names:
        return group.title
    first, *others = group.names
    also = f" (also {', '.join(others)})" if others else ""
    return f"{first}{also}: {group.title}"


def _table(group: _Group) -> Table:
    # The widths of all groups, so that their columns line up.
    table = Table(box=None, pad_edge=False)
    table.add_column("Unit", no_wrap=True, min_width=max(map(len, NAMED_UNITS)))
    table.add_column("Inputs", min_width=17)
    table.add_column("Sum", min_width=18)
    table.add_column("How it sums", min_width=46)
    table.add_column("Speed", justify="right", min_width=5)
    table.add_column("Verified against", style="dim")
    for unit in group.units:
        table.add_row(
            str(unit.name),
            inputs_of(unit),
            steps_of(unit),
            summation_of(unit),
            "" if unit.throughput is None else number(unit.throughput),
            unit.verified or "",
        )
    return table


def inputs_of(unit: MatrixUnit) -> str:
    """Return what a unit reads, and how it is rounded."""
    text = str(unit.a_format) if unit.a_format == unit.b_format else f"{unit.a_format} x {unit.b_format}"
    if unit.scale_format is not None:
        text += f", scales {unit.scale_format}"
    return text + _mode(unit.input_rounding)


def steps_of(unit: MatrixUnit) -> str:
    """Return the formats of a unit's sums, from the accumulator to the result."""
    steps = dict.fromkeys(map(str, (unit.accumulator_format, unit.total_format, unit.result_format)))
    return " > ".join(steps)


def _mode(rounding: Rounding) -> str:
    return "" if rounding == Rounding.TIES_TO_EVEN else f", {rounding.name.lower().replace('_', ' ')}"


def summation_of(unit: MatrixUnit) -> str:
    """Return how a unit sums, in a few words; roundings are to nearest, ties to even, unless stated."""
    order = unit.summation
    if unit.dot is not None:
        bits = "exact" if unit.dot.fraction_bits is None else f"{unit.dot.fraction_bits} bits"
        text = f"{unit.dot.terms} at once, {bits}{_mode(unit.rounding)}"
        text += {"truncate": "", "cdna3": ", then c", "cdna3_split": ", odd and even apart, then c"}[unit.dot.alignment]
        text += f", groups of {unit.dot.group}" if unit.dot.group > 1 else ""
        return text + (f", blocks of {order.block}" if order.block else "")
    fused = unit.product_format is None and order.inner != "pairwise"
    products = " fma" if fused else f", {unit.product_format or unit.accumulator_format} products"
    zeros = ", no subnormals" if unit.flush_inputs or unit.flush_results else ""
    return f"{order}{products}{_mode(unit.rounding)}{zeros}"


def _facts(unit: MatrixUnit) -> dict[str, Any]:
    return {
        "unit": unit.name,
        "a_format": str(unit.a_format),
        "b_format": str(unit.b_format),
        "scale_format": None if unit.scale_format is None else str(unit.scale_format),
        "scale_block": unit.scale_block,
        "accumulator_format": str(unit.accumulator_format),
        "result_format": str(unit.result_format),
        "summation": summation_of(unit),
        "throughput": unit.throughput,
        "throughput_source": unit.throughput_source,
        "source": unit.source,
        "verified": unit.verified,
    }
