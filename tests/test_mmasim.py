"""Units of hardware against MMA-Sim (package mmasim, which needs torch), where it is installed, on random bits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    nvidia = pytest.importorskip("mmasim.nv_ptx.sim")
    amd = pytest.importorskip("mmasim.amd.sim")

pytestmark = pytest.mark.filterwarnings("ignore")

#: Unit, architecture, instruction.
INSTRUCTIONS = [
    ("v100.fp16", "Volta", "m8n8k4.f32.f16.f16.f32"),
    ("v100.fp16_fp16", "Volta", "m8n8k4.f16.f16.f16.f16"),
    ("t4.fp16", "Turing", "m16n8k8.f32.f16.f16.f32"),
    ("t4.fp16_fp16", "Turing", "m16n8k8.f16.f16.f16.f16"),
    ("a100.fp16", "Ampere", "m16n8k16.f32.f16.f16.f32"),
    ("a100.fp16_fp16", "Ampere", "m16n8k16.f16.f16.f16.f16"),
    ("a100.bf16", "Ampere", "m16n8k16.f32.bf16.bf16.f32"),
    ("a100.tf32", "Ampere", "m16n8k8.f32.tf32.tf32.f32"),
    ("ada.e4m3", "Ada Lovelace", "m16n8k32.f32.e4m3.e4m3.f32"),
    ("ada.e5m2", "Ada Lovelace", "m16n8k32.f32.e5m2.e5m2.f32"),
    ("ada.e4m3_fp16", "Ada Lovelace", "m16n8k32.f16.e4m3.e4m3.f16"),
    ("h100.fp16", "Hopper", "m16n8k16.f32.f16.f16.f32"),
    ("h100.fp16_fp16", "Hopper", "m16n8k16.f16.f16.f16.f16"),
    ("h100.bf16", "Hopper", "m16n8k16.f32.bf16.bf16.f32"),
    ("h100.tf32", "Hopper", "m16n8k8.f32.tf32.tf32.f32"),
    ("h100.e4m3", "Hopper", "m64n8k32.f32.e4m3.e4m3"),
    ("h100.e5m2_fp16", "Hopper", "m64n8k32.f16.e5m2.e5m2"),
    *((f"rtx50.{x}", "RTX Blackwell", f"m16n8k32.kind::f8f6f4.f32.{x}.{x}.f32") for x in ("e4m3", "e5m2", "e3m2")),
    *((f"rtx50.{x}", "RTX Blackwell", f"m16n8k32.kind::f8f6f4.f32.{x}.{x}.f32") for x in ("e2m3", "e2m1")),
    ("mi100.fp16", "CDNA1", "f32_32x32x8f16"),
    ("mi100.bf16", "CDNA1", "f32_32x32x4bf16"),
    ("mi200.fp16", "CDNA2", "f32_32x32x8f16"),
    ("mi200.bf16", "CDNA2", "f32_32x32x4bf16"),
    ("mi200.bf16_1k", "CDNA2", "f32_32x32x8bf16_1k"),
    ("mi300.fp16", "CDNA3", "f32_16x16x16_f16"),
    ("mi300.bf16", "CDNA3", "f32_16x16x16_bf16"),
    ("mi300.xf32", "CDNA3", "f32_16x16x8_xf32"),
    ("mi300.e4m3", "CDNA3", "f32_16x16x32_fp8_fp8"),
    ("mi300.e5m2", "CDNA3", "f32_16x16x32_bf8_bf8"),
]  # fmt: skip

SCALED = [
    *((f"rtx50.mxfp8_{x}", f"m16n8k32.kind::mxf8f6f4.block32.f32.{x}.{x}.f32.ue8m0") for x in ("e4m3", "e5m2")),
    *((f"rtx50.mxfp6_{x}", f"m16n8k32.kind::mxf8f6f4.block32.f32.{x}.{x}.f32.ue8m0") for x in ("e2m3", "e3m2")),
    ("rtx50.mxfp4", "m16n8k64.kind::mxf4.block32.f32.e2m1.e2m1.f32.ue8m0"),
    ("rtx50.nvfp4", "m16n8k64.kind::mxf4nvf4.block16.f32.e2m1.e2m1.f32.ue4m3"),
]


def operation(architecture: str, name: str) -> Any:
    if architecture.startswith("CDNA"):
        return amd.MFMA(architecture, name)
    return (nvidia.WGMMA if name.startswith("m64") else nvidia.MMA)(architecture, name)


def tensor(codes: Any, fmt: lp.Format, dtype: Any) -> Any:
    """Return codes as MMA-Sim takes them."""
    if dtype == torch.float32:
        return torch.from_numpy(np.asarray(lp.decode(codes, fmt), np.float32))
    if fmt == lp.float4_e2m1fn:
        return torch.from_numpy(codes << 2)
    bits = torch.from_numpy(codes.view(f"i{codes.itemsize}" if codes.itemsize > 1 else "u1"))
    return bits if dtype == torch.uint8 else bits.view(dtype)


def draw(rng: np.random.Generator, fmt: lp.Format, shape: tuple[int, int], any_bits: bool) -> Any:
    if any_bits:
        codes = rng.integers(0, 1 << fmt.bits, shape).astype(fmt.code_dtype)
        # MMA-Sim loses NaN accumulators of CDNA 3's FP8 units.
        if fmt in (lp.float8_e5m2fnuz, lp.float8_e4m3fnuz):
            codes[codes == fmt.nan_code] = 0
        return codes
    numbers = rng.standard_normal(shape) * np.exp2(rng.integers(-3, 4, shape))
    return np.asarray(lp.encode(numbers, fmt, overflow="saturate"))


def compare(got: Any, expected: Any) -> None:
    # Neither the sign of zero nor a NaN's payload is MMA-Sim's concern on every architecture.
    assert_same(got + np.float32(0), expected + np.float32(0), list(np.ndindex(got.shape)))


@pytest.mark.parametrize(("name", "architecture", "instruction"), INSTRUCTIONS)
def test_instructions(name: str, architecture: str, instruction: str) -> None:
    unit, op = lp.units.get(name), operation(architecture, instruction)
    half = unit.accumulator_format == lp.float16
    c_format = lp.float16 if half else lp.float32
    rng = np.random.default_rng(list(name.encode()))
    for case in range(20):
        a = draw(rng, unit.a_format, (op.m, op.k), case % 2 == 1)
        b = draw(rng, unit.b_format, (op.k, op.n), case % 2 == 1)
        c = draw(rng, c_format, (op.m, op.n), case % 2 == 1) * np.uint8(case % 5 > 0)
        c = c.astype(c_format.code_dtype)
        if name in ("mi300.e4m3", "mi300.e5m2"):
            c[np.isnan(lp.decode(c, c_format))] = 0
        expected = op(
            tensor(a, unit.a_format, op.a_type), tensor(b, unit.b_format, op.b_type),
            tensor(c, c_format, torch.float16 if half else torch.float32),
        )  # fmt: skip
        got = lp.matmul(lp.decode(a, unit.a_format), lp.decode(b, unit.b_format), unit, c=lp.decode(c, c_format))
        compare(got, expected.float().numpy())


@pytest.mark.parametrize(("name", "instruction"), SCALED)
def test_scaled_instructions(name: str, instruction: str) -> None:
    unit, op = lp.units.get(name), nvidia.MMABlockScale("RTX Blackwell", instruction)
    rng = np.random.default_rng(list(name.encode()))
    blocks = op.k // unit.scale_block
    for case in range(20):
        a, b = draw(rng, unit.a_format, (op.m, op.k), True), draw(rng, unit.b_format, (op.k, op.n), True)
        c = rng.standard_normal((op.m, op.n)).astype(np.float32) * np.float32(2.0 ** rng.integers(-8, 12))
        near_one = unit.scale_format == lp.float8_e8m0fnu and case % 3 > 0
        low, high = (100, 150) if near_one else (0, 1 << unit.scale_format.bits)
        p, q = (rng.integers(low, high, shape).astype(np.uint8) for shape in ((op.m, blocks), (op.n, blocks)))
        rows, columns = a, np.ascontiguousarray(b.T)
        if op.k == 64:  # two codes in a byte
            left, right = ((x[:, 0::2] << 4) | x[:, 1::2] for x in (rows, columns))
            left, right = torch.from_numpy(left), torch.from_numpy(right)
        else:
            left, right = tensor(rows, unit.a_format, op.a_type), tensor(columns, unit.b_format, op.b_type)
        scales = [torch.from_numpy(x).view(op.s_type) for x in (p, q)]
        expected = op.arithmetic_op.dpa(
            left[:, None].expand(-1, op.n, -1), right[None].expand(op.m, -1, -1), torch.from_numpy(c),
            scales[0][:, None].expand(-1, op.n, -1), scales[1][None].expand(op.m, -1, -1),
        )  # fmt: skip
        got = lp.matmul(
            lp.decode(a, unit.a_format), lp.decode(b, unit.b_format), unit, c=c,
            a_scale=lp.decode(p, unit.scale_format), b_scale=lp.decode(np.ascontiguousarray(q.T), unit.scale_format),
        )  # fmt: skip
        compare(got, expected.numpy())
