"""INT8 weights of two tools: bitsandbytes' LLM.int8() and EETQ.

Sources: bitsandbytes 95f9af30, ``autograd/_functions.py``, ``backends/default/ops.py`` and ``csrc/kernels.cu``;
Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022, arXiv:2208.07339;
EETQ 465e9726, ``csrc/cutlass_kernels/cutlass_preprocessors.cc``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.arithmetic import mul
from lpsim.checks import check_choice, check_number, shown
from lpsim.codec import round as lp_round
from lpsim.cpu.affine import affine_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.formats import float16
from lpsim.linalg import matmul
from lpsim.parts import read_only
from lpsim.quantization.integer_products import integer_matmul
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme
from lpsim.rounding import Rounding
from lpsim.units import MatrixUnit

__all__ = ["EETQ", "Activations", "LLMInt8", "eetq", "llm_int8"]

_Numbers = npt.NDArray[np.float32]

_PER_127_SQUARED = np.float32(1 / 127**2)
_GRAIN = 1 << 18


def _integers(x: _Numbers, factor: _Numbers, divisor: _Numbers, low: int, mode: Rounding) -> npt.NDArray[np.int8]:
    """Return ``round(x * factor / divisor)`` by rows, kept within low to 127."""
    rows, n = x.shape
    codes = np.empty((rows, n), np.int8)
    zero = read_only(np.zeros((rows, 1), np.float32), np.dtype(np.float32))
    factor, divisor = (read_only(a.reshape(rows, 1), np.dtype(np.float32)) for a in (factor, divisor))
    x, kernel = read_only(x, np.dtype(np.float32)), affine_kernel(int(mode))
    least, most = np.float32(low), np.float32(127)

    def run(a: int, b: int) -> None:
        kernel(x[a:b], max(n, 1), zero[a:b], factor[a:b], divisor[a:b], zero[a:b], least, most, codes[a:b])

    map_ranges(run, rows, smallest=_GRAIN / max(n, 1))
    return codes


def _half(x: npt.NDArray[Any]) -> _Numbers:
    return np.asarray(lp_round(x, float16), np.float32)


class Activations(NamedTuple):
    """Activations as LLM.int8() splits them."""

    codes: npt.NDArray[np.int8]
    scales: _Numbers
    outliers: npt.NDArray[np.intp]  # columns
    half: _Numbers  # all of them, as float16 values


@dataclass(frozen=True)
class LLMInt8(Scheme):
    """INT8 weights of bitsandbytes, and products with outliers apart; see `llm_int8`."""

    threshold: float = 6.0

    def __post_init__(self) -> None:
        allowed = "0 (no outliers are taken apart) or more"
        check_number("threshold", self.threshold, allowed)
        if not self.threshold >= 0:
            raise ValueError(f"threshold is {shown(self.threshold)}; allowed: {allowed}")
        object.__setattr__(self, "threshold", float(self.threshold))

    def layout(self, rows: int, n: int) -> Layout:
        """Return dtypes and shapes: a scale for each row, which is its largest magnitude."""
        return {"codes": (np.int8, (rows, n)), "scales": (np.float32, (rows,))}

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the parts of a weight, of which no outliers are taken apart."""
        half = _finite_half(x, "x")
        codes, scales = _by_rows(half, half)
        return {"codes": codes, "scales": scales}

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return ``code * (scale / 127)``, in float32."""
        factors = np.asarray(parts["scales"], np.float32) * np.float32(1 / 127)
        values: RealMatrix = parts["codes"].astype(np.float32) * factors[:, None]
        return values

    def activations(self, a: RealMatrix) -> Activations:
        """Return activations as the tool splits them: outliers are columns in which one reaches the threshold."""
        half = _finite_half(a, "a")
        large = np.abs(half) >= np.float32(self.threshold) if self.threshold > 0 else np.zeros(half.shape, bool)
        outliers = np.flatnonzero(large.any(axis=0))
        # Small elements of outlier columns count for the rows' scales.
        small = np.where(large, np.float32(0), half)
        codes, scales = _by_rows(small, small)
        codes[:, outliers] = 0
        return Activations(codes, scales, outliers, half)

    def linear(
        self, a: RealMatrix, parts: Parts, rows: int, unit: MatrixUnit | str | None, bias: _Numbers | None
    ) -> _Numbers:
        """Return ``a @ weight.T`` as float16 values; the unit is that of the outliers' product."""
        codes, scales, outliers, half = self.activations(a)
        sums = integer_matmul(codes, parts["codes"].T).astype(np.float32)
        result = sums * (scales[:, None] * parts["scales"][None, :]) * _PER_127_SQUARED
        result = _half(result if bias is None else result + bias)
        if not outliers.size:
            return result
        columns = parts["codes"][:, outliers].astype(np.float32)
        weight = _half(columns * (np.asarray(parts["scales"], np.float32) * np.float32(1 / 127))[:, None])
        product = matmul(half[:, outliers], weight.T, "fp16" if unit is None else unit)
        return _half(result + np.asarray(product, np.float32))


