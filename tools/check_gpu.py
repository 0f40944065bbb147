"""Check lpsim.cuda on the GPU at hand, in one call of less than ten minutes, and print one table.

``python tools/check_gpu.py [--cases 10000000] [--rows 1000000]`` compares each kernel with the CPU bit for bit, on
numbers aimed at ties, values and the ends of the range; measures rounding against a copy on the device, products with
FP32 accumulation against cuBLAS and products whose every step is rounded against the CPU; and compares the units of the
hardware with its tensor cores (``tools/tensor_core_witness.py``). cuBLAS and tensor cores are reached through
PyTorch or CuPy, where one is installed. It exits with 1 where a demand is not met, and with 2 without a GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import lpsim as lp
import lpsim.cuda
from lpsim.cli import ending
from lpsim.testing.operands import sampled_operands

sys.path.append(str(Path(__file__).parent))

import tensor_core_witness

OPERATIONS = {"round": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}
MODES = tuple(mode.name.lower() for mode in lp.Rounding)
BATCH = 1_000_000


class Line(NamedTuple):
    """A line of the table; ``met`` is None where nothing is demanded, or nothing could be measured."""

    what: str
    found: str
    demanded: str
    met: bool | None


def bits(array: Any) -> Any:
    """Return the representations of an array's numbers."""
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.itemsize}")


def wrong(got: Any, expected: Any) -> int:
    """Return in how many places two arrays, or pairs of arrays, are not the same bits."""
    if isinstance(expected, tuple):
        return sum(map(wrong, got, expected))
    return int(np.count_nonzero(bits(got) != bits(expected))) if got.dtype == expected.dtype else got.size


