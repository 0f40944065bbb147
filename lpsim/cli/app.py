"""The Typer application: its commands and options common to all."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import lpsim
from lpsim.cli import (
    bench,
    compare,
    demo,
    describe,
    explore,
    formats,
    matmul,
    pareto,
    quantize,
    quantize_model,
    units,
    verify,
)
from lpsim.cli.ending import reported

__all__ = ["app"]


class _Commands(TyperGroup):
    """Commands of which none ends with a traceback where the machine, not the code, is at fault."""

    def invoke(self, context: typer.Context) -> Any:  # type: ignore[override]
        with reported():
            return super().invoke(context)


app = typer.Typer(
    name="lpsim",
    cls=_Commands,
    help="Simulate low-precision floating-point formats and matrix units, bit by bit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    print(f"lpsim {lpsim.__version__}")
    raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command("demo")(demo.demo)
app.command("bench", epilog=bench.EXAMPLES)(bench.bench)
# Negative numbers would be read as options; the command itself complains of values that are no numbers.
app.command("describe", context_settings={"ignore_unknown_options": True}, epilog=describe.EXAMPLES)(describe.describe)
app.command("explore", context_settings={"ignore_unknown_options": True}, epilog=explore.EXAMPLES)(explore.explore)
app.command("formats")(formats.formats)
app.command("matmul", epilog=matmul.EXAMPLES)(matmul.matmul)
app.command("quantize", epilog=quantize.EXAMPLES)(quantize.quantize)
app.command("quantize-model", epilog=quantize_model.EXAMPLES)(quantize_model.quantize_model)
# Commands of one name and several subcommands: `lpsim units` by itself lists them.
_units = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
_units.callback(invoke_without_command=True, epilog=units.EXAMPLES)(units.units)
_units.command("compare", epilog=compare.EXAMPLES)(compare.compare)
_units.command("pareto", epilog=pareto.EXAMPLES)(pareto.pareto)
app.add_typer(_units, name="units")
app.command("verify", epilog=verify.EXAMPLES)(verify.verify)