def _by_rows(half: _Numbers, considered: _Numbers) -> tuple[npt.NDArray[np.int8], _Numbers]:
    scales = np.abs(considered).max(axis=1, initial=0)
    with np.errstate(divide="ignore", over="ignore"):
        factor = np.where(scales > 0, np.float32(127) / scales, np.float32(0))
    return _integers(half, factor, np.ones_like(scales), -127, Rounding.TIES_TO_EVEN), scales


def _finite_half(x: _Numbers, argument: str) -> _Numbers:
    half = _half(x)
    if not np.isfinite(half).all():
        index = tuple(map(int, np.argwhere(~np.isfinite(half))[0]))
        raise ValueError(
            f"{argument} is {x[index]} at row and column {index}, beyond float16; allowed: -65504 to 65504"
        )
    return half


def llm_int8(threshold: float = 6.0) -> LLMInt8:
    """Return LLM.int8(): INT8 weights and activations by rows, and float16 for the activations' outliers.

    `lpsim.quantize` takes a weight to float16, and each row times 127 over its largest magnitude to integers, ties to
    even. `lpsim.quantization.linear` does the same to activations, without the columns in which a magnitude reaches the
    threshold. The integers' sums, int32, times both scales over 127**2 are rounded to float16, then the outliers'
    product with the weight's dequantised columns is added and the sum rounded to float16.

    Parameters
    ----------
    threshold : float
        Magnitude from which an activation is an outlier; 0 for none. Transformers' default is 6, bitsandbytes' is 0.

    Returns
    -------
    LLMInt8

    Notes
    -----
    The constant 1 / 127**2 is exact to binary32; bitsandbytes has it with a relative error of 6.5e-8 in its CUDA kernel
    and of 1.8e-5 in its PyTorch code. A row of zeros has scale 0 and codes 0. Numbers beyond float16 are refused.

    Examples
    --------
    >>> import lpsim as lp
    >>> weight = lp.quantize([[1.0, -0.5]], lp.quantization.llm_int8())
    >>> weight.codes.tolist(), weight.scales.tolist()
    ([[127, -64]], [1.0])
    >>> lp.quantization.linear([[10.0, 1.0]], weight).tolist()
    [[9.5]]
    """
    return LLMInt8(threshold)


@dataclass(frozen=True)
class EETQ(Scheme):
    """INT8 weights of EETQ with float16 scales; see `eetq`."""

    accum: str = "fp32"

    def __post_init__(self) -> None:
        check_choice("accum", self.accum, ("fp32", "fp16"))

    def layout(self, rows: int, n: int) -> Layout:
        """Return dtypes and shapes: a scale for each row, an output channel."""
        return {"codes": (np.int8, (rows, n)), "scales": (np.float16, (rows,))}

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the parts of a weight."""
        scales = np.abs(x).max(axis=1, initial=0) / np.float32(128)
        codes = _integers(x, np.ones_like(scales), scales, -128, Rounding.TIES_TO_AWAY)
        codes[scales == 0] = 127  # 0 / 0, which the tool's minimum and maximum make 127; the scale is 0
        stored = _half(scales)
        if not np.isfinite(stored).all():
            row = int(np.flatnonzero(~np.isfinite(stored))[0])
            raise ValueError(f"x has a scale of {scales[row]} in row {row}, beyond float16; allowed: up to 65504")
        return {"codes": codes, "scales": stored.astype(np.float16)}

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return code times scale, rounded to float16 as the tool's kernels do."""
        scales = parts["scales"].astype(np.float32)[:, None]
        return np.asarray(mul(parts["codes"], scales, float16), np.float32)

    def linear(
        self, a: RealMatrix, parts: Parts, rows: int, unit: MatrixUnit | str | None, bias: _Numbers | None
    ) -> _Numbers:
        """Return ``a @ weight.T`` as float16 values."""
        weight = self.dequantize_matrix(parts, rows, a.shape[1])
        own = "fp16" if self.accum == "fp32" else "fp16_fp16acc"
        result = np.asarray(matmul(_half(a), weight.T, own if unit is None else unit), np.float32)
        return _half(result if bias is None else result + bias)


def eetq(accum: str = "fp32") -> EETQ:
    """Return EETQ: INT8 weights, a float16 scale for each output channel, float16 activations.

    The scale is the largest magnitude of a row over 128, not 127, so that the largest number becomes 127 if positive. A
    number is divided by the scale in float32 and rounded, ties away from zero; the scale is stored as float16.

    Parameters
    ----------
    accum : str
        How `lpsim.quantization.linear` sums: ``"fp32"``, as the tool's products of matrices, or ``"fp16"``, which
        rounds each product and sum, as its products with few rows do within a thread.

    Returns
    -------
    EETQ

    Notes
    -----
    A row of zeros has codes 127 and scale 0, and comes back as zeros.

    Examples
    --------
    >>> import lpsim as lp
    >>> weight = lp.quantize([[1.0, -1.0, 0.5]], lp.quantization.eetq())
    >>> weight.codes.tolist(), weight.dequantize().tolist()
    ([[127, -128, 64]], [[0.9921875, -1.0, 0.5]])
    """
    return EETQ(accum)
