"""A hook of MkDocs: pages of the documentation that are made of what lpsim says of itself.

``mkdocs.yml`` names this file. No page here has a table of its own: formats, units, functions, commands and the explorer
come from the package, the changelog from its file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import lpsim as lp
from lpsim import errors, explorer, jit, quantization, reference, testing, units
from lpsim.cli.app import app
from lpsim.cli.formats import specials_of
from lpsim.cli.units import heading_of, inputs_of, steps_of, summation_of, unit_groups
from lpsim.formats import ALIASES, NAMED_FORMATS, SOURCES

ROOT = Path(__file__).resolve().parents[1]

#: Modules with a page of the reference of their own, besides the package.
MODULES = (units, jit, quantization, errors, testing, reference, explorer)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the explorer to the files of the site."""
    pages: dict[str, Callable[[], str]] = {
        "formats.md": formats_page,
        "units.md": units_page,
        "cli.md": cli_page,
        "changelog.md": changelog_page,
        "explorer.md": explorer_page,
        # The page around the explorer becomes explorer.html.
        "explorer_page.html": explorer.page,
        "api/lpsim.md": package_page,
        **{f"api/{module.__name__.rpartition('.')[2]}.md": lambda of=module: module_page(of) for module in MODULES},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content()))
    return files


def table(heading: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table; a heading that ends in ">" is that of numbers."""
    names = list(heading)
    lines = [[name.rstrip(">") for name in names], ["---:" if name.endswith(">") else "---" for name in names]]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *cells])


def formats_page() -> str:
    """Return the table of the named formats."""
    names = {name: [alias for alias, one in ALIASES.items() if one == fmt and alias != name]
             for name, fmt in NAMED_FORMATS.items()}  # fmt: skip
    rows = (
        (
            f"`{name}`",
            ", ".join(f"`{alias}`" for alias in names[name]),
            fmt.bits,
            f"`{fmt.spec}`",
            fmt.bias,
            f"{fmt.emin} to {fmt.emax}",
            f"{fmt.max:.6g}",
            f"{fmt.smallest_normal:.6g}",
            f"{fmt.smallest_subnormal:.6g}" if fmt.subnormals else "none",
            specials_of(fmt),
            SOURCES[name],
        )
        for name, fmt in NAMED_FORMATS.items()
    )
    heading = ("Name", "Also", "Bits>", "ExMy", "Bias>", "Exponents", "Largest>", "Smallest normal>",
               "Smallest subnormal>", "Has", "Source")  # fmt: skip
    return (
        "# Formats\n\n"
        "The named formats. Any other is written as `ExMy` ([define a format](howto/formats.md)), and the "
        "[explorer](explorer.md) shows any of them. What the special codes are is in the "
        "[conventions](conventions.md#formats).\n\n" + table(heading, rows) + "\n"
    )


def units_page() -> str:
    """Return the tables of the matrix units, by chip."""
    parts = [
        "# Matrix units\n",
        "Units as data: what they read, what they sum in (accumulator, and formats of later sums and of the result), "
        "how, and where that is documented. Roundings are to nearest, ties to even, unless stated. Speed is the "
        "published dense peak rate relative to FP32 of the same chip. A unit that was verified against a model alone "
        "was not compared with hardware. `lpsim units` prints these tables.\n",
    ]
    for group in unit_groups():
        rows = (
            (
                f"`{unit.name}`",
                inputs_of(unit),
                steps_of(unit),
                summation_of(unit),
                "" if unit.throughput is None else f"[{unit.throughput:.3g}](#speeds)",
                unit.verified or "a definition",
                unit.source,
            )
            for unit in group.units
        )
        parts += [
            f"## {heading_of(group)}\n",
            table(("Unit", "Inputs", "Sum", "How it sums", "Speed>", "Verified against", "Source"), rows) + "\n",
        ]
    speeds: dict[str, list[str]] = {}
    for group in unit_groups():
        for unit in group.units:
            if unit.throughput_source:
                speeds.setdefault(unit.throughput_source, []).append(f"`{unit.name}`")
    parts += [
        "## Speeds\n",
        "Where the rates are published.\n",
        table(("Units", "Source"), ((", ".join(names), source) for source, names in speeds.items())),
    ]
    return "\n".join(parts) + "\n"


def cli_page() -> str:
    """Return the help of every command."""
    parts = ["# Command line\n", "`pip install 'lpsim[cli]'` installs the command `lpsim`.\n"]
    root = typer.main.get_command(app)

    def describe(command: Any, names: tuple[str, ...]) -> None:
        context = click.Context(command, info_name=" ".join(names))
        parts.append(f"{'#' * min(len(names) + 1, 4)} `{' '.join(names)}`\n")
        parts.append(inspect.cleandoc(command.help or "") + "\n")
        usage = command.get_usage(context).partition("Usage: ")[2]
        parts.append(f"```text\n{' '.join(usage.split())}\n```\n")
        rows = []
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if record is None:
                metavar = getattr(parameter, "metavar", None) or parameter.name or ""
                record = (metavar, getattr(parameter, "help", None) or "")
            rows.append((f"`{record[0]}`", record[1]))
        parts.append(table(("Option", "Meaning"), rows) + "\n")
        if command.epilog:
            lines = [line.strip() for line in inspect.cleandoc(command.epilog).splitlines()]
            parts.append("```bash\n" + "\n".join(line for line in lines if line.startswith("lpsim")) + "\n```\n")
        for name, one in getattr(command, "commands", {}).items():
            describe(one, (*names, name))

    describe(root, ("lpsim",))
    return "\n".join(parts)


def changelog_page() -> str:
    """Return the changelog."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def explorer_page() -> str:
    """Return the page that leads to the explorer."""
    return (
        "# Explorer\n\n"
        "[Open the explorer](explorer_page.html){ .md-button .md-button--primary }\n\n"
        "It shows a number in any format: its bits, which can be clicked, its code, its exact value, the error and the "
        "neighbours, in all deterministic rounding modes. Numbers are taken exactly as typed and rounded once. The "
        "address holds what is shown, so that a view can be linked.\n\n"
        "[![Cards of four formats, each with the bits of -27.15625, its value and its place on a number line.]"
        "(explorer.png)](explorer_page.html)\n\n"
        "`lpsim explore --format fp16,E5M7` writes the same page, one file that needs no network, with the formats of "
        "your choice; in Python, `lpsim.explorer.page`.\n"
    )


def _entries(names: Iterable[str]) -> str:
    return "\n".join(f"::: {name}\n" for name in names)


def package_page() -> str:
    """Return the reference of what the package exports."""
    formats, kinds, functions, modules = [], [], [], []
    for name in lp.__all__:
        value = getattr(lp, name)
        if name == "__version__":
            continue
        chosen = (
            formats if isinstance(value, lp.Format)
            else modules if inspect.ismodule(value)
            else kinds if inspect.isclass(value)
            else functions
        )  # fmt: skip
        chosen.append(name)
    rows = (
        (f'<span id="lpsim.{name}"></span>`lpsim.{name}`', f"`{getattr(lp, name).spec}`", SOURCES[name])
        for name in formats
    )
    links = (
        (
            f'<span id="lpsim.{name}"></span>[`lpsim.{name}`]({name}.md)',
            (getattr(lp, name).__doc__ or "").split("\n")[0],
        )
        for name in modules
    )
    return (
        "# lpsim\n\n"
        f'<span id="lpsim.__version__"></span>`lpsim.__version__` is the version, `{lp.__version__}` here.\n\n'
        "## Functions\n\n" + _entries(f"lpsim.{name}" for name in functions) + "\n## Classes\n\n"
        + _entries(f"lpsim.{name}" for name in kinds)
        + "\n## Named formats\n\nSee the [table](../formats.md) for their range.\n\n"
        + table(("Name", "ExMy", "Source"), rows)
        + "\n\n## Modules\n\n" + table(("Module", "What it has"), links) + "\n"
    )  # fmt: skip


def module_page(module: Any) -> str:
    """Return the reference of a module: its text and what it exports."""
    name = module.__name__
    shown = [
        one
        for one in module.__all__
        if inspect.isroutine(getattr(module, one))
        or inspect.isclass(getattr(module, one))
        or callable(getattr(module, one))
    ]
    constants = [one for one in module.__all__ if one not in shown]
    parts = [f"# {name}\n", inspect.getdoc(module) or ""]
    if shown:
        parts.append("\n" + _entries(f"{name}.{one}" for one in sorted(shown, key=str.lower)))
    if constants:
        parts.append("\n## Constants\n\n" + ", ".join(f"`{one}`" for one in constants) + "\n")
    return "\n".join(parts) + "\n"
