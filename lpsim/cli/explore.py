"""``lpsim explore``: a page that shows a number in floating-point formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lpsim import explorer
from lpsim.cli.inputs import check_folder, parse_formats
from lpsim.cli.output import fail, writing
from lpsim.files import replacing

__all__ = ["EXAMPLES", "explore"]

EXAMPLES = """Examples:

lpsim explore

lpsim explore -27.15625 --format fp16,bf16 --format E5M7 --output fp16.html
"""


def explore(
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="The number that the page shows at first, as typed there.")
    ] = "-27.15625",
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="A format or several, separated by commas; may be repeated.",
            show_default=",".join(explorer.DEFAULT_FORMATS),
        ),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the page.")] = Path("explorer.html"),
) -> None:
    """Write one HTML file that shows a number in formats: bits to click, code, exact value, error, neighbours.

    It loads nothing else and needs no server: open it in a browser. Other formats can be added there.
    """
    if number.startswith("--"):
        fail(f"there is no option {number!r}; see lpsim explore --help")
    chosen = parse_formats(format) if format else explorer.DEFAULT_FORMATS
    if output.suffix.lower() not in (".html", ".htm"):
        fail(f"--output is {str(output)!r}; allowed: a name that ends in .html")
    check_folder(output, "--output")
    with writing(output, "--output"), replacing(output, "w") as file:
        file.write(explorer.page(chosen, number))
    print(f"page: {output}")
