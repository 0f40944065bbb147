"""``lpsim verify``: compare the kernels with the exact reference, for any format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lpsim.cli.inputs import check_folder, parse_formats
from lpsim.cli.output import bad_input, progress, show, writing
from lpsim.files import replacing
from lpsim.testing import Report, Row
from lpsim.testing import verify as verify_formats

__all__ = ["EXAMPLES", "verify"]

EXAMPLES = """Examples:

lpsim verify e4m3fn e5m2 --exhaustive

lpsim verify E6M5 --samples 1000000 --op add,fma --mode ties_to_even

lpsim verify E4M2B9FNUZ --json proof.json"""


def verify(
    formats: Annotated[list[str], typer.Argument(metavar="FORMAT...", help="Formats, such as e4m3fn or E6M5.")],
    op: Annotated[
        list[str] | None, typer.Option(help="Operations, separated by commas or one each time. Default: all.")
    ] = None,
    mode: Annotated[
        list[str] | None, typer.Option(help="Rounding modes, separated by commas or one each time. Default: all.")
    ] = None,
    overflow: Annotated[
        list[str] | None, typer.Option(help="Overflow policies, likewise. Default: all that a format allows.")
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option("--exhaustive", help="All operands; formats up to 8 bits (the default for these)."),
    ] = False,
    samples: Annotated[int, typer.Option(metavar="N", help="Cases of each row that is sampled.")] = 100_000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sampling.")] = 0,
    jobs: Annotated[int, typer.Option(metavar="N", help="Processes. Default: one for each processor.")] = 0,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all rows as JSON.")] = None,
) -> None:
    """Compare the kernels with the exact reference, bit for bit, flags included.

    Every row stands for one operation in all modes and overflow policies, on all operands or on samples. Exits with
    1 if anything differs. Ctrl-C ends it, and prints what was compared until then; FILE is written only by a whole run.
    """
    chosen = parse_formats(formats, "FORMAT")
    if json is not None:
        check_folder(json, "--json")
    with progress() as bar, bad_input():
        task = bar.add_task("verify", total=None)

        def advance(done: int, total: int, row: Row) -> None:
            bar.update(task, completed=done, total=total, description=f"{row.format} {row.operation} {row.rounding}")

        report = verify_formats(
            chosen,
            ops=_listed(op),
            modes=_listed(mode),
            overflows=_listed(overflow),
            level="exhaustive" if exhaustive else None,
            samples=samples,
            seed=seed,
            jobs=jobs or os.cpu_count() or 1,
            progress=advance,
        )
    # An unfinished report is no proof, and would be taken for one.
    if json is not None and report.complete:
        with writing(json, "--json"), replacing(json, "w") as file:
            file.write(report.to_json())
    show(_table(report))
    for row in report.rows:
        if row.example:
            print(f"{row.format} {row.operation} {row.rounding} {row.overflow}: {row.example}")
    if not report.complete:
        print("interrupted: what is not listed was not compared")
        raise typer.Exit(130)
    if not report.ok:
        raise typer.Exit(1)


def _listed(values: list[str] | None) -> list[Any] | None:
    return None if not values else [part.strip() for value in values for part in value.split(",")]


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("Format", "all", no_wrap=True)
    table.add_column("Operation")
    table.add_column("Cases", f"{report.cases:,}", justify="right")
    table.add_column("Operands")
    table.add_column("Mismatches", f"{report.mismatches:,}", justify="right")
    table.add_column("Seconds", justify="right")
    for total in report.by_operation():
        table.add_row(
            total.format,
            total.operation,
            f"{total.cases:,}",
            total.operands,
            f"{total.mismatches:,}",
            f"{total.seconds:.1f}",
        )
    return table
