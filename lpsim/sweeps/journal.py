"""Journals of sweeps: the rows that are finished, one line of JSON each, so that an interrupted sweep can go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lpsim.files import naming

__all__ = ["Journal"]

Row = dict[str, Any]


class Journal:
    """The finished rows of one sweep in a file.

    The first line says which sweep it is; each other line is a row's number and its results. Lines are written whole,
    each by one system call, so that another process or an interrupt sees only whole ones. Of one that a full disk cuts
    off, nothing is left; one that was cut off all the same, at the end of the file, is dropped.

    Parameters
    ----------
    path : Path
        The file.
    header : dict
        What the sweep is: strings, numbers, lists and dicts of these.
    resume : bool
        Whether to go on with a journal that is there; else it is replaced.

    Attributes
    ----------
    rows : dict
        Results by number of the row.

    Raises
    ------
    ValueError
        If the file is the journal of another sweep, or is damaged elsewhere than at its end.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lpsim.sweeps.journal import Journal
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Journal(Path(folder, "x.jsonl"), {"function": "f"}, resume=True) as journal:
    ...         journal.add(3, {"error": 0.5})
    ...     with Journal(Path(folder, "x.jsonl"), {"function": "f"}, resume=True) as journal:
    ...         print(journal.rows)
    {3: {'error': 0.5}}
    """

    def __init__(self, path: Path, header: Row, *, resume: bool) -> None:
        self._path = path
        self.rows: dict[int, Row] = {}
        whole = self._read(header) if resume and path.exists() else 0
        self._file = path.open("r+b" if whole else "wb", buffering=0)
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write(header)

    def _read(self, header: Row) -> int:
        """Read the finished rows; return how many bytes of the file are whole lines."""
        text = self._path.read_bytes()
        whole = text.rfind(b"\n") + 1
        for number, line in enumerate(text[:whole].splitlines(), 1):
            try:
                entry = json.loads(line)
                if number == 1:
                    self._check(entry, header)
                else:
                    self.rows[int(entry["row"])] = dict(entry["results"])
            except (UnicodeDecodeError, json.JSONDecodeError, AttributeError, KeyError, TypeError):
                raise ValueError(
                    f"line {number} of the journal {self._path} is no row of a sweep; allowed: the journal of this "
                    "sweep, or resume=False, which replaces it"
                ) from None
        return whole

    def _check(self, found: Any, header: Row) -> None:
        # As text, in which NaN is NaN.
        differing = [name for name in header if json.dumps(found.get(name)) != json.dumps(header[name])]
        if differing:
            name = differing[0]
            raise ValueError(
                f"the journal {self._path} is that of another sweep, whose {name} is {_short(found.get(name))}; "
                f"allowed: {_short(header[name])} as it is here, another path, or resume=False, which replaces it"
            )

    def add(self, row: int, results: Row) -> None:
        """Write the results of a row."""
        self.rows[row] = results
        self._write({"row": row, "results": results})

    def _write(self, entry: Row) -> None:
        line = memoryview(json.dumps(entry).encode() + b"\n")
        whole = self._file.tell()
        with naming(self._path):
            try:
                while line:
                    line = line[self._file.write(line) :]
            except BaseException:
                # Of a full disk, perhaps: what is written of the line, which later ones would make part of the journal.
                self._file.truncate(whole)
                self._file.seek(whole)
                raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
