"""Fused dot products: exact terms, one alignment, an exact sum, one rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, Protocol

from lpsim.formats import Format
from lpsim.reference.exact import exact_value
from lpsim.reference.steps import OUTER, Rounder, Steps

__all__ = ["FusedDotLike", "sum_dots"]

#: One operand pair of a product: the elements and, where there are scales, those of their blocks.
_Term = tuple[float, float, float, float]

_NOTHING: _Term = (0.0, 0.0, 1.0, 1.0)


class FusedDotLike(Protocol):
    """What `sum_dots` reads of a fused dot product; see `lpsim.FusedDot`."""

    @property
    def terms(self) -> int:
        """Number of products."""

    @property
    def fraction_bits(self) -> int | None:
        """Bits kept below the leading exponent; None: all."""

    @property
    def zero_exponent(self) -> int:
        """Exponent of zero terms."""

    @property
    def alignment(self) -> str:
        """``"truncate"``, ``"cdna3"`` or ``"cdna3_split"``."""

    @property
    def group(self) -> int:
        """How many products are one term."""

    @property
    def dealt(self) -> int | None:
        """Runs of so many terms go to the dots of a block in turn."""


class _Formats(NamedTuple):
    a: Format
    b: Format
    scale: Format | None


def sum_dots(
    start: float, terms: list[_Term], dot: FusedDotLike, formats: tuple[Format, Format, Format | None], steps: Steps,
    block: int | None,
) -> float:  # fmt: skip
    """Return the sum of a start value and products that are added several at once.

    Parameters
    ----------
    start : float
        The accumulator.
    terms : list of (a, b, scale of a, scale of b)
        Elements of the input formats; scales are 1 where there are none.
    dot : FusedDotLike
        How products are added.
    formats : tuple of Format
        Formats of a, b and of the scales (or None).
    steps : Steps
        The roundings.
    block : int or None
        So many terms are summed from +0 and added to the accumulator; None: dots start from it.
    """
    kinds = _Formats(*formats)
    size = block or dot.terms
    padded = terms + [_NOTHING] * (-len(terms) % size)
    for first in range(0, len(terms), size):
        part = 0.0 if block else start
        for chosen in _deal(size, dot):
            exact = _dot([padded[first + i] for i in chosen], part, dot, kinds, steps.to_sum)
            last = first + (chosen[0] if dot.dealt is None else chosen[0] // dot.dealt * dot.terms) + dot.terms - 1
            part = _round(exact, steps, steps.to_sum, 2 * last + 1)
        start = steps.add(start, part, first + size - 1, OUTER, outer=True) if block else part
    return start


def _deal(size: int, dot: FusedDotLike) -> Iterator[list[int]]:
    """Yield the numbers of the terms of each dot of a block."""
    dots = size // dot.terms
    run = dot.dealt or dot.terms
    for d in range(dots):
        yield [i for i in range(size) if i // run % dots == d]


def _round(exact: Fraction | float, steps: Steps, to: Rounder, number: int) -> float:
    """Round a number; NaNs and infinities stay, zero is +0."""
    if isinstance(exact, float) and not math.isfinite(exact):
        return steps.deliver(exact_value(exact), to, number)
    return steps.deliver(exact_value(Fraction(exact)), to, number)


def _exponent(value: float, fmt: Format) -> int:
    """Return the exponent of a non-zero value; those of subnormal numbers are emin."""
    return max(math.frexp(value)[1] - 1, fmt.emin)


def _special(terms: list[_Term], c: float, dot: FusedDotLike, to: Rounder) -> float | None:
    """Return the infinity or NaN that a dot gives, or None if it gives a number."""
    total = 0.0
    for a, b, p, q in terms:
        if all(map(math.isfinite, (a, b, p, q))):
            too_large = Fraction(2) ** (to.grid.fmt.emax + 1)
            # CDNA 3 rounds products to the accumulator's range; 8-bit inputs never leave it.
            if dot.alignment == "cdna3" and abs(Fraction(a) * Fraction(b)) >= too_large:
                total += math.copysign(math.inf, a) * math.copysign(1.0, b)
            continue
        total += a * b * p * q
    total += 0.0 if math.isfinite(c) else c
    return None if math.isfinite(total) else total


def _dot(terms: list[_Term], c: float, dot: FusedDotLike, formats: _Formats, to: Rounder) -> Fraction | float:
    special = _special(terms, c, dot, to)
    if special is not None:
        return special
    products = list(_products(terms, dot, formats))
    if dot.fraction_bits is None:
        return sum((value for value, _ in products), Fraction(c))
    accumulator = (Fraction(c), _exponent(c, to.grid.fmt) if c else dot.zero_exponent)
    if dot.alignment == "truncate":
        return _aligned([*products, accumulator], dot.fraction_bits)[0]
    return _joined(products, accumulator, dot, to)


def _products(terms: list[_Term], dot: FusedDotLike, formats: _Formats) -> Iterator[tuple[Fraction, int]]:
    """Yield the exact value and the exponent of each term."""
    for first in range(0, len(terms), dot.group):
        group = terms[first : first + dot.group]
        products = [Fraction(a) * Fraction(b) for a, b, _, _ in group]
        scales = group[0][2:] if formats.scale is not None else ()
        # A group whose products cancel is not a zero term.
        if not any(products) or not all(scales):
            yield Fraction(0), dot.zero_exponent
            continue
        value, exponent = sum(products, Fraction(0)), 0
        if dot.group == 1:
            exponent = _exponent(group[0][0], formats.a) + _exponent(group[0][1], formats.b)
        for scale in scales:
            assert formats.scale is not None
            value *= Fraction(scale)
            exponent += _exponent(scale, formats.scale)
        yield value, exponent


def _aligned(terms: list[tuple[Fraction, int]], fraction_bits: int) -> tuple[Fraction, int]:
    """Return the sum of terms truncated to the last kept bit, and the largest exponent."""
    largest = max(exponent for _, exponent in terms)
    unit = Fraction(2) ** (largest - fraction_bits)
    return sum((math.trunc(value / unit) * unit for value, _ in terms), Fraction(0)), largest


def _floor(value: Fraction, exponent: int) -> Fraction:
    unit = Fraction(2) ** exponent
    return math.floor(value / unit) * unit


def _joined(
    products: list[tuple[Fraction, int]], accumulator: tuple[Fraction, int], dot: FusedDotLike, to: Rounder
) -> Fraction:
    """Join the accumulator to a sum of products as CDNA 3 does (MMA-Sim, amd/sim.py: TR and GTR)."""
    kept = dot.fraction_bits or 0
    if dot.alignment == "cdna3":
        total, largest = _aligned(products, kept)
    else:
        sums = [_aligned(products[lane::2], kept) for lane in (0, 1)]
        largest = max(exponent for _, exponent in sums)
        total = sum((_floor(value, largest - kept) for value, _ in sums), Fraction(0))
    c, c_exponent = accumulator
    c_exponent = c_exponent if c else to.grid.emin
    joint = max(largest, c_exponent)
    if dot.alignment == "cdna3_split" and c_exponent < joint - kept - 1:
        c = Fraction(0)
    value = _floor(total, joint - kept - 8) + _floor(c, joint - kept)
    if not value:
        return value
    top = abs(value)
    own = max(top.numerator.bit_length() - top.denominator.bit_length(), to.grid.emin)
    # The denominator is a power of two, so that the difference of lengths is the exponent.
    return _floor(value, own - kept - 7)
