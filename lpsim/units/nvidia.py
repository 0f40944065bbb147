"""Tensor cores of NVIDIA's GPUs, instruction by instruction.

Every product is exact, all terms are truncated to the largest exponent's last kept bit, and the sum is rounded once
(`lpsim.FusedDot`). Block lengths, kept bits and zero exponents are those that two independent models state:
MMA-Sim (arXiv:2511.10909; package mmasim 2.1.1, ``nv_ptx/sim.py``) and Khattak and Mikaitis (arXiv:2512.07004;
repository MATLAB-tensor-core, ``models``). The latter publish outputs of real GPUs, which the units were run against.
"""

from __future__ import annotations

from collections.abc import Iterator

from lpsim.formats import (
    Format,
    bfloat16,
    float4_e2m1fn,
    float6_e2m3fn,
    float6_e3m2fn,
    float8_e4m3fn,
    float8_e5m2,
    float8_e8m0fnu,
    float16,
    float32,
)
from lpsim.formats import tf32 as tf32_format
from lpsim.rounding import Overflow, Rounding
from lpsim.units.dot import FusedDot
from lpsim.units.hardware import Hardware
from lpsim.units.unit import MatrixUnit

__all__ = ["a100", "ada", "b200", "h100", "rtx50", "t4", "v100"]

_SOURCE = "MMA-Sim (arXiv:2511.10909) and Khattak and Mikaitis (arXiv:2512.07004)"
_MODEL_ONLY = "MMA-Sim 2.1.1, on random bit patterns; not hardware"

#: The accumulator of FP8 units up to Hopper: binary32 with 13 of its 23 fraction bits.
_E8M13 = Format(8, 13, name="E8M13")

#: Scales of NVFP4.
_UE4M3 = Format(4, 3, specials="fn", signed=False, name="UE4M3")

_NAN32, _NAN16 = 0x7FFFFFFF, 0x7FFFE000


def _unit(
    fmt: Format,
    terms: int,
    fraction_bits: int,
    zero_exponent: int,
    verified: str,
    *,
    out: Format = float32,
    throughput: float | None = None,
    throughput_source: str | None = None,
) -> MatrixUnit:
    half = out == float16
    return MatrixUnit(
        fmt,
        # The instruction takes the leading 19 bits of a binary32 number (PTX ISA, wgmma: the lower 13 are truncated).
        input_rounding=Rounding.TOWARD_ZERO if fmt == tf32_format else Rounding.TIES_TO_EVEN,
        accumulator_format=out,
        rounding=Rounding.TIES_TO_EVEN if half else Rounding.TOWARD_ZERO,
        overflow=Overflow.TO_INFINITY,
        dot=FusedDot(terms, fraction_bits, zero_exponent),
        nan_bits=_NAN16 if half else _NAN32,
        source=_SOURCE,
        verified=verified,
        throughput=throughput,
        throughput_source=throughput_source,
    )


def _recorded(gpus: str) -> str:
    return f"outputs of {gpus} published with arXiv:2512.07004"


_V100 = "NVIDIA Tesla V100 GPU Architecture whitepaper, 2017, table 1"
v100 = Hardware(
    "v100",
    "NVIDIA Tesla V100 (Volta, sm_70)",
    [
        (
            "fp16",
            _unit(float16, 4, 23, -131, _recorded("a V100"), throughput=125 / 15.7, throughput_source=_V100),
        ),
        (
            "fp16_fp16",
            _unit(
                float16, 4, 23, -19, _recorded("a V100"), out=float16, throughput=125 / 15.7, throughput_source=_V100
            ),
        ),
    ],
)

_T4 = "NVIDIA T4 datasheet, 2018"
t4 = Hardware(
    "t4",
    "NVIDIA T4 (Turing, sm_75), m16n8k8 instructions",
    [
        ("fp16", _unit(float16, 8, 24, -132, _MODEL_ONLY, throughput=65 / 8.1, throughput_source=_T4)),
        ("fp16_fp16", _unit(float16, 8, 24, -20, _MODEL_ONLY, out=float16, throughput=65 / 8.1, throughput_source=_T4)),
    ],
)


