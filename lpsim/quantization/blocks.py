"""Block formats: elements of a narrow format, and a scale for each block of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_seed
from lpsim.checks import check_choice, check_length, shown
from lpsim.codec import decode, encode
from lpsim.codec import round as round_to
from lpsim.formats import (
    Format,
    FormatLike,
    float4_e2m1fn,
    float6_e2m3fn,
    float6_e3m2fn,
    float8_e4m3fn,
    float8_e5m2,
    float8_e8m0fnu,
)
from lpsim.formats import format as as_format
from lpsim.quantization.block_codes import Elements, block_maxima, decode_blocks, encode_blocks, packed_width
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme
from lpsim.rounding import Overflow, Rounding, as_rounding

__all__ = ["MX_ELEMENTS", "MX_SCHEMES", "SCALE_RULES", "BlockFloat", "bfp", "block_float", "mx"]

#: Allowed values of ``scale_rule``.
SCALE_RULES = ("floor", "ceil", "even", "rceil")


#: Elements of the MX formats by the names that `mx` takes.
MX_ELEMENTS = {
    "e4m3": float8_e4m3fn,
    "e5m2": float8_e5m2,
    "e3m2": float6_e3m2fn,
    "e2m3": float6_e2m3fn,
    "e2m1": float4_e2m1fn,
    "int8": Format(0, 7, specials="finite"),
}


@dataclass(frozen=True)
class BlockFloat(Scheme):
    """Blocks of elements of one format with a scale each; see `block_float` for the rules.

    Attributes
    ----------
    element : Format
        Format of the elements, up to 16 bits.
    scale_format : Format
        Format of the scales, up to 16 bits.
    block : int
        Block length.
    scale_rule : str
        How a block's scale follows from its largest magnitude.
    rounding : Rounding
        How elements are rounded.
    integer : bool
        Whether elements are stored in two's complement.
    seed : int, optional
        Seed of stochastic rounding.
    """

    takes_non_finite: ClassVar[bool] = True

    element: Format
    scale_format: Format = float8_e8m0fnu
    block: int = 32
    scale_rule: str = "floor"
    rounding: Rounding = Rounding.TIES_TO_EVEN
    integer: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        element = as_format(self.element, "element")
        scale = as_format(self.scale_format, "scale_format")
        mode = as_rounding(self.rounding)
        object.__setattr__(self, "element", element)
        object.__setattr__(self, "scale_format", scale)
        object.__setattr__(self, "rounding", mode)
        check_block(self.block)
        if not element.signed or element.bits > 16 or element.carrier != np.float32 or not element.subnormals:
            raise ValueError(
                f"element is {element}; allowed: signed formats of at most 16 bits with subnormals, in binary32's range"
            )
        # The range keeps factors, 1 / scale, and the values of the elements' top binade in that of binary32.
        if scale.bits > 16 or scale.carrier != np.float32 or scale.smallest_subnormal < 2.0**-127 or scale.emax > 127:
            raise ValueError(f"scale_format is {scale}; allowed: formats of at most 16 bits with values from 2**-127")
        check_choice("scale_rule", self.scale_rule, SCALE_RULES)
        if not isinstance(self.integer, bool):
            raise TypeError(f"integer is {shown(self.integer)}; allowed: True or False")
        if self.integer and (element.exponent_bits or element.specials != "finite"):
            raise ValueError(f"element is {element} with integer=True; allowed: finite formats without exponent bits")
        if self.seed is not None or mode.is_stochastic:
            as_seed(self.seed, mode)

    @property
    def elements(self) -> Elements:
        """How elements are stored."""
        return Elements(self.element, self.integer, self.rounding, self.seed)

    def check_shape(self, rows: int, n: int) -> None:
        """Refuse rows that are no whole blocks."""
        check_blocks(n, self.block)

    def layout(self, rows: int, n: int) -> Layout:
        """Return the dtype and shape of each part."""
        return {
            "codes": (np.uint8, (rows, packed_width(n, self.element))),
            "scales": (self.scale_format.code_dtype, (rows, n // self.block)),
        }

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the codes and scales of a matrix."""
        largest = block_maxima(x, self.block)
        finite = np.isfinite(largest)
        if not self.scale_format.has_nan and not finite.all():
            raise ValueError(
                f"x holds NaN or infinity, for which scale_format {self.scale_format} has no code; "
                "allowed: finite float32 numbers"
            )
        scales = self._scales(np.where(finite, largest, np.float32(0)))
        codes = np.asarray(encode(scales, self.scale_format))
        # Where products underflow in binary32, rounding to nearest gives zeros all the same.
        exact = not self.rounding.is_nearest or self.element.quantum_exponent < -100
        with np.errstate(over="ignore"):
            factors = (1 / scales.astype(np.float64)).astype(np.float64 if exact else np.float32)
        if not finite.all():
            codes[~finite] = self.scale_format.nan_code
            factors[~finite] = np.nan
        return {"codes": encode_blocks(x, factors, self.block, self.elements), "scales": codes}

    def _scales(self, largest: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the scales, positive values of their format."""
        fmt, element = self.scale_format, self.element
        if fmt.mantissa_bits:
            quotient = largest / np.float32(element.max)
            modes = {"floor": Rounding.TOWARD_ZERO, "even": Rounding.TIES_TO_EVEN}
            mode = modes.get(self.scale_rule, Rounding.TOWARD_POSITIVE)
            rounded = np.asarray(round_to(quotient, fmt, mode, Overflow.SATURATE))
            positive: npt.NDArray[np.float32] = np.maximum(rounded, np.float32(fmt.smallest_subnormal))
            return positive
        magnitude = largest.astype(np.float64)
        if self.scale_rule == "rceil":
            with np.errstate(under="ignore"):
                magnitude = (largest * np.float32(1 / element.max)).astype(np.float64)
        fraction, exponent = np.frexp(magnitude)
        if self.scale_rule in ("ceil", "rceil"):
            power = exponent - (fraction == 0.5)
        elif self.scale_rule == "even":
            # Half of a last place of the element's top binade is added, and rounding carries into the exponent.
            places = element.mantissa_bits if element.exponent_bits else element.emax - element.quantum_exponent
            power = np.frexp(fraction + 2.0 ** (-places - 2))[1] + exponent - 1
        else:
            power = exponent - 1
        if self.scale_rule != "rceil":
            power = power - element.emax
        lowest = fmt.emin if fmt.emax >= fmt.emin else fmt.quantum_exponent
        power = np.where(magnitude == 0, lowest, np.clip(power, lowest, fmt.emax))
        scales: npt.NDArray[np.float32] = np.ldexp(1.0, power).astype(np.float32)
        return scales

    def scale_values(self, parts: Parts) -> npt.NDArray[np.float32]:
        """Return the scales of blocks, NaN for blocks that held NaN or infinity."""
        return np.asarray(decode(parts["scales"], self.scale_format), np.float32)

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the values of codes and scales."""
        return decode_blocks(parts["codes"], self.scale_values(parts), (rows, n), self.block, self.elements)

    def element_values(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the elements without their scales."""
        return decode_blocks(parts["codes"], None, (rows, n), self.block, self.elements)


def check_block(block: Any) -> None:
    """Refuse what is no block length."""
    if isinstance(block, bool) or not isinstance(block, int):
        raise TypeError(f"block is {shown(block)}; allowed: an integer")
    if block < 1:
        raise ValueError(f"block is {shown(int(block))}; allowed: 1 or more")
    check_length("block", block)


def check_blocks(n: int, block: int) -> None:
    """Refuse rows that are no whole blocks."""
    if n % block:
        raise ValueError(f"x has rows of {n} along axis; allowed: multiples of the block length, {block}")


def block_float(
    element: FormatLike = float8_e4m3fn,
    scale_format: FormatLike = float8_e8m0fnu,
    block: int = 32,
    scale_rule: str | None = None,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    seed: int | None = None,
) -> BlockFloat:
    """Return a block format with elements and scales of any format.

    Parameters
    ----------
    element : Format, str or dtype
        A signed format of at most 16 bits with subnormal numbers. The names that `mx` takes, in any case, mean its
        elements, ``"e4m3"`` the OCP format; other names are those of `lpsim.format`.
    scale_format : Format, str or dtype
        Format of the scales, at most 16 bits; only positive values are used.
    block : int
        How many neighbours along the axis share a scale. The axis must be a multiple: there are no short blocks.
    scale_rule : str, optional
        ``"floor"``, ``"ceil"``, ``"even"`` or ``"rceil"``, see Notes. Default: ``"floor"`` for scales without mantissa
        bits, else ``"even"``.
    rounding : Rounding or str
        How elements are rounded.
    seed : int, optional
        Seed of stochastic modes, required for these. Element i, counted over whole rows, takes its random bits
        from (seed, i).

    Returns
    -------
    BlockFloat

    Raises
    ------
    ValueError, TypeError
        If an argument names nothing or is out of range.

    Notes
    -----
    With the largest magnitude a of a block and the element format's largest exponent emax and value max, the scale
    is 2**k, clamped to the scale format, with

    ``"floor"``
        k = floor(log2 a) - emax (OCP MX 1.0, section 6.3);
    ``"ceil"``
        k = ceil(log2 a) - emax;
    ``"even"``
        as ``"floor"``, of a rounded half up to the element's precision;
    ``"rceil"``
        k = ceil(log2(a * (1 / max))), product and quotient in binary32.

    Scale formats with mantissa bits take a / max (in binary32), rounded toward zero, up, to even and up, clamped
    to the positive values. Elements are x / scale (times 1 / scale in binary32, exact for powers of two
    but for underflow to zero), rounded, saturating. Values are elements times scale, in binary32; where ``"ceil"``
    or ``"rceil"`` round up beyond the largest binary32 number, they are infinite. Blocks of
    zeros get the smallest scale. A block with NaN or infinity becomes NaN as a whole: its scale is
    NaN, its codes are 0; scale formats without NaN refuse it.

    Codes are packed as by `lpsim.pack`. Source of the rules: torchao (36027d82), prototype/mx_formats/mx_tensor.py.

    Examples
    --------
    >>> import lpsim as lp
    >>> scheme = lp.quantization.block_float("E2M2_finite", block=4)
    >>> lp.fake_quantize([1, 2.2, -7.5, 0.1], scheme).tolist()
    [1.0, 2.0, -7.0, 0.0]
    """
    scale = as_format(scale_format, "scale_format")
    rule = scale_rule if scale_rule is not None else ("even" if scale.mantissa_bits else "floor")
    name = element.strip().lower() if isinstance(element, str) else ""
    fmt = MX_ELEMENTS[name] if name in MX_ELEMENTS else as_format(element, "element")
    return BlockFloat(fmt, scale, block, rule, as_rounding(rounding), integer=name == "int8", seed=seed)


def mx(
    element: str = "e4m3",
    scale_rule: str = "floor",
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    block: int = 32,
    seed: int | None = None,
) -> BlockFloat:
    """Return a microscaling (MX) format: blocks of 32 elements with an E8M0 scale.

    Parameters
    ----------
    element : str
        ``"e4m3"``, ``"e5m2"``, ``"e3m2"``, ``"e2m3"``, ``"e2m1"`` or ``"int8"`` (steps of 1/64 from -127/64 to
        127/64; the code -128 is not used).
    scale_rule, rounding, block, seed
        As for `block_float`.

    Returns
    -------
    BlockFloat

    Raises
    ------
    ValueError, TypeError
        If an argument names nothing or is out of range.

    Notes
    -----
    Rules for zero blocks, NaN and infinity are those of `block_float`; the scale byte is 0 or 255 there.
    ``rounding="ties_to_away"`` is the default of microxcaling, ties to even that of torchao.
    Source: OCP Microscaling Formats (MX) Specification 1.0, sections 5 and 6.3; microxcaling (7bc41952).

    Examples
    --------
    >>> import lpsim as lp
    >>> x = [1, -3.3, 0.05, 7.9] + 28 * [0]
    >>> quantized = lp.quantize(x, lp.quantization.mx("e2m1"))
    >>> quantized.dequantize()[:4].tolist(), quantized.scales.tolist(), quantized.bits_per_value
    ([1.0, -3.0, 0.0, 6.0], [[127]], 4.25)
    """
    if not isinstance(element, str) or element.strip().lower() not in MX_ELEMENTS:
        raise ValueError(f"element is {shown(element)}; allowed: {', '.join(map(repr, MX_ELEMENTS))}")
    return block_float(element, float8_e8m0fnu, block, scale_rule, rounding, seed)


def bfp(
    mantissa_bits: int = 8,
    block: int = 16,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    seed: int | None = None,
) -> BlockFloat:
    """Return block floating point: integers, and one exponent for each block.

    Parameters
    ----------
    mantissa_bits : int
        Bits b of an integer with its sign, 2 to 16.
    block, rounding, seed
        As for `block_float`.

    Returns
    -------
    BlockFloat

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.

    Notes
    -----
    The exponent of a block is e = floor(log2 a) of its largest magnitude a, stored with a bias of 127 in a byte. An
    element is an integer from -(2**(b-1) - 1) to 2**(b-1) - 1, in two's complement, times 2**(e - b + 2): MXINT8
    is this with 8 bits and blocks of 32. Other rules are those of `block_float`. Source: Rouhani et al., "Pushing the
    limits of narrow precision inferencing at cloud scale with Microsoft Floating Point", NeurIPS 2020, with
    two's complement as in MX.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.fake_quantize([1, -0.3, 0.2, 0.9], lp.quantization.bfp(4, block=4)).tolist()
    [1.0, -0.25, 0.25, 1.0]
    """
    if isinstance(mantissa_bits, bool) or not isinstance(mantissa_bits, int):
        raise TypeError(f"mantissa_bits is {shown(mantissa_bits)}; allowed: an integer")
    if not 2 <= mantissa_bits <= 16:
        raise ValueError(f"mantissa_bits is {shown(int(mantissa_bits))}; allowed: 2 to 16")
    # One bit before the point: the quantum is 2**(1 - bias - (b - 1)) = 2**(2 - b).
    fmt = Format(0, mantissa_bits - 1, bias=0, specials="finite")
    return replace(block_float(fmt, float8_e8m0fnu, block, "floor", rounding, seed), integer=True)


#: The MX formats' own names.
MX_SCHEMES = {
    "mxfp8_e4m3": functools.partial(mx, "e4m3"),
    "mxfp8_e5m2": functools.partial(mx, "e5m2"),
    "mxfp6_e3m2": functools.partial(mx, "e3m2"),
    "mxfp6_e2m3": functools.partial(mx, "e2m3"),
    "mxfp4": functools.partial(mx, "e2m1"),
    "mxint8": functools.partial(mx, "int8"),
}
