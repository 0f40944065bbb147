"""The definition of lpsim's arithmetic: exact results and one rounding, on Python integers.

Every function is scalar, slow and short. An operation is computed in two steps: its exact result
(`exact_add` and its siblings), then one rounding (`round_exact`), so that one exact result can be
rounded in many ways. `matmul` chains these steps as a matrix unit does. The fast kernels are tested
against this package, bit for bit, and share nothing with it but the formats and the modes.
"""

from __future__ import annotations

from lpsim.reference.codes import decode, encode
from lpsim.reference.exact import (
    Exact,
    exact_add,
    exact_div,
    exact_fma,
    exact_mul,
    exact_sqrt,
    exact_sub,
    exact_value,
)
from lpsim.reference.matrix import MatrixUnitLike, matmul
from lpsim.reference.random import random_word
from lpsim.reference.rounded import add, div, fma, mul, round, round_exact, sqrt, sub

__all__ = [
    "Exact", "MatrixUnitLike", "add", "decode", "div", "encode", "exact_add", "exact_div", "exact_fma",
    "exact_mul", "exact_sqrt", "exact_sub", "exact_value", "fma", "matmul", "mul", "random_word",
    "round", "round_exact", "sqrt", "sub",
]  # fmt: skip
