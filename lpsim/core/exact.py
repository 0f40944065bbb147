"""Exact results of the operations, as a binary64 number and what is left of the exact value.

Each function returns `Parts`, a plain tuple ``(head, rest, divisor, tail, root, exponent, special,
plain, zero_negative, flags)``. Unless ``special``, the exact result is

    ``(head + rest / divisor + tail) * 2**exponent``        (root = 0)
    ``sqrt(head**2 + rest) * 2**exponent``                  (root = 1, where divisor = 2 * head)

with head = the exact value rounded to nearest, ties to even, and abs(tail) below any bit of rest.
float64 operands are first scaled to [1, 4), so that nothing here overflows or underflows: only the integer
``exponent`` carries their magnitude. float32 operands need no scaling, which makes them the faster carrier.
``special`` results (infinite, NaN, exactly zero) are in ``plain``, as the hardware computes them, except that
the sign of zero is ``zero_negative``.

The error-free transformations are from Handbook of Floating-Point Arithmetic (Muller et al., 2nd ed.,
2018), chapters 4 and 5; that of fma is ErrFmaNearest of Boldo and Muller (doi:10.1109/TC.2010.139).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.bits import (
    decompose,
    divide,
    fma,
    is_finite,
    is_negative,
    is_signalling,
    power_of_two,
    rounded_product,
    square_root,
)
from lpsim.core.jit import core_function

__all__ = ["exact_add", "exact_div", "exact_fma", "exact_mul", "exact_round", "exact_sqrt", "exact_sub"]

_ZERO = np.float64(0.0)
_ONE = np.float64(1.0)

#: Operands further apart than this (in binades) touch no common bit of any result of interest: the
#: smaller one is only non-zero and has a sign. 53 + 53 + 53 bits of an fma fit well inside.
_FAR = np.int64(-240)

_INVALID = np.int64(1)
_DIVIDE_BY_ZERO = np.int64(2)


@core_function
def _two_sum(a: Any, b: Any) -> Any:
    s = a + b
    virtual = s - a
    return s, (a - (s - virtual)) + (b - virtual)


@core_function
def _invalid(plain: Any, any_nan: Any, anyway: Any) -> Any:
    """Return the INVALID bit of an operation that made a NaN from other operands, or is invalid anyway."""
    return _INVALID if ((plain != plain) & (not any_nan)) | anyway else np.int64(0)


@core_function
def _zero_sum_sign(negative_x: Any, negative_y: Any, f: Any) -> Any:
    """Return whether an exactly zero sum is negative (IEEE 754-2019, section 6.3)."""
    return (negative_x | negative_y) if f.toward_negative else (negative_x & negative_y)


@core_function
def exact_round(x: Any, f: Any) -> Any:
    """Parts of x itself."""
    m, e = decompose(x)
    special = (not is_finite(x)) | (x == _ZERO)
    plain = np.float64(x)
    flags = _invalid(plain, x != x, is_signalling(x))
    return m, _ZERO, _ONE, _ZERO, _ZERO, e, special, plain, is_negative(x), flags


@core_function
def exact_add(x: Any, y: Any, f: Any) -> Any:
    """Parts of x + y."""
    mx, ex = decompose(x)
    my, ey = decompose(y)
    e = max(ex, ey)
    head, rest = _two_sum(
        rounded_product(mx, power_of_two(max(ex - e, _FAR))), rounded_product(my, power_of_two(max(ey - e, _FAR)))
    )
    plain = np.float64(x + y)
    special = (not (is_finite(x) & is_finite(y))) | (head == _ZERO)
    flags = _invalid(plain, (x != x) | (y != y), is_signalling(x) | is_signalling(y))
    sign = _zero_sum_sign(is_negative(x), is_negative(y), f)
    return head, rest, _ONE, _ZERO, _ZERO, e, special, plain, sign, flags


@core_function
def exact_sub(x: Any, y: Any, f: Any) -> Any:
    """Parts of x - y."""
    return exact_add(x, -y, f)


@core_function
def exact_mul(x: Any, y: Any, f: Any) -> Any:
    """Parts of x * y."""
    mx, ex = decompose(x)
    my, ey = decompose(y)
    head = mx * my
    rest = fma(mx, my, -head)
    plain = np.float64(x * y)
    special = (not (is_finite(x) & is_finite(y))) | (head == _ZERO)
    plain = _ZERO if head == _ZERO and is_finite(x) and is_finite(y) else plain
    flags = _invalid(plain, (x != x) | (y != y), is_signalling(x) | is_signalling(y))
    sign = is_negative(x) ^ is_negative(y)
    return head, rest, _ONE, _ZERO, _ZERO, ex + ey, special, plain, sign, flags


@core_function
def exact_div(x: Any, y: Any, f: Any) -> Any:
    """Parts of x / y."""
    mx, ex = decompose(x)
    my, ey = decompose(y)
    by_zero = y == _ZERO
    divisor = _ONE if by_zero else abs(my)
    numerator = -mx if my < _ZERO else mx
    head = divide(numerator, divisor)
    rest = fma(-head, divisor, numerator)
    plain = divide(x, y)
    special = (not (is_finite(x) & is_finite(y))) | (head == _ZERO) | by_zero
    flags = _invalid(plain, (x != x) | (y != y), is_signalling(x) | is_signalling(y))
    flags |= _DIVIDE_BY_ZERO if by_zero & is_finite(x) & (x != _ZERO) else np.int64(0)
    sign = is_negative(x) ^ is_negative(y)
    return head, rest, divisor, _ZERO, _ZERO, ex - ey, special, plain, sign, flags


@core_function
def exact_sqrt(x: Any, f: Any) -> Any:
    """Parts of the square root of x."""
    m, e = decompose(x)
    odd = e & np.int64(1)
    m = abs(m) * (_ONE + np.float64(odd))
    head = square_root(m)
    rest = fma(-head, head, m)
    divisor = head + head
    plain = np.float64(square_root(x))
    special = (not is_finite(x)) | (x <= _ZERO)
    flags = _invalid(plain, x != x, is_signalling(x))
    return head, rest, divisor, _ZERO, _ONE, (e - odd) >> np.int64(1), special, plain, is_negative(x), flags


@core_function
def exact_fma(x: Any, y: Any, z: Any, f: Any) -> Any:
    """Parts of x * y + z."""
    mx, ex = decompose(x)
    my, ey = decompose(y)
    mz, ez = decompose(z)
    product_exponent = ex + ey
    e = max(product_exponent, ez)
    a = mx * power_of_two(max(product_exponent - e, _FAR))
    c = rounded_product(mz, power_of_two(max(ez - e, _FAR)))
    head = fma(a, my, c)
    p1 = rounded_product(a, my)
    p2 = fma(a, my, -p1)
    alpha1, alpha2 = _two_sum(c, p2)
    beta1, beta2 = _two_sum(p1, alpha1)
    gamma = (beta1 - head) + beta2
    rest = gamma + alpha2
    tail = alpha2 - (rest - gamma)
    plain = np.float64(fma(x, y, z))
    special = (not (is_finite(x) & is_finite(y) & is_finite(z))) | (head == _ZERO)
    plain = _ZERO if head == _ZERO and is_finite(x) and is_finite(y) and is_finite(z) else plain
    # 0 * inf is invalid also if a quiet NaN is added: IEEE 754-2019, section 7.2, leaves the choice.
    product = np.float64(x) * np.float64(y)
    invalid = (product != product) & (x == x) & (y == y)
    invalid |= is_signalling(x) | is_signalling(y) | is_signalling(z)
    flags = _invalid(plain, (x != x) | (y != y) | (z != z), invalid)
    sign = _zero_sum_sign(is_negative(x) ^ is_negative(y), is_negative(z), f)
    return head, rest, _ONE, tail, _ZERO, e, special, plain, sign, flags
