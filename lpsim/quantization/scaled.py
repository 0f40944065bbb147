"""Floating point with scales: a narrow format and a float32 scale for a tensor, a channel or a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_seed
from lpsim.checks import check_choice, shown
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.quantization.block_codes import Elements, block_maxima, decode_blocks, encode_blocks, packed_width
from lpsim.quantization.blocks import check_block, check_blocks
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme
from lpsim.rounding import Rounding, as_rounding

__all__ = ["ScaledFloat", "scaled_float"]


@dataclass(frozen=True)
class ScaledFloat(Scheme):
    """Elements of a format with float32 scales; see `scaled_float` for the parameters."""

    fmt: Format
    per: str = "channel"
    block: int | None = None
    power_of_two: bool = False
    rounding: Rounding = Rounding.TIES_TO_EVEN
    seed: int | None = None

    def __post_init__(self) -> None:
        fmt = as_format(self.fmt, "fmt")
        object.__setattr__(self, "fmt", fmt)
        object.__setattr__(self, "rounding", as_rounding(self.rounding))
        if not fmt.signed or fmt.bits > 16 or fmt.carrier != np.float32 or not fmt.subnormals:
            raise ValueError(
                f"fmt is {fmt}; allowed: signed formats of at most 16 bits with subnormals, in binary32's range"
            )
        check_choice("per", self.per, ("tensor", "channel"))
        if self.block is not None:
            check_block(self.block)
            if self.per == "tensor":
                raise ValueError("block is given, but per is 'tensor'; allowed: one of them")
        if not isinstance(self.power_of_two, bool):
            raise TypeError(f"power_of_two is {shown(self.power_of_two)}; allowed: True or False")
        if self.seed is not None or self.rounding.is_stochastic:
            as_seed(self.seed, self.rounding)

    @property
    def _elements(self) -> Elements:
        return Elements(self.fmt, False, self.rounding, self.seed)

    def _block(self, n: int) -> int:
        return max(n, 1) if self.block is None else self.block

    def check_shape(self, rows: int, n: int) -> None:
        """Refuse rows that are no whole blocks."""
        check_blocks(n, self._block(n))

    def layout(self, rows: int, n: int) -> Layout:
        """Return dtypes and shapes: codes are packed as by `lpsim.pack`."""
        scales = (1, 1) if self.per == "tensor" else (rows, n // self._block(n))
        return {"codes": (np.uint8, (rows, packed_width(n, self.fmt))), "scales": (np.float32, scales)}

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the parts that `layout` names."""
        n = x.shape[1]
        block = self._block(n)
        largest = block_maxima(x, block)
        shape = largest.shape
        if self.per == "tensor":
            largest = largest.max(initial=0, keepdims=True).reshape(1, 1)
        with np.errstate(divide="ignore", over="ignore"):
            # Of numbers below all that is worth a scale, not even the largest factor makes the format's largest value.
            factors = np.minimum(np.float32(self.fmt.max) / largest, np.float32(2.0**126))
        if self.power_of_two:
            factors = np.ldexp(np.float32(1), np.frexp(factors)[1] - 1)
        factors = np.where(largest > 0, factors, np.float32(1)).astype(np.float32)
        codes = encode_blocks(x, np.ascontiguousarray(np.broadcast_to(factors, shape)), block, self._elements)
        return {"codes": codes, "scales": np.float32(1) / factors}

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the values times the scales, in float32."""
        block = self._block(n)
        scales: npt.NDArray[np.float32] = np.ascontiguousarray(np.broadcast_to(parts["scales"], (rows, n // block)))
        return decode_blocks(parts["codes"], scales, (rows, n), block, self._elements)


def scaled_float(
    fmt: FormatLike = "e4m3fn",
    per: str = "channel",
    block: int | None = None,
    power_of_two: bool = False,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    seed: int | None = None,
) -> ScaledFloat:
    """Return a narrow floating-point format with float32 scales that bring the largest magnitude to its largest value.

    Parameters
    ----------
    fmt : Format, str or dtype
        A signed format of at most 16 bits with subnormal numbers: FP8 is what this is mostly used for.
    per : str
        ``"channel"``: scales for each row, that is, each index of the other axes; ``"tensor"``: one scale.
    block : int, optional
        How many neighbours along the axis share a scale; they have to divide it. Default: the whole row.
    power_of_two : bool
        Whether scales are powers of two: the largest magnitude comes to within a factor of two of the largest value.
    rounding : Rounding or str
        How elements are rounded.
    seed : int, optional
        Seed of the stochastic modes.

    Returns
    -------
    ScaledFloat

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range or contradicts another one.

    Notes
    -----
    Numbers are multiplied by ``max / amax`` in binary32, rounded and kept within the format's range; the stored scale
    is the reciprocal of that factor, by which values are multiplied. So does NVIDIA's Transformer Engine ("current
    scaling"). Zeros have scale 1. NaNs and infinities are refused.

    Examples
    --------
    >>> import lpsim as lp
    >>> quantized = lp.quantize([[1.0, -2.0, 0.3]], lp.quantization.scaled_float("e4m3fn"))
    >>> lp.decode(quantized.codes, "e4m3fn").tolist(), quantized.dequantize().tolist()
    ([[224.0, -448.0, 64.0]], [[1.0, -2.0, 0.2857142984867096]])
    """
    return ScaledFloat(as_format(fmt, "fmt"), per, block, power_of_two, as_rounding(rounding), seed)
