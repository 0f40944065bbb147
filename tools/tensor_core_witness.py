"""Compare the tensor cores of the GPU at hand with lpsim's units for it, and record what they gave.

``python tools/tensor_core_witness.py [--rows 100000] [--folder recordings]`` multiplies rows of random, subnormal,
overflowing and cancelling numbers on tensor cores, through PyTorch or else CuPy (which share cuBLAS), prints how many
results agree with `lpsim.units`, bit for bit, and writes the rows as ``<gpu>_<input>.npz`` in the form that
``tests/test_recordings.py`` reads: ``a``, ``b`` (rows, terms), ``c``, ``d_fp32`` (rows), all bits of binary32 numbers.

Each row is the diagonal of a product of small matrices whose k is one block of the unit, so that the library has
one instruction to make of it; where it splits k or adds in another order, rows differ, which the table shows.
It exits with 0 where there is no GPU: nothing was contradicted.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import lpsim as lp
from lpsim.cli import ending
from lpsim.files import replacing

#: Hardware in `lpsim.units` by what the name of a GPU holds.
GPUS = {
    "V100": "v100", "T4": "t4", "A100": "a100", "A30": "a30", "A2": "a2", "RTX 30": "rtx30", "L40S": "l40s",
    "L4": "ada", "Ada": "ada", "RTX 40": "ada", "H100": "h100", "H200": "h200", "B200": "b200", "RTX 50": "rtx50",
}  # fmt: skip
INPUTS = ("tf32", "bf16", "fp16", "e4m3", "e5m2")
CASES = ("random", "subnormal", "overflow", "cancellation")
#: Rows and columns of the matrices whose diagonals are taken.
SIDE = 64

Product = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32], str], npt.NDArray[np.float32]]


def hardware_of(name: str) -> str | None:
    """Return the name in `lpsim.units` of a GPU's tensor cores."""
    return next((units for part, units in GPUS.items() if part in name), None)


def by_torch() -> tuple[str, Product] | None:
    """Return the name of PyTorch's GPU and its products of stacks of matrices; None: there is none."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    dtypes: dict[str, Any] = {
        "tf32": torch.float32,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
        "e4m3": getattr(torch, "float8_e4m3fn", None),
        "e5m2": getattr(torch, "float8_e5m2", None),
    }

    def multiply(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]:
        left, right = (torch.from_numpy(one).cuda().to(dtypes[kind]) for one in (a, b))
        if kind == "tf32":
            return np.asarray(torch.bmm(left, right).cpu().numpy())
        if kind in ("fp16", "bf16"):
            try:
                return np.asarray(torch.bmm(left, right, out_dtype=torch.float32).cpu().numpy())
            except TypeError:
                raise NotImplementedError("this PyTorch has no float32 results of 16-bit products") from None
        one = torch.ones((), device="cuda")
        results = [
            torch._scaled_mm(x, y.T.contiguous().T, one, one, out_dtype=torch.float32)
            for x, y in zip(left, right, strict=True)
        ]
        return np.asarray(torch.stack(results).cpu().numpy())

    return torch.cuda.get_device_name(), multiply


def by_cupy() -> tuple[str, Product] | None:
    """Return the same of CuPy, which has no tensor cores' float32 results but those of TF32."""
    try:
        cupy = importlib.import_module("cupy")
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except Exception:  # whatever keeps CuPy from a GPU
        return None
    cublas = importlib.import_module("cupy.cuda.cublas")
    device = importlib.import_module("cupy.cuda.device")

    def multiply(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]:
        if kind != "tf32":
            raise NotImplementedError("CuPy has no float32 results of products of other formats")
        cublas.setMathMode(device.get_cublas_handle(), cublas.CUBLAS_TF32_TENSOR_OP_MATH)
        try:
            return np.asarray(cupy.asnumpy(cupy.matmul(cupy.asarray(a), cupy.asarray(b))))
        finally:
            cublas.setMathMode(device.get_cublas_handle(), cublas.CUBLAS_DEFAULT_MATH)

    return name, multiply


