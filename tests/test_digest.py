"""The digest of the fixed workload is the committed one, for any number of threads and any processor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOL, MATRIX = ROOT / "tools" / "digest.py", ROOT / "tools" / "digest_matrix.py"


def run(*arguments: str, tool: Path = TOOL, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(tool), "--check", *arguments],
        capture_output=True, text=True, check=False, timeout=500, env={**os.environ, **environment},
    )  # fmt: skip


def test_all_areas() -> None:
    result = run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(json.loads((ROOT / 'tests' / 'digest.json').read_text()))} of" in result.stdout


SOME_AREAS = ["plain", "round", "unit fp32", "unit fp16_fp16acc", "unit h100.fp16", "scheme nf4"]


def test_circumstances() -> None:
    """Some areas in some circumstances: all of both take minutes."""
    names = ["1 thread", "2 threads", "AVX2", "baseline", "no compiler"]
    command = [sys.executable, str(MATRIX), "--only", *names, "--areas", *SOME_AREAS]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [line.split("  ")[0] for line in result.stdout.splitlines()[:-1]] == names
    assert result.stdout.splitlines()[-1] == "5 circumstances, no difference"


def test_a_changed_constant_changes_the_digest(tmp_path: Path) -> None:
    for name in ("lpsim", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "digest.json", tmp_path / "tests")
    path = tmp_path / "lpsim" / "core" / "bits.py"
    text = path.read_text()
    assert text.count("_ONE = np.int64(0x3FF0000000000000)") == 1
    path.write_text(text.replace("_ONE = np.int64(0x3FF0000000000000)", "_ONE = np.int64(0x3FE0000000000000)"))
    result = run(
        "--areas", "plain", tool=tmp_path / "tools" / "digest.py", NUMBA_DISABLE_JIT="1", PYTHONPATH=str(tmp_path)
    )
    assert result.returncode == 1
    assert "plain differs" in result.stdout


def test_a_difference_fails_the_matrix(tmp_path: Path) -> None:
    for name in ("lpsim", "tools", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.png", "data"))
    path = tmp_path / "tests" / "digest.json"
    known = json.loads(path.read_text())
    known["plain"] = "0" * 64
    path.write_text(json.dumps(known))
    command = [
        sys.executable,
        str(tmp_path / "tools" / "digest_matrix.py"),
        "--only",
        "no compiler",
        "--areas",
        "plain",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 1
    assert "plain differs" in result.stdout
    assert "THERE ARE DIFFERENCES" in result.stdout
