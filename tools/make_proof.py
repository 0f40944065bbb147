"""Verify many formats and write ``docs/proof.md`` from what was found.

``python tools/make_proof.py --jobs 2`` runs ``lpsim verify`` for each of the sweeps below, keeps its JSON in a folder
(``--folder``; a sweep whose JSON is there is not run again) and writes the page. It exits with 1 on a mismatch.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import numba
import numpy as np

import lpsim as lp
from lpsim.cli import ending
from lpsim.files import replacing
from lpsim.formats import NAMED_FORMATS
from lpsim.testing import Report
from lpsim.testing.report import Total

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "proof.md"


@dataclass(frozen=True)
class Sweep:
    """Formats that are verified alike."""

    name: str
    title: str
    formats: tuple[str, ...]
    samples: int


def _named(bits: range) -> tuple[str, ...]:
    return tuple(name for name, fmt in NAMED_FORMATS.items() if fmt.bits in bits)


def _p3109() -> tuple[str, ...]:
    return tuple(
        str(lp.p3109(k, p, signed=signed, extended=extended))
        for k in range(3, 9)
        for signed in (True, False)
        for p in range(1, k + (not signed))
        for extended in (True, False)
    )


#: Formats of odd shapes, one for each corner of what a format may be.
ODD = (
    "E2M20",  # hardly an exponent
    "E9M3",  # beyond binary32 and float32 carriers
    "E11M1",  # all of binary64's exponents
    "E1M6",  # fixed point
    "E8M0B127",  # powers of two, with a sign and infinities
    "E11M51",  # one digit fewer than binary64: nothing between the two to round twice through
    "E3M0_unsigned",
    "E5M10_nosubnormals",
    "E3M2_nosubnormals",
    "E5M10B20",  # range moved down
    "E5M10B-3",  # range moved up
    "E4M3B-5FN",
    "E4M2B9FNUZ",
    "E6M9",  # DLFloat
    "E5M12_finite",
    "E7M16",
    "E8M15",
    "E8M22_nosubnormals",
    "E3M12FN",
    "E6M1FNUZ",
    "E10M40",
    "E11M30_unsigned",
    "E2M2_finite_unsigned",
    "E9M52",
)

#: What is proved.
SWEEPS = (
    Sweep("named8", "Named formats of up to 8 bits", _named(range(9)), 1_000_000),
    Sweep("named16", "Named formats of 16 bits", _named(range(9, 17)), 1_000_000),
    Sweep("wide", "Named formats of more than 16 bits", _named(range(17, 65)), 200_000),
    Sweep("odd", "Formats of odd shapes", ODD, 100_000),
    Sweep("p3109", "All P3109 formats of 3 to 8 bits", _p3109(), 100_000),
)


def run(sweep: Sweep, file: Path, jobs: int) -> Report:
    """Run ``lpsim verify`` for a sweep, or read what it wrote before."""
    if not file.exists():
        command = [sys.executable, "-m", "lpsim", "verify", *sweep.formats, "--samples", str(sweep.samples)]
        print("+", " ".join(command[1:]), flush=True)
        with subprocess.Popen([*command, "--jobs", str(jobs), "--json", str(file)]) as process:
            try:
                code = process.wait()
            except BaseException:
                process.terminate()  # not killed, so that it can end its own processes
                raise
        # Exit code 1 is a mismatch, which the page shows, or a fault, after which there is no file.
        if code not in (0, 1) or not file.exists():
            raise SystemExit(f"the sweep {sweep.name!r} did not end")
    return Report.from_json(file.read_text())


def _operands(total: Total, cases: int) -> str:
    kinds = {"add": "pairs", "sub": "pairs", "mul": "pairs", "div": "pairs", "fma": "triples", "decode": "codes"}
    what = kinds.get(total.operation, "values")
    if not total.exhaustive:
        return f"{cases:,} {what} aimed and random"
    if total.operation in ("round", "encode"):
        return f"{cases:,}: all values, the middles between them, and the numbers beside both"
    return f"all {cases:,} {what}"


def _label(spec: str) -> str:
    names = [name for name, fmt in NAMED_FORMATS.items() if fmt.spec == spec]
    return f"{names[0]} ({spec})" if names else spec


def table(report: Report) -> Iterable[str]:
    """Yield the lines of the table of one sweep."""
    yield "| format | operation | operands | modes x policies | cases | mismatches |"
    yield "|---|---|---|---:|---:|---:|"
    for total in report.by_operation():
        operands = _operands(total, total.cases // total.rows)
        yield (
            f"| {_label(total.format)} | {total.operation} | {operands} | {total.rows} "
            f"| {total.cases:,} | {total.mismatches:,} |"
        )


def page(reports: Iterable[tuple[Sweep, Report]], machine: str, date: str) -> str:
    """Return the text of the page."""
    found = list(reports)
    everything = Report.merge(report for _, report in found)
    lines = [
        "# Proof by enumeration",
        "",
        f"Written by `python tools/make_proof.py` on {date}, with lpsim {lp.__version__},",
        f"{machine}; not edited by hand.",
        "",
        f"**{everything.cases:,} cases, {everything.mismatches:,} mismatches.** A case is one operation on given",
        "operands in one rounding mode under one overflow policy. In each, the kernel's value (or code) and its five",
        "exception flags are compared bit for bit with those of an oracle in exact integer arithmetic that shares no",
        "code with the kernels, with tininess detected after and before rounding; the value is computed once more",
        "without flags, and all of it from float32 operands as well where these are the same numbers. Stochastic",
        "modes compare 16 given random bits. The oracle itself is checked in the tests against MPFR, Berkeley",
        "SoftFloat, NumPy and ml_dtypes.",
        "",
        "| sweep | formats | cases | mismatches | processor time |",
        "|---|---:|---:|---:|---:|",
    ]
    for sweep, report in found:
        count = len({row.format for row in report.rows})
        minutes = sum(row.seconds for row in report.rows) / 60
        lines.append(f"| {sweep.title} | {count} | {report.cases:,} | {report.mismatches:,} | {minutes:.1f} min |")
    for sweep, report in found:
        command = f"lpsim verify {' '.join(sweep.formats)} --samples {sweep.samples}"
        lines += ["", f"## {sweep.title}", "", "```bash", command, "```", "", *table(report)]
        lines += [
            f"\n{row.format} {row.operation} {row.rounding} {row.overflow}: {row.example}"
            for row in report.rows
            if row.example
        ]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, Numba {numba.__version__}"
    return f"{versions}, on {numba.core.config.NUMBA_DEFAULT_NUM_THREADS} x {llvmlite.binding.get_host_cpu_name()}"


def main(arguments: list[str] | None = None) -> int:
    """Run the sweeps and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--folder", type=Path, default=Path("proof"), help="where the JSON is kept (default: proof)")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write (default: docs/proof.md)")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    reports = [(sweep, run(sweep, options.folder / f"{sweep.name}.json", options.jobs)) for sweep in SWEEPS]
    with replacing(options.page, "w") as file:
        file.write(page(reports, _machine(), datetime.date.today().isoformat()))
    return 0 if all(report.ok for _, report in reports) else 1


if __name__ == "__main__":
    ending.run(main, "make_proof")
