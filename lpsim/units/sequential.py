"""Units that multiply and add one term after the other: a definition, not a chip's behaviour."""

from __future__ import annotations

from lpsim.formats import bfloat16, float8_e4m3fn, float8_e5m2, float16, float32
from lpsim.formats import tf32 as _tf32_format
from lpsim.units.unit import MatrixUnit

__all__ = ["bf16", "bf16_bf16acc", "fp8_e4m3", "fp8_e5m2", "fp16", "fp16_fp16acc", "fp32", "tf32"]

_TENSOR_CORES = (
    "NVIDIA, A100 Tensor Core GPU Architecture whitepaper, 2020: these inputs, FP32 accumulation; the order of "
    "summation and the rounding of each step are this library's definition"
)

fp32 = MatrixUnit(float32, name="fp32", source="IEEE 754-2019 binary32 fused multiply-adds")
tf32 = MatrixUnit(_tf32_format, name="tf32", source=_TENSOR_CORES)
bf16 = MatrixUnit(bfloat16, name="bf16", source=_TENSOR_CORES)
fp16 = MatrixUnit(float16, name="fp16", source=_TENSOR_CORES)
fp8_e4m3 = MatrixUnit(float8_e4m3fn, name="fp8_e4m3", source="OCP OFP8 1.0, 2023: inputs in E4M3; FP32 accumulation")
fp8_e5m2 = MatrixUnit(float8_e5m2, name="fp8_e5m2", source="OCP OFP8 1.0, 2023: inputs in E5M2; FP32 accumulation")
fp16_fp16acc = MatrixUnit(
    float16,
    product_format=float16,
    accumulator_format=float16,
    name="fp16_fp16acc",
    source="IEEE 754-2019 binary16 multiplications and additions, each rounded",
)
bf16_bf16acc = MatrixUnit(
    bfloat16,
    product_format=bfloat16,
    accumulator_format=bfloat16,
    name="bf16_bf16acc",
    source="bfloat16 multiplications and additions, each rounded",
)
