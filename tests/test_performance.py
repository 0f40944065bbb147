"""The page of run times holds what it has to, and its script writes what was measured."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest

from lpsim.cli import headlines, peers
from lpsim.cli.headlines import Result

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))
make_performance = importlib.import_module("make_performance")
sys.path.remove(str(ROOT / "tools"))

PICTURES = ("performance_round.png", "performance_matmul.png")


def test_the_page_has_every_comparison():
    page = (ROOT / "docs" / "performance.md").read_text()
    for one in headlines.headlines(quick=False):
        if one.group != "peers":
            assert f"| {one.name} | {one.against} | " in page
    for peer in peers.PEERS:
        assert f"| {peer.name} | " in page or f"Not installed there: {peer.name}" in page


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_are_small_and_shown(picture):
    assert (ROOT / "docs" / picture).stat().st_size < 150_000
    assert f"]({picture})" in (ROOT / "docs" / "performance.md").read_text()


@pytest.fixture
def measured():
    results = [
        Result("round", "round to half, 10^6", "memcpy", 3.0, 2.0, None),
        Result("peers", "round to float16, 10^6", "NumPy", 1.0, 200.0, None),
        Result("peers", "add in float16, 10^6", "gfloat", 3.0, 1.0, None),
        Result("peers", "add in float16, 10^6", "PyTorch", 1.0, 1.0, None),
    ]
    facts = {"date": "2026-01-02", "processor": "a chip", "threads": 2, "load": None}
    facts |= {"versions": {"lpsim": "1"}, "peers": {"gfloat": "2", "PyTorch": "3"}}
    return {
        "facts": facts,
        "results": {count: [dataclasses.asdict(one) for one in results] for count in ("1", "2")},
        "round": {
            "memcpy": [[10, 1.0], [100, 0.5]],
            "lpsim": [[10, 4.0], [100, 0.6]],
            "NumPy": [[10, 2.0], [100, 3.0]],
            "gfloat": [[10, 8.0]],
        },
        "matmul": {"sgemm": [[32, 10.0], [64, 20.0]], "tf32": [[32, 5.0], [64, 40.0]], "NumPy float16": [[32, 1.0]]},
    }


def test_the_script_writes_what_was_measured(measured, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    (tmp_path / "found.json").write_text(json.dumps(measured))
    make_performance.main(["--from", str(tmp_path / "found.json"), "--docs", str(tmp_path)])
    page = (tmp_path / "performance.md").read_text()
    assert "2026-01-02, a chip, 2 threads; lpsim 1, gfloat 2, PyTorch 3." in page
    assert "Not installed there: ml_dtypes, pychop, APyTypes, JAX." in page
    assert "| round to half, 10^6 | memcpy | 1.5 | 1.5 |" in page
    assert "| round to float16, 10^6 | NumPy | 0.005 | lpsim, 200 times |" in page
    assert "| gfloat | 3 | gfloat, 3 times: NumPy expressions" in page
    assert "| PyTorch | 1 | alike |" in page
    assert "NumPy up to 10 elements." in page
    assert "| 100 | 1.2 | 6 |  |" in page
    assert "| 64 | 0.5 |  |" in page
    for picture in PICTURES:
        assert (tmp_path / picture).stat().st_size > 10_000


def test_a_busy_machine_shows_one_thread(measured):
    measured["facts"]["load"] = 1.5
    text = make_performance.page(measured)
    assert "The machine had other work" in text
    assert "| round to half, 10^6 | memcpy | 1.5 |\n" in text


def test_curves_are_measured(monkeypatch):
    monkeypatch.setattr(make_performance, "SIZES", (10, 20))
    monkeypatch.setattr(make_performance, "ORDERS", (8,))
    monkeypatch.setattr(make_performance, "UNITS", ("tf32",))
    monkeypatch.setattr(make_performance, "SECONDS", 0.0)
    monkeypatch.setattr(make_performance.peers, "installed", lambda: [peers.PEERS[0]])
    curves = make_performance.round_curves()
    assert list(curves) == ["memcpy", "lpsim", "NumPy"]
    assert [size for size, _ in curves["lpsim"]] == [10, 20]
    assert list(make_performance.matmul_curves()) == ["sgemm", "tf32", "NumPy float16"]
    monkeypatch.setattr(make_performance, "_PATIENCE", 0.0)
    assert [size for size, _ in make_performance.round_curves()["NumPy"]] == [10]


def test_ratios_are_told_from_noise():
    assert make_performance._winner(1.1, "a") == "alike"
    assert make_performance._winner(0.5, "a") == "lpsim, 2 times"
    assert make_performance._winner(123.4, "a") == "a, 123 times"