def rows_of(case: str, unit: lp.MatrixUnit, rows: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return factors (rows, terms) of a case, values of the unit's input formats."""
    assert unit.dot is not None
    terms, fmt = unit.dot.terms, unit.a_format
    exponents: tuple[int, int] = {
        "random": (-3, 4),
        "subnormal": (max(fmt.quantum_exponent, -126) - 1, max(fmt.emin, -120) + 2),
        "overflow": (min(fmt.emax, 64) - 2, min(fmt.emax, 64) + 1),
        "cancellation": (-1, 2),
    }[case]

    def numbers() -> Any:
        x = rng.uniform(1, 2, (rows, terms)) * 2.0 ** rng.integers(*exponents, (rows, terms))
        x *= rng.choice([-1, 1], x.shape)
        # Whatever an instruction does with bits beyond the format, there are none.
        return lp.round(x, fmt, rounding="toward_zero", overflow="saturate").astype(np.float32)

    a, b = numbers(), numbers()
    if case == "cancellation":
        half = terms // 2
        a[:, half : 2 * half], b[:, half : 2 * half] = -a[:, :half], b[:, :half]
        b[:, -1] = lp.round(b[:, -1] * 0.75, fmt)
    return a, b


def run_rows(multiply: Product, a: Any, b: Any, kind: str) -> Any:
    """Return the results of rows, from the diagonals of products of `SIDE` rows and columns."""
    rows, terms = a.shape
    missing = -rows % SIDE
    a, b = (np.pad(one, ((0, missing), (0, 0))) for one in (a, b))
    left = a.reshape(-1, SIDE, terms)
    right = b.reshape(-1, SIDE, terms).swapaxes(-1, -2)
    full = multiply(np.ascontiguousarray(left), np.ascontiguousarray(right), kind)
    return np.einsum("bii->bi", full).reshape(-1)[:rows].astype(np.float32)


def same_bits(got: Any, expected: Any) -> Any:
    """Return where results are the same bits; all NaNs are one."""
    return (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))


def witness(multiply: Product, hardware: str, rows: int, folder: Path | None) -> list[tuple[str, str, int, int, str]]:
    """Return (unit, case, rows that agree, rows, note) for each unit of the hardware, and record the rows."""
    rng = np.random.default_rng(2024)
    units = lp.units.HARDWARE[hardware]
    found = []
    for kind in INPUTS:
        if kind not in units:
            continue
        unit = units[kind]
        recorded: dict[str, list[Any]] = {"a": [], "b": [], "d_fp32": []}
        for case in CASES:
            a, b = rows_of(case, unit, -(-rows // len(CASES)), rng)
            try:
                got = run_rows(multiply, a, b, kind)
            except (NotImplementedError, RuntimeError, AttributeError, TypeError) as error:
                found.append((str(unit), case, 0, 0, f"not run: {str(error).splitlines()[0]:.90}"))
                continue
            expected = lp.matmul(a[:, None, :], b[:, :, None], unit)[:, 0, 0]
            agree = same_bits(got, expected)
            note = ""
            if not agree.all():
                i = int(np.flatnonzero(~agree)[0])
                note = f"row {i}: GPU {got.view(np.uint32)[i]:#010x}, lpsim {expected.view(np.uint32)[i]:#010x}"
            found.append((str(unit), case, int(agree.sum()), len(agree), note))
            for key, value in (("a", a), ("b", b), ("d_fp32", got)):
                recorded[key].append(value.view(np.uint32))
        if folder is not None and recorded["a"]:
            folder.mkdir(parents=True, exist_ok=True)
            whole = {key: np.concatenate(parts) for key, parts in recorded.items()}
            with replacing(folder / f"{hardware}_{kind}.npz") as file:
                np.savez_compressed(file, **whole, c=np.zeros(len(whole["a"]), np.uint32))
    return found


def main() -> int:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows for each unit")
    parser.add_argument("--folder", type=Path, default=None, help="where to record rows; default: nowhere")
    arguments = parser.parse_args()
    at_hand = by_torch() or by_cupy()
    if at_hand is None:
        print("no GPU that PyTorch or CuPy can use: nothing was compared")
        return 0
    name, multiply = at_hand
    hardware = hardware_of(name)
    if hardware is None:
        print(f"{name}: lpsim has no units for it; it has those of {', '.join(GPUS)}")
        return 0
    print(f"{name}, as lpsim.units.{hardware}")
    found = witness(multiply, hardware, arguments.rows, arguments.folder)
    for unit, case, agree, total, note in found:
        print(f"{unit:16} {case:14} {agree:>9} of {total:>9}  {note}")
    return int(any(agree < total for _, _, agree, total, _ in found))


if __name__ == "__main__":
    ending.run(main, "tensor_core_witness")
