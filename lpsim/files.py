"""Files that are there only once they are whole: written beside their place under another name, then renamed.

A reader, a full disk, an interrupt or the end of the process finds the old file or the new one, never a part of it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, Literal, TextIO, overload

__all__ = ["naming", "remove_unfinished", "replacing"]

#: Temporary files that are being written now: what a process that ends without unwinding has to remove.
_unfinished: set[str] = set()

#: Folders of names that stand for open files of a process, such as /dev/stdout; to replace one would write elsewhere.
_OPEN_FILES = ("/proc", "/dev/fd")


@overload
def replacing(
    path: str | os.PathLike[str], mode: Literal["wb"] = "wb"
) -> contextlib.AbstractContextManager[BinaryIO]: ...
@overload
def replacing(path: str | os.PathLike[str], mode: Literal["w"]) -> contextlib.AbstractContextManager[TextIO]: ...
@contextlib.contextmanager  # type: ignore[misc]
def replacing(path: str | os.PathLike[str], mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    """Provide a file to write that takes the place of another one at the end of the block, if that ends well.

    The file has the permissions of the one whose place it takes, or those that `open` gives. Behind a symbolic link,
    the file that it leads to is replaced. What is no regular file - a pipe, a device, /dev/stdout - is written
    directly.

    Parameters
    ----------
    path : str or path
        Its name. The folder has to be there, and to be writable.
    mode : str
        ``"wb"`` for bytes, ``"w"`` for text, as UTF-8.

    Yields
    ------
    file
        The file, which can be written to.

    Raises
    ------
    OSError
        What the system says, with the name of the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lpsim.files import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "x.txt")
    ...     path.write_text("old")
    ...     try:
    ...         with replacing(path, "w") as file:
    ...             file.write("ne")
    ...             raise KeyboardInterrupt
    ...     except KeyboardInterrupt:
    ...         print(path.read_text(), len(list(Path(folder).iterdir())))
    3
    2
    old 1
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"mode is {mode!r}; allowed: 'wb' and 'w'")
    with naming(path):
        target, found = _destination(os.fsdecode(path))
        if found is not None and not stat.S_ISREG(found.st_mode):
            with open(target, "wb") as raw:
                yield from _contents(_Stream(raw), mode)
            return
        if found is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:40]}.{secrets.token_hex(8)}.tmp")
    _unfinished.add(temporary)
    with naming(path, temporary):
        try:
            # Also to be read: of files for writing alone, NumPy takes the descriptor, and then says of a full disk how
            # many items it wrote.
            with open(temporary, "x+b") as file:
                yield from _contents(file, mode)
                _sync(file.fileno())
            if found is not None:
                _take_permissions(temporary, found)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        finally:
            _unfinished.discard(temporary)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], temporary: str | None = None) -> Iterator[None]:
    """Let the system's errors name a file: those of writing name none, those of opening perhaps a temporary one."""
    try:
        yield
    except OSError as error:
        # An error without a number would lose its text.
        if error.errno is not None and error.filename in (None, temporary):
            error.filename = os.fsdecode(path)
            del error.filename2
        raise


def remove_unfinished() -> None:
    """Remove the files that `replacing` has not finished, for a process that is about to end without unwinding."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            os.unlink(path)


def _destination(path: str) -> tuple[str, os.stat_result | None]:
    """Return the file that a name leads to, and what is there, if anything is."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return os.path.realpath(path), None
    if not stat.S_ISREG(found.st_mode):
        return path, found
    name = path
    while True:
        folder = os.path.realpath(os.path.dirname(name))
        name = os.path.join(folder, os.path.basename(name))
        if f"{folder}/".startswith(tuple(f"{one}/" for one in _OPEN_FILES)):
            # As a device would be, whatever the file behind it is.
            return path, os.stat_result((stat.S_IFCHR, *found[1:]))
        if not os.path.islink(name):
            return name, found
        name = os.path.join(folder, os.readlink(name))


def _contents(file: Any, mode: str) -> Iterator[IO[Any]]:
    """Yield a file of bytes, or one of text on it, and write what its buffers hold."""
    if mode == "wb":
        yield file
    else:
        text = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        yield text
        text.detach()
    file.flush()


class _Stream(io.BufferedIOBase):
    """A file of bytes that can only be written in order, which a pipe is."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()


def _sync(descriptor: int) -> None:
    """Wait until a file is on the disk, which may only now turn out to be full."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # a file system that knows of no such thing
            raise


def _take_permissions(path: str, of: os.stat_result) -> None:
    if hasattr(os, "chown") and (of.st_uid, of.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.chown(path, of.st_uid, of.st_gid)
    os.chmod(path, stat.S_IMODE(of.st_mode))
