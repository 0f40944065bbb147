"""``lpsim describe``: the bits, code, exact value and rounding error of numbers in formats."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

import lpsim as lp
from lpsim.cli.inputs import parse_code, parse_formats, parse_number
from lpsim.cli.output import bad_input, fail, print_json, show
from lpsim.describe import Description
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding

__all__ = ["EXAMPLES", "describe"]

EXAMPLES = """Examples:

lpsim describe -27.15625 --format fp16

lpsim describe 0.1 65520 nan --format fp16,bf16 --format E4M3FN

lpsim describe 464 --format e4m3fn --overflow saturate

lpsim describe --code 0xCECA --format fp16
"""


def _names(modes: type[Rounding] | type[Overflow]) -> str:
    usable = [mode for mode in modes if not (isinstance(mode, Rounding) and mode.is_stochastic)]
    return ", ".join(mode.name.lower() for mode in usable)


def describe(
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VALUE",
            show_default=False,
            help="Numbers: decimal (read as binary64), hexadecimal such as 0x1.8p3, inf or nan.",
        ),
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(help="A format or several, separated by commas; may be repeated.", show_default=False),
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Describe the value of this code of the format.", show_default=False),
    ] = None,
    rounding: Annotated[str, typer.Option(help=f"One of {_names(Rounding)}.")] = "ties_to_even",
    overflow: Annotated[str, typer.Option(help=f"One of {_names(Overflow)}.")] = "ieee",
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show sign, exponent and fraction bits, the code, the exact value and the error of each VALUE."""
    if unknown := [text for text in values or [] if text.startswith("--")]:
        fail(f"there is no option {unknown[0]!r}; see lpsim describe --help")
    numbers = [parse_number(text) for text in values or []]
    codes = [parse_code(text) for text in code or []]
    if not numbers and not codes:
        fail("VALUE is missing; give a number or --code")
    if not format:
        fail("--format is missing; give a format such as fp16 or E5M10; lpsim formats lists the named ones")
    chosen = parse_formats(format)
    with bad_input():
        modes: dict[str, Any] = {"rounding": as_rounding(rounding), "overflow": as_overflow(overflow)}
        if modes["rounding"].is_stochastic:
            fail(f"--rounding is {rounding!r}, whose result is random; allowed: the deterministic modes")
        found = [(value, lp.describe(value, fmt, **modes)) for value in numbers for fmt in chosen]
    found += [_of_code(each, fmt) for each in codes for fmt in chosen]
    if json:
        print_json([_as_dict(value, description) for value, description in found])
    else:
        for value, description in found:
            show(_heading(value, description), _table(description))


def _of_code(code: int, fmt: lp.Format) -> tuple[float, Description]:
    if code >= 1 << fmt.bits:
        fail(f"--code is {code:#x}; allowed: 0 to {(1 << fmt.bits) - 1:#x}, the codes of {fmt}")
    value = float(lp.decode(np.array(code, dtype=fmt.code_dtype), fmt))
    described = lp.describe(value, fmt)
    # Several codes may stand for one value (NaNs); show the one that was asked for.
    bits = f"{code:0{fmt.bits}b}"
    return value, dataclasses.replace(
        described,
        code=code,
        hex=f"0x{code:0{len(described.hex) - 2}X}",
        sign=bits[: fmt.signed],
        exponent_bits=bits[fmt.signed : fmt.signed + fmt.exponent_bits],
        fraction_bits=bits[fmt.signed + fmt.exponent_bits :],
    )


def _heading(value: float, description: Description) -> Text:
    fmt = description.format
    label = str(fmt) if str(fmt) == fmt.spec else f"{fmt} ({fmt.spec})"
    return Text.assemble((repr(value), "bold"), " in ", (label, "bold"))


def _table(description: Description) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("  sign", Text(description.sign or "none", "magenta"))
    table.add_row("  exponent", Text(description.exponent_bits or "none", "green"))
    table.add_row("  fraction", Text(description.fraction_bits or "none", "cyan"))
    table.add_row("  code", description.hex)
    table.add_row("  value", description.exact_value)
    table.add_row("  error", "0 (exact)" if description.exact else description.error)
    table.add_row("  kind", description.kind)
    return table


def _as_dict(value: float, description: Description) -> dict[str, Any]:
    return {
        "input": value,
        "format": str(description.format),
        "spec": description.format.spec,
        "value": description.value,
        "code": description.code,
        "hex": description.hex,
        "sign": description.sign,
        "exponent_bits": description.exponent_bits,
        "fraction_bits": description.fraction_bits,
        "exact_value": description.exact_value,
        "error": description.error,
        "exact": description.exact,
        "kind": description.kind,
    }
