"""What ``lpsim bench`` measures, each beside a peer or a limit. Needs no extra.

``python -m lpsim.cli.headlines`` prints the results as lines of JSON: a process of its own, because BLAS reads the
number of its threads when a process starts.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

import lpsim as lp
from lpsim.cli import peers
from lpsim.cli.peers import installed as installed_peers
from lpsim.cli.timing import best_times, numbers, one_thread_environment

__all__ = ["PEER_ROWS", "Headline", "Result", "calls_beside_peer", "headlines", "measure", "run"]

_Calls = tuple[Callable[[], object], Callable[[], object]]


@dataclass(frozen=True)
class Headline:
    """A comparison: what lpsim does, what another one does, and both as functions.

    Attributes
    ----------
    group : str
        The kind of work.
    name, against : str
        What lpsim does, and the peer or the limit.
    calls : function
        Return both as functions, for sizes divided by the argument.
    quick : bool
        Whether the short list has it.
    operations : int
        Additions and multiplications of lpsim's call, for rates; 0 for those that are no products of matrices.
    """

    group: str
    name: str
    against: str
    calls: Callable[[int], _Calls]
    quick: bool = True
    operations: int = 0


@dataclass(frozen=True)
class Result:
    """Run times in seconds of both sides of a `Headline`."""

    group: str
    name: str
    against: str
    lpsim: float
    other: float
    gflops: float | None

    @property
    def ratio(self) -> float:
        """The run time of lpsim over that of the other one."""
        return self.lpsim / self.other


def _power(size: int) -> str:
    return f"10^{len(str(size)) - 1}"


def _round_over_memcpy(fmt: str, size: int, options: dict[str, Any], shrink: int) -> _Calls:
    x = numbers(max(size // shrink, 1))
    out, copy = np.empty_like(x), np.empty_like(x)
    return lambda: lp.round(x, fmt, out=out, **options), lambda: np.copyto(copy, x)


def _round(fmt: str, size: int, quick: bool, **options: Any) -> Headline:
    mode = options.get("rounding", "").replace("_", " ")
    name = f"round to {fmt}, {_power(size)}" + (f", {mode}" if mode else "")
    return Headline("round", name, "memcpy", functools.partial(_round_over_memcpy, fmt, size, options), quick)


def _arithmetic_over_numpy(operation: str, operands: int, shrink: int) -> _Calls:
    given = [lp.round(np.abs(np.roll(numbers(max(1_000_000 // shrink, 1)), i)) + 1, "half") for i in range(operands)]
    x, y = given[0], given[min(1, operands - 1)]
    function, out, sums = getattr(lp, operation), np.empty_like(x), np.empty_like(x)
    return lambda: function(*given, "half", out=out), lambda: np.add(x, y, out=sums)


def _arithmetic(operation: str, operands: int, quick: bool) -> Headline:
    calls = functools.partial(_arithmetic_over_numpy, operation, operands)
    return Headline("arithmetic", f"{operation} in half, 10^6", "np.add, float32", calls, quick)


def _product_over_numpy(unit: str, n: int, dtype: type, shrink: int) -> _Calls:
    n = max(n // shrink, 1)
    a, b = np.random.default_rng(0).normal(size=(2, n, n)).astype(np.float32)
    left, right = a.astype(dtype), b.astype(dtype)
    return lambda: lp.matmul(a, b, unit), lambda: left @ right


def _matmul(unit: str, n: int, quick: bool, dtype: type = np.float32) -> Headline:
    against = "sgemm" if dtype is np.float32 else "NumPy's float16 product"
    calls = functools.partial(_product_over_numpy, unit, n, dtype)
    return Headline("matmul", f"{unit}, n = {n}", against, calls, quick, 2 * n**3)


def _own_limits() -> list[Headline]:
    return [
        *(_round(fmt, size, True) for size in (10**6, 10**7) for fmt in ("half", "bf16", "e4m3fn")),
        *(_round(fmt, 10**6, False) for fmt in ("tf32", "e5m2", "E6M5")),
        *(_round("half", 10**6, False, rounding=mode) for mode in ("toward_zero", "ties_to_away", "to_odd")),
        _round("half", 10**6, False, rounding="stochastic", seed=1),
        *(_arithmetic(operation, count, True) for operation, count in (("add", 2), ("mul", 2), ("fma", 3))),
        *(_arithmetic(operation, count, False) for operation, count in (("div", 2), ("sqrt", 1))),
        _matmul("tf32", 1024, True),
        _matmul("fp16_fp16acc", 512, True, np.float16),
        _matmul("h100.fp16", 512, True),
        *(_matmul(unit, 512, False) for unit in ("h100.e4m3", "a100.tf32")),
        *(_matmul(unit, 128, False) for unit in ("mi300.fp16", "amx.bf16")),  # slow
    ]


#: What is compared with peers: operation, format, size (elements, or n of a product), whether in the short list.
PEER_ROWS = (
    ("round", "float16", 10**6, True),
    ("round", "bfloat16", 10**6, True),
    ("round", "float8_e4m3fn", 10**6, False),
    ("add", "float16", 10**6, False),
    ("add", "bfloat16", 10**6, False),
    ("mul", "float16", 10**6, False),
    ("mul", "bfloat16", 10**6, False),
    ("matmul", "float16", 256, False),
)


def calls_beside_peer(peer: peers.Peer, operation: str, fmt: str, size: int, shrink: int) -> _Calls:
    """Return lpsim's operation and the peer's, on the same numbers, as functions."""
    if operation == "matmul":
        n = max(size // shrink, 1)
        x, y = (lp.round(x, fmt) for x in np.random.default_rng(0).normal(size=(2, n, n)).astype(np.float32))
        return lambda: lp.matmul(x, y, "fp16_fp16acc"), peer.call(operation, fmt, x, y)
    x = numbers(max(size // shrink, 1))
    out = np.empty_like(x)
    if operation == "round":
        return lambda: lp.round(x, fmt, out=out), peer.call(operation, fmt, x)
    x, y = lp.round(x, fmt), lp.round(np.roll(x, 1), fmt)
    function = getattr(lp, operation)
    return lambda: function(x, y, fmt, out=out), peer.call(operation, fmt, x, y)


def _peer(peer: peers.Peer, operation: str, fmt: str, size: int, quick: bool) -> Headline:
    calls = functools.partial(calls_beside_peer, peer, operation, fmt, size)
    if operation == "matmul":
        return Headline("peers", f"fp16_fp16acc, n = {size}", peer.name, calls, quick, 2 * size**3)
    name = f"{operation} {'to' if operation == 'round' else 'in'} {fmt}, {_power(size)}"
    return Headline("peers", name, peer.name, calls, quick)


def headlines(quick: bool) -> list[Headline]:
    """Return what is measured here: comparisons with limits, then with each installed peer."""
    rows = [
        _peer(peer, operation, fmt, size, short)
        for operation, fmt, size, short in PEER_ROWS
        for peer in installed_peers()
        if peer.can(operation, fmt)
    ]
    return [one for one in (*_own_limits(), *rows) if one.quick or not quick]


def measure(headline: Headline, seconds: float = 1.0, shrink: int = 1) -> Result:
    """Return the run times of both sides, measured for about that time after the first calls."""
    lpsim, other = best_times(headline.calls(shrink), rounds=1000, seconds=seconds)
    gflops = headline.operations / shrink**3 / lpsim / 1e9 if headline.operations else None
    return Result(headline.group, headline.name, headline.against, lpsim, other, gflops)


def run(quick: bool, seconds: float, shrink: int, one_thread: bool) -> Generator[Result, None, None]:
    """Yield the results of all headlines, measured in a new process, as they come."""
    command = [sys.executable, "-W", "ignore", "-m", __name__, "--seconds", str(seconds), "--shrink", str(shrink)]
    environment = one_thread_environment() if one_thread else dict(os.environ)
    # In a session of its own, Ctrl-C does not reach it: it is ended here.
    options: dict[str, Any] = {"env": environment, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(command + ["--quick"] * quick, text=True, **options) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield Result(**json.loads(line))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(f"the process that measures ended with {process.returncode}")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--shrink", type=int, default=1)
    options = parser.parse_args()
    for headline in headlines(options.quick):
        try:
            result = measure(headline, options.seconds, options.shrink)
        except Exception as error:
            # A peer that is broken or of another version is no reason to measure nothing.
            if headline.group != "peers":
                raise
            print(f"lpsim: {headline.against}: {' '.join(str(error).split())}", file=sys.stderr)
            continue
        print(json.dumps(dataclasses.asdict(result)), flush=True)


if __name__ == "__main__":
    _main()