def elementwise(cases: int) -> Iterator[Line]:
    """Compare every operation in every mode, by general kernels with flags and by short ways."""
    rng = np.random.default_rng(1)
    for name, arity in OPERATIONS.items():
        function, differences = getattr(lp, name), dict.fromkeys(MODES, 0)
        done = 0
        for number, fmt in enumerate((lp.float16, lp.bfloat16, lp.float8_e4m3fn, lp.Format(6, 5), lp.float64)):
            share = cases // 5
            operation = name if name != "round" else "add"
            drawn = [sampled_operands(fmt, operation, max(arity, 2) if name == "round" else arity,
                                      min(BATCH, share), rng) for _ in range(-(-share // BATCH))]  # fmt: skip
            columns = [np.concatenate(parts)[:share] for parts in zip(*drawn, strict=True)][:arity]
            # float64 operands, which need the general kernels, and float32 ones, which have short ways.
            half = share // 2
            for mode in MODES:
                options: dict[str, Any] = {"rounding": mode}
                if lp.Rounding[mode.upper()].is_stochastic:
                    options["seed"] = number
                with np.errstate(all="ignore"):
                    wide = [column[:half] for column in columns]
                    single = [column[half:].astype(np.float32) for column in columns]
                    for operands, flags in ((wide, True), (single, False)):
                        got = function(*operands, fmt, flags=flags, backend="cuda", **options)
                        expected = function(*operands, fmt, flags=flags, **options)
                        differences[mode] += wrong(got, expected)
            done += share
        bad = {mode: count for mode, count in differences.items() if count}
        yield Line(f"{name}: bits, {done:,} cases in each of {len(MODES)} modes", str(bad or 0), "0 differ", not bad)
    for fmt in (lp.float16, lp.bfloat16, lp.float8_e4m3fn, lp.float8_e5m2fnuz):
        codes = np.arange(1 << fmt.bits, dtype=fmt.code_dtype)
        values = lp.decode(codes, fmt)
        count = wrong(lp.decode(codes, fmt, backend="cuda"), values)
        count += wrong(lp.encode(values, fmt, backend="cuda"), lp.encode(values, fmt))
        yield Line(f"decode, encode: all codes of {fmt}", str(count), "0 differ", count == 0)


def products() -> Iterator[Line]:
    """Compare a product of every kind of unit."""
    rng = np.random.default_rng(2)
    unit = lp.MatrixUnit
    kinds = {name: lp.units.get(name) for name in lp.units.NAMED_UNITS}
    kinds = {name: one for name, one in kinds.items() if one.scale_format is None}
    for order in ("reverse", "pairwise", "kahan", "interleaved(4)", "blocked(8)", "blocked(8, pairwise)"):
        for product in (None, "bf16"):
            kinds[f"{order}, products {product}"] = unit(
                "bf16", accumulator_format="bf16", order=order, product_format=product
            )
    for mode in MODES:
        kinds[f"fp16 {mode}"] = unit("fp16", accumulator_format="fp16", product_format="fp16", rounding=mode)
    bad: dict[str, int] = {}
    compared = 0
    for name, one in kinds.items():
        for m, k, n in ((67, 131, 93), (1, 257, 1)):
            a = rng.standard_normal((m, k)) * 2.0 ** rng.integers(-12, 12, (m, k))
            b = rng.standard_normal((k, n)) * 2.0 ** rng.integers(-12, 12, (k, n))
            a.reshape(-1)[:: m * k // 3] = np.inf
            seed = 3 if one.is_stochastic else None
            expected = lp.matmul(a, b, one, seed=seed)
            count = wrong(lp.matmul(a, b, one, seed=seed, backend="cuda"), expected)
            compared += expected.size
            if count:
                bad[name] = bad.get(name, 0) + count
    yield Line(f"matmul: bits of {compared:,} elements by {len(kinds)} units", str(bad or 0), "0 differ", not bad)


def seconds(call: Callable[[], Any], wait: Callable[[], Any], repetitions: int = 7) -> float:
    """Return the shortest time of a call, which is waited for."""
    call()
    wait()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def speed(cuda: Any) -> Iterator[Line]:
    """Measure what has to be fast."""
    rng = np.random.default_rng(3)
    size = 100_000_000
    x, out = cuda.to_device(rng.standard_normal(size, np.float32)), cuda.device_array(size, np.float32)
    copying = seconds(lambda: out.copy_to_device(x), cuda.synchronize)
    for fmt, mode in (("fp16", "ties_to_even"), ("bf16", "ties_to_even"), ("e4m3fn", "toward_zero")):
        rounding = seconds(lambda fmt=fmt, mode=mode: lp.round(x, fmt, mode), cuda.synchronize)
        share = copying / rounding
        demanded = mode == "ties_to_even"
        yield Line(
            f"round to {fmt}, {mode}, 10^8 numbers: {rounding / size * 1e9:.4f} ns each",
            f"{share:.2f} of a copy",
            "0.8" if demanded else "",
            share >= 0.8 if demanded else None,
        )
    n = 4096
    a, b = (cuda.to_device(rng.standard_normal((n, n), np.float32)) for _ in range(2))
    product = seconds(lambda: lp.matmul(a, b, "tf32"), cuda.synchronize)
    blas = sgemm(a, b, cuda)
    rate = f"tf32 unit, n = {n}: {2 * n**3 / product / 1e12:.1f} TFLOP/s"
    if blas is None:
        yield Line(rate, "no PyTorch, no CuPy", "0.5 of SGEMM", None)
    else:
        yield Line(rate, f"{blas / product:.2f} of SGEMM", "0.5 of SGEMM", blas / product >= 0.5)
    n = 1024
    host = [rng.standard_normal((n, n), np.float32) for _ in range(2)]
    device = [cuda.to_device(one) for one in host]
    for name, demand in (("fp16_fp16acc", True), ("bf16_bf16acc", False), ("h100.fp16", False)):
        on_cpu = seconds(lambda name=name: lp.matmul(*host, name), lambda: None, 3)
        on_gpu = seconds(lambda name=name: lp.matmul(*device, name), cuda.synchronize, 5)
        found = f"{on_cpu / on_gpu:.1f} times the CPU"
        yield Line(f"{name}, n = {n}: {2 * n**3 / on_gpu / 1e12:.2f} TFLOP/s", found, "20" if demand else "",
                   on_cpu / on_gpu >= 20 if demand else None)  # fmt: skip


def sgemm(a: Any, b: Any, cuda: Any) -> float | None:
    """Return the time of cuBLAS's product in FP32, without TF32; None: it cannot be reached."""
    try:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        left, right = (torch.as_tensor(one, device="cuda") for one in (a, b))
        return seconds(lambda: left @ right, torch.cuda.synchronize)
    except ImportError:
        pass
    try:
        import cupy

        first, second = cupy.asarray(a), cupy.asarray(b)
        return seconds(lambda: cupy.matmul(first, second), cupy.cuda.Device().synchronize)
    except ImportError:
        return None


def tensor_cores(rows: int) -> Iterator[Line]:
    """Compare the hardware's units with its tensor cores."""
    at_hand = tensor_core_witness.by_torch() or tensor_core_witness.by_cupy()
    if at_hand is None:
        yield Line("tensor cores", "no PyTorch, no CuPy", "", None)
        return
    name, multiply = at_hand
    hardware = tensor_core_witness.hardware_of(name)
    if hardware is None:
        yield Line(f"tensor cores of {name}", "lpsim has no units for it", "", None)
        return
    for unit, case, agree, total, note in tensor_core_witness.witness(multiply, hardware, rows, None):
        found = f"{total - agree:,} of {total:,} differ {note}"
        yield Line(f"{unit} on tensor cores, {case}", found, "0 differ" if total else "", agree == total or None)


def main() -> int:
    """Run all checks and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000_000, help="of each operation and mode")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each tensor core instruction")
    arguments = parser.parse_args()
    if not lpsim.cuda.is_available():
        print("no GPU that Numba can use: pip install 'lpsim[cuda]' on a machine with one")
        return 2
    from numba import cuda

    begun = time.perf_counter()
    print(f"{cuda.get_current_device().name.decode()}, lpsim {lp.__version__}", flush=True)
    failed = False
    for part in (speed(cuda), products(), tensor_cores(arguments.rows), elementwise(arguments.cases)):
        for line in part:
            verdict = {True: "met", False: "NOT MET", None: "-"}[line.met]
            failed |= line.met is False
            print(f"{line.what:66} | {line.found:44} | {line.demanded:12} | {verdict}", flush=True)
    print(f"{time.perf_counter() - begun:.0f} s")
    return int(failed)


if __name__ == "__main__":
    ending.run(main, "check_gpu")
