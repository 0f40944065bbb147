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


def test_names_are_distinct() -> None:
    names = [fault.name for fault in mutation_check.FAULTS]
    assert len(set(names)) == len(names) >= 10


def test_the_chosen_tests_exist() -> None:
    for test in (*mutation_check.TESTS, *(test for fault in mutation_check.FAULTS for test in fault.first.split())):
        file, _, function = test.partition("::")
        assert f"def {function or 'test_'}" in (mutation_check.ROOT / file).read_text()


def test_a_fault_is_caught(tmp_path: Path) -> None:
    fault = next(fault for fault in mutation_check.FAULTS if fault.name.startswith("E4M3FN"))
    outcome = mutation_check.check(fault, tmp_path)
    assert outcome.status == "failed", outcome.detail
    assert outcome.detail.startswith("tests/test_formats.py::test_")


def test_a_copy_that_does_not_import_is_not_caught(tmp_path: Path) -> None:
    fault = mutation_check.Fault("no program", "lpsim/codec.py", "from __future__ import annotations", "from")
    outcome = mutation_check.check(fault, tmp_path)
    assert outcome.status == "broken"
    assert "SyntaxError" in outcome.detail
    assert "BROKEN" in mutation_check.report(fault, outcome)


FAILED = "FAILED tests/test_x.py::test_y[two words] - AssertionError: z\n"


@pytest.mark.parametrize(
    ("returncode", "output", "status", "detail"),
    [
        (0, "1 passed", "passed", ""),
        (1, f"E   AssertionError: z\n{FAILED}1 failed", "failed", "tests/test_x.py::test_y[two words]"),
        (1, "FAILED tests/test_x.py::test_y\n1 failed", "failed", "tests/test_x.py::test_y"),
        (1, f"E   numba.core.errors.TypingError: no\n{FAILED}", "broken", "numba.core.errors."),
        (1, f"E   NameError: name 'q' is not defined\n{FAILED}", "broken", "NameError"),
        (1, "ERROR tests/test_x.py::test_y\n1 error", "broken", "pytest ended with 1: 1 error"),
        (2, "interrupted", "broken", "pytest ended with 2: interrupted"),
        (4, "", "broken", "pytest ended with 4: no output"),
    ],
)
def test_outcomes(returncode: int, output: str, status: str, detail: str) -> None:
    assert mutation_check.judge(returncode, output) == mutation_check.Outcome(status, detail)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutation_check.main(["--list", "--only", "backwards"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("arguments", [["--only", "no such fault"], ["--jobs", "0"]])
def test_bad_options(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        mutation_check.main(arguments)


def test_a_fault_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("a = 1\n")
    with pytest.raises(ValueError, match=r"occurs 0 times in x\.py; allowed: once"):
        mutation_check.plant(mutation_check.Fault("nothing", "x.py", "a = 2", "a = 3"), tmp_path)
