"""Files that are replaced once they are whole."""

from __future__ import annotations

import ast
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lpsim as lp
from lpsim.files import remove_unfinished, replacing

ROOT = Path(__file__).resolve().parents[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert len(names(tmp_path)) == 2
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), OSError("disk full")])
@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.parametrize("old", [True, False])
def test_whatever_goes_wrong_leaves_what_there_was(tmp_path: Path, error: BaseException, mode: Any, old: bool) -> None:
    if old:
        (tmp_path / "x").write_text("old")

    def interrupted() -> None:
        with replacing(tmp_path / "x", mode) as file:
            file.write("new" if mode == "w" else b"new")
            raise error

    with pytest.raises(type(error)) as caught:
        interrupted()
    assert caught.value is error
    assert str(error) in ("no", "", "3", "disk full")
    assert names(tmp_path) == ["x"] * old
    assert not old or (tmp_path / "x").read_text() == "old"


def test_text_is_utf_8(tmp_path: Path) -> None:
    with replacing(str(tmp_path / "x"), "w") as file:
        file.write("64 × 64\n")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "64 × 64\n"


def test_modes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^mode is 'a'; allowed: 'wb' and 'w'$"):
        replacing(tmp_path / "x", "a").__enter__()  # type: ignore[call-overload]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027])
def test_permissions_are_those_of_open_or_of_the_old_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        (tmp_path / "plain").write_text("")
        with replacing(tmp_path / "new"):
            pass
        (tmp_path / "old").write_text("")
        (tmp_path / "old").chmod(0o640)
        with replacing(tmp_path / "old"):
            pass
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"plain": 0o666 & ~mask, "new": 0o666 & ~mask, "old": 0o640}


@pytest.mark.parametrize("there", [True, False])
def test_behind_a_link_the_target_is_replaced(tmp_path: Path, there: bool) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if there:
        target.write_text("old")
    (tmp_path / "between").symlink_to("folder/target")
    (tmp_path / "link").symlink_to("between")
    with replacing(tmp_path / "link", "w") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["between", "folder", "link"]
    assert names(tmp_path / "folder") == ["target"]


def test_another_working_folder_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with replacing("x", "w") as file:
        os.chdir("other")
        file.write("new")
    assert (tmp_path / "x").read_text() == "new"


def test_a_long_name(tmp_path: Path) -> None:
    with replacing(tmp_path / ("ä" * 127), "w") as file:
        file.write("new")
    assert names(tmp_path) == ["ä" * 127]


PRINT = """
import sys, numpy as np
from lpsim.files import replacing
print("before", flush=True)
with replacing(sys.argv[1]) as file:
    {write}
print("after")
"""


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
@pytest.mark.parametrize("write", ["file.write(b'x' * 9)", "np.save(file, np.ones(3))", "np.savez(file, x=np.ones(3))"])
def test_a_pipe_is_written_directly(write: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(lp.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", PRINT.format(write=write), "/dev/stdout"],
        capture_output=True, check=False, timeout=60, env=environment,
    )  # fmt: skip
    assert result.stderr == b""
    assert result.stdout.startswith(b"before\n")
    assert result.stdout.endswith(b"after\n")
    assert len(result.stdout) >= len(b"before\nafter\n") + 9


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_the_standard_output_is_not_replaced_where_it_is_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("a") as out:
        number = out.fileno()
        inode = (tmp_path / "out").stat().st_ino
        with replacing(f"/dev/fd/{number}") as file:
            file.write(b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert (tmp_path / "out").stat().st_ino == inode
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("name", "error"), [("nowhere/x", FileNotFoundError), (".", IsADirectoryError), ("file/x", NotADirectoryError)]
)
def test_errors_of_the_system_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[OSError]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(error) as caught, replacing(name):
        raise AssertionError("it was opened")
    assert str(caught.value).endswith(f": {name!r}")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("function", ["replace", "fsync", "chmod"])
def test_errors_at_the_end_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *arguments[:1] * (function != "fsync"))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*x'$"), replacing(path) as file:
        file.write(b"new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_a_file_system_without_fsync_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fail)
    with replacing(tmp_path / "x", "w") as file:
        file.write("new")
    assert (tmp_path / "x").read_text() == "new"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who may not do everything")
def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    (tmp_path / "x").chmod(0o444)
    with pytest.raises(PermissionError, match=r"x'$"), replacing(tmp_path / "x"):
        pass
    assert (tmp_path / "x").read_text() == "old"


def test_what_is_unfinished_can_be_removed(tmp_path: Path) -> None:
    def ended() -> None:
        with replacing(tmp_path / "x") as file:
            file.write(b"new")
            assert len(names(tmp_path)) == 1
            remove_unfinished()
            assert names(tmp_path) == []

    with pytest.raises(FileNotFoundError):
        ended()
    assert names(tmp_path) == []


# Every writer.

#: Methods that write a file, if they are not given one in memory or one that replaces another.
WRITE = {"write_text", "write_bytes", "savefig", "tofile", "np.save", "savez", "savez_compressed", "savetxt",
         "save_file", "to_csv", "to_parquet", "dump"}  # fmt: skip
#: Files that are not replaced: the helper's own, a journal, which grows, and a page in a temporary folder.
OWN = {
    "lpsim/cpu/kernel_files.py": 1,
    "lpsim/files.py": 2,
    "lpsim/sweeps/journal.py": 1,
    "tools/make_explorer_picture.py": 1,
}


def writes(tree: ast.AST) -> list[ast.Call]:
    """Return the calls that write to a file by its name."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        strings = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
        given = {one.id for one in [*node.args, *(word.value for word in node.keywords)] if isinstance(one, ast.Name)}
        if name == "open":
            if any(set(text) <= set("wxarbt+") and set(text) & set("wxa+") for text in strings):
                found.append(node)
        elif {name, ast.unparse(node.func)} & WRITE and not given & {"file", "drawn"}:
            found.append(node)
    return found


def test_what_writes_is_found() -> None:
    text = "p.open('w'); open(p, 'x+b'); open(p, 'rb'); np.save(p, x); np.save(file, x); p.write_text(''); f.savefig(p)"
    assert len(writes(ast.parse(text))) == 5


def test_every_writer_replaces_whole_files() -> None:
    sources = [*ROOT.glob("lpsim/**/*.py"), *ROOT.glob("tools/make_*.py"), *ROOT.glob("tools/*digest.py"),
               *ROOT.glob("tools/*witness.py"), *ROOT.glob("tools/*figures.py")]  # fmt: skip
    assert len(sources) > 150
    found = {}
    for source in sources:
        calls = writes(ast.parse(source.read_text(encoding="utf-8")))
        if calls:
            found[source.relative_to(ROOT).as_posix()] = [ast.unparse(call) for call in calls]
    assert {name: len(calls) for name, calls in found.items()} == OWN, found
