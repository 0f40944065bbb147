"""The page on reliability is up to date, and names what there is."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
_SPEC = importlib.util.spec_from_file_location("make_reliability", ROOT / "tools" / "make_reliability.py")
assert _SPEC is not None
assert _SPEC.loader is not None
tool: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)


def test_the_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--check"]) == 0, capsys.readouterr().out


def test_a_page_that_is_not_up_to_date_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    areas = len(json.loads((ROOT / "tests" / "digest.json").read_text()))
    assert f"{areas} areas" in text
    old = tmp_path / "reliability.md"
    old.write_text(text.replace(f"{areas} areas", f"{areas + 1} areas"), encoding="utf-8")
    monkeypatch.setattr(tool, "PAGE", old)
    assert tool.main(["--check"]) == 1
    assert "not up to date" in capsys.readouterr().out
    assert tool.main([]) == 0
    assert old.read_text(encoding="utf-8") == text


def test_promises_have_tests_that_exist() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    promised = re.findall(r"^\*\*(.*)\*\*$", text, re.MULTILINE)
    assert promised == list(tool.PROMISES)
    for name in re.findall(r"`((?:tests|tools)/[\w.]+)`", text):
        assert (ROOT / name).exists(), name


def test_security_says_how_to_report() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "Pickles" in text or "pickles are never loaded" in text
    assert "issue tracker" in text
    assert not re.search(r"\S+@\S+", text)
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / link).exists(), link
