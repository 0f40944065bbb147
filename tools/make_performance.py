"""Measure lpsim beside limits and peers, and write ``docs/performance.md`` and its two figures.

``python tools/make_performance.py`` takes a few minutes. It measures what ``lpsim bench`` does and, for the figures,
times over sizes; all peers that are installed take part. ``--json FILE`` keeps what was measured; with ``--from FILE``
the page is written from it anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lpsim as lp
from lpsim.cli import bench, ending, machine, peers
from lpsim.cli.headlines import Result
from lpsim.cli.timing import best_times, numbers, one_thread_environment
from lpsim.files import replacing

DOCS = Path(__file__).resolve().parents[1] / "docs"

#: Sizes on the axes of the figures, and the units of the second one.
SIZES = tuple(int(10 ** (e / 2)) for e in range(4, 16))
ORDERS = (32, 64, 128, 256, 512, 1024)
UNITS = ("tf32", "fp16_fp16acc", "h100.fp16", "amx.bf16")

#: Seconds for each point of a figure.
SECONDS = 0.5

#: Longest time of one call, in seconds, that a slow library is measured at.
_PATIENCE = 1.0

#: Ratios below this one, and above its inverse, are noise.
_ALIKE = 1.15

#: Why lpsim is beyond a limit, or how far it may come.
LIMITS = {
    "memcpy": "moves the bytes that rounding reads and writes: 1 is the limit of what memory allows",
    "np.add, float32": "one instruction for 16 numbers, without a rounding to another format",
    "sgemm": "NumPy's BLAS in float32, which rounds nothing to another format and sums in an order of its own",
    "NumPy's float16 product": "one element after the other in float32, rounded once: less work for each",
}


def round_curves() -> dict[str, list[list[float]]]:
    """Return nanoseconds an element, by name and over sizes: memcpy, lpsim and each peer, to half or bfloat16."""
    curves: dict[str, list[list[float]]] = {}
    slow: set[str] = set()
    for size in SIZES:
        x = numbers(size)
        out = np.empty_like(x)
        calls: dict[str, Callable[[], object]] = {"memcpy": lambda x=x, out=out: np.copyto(out, x)}
        calls["lpsim"] = lambda x=x, out=out: lp.round(x, "half", out=out)
        for peer in peers.installed():
            fmt = "float16" if peer.can("round", "float16") else "bfloat16"
            if peer.name not in slow:
                calls[peer.name] = peer.call("round", fmt, x)
        _add_times(curves, slow, calls, size, size)
    return curves


def matmul_curves() -> dict[str, list[list[float]]]:
    """Return GFLOP/s by name and over n: sgemm, units of lpsim, and NumPy's float16 product."""
    curves: dict[str, list[list[float]]] = {}
    slow: set[str] = set()
    for n in ORDERS:
        a, b = np.random.default_rng(0).normal(size=(2, n, n)).astype(np.float32)
        left, right = a.astype(np.float16), b.astype(np.float16)
        calls: dict[str, Callable[[], object]] = {"sgemm": lambda a=a, b=b: a @ b}
        for unit in UNITS:
            calls[unit] = lambda a=a, b=b, unit=unit: lp.matmul(a, b, unit)
        if "NumPy float16" not in slow:
            calls["NumPy float16"] = lambda left=left, right=right: left @ right
        _add_times(curves, slow, calls, n, 2 * n**3)
    return {name: [[n, 1 / y] for n, y in points] for name, points in curves.items()}


def _add_times(
    curves: dict[str, list[list[float]]], slow: set[str], calls: dict[str, Callable[[], object]], x: int, work: int
) -> None:
    """Append the nanoseconds for each unit of work, at x."""
    times = best_times(list(calls.values()), rounds=1000, seconds=SECONDS)
    for name, seconds in zip(calls, times, strict=True):
        curves.setdefault(name, []).append([x, seconds / work * 1e9])
        if 10 * seconds > _PATIENCE:  # the next size takes about as much more
            slow.add(name)


