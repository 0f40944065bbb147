"""Results of operations that round to a format as the exact results do, in one lane: binary32 or binary64.

All of these are rounded to odd where that matters: rounded once more, to a format with at least two digits less than
the lane, they give what the exact result does, whatever the mode (Boldo and Melquiond, doi:10.1109/TC.2007.70819).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.bits import bits_of, copy_sign, fma, rounded_product, square_root
from lpsim.core.jit import by_size, core_function
from lpsim.core.nearest import one_below
from lpsim.core.operations import DIV, FMA, MUL, ROUND, SQRT, SUB

__all__ = ["binary64_pair", "binary64_result", "narrow_result", "product_is_tiny", "wide_pair", "wide_result"]

_ONE = np.int32(1)

#: Below this magnitude, `narrow_result` does not know all of a binary32 product.
_TINY = np.float32(2.0**-100)
_SMALL = np.float32(2.0**-64)
_LARGE = np.float32(2.0**64)
_ROOT = np.float32(2.0**-32)


@core_function
def _two_sum_error(a: Any, b: Any, total: Any) -> Any:
    virtual = total - a
    return (a - (total - virtual)) + (b - virtual)


@core_function
def _to_odd_32(x: Any, error: Any) -> Any:
    bits, truncated = np.float32(x).view(np.int32), np.float32(one_below(x, error)).view(np.int32)
    return np.int32(truncated | _ONE if abs(error) > 0 else bits).view(np.float32)


@core_function
def _to_odd_64(x: Any, error: Any) -> Any:
    bits, truncated = bits_of(x), bits_of(one_below(x, error))
    return np.int64(truncated | np.int64(1) if abs(error) > 0 else bits).view(np.float64)


#: Return x + error rounded to odd, from x, which is x + error rounded to nearest, or to a neighbour of it. A zero, an
#: infinity and a NaN stay where the error is a NaN or zero; an infinity whose error has the other sign becomes finite.
_to_odd = by_size(_to_odd_32, _to_odd_64)


@core_function
def _sum(a: Any, b: Any) -> Any:
    total = a + b
    return total, _two_sum_error(a, b, total)


@core_function
def wide_pair(operation: Any, x: Any, y: Any, z: Any, sum_sign: Any, sticky: Any) -> Any:
    """Return an operation's result on binary32 operands rounded to binary64, and a number of the sign of its error.

    Of products and sums that is the error itself. Nothing here overflows or underflows; infinities come with a NaN.
    Sums are those of the operands times ``sum_sign``. Not ``sticky``: quotients and roots are taken as exact.
    """
    zero = np.float64(0.0)
    if operation == ROUND:
        return x, zero
    if operation == MUL:
        return rounded_product(x, y), zero
    if operation == DIV:
        quotient = x / y
        residual = fma(-quotient, y, x)
        return quotient, (residual if y > 0 else -residual) if sticky else zero
    if operation == SQRT:
        root = square_root(x)
        return root, fma(-root, root, x) if sticky else zero
    a, b = x, y
    if operation == FMA:
        a, b = rounded_product(x, y), z
    elif operation == SUB:
        b = -y
    total, error = _sum(rounded_product(a, sum_sign), rounded_product(b, sum_sign))
    return rounded_product(total, sum_sign), rounded_product(error, sum_sign)


@core_function
def wide_result(operation: Any, x: Any, y: Any, z: Any, sum_sign: Any, sticky: Any) -> Any:
    """Return a binary64 number that rounds to a format as an operation's exact result on binary32 operands does.

    Sums, and results of the other operations if ``sticky``, are rounded to odd, for formats of at most 51 digits.

    Not ``sticky`` is for formats of p <= 24 digits, where rounding to nearest does the same for quotients and roots.
    What matters is on which side of a number m of at most p + 1 = 25 digits (a value or a middle) the exact result
    is, or whether it is m. A quotient x / y differs from m by ``(x - m * y) / y``: the numerator is zero, or at least
    one in the last of the 49 places of m * y, which is more than 2**-50 of the quotient. A root differs from m by
    ``(x - m**2) / (root + m)``: zero, or at least one in the last of the 50 places of m**2, more than 2**-51 of the
    root. Either is beyond the half place, 2**-53, by which rounding to nearest moves a result.
    """
    result, error = wide_pair(operation, x, y, z, sum_sign, sticky)
    return _to_odd(result, error)


@core_function
def binary64_result(operation: Any, x: Any, y: Any, z: Any) -> Any:
    """Return an operation's result on binary64 operands, rounded to nearest, ties to even."""
    if operation == ROUND:
        return x
    if operation == MUL:
        return rounded_product(x, y)
    if operation == DIV:
        return x / y
    if operation == SQRT:
        return square_root(x)
    if operation == FMA:
        return fma(x, y, z)
    return x - y if operation == SUB else x + y


