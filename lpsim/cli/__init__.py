"""The ``lpsim`` command. Its modules need the extra ``cli``; this one does not, so that it can say so."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or name the extra that is not installed."""
    if any(importlib.util.find_spec(package) is None for package in ("typer", "rich")):
        print("lpsim: the command needs the extra 'cli': pip install 'lpsim[cli]'", file=sys.stderr)
        sys.exit(2)
    from lpsim.cli.ending import run

    run(_run)


def _run() -> None:
    from lpsim.cli.app import app

    app(prog_name="lpsim")
