"""Matrix units as data: what they round, when and how."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields
from typing import Any

from lpsim.checks import check_choice, shown
from lpsim.formats import Format, FormatLike, float32
from lpsim.formats import format as as_format
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding
from lpsim.units.dot import FusedDot
from lpsim.units.order import Order, parse_order

__all__ = ["FLUSHED_INPUTS", "FLUSHED_RESULTS", "MatrixUnit"]

#: Allowed values of ``MatrixUnit.flush_inputs`` and ``flush_results``, besides None.
FLUSHED_INPUTS = ("signed", "positive", "signed_c")
FLUSHED_RESULTS = ("rounded", "before", "after")


@dataclass(frozen=True)
class MatrixUnit:
    """How a matrix unit computes a sum of products, as data.

    An element of the product of A and B is computed in these steps:

    1. elements of A and B are rounded to ``a_format`` and ``b_format``;
    2. the accumulator starts at C's element, rounded to ``outer_format``, or at +0;
    3. for k ascending, the accumulator becomes a[i, k] * b[k, j] + accumulator, rounded once to
       ``accumulator_format`` (a fused multiply-add), or, with a ``product_format``, the product is rounded
       to it first and then the sum to ``accumulator_format``; or, with a ``dot``, that many products at once
       are added to the accumulator;
    4. the accumulator is rounded to ``output_format``, if there is one.

    Other orders than this sequential one, for K terms:

    ``"reverse"``
        k descends.
    ``"pairwise"``
        Products are rounded (to ``product_format``, or else ``accumulator_format``), then added in pairs of
        neighbours, the sums again in pairs, and so on; the last of an odd number goes up as it is. The total is added
        to C's element.
    ``"kahan"``
        Compensated summation (Kahan 1965): with s = C's element and e = 0, for each product y = product - e, t = s + y,
        e = (t - s) - y, s = t; each operation rounded, the first one fused unless there is a ``product_format``.
    ``"interleaved(n)"``
        n chains from +0: the chain l sums the terms k = l, l + n, l + 2n, ... The chains' sums are added pairwise, the
        total to C's element.
    ``"blocked(n)"``, ``"blocked(n, inner)"``
        Each n consecutive terms are summed from +0, in the inner order (default: sequential), and each such
        sum is added to the accumulator, rounded to ``outer_format``: blocked summation (FABsum: Blanchard, Higham and
        Mary 2020), or the promotion of partial sums to a wider accumulator every n terms (DeepSeek-V3, 2024).

    n is at most ``2**16`` for ``interleaved`` and ``2**24`` for ``blocked``.

    Parameters
    ----------
    a_format : Format, str or dtype
        Format of A's elements.
    b_format : Format, str or dtype, optional
        Format of B's elements. Default: that of A.
    input_rounding : Rounding or str
        Mode of step 1.
    input_overflow : Overflow or str
        Overflow policy of step 1.
    product_format : Format, str or dtype, optional
        Format to which products are rounded. Default: none, products are exact.
    accumulator_format : Format, str or dtype
        Format of the accumulator.
    rounding : Rounding or str
        Mode of steps 2 to 4.
    overflow : Overflow or str
        Overflow policy of steps 2 to 4.
    order : str
        Order of summation, see above.
    outer_format : Format, str or dtype, optional
        Format of the sum of blocks, and of a total and C's element. Default: ``accumulator_format``, and this is
        all that is allowed in orders that start a single chain from C's element.
    outer_rounding : Rounding or str, optional
        Mode of these additions, and of C's elements. Default: ``rounding``.
    output_format : Format, str or dtype, optional
        Format of the result. Default: that of the accumulator.
    dot : FusedDot, optional
        How several products at once are added. Default: one by one, by fused or separate multiplication
        and addition.
    scale_format : Format, str or dtype, optional
        Format of scale factors of blocks of A and B, which `lpsim.matmul` takes then; needs ``scale_block``
        and a ``dot``.
    scale_block : int, optional
        How many consecutive k share a scale.
    flush_inputs : str, optional
        What becomes of subnormal elements of A, B and C: zeros of their sign, ``"signed"``, or +0,
        ``"positive"``, as negative zeros do; ``"signed_c"``: those of C alone. Default: they stay.
    flush_results : str, optional
        Which results of steps become zeros of their sign: those that are subnormal once ``"rounded"``, or that are
        tiny, ``"before"`` or ``"after"`` rounding (`lpsim.Flag`). Default: none.
    random_bits : int
        How many random bits stochastic modes use, 1 to 53.
    nan_bits : int, optional
        Binary32 representation of the NaN that the unit delivers. Default: NumPy's.
    name, source, verified : str, optional
        A label for printing, where the behaviour is documented, and against what it was compared; they
        take no part in comparison.
    throughput : float, optional
        Published dense peak rate relative to FP32 arithmetic of the same chip; takes no part in comparison.
    throughput_source : str, optional
        Where it is published.

    Raises
    ------
    ValueError, TypeError
        If an argument names no format, mode or order, or contradicts another one.

    Examples
    --------
    >>> import lpsim as lp
    >>> unit = lp.MatrixUnit("e4m3fn", accumulator_format="half")
    >>> lp.matmul([[1.06, 448]], [[1], [448]], unit).tolist()
    [[inf]]
    >>> blocked = lp.MatrixUnit("half", accumulator_format="half", order="blocked(4)", outer_format="float32")
    >>> float(lp.matmul([2048, 1, 1, 1, 1, 1, 1, 1], [1] * 8, blocked))
    2052.0
    """

    a_format: Format
    b_format: Format = None  # type: ignore[assignment]  # None is replaced below
    input_rounding: Rounding = field(default=Rounding.TIES_TO_EVEN, kw_only=True)
    input_overflow: Overflow = field(default=Overflow.IEEE, kw_only=True)
    product_format: Format | None = field(default=None, kw_only=True)
    accumulator_format: Format = field(default=float32, kw_only=True)
    rounding: Rounding = field(default=Rounding.TIES_TO_EVEN, kw_only=True)
    overflow: Overflow = field(default=Overflow.IEEE, kw_only=True)
    order: str = field(default="sequential", kw_only=True)
    outer_format: Format | None = field(default=None, kw_only=True)
    outer_rounding: Rounding | None = field(default=None, kw_only=True)
    output_format: Format | None = field(default=None, kw_only=True)
    dot: FusedDot | None = field(default=None, kw_only=True)
    scale_format: Format | None = field(default=None, kw_only=True)
    scale_block: int | None = field(default=None, kw_only=True)
    flush_inputs: str | None = field(default=None, kw_only=True)
    flush_results: str | None = field(default=None, kw_only=True)
    random_bits: int = field(default=32, kw_only=True)
    nan_bits: int | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True, compare=False)
    source: str | None = field(default=None, kw_only=True, compare=False)
    verified: str | None = field(default=None, kw_only=True, compare=False)
    throughput: float | None = field(default=None, kw_only=True, compare=False)
    throughput_source: str | None = field(default=None, kw_only=True, compare=False)

    # The fields hold Formats, Roundings and Overflows; the constructor takes all that names one.
    def __init__(
        self,
        a_format: FormatLike,
        b_format: FormatLike | None = None,
        *,
        input_rounding: Rounding | str = Rounding.TIES_TO_EVEN,
        input_overflow: Overflow | str = Overflow.IEEE,
        product_format: FormatLike | None = None,
        accumulator_format: FormatLike = float32,
        rounding: Rounding | str = Rounding.TIES_TO_EVEN,
        overflow: Overflow | str = Overflow.IEEE,
        order: str = "sequential",
        outer_format: FormatLike | None = None,
        outer_rounding: Rounding | str | None = None,
        output_format: FormatLike | None = None,
        dot: FusedDot | None = None,
        scale_format: FormatLike | None = None,
        scale_block: int | None = None,
        flush_inputs: str | None = None,
        flush_results: str | None = None,
        random_bits: int = 32,
        nan_bits: int | None = None,
        name: str | None = None,
        source: str | None = None,
        verified: str | None = None,
        throughput: float | None = None,
        throughput_source: str | None = None,
    ) -> None:
        given = dict(locals())
        for one in fields(self):
            object.__setattr__(self, one.name, given[one.name])

        def set_field(argument: str, value: Any) -> None:
            object.__setattr__(self, argument, value)

        set_field("a_format", as_format(a_format, "a_format"))
        set_field("b_format", self.a_format if b_format is None else as_format(b_format, "b_format"))
        set_field("accumulator_format", as_format(accumulator_format, "accumulator_format"))
        for argument in ("product_format", "outer_format", "output_format", "scale_format"):
            if given[argument] is not None:
                set_field(argument, as_format(given[argument], argument))
        set_field("input_rounding", as_rounding(input_rounding, "input_rounding"))
        set_field("input_overflow", as_overflow(input_overflow, "input_overflow"))
        set_field("rounding", as_rounding(rounding))
        set_field("overflow", as_overflow(overflow))
        if outer_rounding is not None:
            set_field("outer_rounding", as_rounding(outer_rounding, "outer_rounding"))
        set_field("order", str(parse_order(order)))
        for argument, allowed in (("flush_inputs", FLUSHED_INPUTS), ("flush_results", FLUSHED_RESULTS)):
            if given[argument] is not None:
                check_choice(argument, given[argument], allowed, " or None")
        for argument in ("name", "source", "verified", "throughput_source"):
            if given[argument] is not None and not isinstance(given[argument], str):
                raise TypeError(f"{argument} is {shown(given[argument])}; allowed: a string or None")
        _check_integer("random_bits", random_bits)
        if nan_bits is not None:
            _check_integer("nan_bits", nan_bits)
            if not (nan_bits & 0x7F800000 == 0x7F800000 and nan_bits & 0x7FFFFF) or nan_bits >> 32:
                raise ValueError(f"nan_bits is {nan_bits:#x}; allowed: the binary32 representation of a NaN")
        self._check_consistency()

    def _check_consistency(self) -> None:
        """Refuse what contradicts itself."""
        for fmt in (self.a_format, self.b_format):
            parameters(fmt, self.input_rounding, self.input_overflow, self.random_bits)
        for optional in (self.product_format, self.accumulator_format, self.total_format, self.output_format):
            if optional is not None:
                parameters(optional, self.rounding, self.overflow, self.random_bits)
        order = self.summation
        if order.chains_from_c:
            if self.total_format != self.accumulator_format:
                raise ValueError(
                    f"outer_format is {self.outer_format} with order {self.order!r}, which has one chain from c's "
                    f"element; allowed: the accumulator's, {self.accumulator_format}"
                )
            if self.total_rounding != self.rounding:
                raise ValueError(
                    f"outer_rounding is {self.total_rounding.name.lower()!r} with order {self.order!r}, which has one "
                    "chain from c's element; allowed: the same as rounding"
                )
        if self.dot is None:
            if self.scale_format is not None:
                raise ValueError("scale_format is given without a dot; allowed: with one")
        else:
            if not isinstance(self.dot, FusedDot):
                raise TypeError(f"dot is {shown(self.dot)}; allowed: a lpsim.FusedDot or None")
            self._check_dot(self.dot, order)
        if (self.scale_format is None) != (self.scale_block is None):
            missing, present = ("scale_block", "scale_format") if self.scale_block is None else (
                "scale_format", "scale_block"
            )  # fmt: skip
            raise ValueError(f"{missing} is None, but {present} is given; allowed: both or none")
        if self.scale_block is not None:
            _check_integer("scale_block", self.scale_block, 1)
            group = self.dot.group if self.dot is not None else 1
            if self.scale_block % group:
                raise ValueError(f"scale_block is {shown(self.scale_block)}; allowed: multiples of dot.group, {group}")

    def _check_dot(self, dot: FusedDot, order: Order) -> None:
        if self.product_format is not None:
            raise ValueError(f"product_format is {self.product_format} with a dot; allowed: None, products are exact")
        if order.inner != "sequential":
            raise ValueError(f"order is {self.order!r} with a dot; allowed: 'sequential' and 'blocked(n)'")
        if order.block is not None and order.block % dot.terms:
            raise ValueError(f"order is {self.order!r}; allowed: blocks of a multiple of dot.terms, {dot.terms}")
        if dot.dealt is not None and (order.block is None or order.block % (dot.dealt * (order.block // dot.terms))):
            raise ValueError(
                f"dot.dealt is {dot.dealt} with order {self.order!r}; allowed: orders 'blocked(n)' with "
                "n a multiple of dealt times the number of dots in a block"
            )
        if self.flush_results is not None:
            raise ValueError(f"flush_results is {shown(self.flush_results)} with a dot; allowed: None")
        precision = self.a_format.precision + self.b_format.precision
        if dot.fraction_bits is None:
            low = self.a_format.quantum_exponent + self.b_format.quantum_exponent
            high = self.a_format.emax + self.b_format.emax + 2 + (dot.terms + 1).bit_length()
            c = self.accumulator_format
            fits = c.precision <= 24 and c.emax <= 127 and c.quantum_exponent >= -149
            if precision > 53 or low < -1000 or high > 1000 or not fits:
                raise ValueError(
                    f"dot.fraction_bits is None, exact, for products of {self.a_format} and {self.b_format} into "
                    f"{self.accumulator_format}; allowed: products that binary64 holds, and accumulators "
                    "of at most 24 bits of precision in the range of binary32"
                )
            return
        # The largest aligned sum, in units of 2**(max exponent - F), is an int64 with some bits to spare.
        scales = 1 if self.scale_format is None else 4
        largest = (4 * dot.group * scales * -(-dot.terms // dot.group) + 2).bit_length()
        if dot.group > 1:
            largest += self.a_format.emax + self.b_format.emax
        if dot.fraction_bits + largest > 60 or precision > 60 - dot.group.bit_length():
            raise ValueError(
                f"dot.fraction_bits is {dot.fraction_bits} for sums of {dot.terms} products of {self.a_format} and "
                f"{self.b_format}; allowed: at most {max(60 - largest, 0)}, so that aligned sums are 64-bit integers"
            )

    @functools.cached_property
    def summation(self) -> Order:
        """The order in parts."""
        return parse_order(self.order)

    @property
    def result_format(self) -> Format:
        """Format of the result: ``output_format``, or else the one of the last additions."""
        return self.output_format or self.total_format

    @property
    def total_format(self) -> Format:
        """Format of the last additions and of C's elements: ``outer_format``, or else the accumulator's."""
        return self.outer_format or self.accumulator_format

    @property
    def total_rounding(self) -> Rounding:
        """Mode of the last additions and for C's elements: ``outer_rounding``, or else ``rounding``."""
        return self.rounding if self.outer_rounding is None else self.outer_rounding

    @property
    def is_stochastic(self) -> bool:
        """Whether any step consumes random bits."""
        return any(mode.is_stochastic for mode in (self.input_rounding, self.rounding, self.total_rounding))

    def __str__(self) -> str:
        if self.name:
            return self.name
        product = f", products {self.product_format}" if self.product_format else ""
        dot = f", {self.dot.terms} products at once" if self.dot else ""
        order = f", {self.order}" if self.order != "sequential" else ""
        return f"{self.a_format} x {self.b_format} -> {self.accumulator_format}{product}{dot}{order}"


def _check_integer(argument: str, value: Any, smallest: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} is {shown(value)}; allowed: an integer")
    if smallest is not None and value < smallest:
        raise ValueError(f"{argument} is {shown(int(value))}; allowed: {smallest} or more")
