"""Error analysis of matrix products: error measures, condition numbers and a-priori bounds.

The measures are those of N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, sections
1.2, 3.5 and 6.2; the bounds are in `lpsim.bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arguments import as_float64, batch_shape, check_inner
from lpsim.bounds import matmul_bound, read_factors
from lpsim.checks import check_choice
from lpsim.formats import FormatLike
from lpsim.spacing import ulp
from lpsim.units import MatrixUnit

__all__ = [
    "ProductError",
    "componentwise_error",
    "condition",
    "matmul_bound",
    "normwise_error",
    "product_error",
    "ulp_error",
]

_Reals = npt.NDArray[np.float64]

_NORMS = ("fro", 1, np.inf)


def normwise_error(computed: npt.ArrayLike, exact: npt.ArrayLike, norm: str | float = "fro") -> float:
    """Return ``||computed - exact|| / ||exact||``.

    Parameters
    ----------
    computed, exact : array_like
        Vectors or matrices of the same shape.
    norm : str or float
        ``"fro"`` (of vectors: the Euclidean norm), 1 (the largest column sum) or `numpy.inf` (the largest row sum;
        of vectors: the largest element).

    Returns
    -------
    float
        0 where both are 0 or empty.

    Raises
    ------
    ValueError
        If shapes differ, there are more than two axes, or the norm is another one.
    TypeError
        If an argument holds no real numbers.

    Examples
    --------
    >>> from lpsim.errors import normwise_error
    >>> normwise_error([[3, 4.5]], [[3, 4]]), normwise_error([[3, 4.5]], [[3, 4]], norm=1)
    (0.1, 0.125)
    """
    check_choice("norm", norm, _NORMS)
    error, reference = _difference(computed, exact)
    if error.ndim > 2:
        raise ValueError(f"computed has {error.ndim} axes; allowed: at most two")
    return _ratio(_norm(error, norm), _norm(reference, norm))


def componentwise_error(computed: npt.ArrayLike, exact: npt.ArrayLike) -> float:
    """Return the largest ``|computed - exact| / |exact|`` of an element.

    Parameters
    ----------
    computed, exact : array_like
        Arrays of the same shape.

    Returns
    -------
    float
        Elements that are equal, 0 included, have no error; an error where exact is 0 is infinite.

    Raises
    ------
    ValueError
        If shapes differ.
    TypeError
        If an argument holds no real numbers.

    Examples
    --------
    >>> from lpsim.errors import componentwise_error
    >>> componentwise_error([1000.5, 0.5], [1000, 1])
    0.5
    """
    error, reference = _difference(computed, exact)
    return _largest(_ratios(error, np.abs(reference)))


def ulp_error(computed: npt.ArrayLike, exact: npt.ArrayLike, fmt: FormatLike) -> _Reals:
    """Return ``|computed - exact|`` of each element in units in the last place of exact, `lpsim.ulp`.

    Parameters
    ----------
    computed, exact : array_like
        Arrays of the same shape, of any real numbers: rounding to nearest errs by 0.5 at most.
    fmt : Format, str or dtype
        The format whose units these are, as `lpsim.format` reads it.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        If shapes differ, or ``fmt`` names no format.
    TypeError
        If an argument holds no real numbers.

    Examples
    --------
    >>> from lpsim.errors import ulp_error
    >>> ulp_error([1.0, 2048], [1.001, 2049], "half").round(3).tolist()
    [1.024, 0.5]
    """
    error, reference = _difference(computed, exact)
    finite = np.where(np.isfinite(reference), reference, 1.0)
    units = ulp(finite, fmt)
    with np.errstate(all="ignore"):
        quotient: _Reals = np.asarray(error / units)
    return quotient


def condition(a: npt.ArrayLike, b: npt.ArrayLike) -> _Reals:
    """Return ``|A||B| / |AB|``: by how much each element of a product may magnify relative errors of its terms.

    Parameters
    ----------
    a, b : array_like
        Real matrices or vectors that `numpy.matmul` multiplies.

    Returns
    -------
    ndarray of float64
        Of the product's shape: 1 where no terms cancel, infinite where all do.

    Raises
    ------
    ValueError
        If shapes do not match.
    TypeError
        If an argument holds no real numbers.

    Notes
    -----
    In binary64; values near ``2**53`` and above say only that the product is lost in it. Half of Ogita, Rump and
    Oishi's condition number of a dot product (SIAM J. Sci. Comput. 26(6), 2005, doi:10.1137/030601818).

    Examples
    --------
    >>> from lpsim.errors import condition
    >>> condition([[1, 100, -99]], [[1, 1], [1, 0], [1, 0]]).tolist()
    [[100.0, 1.0]]
    """
    left, right = _real(a, "a"), _real(b, "b")
    check_inner(left, right)
    batch_shape(left, right)
    with np.errstate(all="ignore"):
        magnitude, product = np.abs(left) @ np.abs(right), np.abs(left @ right)
        return np.where(magnitude == 0, 1.0, magnitude / product)


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
        Largest ``|C - AB| / (|A||B|)`` of an element: the componentwise measure of Higham, section
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


def product_error(
    computed: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnit | str,
    c: npt.ArrayLike | None = None,
    *,
    a_scale: npt.ArrayLike | None = None,
    b_scale: npt.ArrayLike | None = None,
) -> ProductError:
    """Compare a product that a unit computed with the float64 product of the same operands.

    Parameters
    ----------
    computed : array_like
        What ``lpsim.matmul(a, b, unit, c)`` returned.
    a, b, c : array_like
        The operands, before the unit rounded them.
    unit : MatrixUnit or str
        The unit, for its bound.
    a_scale, b_scale : array_like, optional
        Scales, for units that have them.

    Returns
    -------
    ProductError

    Raises
    ------
    ValueError, TypeError
        If shapes do not match, or `matmul_bound` refuses the unit.

    Notes
    -----
    The float64 product stands for the exact one. Its own error is up to ``n 2**-53 |A||B|``, so the
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
    unit = units.get(unit)
    bound = matmul_bound(a, b, unit, c, a_scale=a_scale, b_scale=b_scale)
    factors = read_factors(a, b, unit, c, a_scale, b_scale)
    left, right = factors.a * factors.a_scale, factors.b * factors.b_scale
    with np.errstate(all="ignore"):
        product = left @ right + factors.c
        magnitude = np.abs(left) @ np.abs(right) + np.abs(factors.c)
    error, _ = _difference(computed, product)
    return ProductError(
        max_absolute=_largest(error),
        max_absolute_bound=_largest(bound),
        relative_frobenius=_ratio(_norm(error), _norm(product)),
        relative_frobenius_bound=_ratio(_norm(bound), _norm(product)),
        max_componentwise=_largest(_ratios(error, magnitude)),
        max_componentwise_bound=_largest(_ratios(bound, magnitude)),
        not_finite=int(np.count_nonzero(~np.isfinite(_real(computed, "computed")))),
    )


