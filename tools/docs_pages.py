"""A hook of MkDocs: pages of the documentation that are made of what lpsim says of itself.

``mkdocs.yml`` names this file. No page here has a table of its own: formats, units, functions, commands and the
explorer come from the package, the changelog and what is said of security from their files.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import lpsim as lp
import lpsim.torch
from lpsim import errors, examples, explorer, jit, quantization, reference, sweeps, testing, units
from lpsim.cli.app import app
from lpsim.cli.formats import specials_of
from lpsim.cli.units import heading_of, inputs_of, steps_of, summation_of, unit_groups
from lpsim.formats import ALIASES, NAMED_FORMATS, SOURCES

ROOT = Path(__file__).resolve().parents[1]

#: Modules with a page of the reference of their own, besides the package.
MODULES = (units, jit, quantization, lpsim.torch, sweeps, examples, errors, testing, reference, explorer)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the explorer to the files of the site."""
    pages: dict[str, Callable[[], str]] = {
        "formats.md": formats_page,
        "units.md": units_page,
        "cli.md": cli_page,
        "changelog.md": changelog_page,
        "security.md": security_page,
        "explorer.md": explorer_page,
        # The page around the explorer becomes explorer.html.
        "explorer_page.html": explorer.page,
        "api/lpsim.md": package_page,
        **{f"api/{module.__name__.rpartition('.')[2]}.md": lambda of=module: module_page(of) for module in MODULES},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content()))
    return files


#: At the start of a page: without the list of its headings, so that tables have room.
WIDE = "---\nhide: [toc]\n---\n\n"


def table(heading: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table; a heading that ends in ">" is that of numbers."""
    names = list(heading)
    lines = [[name.rstrip(">") for name in names], ["---:" if name.endswith(">") else "---" for name in names]]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *cells])


def formats_page() -> str:
    """Return the table of the named formats."""
    rows = []
    for name, fmt in NAMED_FORMATS.items():
        aliases = [f"`{alias}`" for alias, one in ALIASES.items() if one == fmt and alias != name]
        smallest = f"{fmt.smallest_normal:.6g}"
        if fmt.subnormals:
            smallest += f",<br>subnormal {fmt.smallest_subnormal:.6g}"
        names = f"`{name}`<br>also {', '.join(aliases)}" if aliases else f"`{name}`"
        parameters = f"`{fmt.spec.replace('_', '`<br>`_')}`"
        exponents = f"{fmt.emin} to {fmt.emax}<br>bias {fmt.bias}"
        source = SOURCES[name]
        rows.append((names, fmt.bits, parameters, exponents, f"{fmt.max:.6g}", smallest, specials_of(fmt), source))
    heading = ("Name", "Bits>", "ExMy", "Exponents", "Largest>", "Smallest", "Has", "Source")
    return (
        f"{WIDE}# Formats\n\n"
        "The named formats. Any other is written as `ExMy` ([define a format](howto/formats.md)), and the "
        "[explorer](explorer.md) shows any of them. What the special codes are is in the "
        f"[conventions](conventions.md#formats).\n\n{table(heading, rows)}\n"
    )


def units_page() -> str:
    """Return the tables of the matrix units, by chip."""
    heading = ("Unit", "Inputs", "Sum", "How it sums", "Speed>", "Verified against", "Source")
    text = (
        f"{WIDE}# Matrix units\n\n"
        "Units as data: what they read, what they sum in (accumulator, and formats of later sums and of the result), "
        "how, and where that is documented. Roundings are to nearest, ties to even, unless stated. Speed is the "
        "published dense peak rate relative to FP32 of the same chip. A unit that was verified against a model alone "
        "was not compared with hardware. `lpsim units` prints these tables.\n\n"
    )
    speeds: dict[str, list[str]] = {}
    for group in unit_groups():
        rows = []
        for unit in group.units:
            speed = ""
            if unit.throughput is not None and unit.throughput_source is not None:
                speed = f"[{unit.throughput:.3g}](#speeds)"
                speeds.setdefault(unit.throughput_source, []).append(f"`{unit.name}`")
            formats = (inputs_of(unit), steps_of(unit), summation_of(unit))
            rows.append((f"`{unit.name}`", *formats, speed, unit.verified or "a definition", unit.source))
        text += f"## {heading_of(group)}\n\n{table(heading, rows)}\n\n"
    published = ((", ".join(names), source) for source, names in speeds.items())
    return f"{text}## Speeds\n\nWhere the rates are published.\n\n{table(('Units', 'Source'), published)}\n"


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


def security_page() -> str:
    """Return what the repository says of security, with its links from here."""
    return (ROOT / "SECURITY.md").read_text(encoding="utf-8").replace("](docs/", "](")


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


def _entry(name: str, value: Any) -> str:
    """Return what mkdocstrings makes the entry of ``lpsim.<name>`` of."""
    if f"lpsim.{name}" not in sys.modules or inspect.ismodule(value):
        return f"::: lpsim.{name}\n"
    # A function of the name of its module, which would be found in its place.
    return (
        f'<span id="lpsim.{name}"></span>\n\n::: lpsim.{name}.{name}\n    options:\n'
        f"      heading: lpsim.{name}\n      toc_label: {name}\n"
    )


def package_page() -> str:
    """Return the reference of what the package exports."""
    formats, classes, functions, modules = [], [], [], []
    for name in lp.__all__:
        value = getattr(lp, name)
        if isinstance(value, lp.Format):
            formats.append((f"{_anchor(name)}`lpsim.{name}`", f"`{value.spec}`", SOURCES[name]))
        elif inspect.ismodule(value):
            summary = (value.__doc__ or "").partition("\n")[0]
            modules.append((f"{_anchor(name)}[`lpsim.{name}`]({name}.md)", summary))
        elif getattr(value, "__module__", "").startswith("lpsim.sweeps"):
            modules.append((f"{_anchor(name)}[`lpsim.{name}`](sweeps.md)", "Tables over all combinations of a grid"))
        elif inspect.isclass(value):
            classes.append(_entry(name, value))
        elif name != "__version__":
            functions.append(_entry(name, value))
    parts = [
        "# lpsim",
        f"{_anchor('__version__')}`lpsim.__version__` is the version, `{lp.__version__}` here.",
        "## Functions",
        *functions,
        "## Classes",
        *classes,
        "## Named formats",
        "See the [table](../formats.md) for their range.",
        table(("Name", "ExMy", "Source"), formats),
        "## Modules",
        table(("Module", "What it has"), modules),
    ]
    return "\n\n".join(parts) + "\n"


def _anchor(name: str) -> str:
    return f'<span id="lpsim.{name}"></span>'


def module_page(module: Any) -> str:
    """Return the reference of a module: its text and what it exports."""
    name = module.__name__
    described = [one for one in module.__all__ if _is_described(getattr(module, one))]
    others = [f"`{one}`" for one in module.__all__ if one not in described]
    text = "    options:\n      members: false\n      show_root_heading: false\n      show_root_toc_entry: false"
    parts = [f"# {name}", f"::: {name}\n{text}"]
    parts += [f"::: {name}.{one}" for one in sorted(described, key=str.lower)]
    if others:
        parts += ["## Constants", ", ".join(others)]
    return "\n\n".join(parts) + "\n"


def _is_described(value: Any) -> bool:
    """Whether an object has a docstring of its own; constants have that of their type."""
    return inspect.isroutine(value) or inspect.isclass(value)
