"""``lpsim bench``: how fast lpsim is on this machine, beside peers and limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.table import Table

from lpsim.cli import headlines, machine
from lpsim.cli.headlines import Result
from lpsim.cli.output import number, print_json, progress, show

__all__ = ["EXAMPLES", "bench", "measure_all", "rows"]

EXAMPLES = """Examples:

lpsim bench --quick

lpsim bench --json > speed.json"""

#: Seconds for each comparison, short and long.
_SECONDS = (0.2, 1.0)


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="The headlines only, in less than a minute.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    shrink: Annotated[int, typer.Option(hidden=True, min=1, help="Divide all sizes, for tests.")] = 1,
) -> None:
    """Measure lpsim beside memcpy, NumPy, sgemm and installed peers, on one thread and on all.

    Ratios are lpsim's run time over the other's, both the best of turns that alternate: below 1, lpsim is faster.
    Each turn has the same data in memory, and lpsim's rounding reads and writes what memcpy does. GFLOP/s count an
    addition and a multiplication for each product of elements.
    """
    facts = machine.facts()
    found = measure_all(quick, shrink, facts["threads"])
    if json:
        print_json({**facts, "results": [_as_dict(threads, one) for threads, all_ in found.items() for one in all_]})
        return
    print(machine.sentence(facts))
    if machine.is_busy(facts):
        print("The machine has other work: what several threads did may have waited for it.")
    for title, groups in (("Limits", ("round", "arithmetic", "matmul")), ("Peers", ("peers",))):
        show("", _table(title, [row for row in rows(found) if row[0].group in groups], list(found)))


def measure_all(quick: bool, shrink: int, threads: int) -> dict[int, list[Result]]:
    """Return all results by number of threads - one, and as many as stated - with a progress bar."""
    found: dict[int, list[Result]] = {count: [] for count in sorted({1, threads})}
    with progress() as bar:
        task = bar.add_task("bench", total=len(found) * len(headlines.headlines(quick)))
        for count, results in found.items():
            with closing(headlines.run(quick, _SECONDS[not quick], shrink, one_thread=count == 1)) as measured:
                for result in measured:
                    results.append(result)
                    bar.update(task, advance=1, description=result.name)
    return found


def rows(found: dict[int, list[Result]]) -> Iterator[tuple[Result, ...]]:
    """Yield results of the same comparison, one for each number of threads."""
    keyed = [{(one.group, one.name, one.against): one for one in results} for results in found.values()]
    yield from (
        tuple(results[key] for results in keyed) for key in keyed[0] if all(key in results for results in keyed)
    )


def _as_dict(threads: int, result: Result) -> dict[str, Any]:
    return {"threads": threads, "ratio": result.ratio, **dataclasses.asdict(result)}


def _table(title: str, shown: list[tuple[Result, ...]], counts: list[int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(title, no_wrap=True)
    table.add_column("lpsim's time over that of", no_wrap=True)
    headings = [f"{count} thread{'s' * (count > 1)}" for count in counts]
    with_rates = any(row[0].gflops is not None for row in shown)
    for heading in (*headings, *([f"GFLOP/s, {heading}" for heading in headings] if with_rates else [])):
        table.add_column(heading, justify="right")
    for row in shown:
        rates = ("" if one.gflops is None else number(one.gflops) for one in row) if with_rates else ()
        table.add_row(row[0].name, row[0].against, *(number(one.ratio, 2) for one in row), *rates)
    return table
