"""How far a simulated matrix product is from the exact one, and how far it may be.

The bound is the classical one of rounding error analysis: N. J. Higham, *Accuracy and Stability of
Numerical Algorithms*, 2nd ed., SIAM 2002, sections 2.2 and 3.5; for units whose inputs and accumulator
differ in precision, Blanchard, Higham, Lopez, Mary and Pranesh, "Mixed precision block fused
multiply-add", SIAM J. Sci. Comput. 42(3), 2020, doi:10.1137/19M1289546.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.formats import Format
from lpsim.rounding import Rounding
from lpsim.units import MatrixUnit

__all__ = ["ProductError", "matmul_bound", "product_error"]

_Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProductError:
    """Errors of a computed product ``C`` of ``A`` and ``B``, and the a-priori bound on each.

    Attributes
    ----------
    max_absolute : float
        Largest ``|C - AB|`` of an element.
    max_absolute_bound : float
        Largest element of the bound.
    relative_frobenius : float
        ``||C - AB||_F / ||AB||_F``.
    relative_frobenius_bound : float
        The same of the bound.
    max_componentwise : float
        Largest ``|C - AB| / (|A| |B|)`` of an element: the componentwise measure of Higham, section
        3.5, which cancellation in ``AB`` does not inflate.
    max_componentwise_bound : float
        The same of the bound; about ``n u`` for an inner dimension of n and an accumulator of unit
        roundoff u, plus the unit roundoffs of the inputs.
    not_finite : int
        How many elements of ``C`` are infinities or NaNs. If it is not 0, the errors are not finite.
    """

    max_absolute: float
    max_absolute_bound: float
    relative_frobenius: float
    relative_frobenius_bound: float
    max_componentwise: float
    max_componentwise_bound: float
    not_finite: int


def product_error(computed: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike, unit: MatrixUnit | str) -> ProductError:
    """Compare a product that a unit computed with the float64 product of the same operands.

    Parameters
    ----------
    computed : array_like
        What ``lpsim.matmul(a, b, unit)`` returned.
    a, b : array_like
        The operands, before the unit rounded them.
    unit : MatrixUnit or str
        The unit, for its bound.

    Returns
    -------
    ProductError

    Notes
    -----
    The float64 product stands for the exact one. Its own error is up to ``n 2**-53 |A| |B|``, so the
    measured errors mean nothing below that.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.errors import product_error
    >>> a, b = [[1 + 2**-12, 1.0]], [[1.0], [2.0]]
    >>> error = product_error(lp.matmul(a, b, lp.units.tf32), a, b, lp.units.tf32)
    >>> error.max_absolute == 2**-12, error.max_absolute <= error.max_absolute_bound
    (True, True)
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    result = np.asarray(computed, dtype=np.float64)
    bound = matmul_bound(left, right, unit)
    with np.errstate(over="ignore", invalid="ignore"):
        product = left @ right
        magnitude = np.abs(left) @ np.abs(right)
        error = np.abs(result - product)
        # An infinity minus an infinity is a NaN, but both came out the same.
        error[np.isinf(result) & (result == product)] = 0.0
    return ProductError(
        max_absolute=_largest(error),
        max_absolute_bound=_largest(bound),
        relative_frobenius=_ratio(_norm(error), _norm(product)),
        relative_frobenius_bound=_ratio(_norm(bound), _norm(product)),
        max_componentwise=_largest(_ratios(error, magnitude)),
        max_componentwise_bound=_largest(_ratios(bound, magnitude)),
        not_finite=int(np.count_nonzero(~np.isfinite(result))),
    )


