"""Compiled kernels on disk.

Numba's own cache has an index for each function, which numbers the files of its compiled signatures. Two processes that
compile different signatures at the same time both read the index, take the same number and overwrite each other's
file, whereupon the index of the last one serves the other's machine code for a wrong signature. And its key leaves
out settings that change the code. Here, a file's name is a digest of all that its code depends on, the file says so
again inside, and there is no index; files are replaced whole, so that any number of processes may share a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
import uuid
import warnings
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.serialize import dumps

__all__ = ["KernelFiles", "warn_of_cache"]

#: Settings of Numba that change the code of kernels.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")

_warned = False


class KernelFiles:
    """The files of a function's compiled signatures, in place of ``numba.core.caching.IndexDataCacheFile``.

    Parameters
    ----------
    folder : str
        Where they are.
    base : str
        How their names begin.
    stamp : object
        What the code depends on besides its signature: it has the same ``repr`` whenever it is the same.
    """

    def __init__(self, folder: str, base: str, stamp: object) -> None:
        self._folder, self._base = Path(folder), base
        settings = [(name, getattr(config, name, None)) for name in _SETTINGS]
        versions = sys.modules["lpsim"].__version__, numba.__version__, llvmlite.__version__
        self._stamp = repr((versions, sys.version, stamp, settings))

    def path(self, key: Any) -> Path:
        """Return where a signature's code is, or would be."""
        digest = hashlib.sha256(self._text(key)).hexdigest()
        return self._folder / f"{self._base}.{digest[:32]}.nbc"

    def load(self, key: Any) -> Any:
        """Return what was saved for a signature; None if there is nothing. A damaged file raises something."""
        try:
            content = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        text, digest, data = pickle.loads(content)
        if text != self._text(key):
            return None
        if digest != hashlib.sha256(data).digest():
            raise ValueError("a file of a compiled kernel is damaged")
        return pickle.loads(data)

    def save(self, key: Any, data: Any) -> None:
        """Save what a signature was compiled to."""
        path, dumped = self.path(key), dumps(data)
        temporary = path.with_suffix(f".{uuid.uuid4().hex[:16]}.tmp")
        try:
            temporary.write_bytes(pickle.dumps((self._text(key), hashlib.sha256(dumped).digest(), dumped)))
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def drop(self, key: Any) -> None:
        """Remove a signature's file."""
        self.path(key).unlink(missing_ok=True)

    def flush(self) -> None:
        """Remove the files of all signatures."""
        for path in self._folder.glob(f"{self._base}.*.nbc"):
            path.unlink(missing_ok=True)

    def _text(self, key: Any) -> bytes:
        # Not pickled: what types pickle to differs between processes.
        return f"{key!r} {self._stamp}".encode()


def warn_of_cache(reason: object, advice: str = "set NUMBA_CACHE_DIR to a folder that can be written to") -> None:
    """Warn, once, that kernels are not kept."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"lpsim can't keep compiled kernels on disk and compiles them anew in each process: {reason}; {advice}",
            RuntimeWarning,
            stacklevel=2,
        )
