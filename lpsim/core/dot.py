"""Fused dot products, in integers: terms, their alignment, and the exact sum as what rounding takes.

A finite number x of a format with M trailing significand bits is ``n * 2**(e - M)``, with the integer n below
2**(M + 1) in magnitude and the exponent e at least the format's emin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lpsim.core.bits import bits_of, decompose, power_of_two
from lpsim.core.jit import core_function

__all__ = ["CDNA3", "CDNA3_SPLIT", "EXACT", "TRUNCATE", "DotParams", "align", "join_cdna3", "parts_of_integer",
           "parts_of_special", "parts_of_sum", "split"]  # fmt: skip

TRUNCATE, CDNA3, CDNA3_SPLIT, EXACT = range(4)

_ZERO = np.float64(0.0)
_ONE = np.float64(1.0)
_MOST = np.int64(62)


class DotParams(NamedTuple):
    """A fused dot product, reduced to numbers."""

    terms: int
    alignment: int
    fraction_bits: int
    zero_exponent: int
    group: int
    run: int  # how many consecutive terms of a block go to the same dot
    block: int  # terms of a block, 0: dots start from the accumulator
    a_bits: int  # M, and emin, of the format of A; likewise below
    a_emin: int
    b_bits: int
    b_emin: int
    scale_block: int  # 0: no scales
    scale_bits: int
    scale_emin: int
    c_bits: int
    c_emin: int
    c_emax: int


@core_function
def split(x: Any, mantissa_bits: Any, emin: Any) -> Any:
    """Return the integers (n, e) of a finite number of a format."""
    m, e = decompose(np.float64(x))
    exponent = max(e, np.int64(emin))
    n = np.int64(m * power_of_two(max(np.int64(mantissa_bits) + e - exponent, np.int64(-1000))))
    return n, exponent


@core_function
def align(n: Any, shift: Any) -> Any:
    """Return ``n * 2**shift``, truncated toward zero."""
    left = n << min(max(shift, np.int64(0)), _MOST)
    right = abs(n) >> min(max(-shift, np.int64(0)), _MOST)
    right = -right if n < 0 else right
    return left if shift >= 0 else right


@core_function
def _floor(n: Any, shift: Any) -> Any:
    """Return ``n * 2**shift``, rounded down."""
    down = n >> min(max(-shift, np.int64(0)), _MOST)
    return n << min(max(shift, np.int64(0)), _MOST) if shift >= 0 else down


@core_function
def join_cdna3(total: Any, exponent: Any, c: Any, c_exponent: Any, drops_c: Any, f: Any) -> Any:
    """Join the accumulator to a sum of products as AMD CDNA 3 does; see `lpsim.reference.dot`.

    Parameters
    ----------
    total, exponent : int64
        The sum, in units of ``2**(exponent - f.fraction_bits)``.
    c, c_exponent : int64
        The accumulator, split.
    drops_c : bool
        Whether an accumulator below the last kept bit counts as zero.
    f : DotParams

    Returns
    -------
    tuple
        The joint sum n and q, where it is ``n * 2**q``.
    """
    joint = max(exponent, c_exponent)
    kept = f.fraction_bits
    products = _floor(total, exponent - joint + np.int64(8))
    addend = _floor(c, c_exponent - f.c_bits - joint + kept) << np.int64(8)
    addend = np.int64(0) if drops_c & (c_exponent < joint - kept - np.int64(1)) else addend
    value = products + addend
    unit = joint - kept - np.int64(8)
    own = (bits_of(np.float64(abs(value))) >> np.int64(52)) - np.int64(1023) + unit
    drop = max(max(own, np.int64(f.c_emin)) - kept - np.int64(7) - unit, np.int64(0))
    return (value >> min(drop, _MOST)) << min(drop, _MOST), unit


@core_function
def parts_of_integer(n: Any, q: Any) -> Any:
    """Return ``n * 2**q`` (below 2**62 in magnitude) as what `lpsim.core.rounding` takes; zero is +0."""
    head = np.float64(n)
    rest = np.float64(n - np.int64(head))
    return head, rest, _ONE, _ZERO, _ZERO, q, n == 0, _ZERO, np.int64(0), np.int64(0)


@core_function
def parts_of_sum(head: Any, rest: Any, tail: Any) -> Any:
    """Return ``head + rest + tail``, each beyond the last place of the one before, as what rounding takes."""
    return head, rest, _ONE, tail, _ZERO, np.int64(0), head == _ZERO, _ZERO, np.int64(0), np.int64(0)


@core_function
def parts_of_special(value: Any) -> Any:
    """Return an infinity or NaN as what rounding takes."""
    return _ZERO, _ZERO, _ONE, _ZERO, _ZERO, np.int64(0), True, np.float64(value), np.int64(0), np.int64(0)
