"""Solvers of linear systems: Gaussian elimination, conjugate gradients, iterative refinement."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.arrays import Array, Context
from lpsim.formats import FormatLike, float32, float64

__all__ = ["conjugate_gradients", "iterative_refinement", "lu_factor", "lu_solve"]


def lu_factor(a: Any) -> tuple[Any, list[int]]:
    """Return the LU factors of a matrix in one array, and the order of its rows: Gaussian elimination.

    Parameters
    ----------
    a : ndarray or Array, shape (n, n)
        The matrix.

    Returns
    -------
    lu : ndarray or Array, shape (n, n)
        The multipliers below the diagonal, and the upper triangle.
    order : list of int
        Row ``order[i]`` of the matrix is row i of the product of the factors.

    Raises
    ------
    ZeroDivisionError
        If a column has no pivot but zero.

    Notes
    -----
    Source: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, section 9.1: the kij
    form, with partial pivoting.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.examples import lu_factor, lu_solve
    >>> a = lp.array([[1, 2], [3, 4]], "half")
    >>> lu_solve(lu_factor(a), lp.array([5, 6], "half"))
    Array([-3.994, 4.496], float16)
    """
    lu = a.copy()
    n = len(lu)
    order = list(range(n))
    for k in range(n):
        pivot = k + int(np.argmax(abs(lu[k:, k])))
        if lu[pivot, k] == 0:
            raise ZeroDivisionError(f"column {k} has no pivot but zero")
        if pivot != k:
            lu[[k, pivot]] = lu[[pivot, k]]
            order[k], order[pivot] = order[pivot], order[k]
        lu[k + 1 :, k] /= lu[k, k]
        lu[k + 1 :, k + 1 :] -= lu[k + 1 :, k, np.newaxis] * lu[np.newaxis, k, k + 1 :]
    return lu, order


def lu_solve(factors: tuple[Any, list[int]], b: Any) -> Any:
    """Return the solution of a system from the factors that `lu_factor` gives, by two substitutions.

    Parameters
    ----------
    factors : tuple
        What `lu_factor` returns.
    b : ndarray or Array, shape (n,)
        The right-hand side.

    Returns
    -------
    ndarray or Array, shape (n,)
        The solution.

    Notes
    -----
    Source: Higham 2002, algorithm 8.1, by columns.

    Examples
    --------
    >>> import numpy as np
    >>> from lpsim.examples import lu_factor, lu_solve
    >>> lu_solve(lu_factor(np.array([[2.0, 0], [0, 4]])), np.array([1.0, 1])).tolist()
    [0.5, 0.25]
    """
    lu, order = factors
    x = b[order]
    n = len(lu)
    for k in range(n):
        x[k + 1 :] -= lu[k + 1 :, k] * x[k]
    for k in reversed(range(n)):
        x[k] /= lu[k, k]
        x[:k] -= lu[:k, k] * x[k]
    return x


def conjugate_gradients(a: Any, b: Any, iterations: int) -> tuple[Any, list[float]]:
    """Return an approximate solution of a symmetric positive definite system, and the norms of the residuals.

    Parameters
    ----------
    a : ndarray or Array, shape (n, n)
        The matrix.
    b : ndarray or Array, shape (n,)
        The right-hand side.
    iterations : int
        Largest number of iterations; it ends before, if the recursive residual or a curvature is not positive.

    Returns
    -------
    x : ndarray or Array, shape (n,)
        The approximation.
    norms : list of float
        2-norms of the recursive residuals, from that of ``b`` on.

    Notes
    -----
    Source: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems", 1952,
    doi:10.6028/jres.049.044, section 3.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.examples import conjugate_gradients
    >>> a, b = lp.array([[4, 1], [1, 3]], "bf16"), lp.array([1, 2], "bf16")
    >>> conjugate_gradients(a, b, 2)[0]
    Array([0.091, 0.637], bfloat16)
    """
    x = np.zeros_like(b)
    r = b.copy()
    p = r
    square = r @ r
    norms = [float(np.sqrt(square))]
    for _ in range(iterations):
        image = a @ p
        curvature = p @ image
        if not (square > 0 and curvature > 0):
            break
        step = square / curvature
        x = x + step * p
        r = r - step * image
        before, square = square, r @ r
        p = r + square / before * p
        norms.append(float(np.sqrt(square)))
    return x, norms


def iterative_refinement(
    a: Any,
    b: Any,
    *,
    factor: FormatLike,
    working: FormatLike = float32,
    residual: FormatLike = float64,
    iterations: int = 10,
    context: Context | None = None,
) -> tuple[Array, list[float]]:
    """Return the solution of a system, refined in three precisions, and the norms of the corrections.

    The matrix is factorised in one format, solutions and corrections are values of a second one, and residuals are
    computed in a third one.

    Parameters
    ----------
    a : array_like, shape (n, n)
        The matrix, rounded to ``working``.
    b : array_like, shape (n,)
        The right-hand side, rounded to ``working``.
    factor, working, residual : Format, str or dtype
        The formats, as `lpsim.format` reads them.
    iterations : int
        Number of refinements.
    context : Context, optional
        How all operations round. Default: to nearest, ties to even.

    Returns
    -------
    x : Array, shape (n,)
        The solution in ``working``.
    corrections : list of float
        Maximum norm of each correction relative to that of the solution.

    Notes
    -----
    The residual is divided by its largest magnitude before it is rounded to ``factor``, so that it does not underflow.

    Source: E. Carson and N. J. Higham, "Accelerating the solution of linear systems by iterative refinement in three
    precisions", 2018, doi:10.1137/17M1140819, algorithm 1.1.

    Examples
    --------
    >>> import numpy as np
    >>> from lpsim.examples import iterative_refinement
    >>> a = np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]])
    >>> x, _ = iterative_refinement(a, a @ [1, 2, 3], factor="half")
    >>> x.tolist()
    [1.0, 2.0, 3.0]
    """
    matrix, target = Array(a, working, context), Array(b, working, context)
    factors = lu_factor(matrix.astype(factor))
    x = lu_solve(factors, target.astype(factor)).astype(working)
    exact_matrix, exact_target = matrix.astype(residual), target.astype(residual)
    corrections = []
    for _ in range(iterations):
        r = exact_target - exact_matrix @ x.astype(residual)
        scale = np.max(abs(r))
        if scale == 0:
            break
        d = lu_solve(factors, (r / scale).astype(factor))
        correction = (d.astype(residual) * scale).astype(working)
        x = x + correction
        corrections.append(float(np.max(abs(correction))) / float(np.max(abs(x))))
    return x, corrections
