"""Measure the memory that operations on large arrays take beside their inputs and their output.

    python tools/check_memory.py                                       # 10**8 elements, factors of 16384 x 16384
    python tools/check_memory.py --elements 16777216 --size 4096 --limit 40
    python tools/check_memory.py --cases ulp pack --units a100.fp16

Products are of square matrices and narrow ones, once on each side, and with ``--square UNIT`` also of two square ones.
The exit status is 1 if anything took more than the limit. Linux only: the kernel says what the peak was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lpsim as lp

Case = Callable[[], Any]

#: Columns or rows of the narrow matrices.
NARROW = 16


def _status(name: str) -> int:
    """Return a number of bytes that the kernel keeps of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}; allowed: Linux")


def measure(case: Case) -> tuple[int, float]:
    """Return how many bytes a call took beyond what it returned, and how many seconds."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from now
    before, start = _status("VmRSS"), time.perf_counter()
    result = case()
    seconds = time.perf_counter() - start
    return _status("VmHWM") - before - _size(result), seconds


def _size(result: Any) -> int:
    if isinstance(result, tuple):
        return sum(map(_size, result))
    if isinstance(result, lp.Array):
        return _size(result.values)
    return result.nbytes if isinstance(result, (np.ndarray, lp.Quantized)) else 0


def elementwise(n: int) -> dict[str, Case]:
    """Return operations on n elements, by name; calls of small arrays compile the same kernels."""
    x = np.linspace(-3, 3, n, dtype=np.float32)
    half = x.astype(np.float16)
    values = np.empty_like(x)
    lp.round(x, "half", out=values)
    codes = np.arange(n, dtype=np.uint64).astype(np.uint8)
    wide_codes = codes.astype(np.uint16)
    rows = x[: n // 256 * 256].reshape(-1, 256)
    by_columns = x[: n // 1000 * 1000].reshape(-1, 1000)
    cases: dict[str, Case] = {
        "round": lambda: lp.round(x, "half"),
        "round float16": lambda: lp.round(half, "bf16"),
        "round, stochastic": lambda: lp.round(x, "half", "stochastic", seed=1),
        "round, bits given": lambda: lp.round(x, "half", "stochastic", bits=codes, random_bits=8),
        "round in place": lambda: lp.round(values, "half", out=values)[:0],
        "encode": lambda: lp.encode(x, "e2m1fn"),
        "decode": lambda: lp.decode(wide_codes, "half"),
        "pack": lambda: lp.pack(wide_codes, "half"),
        "unpack": lambda: lp.unpack(codes, "half"),
        "add, flags": lambda: lp.add(x, x, "half", flags=True),
        "add, float16": lambda: lp.add(half, half, "half"),
        "add, strided": lambda: lp.add(x[::2], x[1::2], "half"),
        "add, broadcast": lambda: lp.add(x, 1.5, "half"),
        "sub": lambda: lp.sub(x, x, "half"),
        "mul": lambda: lp.mul(x, x, "half"),
        "div": lambda: lp.div(x, x, "half"),
        "fma": lambda: lp.fma(x, x, x, "half"),
        "sqrt": lambda: lp.sqrt(x, "half"),
        "neg": lambda: lp.neg(x, "half"),
        "abs": lambda: lp.abs(half, "half"),
        "ulp": lambda: lp.ulp(x, "half"),
        "nextafter": lambda: lp.nextafter(x, x, "half"),
        "ulp_distance": lambda: lp.ulp_distance(values, values, "half"),
        "sum": lambda: lp.sum(x, "half"),
        "sum, pairwise": lambda: lp.sum(x, "half", order="pairwise"),
        "sum, float16": lambda: lp.sum(half, "half"),
        "sum along rows": lambda: lp.sum(rows, "half", axis=1),
        "sum along columns": lambda: lp.sum(by_columns, "half", axis=0),
        "dot": lambda: lp.dot(x, x, "fp16"),
        "dot, fused": lambda: lp.dot(x, x, "h100.fp16"),
    }
    cases["Array"] = _Prepared(lambda: lp.Array(values, "half"), lambda array: array + array)
    for name in ("int8", "nf4", "mxfp4", "nvfp4", "q4_0", "q8_0"):
        cases[f"quantize {name}"] = lambda name=name: lp.quantize(rows, name)
        cases[f"dequantize {name}"] = _Prepared(
            lambda name=name: lp.quantize(rows, name), lambda quantized: quantized.dequantize()
        )
    return cases


class _Prepared:
    """A case whose operand is made before the memory is measured."""

    def __init__(self, make: Callable[[], Any], case: Callable[[Any], Any]) -> None:
        self._make, self._case = make, case
        self._operand: Any = None

    def prepare(self) -> None:
        self._operand = self._make()

    def __call__(self) -> Any:
        return self._case(self._operand)


def products(size: int, units: list[str], square: list[str]) -> dict[str, Case]:
    """Return products of a square and a narrow matrix under units, by name."""
    a = np.ones((size, size), np.float32)
    a[:, ::3] = 0.1
    narrow = np.linspace(-1, 1, size * NARROW, dtype=np.float32).reshape(size, NARROW)
    cases: dict[str, Case] = {}
    for unit in units:
        given = _scales(lp.units.get(unit), size)
        cases[f"matmul {unit}, wide A"] = lambda unit=unit, given=given: lp.matmul(a, narrow, unit, **given[0])
        cases[f"matmul {unit}, wide B"] = lambda unit=unit, given=given: lp.matmul(narrow.T, a, unit, **given[1])
    for unit in square:
        cases[f"matmul {unit}, square"] = lambda unit=unit: lp.matmul(a, a, unit)
    return cases


def _scales(unit: lp.MatrixUnit, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    if unit.scale_block is None:
        return {}, {}
    blocks = -(-size // unit.scale_block)

    def scales(m: int, n: int) -> dict[str, Any]:
        one = np.ones((), np.float32)
        return {"a_scale": np.broadcast_to(one, (m, blocks)), "b_scale": np.broadcast_to(one, (blocks, n))}

    return scales(size, NARROW), scales(NARROW, size)


#: One unit of each way to compute products.
UNITS = ["fp32", "fp16", "fp16_fp16acc", "h100.fp16", "h100.e4m3", "b200.mxfp8_e4m3", "b200.nvfp4", "mi300.fp64"]


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=10**8)
    parser.add_argument("--size", type=int, default=16384, help="rows and columns of the square matrices")
    parser.add_argument("--limit", type=float, default=100, help="in units of 10**6 bytes")
    parser.add_argument("--cases", nargs="*", help="cases whose names start so; none: no elementwise ones")
    parser.add_argument("--units", nargs="*", default=UNITS)
    parser.add_argument("--square", nargs="*", default=[], help="units of products of two square matrices")
    given = parser.parse_args()
    for case in [*elementwise(4096).values(), *products(64, given.units, given.square).values()]:
        getattr(case, "prepare", lambda: None)()
        case()  # compiles
    failed = _run(elementwise, (given.elements,), given.cases, given.limit)
    failed |= _run(products, (given.size, given.units, given.square), None, given.limit)
    return failed


def _run(
    make: Callable[..., dict[str, Case]], arguments: tuple[Any, ...], chosen: list[str] | None, most: float
) -> int:
    if chosen == []:
        return 0
    cases, failed = make(*arguments), 0
    for name in list(cases):
        case = cases.pop(name)
        if chosen is None or name.startswith(tuple(chosen)):
            getattr(case, "prepare", lambda: None)()
            extra, seconds = measure(case)
            if extra > most * 1e6:  # perhaps it compiled what is for large arrays alone
                extra, seconds = measure(case)
            failed |= extra > most * 1e6
            print(f"{name:32} {extra / 1e6:8.1f} MB {seconds:8.2f} s{'  TOO MUCH' * (extra > most * 1e6)}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
