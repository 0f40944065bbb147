"""Threads for kernels that release the interpreter's lock.

Work is split by output elements, and an element's value never depends on the split, so results are the
same for any number of threads. Plain Python threads rather than numba's parallel loops: they cannot abort the
process when several user threads or a forked child call in, and kernels compile once for both uses.

The calling thread waits for no thread that has not begun: what no other has taken it does itself. So no call can wait
for a pool that is busy with other calls, cannot start threads or is shut down.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numba

from lpsim.cpu.thread_count import get_num_threads

__all__ = ["check_stop", "map_ranges"]

#: Work between two looks at whether to stop, in that which is worth a thread: some 75 milliseconds.
_PIECE = 1024

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


class _Place(threading.local):
    """What the thread has a part in."""

    work: _Work | None = None


_place = _Place()


def _forget_pool() -> None:
    # A forked child has the pool object but none of its threads, and perhaps a lock that no one releases.
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()
    _place.work = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, thread_name_prefix="lpsim")
        return _pool


class _Stopped(BaseException):
    """Ends a part of a call that failed or was interrupted elsewhere."""


def _nothing(start: int, stop: int) -> None:
    pass


class _Work:
    """A call's ranges, which threads take one after the other until none is left."""

    def __init__(self, function: Callable[[int, int], object], ranges: Iterable[tuple[int, int]], piece: int) -> None:
        self._function, self._piece = function, piece
        self._left = deque(ranges)
        self._helpers = 0  # that are at work
        self._changed = threading.Condition(threading.Lock())
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Let no more be done, and this be raised."""
        self._left.clear()
        if self.error is None or isinstance(error, KeyboardInterrupt):
            self.error = error

    def help(self) -> None:
        """Do ranges that no thread has taken, in a thread of the pool."""
        with self._changed:
            if not self._left:
                return
            self._helpers += 1
        try:
            self._do_ranges()
        finally:
            with self._changed:
                self._helpers -= 1
                self._changed.notify()

    def run(self) -> None:
        """Do ranges until all are done, or raise what happened in any of them."""
        try:
            self._do_ranges()
        except BaseException as error:
            self.fail(error)
        while self._waits():
            pass
        self._function = _nothing  # which may hold arrays, while the pool still has this to look at
        found, self.error = self.error, None  # else error and traceback keep each other, and arrays, alive
        if found is not None:
            try:
                raise found
            finally:
                del found

    def _do_ranges(self) -> None:
        outer, _place.work = _place.work, self
        try:
            while self._left:
                try:
                    start, stop = self._left.popleft()
                except IndexError:  # another was faster
                    return
                for first in range(start, stop, self._piece):
                    check_stop()
                    self._function(first, min(first + self._piece, stop))
        except BaseException as error:
            self.fail(error)
        finally:
            _place.work = outer

    def _waits(self) -> bool:
        """Wait for the other threads; return whether any is at work still."""
        try:
            with self._changed:
                if self._helpers:
                    self._changed.wait(0.1)  # without a time, nothing interrupts it on Windows
                return self._helpers > 0
        except BaseException as error:
            self.fail(error)
            return True


def check_stop() -> None:
    """End the part of a call that this thread does, if another part failed or the call was interrupted.

    For functions under `map_ranges` that take long for a piece.
    """
    if _place.work is not None and _place.work.error is not None:
        raise _Stopped


def map_ranges(function: Callable[[int, int], object], size: int, *, smallest: float) -> None:
    """Call ``function(start, stop)`` over consecutive ranges that cover ``range(size)``, in parallel.

    Parameters
    ----------
    function : callable
        Must be safe to run at the same time for different ranges.
    size : int
        Number of items.
    smallest : float
        Fewest items that are worth a thread, about 75 microseconds of work; below one where an item is worth more.
        Ranges start at multiples of its whole part, or of an eighth of that where it is a multiple of 16.

    Notes
    -----
    At most `get_num_threads` threads work, the calling one among them; it alone where the call is part of another.

    No call of the function is for more than some 75 milliseconds of work, if an item is not. After an exception, such
    as KeyboardInterrupt in the calling thread, no more are made; it is raised when all that run have ended.
    """
    fewest = max(int(smallest), 1)
    piece = max(int(_PIECE * smallest) // fewest, 1) * fewest
    threads = 1
    if size >= 2 * fewest and _place.work is None:
        threads = min(size // fewest, get_num_threads())
    if threads <= 1:
        for start in range(0, max(size, 1), piece):
            check_stop()
            function(start, min(start + piece, size))
        return
    # Other threads take some time to wake, in which this one is at work: about the work on ``lead`` steps.
    step, lead = (fewest // 8, 3) if fewest % 128 == 0 else (fewest, 0)
    steps = -(-size // step)
    ends = (lead + (steps - lead) * i // threads for i in range(1, threads + 1))
    bounds = [0, *(min(size, step * end) for end in ends)]
    work = _Work(function, itertools.pairwise(bounds), piece)
    try:
        for _ in range(1, threads):
            _executor().submit(work.help)
    except RuntimeError:
        pass  # no more threads can be started, or the interpreter shuts down
    except BaseException as error:
        work.fail(error)
    work.run()
