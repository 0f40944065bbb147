"""Products of block-scaled arrays, whose scales a matrix unit applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arithmetic import mul
from lpsim.formats import Format, float4_e2m1fn, float32
from lpsim.quantization.blocks import MX_ELEMENTS, BlockFloat
from lpsim.quantization.nvfp4 import NVFP4
from lpsim.quantization.quantized import Quantized
from lpsim.units import MatrixUnit

__all__ = ["matmul_quantized"]


class Scaled(NamedTuple):
    """A factor of a product as a matrix unit with scales takes it."""

    elements: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float32]
    tensor_scale: np.float32


def default_unit(a: Any, b: Any) -> MatrixUnit:
    """Return the unit of NVIDIA's B200 for the formats of two quantised arrays.

    Raises
    ------
    ValueError
        If there is none.
    """
    left, right = (one.scheme if isinstance(one, Quantized) else None for one in (a, b))
    if isinstance(left, NVFP4) and isinstance(right, NVFP4):
        return units.b200.nvfp4
    if isinstance(left, BlockFloat) and isinstance(right, BlockFloat):
        for unit in units.b200.values():
            formats = (unit.a_format, unit.b_format, unit.scale_format)
            if formats == (left.element, right.element, left.scale_format) and unit.scale_block is not None:
                return unit
    raise ValueError(
        f"unit is None for {_described(a)} times {_described(b)}, for which there is no default; allowed: two arrays "
        f"in one of the MX formats {', '.join(repr(name) for name in MX_ELEMENTS if name != 'int8')} or two in NVFP4, "
        "or a unit"
    )


def scaled_operand(quantized: Any, argument: str, unit: MatrixUnit) -> Scaled:
    """Return the elements and scales of a factor, scales of the unit's blocks.

    Raises
    ------
    ValueError
        If the unit does not take them.
    """
    if not isinstance(quantized, Quantized) or not isinstance(quantized.scheme, (BlockFloat, NVFP4)):
        raise ValueError(
            f"{argument} is {_described(quantized)}; allowed: arrays in a block format (mx, block_float, bfp, nvfp4), "
            "as the other factor is quantised"
        )
    scheme, ndim = quantized.scheme, len(quantized.shape)
    axis = ndim - 1 if argument == "a" or ndim == 1 else ndim - 2
    if quantized.axis != axis:
        raise ValueError(
            f"{argument} is quantised along axis {quantized.axis}; allowed: {axis}, the one that is summed over"
        )
    fmt = unit.a_format if argument == "a" else unit.b_format
    element: Format = scheme.element if isinstance(scheme, BlockFloat) else float4_e2m1fn
    if element != fmt:
        raise ValueError(f"{argument} has elements in {element}, but unit {unit} takes {fmt}; allowed: the same format")
    if unit.scale_block is None or scheme.block % unit.scale_block:
        raise ValueError(
            f"{argument} has a scale for each {scheme.block} elements, but unit {unit} for "
            f"{unit.scale_block or 'none'}; allowed: blocks of a multiple of the unit's"
        )
    elements = scheme.element_values(quantized.parts, quantized.rows, quantized.n)
    scales = np.repeat(scheme.scale_values(quantized.parts), scheme.block // unit.scale_block, axis=1)
    others = quantized.shape[:axis] + quantized.shape[axis + 1 :]
    tensor = scheme.tensor_scale(quantized.parts) if isinstance(scheme, NVFP4) else np.float32(1)
    return Scaled(
        np.moveaxis(elements.reshape(*others, quantized.n), -1, axis),
        np.moveaxis(scales.reshape(*others, scales.shape[1]), -1, axis),
        tensor,
    )


def _described(factor: Any) -> str:
    return f"{factor.scheme}" if isinstance(factor, Quantized) else f"{type(factor).__name__} that is not quantised"


def matmul_quantized(
    matmul: Callable[..., Any],
    a: Any,
    b: Any,
    unit: MatrixUnit | str | None = None,
    c: npt.ArrayLike | None = None,
    out: npt.NDArray[Any] | None = None,
    seed: int | None = None,
    a_scale: npt.ArrayLike | None = None,
    b_scale: npt.ArrayLike | None = None,
    stats: bool = False,
) -> Any:
    """Return the product of two block-scaled arrays."""
    for argument, scale in (("a_scale", a_scale), ("b_scale", b_scale)):
        if scale is not None:
            raise ValueError(f"{argument} is given with quantised factors, which have scales; allowed: None")
    unit = default_unit(a, b) if unit is None else units.get(unit)
    left, right = scaled_operand(a, "a", unit), scaled_operand(b, "b", unit)
    alpha = left.tensor_scale * right.tensor_scale
    two_level = any(getattr(one.scheme, "two_level", False) for one in (a, b))
    if two_level and c is not None:
        raise ValueError("c is given with scales of tensors, which multiply the unit's result; allowed: None")
    result = matmul(left.elements, right.elements, unit, c, out, seed, left.scales, right.scales, stats)
    if not two_level:
        return result
    values, counts = result if stats else (result, None)
    scaled = mul(values, alpha, float32, out=out)
    return (scaled, counts) if stats else scaled
