"""What calls of a sweep run on: threads, processes, executors of others, dask clusters."""

from __future__ import annotations

import os
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from lpsim.workers import processes

__all__ = ["pool"]


class _Threads(Executor):
    """Threads that do not keep the interpreter from ending, as those of `concurrent.futures` do."""

    def __init__(self, workers: int) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], Any, Any] | None] = queue.SimpleQueue()
        self._workers = workers
        for _ in range(workers):
            threading.Thread(target=self._work, name="lpsim-sweep", daemon=True).start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._tasks.put((future, function, args, kwargs))
        return future

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, function, args, kwargs = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for _ in range(self._workers):
            self._tasks.put(None)


@contextmanager
def pool(executor: Any, workers: int | None, function: Callable[..., Any]) -> Iterator[Executor]:
    """Provide an executor, and end at once what it still does where the block is left by an exception.

    Parameters
    ----------
    executor : str, Executor or distributed.Client
        ``"threads"``, ``"processes"``, or who else is to do the calls; that is not shut down.
    workers : int, optional
        Number of threads or processes. Default: that of processors.
    function : callable
        What is to be called, which processes have to be able to import.

    Raises
    ------
    TypeError
        If ``executor`` is none of these, or the function cannot be sent to processes.
    """
    if executor == "threads":
        threads = _Threads(workers or os.cpu_count() or 1)
        try:
            yield threads
        finally:
            threads.shutdown()
    elif executor == "processes":
        _check_sendable(function)
        with processes(workers or os.cpu_count() or 1) as chosen:
            yield chosen
    elif isinstance(executor, Executor):
        yield executor
    elif hasattr(executor, "get_executor"):
        # The scheduler may not take a call for one that it has done: functions may be impure.
        yield executor.get_executor(pure=False)
    else:
        raise TypeError(
            f"executor is {executor!r:.60}; allowed: 'threads', 'processes', an executor of concurrent.futures or a "
            "dask.distributed.Client"
        )


def _check_sendable(function: Callable[..., Any]) -> None:
    try:
        pickle.dumps(function)
    except Exception as error:
        raise TypeError(
            f"function is {function!r:.60}, which cannot be sent to processes ({error}); allowed with "
            "executor='processes': functions that a module defines, and functools.partial of these"
        ) from None
