"""Matrix units as data: what they round, when and how, and the table of named ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lpsim.formats import (
    Format,
    FormatLike,
    bfloat16,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
)
from lpsim.formats import format as as_format
from lpsim.formats import (
    tf32 as _tf32_format,
)
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding

__all__ = [
    "NAMED_UNITS",
    "ORDERS",
    "MatrixUnit",
    "bf16",
    "bf16_bf16acc",
    "fp8_e4m3",
    "fp8_e5m2",
    "fp16",
    "fp16_fp16acc",
    "fp32",
    "get",
    "tf32",
]

#: Allowed values of ``MatrixUnit.order``.
ORDERS = ("sequential",)


@dataclass(frozen=True)
class MatrixUnit:
    """How a matrix unit computes a sum of products, as data.

    An element of the product of A and B is computed in these steps:

    1. elements of A and B are rounded to ``a_format`` and ``b_format``;
    2. the accumulator starts at C's element, rounded to ``accumulator_format``, or at +0;
    3. for k ascending, the accumulator becomes a[i, k] * b[k, j] + accumulator, rounded once to
       ``accumulator_format`` (a fused multiply-add), or, with a ``product_format``, the product is rounded
       to it first and then the sum to ``accumulator_format``;
    4. the accumulator is rounded to ``output_format``, if there is one.

    Parameters
    ----------
    a_format : Format, str or dtype
        Format of A's elements.
    b_format : Format, str or dtype, optional
        Format of B's elements. Default: that of A.
    input_rounding : Rounding or str
        Mode of step 1.
    input_overflow : Overflow or str
        Overflow policy of step 1.
    product_format : Format, str or dtype, optional
        Format to which products are rounded. Default: none, products are exact.
    accumulator_format : Format, str or dtype
        Format of the accumulator.
    rounding : Rounding or str
        Mode of steps 2 to 4.
    overflow : Overflow or str
        Overflow policy of steps 2 to 4.
    order : str
        Order of summation: ``"sequential"``.
    output_format : Format, str or dtype, optional
        Format of the result. Default: that of the accumulator.
    random_bits : int
        How many random bits stochastic modes use, 1 to 53.
    name : str, optional
        A label for printing; it takes no part in comparison.
    source : str, optional
        Where the behaviour is documented; it takes no part in comparison.

    Raises
    ------
    ValueError, TypeError
        If an argument names no format, mode or order.

    Examples
    --------
    >>> import lpsim as lp
    >>> unit = lp.MatrixUnit("e4m3fn", accumulator_format="half")
    >>> lp.matmul([[1.06, 448]], [[1], [448]], unit).tolist()
    [[inf]]
    """

    a_format: Format
    b_format: Format = None  # type: ignore[assignment]  # None is replaced below
    input_rounding: Rounding = field(default=Rounding.TIES_TO_EVEN, kw_only=True)
    input_overflow: Overflow = field(default=Overflow.IEEE, kw_only=True)
    product_format: Format | None = field(default=None, kw_only=True)
    accumulator_format: Format = field(default=float32, kw_only=True)
    rounding: Rounding = field(default=Rounding.TIES_TO_EVEN, kw_only=True)
    overflow: Overflow = field(default=Overflow.IEEE, kw_only=True)
    order: str = field(default="sequential", kw_only=True)
    output_format: Format | None = field(default=None, kw_only=True)
    random_bits: int = field(default=32, kw_only=True)
    name: str | None = field(default=None, kw_only=True, compare=False)
    source: str | None = field(default=None, kw_only=True, compare=False)

    # The fields hold Formats, Roundings and Overflows; the constructor takes all that names one.
    def __init__(
        self,
        a_format: FormatLike,
        b_format: FormatLike | None = None,
        *,
        input_rounding: Rounding | str = Rounding.TIES_TO_EVEN,
        input_overflow: Overflow | str = Overflow.IEEE,
        product_format: FormatLike | None = None,
        accumulator_format: FormatLike = float32,
        rounding: Rounding | str = Rounding.TIES_TO_EVEN,
        overflow: Overflow | str = Overflow.IEEE,
        order: str = "sequential",
        output_format: FormatLike | None = None,
        random_bits: int = 32,
        name: str | None = None,
        source: str | None = None,
    ) -> None:
        def set_field(argument: str, value: Any) -> None:
            object.__setattr__(self, argument, value)

        set_field("a_format", as_format(a_format, "a_format"))
        set_field("b_format", self.a_format if b_format is None else as_format(b_format, "b_format"))
        set_field("accumulator_format", as_format(accumulator_format, "accumulator_format"))
        for argument, value in (("product_format", product_format), ("output_format", output_format)):
            set_field(argument, None if value is None else as_format(value, argument))
        set_field("input_rounding", as_rounding(input_rounding, "input_rounding"))
        set_field("input_overflow", as_overflow(input_overflow, "input_overflow"))
        set_field("rounding", as_rounding(rounding))
        set_field("overflow", as_overflow(overflow))
        if order not in ORDERS:
            raise ValueError(f"order is {order!r}; allowed: {', '.join(map(repr, ORDERS))}")
        set_field("order", order)
        for argument, text in (("name", name), ("source", source)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{argument} is {text!r}; allowed: a string or None")
            set_field(argument, text)
        if isinstance(random_bits, bool) or not isinstance(random_bits, int):
            raise TypeError(f"random_bits is {random_bits!r}; allowed: an integer")
        set_field("random_bits", random_bits)
        for fmt in (self.a_format, self.b_format):
            parameters(fmt, self.input_rounding, self.input_overflow, random_bits)
        for optional in (self.product_format, self.accumulator_format, self.output_format):
            if optional is not None:
                parameters(optional, self.rounding, self.overflow, random_bits)

    @property
    def result_format(self) -> Format:
        """Format of the result: ``output_format``, or else the accumulator's."""
        return self.output_format or self.accumulator_format

    @property
    def is_stochastic(self) -> bool:
        """Whether any step consumes random bits."""
        return self.input_rounding.is_stochastic or self.rounding.is_stochastic

    def __str__(self) -> str:
        if self.name:
            return self.name
        product = f", products {self.product_format}" if self.product_format else ""
        return f"{self.a_format} x {self.b_format} -> {self.accumulator_format}{product}"


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

#: The named units by name.
NAMED_UNITS: dict[str, MatrixUnit] = {
    unit.name: unit
    for unit in (fp32, tf32, bf16, fp16, fp8_e4m3, fp8_e5m2, fp16_fp16acc, bf16_bf16acc)
    if unit.name is not None
}


def get(unit: MatrixUnit | str) -> MatrixUnit:
    """Return the matrix unit that ``unit`` names.

    Parameters
    ----------
    unit : MatrixUnit or str
        A unit (returned as it is) or a name of `NAMED_UNITS`, in any case.

    Returns
    -------
    MatrixUnit

    Raises
    ------
    ValueError
        If there is no unit of that name.
    TypeError
        If ``unit`` is neither a unit nor a string.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.units.get("TF32") is lp.units.tf32
    True
    """
    if isinstance(unit, MatrixUnit):
        return unit
    names = ", ".join(map(repr, NAMED_UNITS))
    if not isinstance(unit, str):
        raise TypeError(f"unit is {unit!r:.80}; allowed: a lpsim.MatrixUnit or one of {names}")
    found = NAMED_UNITS.get(unit.strip().lower())
    if found is None:
        raise ValueError(f"unit is {unit!r}; allowed: a lpsim.MatrixUnit or one of {names}")
    return found
