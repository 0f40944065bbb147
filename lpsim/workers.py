"""Processes that compute for this one, and never longer than it: not after an error, an interrupt, or its own end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import parent_process
from typing import Any

__all__ = ["processes"]

#: Seconds that a process has to end when it is asked to, before it is killed.
_TO_END = 0.5


class _Process(SpawnProcess):
    """A process that Ctrl-C, which reaches all of a terminal, does not end: the one that started it does."""

    def start(self) -> None:
        if not hasattr(signal, "pthread_sigmask"):
            super().start()
            return
        # What is blocked here is blocked there, from the very start.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Recording(SpawnContext):
    """Starts fresh interpreters and remembers them. A fork would lack this process's threads, and have its locks."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Process] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]
        process = _Process(*args, **kwargs)
        self.started.append(process)
        return process


@contextlib.contextmanager
def processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Provide a pool of processes, which end at once where the block is left by an exception.

    Parameters
    ----------
    workers : int
        How many.

    Raises
    ------
    BrokenProcessPool
        If one of them ended by itself; its message says so.
    """
    context = _Recording()
    pool = ProcessPoolExecutor(workers, context, _follow_parent)
    try:
        yield pool
    except BaseException as error:
        started = [process for process in context.started if process.pid is not None]
        for process in started:
            process.terminate()
        until = time.monotonic() + _TO_END
        for process in started:
            process.join(max(until - time.monotonic(), 0.0))
            process.kill()
        pool.shutdown()
        if isinstance(error, BrokenProcessPool):
            raise BrokenProcessPool(
                f"one of {workers} processes ended before its work was done: it was killed, perhaps for want of memory"
            ) from error
        raise
    pool.shutdown()


def _follow_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not blocked
    threading.Thread(target=_end_with_parent, name="lpsim-parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
