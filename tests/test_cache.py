"""Compiled kernels on disk: folders that can't be written to, damaged files, other versions, several processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lpsim as lp
from lpsim.cpu.kernel_files import KernelFiles

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
    before = f"import pathlib\ndef refuse(*arguments): raise {error}\npathlib.Path.write_bytes = refuse\n"
    count, message = run(tmp_path, before)
    assert count == "1"
    assert "can't keep compiled kernels on disk" in message


def test_damaged_files(tmp_path: Path) -> None:
    assert run(tmp_path)[0] == "0"
    files = list(tmp_path.rglob("*.nbc"))
    assert files
    damages = (lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-9] + bytes(9))
    for i, file in enumerate(files):
        file.write_bytes(damages[i % len(damages)](file.read_bytes()))
    assert len(files) >= len(damages)
    assert run(tmp_path)[0] == "0"
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert run(tmp_path)[0] == "0"
    assert times == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}  # mended


def test_no_home(tmp_path: Path) -> None:
    """Of a read-only installation, and without NUMBA_CACHE_DIR."""
    before = (
        "import os\n"
        "del os.environ['NUMBA_CACHE_DIR']\n"
        "os.environ.pop('XDG_CACHE_HOME', None)\n"
        f"os.environ['HOME'] = {str(tmp_path / 'file' / 'home')!r}\n"
        "from numba.core import caching\n"
        "def refuse(self): raise OSError('read-only file system')\n"
        "caching.InTreeCacheLocator.ensure_cache_path = refuse\n"
    )
    (tmp_path / "file").write_text("")  # no folder, and none can be made in it
    count, message = run(tmp_path, before)
    assert count == "1"
    assert "can't keep compiled kernels on disk" in message


def decoded(code: str, folder: Path, package: Path | None = None, **environment: str) -> list[str]:
    """Return what a new process prints that decodes 1 of half precision, after ``code``, and any warnings."""
    path = [str(package)] * (package is not None) + [os.environ.get("PYTHONPATH", "")]
    given = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(path), **environment}
    work = "\nimport lpsim as lp\nprint(lp.decode(0x3C00, 'half'))\n"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code + work],
        cwd=package,
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall("Warning:", done.stderr)) <= 1
    return [*done.stdout.split(), *re.findall("Warning: .*", done.stderr)]


def kernels(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.nbc")}


@pytest.mark.parametrize(
    ("code", "environment"),
    [
        ("import numba\nnumba.__version__ = '0.0'\n", {}),
        ("import numba, llvmlite\nllvmlite.__version__ = '0.0'\n", {}),
        ("import lpsim\nlpsim.__version__ = '0.0'\n", {}),
        ("", {"NUMBA_CPU_NAME": "generic"}),
        ("", {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}),
        ("", {"NUMBA_OPT": "1"}),
    ],
)
def test_other_versions_and_processors(code: str, environment: dict[str, str], tmp_path: Path) -> None:
    """They have kernels of their own, which are found again, as the old ones are."""
    assert decoded("", tmp_path) == ["1.0"]
    old = kernels(tmp_path)
    assert decoded(code, tmp_path, **environment) == ["1.0"]
    both = kernels(tmp_path)
    assert len(both) == 2 * len(old)
    assert both > old
    assert decoded("", tmp_path) == decoded(code, tmp_path, **environment) == ["1.0"]
    assert kernels(tmp_path) == both


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package, which a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(Path(lp.__file__).parent, folder / "lpsim", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


OLD, NEW = "return lane(np.nan) if nan else value", "return lane(np.nan) if nan else value + value"


def test_changed_source(package: Path, tmp_path: Path) -> None:
    """The file that changes is not that of the kernel, but of the core that the kernel is made of."""
    source = package / "lpsim" / "core" / "short.py"
    text = source.read_text()
    assert text.count(OLD) == 1
    assert decoded("", tmp_path, package) == ["1.0"]
    source.write_text(text.replace(OLD, NEW))
    assert decoded("", tmp_path, package) == ["2.0"]
    files = kernels(tmp_path)
    source.write_text(text)
    assert decoded("", tmp_path, package) == ["1.0"]
    assert kernels(tmp_path) == files


def test_source_that_changes_after_the_import(package: Path, tmp_path: Path) -> None:
    """As when lpsim is upgraded while it is in use: the old code must not be kept as that of the new files."""
    source = package / "lpsim" / "core" / "short.py"
    code = (
        "import lpsim, pathlib, time\n"
        f"path = pathlib.Path({str(source)!r})\n"
        "time.sleep(0.1)\n"  # more than the grain of the times of files
        f"path.write_text(path.read_text().replace({OLD!r}, {NEW!r}))\n"
    )
    value, warning = decoded(code, tmp_path, package)
    assert value == "1.0"
    assert "its files changed after it was imported; start Python anew" in warning
    assert decoded("", tmp_path, package) == ["2.0"]


def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    """With other signatures of the same functions, and all of them in a third process, which compiles nothing."""
    work = (
        "import sys, numpy as np, lpsim as lp\n"
        "kinds = {'f4': np.float32, 'f8': np.float64, '<u1': np.uint8, '<u2': np.uint16}\n"
        "input()\n"
        "for kind in sys.argv[1:]:\n"
        "    x = np.arange(5).astype(kind)\n"
        "    if kind[0] == 'f':\n"
        "        print(lp.round(x + x.dtype.type(0.1), 'e5m2').tolist(), lp.sqrt(x, 'half', flags=True)[1].tolist())\n"
        "    else:\n"
        "        print(lp.decode(x, 'float8_e5m2' if kind == '<u1' else 'half').tolist())\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def start(*kinds: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", work, *kinds]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    halves = [start("f4", "<u2"), start("f8", "<u1")]
    for process in halves:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    results = [process.communicate(timeout=120) for process in halves]
    assert all(not errors for _, errors in results), results
    files = kernels(tmp_path)
    output, errors = start("f4", "<u2", "f8", "<u1").communicate("\n", timeout=120)
    assert output == results[0][0] + results[1][0]
    assert (errors, kernels(tmp_path)) == ("", files)


@pytest.mark.parametrize("first", [0, 1])
def test_both_have_chosen_a_file_before_one_is_written(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment that lets an index with numbered files serve the code of another signature."""
    here, written, replace = threading.Barrier(2, timeout=60), threading.Event(), os.replace

    def wait(source: str, target: str) -> None:
        here.wait()
        if threading.current_thread().name != str(first):
            assert written.wait(60)
        replace(source, target)
        written.set()

    monkeypatch.setattr(os, "replace", wait)
    both = [KernelFiles(str(tmp_path), "kernel", "stamp") for _ in range(2)]  # as two processes have
    threads = [
        threading.Thread(target=files.save, args=(("signature", i), f"code {i}"), name=str(i))
        for i, files in enumerate(both)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for files in both:
        assert [files.load(("signature", i)) for i in range(3)] == ["code 0", "code 1", None]
    other = KernelFiles(str(tmp_path), "kernel", "another stamp")
    assert other.load(("signature", 0)) is None
    # Also if a file were to have the name of another one, by whatever mistake.
    replace(both[0].path(("signature", 0)), both[0].path(("signature", 1)))
    assert both[0].load(("signature", 1)) is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    files = KernelFiles(str(tmp_path), "kernel", "stamp")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        files.save("signature", "code")
    assert list(tmp_path.iterdir()) == []
