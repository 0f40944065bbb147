"""What commands write: tables and JSON on stdout, one-sentence errors and progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["bad_input", "fail", "number", "print_json", "progress", "show", "writing"]


def fail(sentence: str, code: int = 2) -> NoReturn:
    """Say what is wrong with the input and exit, by default with the code for that, 2."""
    print(f"lpsim: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def bad_input(about: str = "", kinds: tuple[type[Exception], ...] = (ValueError, TypeError)) -> Iterator[None]:
    """Turn errors of the given kinds, by default those the library raises for bad arguments, into `fail`."""
    try:
        yield
    except kinds as error:
        fail(about + " ".join(str(error).split()))


@contextmanager
def writing(path: Path, argument: str) -> Iterator[None]:
    """Say which file cannot be written, of which argument, and exit with code 1."""
    try:
        yield
    except OSError as error:
        fail(f"{argument} is {str(path)!r}, which cannot be written: {error.strerror or error}", 1)


class _Console(Console):
    """Leaves it to `lpsim.cli.ending` what a reader that has gone means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def show(*renderables: Any) -> None:
    """Print tables and text to stdout; a table is never cut to fit a pipe or a file."""
    terminal = _Console()
    console = terminal if terminal.is_terminal else _Console(width=200)
    for renderable in renderables:
        console.print(renderable)


def print_json(content: Any) -> None:
    """Print one JSON document, with infinities and NaNs as the strings that ``float`` reads."""
    print(json.dumps(_strict(content), indent=2, allow_nan=False))


def _strict(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    if isinstance(content, dict):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_strict(value) for value in content]
    return content


def number(x: float, digits: int = 3) -> str:
    """Return a number for a table."""
    return f"{x:.{digits}g}" if x == 0 or 1e-3 <= abs(x) < 1e5 else f"{x:.{digits - 1}e}"


def progress() -> Progress:
    """Return a progress display that is silent unless stderr is a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