def _sixteen_bits(
    fraction_bits: int, terms: int, verified: str, rates: tuple[float | None, float | None], source: str | None
) -> Iterator[tuple[str, MatrixUnit]]:
    """Yield the units with 16-bit and TF32 inputs; TF32 blocks are half as long."""
    zero = -108 - fraction_bits
    rate, tf32_rate = rates
    for name, fmt in (("fp16", float16), ("bf16", bfloat16)):
        yield (
            name,
            _unit(fmt, terms, fraction_bits, zero, verified, throughput=rate, throughput_source=source),
        )
    yield (
        "tf32",
        _unit(tf32_format, terms // 2, fraction_bits, zero, verified, throughput=tf32_rate, throughput_source=source),
    )
    yield (
        "fp16_fp16",
        _unit(
            float16, terms, fraction_bits, zero + 112, verified, out=float16, throughput=rate, throughput_source=source
        ),
    )


_A100 = "NVIDIA A100 Tensor Core GPU Architecture whitepaper, 2020, table 1"
a100 = Hardware(
    "a100",
    "NVIDIA A100, A30, A2, GeForce RTX 30 (Ampere, sm_80 and sm_86)",
    _sixteen_bits(24, 8, _recorded("an A100 and an A2"), (16, 8), _A100),
)

_FP8 = (("e4m3", float8_e4m3fn), ("e5m2", float8_e5m2))


def _fp8(
    terms: int, zero: int, verified: str, verified_half: str, rate: float, source: str
) -> Iterator[tuple[str, MatrixUnit]]:
    """Yield the FP8 units that keep 13 fraction bits."""
    for name, fmt in _FP8:
        yield (
            name,
            _unit(fmt, terms, 13, zero, verified, out=_E8M13, throughput=rate, throughput_source=source),
        )
        yield (
            f"{name}_fp16",
            _unit(fmt, terms, 13, zero + 112, verified_half, out=float16, throughput=rate, throughput_source=source),
        )


_L40S = "NVIDIA L40S datasheet, 2023: dense rates"
_ADA_RECORDED = _recorded("an RTX 4000 Ada and an L40S")
ada = Hardware(
    "ada",
    "NVIDIA L40S, RTX 4000 Ada, GeForce RTX 40 (Ada, sm_89)",
    [
        *_sixteen_bits(24, 8, _ADA_RECORDED, (362.05 / 91.6, 183 / 91.6), _L40S),
        *_fp8(16, -132, _ADA_RECORDED, _recorded("an RTX 4000 Ada"), 733 / 91.6, _L40S),
    ],
)


def _fp8_as_fp16(fraction_bits: int, verified: str, note: str) -> Iterator[tuple[str, MatrixUnit]]:
    """Yield FP8 units of mma.sync that run as two half-precision dots of 16 and an addition of c in the end.

    Which terms go to which dot shows in results with FP16 output only.
    """
    for name, fmt in _FP8:
        for out, suffix in ((float32, ""), (float16, "_fp16")):
            half = out == float16
            yield (
                f"{name}_mma{suffix}",
                MatrixUnit(
                    fmt,
                    accumulator_format=out,
                    rounding=Rounding.TIES_TO_EVEN if half else Rounding.TOWARD_ZERO,
                    overflow=Overflow.TO_INFINITY,
                    order="blocked(32)",
                    outer_rounding=Rounding.TIES_TO_EVEN,
                    dot=FusedDot(16, fraction_bits, (4 if half else -108) - fraction_bits, dealt=2),
                    nan_bits=_NAN16 if half else _NAN32,
                    source=f"{_SOURCE}; {note}",
                    verified=verified,
                ),
            )


_MMA_FP8 = "compiled to two half-precision instructions and an addition"
_H100 = "NVIDIA H100 Tensor Core GPU Architecture whitepaper, 2022, table 1 (SXM5, dense)"
_H100_RECORDED = _recorded("an H100 and an H200")
h100 = Hardware(
    "h100",
    "NVIDIA H100, H200 (Hopper, sm_90); FP8 by wgmma, with the suffix _mma by mma.sync",
    [
        *_sixteen_bits(25, 16, _H100_RECORDED, (989.4 / 66.9, 494.7 / 66.9), _H100),
        *_fp8(32, -133, _H100_RECORDED, _MODEL_ONLY, 1978.9 / 66.9, _H100),
        *_fp8_as_fp16(25, _recorded("an H100 and an H200 (FP16 output)"), _MMA_FP8),
    ],
)

_NARROW = (*_FP8, ("e2m3", float6_e2m3fn), ("e3m2", float6_e3m2fn), ("e2m1", float4_e2m1fn))
_MX_NAMES = {"e4m3": "mxfp8_e4m3", "e5m2": "mxfp8_e5m2", "e2m3": "mxfp6_e2m3", "e3m2": "mxfp6_e3m2", "e2m1": "mxfp4"}


def _scaled(
    fmt: Format, terms: int, group: int, fraction_bits: int, scale_format: Format, scale_block: int, rate: float | None
) -> MatrixUnit:
    return MatrixUnit(
        fmt,
        rounding=Rounding.TOWARD_ZERO,
        overflow=Overflow.TO_INFINITY,
        dot=FusedDot(terms, fraction_bits, -139 if group > 1 else -133, group=group),
        scale_format=scale_format,
        scale_block=scale_block,
        nan_bits=_NAN32,
        source=_SOURCE,
        verified=_MODEL_ONLY,
        throughput=rate,
        throughput_source=None if rate is None else _B200,
    )


_B200 = "NVIDIA Blackwell datasheet, HGX B200, a GPU: half of the rates with sparsity, which it states"


def _blackwell(datacenter: bool) -> Iterator[tuple[str, MatrixUnit]]:
    # TFLOP/s of HGX B200 with 16 bits, TF32, 8 and 6 bits, and 4 bits, over those with FP32.
    half, single, byte, four = (rate / 75 if datacenter else None for rate in (2250, 1100, 4500, 9000))
    source = _B200 if datacenter else None
    yield from _sixteen_bits(25, 16, _recorded("a B200") if datacenter else _MODEL_ONLY, (half, single), source)
    for name, fmt in _NARROW:
        for out, suffix in ((float32, ""), (float16, "_fp16")):
            zero = -21 if out == float16 else -133
            unit = _unit(fmt, 32, 25, zero, _MODEL_ONLY, out=out, throughput=byte, throughput_source=source)
            yield f"{name}{suffix}", unit
    if datacenter:
        yield from _fp8_as_fp16(25, _recorded("a B200"), _MMA_FP8)
    for name, fmt in _NARROW:
        if name != "e2m1":
            yield _MX_NAMES[name], _scaled(fmt, 32, 1, 25, float8_e8m0fnu, 32, byte)
    yield "mxfp4", _scaled(float4_e2m1fn, 64, 16, 35, float8_e8m0fnu, 32, four)
    yield "nvfp4", _scaled(float4_e2m1fn, 64, 16, 35, _UE4M3, 16, four)


b200 = Hardware(
    "b200",
    "NVIDIA B200 (Blackwell, sm_100); FP8 by tcgen05, with the suffix _mma by mma.sync; MX and NVFP4 with scales",
    _blackwell(True),
)
rtx50 = Hardware("rtx50", "NVIDIA GeForce RTX 50 (Blackwell, sm_120)", _blackwell(False))
