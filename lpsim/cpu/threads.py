"""Threads for kernels that release the interpreter's lock.

Work is split by output elements, and an element's value never depends on the split, so results are the
same for any number of threads. Plain Python threads rather than numba's parallel loops: they cannot abort the
process when several user threads or a forked child call in, and kernels compile once for both uses.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba

__all__ = ["map_ranges"]

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    # A forked child has the pool object but none of its threads, and perhaps a lock that no one releases.
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, thread_name_prefix="lpsim")
        return _pool


def map_ranges(function: Callable[[int, int], object], size: int, *, smallest: int) -> None:
    """Call ``function(start, stop)`` over consecutive ranges that cover ``range(size)``, in parallel.

    Parameters
    ----------
    function : callable
        Must be safe to run at the same time for different ranges.
    size : int
        Number of items.
    smallest : int
        Fewest items that are worth a thread, about 75 microseconds of work. Ranges start at multiples of it, or of an
        eighth of it where that is a multiple of 16.

    Notes
    -----
    At most ``numba.get_num_threads()`` threads work, the calling one among them.
    """
    threads = min(size // smallest, numba.get_num_threads()) if size >= 2 * smallest else 1
    if threads <= 1:
        function(0, size)
        return
    # Other threads take some time to wake, in which this one is at work: about the work on ``lead`` steps.
    step, lead = (smallest // 8, 3) if smallest % 128 == 0 else (smallest, 0)
    steps = -(-size // step)
    ends = (lead + (steps - lead) * i // threads for i in range(1, threads + 1))
    bounds = [0, *(min(size, step * end) for end in ends)]
    futures = [_executor().submit(function, *bounds[i : i + 2]) for i in range(1, threads)]
    try:
        function(*bounds[:2])
    finally:
        for future in futures:
            future.exception()
    for future in futures:
        future.result()
