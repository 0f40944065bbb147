"""Whether the header of a ``.gguf`` file fits into it.

The package ``gguf`` believes what a header says: it reads on beyond the end of a file, for as long as a count tells it.

Source: ggml d99724f2, ``docs/gguf.md``.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

__all__ = ["check_header"]

#: Bytes of a value, by the number of its type; 8 is a string, 9 an array.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9

#: Arrays in arrays in arrays ...
_DEEPEST = 8

_Data = mmap.mmap | bytes


class _Reader:
    """Reads numbers one after the other, and refuses to go beyond the end."""

    def __init__(self, data: _Data) -> None:
        self._data = data
        self._at = 0
        self._order = "<"

    def skip(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise ValueError(f"at byte {self._at}, {size} bytes should follow, but the file has {len(self._data)}")
        self._at += size

    def number(self, kind: str) -> int:
        start = self._at
        self.skip(struct.calcsize(kind))
        value: int = struct.unpack_from(self._order + kind, self._data, start)[0]
        return value

    def start(self) -> None:
        if self._data[:4] != b"GGUF":
            raise ValueError("it does not start with GGUF")
        self.skip(4)
        if self.number("I") & 0xFFFF == 0:  # the version, of the other byte order
            self._order = ">"

    def string(self) -> None:
        self.skip(self.number("Q"))

    def value(self, kind: int, depth: int = 0) -> None:
        if kind in _SIZES:
            self.skip(_SIZES[kind])
        elif kind == _STRING:
            self.string()
        elif kind == _ARRAY and depth < _DEEPEST:
            inner, count = self.number("I"), self.number("Q")
            if inner in _SIZES:
                self.skip(count * _SIZES[inner])
                return
            self.counted(count)
            for _ in range(count):
                self.value(inner, depth + 1)
        else:
            raise ValueError(f"at byte {self._at}, a value has type {kind}; allowed: 0 to 12")

    def counted(self, count: int) -> None:
        """Refuse a count of things that take eight bytes or more each, where they do not fit."""
        if 8 * count > len(self._data) - self._at:
            raise ValueError(f"at byte {self._at}, {count} entries should follow, but the file has {len(self._data)}")

    def tensor(self) -> None:
        self.string()
        axes = self.number("I")
        self.counted(axes)
        for _ in range(axes):
            self.number("Q")
        self.number("I")
        self.number("Q")


def check_header(path: Path) -> None:
    """Refuse a file whose header says that it is longer than it is.

    Raises
    ------
    ValueError
        If the file is no ``.gguf`` file, or its header does not fit into it.
    """
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data)
            reader.start()
            tensors, pairs = reader.number("Q"), reader.number("Q")
            reader.counted(pairs)
            for _ in range(pairs):
                reader.string()
                reader.value(reader.number("I"))
            reader.counted(tensors)
            for _ in range(tensors):
                reader.tensor()
