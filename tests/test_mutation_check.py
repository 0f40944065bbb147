"""The mutation check's faults fit the code, and one is caught from end to end."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools" / "mutation_check.py"
_SPEC = importlib.util.spec_from_file_location("mutation_check", TOOL)
assert _SPEC is not None
assert _SPEC.loader is not None
mutation_check: Any = importlib.util.module_from_spec(_SPEC)
sys.modules["mutation_check"] = mutation_check
_SPEC.loader.exec_module(mutation_check)


@pytest.mark.parametrize("fault", mutation_check.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_planted(fault: Any) -> None:
    text = (mutation_check.ROOT / fault.file).read_text()
    assert text.count(fault.old) == 1
    assert fault.new != fault.old


def test_a_fault_is_caught(tmp_path: Path) -> None:
    fault = next(fault for fault in mutation_check.FAULTS if fault.name.startswith("E4M3FN"))
    assert "::test_" in mutation_check.check(fault, tmp_path)


def test_a_fault_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("a = 1\n")
    with pytest.raises(ValueError, match=r"occurs 0 times in x\.py; allowed: once"):
        mutation_check.plant(mutation_check.Fault("nothing", "x.py", "a = 2", "a = 3"), tmp_path)
