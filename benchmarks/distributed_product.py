"""A product of matrices larger than the memory of the workers that compute it, checked to the bit.

The factors are zarr stores on disk, the workers are processes of a `distributed.LocalCluster` with little memory, and
the product is written to a zarr store chunk by chunk. Sampled tiles of it are compared with `lpsim.matmul` on the rows
and columns concerned. With --kill, a worker is killed midway, and another one repeats its tasks.

    python benchmarks/distributed_product.py --size 8192 --chunk 2048 --memory 2GB --kill
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster, wait

import lpsim as lp


def write_factor(path: Path, size: int, chunk: int, seed: int) -> None:
    """Write a matrix of normal numbers, one chunk in memory at a time; it has its name once it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    whole = (size, size)
    store = zarr.create_array(str(partial), shape=whole, chunks=(chunk, chunk), dtype="float32", overwrite=True)
    for i in range(0, size, chunk):
        for j in range(0, size, chunk):
            shape = min(chunk, size - i), min(chunk, size - j)
            rng = np.random.default_rng([seed, i, j])
            store[i : i + chunk, j : j + chunk] = rng.standard_normal(shape, np.float32)
    partial.rename(path)


def written_chunks(path: Path) -> int:
    """Return how many chunks of a store are on disk."""
    return sum(file.name != "zarr.json" and file.is_file() for file in path.rglob("*"))


def peak_memory() -> float:
    """Return the most memory that this process had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


class Killer(threading.Thread):
    """Kills a worker once some of the product is on disk."""

    def __init__(self, client: Client, path: Path, chunks: int) -> None:
        super().__init__(daemon=True)
        self.client, self.path, self.chunks = client, path, chunks
        self.killed: int | None = None
        self.chunks_then = 0
        self.peak = 0.0

    def run(self) -> None:
        pids = self.client.run(os.getpid)
        while written_chunks(self.path) < self.chunks:
            time.sleep(0.01)
        self.peak = max(self.client.run(peak_memory).values())
        self.killed = next(iter(pids.values()))
        os.kill(self.killed, signal.SIGKILL)
        self.chunks_then = written_chunks(self.path)


def multiply(folder: Path, client: Client, unit: str, kill: bool) -> dict[str, Any]:
    """Compute ``C = A @ B`` from store to store."""
    a, b = (da.from_zarr(str(folder / name)) for name in ("A", "B"))
    product = lp.matmul(a, b, unit)
    whole = int(np.prod(product.numblocks))
    target = zarr.create_array(
        str(folder / "C"), shape=product.shape, chunks=product.chunksize, dtype=product.dtype, overwrite=True
    )
    killer = Killer(client, folder / "C", max(1, whole // 4)) if kill else None
    start = time.perf_counter()
    if killer is not None:
        killer.start()
    done = product.store(target, lock=False, compute=False)
    future = client.compute(done)
    wait(future)
    future.result()
    seconds = time.perf_counter() - start
    peaks = client.run(peak_memory)
    result: dict[str, Any] = {"seconds": round(seconds, 2), "chunks": whole}
    if killer is not None:
        killer.join()
        peaks["killed"] = killer.peak
        result.update(killed_pid=killer.killed, chunks_when_killed=killer.chunks_then)
    result["worker_peak_mb"] = round(max(peaks.values()))
    return result


def wrong_tiles(folder: Path, unit: str, tiles: int, tile: int, seed: int) -> int:
    """Return how many sampled tiles of C are not what one machine computes, in any bit."""
    a, b, c = (zarr.open_array(str(folder / name), mode="r") for name in "ABC")
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(tiles):
        i, j = (int(rng.integers(0, max(1, size - tile + 1))) for size in c.shape)
        rows, columns = slice(i, i + tile), slice(j, j + tile)
        expected = lp.matmul(a[rows, :], b[:, columns], unit)
        wrong += np.asarray(c[rows, columns]).tobytes() != expected.tobytes()
    return wrong


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192, help="rows and columns of both factors")
    parser.add_argument("--chunk", type=int, default=2048, help="rows and columns of their chunks")
    parser.add_argument("--unit", default="tf32", help="name of the matrix unit")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="2GB", help="memory limit of a worker")
    parser.add_argument("--kill", action="store_true", help="kill a worker when a quarter of the product is written")
    parser.add_argument("--tiles", type=int, default=16, help="how many tiles to compare")
    parser.add_argument("--tile", type=int, default=64, help="rows and columns of a tile")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to keep the stores; default: a temporary folder")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lpsim-")))
        folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate("AB"):
            if not (folder / name).exists():
                write_factor(folder / name, options.size, options.chunk, options.seed + number)
        # One thread each: the workers share the processor.
        cluster = LocalCluster(
            n_workers=options.workers,
            threads_per_worker=1,
            memory_limit=options.memory,
            dashboard_address=":0",
            env={"NUMBA_NUM_THREADS": "1"},
        )
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        result = multiply(folder, client, options.unit, options.kill)
        wrong = wrong_tiles(folder, options.unit, options.tiles, options.tile, options.seed)
        print(json.dumps({**result, "tiles": options.tiles, "wrong_tiles": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
