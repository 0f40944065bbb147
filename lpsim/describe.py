"""What an IEEE 754 converter page shows of a number: its bit fields, code, exact value and error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from lpsim.arguments import as_real
from lpsim.codec import encode, round
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.rounding import Overflow, Rounding

__all__ = ["Description", "describe"]


@dataclass(frozen=True)
class Description:
    """A number in a format, as `lpsim.describe` returns it.

    Attributes
    ----------
    format : Format
        The format.
    value : float
        The value of the format that the number rounds to.
    code : int or None
        Its code; None for NaN in a format that has none.
    hex : str
        The code in hexadecimal, such as ``"0xCECA"``.
    sign, exponent_bits, fraction_bits : str
        The code's fields in binary, empty where the format has no such field.
    exact_value : str
        The value in decimal, all digits.
    error : str
        Value minus number in decimal, all digits.
    exact : bool
        Whether the number is a value of the format.
    kind : str
        ``"normal"``, ``"subnormal"``, ``"zero"``, ``"infinity"`` or ``"nan"``.

    Examples
    --------
    >>> import lpsim as lp
    >>> d = lp.describe(0.1, "e4m3fn")
    >>> d.hex, d.exact_value, d.exact
    ('0x1D', '0.1015625', False)
    """

    format: Format
    value: float
    code: int | None
    hex: str
    sign: str
    exponent_bits: str
    fraction_bits: str
    exact_value: str
    error: str
    exact: bool
    kind: str

    def __str__(self) -> str:
        rows = {
            "format": f"{self.format} ({self.format.spec})" if self.format.name else self.format.spec,
            "value": f"{self.exact_value} ({self.kind})",
            "code": self.hex or "none",
            "sign": self.sign,
            "exponent": self.exponent_bits,
            "fraction": self.fraction_bits,
            "error": "0 (exact)" if self.exact else self.error,
        }
        return "\n".join(f"{name:<9} {text}" for name, text in rows.items() if text)


def _decimal(value: Fraction) -> str:
    """Return a dyadic rational in decimal with all its digits."""
    # A multiple of 2**-1074 below 2**1025 has at most 309 + 1074 digits.
    context = Context(prec=1500, Emax=2000, Emin=-2000)
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    digits = len(quotient.as_tuple().digits)
    if -7 <= quotient.adjusted() <= 20 and digits <= 40:
        return f"{quotient:f}"
    return f"{quotient.normalize(context):e}"


def describe(
    x: Any,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
) -> Description:
    """Describe the value of a format that a number rounds to.

    Parameters
    ----------
    x : number
        One real number, as for `lpsim.round`.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.
    rounding, overflow, seed
        As for `lpsim.round`.

    Returns
    -------
    Description
        Its ``str()`` is a small table.

    Raises
    ------
    ValueError
        If x is not one number, and as for `lpsim.round`.
    TypeError
        If x is no real number.

    Examples
    --------
    >>> import lpsim as lp
    >>> print(lp.describe(-27.15625, "fp16"))
    format    float16 (E5M10)
    value     -27.15625 (normal)
    code      0xCECA
    sign      1
    exponent  10011
    fraction  1011001010
    error     0 (exact)
    """
    fmt = as_format(fmt)
    number = as_real(x, "x")
    if number.size != 1:
        raise ValueError(f"x has shape {number.shape}; allowed: one number")
    number = number.reshape(())
    value = float(round(number, fmt, rounding, overflow, seed))
    given = number[()].item()
    same = value == given or (math.isnan(value) and math.isnan(given))
    if math.isfinite(value) and math.isfinite(given):
        error = _decimal(Fraction(value) - Fraction(given))
    else:
        error = "0" if same else ("nan" if math.isnan(value) else str(value - given))
    code: int | None = None
    sign = exponent_bits = fraction_bits = hexadecimal = ""
    if fmt.has_nan or not math.isnan(value):
        code = int(encode(value, fmt))
        digits = f"{code:0{fmt.bits}b}" if fmt.bits else ""
        sign, digits = digits[: fmt.signed], digits[fmt.signed :]
        exponent_bits, fraction_bits = digits[: fmt.exponent_bits], digits[fmt.exponent_bits :]
        hexadecimal = f"0x{code:0{-(-fmt.bits // 4)}X}"
    return Description(
        format=fmt,
        value=value,
        code=code,
        hex=hexadecimal,
        sign=sign,
        exponent_bits=exponent_bits,
        fraction_bits=fraction_bits,
        exact_value=_decimal(Fraction(value)) if math.isfinite(value) else str(value),
        error=error,
        exact=same,
        kind=_kind(value, fmt),
    )


def _kind(value: float, fmt: Format) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "infinity"
    if value == 0:
        return "zero"
    return "normal" if math.frexp(value)[1] > fmt.emin else "subnormal"
