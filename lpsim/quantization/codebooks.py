"""Codebooks: blocks of numbers relative to their largest magnitude, as the nearest entries of a table.

NF4, FP4 and the dynamic 8-bit map are those of bitsandbytes, in its arithmetic (float32) and order: blocks lie in the
flat array, whole ones are multiplied by the reciprocal of their largest magnitude, a short last one is divided by it,
and a number midway between two entries goes to the lower one. A block of zeros has scale 0 and comes back as zeros.
NaNs and infinities are refused, since one would spoil its block.

Sources: bitsandbytes 95f9af30, ``functional.py`` (tables), ``backends/default/ops.py`` and ``csrc/kernels.cu``
(quantisation); Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", NeurIPS 2023, arXiv:2305.14314;
Dettmers et al., "8-bit Optimizers via Block-wise Quantization", ICLR 2022, arXiv:2110.02861 (dynamic map).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_real
from lpsim.checks import check_length, shown
from lpsim.cpu.codebook import COMPARED, codebook_decode_kernel, codebook_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.parts import read_only
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme

__all__ = ["NF4_TABLE", "Codebook", "bnb_fp4", "codebook", "dynamic8", "dynamic_map", "nf", "nf4", "normal_map"]

#: The 16 values of NF4, quantiles of the normal distribution as binary32 numbers.
NF4_TABLE = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip

#: Magnitudes of bitsandbytes' FP4 by the lower three bits of the code, times 12. It is not the FP4 of OCP.
_FP4_TWELFTHS = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)

#: Between which ratios a magnitude takes which of them: the literals of bitsandbytes' kernel, as binary32 numbers.
_FP4_LIMITS = (0.00260417, 0.0859375, 0.20833333, 0.29166667, 0.4166667, 0.583333, 0.8333333)

#: Blocks that are worth a thread, times their size.
_GRAIN = 1 << 17

#: Block of the second quantisation.
_SCALES_BLOCK = 256


class _Kernel(NamedTuple):
    """What kernels take besides data: see `codebook_kernel`."""

    limits: npt.NDArray[np.float32]
    order: npt.NDArray[np.int32]
    by_magnitude: int
    sign_code: int
    compared: bool


@dataclass(frozen=True)
class Codebook(Scheme):
    """A table of values, and blocks with a scale each. Use the functions of this module to make one.

    Parameters
    ----------
    table : tuple of float
        Values by code, 2 to 256 of them, within -1 to 1.
    block : int
        Numbers that share a scale, even.
    double_quant : bool
        Whether the scales, less their mean, are quantised themselves: to the dynamic map in blocks of 256.
    limits : tuple of float, optional
        Which ratios separate the values in ascending order; or their magnitudes in a table whose second half repeats
        the first with the sign changed. Default: the middles.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    table: tuple[float, ...] = field(repr=False)
    block: int = 64
    double_quant: bool = False
    limits: tuple[float, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        table, limits = _numbers("table", self.table), _numbers("limits", self.limits)
        if not 2 <= table.size <= 256 or not np.all(np.abs(table) <= 1):
            raise ValueError(f"table is {shown(self.table)}; allowed: 2 to 256 numbers from -1 to 1")
        if not np.all(limits[:-1] <= limits[1:]):
            raise ValueError(f"limits is {shown(self.limits)}; allowed: numbers in ascending order")
        object.__setattr__(self, "table", tuple(map(float, table)))
        object.__setattr__(self, "limits", tuple(map(float, limits)))
        if len(self.limits) not in (0, table.size - 1, table.size // 2 - 1):
            raise ValueError(f"limits are {len(self.limits)} numbers; allowed: one fewer than table has, or half of it")
        if isinstance(self.block, bool) or not isinstance(self.block, (int, np.integer)):
            raise TypeError(f"block is {shown(self.block)}; allowed: an even integer of at least 2")
        if self.block < 2 or self.block % 2:
            raise ValueError(f"block is {shown(int(self.block))}; allowed: an even integer of at least 2")
        object.__setattr__(self, "block", int(self.block))
        check_length("block", self.block)

    @property
    def packed(self) -> bool:
        """Whether two codes share a byte, the first in the upper half: tables of at most 16 values."""
        return len(self.table) <= 16

    def layout(self, rows: int, n: int) -> Layout:
        """Return dtypes and shapes: blocks lie in the flat matrix."""
        size = rows * n
        blocks = -(-size // self.block)
        codes: Layout = {"codes": (np.uint8, (-(-size // 2) if self.packed else size,))}
        if not self.double_quant:
            return {**codes, "scales": (np.float32, (blocks,))}
        return {
            **codes,
            "scales": (np.uint8, (blocks,)),
            "scale_scales": (np.float32, (-(-blocks // _SCALES_BLOCK),)),
            "offset": (np.float32, (1,)),
        }

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the parts that `layout` names."""
        codes, scales = self._quantize(x.reshape(-1))
        if not self.double_quant:
            return {"codes": codes, "scales": scales}
        offset = np.float32(scales.mean(dtype=np.float64)) if scales.size else np.float32(0)
        second = dynamic8(_SCALES_BLOCK)
        coded, scale_scales = second._quantize(scales - offset)
        return {"codes": codes, "scales": coded, "scale_scales": scale_scales, "offset": np.array([offset])}

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the values of the codes times the scales, in float32."""
        scales = parts["scales"]
        if self.double_quant:
            second = dynamic8(_SCALES_BLOCK)
            scales = second._dequantize(scales, parts["scale_scales"], scales.size) + parts["offset"][0]
        return self._dequantize(parts["codes"], scales, rows * n).reshape(rows, n)

    def _quantize(self, x: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        flat = read_only(x, np.dtype(np.float32))
        blocks = -(-flat.size // self.block)
        codes = np.empty(-(-flat.size // 2) if self.packed else flat.size, np.uint8)
        scales = np.empty(blocks, np.float32)
        how = _kernel_of(self)
        kernel = codebook_kernel(compared=how.compared, packed=self.packed)
        limits, order = how.limits, how.order

        def run(start: int, stop: int) -> None:
            part = scales[start:stop]
            kernel(flat, limits, order, how.by_magnitude, how.sign_code, self.block, start, codes, part)

        map_ranges(run, blocks, smallest=_GRAIN / self.block)
        return codes, scales

    def _dequantize(
        self, codes: npt.NDArray[np.uint8], scales: npt.NDArray[np.float32], size: int
    ) -> npt.NDArray[np.float32]:
        out = np.empty(size, np.float32)
        table = np.zeros(256, np.float32)
        table[: len(self.table)] = self.table
        kernel = codebook_decode_kernel(packed=self.packed)
        codes, scales = read_only(codes, np.dtype(np.uint8)), read_only(scales, np.dtype(np.float32))

        def run(start: int, stop: int) -> None:
            kernel(codes, scales[start:stop], table, self.block, start, out)

        map_ranges(run, scales.size, smallest=_GRAIN / self.block)
        return out


def _numbers(argument: str, given: Any) -> npt.NDArray[np.float32]:
    """Return a sequence of real numbers in binary32."""
    array = as_real(given, argument).view(np.ndarray)
    if array.ndim != 1:
        raise ValueError(f"{argument} has shape {array.shape}; allowed: one axis")
    with np.errstate(all="ignore"):
        return array.astype(np.float32)


@functools.lru_cache(maxsize=64)
def _kernel_of(scheme: Codebook) -> _Kernel:
    table = np.asarray(scheme.table, np.float32)
    by_magnitude = 0 < len(scheme.limits) < table.size - 1
    half = table[: table.size // 2] if by_magnitude else table
    order = np.argsort(half, kind="stable")
    ascending = half[order]
    limits = (
        np.asarray(scheme.limits, np.float32) if scheme.limits else (ascending[:-1] + ascending[1:]) / np.float32(2)
    )
    compared = limits.size <= COMPARED
    if compared:
        limits = np.append(limits, np.full(COMPARED - limits.size, np.inf, np.float32))
    sign_code = table.size // 2 if by_magnitude else 0
    return _Kernel(limits, order.astype(np.int32), int(by_magnitude), sign_code, compared)


def normal_map(bits: int) -> tuple[float, ...]:
    """Return the ``2**bits`` values of a NormalFloat data type, ascending from -1 to 1, with a zero.

    Positive and negative values are quantiles of the normal distribution at equal distances, divided by the largest;
    there is one positive value more than there are negative ones.

    Parameters
    ----------
    bits : int
        2 to 8.

    Returns
    -------
    tuple of float
        For 4 bits, within 3e-7 of `NF4_TABLE`, which was made with another quantile function.

    Notes
    -----
    Source: QLoRA (arXiv:2305.14314), section 3, and bitsandbytes' ``create_normal_map``.

    Examples
    --------
    >>> from lpsim.quantization import normal_map
    >>> [round(value, 3) for value in normal_map(3)]
    [-1.0, -0.535, -0.247, 0.0, 0.183, 0.382, 0.623, 1.0]
    """
    _check_bits(bits)
    half = 1 << bits - 1
    # The mean of the largest quantiles of 2**bits - 1 and of 2**bits values.
    offset = 1 - (1 / (2 * (2 * half - 1)) + 1 / (4 * half)) / 2

    def quantiles(count: int) -> list[float]:
        return [NormalDist().inv_cdf(float(p)) for p in np.linspace(offset, 0.5, count + 1)[:-1]]

    values = np.array([*quantiles(half), 0.0, *(-value for value in quantiles(half - 1))])
    return tuple(map(float, np.sort(values / values.max()).astype(np.float32)))


@functools.cache
def dynamic_map() -> tuple[float, ...]:
    """Return the 256 values of the dynamic 8-bit data type, ascending from -0.99296875 to 1.

    Seven decades: in the decade ``10**(i - 6)`` there are ``2**i`` values of each sign, the means of neighbours among
    equally spaced numbers from 0.1 to 1; and 0 and 1.

    Returns
    -------
    tuple of float

    Notes
    -----
    Source: arXiv:2110.02861, section 1.3, and bitsandbytes' ``create_dynamic_map``.

    Examples
    --------
    >>> from lpsim.quantization import dynamic_map
    >>> dynamic_map()[127], dynamic_map()[255]
    (0.0, 1.0)
    """
    values = [0.0, 1.0]
    for i in range(7):
        edges = _spaced((1 << i) + 1)
        means = (edges[:-1] + edges[1:]) / np.float32(2) * np.float32(10.0 ** (i - 6))
        values += [sign * float(mean) for sign, mean in itertools.product((-1, 1), means)]
    return tuple(sorted(values))


def _spaced(count: int) -> npt.NDArray[np.float32]:
    """Return numbers from 0.1 to 1 as PyTorch spaces them: from either end, each step a fused multiply-add."""
    start, stop = np.float32(0.1), np.float32(1)
    step = float((stop - start) / np.float32(count - 1))
    # In binary64 these are exact, so that there is one rounding.
    from_start = [np.float32(float(start) + step * i) for i in range(count // 2)]
    to_stop = [np.float32(float(stop) - step * i) for i in reversed(range(count - count // 2))]
    return np.array(from_start + to_stop)


def nf4(block: int = 64, double_quant: bool = False) -> Codebook:
    """Return the 4-bit NormalFloat of QLoRA, as bitsandbytes does it.

    Parameters
    ----------
    block : int
        Numbers that share a scale, even; bitsandbytes has 32, 64, 128, ... 4096.
    double_quant : bool
        Whether the scales are quantised, too: 4.127 bits a number instead of 4.5 in blocks of 64.

    Returns
    -------
    Codebook

    Examples
    --------
    >>> import numpy as np
    >>> import lpsim as lp
    >>> quantized = lp.quantize(np.linspace(-2, 2, 64), lp.quantization.nf4())
    >>> quantized.codes.tobytes()[:8].hex(), float(quantized.scales[0])
    ('0000011111111222', 2.0)
    """
    return Codebook(NF4_TABLE, block, double_quant)


def nf(bits: int, block: int = 64, double_quant: bool = False) -> Codebook:
    """Return a NormalFloat of any width, from `normal_map`.

    Parameters
    ----------
    bits : int
        2 to 8. Codes of up to 4 bits take half a byte, others a byte.
    block, double_quant
        As for `nf4`.

    Returns
    -------
    Codebook

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.fake_quantize([0.1, -1.0, 0.7], lp.quantization.nf(2)).tolist()
    [0.0, -1.0, 0.4358181655406952]
    """
    return Codebook(normal_map(bits), block, double_quant)


def bnb_fp4(block: int = 64, double_quant: bool = False) -> Codebook:
    """Return bitsandbytes' 4-bit floating point, which is not OCP's FP4.

    Parameters
    ----------
    block, double_quant
        As for `nf4`.

    Returns
    -------
    Codebook

    Notes
    -----
    The limits are those of bitsandbytes' CUDA kernel. Its PyTorch code differs for negative numbers midway between
    two values, and for zeros.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.fake_quantize([0.1, -1.0, 0.7], lp.quantization.bnb_fp4()).tolist()
    [0.1666666716337204, -1.0, 0.6666666865348816]
    """
    magnitudes = [value / 12 for value in _FP4_TWELFTHS]
    return Codebook((*magnitudes, *(-value for value in magnitudes)), block, double_quant, _FP4_LIMITS)


def dynamic8(block: int = 4096) -> Codebook:
    """Return blockwise quantisation to the dynamic 8-bit data type of bitsandbytes.

    Parameters
    ----------
    block : int
        Numbers that share a scale, even.

    Returns
    -------
    Codebook

    Notes
    -----
    Each number takes the nearest value, as in bitsandbytes' CUDA kernels; its CPU library searches a coarser table and
    takes the neighbour of the nearest for about one number in 700.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.quantize([0.0, 1.0, -1.0], lp.quantization.dynamic8()).codes.tolist()
    [127, 255, 0]
    """
    return Codebook(dynamic_map(), block)


def codebook(table: Sequence[float], block: int = 64, double_quant: bool = False) -> Codebook:
    """Return a codebook of your own.

    Parameters
    ----------
    table : sequence of float
        Values by code, 2 to 256 of them, from -1 to 1 and all different. Up to 16 values: a code takes half a byte.
    block, double_quant
        As for `nf4`.

    Returns
    -------
    Codebook

    Raises
    ------
    ValueError
        If a value is out of range, or there twice.

    Examples
    --------
    >>> import lpsim as lp
    >>> ternary = lp.quantization.codebook([-1, 0, 1], block=2)
    >>> lp.fake_quantize([0.3, 4.0, -0.2, -0.3], ternary).tolist()
    [0.0, 4.0, -0.30000001192092896, -0.30000001192092896]
    """
    scheme = Codebook(table, block, double_quant)  # type: ignore[arg-type]  # it makes a tuple of it
    if len(set(scheme.table)) < len(scheme.table):
        raise ValueError("table has a value twice; allowed: different float32 numbers")
    return scheme


def _check_bits(bits: int) -> None:
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)):
        raise TypeError(f"bits is {shown(bits)}; allowed: an integer")
    if not 2 <= bits <= 8:
        raise ValueError(f"bits is {shown(int(bits))}; allowed: 2 to 8")
