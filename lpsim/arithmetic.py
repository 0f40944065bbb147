"""Arithmetic on arrays: the exact result of each operation, rounded once to a format.

The operations are IEEE 754-2019's *formatOf* operations (section 5.4.1): operands are taken exactly as they
are given, whatever their dtype or format, and only the result is rounded to ``fmt``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import RealArray, as_real_float, working_dtype
from lpsim.core import operations
from lpsim.dispatch import overridable
from lpsim.elementwise import apply
from lpsim.formats import FormatLike
from lpsim.memory import PIECE
from lpsim.rounding import Overflow, Rounding

__all__ = ["abs", "add", "div", "fma", "mul", "neg", "sqrt", "sub"]

# The part that all the functions' documentation shares.
_PARAMETERS = """
    fmt : Format, str or dtype
        Format of the result, as `lpsim.format` reads it.
    rounding : Rounding or str
        The rounding mode.
    overflow : Overflow or str
        What becomes of results beyond the largest finite value.
    seed : int, optional
        Seed of the stochastic modes, 0 to ``2**64 - 1``; element i of the result (in C order) takes its
        random bits from (seed, i) alone. Required for these modes unless ``bits`` is given.
    random_bits : int
        How many random bits a stochastic mode compares the discarded fraction with, 1 to 53.
    bits : array_like of int, optional
        The random integers themselves, 0 to ``2**random_bits - 1``.
    out : ndarray, optional
        Where to write the result: an array of its shape and of a floating-point dtype that holds every
        value of the format. It may be an operand.
    flags : bool
        Whether to return the exceptions as well.
    tininess : str
        For the flag UNDERFLOW: ``"after"`` or ``"before"`` rounding, see `lpsim.Flag`.

    Returns
    -------
    ndarray or scalar
        Values of the format in its carrier, float32 or float64. With ``flags``, a tuple of it and an array of
        `lpsim.Flag` bits (uint8).

    Raises
    ------
    ValueError
        For an unknown format or mode, shapes that do not broadcast, integers that float64 does not represent,
        a stochastic mode without ``seed`` or ``bits``, or an ``out`` that is read-only or of another shape.
    TypeError
        For arrays that hold no real numbers, and an ``out`` of a wrong dtype.
"""


def _documented(function: Any) -> Any:
    function.__doc__ = function.__doc__.replace("\n    <parameters>\n", _PARAMETERS)
    return function


@overridable
@_documented
def add(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return x + y, rounded once.

    Parameters
    ----------
    x, y : array_like
        Real numbers, of shapes that broadcast.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.4.1, formatOf-addition.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.add(1, 2.0**-100, lp.bfloat16, rounding="toward_positive"))
    1.0078125
    """
    operands = {"x": as_real_float(x, "x", lazy=True), "y": as_real_float(y, "y", lazy=True)}
    return apply(operations.ADD, operands, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


@overridable
@_documented
def sub(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return x - y, rounded once.

    Parameters
    ----------
    x, y : array_like
        Real numbers, of shapes that broadcast.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.4.1, formatOf-subtraction.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.sub(1, 2.0**-100, lp.float16, rounding="toward_zero"))
    0.99951171875
    """
    operands = {"x": as_real_float(x, "x", lazy=True), "y": as_real_float(y, "y", lazy=True)}
    return apply(operations.SUB, operands, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


@overridable
@_documented
def mul(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return x * y, rounded once.

    Parameters
    ----------
    x, y : array_like
        Real numbers, of shapes that broadcast.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.4.1, formatOf-multiplication.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.mul([1.5, 300], [1.5, 300], lp.float16).tolist()
    [2.25, inf]
    """
    operands = {"x": as_real_float(x, "x", lazy=True), "y": as_real_float(y, "y", lazy=True)}
    return apply(operations.MUL, operands, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


@overridable
@_documented
def div(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return x / y, rounded once.

    Parameters
    ----------
    x, y : array_like
        Real numbers, of shapes that broadcast.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.4.1, formatOf-division.

    Examples
    --------
    >>> import lpsim as lp
    >>> value, flags = lp.div(1, 0, lp.float16, flags=True)
    >>> float(value), lp.Flag(int(flags)).name
    (inf, 'DIVIDE_BY_ZERO')
    """
    operands = {"x": as_real_float(x, "x", lazy=True), "y": as_real_float(y, "y", lazy=True)}
    return apply(operations.DIV, operands, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


@overridable
@_documented
def sqrt(
    x: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return the square root of x, rounded once.

    Parameters
    ----------
    x : array_like
        Real numbers.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.4.1, formatOf-squareRoot.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.sqrt([2, -0.0, -1], lp.bfloat16).tolist()
    [1.4140625, -0.0, nan]
    """
    operands = {"x": as_real_float(x, "x", lazy=True)}
    return apply(operations.SQRT, operands, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


@overridable
@_documented
def fma(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    z: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return x * y + z, rounded once.

    Parameters
    ----------
    x, y, z : array_like
        Real numbers, of shapes that broadcast.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.4.1, formatOf-fusedMultiplyAdd.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.fma(144, 232, 2.0**-100, lp.bfloat16))
    33536.0
    """
    operands = {name: as_real_float(value, name, lazy=True) for name, value in (("x", x), ("y", y), ("z", z))}
    return apply(operations.FMA, operands, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


@overridable
@_documented
def neg(
    x: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return -x, rounded once: exact where x is a value of a signed format.

    Parameters
    ----------
    x : array_like
        Real numbers.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.5.1, negate (which, unlike 0 - x, turns 0 into -0).

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.neg(0.0, lp.float16))
    -0.0
    """
    return _of_sign(np.negative, x, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


@overridable
@_documented
def abs(
    x: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Return the absolute value of x, rounded once: exact where x is a value of the format.

    Parameters
    ----------
    x : array_like
        Real numbers.
    <parameters>

    Notes
    -----
    Source: IEEE 754-2019, section 5.5.1, abs.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.abs(-2.5, "e4m3fn"))
    2.5
    """
    return _of_sign(np.absolute, x, fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess)


def _of_sign(function: Callable[..., Any], x: npt.ArrayLike, *rounding: Any) -> Any:
    """Round what a function makes of the signs of numbers."""
    array = as_real_float(x, "x", lazy=True)
    if array.size <= PIECE:
        return apply(operations.ROUND, {"x": np.asanyarray(function(array))}, *rounding)

    def prepare(piece: RealArray) -> tuple[RealArray]:
        return (function(piece.astype(working_dtype(piece.dtype))),)

    return apply(operations.ROUND, {"x": array}, *rounding, prepare=prepare)
