"""The page of proofs holds what it has to, and its script writes what was found."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import lpsim as lp
from lpsim.formats import NAMED_FORMATS
from lpsim.testing import OPERATIONS, Report, verify

ROOT = Path(__file__).resolve().parents[1]
_SPEC = importlib.util.spec_from_file_location("make_proof", ROOT / "tools" / "make_proof.py")
assert _SPEC is not None
assert _SPEC.loader is not None
make_proof: Any = importlib.util.module_from_spec(_SPEC)
sys.modules["make_proof"] = make_proof
_SPEC.loader.exec_module(make_proof)

ROW = re.compile(r"\| (?:\w+ \()?([\w-]+)\)? \| (\w+) \| ([^|]*) \| (\d+) \| ([\d,]+) \| ([\d,]+) \|")


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_page_has_every_row() -> None:
    page = (ROOT / "docs" / "proof.md").read_text()
    rows = {(fmt, op): (operands, int(n), number(cases), number(bad)) for fmt, op, operands, n, cases, bad in
            ROW.findall(page)}  # fmt: skip
    assert all(bad == 0 for *_, bad in rows.values())
    assert len({fmt for fmt, _ in rows}) >= len(NAMED_FORMATS) + 20
    for fmt in {*NAMED_FORMATS.values(), *(lp.format(spec) for sweep in make_proof.SWEEPS for spec in sweep.formats)}:
        modes = len(lp.Rounding) * (len(lp.Overflow) - (not fmt.has_nan))
        for operation, arity in OPERATIONS.items():
            operands, n, cases, _ = rows[fmt.spec, operation]
            assert n == (1 if operation == "decode" else modes)
            each = cases // n
            # All triples of 7 bits are more than the sweeps have to hold.
            complete = fmt.bits <= {1: 16, 2: 8, 3: 6}[arity] or operands.startswith("all")
            assert operands.startswith("all") or not complete or operation in ("round", "encode")
            if not complete:
                assert each >= (1_000_000 if fmt in NAMED_FORMATS.values() and fmt.bits <= 16 else 100_000)
            elif arity > 1 and fmt.bits > 4:
                assert each == (1 << fmt.bits) ** arity


def test_the_script_writes_what_was_found() -> None:
    report = verify("e2m1fn", ops=["add", "decode"], modes=["to_odd"])
    sweep = make_proof.Sweep("tiny", "Tiny formats", ("e2m1fn",), 1)
    text = make_proof.page([(sweep, report)], "a machine", "2026-01-01")
    assert "**1,312 cases, 0 mismatches.**" in text
    assert "| float4_e2m1fn (E2M1_finite) | add | all 324 pairs | 4 | 1,296 | 0 |" in text
    assert "lpsim verify e2m1fn --samples 1" in text
    wrong = Report((*report.rows[:-1], type(report.rows[0])("E2M1_finite", "add", "", "", 5, 2, True, "1 + 1", 0.0)))
    text = make_proof.page([(sweep, wrong)], "a machine", "2026-01-01")
    assert "1,301 cases, 2 mismatches" in text
    assert "1 + 1" in text
