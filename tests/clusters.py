"""A dask cluster of processes on this machine, for tests."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["local_cluster"]


@contextlib.contextmanager
def local_cluster(workers: int = 2, memory: str = "1GB") -> Iterator[Any]:
    """Provide the client of a cluster of worker processes with one thread each."""
    from distributed import Client, LocalCluster

    with warnings.catch_warnings():
        # Of sockets and event loops that are closed late, or of the time that a busy machine takes.
        warnings.simplefilter("ignore", ResourceWarning)
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=memory,
                dashboard_address=":0",
                env={"NUMBA_NUM_THREADS": "1"},
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
