"""A short share of `tools/fuzz.py`, and that it finds what there is to find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_files() -> None:
    command = [sys.executable, str(ROOT / "tools" / "fuzz.py"), "--files", "2000", "--seed", "7"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert "files: 2000 of seed 7 from 0, 0 findings" in result.stdout
