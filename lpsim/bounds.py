"""A-priori bounds on the error of matrix products, from what a unit's description says of its roundings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arguments import as_float64, batch_shape
from lpsim.checks import check_choice, check_number, shown
from lpsim.formats import Format
from lpsim.rounding import Rounding
from lpsim.units import FusedDot, MatrixUnit

__all__ = ["KINDS", "Factors", "matmul_bound", "read_factors"]

#: Allowed values of ``kind``.
KINDS = ("deterministic", "probabilistic")

Reals = npt.NDArray[np.float64]


def matmul_bound(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnit | str,
    c: npt.ArrayLike | None = None,
    *,
    a_scale: npt.ArrayLike | None = None,
    b_scale: npt.ArrayLike | None = None,
    kind: str = "deterministic",
    confidence: float = 6.0,
) -> Reals:
    """Return an a-priori bound on ``|matmul(a, b, unit, c) - (ab + c)|`` for each element.

    Parameters
    ----------
    a, b, c : array_like
        The operands, before the unit rounds them.
    unit : MatrixUnit or str
        The unit.
    a_scale, b_scale : array_like, optional
        Scales as for `lpsim.matmul`; the exact product is that of the scaled operands. Required where the unit has
        scales, which have two-dimensional operands.
    kind : str
        ``"deterministic"``: always holds. ``"probabilistic"``: holds with high probability if rounding errors are
        independent with mean zero; never larger than the deterministic bound.
    confidence : float
        The λ of the probabilistic bound, see below.

    Returns
    -------
    ndarray of float64
        Of the product's shape; infinite where the bound cannot exclude an overflow, or an operand is not finite.

    Raises
    ------
    ValueError
        If shapes do not match, an argument is out of range, or scales are missing; if a format (but that of scales) has
        no zero or no sign, or Kahan's summation no subnormal numbers; or if the bound is probabilistic and a rounding
        of the sum is biased (neither to nearest nor ``STOCHASTIC``, or the truncation in a ``dot``).

    Notes
    -----
    To first order, the bound is ``(ua + ub + g) |A||B|``, with ``ua`` and ``ub`` the unit roundoffs of the input
    formats, and g by order, for n terms and an accumulator of unit roundoff u. Other modes than nearest have 2u for u.

    - Sequential and reverse: ``n u`` without higher-order terms, in place of Higham's ``n u / (1 - n u)``: C.-P.
      Jeannerod and S. M. Rump, SIAM J. Matrix Anal. Appl. 34(2), 2013, doi:10.1137/120894488. Their induction uses only
      that a sum errs by no more than its new term, so it holds for fused multiply-adds too. Other modes round by up to
      2u, and n of them by ``(1 + 2u)**n - 1``.
    - Pairwise: ``(ceil(log2 n) + 1) u``, an addition for each level and a rounding for the product. Interleaved(m):
      ``(ceil(n / m) + ceil(log2 m)) u`` (Higham 2002, section 4.2, for both).
    - Blocked(m): the inner order's g for m terms, and ``ceil(n / m)`` roundings of the outer format, less the first
      addition, to zero, if it is exact (Blanchard, Higham and Mary, SIAM J. Sci. Comput. 42(3), 2020,
      doi:10.1137/19M1257780).
    - Kahan: ``3u + O(n u**2)``, of which 2u as in Higham 2002, section 4.3, and u for the product, which is rounded
      with the correction. With ``s`` the sums, ``e`` the corrections and rho, alpha, beta, eps the errors of t = s + y,
      t - s, (t - s) - y and y = product - e, the error is ``rho_n + sum eps_k - sum_(k<n) (alpha_k + beta_k)``; the
      second-order terms are not dropped but summed from ``|e_k| <= (1 + u)(|rho_k| + |alpha_k|)``. Infinite where
      ``n u**2`` is near 1.
    - A dot of L terms with F fraction bits: no term loses more than ``2**(E - F)``, and the largest none if F covers
      its significand. ``2**E`` is at most ``|c|`` or the largest ``|a| |b|`` of the dot, whose sum bounds it. So each
      dot adds ``2**-F L`` and a rounding: ``ceil(n / L) (2**-F L + 2u)`` when it truncates. AMD's CDNA 3 has a few
      truncations more. That E has a least value, and that subnormal elements count with exponent emin, is added as
      such. An exact dot is one rounding for L terms.

    A rounding of x errs by no more than ``max(u |x|, q / 2)``, q the smallest positive value, and flushing to zero by
    less than ``2**emin``: such terms are added for inputs, products, sums and output.

    The probabilistic bound puts ``exp(λ sqrt(n) u + n u**2 / (1 - u)) - 1`` for ``n u`` in every chain of n roundings.
    Under its model each chain of an element's sum keeps to that with probability ``1 - 2n exp(-λ**2 (1 - u)**2 / 2)``
    or more (N. J. Higham and T. Mary, SIAM J. Sci. Comput. 41(5), 2019, doi:10.1137/18M1226312, theorems 2.4 and 3.1);
    at λ = 6 that is ``1 - 3e-8 n``. Stochastic rounding obeys the model with 2u for u (Connolly, Higham and Mary, SIAM
    J. Sci. Comput. 43(1), 2021, doi:10.1137/20M1334796), up to the bias of finitely many random bits, which is added.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.errors import matmul_bound
    >>> bound = matmul_bound([[1.0, 1.0]], [[1.0], [1.0]], lp.units.bf16)
    >>> round(float(bound[0, 0]) / 2, 5), 2 * 2**-8  # relative to |A||B|; mostly that of the inputs
    (0.00783, 0.0078125)
    """
    unit = units.get(unit)
    chains = _Chains.of(unit, kind, confidence)
    factors = read_factors(a, b, unit, c, a_scale, b_scale)
    left, right, start = (np.abs(x) for x in factors[:3])
    scales = np.abs(factors.a_scale), np.abs(factors.b_scale)
    flush = None if unit.flush_inputs == "signed_c" else unit.flush_inputs
    off_left = _rounding_error(left, unit.a_format, unit.input_rounding, flush)
    off_right = _rounding_error(right, unit.b_format, unit.input_rounding, flush)
    off_start = _rounding_error(start, unit.total_format, unit.total_rounding, unit.flush_inputs)
    # Infinities would turn zeros into NaNs in products: leave them out, and put them in at the end.
    lost_left, lost_right, lost_start = (~np.isfinite(x) for x in (off_left, off_right, off_start))
    left, off_left = np.where(lost_left, 0.0, left), np.where(lost_left, 0.0, off_left)
    right, off_right = np.where(lost_right, 0.0, right), np.where(lost_right, 0.0, off_right)
    start, off_start = np.where(lost_start, 0.0, start), np.where(lost_start, 0.0, off_start)

    with np.errstate(all="ignore"):
        # Terms that are zero lose nothing to underflow.
        terms = (left != 0).astype(float) @ (right != 0).astype(float)
        far_left, far_right = (left + off_left) * scales[0], (right + off_right) * scales[1]
        error = (off_left * scales[0]) @ far_right + (left * scales[0]) @ (off_right * scales[1])
        products = _Sum(far_left @ far_right, error)
        initial = _Sum(start + off_start, off_start)
        if unit.dot is not None:
            least = _least_exponents(unit, unit.dot)
            wide_left, wide_right = (
                np.where(x != 0, np.maximum(x + off, low), 0.0) * scale
                for x, off, low, scale in zip((left, right), (off_left, off_right), least, scales, strict=True)
            )
            total = _dots(unit, unit.dot, products, initial, wide_left @ wide_right, left.shape[-1], chains, c is None)
        else:
            if unit.flush_results is not None:
                terms = terms + (start != 0)  # adding zero to a subnormal start value flushes it
            total = _steps(unit, products, initial, terms, left.shape[-1], chains, c is None)
        something = (terms > 0) | (start != 0)
        if unit.output_format is not None:
            growth = _roundoff(unit.output_format, unit.rounding)
            total = total.after(growth, _underflow(unit.output_format, unit.rounding, None))
        formats = (unit.product_format, unit.accumulator_format, unit.total_format, unit.output_format)
        # Kahan's differences of sums are larger than the sums.
        reach = total.size * (2 if unit.summation.inner == "kahan" else 1)
        beyond = ~(reach <= min(fmt.max for fmt in formats if fmt is not None))
    bound = np.where(something, np.where(beyond, np.inf, total.error), 0.0)
    return np.where(_reached(lost_left, lost_right) | lost_start, np.inf, bound)


class Factors(NamedTuple):
    """Operands in binary64, of shapes that match; scales are those of each element, 1 where there are none."""

    a: Reals
    b: Reals
    c: Reals
    a_scale: Reals
    b_scale: Reals


def read_factors(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnit,
    c: npt.ArrayLike | None,
    a_scale: npt.ArrayLike | None,
    b_scale: npt.ArrayLike | None,
) -> Factors:
    """Return the operands of a product as `Factors`, or raise ValueError or TypeError."""
    left, right = (np.array(as_float64(x, name)) for x, name in ((a, "a"), (b, "b")))
    matrices = right.ndim > 1
    try:
        shape = (
            *batch_shape(left, right),
            *left.shape[-2:-1],
            *right.shape[-1:] * matrices,
        )
    except ValueError:
        shape = None
    if shape is None or not left.ndim or not right.ndim or left.shape[-1] != right.shape[-2 if matrices else -1]:
        raise ValueError(
            f"a has shape {left.shape} and b has shape {right.shape}; allowed: those that matmul multiplies"
        )
    start = np.zeros(()) if c is None else np.array(as_float64(c, "c"))
    try:
        start = np.broadcast_to(start, shape)
    except ValueError:
        raise ValueError(f"c has shape {start.shape}; allowed: shapes that broadcast to {shape}") from None
    scales = []
    for name, given, x, axis in (("a_scale", a_scale, left, -1), ("b_scale", b_scale, right, -2)):
        if (given is None) != (unit.scale_block is None):
            raise ValueError(f"{name} is {'None' if given is None else 'given'}; allowed: scales where {unit} has them")
        if given is None or unit.scale_block is None:
            scales.append(np.ones(()))
            continue
        scale = np.array(as_float64(given, name))
        blocks = -(-x.shape[axis] // unit.scale_block) if x.ndim > 1 else 0
        if scale.ndim < 2 or x.ndim < 2 or scale.shape[axis] != blocks:
            raise ValueError(f"{name} has shape {scale.shape}; allowed: {blocks} blocks of a matrix of shape {x.shape}")
        each = np.repeat(scale, unit.scale_block, axis)
        scales.append(each[..., : x.shape[-1]] if axis == -1 else each[..., : x.shape[-2], :])
    return Factors(left, right, start, scales[0], scales[1])


class _Sum(NamedTuple):
    """A bound on the magnitude of computed sums, and one on their error; neither has cancellation."""

    size: Reals
    error: Reals

    def after(self, growth: float, loss: Reals | float = 0.0) -> _Sum:
        """Return the bounds after roundings that lose ``loss`` and change terms by up to ``growth``, relatively."""
        size = self.size + loss
        return _Sum(size * (1 + growth), self.error + loss + size * growth)

    def plus(self, other: _Sum) -> _Sum:
        return _Sum(self.size + other.size, self.error + other.error)


@dataclass(frozen=True)
class _Chains:
    """By how much chains of roundings change their terms, relatively."""

    confidence: float | None
    random_bits: int

    @staticmethod
    def of(unit: MatrixUnit, kind: str, confidence: float) -> _Chains:
        """Return those of a unit, if its bound can be stated."""
        check_choice("kind", kind, KINDS)
        check_number("confidence", confidence, "a positive number")
        if not 0 < confidence < math.inf:
            raise ValueError(f"confidence is {shown(confidence)}; allowed: a positive number")
        sums = (unit.product_format, unit.accumulator_format, unit.total_format, unit.output_format)
        for fmt in (unit.a_format, unit.b_format, *sums):
            if fmt is not None and not (fmt.has_zero and fmt.signed):
                raise ValueError(f"unit rounds to {fmt}; allowed: formats with a zero and a sign")
        underflows = unit.flush_results is not None or not unit.accumulator_format.subnormals
        if unit.summation.inner == "kahan" and underflows:
            raise ValueError(f"unit has order {unit.order!r} without subnormal numbers; allowed: other orders")
        if kind == "deterministic":
            return _Chains(None, unit.random_bits)
        biased = [
            mode.name.lower()
            for mode in (unit.rounding, unit.total_rounding)
            if not (mode.is_nearest or mode == Rounding.STOCHASTIC)
        ]
        if unit.dot is not None and unit.dot.fraction_bits is not None:
            biased.append("a dot that truncates its terms")
        if biased:
            raise ValueError(f"kind is {kind!r}, but {unit} has {biased[0]}, which is biased; allowed: 'deterministic'")
        return _Chains(float(confidence), unit.random_bits)

    def growth(self, n: int, fmt: Format, rounding: Rounding, tree: bool = False) -> float:
        """Return the growth by n roundings one after the other; in a tree, these are its levels."""
        u = _roundoff(fmt, rounding)
        with np.errstate(all="ignore"):
            growth = n * u if rounding.is_nearest and not tree else float(np.expm1(n * np.log1p(u)))
            if self.confidence is None:
                return growth
            bias = n * u * 2.0**-self.random_bits if rounding.is_stochastic else 0.0
            likely = float(np.expm1(self.confidence * math.sqrt(n) * u + n * u * u / (1 - u) + bias))
        return min(growth, likely)


def _steps(
    unit: MatrixUnit, products: _Sum, initial: _Sum, terms: Reals, n: int, chains: _Chains, from_zero: bool
) -> _Sum:
    """Return the bounds of a sum whose terms are added one by one."""
    order, flush = unit.summation, unit.flush_results
    accumulator, rounding = unit.accumulator_format, unit.rounding
    product = unit.product_format or (accumulator if order.inner == "pairwise" else None)
    if product is not None:
        products = products.after(_roundoff(product, rounding), terms * _underflow(product, rounding, flush))
    # Sums of values of a format are multiples of its quantum, and lose nothing to underflow. A loss counts as a change
    # of the new term. In trees every term is lost once before and once in the additions, at most.
    lossy = flush is not None or product is None or not _fits(product, accumulator)
    tree = order.inner in ("pairwise", "interleaved")
    loss = terms * ((1 + tree) * lossy * _underflow(accumulator, rounding, flush))
    size = min(order.block or n, n)
    if order.chains_from_c:
        products = products.plus(initial)
    if order.inner == "kahan":
        total = products.after(_kahan_growth(size, accumulator, rounding), loss)
    elif order.inner == "pairwise":
        total = products.after(chains.growth(_levels(size), accumulator, rounding, tree=True), loss)
    else:
        lanes = max(min(order.lanes, size), 1)
        total = products.after(chains.growth(-(-size // lanes), accumulator, rounding), loss)
        total = total.after(chains.growth(_levels(lanes), accumulator, rounding, tree=True))
    return total if order.chains_from_c else _outer(unit, total, initial, terms, n, chains, from_zero)


def _outer(
    unit: MatrixUnit, blocks: _Sum, initial: _Sum, terms: Reals, n: int, chains: _Chains, from_zero: bool
) -> _Sum:
    """Return the bounds after sums of blocks, or of all terms, are added to the start value."""
    fits = _fits(unit.accumulator_format, unit.total_format)
    if unit.summation.inner == "pairwise" and unit.product_format is not None:
        fits &= _fits(unit.product_format, unit.total_format)  # a block of one term is a product
    exact = fits and from_zero  # the first addition, to zero
    count = max(-(-n // (unit.summation.block or max(n, 1))) - exact, 0)
    loss = 0.0 if fits and unit.flush_results is None else _underflow(
        unit.total_format, unit.total_rounding, unit.flush_results
    )  # fmt: skip
    growth = chains.growth(count, unit.total_format, unit.total_rounding)
    return blocks.plus(initial).after(growth, terms * loss)


def _dots(
    unit: MatrixUnit,
    dot: FusedDot,
    products: _Sum,
    initial: _Sum,
    wide: Reals,
    n: int,
    chains: _Chains,
    from_zero: bool,
) -> _Sum:
    """Return the bounds of a sum of several terms at once; ``wide`` bounds sums of the terms' powers of two."""
    accumulator, block = unit.accumulator_format, unit.summation.block
    blocks = 1 if block is None else -(-n // block)
    count = -(-n // dot.terms) if block is None else block // dot.terms
    truncation, least = _truncation(unit, dot, n)
    u = _roundoff(accumulator, unit.rounding)
    with np.errstate(all="ignore"):
        growth = (
            float(np.expm1(count * (np.log1p(u) + np.log1p(truncation))))
            if truncation
            else chains.growth(count, accumulator, unit.rounding)
        )
    loss: Reals | float = blocks * count * (truncation * least + _underflow(accumulator, unit.rounding, None))
    loss = loss + truncation * np.maximum(wide - products.size, 0.0)
    if block is None:
        return products.plus(initial).after(growth, loss)
    return _outer(unit, products.after(growth, loss), initial, np.full(wide.shape, float(blocks)), n, chains, from_zero)


def _truncation(unit: MatrixUnit, dot: FusedDot, n: int) -> tuple[float, float]:
    """Return what a dot truncates, relative to 2**E, and the least 2**E, of zeros or a subnormal accumulator."""
    if dot.fraction_bits is None:
        return 0.0, 0.0
    accumulator = unit.accumulator_format
    least = _power(max(dot.zero_exponent, accumulator.emin))
    count = min(dot.terms, n) / dot.group
    if dot.alignment == "truncate":
        bits = unit.a_format.mantissa_bits + unit.b_format.mantissa_bits
        bits += 0 if unit.scale_format is None else 2 * unit.scale_format.mantissa_bits
        largest_is_kept = dot.group == 1 and dot.fraction_bits >= max(bits, accumulator.mantissa_bits)
        return math.ldexp(math.ceil(count) + (not largest_is_kept), -dot.fraction_bits), least
    # CDNA 3: after its products' alignment, one floor of c, and two with 8 and 7 bits more; where odd and even terms
    # are aligned apart, their two sums are floored once more.
    more = 1 + 2.0**-6 + 2 * (dot.alignment == "cdna3_split")
    return math.ldexp(count + more, -dot.fraction_bits), least


def _least_exponents(unit: MatrixUnit, dot: FusedDot) -> tuple[float, float]:
    """Return the least power of two that a nonzero element counts with in a dot."""
    # A group of products has the exponent of its scales alone, as if those of its elements were 0.
    low = 0 if dot.group > 1 else -2000
    return _power(max(unit.a_format.emin, low)), _power(max(unit.b_format.emin, low))


def _kahan_growth(n: int, fmt: Format, rounding: Rounding) -> float:
    """Return the relative growth by compensated summation of n terms: 3u + O(n u**2), with u or 2u by mode.

    In units of the sum of magnitudes, with all sums at most s: the corrections sum up to e, alpha and beta as in the
    notes of `matmul_bound` to ``first + second * s``, so that the error g obeys ``g = p + r s`` and ``s = 1 + g``.
    """
    u = _roundoff(fmt, rounding)
    shrunk = 1 - u * (1 + u) ** 2
    # Sums of |e|, |alpha| and |beta|: the part that does not depend on s, and the factor of s.
    corrections = u * (1 + u) ** 2 / shrunk, n * u * (1 + u) ** 2 / shrunk
    alpha = u * (1 + u) * (1 + corrections[0]), u * (1 + u) * corrections[1] + n * u * u
    beta = u * alpha[0], u * alpha[1] + n * u * u
    p = u * (1 + corrections[0]) + alpha[0] + beta[0]
    r = u + u * corrections[1] + alpha[1] + beta[1]
    return (p + r) / (1 - r) if 0 < r < 1 and shrunk > 0 else math.inf


def _power(exponent: int) -> float:
    """Return a power of two; infinity where it is too large, as emin of fixed-point formats may be."""
    return math.ldexp(1.0, exponent) if exponent < 1024 else math.inf


def _levels(n: int) -> int:
    return max(n - 1, 0).bit_length()


def _fits(narrow: Format, wide: Format) -> bool:
    """Whether values of the one, and sums below the normal range, are values of the other one, but for overflow."""
    finer = narrow.precision <= wide.precision and narrow.quantum_exponent >= wide.quantum_exponent
    return finer and wide.subnormals


def _roundoff(fmt: Format, rounding: Rounding) -> float:
    return fmt.unit_roundoff if rounding.is_nearest else fmt.eps


def _underflow(fmt: Format, rounding: Rounding, flush: str | None) -> float:
    """Return the largest error of a rounding below the normal range."""
    if flush is not None:
        return fmt.smallest_normal if fmt.emax >= fmt.emin else fmt.max  # of fixed-point formats all is flushed
    return fmt.smallest_subnormal / 2 if rounding.is_nearest else fmt.smallest_subnormal


def _rounding_error(magnitude: Reals, fmt: Format, rounding: Rounding, flush: str | None) -> Reals:
    """Return the largest error of rounding each number to ``fmt``; infinite beyond its range and for NaN."""
    with np.errstate(all="ignore"):
        error = np.maximum(_roundoff(fmt, rounding) * magnitude, _underflow(fmt, rounding, flush))
    return np.where(magnitude == 0, 0.0, np.where(magnitude <= fmt.max, error, np.inf))


def _reached(left: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which elements of a product depend on a marked element of a factor."""
    rows, columns = np.asarray(left.any(axis=-1)), np.asarray(right.any(axis=-2 if right.ndim > 1 else -1))
    if left.ndim > 1 and right.ndim > 1:
        rows, columns = rows[..., np.newaxis], columns[..., np.newaxis, :]
    return np.asarray(rows | columns)
