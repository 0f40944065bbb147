"""``lpsim formats``: the named formats."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from lpsim.cli.output import number, print_json, show
from lpsim.formats import NAMED_FORMATS, Format

__all__ = ["formats", "specials_of"]


def formats(
    json: Annotated[bool, typer.Option("--json", help="Write JSON, with all values in full.")] = False,
) -> None:
    """List the named formats with their range and precision.

    Any ExMy works as well wherever a format is asked for: E5M10, E4M3FN, E3M2_finite, binary8p3.
    """
    if json:
        print_json([_facts(name, fmt) for name, fmt in NAMED_FORMATS.items()])
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("Format", no_wrap=True)
    for heading in ("Bits", "ExMy", "Bias", "emin", "emax", "Max", "Min normal", "Min subnormal", "eps"):
        table.add_column(heading, justify="left" if heading == "ExMy" else "right")
    table.add_column("Specials")
    for name, fmt in NAMED_FORMATS.items():
        facts = _facts(name, fmt)
        integers = (facts[key] for key in ("bias", "emin", "emax"))
        values = (facts[key] for key in ("max", "smallest_normal"))
        table.add_row(
            name,
            str(fmt.bits),
            f"E{fmt.exponent_bits}M{fmt.mantissa_bits}",
            *(str(value) for value in integers),
            *(number(value, 6) for value in values),
            number(fmt.smallest_subnormal, 6) if fmt.subnormals else "none",
            number(fmt.eps, 6),
            specials_of(fmt),
        )
    show(table)


def specials_of(fmt: Format) -> str:
    """Return in words which special values a format has, and what it lacks."""
    present = [
        word
        for word, there in (
            ("inf", fmt.has_infinity),
            ("NaN", fmt.has_nan),
            ("-0", fmt.has_negative_zero),
            ("no zero", not fmt.has_zero),
            ("unsigned", not fmt.signed),
        )
        if there
    ]
    return ", ".join(present)


def _facts(name: str, fmt: Format) -> dict[str, Any]:
    return {
        "name": name,
        "spec": fmt.spec,
        "bits": fmt.bits,
        "exponent_bits": fmt.exponent_bits,
        "mantissa_bits": fmt.mantissa_bits,
        "bias": fmt.bias,
        "emin": fmt.emin,
        "emax": fmt.emax,
        "max": fmt.max,
        "smallest_normal": fmt.smallest_normal,
        "smallest_subnormal": fmt.smallest_subnormal if fmt.subnormals else None,
        "eps": fmt.eps,
        "signed": fmt.signed,
        "subnormals": fmt.subnormals,
        "infinity": fmt.has_infinity,
        "nan": fmt.has_nan,
        "zero": fmt.has_zero,
        "negative_zero": fmt.has_negative_zero,
    }
