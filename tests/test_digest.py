"""The digest of the fixed workload is the committed one, for any number of threads and any processor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "digest.py"


def run(*arguments: str, tool: Path = TOOL, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(tool), "--check", *arguments],
        capture_output=True, text=True, check=False, timeout=500, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("threads", ["1", "2"])
def test_all_areas(threads: str) -> None:
    result = run(NUMBA_NUM_THREADS=threads)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(json.loads((ROOT / 'tests' / 'digest.json').read_text()))} of" in result.stdout


def test_another_processor(tmp_path: Path) -> None:
    result = run("--areas", "round", "unit a100", NUMBA_CPU_NAME="generic", NUMBA_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_without_a_compiler() -> None:
    result = run("--small", NUMBA_DISABLE_JIT="1")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_changed_constant_changes_the_digest(tmp_path: Path) -> None:
    for name in ("lpsim", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "digest.json", tmp_path / "tests")
    path = tmp_path / "lpsim" / "core" / "bits.py"
    text = path.read_text()
    assert text.count("_ONE = np.int64(0x3FF0000000000000)") == 1
    path.write_text(text.replace("_ONE = np.int64(0x3FF0000000000000)", "_ONE = np.int64(0x3FE0000000000000)"))
    result = run("--small", tool=tmp_path / "tools" / "digest.py", NUMBA_DISABLE_JIT="1", PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "plain differs" in result.stdout
