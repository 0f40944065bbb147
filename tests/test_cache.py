"""Compiled kernels on disk: folders that can't be written to, damaged files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORK = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import lpsim as lp
    print(lp.round(0.1, "half"), lp.add(1.0, 2.0**-11, "half", flags=True)[0], lp.decode(0x3C00, "half"))
    print(len(caught), *(str(one.message) for one in caught))
"""


def run(folder: Path, before: str = "") -> list[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", before + WORK], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    values, warnings = done.stdout.splitlines()
    assert values == "0.099975586 1.0 1.0"
    return warnings.split(" ", 1)


def test_nowhere_to_write(tmp_path: Path) -> None:
    """As with a read-only installation and a home folder that does not exist: no place of Numba's can be used."""
    before = (
        "from numba.core import caching\n"
        "def refuse(self): raise OSError('read-only file system')\n"
        "caching._CacheLocator.ensure_cache_path = refuse\n"
    )
    count, message = run(tmp_path, before)
    assert count == "1"
    assert "can't keep compiled kernels on disk" in message
    assert "NUMBA_CACHE_DIR" in message


@pytest.mark.parametrize(
    "error", ["PermissionError(13, 'Permission denied')", "OSError(28, 'No space left on device')"]
)
def test_writing_fails(tmp_path: Path, error: str) -> None:
    before = (
        "from numba.core import caching\n"
        f"def refuse(*arguments): raise {error}\n"
        "caching.IndexDataCacheFile.save = refuse\n"
    )
    count, message = run(tmp_path, before)
    assert count == "1"
    assert "can't keep compiled kernels on disk" in message


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_files(tmp_path: Path, suffix: str) -> None:
    assert run(tmp_path)[0] == "0"
    files = list(tmp_path.rglob(f"*.{suffix}"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert run(tmp_path)[0] == "0"
    files[0].write_bytes(b"")
    assert run(tmp_path)[0] == "0"
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nbi")}
    assert run(tmp_path)[0] == "0"
    assert times == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nbi")}  # mended
