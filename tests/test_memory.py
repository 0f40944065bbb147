"""Operations on large arrays take little memory beside their inputs and their output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lpsim as lp
from lpsim import memory

TOOL = Path(__file__).resolve().parents[1] / "tools" / "check_memory.py"

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel says no peaks")

#: One copy of the operands, of 4 bytes an element, is beyond the limit, in units of 10**6 bytes.
ELEMENTS, SIZE, LIMIT = 1 << 23, 4096, "30"


def run(*arguments: str, limit: str = LIMIT) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(TOOL),
        "--elements",
        str(ELEMENTS),
        "--size",
        str(SIZE),
        "--limit",
        limit,
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_elementwise_and_sums() -> None:
    done = run("--units")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 40
    assert "TOO MUCH" not in done.stdout


def test_products() -> None:
    done = run("--cases", "--units", "fp16", "fp16_fp16acc", "h100.fp16", "mi300.fp64")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 8


def test_the_tool_sees_memory() -> None:
    done = run("--cases", "add, flags", "--units", limit="-40")
    assert done.returncode == 1
    assert "TOO MUCH" in done.stdout


def test_no_more_is_promised_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_available", lambda: 1 << 29)
    memory.check_size("x", (1 << 27,), 4)
    with pytest.raises(
        MemoryError, match=r"^x has shape \(134217729,\), of which one copy takes 536870916 bytes; allowed"
    ):
        memory.check_size("x", ((1 << 27) + 1,), 4)
    assert lp.round(1.0, "half") == 1.0
