"""How many threads work on a call: the user's choice, or else Numba's.

Numba's own count is asked for only where Numba's threads run already: ``numba.get_num_threads`` would start them, and
with them the hazards of its threading layers (see `lpsim.cpu.threads`).
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numba
import numpy as np
from numba.np.ufunc import parallel

__all__ = ["get_num_threads", "set_num_threads", "threads"]

#: The choice of ``with threads(n)``, and that of `set_num_threads`.
_here: contextvars.ContextVar[int | None] = contextvars.ContextVar("lpsim_threads", default=None)
_everywhere: int | None = None


def get_num_threads() -> int:
    """Return how many threads a call may use, the calling one among them.

    Returns
    -------
    int
        The number of the innermost ``with lpsim.threads(n)`` around the call, or else that of
        `lpsim.set_num_threads`, or else Numba's: that of ``numba.set_num_threads`` in this thread, or
        ``numba.config.NUMBA_NUM_THREADS``.

    Examples
    --------
    >>> import lpsim as lp
    >>> with lp.threads(1):
    ...     lp.get_num_threads()
    1
    """
    here = _here.get()
    if here is not None:
        return here
    if _everywhere is not None:
        return _everywhere
    # Two private names of Numba's: there is no other way to ask without starting its threads.
    if getattr(parallel, "_is_initialized", False):
        return max(1, int(parallel._get_num_threads()))
    return int(numba.config.NUMBA_NUM_THREADS)


def set_num_threads(n: int | None) -> None:
    """Set how many threads a call may use, in all threads of this process.

    Results never depend on it. Within ``with lpsim.threads(n)`` the number of that counts.

    Parameters
    ----------
    n : int or None
        1 to ``numba.config.NUMBA_NUM_THREADS``, which is the number of processors, or what the environment variable
        ``NUMBA_NUM_THREADS`` said when Numba was imported. None: Numba's number again, as without any call.

    Raises
    ------
    TypeError
        If ``n`` is no integer and not None.
    ValueError
        If it is out of range.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.set_num_threads(1)
    >>> lp.get_num_threads()
    1
    >>> lp.set_num_threads(None)
    """
    global _everywhere
    _everywhere = None if n is None else _checked(n, "an integer or None")


def threads(n: int) -> AbstractContextManager[None]:
    """Return a context in which calls of this thread, or of this asyncio task, use so many threads at most.

    Results never depend on it. Contexts nest, and the number before is restored at the end, also after an exception.

    Parameters
    ----------
    n : int
        As for `lpsim.set_num_threads`.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError
        If ``n`` is no integer.
    ValueError
        If it is out of range.

    Examples
    --------
    >>> import lpsim as lp
    >>> with lp.threads(1):
    ...     float(lp.round(0.1, "half"))
    0.0999755859375
    """
    return _setting(_checked(n))


@contextlib.contextmanager
def _setting(n: int) -> Iterator[None]:
    token = _here.set(n)
    try:
        yield
    finally:
        _here.reset(token)


def _checked(n: int, allowed: str = "an integer") -> int:
    if isinstance(n, (bool, np.bool_)) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"n is {n!r:.60}; allowed: {allowed}")
    most = int(numba.config.NUMBA_NUM_THREADS)
    if not 1 <= n <= most:
        raise ValueError(f"n is {n}; allowed: 1 to {most}, the NUMBA_NUM_THREADS of this process")
    return int(n)