def matmul_bound(a: npt.ArrayLike, b: npt.ArrayLike, unit: MatrixUnit | str) -> _Reals:
    """Return an a-priori bound on ``|matmul(a, b, unit) - ab|`` for each element of the product.

    Parameters
    ----------
    a, b : array_like
        The operands, before the unit rounds them.
    unit : MatrixUnit or str
        The unit.

    Returns
    -------
    ndarray of float64
        Of the product's shape; infinite where the bound cannot exclude an overflow.

    Notes
    -----
    Without underflow the bound is ``((1 + ua) (1 + ub) (1 + up) (1 + n u) (1 + uo) - 1) |A| |B|``: ``ua``
    and ``ub`` are the unit roundoffs of the input formats, ``up`` of the product format (0 for exact
    products), ``u`` of the accumulator and ``uo`` of the output format (0 if there is none); n is the
    inner dimension. To first order it is ``(ua + ub + n u) |A| |B|``.

    - Each rounding of a number x errs by no more than ``max(u |x|, q / 2)``, q the smallest positive
      value of the format: the terms in q carry inputs, products and sums that underflow.
    - ``n u`` in place of Higham's ``n u / (1 - n u)`` needs no ``n u < 1``, but rounding to nearest:
      C.-P. Jeannerod and S. M. Rump, SIAM J. Matrix Anal. Appl. 34(2), 2013, doi:10.1137/120894488.
      Their induction uses only that a sum errs by no more than its new term, so it holds for fused
      multiply-adds as well, with n roundings. Other modes round by up to 2u, and n of them by up to
      ``(1 + 2u)**n - 1``.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.errors import matmul_bound
    >>> bound = matmul_bound([[1.0, 1.0]], [[1.0], [1.0]], lp.units.bf16)
    >>> round(float(bound[0, 0]) / 2, 5), 2 * 2**-8  # relative to |A| |B|; mostly that of the inputs
    (0.00783, 0.0078125)
    """
    unit = units.get(unit)
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    n = left.shape[-1]
    far_left = _farthest(left, unit.a_format, unit.input_rounding)
    far_right = _farthest(right, unit.b_format, unit.input_rounding)
    with np.errstate(over="ignore", invalid="ignore"):
        magnitude = np.abs(left) @ np.abs(right)
        # Terms that are zero lose nothing to underflow.
        terms = (left != 0).astype(np.float64) @ (right != 0).astype(np.float64)
        if not (np.isfinite(far_left).all() and np.isfinite(far_right).all()):
            return np.full_like(magnitude, np.inf)

        reach = far_left @ far_right
        if unit.product_format is not None:
            reach *= 1 + _roundoff(unit.product_format, unit.rounding)
            reach += terms * _underflow(unit.product_format, unit.rounding)
        u = _roundoff(unit.accumulator_format, unit.rounding)
        # What a sum loses to underflow counts as a change of its new term, so it comes before growth.
        reach += terms * _underflow(unit.accumulator_format, unit.rounding)
        reach *= 1 + (n * u if unit.rounding.is_nearest else np.expm1(n * np.log1p(u)))
        beyond = reach > unit.accumulator_format.max
        if unit.output_format is not None:
            reach *= 1 + _roundoff(unit.output_format, unit.rounding)
            reach += np.minimum(terms, 1) * _underflow(unit.output_format, unit.rounding)
            beyond |= reach > unit.output_format.max
        bound: _Reals = np.where(beyond, np.inf, np.maximum(reach - magnitude, 0.0))
    return bound


def _roundoff(fmt: Format, rounding: Rounding) -> float:
    return fmt.unit_roundoff if rounding.is_nearest else fmt.eps


def _underflow(fmt: Format, rounding: Rounding) -> float:
    """Return the largest error of a rounding below the normal range."""
    return fmt.smallest_subnormal / 2 if rounding.is_nearest else fmt.smallest_subnormal


def _farthest(x: _Reals, fmt: Format, rounding: Rounding) -> _Reals:
    """Return the largest magnitude that each number may have after rounding to ``fmt``."""
    magnitude = np.abs(x)
    farthest = magnitude + np.maximum(_roundoff(fmt, rounding) * magnitude, _underflow(fmt, rounding))
    farthest[magnitude == 0] = 0.0
    farthest[magnitude > fmt.max] = np.inf
    return farthest


def _largest(x: _Reals) -> float:
    return float(x.max(initial=0.0))


def _norm(x: _Reals) -> float:
    return float(np.linalg.norm(x))


def _ratio(numerator: float, denominator: float) -> float:
    return float(_ratios(np.array([numerator]), np.array([denominator]))[0])


def _ratios(numerator: _Reals, denominator: _Reals) -> _Reals:
    """Divide, with 0/0 = 0: no error where there is nothing to err about."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: _Reals = numerator / denominator
    quotient[(numerator == 0) & (denominator == 0)] = 0.0
    return quotient
