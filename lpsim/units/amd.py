"""Matrix cores of AMD's Instinct GPUs.

The algorithms of MMA-Sim (arXiv:2511.10909; package mmasim 2.1.1, ``amd/sim.py``), with which the models of
Khattak and Mikaitis (arXiv:2512.07004) agree. No recorded outputs were at hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from lpsim.formats import bfloat16, float8_e4m3fnuz, float8_e5m2fnuz, float16, float32, float64
from lpsim.formats import tf32 as tf32_format
from lpsim.rounding import Rounding
from lpsim.units.dot import FusedDot
from lpsim.units.hardware import Hardware
from lpsim.units.unit import MatrixUnit

__all__ = ["mi100", "mi200", "mi300"]

_SOURCE = "MMA-Sim (arXiv:2511.10909), amd/sim.py"
_VERIFIED = "MMA-Sim 2.1.1, on random bit patterns; not hardware"


def _sequential() -> Iterator[tuple[str, MatrixUnit]]:
    verified = "the text of MMA-Sim; not hardware"
    yield "fp32", MatrixUnit(float32, source=_SOURCE, verified=verified)
    yield "fp64", MatrixUnit(float64, accumulator_format=float64, source=_SOURCE, verified=verified)


_MI100 = "AMD Instinct MI100 brochure, 2020: peak rates by matrix cores and FP32 by vectors"
mi100 = Hardware(
    "mi100",
    "AMD Instinct MI100 (CDNA 1): exact sums of four (bfloat16: two) products and c",
    [
        (
            name,
            MatrixUnit(
                fmt,
                dot=FusedDot(terms),
                source=_SOURCE,
                verified=_VERIFIED,
                throughput=rate / 23.1,
                throughput_source=_MI100,
            ),
        )
        for name, fmt, terms, rate in (("fp16", float16, 4, 184.6), ("bf16", bfloat16, 2, 92.3))
    ]
    + list(_sequential()),
)

_MI200 = "AMD Instinct MI250X datasheet, 2021: peak rates by matrix cores and FP32 by vectors"
mi200 = Hardware(
    "mi200",
    "AMD Instinct MI210, MI250 (CDNA 2): binary32 products in pairwise sums of four (bf16: two), no subnormal numbers",
    [
        (
            name,
            MatrixUnit(
                fmt,
                product_format=float32,
                order=f"blocked({terms}, pairwise)",
                flush_inputs="positive",
                flush_results="rounded",
                source=_SOURCE,
                verified=_VERIFIED,
                throughput=rate / 47.9,
                throughput_source=_MI200,
            ),
        )
        for name, fmt, terms, rate in (
            ("fp16", float16, 4, 383.0),
            ("bf16", bfloat16, 2, 191.5),
            ("bf16_1k", bfloat16, 4, 383.0),
        )
    ]
    + list(_sequential()),
)

_MI300 = "AMD Instinct MI300X datasheet, 2023: peak dense rates by matrix cores and FP32 by vectors"
mi300 = Hardware(
    "mi300",
    "AMD Instinct MI300 (CDNA 3): aligned sums of eight (xf32: four, FP8: sixteen) products, joined by c",
    [
        (
            name,
            MatrixUnit(
                fmt,
                input_rounding=Rounding.TOWARD_ZERO if fmt == tf32_format else Rounding.TIES_TO_EVEN,
                dot=FusedDot(terms, 24, -999, alignment="cdna3_split" if terms == 16 else "cdna3"),
                source=_SOURCE,
                verified=_VERIFIED,
                throughput=rate / 163.4,
                throughput_source=_MI300,
            ),
        )
        for name, fmt, terms, rate in (
            ("fp16", float16, 8, 1307.4),
            ("bf16", bfloat16, 8, 1307.4),
            ("xf32", tf32_format, 4, 653.7),
            ("e4m3", float8_e4m3fnuz, 16, 2614.9),
            ("e5m2", float8_e5m2fnuz, 16, 2614.9),
        )
    ]
    + list(_sequential()),
)