def curves_on_one_thread() -> dict[str, Any]:
    """Return the curves, measured in a process whose libraries all take one thread."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--curves"],
        env=one_thread_environment(), stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _plain(ratio: float) -> str:
    """Return a ratio with two digits, never in powers of ten."""
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"


def _winner(ratio: float, peer: str) -> str:
    if 1 / _ALIKE < ratio < _ALIKE:
        return "alike"
    return f"lpsim, {_plain(1 / ratio)} times" if ratio < 1 else f"{peer}, {_plain(ratio)} times"


def limit_table(found: list[tuple[Result, ...]], threads: list[int]) -> Iterator[str]:
    """Yield the lines of a table of comparisons with limits."""
    columns = [f"{count} thread{'s' * (count > 1)}" for count in threads]
    yield f"| lpsim | over | {' | '.join(columns)} |"
    yield f"|---|---|{'---:|' * len(columns)}"
    for row in found:
        yield f"| {row[0].name} | {row[0].against} | {' | '.join(_plain(one.ratio) for one in row)} |"


def peer_table(found: Iterable[Result]) -> Iterator[str]:
    """Yield the lines of a table of comparisons with peers."""
    how = {peer.name: peer.how for peer in peers.PEERS}
    yield "| operation | peer | lpsim's time over the peer's | faster, and why where a peer is |"
    yield "|---|---|---:|---|"
    for one in found:
        why = f": {how[one.against]}" if one.ratio >= _ALIKE else ""
        yield f"| {one.name} | {one.against} | {_plain(one.ratio)} | {_winner(one.ratio, one.against)}{why} |"


def crossings(curves: dict[str, list[list[float]]]) -> str:
    """Return up to which size each peer rounds faster than lpsim."""
    lpsim = dict(map(tuple, curves["lpsim"]))
    found = []
    for name, points in curves.items():
        faster = [size for size, y in points if y < lpsim[size]]
        if faster and name not in ("memcpy", "lpsim"):
            found.append(f"{name} up to {max(faster):,} elements")
    if not found:
        return "lpsim is the fastest at every size."
    return f"On few elements lpsim's call itself takes longer than one into C. Faster than lpsim: {', '.join(found)}."


def page(measured: dict[str, Any]) -> str:
    """Return the text of the page."""
    facts = measured["facts"]
    found = {int(count): [Result(**one) for one in results] for count, results in measured["results"].items()}
    if busy := machine.is_busy(facts):
        found = {1: found[1]}
    rows, threads = list(bench.rows(found)), list(found)
    limits = [row for row in rows if row[0].group != "peers"]
    against = dict.fromkeys(row[0].against for row in limits)
    absent = [peer.name for peer in peers.PEERS if peer.name not in {"NumPy", *facts["peers"]}]
    lines = [
        "# Performance",
        "",
        "Written by `python tools/make_performance.py`, not edited by hand. Measured on",
        f"{machine.sentence(facts)}.",
        *([f"Not installed there: {', '.join(absent)}."] if absent else []),
        "",
        "Every number is a ratio: lpsim's run time over that of something else on the same machine, in the same",
        "process, on the same data, turn about, each the best of its turns. **Below 1, lpsim is faster.** Such ratios",
        "can be compared between machines, as times cannot; on a machine with other work they vary by some tenths.",
        "`lpsim bench` measures them on yours.",
        *(["The machine had other work, which several threads wait for: the page shows times on one thread."] * busy),
        "",
        "## Limits",
        "",
        *(f"- {name}: {LIMITS[name]}." for name in against),
        "",
        *limit_table(limits, threads),
        "",
        "## Other libraries",
        "",
        "All on one thread. Each is used as its users do; what it computes with was made before the clock started.",
        "Casts go there and back, since simulations want the rounded values in the array that they came from.",
        "Rounding, sums and products of numbers agree bit for bit with lpsim's, as the tests check. In products of",
        "matrices lpsim rounds after every step here, as APyTypes does; NumPy and PyTorch round once, after the sum.",
        "",
        *(f"- {peer.name}: {peer.how}." for peer in peers.PEERS if peer.name not in absent),
        "",
        *peer_table(row[0] for row in rows if row[0].group == "peers"),
        "",
        "## Rounding, over sizes",
        "",
        "![Nanoseconds an element over elements: memcpy, lpsim and its peers.](performance_round.png)",
        "",
        crossings(measured["round"]),
        "Curves end where a call takes long.",
        "",
        *curve_table(measured["round"], "elements", "memcpy", lower_is_better=True),
        "",
        "## Products of matrices, over n",
        "",
        "![GFLOP/s over n: sgemm, four units of lpsim and NumPy's float16.](performance_matmul.png)",
        "",
        *curve_table(measured["matmul"], "n", "sgemm", lower_is_better=False),
    ]
    return "\n".join(lines) + "\n"


def curve_table(curves: dict[str, list[list[float]]], axis: str, limit: str, *, lower_is_better: bool) -> Iterator[str]:
    """Yield the lines of a table of the figure's curves: run times over that of the limit."""
    names = [name for name in curves if name != limit]
    roof = dict(map(tuple, curves[limit]))
    shown = list(roof)[1::2] if len(roof) > 8 else list(roof)
    yield f"Run times over that of {limit}, on one thread:"
    yield ""
    yield f"| {axis} | {' | '.join(names)} |"
    yield f"|---:|{'---:|' * len(names)}"
    for x in shown:
        values = [dict(map(tuple, curves[name])).get(x) for name in names]
        ratios = [None if y is None else y / roof[x] if lower_is_better else roof[x] / y for y in values]
        yield f"| {x:,} | {' | '.join('' if ratio is None else _plain(ratio) for ratio in ratios)} |"


def measure() -> dict[str, Any]:
    """Return everything that the page shows."""
    facts = machine.facts()
    found = bench.measure_all(False, 1, facts["threads"])
    results = {count: [dataclasses.asdict(one) for one in one_count] for count, one_count in found.items()}
    return {"facts": facts, "results": results, **curves_on_one_thread()}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the page and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="keep what was measured")
    parser.add_argument("--from", dest="source", type=Path, help="measure nothing: read what was kept")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder to write to (default: docs)")
    parser.add_argument("--curves", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.curves:
        print(json.dumps({"round": round_curves(), "matmul": matmul_curves()}))
        return
    measured = json.loads(options.source.read_text()) if options.source else measure()
    if options.json is not None:
        with replacing(options.json, "w") as file:
            json.dump(measured, file)
    from performance_figures import matmul_figure, round_figure, save

    with replacing(options.docs / "performance.md", "w") as file:
        file.write(page(measured))
    save(round_figure(measured["round"]), options.docs / "performance_round.png")
    save(matmul_figure(measured["matmul"]), options.docs / "performance_matmul.png")


if __name__ == "__main__":
    ending.run(main, "make_performance")
