"""Matrix instructions of processors: Intel AMX and Arm, whose results their manuals define."""

from __future__ import annotations

from lpsim.formats import bfloat16, float16, float32
from lpsim.formats import tf32 as tf32_format
from lpsim.rounding import Overflow, Rounding
from lpsim.units.dot import FusedDot
from lpsim.units.hardware import Hardware
from lpsim.units.unit import MatrixUnit

__all__ = ["amx", "arm"]

_AMX = "Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: {}"
_TEXT = "the manual's pseudo-code; not compared with hardware"

amx = Hardware(
    "amx",
    "Intel AMX: per tile instruction of 64 bytes, two chains of fused multiply-adds (TF32: one), c added last",
    [
        (
            "bf16",
            MatrixUnit(
                bfloat16,
                order="blocked(32, interleaved(2))",
                flush_inputs="signed",
                flush_results="after",
                source=_AMX.format("TDPBF16PS"),
                verified=_TEXT,
            ),
        ),
        (
            "fp16",
            MatrixUnit(
                float16,
                order="blocked(32, interleaved(2))",
                flush_inputs="signed_c",  # C is binary32, whose subnormal numbers count as zeros; half's do not
                flush_results="after",
                source=_AMX.format("TDPFP16PS"),
                verified=_TEXT,
            ),
        ),
        (
            "tf32",
            MatrixUnit(
                tf32_format,
                input_rounding=Rounding.TOWARD_ZERO,
                order="blocked(16)",
                flush_results="after",
                source="Intel Architecture Instruction Set Extensions Programming Reference: TMMULTF32PS",
                verified=_TEXT,
            ),
        ),
    ],
)

_ARM = "Arm Architecture Reference Manual for A-profile, {}; FPCR.EBF = {}"


def _odd(instruction: str) -> MatrixUnit:
    return MatrixUnit(
        bfloat16,
        product_format=float32,
        rounding=Rounding.TO_ODD,
        overflow=Overflow.TO_INFINITY,
        order="blocked(2, pairwise)",
        flush_inputs="signed",
        flush_results="before",
        source=_ARM.format(instruction, 0),
        verified=_TEXT,
    )


def _extended(instruction: str) -> MatrixUnit:
    return MatrixUnit(bfloat16, order="blocked(2)", dot=FusedDot(2), source=_ARM.format(instruction, 1), verified=_TEXT)


# BFMMLA's four products are two steps of BFDOT, so that the results of a row of products are the same.
arm = Hardware(
    "arm",
    "Arm BFDOT, BFMMLA (rounded to odd; with the suffix _ebf by FEAT_EBF16, ties to even) and BFMLAL",
    [
        ("bfdot", _odd("BFDOT")),
        ("bfmmla", _odd("BFMMLA")),
        ("bfdot_ebf", _extended("BFDOT")),
        ("bfmmla_ebf", _extended("BFMMLA")),
        ("bfmlal", MatrixUnit(bfloat16, source=_ARM.format("BFMLALB and BFMLALT", "any"), verified=_TEXT)),
    ],
)
