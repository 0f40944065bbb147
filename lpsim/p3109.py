"""The formats of the IEEE P3109 draft standard."""

from __future__ import annotations

import numpy as np

from lpsim.checks import shown
from lpsim.formats import MAX_EXPONENT_BITS, Format

__all__ = ["p3109"]


def p3109(k: int, p: int, signed: bool = True, extended: bool = True) -> Format:
    """Return a format of the IEEE P3109 draft standard.

    Parameters
    ----------
    k : int
        Width of a code in bits, 3 to 16.
    p : int
        Precision: 1 to k - 1 in signed formats, 1 to k in unsigned ones.
    signed : bool
        Whether there are negative values.
    extended : bool
        Whether there are infinities.

    Returns
    -------
    Format
        Named as in the standard, such as ``"binary8p3se"``.

    Raises
    ------
    ValueError
        If ``k`` or ``p`` is out of range.

    Notes
    -----
    Source: IEEE P3109 interim report on binary floating-point formats for machine learning, version 3: one NaN, no
    negative zero, bias ``2**(k-p-1)`` (signed) or ``2**(k-p)`` (unsigned).

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.p3109(8, 3).max
    49152.0
    """
    for argument, value in (("k", k), ("p", p)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{argument} is {shown(value)}; allowed: an integer")
    if not 3 <= k <= 16:
        raise ValueError(f"k is {shown(int(k))}; allowed: 3 to 16")
    smallest = max(1, k + (not signed) - MAX_EXPONENT_BITS)
    if not smallest <= p <= k - bool(signed):
        raise ValueError(
            f"p is {shown(int(p))}; allowed: {smallest} to {k - bool(signed)} for k={k} and signed={bool(signed)} "
            f"(at most {MAX_EXPONENT_BITS} exponent bits)"
        )
    return Format(
        k - p + (not signed),
        p - 1,
        specials="p3109" if extended else "p3109_finite",
        signed=bool(signed),
        name=f"binary{k}p{p}{'s' if signed else 'u'}{'e' if extended else 'f'}",
    )
