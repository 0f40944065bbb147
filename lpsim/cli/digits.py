"""The computation behind ``lpsim demo``: Gram matrix and principal components of the digits under units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import lpsim as lp
from lpsim import units
from lpsim.data import load_digits
from lpsim.errors import ProductError, product_error
from lpsim.units import MatrixUnit

__all__ = ["UNITS", "Projection", "UnitResult", "centred_digits", "exact_projection", "run_unit"]

_Reals = npt.NDArray[np.float64]

#: The units of the demo: ever narrower inputs with FP32 accumulation, then narrow accumulators.
UNITS = ("fp32", "tf32", "bf16", "fp16", "fp8_e4m3", "fp8_e5m2", "fp16_fp16acc", "bf16_bf16acc")


@dataclass(frozen=True)
class Projection:
    """Images projected to the plane of the two largest principal components.

    Attributes
    ----------
    points : ndarray, shape (1797, 2)
        The images in the plane.
    axes : ndarray, shape (64, 2)
        The plane's orthonormal axes.
    variance : float
        Share of the images' variance in the plane, by the float64 Gram matrix.
    smallest_eigenvalue : float
        Of the Gram matrix; an exact one has no negative eigenvalue.
    """

    points: _Reals
    axes: _Reals
    variance: float
    smallest_eigenvalue: float


@dataclass(frozen=True)
class UnitResult:
    """What one unit made of the digits.

    Attributes
    ----------
    unit : MatrixUnit
        The unit.
    gram : ProductError
        Errors of the Gram matrix.
    projection : Projection or None
        None if the Gram matrix has infinities or NaNs, hence no eigenvectors.
    shift : float
        Largest distance of a projected image from its float64 place, relative to the root mean square
        distance of the images from the centre; NaN without projection.
    """

    unit: MatrixUnit
    gram: ProductError
    projection: Projection | None
    shift: float


def centred_digits() -> tuple[_Reals, npt.NDArray[np.int64]]:
    """Return pixels from 0 to 1 less the mean image, and labels.

    Raw pixels would show little: they are integers up to 16, which all formats of the demo but E5M2
    hold exactly, and FP32 sums of their products are exact too. Centred ones have to be rounded. They
    lie within -1 and 1 and the elements of their Gram matrix within 300, so that nothing overflows.
    """
    pixels, labels = load_digits()
    scaled = pixels / 16
    return scaled - scaled.mean(axis=0), labels


def exact_projection(images: _Reals) -> Projection:
    """Return the projection in float64."""
    gram = images.T @ images
    eigenvalues, axes = _principal_axes(gram)
    return Projection(images @ axes, axes, _variance(gram, axes), float(eigenvalues[0]))


def run_unit(
    images: _Reals, exact: Projection, unit: MatrixUnit | str, advance: Callable[[], None] = lambda: None
) -> UnitResult:
    """Compute Gram matrix and projection with the unit's products; eigenvectors are float64's.

    ``advance`` is called after each of the two products.
    """
    unit = units.get(unit)
    simulated = np.asarray(lp.matmul(images.T, images, unit), dtype=np.float64)
    advance()
    error = product_error(simulated, images.T, images, unit)
    if error.not_finite:
        advance()
        return UnitResult(unit, error, None, np.nan)
    eigenvalues, axes = _principal_axes(simulated)
    # An eigenvector's sign is arbitrary; take the one that is closer to the exact axis.
    axes = axes * np.where(np.sum(axes * exact.axes, axis=0) < 0, -1.0, 1.0)
    points = np.asarray(lp.matmul(images, axes, unit), dtype=np.float64)
    advance()
    moved = np.linalg.norm(points - exact.points, axis=1)
    spread = np.sqrt(np.mean(np.sum(exact.points**2, axis=1)))
    variance = _variance(images.T @ images, axes)
    projection = Projection(points, axes, variance, float(eigenvalues[0]))
    return UnitResult(unit, error, projection, float(moved.max() / spread))


def _principal_axes(gram: _Reals) -> tuple[_Reals, _Reals]:
    eigenvalues, vectors = np.linalg.eigh(gram)
    return eigenvalues, vectors[:, ::-1][:, :2]


def _variance(gram: _Reals, axes: _Reals) -> float:
    return float(np.trace(axes.T @ gram @ axes) / np.trace(gram))