def _real(x: npt.ArrayLike, argument: str) -> _Reals:
    return as_float64(x, argument)


def _difference(computed: npt.ArrayLike, exact: npt.ArrayLike) -> tuple[_Reals, _Reals]:
    """Return ``|computed - exact|`` and exact; the same infinity on both sides is no error."""
    result, reference = _real(computed, "computed"), _real(exact, "exact")
    if result.shape != reference.shape:
        raise ValueError(f"computed has shape {result.shape} and exact {reference.shape}; allowed: the same")
    with np.errstate(all="ignore"):
        error = np.abs(result - reference)
    return np.where(result == reference, 0.0, error), reference


def _largest(x: _Reals) -> float:
    return float(x.max(initial=0.0))


def _norm(x: _Reals, norm: str | float = "fro") -> float:
    if x.size == 0:
        return 0.0
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(x) if norm == "fro" else np.linalg.norm(np.atleast_1d(x), ord=float(norm)))


def _ratio(numerator: float, denominator: float) -> float:
    return float(_ratios(np.array([numerator]), np.array([denominator]))[0])


def _ratios(numerator: _Reals, denominator: _Reals) -> _Reals:
    """Divide, with 0/0 = 0: no error where there is nothing to err about."""
    with np.errstate(all="ignore"):
        return np.where((numerator == 0) & (denominator == 0), 0.0, numerator / denominator)