@core_function
def binary64_pair(operation: Any, x: Any, y: Any, z: Any, sum_sign: Any) -> Any:
    """Return an operation's result on binary32 operands, rounded to binary64, and its error, or what rounds as it does.

    No quotient or root of binary32 numbers is a middle between binary64 numbers: instead of their errors there are
    numbers below half a place, of the same sign.
    """
    result, error = wide_pair(operation, x, y, z, sum_sign, True)
    if operation in (DIV, SQRT):
        error = copy_sign(result * np.float64(2.0**-55), error) if abs(error) > 0 else np.float64(0.0)
    return result, error


@core_function
def narrow_result(operation: Any, x: Any, y: Any, z: Any) -> Any:
    """Do what `wide_result` does in binary32, for formats of p <= 22 digits that round to nearest, ties to even.

    Their values are multiples of 2**-101, so that all below 2**-102 rounds to zero, and what overflows in binary32
    rounds as infinity does. Results of at least 2**-102 are as follows, each rounded to odd where it is inexact.

    Sums and differences: their error is a binary32 number always.

    Products: their error, a multiple of the product's last place, 2**-149 at least, is a binary32 number.

    Quotients and roots of numbers below 2**-64 are taken of multiples by a power of two, which for quotients can make
    only such divisors infinite whose quotients round to zero. Then the residuals are binary32 numbers.

    Fused multiply-adds, unless `product_is_tiny`: see `_fma_error`.
    """
    if operation == ROUND:
        return x
    if operation == MUL:
        product = x * y
        return _to_odd(product, fma(x, y, -product))
    if operation == DIV:
        scale = _LARGE if abs(x) < _SMALL else np.float32(1)
        x, y = x * scale, y * scale
        quotient = x / y
        residual = fma(-quotient, y, x)
        return _to_odd(quotient, residual if y > 0 else -residual)
    if operation == SQRT:
        small = abs(x) < _SMALL
        x = x * _LARGE if small else x
        root = square_root(x)
        root = _to_odd(root, fma(-root, root, x))
        return root * _ROOT if small else root
    if operation == FMA:
        total = fma(x, y, z)
        return _to_odd(total, _fma_error(x, y, z, total))
    total, error = _sum(x, -y if operation == SUB else y)
    return _to_odd(total, error)


@core_function
def _fma_error(x: Any, y: Any, z: Any, total: Any) -> Any:
    """Return a number of the sign of ``x * y + z - total``, or zero if that is zero; total is it rounded to nearest.

    Let the product be p + e and z - total be d + r, in binary32 numbers. The order of ``((p + d) + e) + r`` matters.
    Call what is asked for E, so that p + d + e + r = E.

    If r = 0, let D be the error of the first sum: the sign of E + D is wrong only if E is at most 2**-24 of e, so that
    p + d is nearly -e, at most half a place of p. But then p + d is a multiple of half a place of p, and D = 0.

    Otherwise z and total are at most about twice as large as d, as they would have an exact difference by Sterbenz's
    lemma. So p and -d differ by a few places, and p + d is exact. The sign can be wrong only if E is at most 2**-24 of
    r, which is about half a place of p at most, so that p + d + e, a multiple of 2**-24 of that place, is nearly -r:
    it has at most 24 digits, and is exact, too.
    """
    product = rounded_product(x, y)
    rest = fma(x, y, -product)
    difference = z - total
    beyond = _two_sum_error(z, -total, difference)
    return ((product + difference) + rest) + beyond


@core_function
def product_is_tiny(x: Any, y: Any) -> Any:
    """Return whether `narrow_result` is not for the fused multiply-adds of these factors."""
    return (abs(x * y) < _TINY) & (x != 0) & (y != 0)
