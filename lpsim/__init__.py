"""Exact and fast simulation of low-precision floating-point arithmetic.

A *format* is a set of real numbers with a code for each, a *rounding* maps any real number to that set, an
*operation* is its exact result followed by one rounding, and a *matrix unit* is a way of chaining operations.
"""

import importlib
from typing import Any

from lpsim import jit, quantization, units
from lpsim.arithmetic import abs, add, div, fma, mul, neg, sqrt, sub
from lpsim.arrays import Array, Context, array
from lpsim.codec import decode, encode, pack, round, unpack
from lpsim.cpu.thread_count import get_num_threads, set_num_threads, threads
from lpsim.describe import Description, describe
from lpsim.formats import (
    Format,
    bfloat16,
    float4_e2m1fn,
    float6_e2m3fn,
    float6_e3m2fn,
    float8_e3m4,
    float8_e4m3,
    float8_e4m3b11fnuz,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float16,
    float32,
    float64,
    format,
    tf32,
)
from lpsim.limits import FloatInfo, finfo
from lpsim.linalg import matmul
from lpsim.p3109 import p3109
from lpsim.quantization import Quantized, fake_quantize, quantize
from lpsim.reductions import dot, sum
from lpsim.rounding import Flag, Overflow, Rounding
from lpsim.spacing import nextafter, ulp, ulp_distance, values
from lpsim.splitting import matmul_split
from lpsim.units import FusedDot, MatrixUnit

__version__ = "0.1.0"


#: Seldom needed modules, no part of what importing lpsim costs, and what the package exports of them.
_LAZY = {
    "cuda": "lpsim.cuda", "sweep": "lpsim.sweeps", "sweeps": "lpsim.sweeps", "testing": "lpsim.testing"
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module = importlib.import_module(_LAZY[name])
        return module if module.__name__ == f"lpsim.{name}" else getattr(module, name)
    raise AttributeError(f"module 'lpsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])


__all__ = [
    "Array",
    "Context",
    "Description",
    "Flag",
    "FloatInfo",
    "Format",
    "FusedDot",
    "MatrixUnit",
    "Overflow",
    "Quantized",
    "Rounding",
    "__version__",
    "abs",
    "add",
    "array",
    "bfloat16",
    "decode",
    "describe",
    "div",
    "dot",
    "encode",
    "fake_quantize",
    "finfo",
    "float4_e2m1fn",
    "float6_e2m3fn",
    "float6_e3m2fn",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float16",
    "float32",
    "float64",
    "fma",
    "format",
    "get_num_threads",
    "jit",
    "matmul",
    "matmul_split",
    "mul",
    "neg",
    "nextafter",
    "p3109",
    "pack",
    "quantization",
    "quantize",
    "round",
    "set_num_threads",
    "sqrt",
    "sub",
    "sum",
    "sweep",
    "tf32",
    "threads",
    "ulp",
    "ulp_distance",
    "units",
    "unpack",
    "values",
]
