"""Outputs that were recorded on real GPUs, bit for bit.

Recorded by Khattak and Mikaitis and published with arXiv:2512.07004 (repository
north-numerical-computing/MATLAB-tensor-core, folder model_validation; BSD 2-Clause). A few rows are here as facts.
Whole archives are run where LPSIM_RECORDINGS names a folder with them: NumPy archives ``<gpu>_<input>.npz`` of ``a``
and ``b`` (rows, terms), ``c``, ``d_fp32`` and ``d_fp16`` (rows), all bits of binary32 numbers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpsim as lp
from lpsim import reference

#: Bits of a, b and c, and of the results by the suffix of the unit that gives them. Each row is one that a sum of
#: the exact products, rounded once to nearest, misses.
ROWS: dict[str, tuple[list[int], list[int], int, dict[str, int]]] = {
    "v100.fp16": (
        [0xBF0C6000, 0xBF976000, 0x3EE2C000, 0x3FF56000],
        [0xBEE90000, 0xBFA62000, 0x3F710000, 0x3F270000],
        0x3EAB6396,
        {"": 0x407257B2, "_fp16": 0x40726000},
    ),
    "a100.fp16": (
        [0xC03C2000, 0x3F17E000, 0x3D474000, 0x4029E000, 0xBF516000, 0x3F402000, 0xBF13E000, 0x3FC80000],
        [0x3F992000, 0xBF2D0000, 0xBC020000, 0xBF9F0000, 0x3D77A000, 0x3F61E000, 0xBC86C000, 0xBFAF8000],
        0x3F0C006D,
        {"": 0xC103026D, "_fp16": 0xC1030000},
    ),
    "a100.bf16": (
        [0xBF0C0000, 0xBF970000, 0x3EE20000, 0x3FF50000, 0xBF9B0000, 0xBDBF0000, 0xBEED0000, 0x3DF90000],
        [0xBEE90000, 0xBFA60000, 0x3F710000, 0x3F270000, 0xBECE0000, 0xBDAD0000, 0xBEAF0000, 0xBC1D0000],
        0x3EE844B9,
        {"": 0x40918F41},
    ),
    "a100.tf32": (
        [0xBDC52000, 0x3FA08000, 0xBF280000, 0x3F572000],
        [0x3DD70000, 0xBF9D0000, 0x3F52A000, 0x3F868000],
        0x3F418C50,
        {"": 0xBEE5E08E},
    ),
    "ada.e4m3": (
        [
            0x3F700000,
            0x3F800000,
            0xBEA00000,
            0x3FB00000,
            0xBF300000,
            0x3EA00000,
            0x3F800000,
            0x3FE00000,
            0x3F600000,
            0x3F500000,
            0xBF800000,
            0x3EB00000,
            0x3CF00000,
            0x3E900000,
            0x3F800000,
            0x3F500000,
            0xBF800000,
            0x3F700000,
            0x3BC00000,
            0xBFA00000,
            0xBEE00000,
            0xBE600000,
            0x3FA00000,
            0x3FD00000,
            0xBD200000,
            0x3E600000,
            0xBF000000,
            0xBEF00000,
            0xBF300000,
            0x3F300000,
            0x40200000,
            0x3ED00000,
        ],
        [
            0x3F100000,
            0xBF200000,
            0x3ED00000,
            0x3E900000,
            0xBFF00000,
            0x3EF00000,
            0xBFC00000,
            0xBF900000,
            0x3DB00000,
            0xBF300000,
            0xBF500000,
            0x40000000,
            0xBC600000,
            0x40100000,
            0x3E100000,
            0xBEA00000,
            0xBF700000,
            0x3FF00000,
            0xBF200000,
            0x3F100000,
            0xBED00000,
            0xBDD00000,
            0xBF800000,
            0x3FA00000,
            0x3FD00000,
            0x3FB00000,
            0xBDB00000,
            0xBC400000,
            0xBFC00000,
            0xBEC00000,
            0x3D200000,
            0xBBC00000,
        ],
        0x3E93CA5A,
        {"": 0x40827800, "_fp16": 0x40828000},
    ),
    "h100.fp16": (
        [
            0xBE87E000,
            0x3E40C000,
            0xBF244000,
            0xBC9F2000,
            0x3E2D6000,
            0xBF3CE000,
            0x3F4FE000,
            0xBEAC6000,
            0x3E928000,
            0x3DA3A000,
            0x3EACE000,
            0xBF436000,
            0x3FC0E000,
            0xBEAFE000,
            0xBFD48000,
            0x3EFC2000,
        ],
        [
            0x3F852000,
            0x3F36A000,
            0x3F702000,
            0xBD766000,
            0x3E8F2000,
            0xBF674000,
            0xBE408000,
            0x3F958000,
            0xBF1BA000,
            0xBFA3C000,
            0x3EE2A000,
            0x3CDD6000,
            0x40016000,
            0x3F96C000,
            0xBF390000,
            0xC019E000,
        ],
        0x3F70E1EE,
        {"": 0x40381776, "_fp16": 0x40382000},
    ),
    "h100.e4m3": (
        [
            0x3F700000,
            0x3F800000,
            0xBEA00000,
            0x3FB00000,
            0xBF300000,
            0x3EA00000,
            0x3F800000,
            0x3FE00000,
            0x3F600000,
            0x3F500000,
            0xBF800000,
            0x3EB00000,
            0x3CF00000,
            0x3E900000,
            0x3F800000,
            0x3F500000,
            0xBF800000,
            0x3F700000,
            0x3BC00000,
            0xBFA00000,
            0xBEE00000,
            0xBE600000,
            0x3FA00000,
            0x3FD00000,
            0xBD200000,
            0x3E600000,
            0xBF000000,
            0xBEF00000,
            0xBF300000,
            0x3F300000,
            0x40200000,
            0x3ED00000,
        ],
        [
            0x3F100000,
            0xBF200000,
            0x3ED00000,
            0x3E900000,
            0xBFF00000,
            0x3EF00000,
            0xBFC00000,
            0xBF900000,
            0x3DB00000,
            0xBF300000,
            0xBF500000,
            0x40000000,
            0xBC600000,
            0x40100000,
            0x3E100000,
            0xBEA00000,
            0xBF700000,
            0x3FF00000,
            0xBF200000,
            0x3F100000,
            0xBED00000,
            0xBDD00000,
            0xBF800000,
            0x3FA00000,
            0x3FD00000,
            0x3FB00000,
            0xBDB00000,
            0xBC400000,
            0xBFC00000,
            0xBEC00000,
            0x3D200000,
            0xBBC00000,
        ],
        0x00000000,
        {"": 0x40727C00},
    ),
}


def floats(bits: Any) -> Any:
    return np.asarray(bits, np.uint32).view(np.float32)


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    a, b, c, results = ROWS[name]
    exact = floats(a).astype(float) @ floats(b).astype(float) + float(floats(c))
    assert np.float32(exact).view(np.uint32) != results[""]
    for suffix, bits in results.items():
        unit = lp.units.get(name + suffix)
        assert np.float32(lp.matmul(floats(a), floats(b), unit, c=floats(c))).view(np.uint32) == bits
        by_reference = reference.matmul(floats([a]), floats([b]).T, unit, floats([[c]]))
        assert by_reference.astype(np.float32).view(np.uint32)[0, 0] == bits


def archives() -> list[Path]:
    folder = os.environ.get("LPSIM_RECORDINGS")
    return sorted(Path(folder).glob("*.npz")) if folder else []


@pytest.mark.skipif(not archives(), reason="LPSIM_RECORDINGS names no folder with archives")
@pytest.mark.parametrize("path", archives(), ids=lambda path: path.stem)
def test_archives(path: Path) -> None:
    rows = np.load(path)
    gpu, _, name = path.stem.partition("_")
    a, b, c = (floats(rows[key]) for key in "abc")
    hopper_fp8 = gpu in ("h100", "h200") and name in ("e4m3", "e5m2")
    for key, suffix in (("d_fp32", ""), ("d_fp16", "_fp16")):
        if key not in rows:
            continue
        # FP8 by wgmma was recorded with c = 0; everything else of FP8 since Hopper by mma.sync.
        wgmma = hopper_fp8 and not suffix
        by_mma = name in ("e4m3", "e5m2") and (gpu == "b200" or (hopper_fp8 and bool(suffix)))
        unit = lp.units.get(f"{gpu}.{name}{'_mma' * by_mma}{suffix}")
        start = np.zeros_like(c) if wgmma else c
        got = lp.matmul(a[:, None, :], b[:, :, None], unit, c=start[:, None, None])[:, 0, 0]
        wrong = np.flatnonzero(got.view(np.uint32) != rows[key])
        assert wrong.size == 0, f"{unit}: rows {wrong[:5]} of {len(wrong)}"
