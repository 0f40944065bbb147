"""Sums of products step by step, in every order."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from lpsim.reference.exact import Exact, exact_add, exact_fma, exact_mul
from lpsim.reference.random import GOLDEN, mix
from lpsim.reference.rounded import Grid, deliver
from lpsim.rounding import Flag, Overflow, Rounding

__all__ = ["FOLD", "LANES", "OUTER", "Rounder", "Steps", "is_subnormal", "order_parts", "sum_products"]

#: Levels of additions, which select their random words: pairwise sums have 1, 2, ...; sums of chains start
#: from LANES; blocks are added to the accumulator at OUTER; compensated summation has three additions a term.
LANES, FOLD, OUTER = 32, 1, 63

_BLOCKED = re.compile(r"blocked\((\d+)(?:, ?(.+))?\)")
_INTERLEAVED = re.compile(r"interleaved\((\d+)\)")


class Rounder(NamedTuple):
    """A format and a mode, ready for use."""

    grid: Grid
    rounding: Rounding
    overflow: Overflow
    random_bits: int

    def bits(self, word: int) -> int:
        """Return the random integer that a 64-bit word provides."""
        return word >> (64 - self.random_bits)


def is_subnormal(value: float, grid: Grid) -> bool:
    """Whether a value is a number between zero and ``2**emin`` in magnitude."""
    return value != 0 and math.isfinite(value) and math.frexp(value)[1] <= grid.emin


def order_parts(order: str) -> tuple[str, int, int | None]:
    """Return the inner order, the number of chains in it and the terms of a block (None: no blocks)."""
    block, inner = None, order
    if found := _BLOCKED.fullmatch(order):
        block, inner = int(found[1]), found[2] or "sequential"
    if found := _INTERLEAVED.fullmatch(inner):
        return "interleaved", int(found[1]), block
    if inner not in ("sequential", "reverse", "pairwise", "kahan") or block == 0:
        raise ValueError(
            f"unit.order is {order!r}; allowed: 'sequential', 'reverse', 'pairwise', 'kahan', 'interleaved(n)', "
            "'blocked(n)' and 'blocked(n, inner)'"
        )
    return inner, 1, block


@dataclass(frozen=True)
class Steps:
    """The roundings of one element's sum.

    Attributes
    ----------
    to_product : Rounder or None
        Rounding of products; None: they go exactly into a fused multiply-add.
    to_sum, to_outer : Rounder
        Rounding of sums of terms, and of sums of such sums.
    flush : str or None
        Which results become zero: see `lpsim.MatrixUnit`.
    words : int
        Where the element's sequence of random words starts.
    """

    to_product: Rounder | None
    to_sum: Rounder
    to_outer: Rounder
    flush: str | None
    words: int

    def deliver(self, exact: Exact, to: Rounder, number: int) -> float:
        """Round an exact result, with the element's random word of that number."""
        word = mix(self.words + (number + 1) * GOLDEN) if to.rounding.is_stochastic else 0
        tininess = "before" if self.flush == "before" else "after"
        value, flags = deliver(exact, to.grid, to.rounding, to.overflow, to.random_bits, to.bits(word), tininess)
        tiny = self.flush in ("before", "after") and flags & Flag.UNDERFLOW
        if self.flush is not None and (tiny or is_subnormal(value, to.grid)):
            return math.copysign(0.0, value)
        return value

    def product(self, x: float, y: float, k: int) -> float:
        """Return the rounded product of the terms k."""
        return self.deliver(exact_mul(x, y), self.to_product or self.to_sum, 2 * k)

    def add(self, x: float, y: float, k: int, level: int = 0, outer: bool = False) -> float:
        """Return the rounded sum; ``k`` is the last term in it."""
        return self.deliver(exact_add(x, y), self.to_outer if outer else self.to_sum, 2 * k + 1 + (level << 40))

    def accumulate(self, acc: float, x: float, y: float, k: int) -> float:
        """Return ``acc + x * y``: the definition of a step."""
        if self.to_product is None:
            return self.deliver(exact_fma(x, y, acc), self.to_sum, 2 * k + 1)
        return self.add(acc, self.product(x, y, k), k)


def sum_products(
    start: float, x: list[float], y: list[float], steps: Steps, order: tuple[str, int, int | None]
) -> float:
    """Return the sum of a start value and products, in an order."""
    inner, lanes, block = order
    terms = range(len(x))
    if block is None and inner in ("sequential", "reverse", "kahan"):
        return _inner_sum(start, x, y, steps, inner, lanes, terms)
    size = block or max(len(x), 1)
    for first in range(0, len(x), size):
        chosen = range(first, min(first + size, len(x)))
        part = _inner_sum(0.0, x, y, steps, inner, lanes, chosen)
        start = steps.add(start, part, chosen[-1], OUTER, outer=True)
    return start


def _inner_sum(
    start: float, x: list[float], y: list[float], steps: Steps, inner: str, lanes: int, terms: range
) -> float:
    if inner == "pairwise":
        return _pairwise([(steps.product(x[k], y[k], k), k) for k in terms], steps, FOLD)
    if inner == "interleaved":
        chains = [terms[lane::lanes] for lane in range(min(lanes, len(terms)))]
        sums = [_inner_sum(0.0, x, y, steps, "sequential", 1, chain) for chain in chains]
        return _pairwise([(total, chain[-1]) for total, chain in zip(sums, chains, strict=True)], steps, LANES)
    if inner == "kahan":
        return _compensated(start, x, y, steps, terms)
    for k in reversed(terms) if inner == "reverse" else terms:
        start = steps.accumulate(start, x[k], y[k], k)
    return start


def _pairwise(sums: list[tuple[float, int]], steps: Steps, level: int) -> float:
    """Add neighbours until one is left. The number is that of the last term in a sum."""
    while len(sums) > 1:
        pairs = [
            (steps.add(p, q, max(j, k), level), max(j, k))
            for (p, j), (q, k) in zip(sums[::2], sums[1::2], strict=False)
        ]
        sums = pairs + sums[len(pairs) * 2 :]
        level += 1
    return sums[0][0] if sums else 0.0


def _compensated(start: float, x: list[float], y: list[float], steps: Steps, terms: range) -> float:
    lost = 0.0
    for k in terms:
        if steps.to_product is None:
            corrected = steps.deliver(exact_fma(x[k], y[k], -lost), steps.to_sum, 2 * k + 1)
        else:
            corrected = steps.add(steps.product(x[k], y[k], k), -lost, k)
        total = steps.add(start, corrected, k, 1)
        lost = steps.add(steps.add(total, -start, k, 2), -corrected, k, 3)
        start = total
    return start
