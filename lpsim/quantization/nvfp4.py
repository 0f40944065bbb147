"""NVFP4: blocks of 16 FP4 numbers with an FP8 scale, and a scale of the whole tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lpsim.checks import shown
from lpsim.codec import decode, encode
from lpsim.formats import float4_e2m1fn, float8_e4m3fn
from lpsim.quantization.block_codes import Elements, block_maxima, decode_blocks, encode_blocks, packed_width
from lpsim.quantization.blocks import check_blocks
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme
from lpsim.rounding import Rounding, as_rounding

__all__ = ["NVFP4", "nvfp4"]

#: The smallest normal number of E4M3, below which scales are not allowed to fall.
_SMALLEST = np.float32(2.0**-6)
_LARGEST = np.float32(448)

#: Tensor scales below this have reciprocals, times 2**6, that overflow.
_SMALLEST_TENSOR_SCALE = np.float32(2.0**-121)


@dataclass(frozen=True)
class NVFP4(Scheme):
    """NVFP4; see `nvfp4` for the rules.

    Attributes
    ----------
    two_level : bool
        Whether there is a scale of the whole tensor.
    rounding : Rounding
        How elements are rounded.
    seed : int, optional
        Seed of stochastic rounding.
    """

    block: ClassVar[int] = 16

    two_level: bool = True
    rounding: Rounding = Rounding.TIES_TO_EVEN
    seed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.two_level, bool):
            raise TypeError(f"two_level is {shown(self.two_level)}; allowed: True or False")
        object.__setattr__(self, "rounding", as_rounding(self.rounding))
        if self.rounding.is_stochastic and self.seed is None:
            raise ValueError("seed is None with a stochastic rounding; allowed: 0 to 2**64 - 1")

    @property
    def elements(self) -> Elements:
        """How elements are stored."""
        return Elements(float4_e2m1fn, False, self.rounding, self.seed)

    def check_shape(self, rows: int, n: int) -> None:
        """Refuse rows that are no whole blocks."""
        check_blocks(n, self.block)

    def layout(self, rows: int, n: int) -> Layout:
        """Return the dtype and shape of each part."""
        layout: dict[str, tuple[npt.DTypeLike, tuple[int, ...]]] = {
            "codes": (np.uint8, (rows, packed_width(n, float4_e2m1fn))),
            "scales": (np.uint8, (rows, n // self.block)),
        }
        if self.two_level:
            layout["tensor_scale"] = (np.float32, (1,))
        return layout

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the codes and scales of a matrix."""
        largest = block_maxima(x, self.block)
        wanted = largest / np.float32(6)
        parts: dict[str, npt.NDArray[Any]] = {}
        reciprocal = np.float32(1)
        if self.two_level:
            tensor_scale = np.max(largest, initial=np.float32(0)) / np.float32(448 * 6)
            if np.max(largest, initial=0) > 0 and tensor_scale < _SMALLEST_TENSOR_SCALE:
                raise ValueError(
                    f"x has magnitudes of up to {np.max(largest)}, too small for the tensor scale's reciprocal; "
                    f"allowed: 0 or {2688 * _SMALLEST_TENSOR_SCALE} and more"
                )
            parts["tensor_scale"] = np.array([tensor_scale], np.float32)
            if tensor_scale > 0:
                with np.errstate(under="ignore"):
                    wanted = wanted / tensor_scale
                reciprocal = np.float32(1) / tensor_scale
        codes = np.asarray(encode(np.clip(wanted, _SMALLEST, _LARGEST), float8_e4m3fn))
        factors = reciprocal / np.asarray(decode(codes, float8_e4m3fn))
        return {"codes": encode_blocks(x, factors, self.block, self.elements), "scales": codes, **parts}

    def tensor_scale(self, parts: Parts) -> np.float32:
        """Return the tensor's scale, 1 if there is none."""
        scale: np.float32 = parts["tensor_scale"][0] if self.two_level else np.float32(1)
        return scale

    def scale_values(self, parts: Parts) -> npt.NDArray[np.float32]:
        """Return the scales of blocks, without that of the tensor."""
        return np.asarray(decode(parts["scales"], float8_e4m3fn), np.float32)

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the values of codes and scales."""
        scales = self.tensor_scale(parts) * self.scale_values(parts)
        return decode_blocks(parts["codes"], scales, (rows, n), self.block, self.elements)

    def element_values(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the elements without their scales."""
        return decode_blocks(parts["codes"], None, (rows, n), self.block, self.elements)


def nvfp4(two_level: bool = True, rounding: Rounding | str = Rounding.TIES_TO_EVEN, seed: int | None = None) -> NVFP4:
    """Return NVFP4: E2M1 in blocks of 16 with an E4M3 scale, and a float32 scale of the tensor.

    Parameters
    ----------
    two_level : bool
        Whether there is a scale of the tensor.
    rounding : Rounding or str
        How elements are rounded; scales are rounded to nearest, ties to even.
    seed : int, optional
        Seed of stochastic modes, as for `lpsim.quantization.block_float`.

    Returns
    -------
    NVFP4

    Raises
    ------
    ValueError, TypeError
        If an argument names nothing or is out of range.

    Notes
    -----
    All operations are binary32's. The tensor's scale is t = amax / 2688, a block's scale s = E4M3(clamp(b / t, 2**-6,
    448)) with b = amax / 6 of the block, its elements E2M1(x * ((1 / t) / s)), saturating; without a scale of the
    tensor, t is 1. Values are element * (t * s). The even element of a pair is in the low half of a byte.

    Blocks of zeros have the scale 2**-6; a tensor of zeros has t = 0 as well. Axes must be multiples of 16. NaN and
    infinity are refused, and so is a tensor whose largest magnitude is below 2688 * 2**-121 but not 0.
    Source: torchao (36027d82), prototype/mx_formats/nvfp4_tensor.py.

    Examples
    --------
    >>> import lpsim as lp
    >>> quantized = lp.quantize([6, -3, 1.2, 0.3] * 4, lp.quantization.nvfp4(two_level=False))
    >>> quantized.dequantize()[:4].tolist(), quantized.scales.tolist(), quantized.bits_per_value
    ([6.0, -3.0, 1.0, 0.5], [[56]], 4.5)
    """
    return NVFP4(two_level, as_rounding(rounding), seed)
