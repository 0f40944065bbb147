"""The Hessian of a linear layer's squared output error, from its inputs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_real
from lpsim.checks import check_integer, shown
from lpsim.memory import check_size

__all__ = ["Hessian", "inverse_factor"]

RealMatrix = npt.NDArray[np.float32]

#: Up to which size triangular matrices are inverted as a whole.
_WHOLE = 128


class Hessian:
    """Running Hessian ``2 / n * sum X X^T`` of the inputs that a linear layer sees, for GPTQ.

    Parameters
    ----------
    in_features : int
        Number of inputs of the layer.

    Attributes
    ----------
    matrix : ndarray of float32, shape (in_features, in_features)
        The Hessian so far.
    samples : int
        How many samples it is of.

    Notes
    -----
    With each batch of t samples, H is multiplied by n / (n + t), n becomes n + t, and x x^T is added with
    x = sqrt(2 / n) * inputs, all in float32; the order of summation in the product is BLAS's. Source: IST-DASLab/gptq
    (2d65066e), gptq.py, add_batch.

    Examples
    --------
    >>> import lpsim as lp
    >>> hessian = lp.quantization.Hessian(2)
    >>> hessian.add([[1, 0], [1, 2]]).add([[1, 2]]).matrix.tolist()
    [[3.0, 4.0], [4.0, 8.0]]
    """

    def __init__(self, in_features: int) -> None:
        check_integer("in_features", in_features, "an integer")
        if in_features < 1:
            raise ValueError(f"in_features is {shown(int(in_features))}; allowed: 1 or more")
        check_size("the matrix", (int(in_features), int(in_features)))
        self.matrix: RealMatrix = np.zeros((int(in_features), int(in_features)), np.float32)
        self.samples = 0

    def add(self, batch: npt.ArrayLike) -> Hessian:
        """Take in a batch of inputs and return self.

        Parameters
        ----------
        batch : array_like, shape (samples, tokens, in_features) or (tokens, in_features)
            Inputs of the layer; a matrix is one sample.

        Raises
        ------
        ValueError
            If the shape does not fit, or inputs are not finite.
        """
        inputs = as_real(batch, "batch").view(np.ndarray)
        n = self.matrix.shape[0]
        if inputs.ndim not in (2, 3) or inputs.shape[-1] != n:
            raise ValueError(f"batch has shape {inputs.shape}; allowed: (samples, tokens, {n}) and (tokens, {n})")
        added = inputs.shape[0] if inputs.ndim == 3 else 1
        if not inputs.size:
            return self
        total = self.samples + added
        with np.errstate(all="ignore"):
            rows = inputs.reshape(-1, n).astype(np.float32, copy=False)
            scaled = rows * np.float32(math.sqrt(2 / total))
            product = scaled.T @ scaled
        if not np.isfinite(product).all():
            raise ValueError("batch holds NaN, infinity or numbers whose squares overflow; allowed: finite inputs")
        with np.errstate(all="ignore"):
            self.matrix *= np.float32(self.samples / total)
            self.matrix += product
        self.samples = total
        return self


def inverse_factor(hessian: RealMatrix, damp_percent: float) -> RealMatrix:
    """Return the upper triangular U, of a positive diagonal, with ``U^T U`` the inverse of the damped Hessian.

    The Hessian's diagonal is damped in float32, in place, by ``damp_percent`` of its mean. Rather than the Cholesky
    factor of an inverse, U is computed as the inverse of a Cholesky factor from the last row up, which
    is the same matrix; in float64, and rounded to float32.

    Raises
    ------
    ValueError
        If the damped Hessian is not positive definite.
    """
    diagonal = np.einsum("ii->i", hessian)
    diagonal += np.float32(damp_percent) * np.mean(diagonal, dtype=np.float32)
    try:
        # With the order of rows and columns reversed, L L^T becomes R R^T with an upper triangular R.
        reversed_factor = np.linalg.cholesky(hessian[::-1, ::-1].astype(np.float64))
        inverse = _inverse_of_lower(reversed_factor)[::-1, ::-1]
    except np.linalg.LinAlgError:
        inverse = np.full((1, 1), np.nan)
    factor: RealMatrix = np.triu(inverse).astype(np.float32)
    if not np.isfinite(factor).all() or not (np.einsum("ii->i", factor) > 0).all():
        raise ValueError(
            f"the Hessian is singular or not positive definite with damp_percent={damp_percent}; "
            "allowed: more calibration samples, or a larger damp_percent (0.01 and more)"
        )
    return factor


def _inverse_of_lower(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the inverse of a lower triangular matrix, by halves."""
    n = matrix.shape[0]
    if n <= _WHOLE:
        return np.tril(np.linalg.inv(matrix))
    half = n // 2
    out = np.zeros_like(matrix)
    out[:half, :half] = _inverse_of_lower(matrix[:half, :half])
    out[half:, half:] = _inverse_of_lower(matrix[half:, half:])
    out[half:, :half] = -(out[half:, half:] @ (matrix[half:, :half] @ out[:half, :half]))
    return out
