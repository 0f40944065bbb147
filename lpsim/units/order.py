"""Orders of summation, as text and in parts."""

from __future__ import annotations

import re
from typing import NamedTuple

from lpsim.checks import shown

__all__ = ["ORDERS", "Order", "parse_order"]

#: Allowed values of ``MatrixUnit.order``; n is an integer from 1 on, ``inner`` any order that is not ``blocked``.
ORDERS = ("sequential", "reverse", "pairwise", "kahan", "interleaved(n)", "blocked(n)", "blocked(n, inner)")

#: Largest n of blocks and of lanes, of which each thread keeps the sums.
MOST_TERMS, MOST_LANES = 1 << 24, 1 << 16

# Of no more digits than Python converts.
_SIMPLE = re.compile(r"(sequential|reverse|pairwise|kahan)|interleaved\((\d{1,99})\)", re.ASCII)
_BLOCKED = re.compile(r"blocked\((\d{1,99})(?:,(.+))?\)", re.ASCII)


class Order(NamedTuple):
    """An order of summation.

    Attributes
    ----------
    inner : str
        ``"sequential"``, ``"reverse"``, ``"pairwise"``, ``"kahan"`` or ``"interleaved"``: the order in each
        block, or in the whole sum.
    lanes : int
        Number of chains if ``inner`` is ``"interleaved"``, else 1.
    block : int or None
        Terms of a block; None: the sum has no blocks.
    """

    inner: str
    lanes: int = 1
    block: int | None = None

    @property
    def chains_from_c(self) -> bool:
        """Whether the start value is the first link of the chain; else it is added to finished sums."""
        return self.block is None and self.inner in ("sequential", "reverse", "kahan")

    def __str__(self) -> str:
        inner = f"interleaved({self.lanes})" if self.inner == "interleaved" else self.inner
        if self.block is None:
            return inner
        return f"blocked({self.block})" if inner == "sequential" else f"blocked({self.block}, {inner})"


def parse_order(order: str) -> Order:
    """Return the parts of an order.

    Raises
    ------
    ValueError
        If it is none of `ORDERS`.

    Examples
    --------
    >>> from lpsim.units.order import parse_order
    >>> parse_order("blocked(32, interleaved(2))")
    Order(inner='interleaved', lanes=2, block=32)
    """
    error = ValueError(f"order is {shown(order)}; allowed: {', '.join(map(repr, ORDERS))}, with n from 1 on")
    if not isinstance(order, str):
        raise error
    text = order.strip().lower().replace(" ", "")
    block = None
    if found := _BLOCKED.fullmatch(text):
        block, text = int(found[1]), found[2] or "sequential"
    simple = _SIMPLE.fullmatch(text)
    if simple is None or block == 0 or (simple[2] and int(simple[2]) == 0):
        raise error
    for n, most in ((block, MOST_TERMS), (int(simple[2]) if simple[2] else None, MOST_LANES)):
        if n is not None and not 1 <= n <= most:
            raise ValueError(f"order is {shown(order)}; allowed: n from 1 to {most}")
    return Order("interleaved", int(simple[2]), block) if simple[2] else Order(simple[1], 1, block)
