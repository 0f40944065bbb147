"""Codes of values, one at a time."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, TypedDict

from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.reference.exact import Operand
from lpsim.reference.rounded import round
from lpsim.rounding import Overflow, Rounding

if TYPE_CHECKING:
    # Part of typing from Python 3.11 on.
    from typing_extensions import Unpack

__all__ = ["decode", "encode"]


class _EncodeMode(TypedDict, total=False):
    rounding: Rounding | str
    overflow: Overflow | str
    random_bits: int
    bits: int


def decode(code: int, fmt: FormatLike) -> float:
    """Return the value of a code.

    Parameters
    ----------
    code : int
        From 0 to ``2**fmt.bits - 1``.
    fmt : Format, str or dtype
        The format; see `lpsim.format`.

    Returns
    -------
    float
        Exact. Every NaN is the same NaN.

    Raises
    ------
    ValueError
        If ``fmt`` has no such code.

    Notes
    -----
    Source: IEEE 754-2019, section 3.4; for the other codes that are not numbers, `lpsim.Format`.

    Examples
    --------
    >>> from lpsim import reference
    >>> reference.decode(0x7E, "e4m3fn")
    448.0
    """
    fmt = as_format(fmt)
    if not 0 <= code < 1 << fmt.bits:
        raise ValueError(f"code is {code}; allowed: 0 to {(1 << fmt.bits) - 1} for {fmt}")
    negative, magnitude = code & fmt.sign_mask != 0, code & fmt.magnitude_mask
    if _is_nan(code, magnitude, fmt):
        return math.nan
    value = math.inf if magnitude == fmt.infinity_code else fmt.magnitude(magnitude)
    return -value if negative and (value or fmt.has_negative_zero) else value


def _is_nan(code: int, magnitude: int, fmt: Format) -> bool:
    if not fmt.has_nan:
        return False
    if fmt.specials == "ieee":  # all codes beyond infinity, of either sign
        return fmt.infinity_code is not None and magnitude > fmt.infinity_code
    return (magnitude if fmt.specials == "fn" else code) == fmt.nan_code


def encode(x: Operand | Fraction, fmt: FormatLike, **mode: Unpack[_EncodeMode]) -> int:
    """Return the code of ``x`` rounded to ``fmt``.

    Parameters
    ----------
    x : int, float or fractions.Fraction
        A number of any size and precision.
    fmt : Format, str or dtype
        The format; see `lpsim.format`.
    rounding, overflow, random_bits, bits
        As in `round`.

    Returns
    -------
    int
        From 0 to ``2**fmt.bits - 1``. Of several NaNs, ``fmt.nan_code``.

    Raises
    ------
    ValueError
        If the result is a NaN and ``fmt`` has none.

    Examples
    --------
    >>> from lpsim import reference
    >>> hex(reference.encode(1.0, "bfloat16"))
    '0x3f80'
    """
    fmt = as_format(fmt)
    value = round(x, fmt, **mode)
    assert isinstance(value, float)
    if math.isnan(value):
        if fmt.nan_code is None:
            raise ValueError(f"x is {x!r}, which gives a NaN, but {fmt} has none; allowed: numbers")
        return fmt.nan_code
    sign = fmt.sign_mask if math.copysign(1.0, value) < 0 else 0
    if math.isinf(value):
        assert fmt.infinity_code is not None
        return sign | fmt.infinity_code
    return sign | _magnitude_code(abs(value), fmt)


def _magnitude_code(magnitude: float, fmt: Format) -> int:
    """Return the code of a finite, nonnegative value of ``fmt``."""
    fraction, exponent = math.frexp(magnitude)
    if magnitude == 0 or exponent - 1 < fmt.emin:
        return int(math.ldexp(magnitude, -fmt.quantum_exponent))
    significand = int(math.ldexp(fraction, fmt.precision))
    exponent_field = exponent - 1 - fmt.emin + fmt.has_zero
    return (exponent_field << fmt.mantissa_bits) + significand - (1 << fmt.mantissa_bits)
