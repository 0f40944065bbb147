"""Small real data sets that travel with the package; ``README.md`` beside them names source and licence."""

from __future__ import annotations

from importlib import resources

import numpy as np
import numpy.typing as npt

__all__ = ["load_digits"]


def load_digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the handwritten digits of the UCI repository (its test set).

    Returns
    -------
    pixels : ndarray of float64, shape (1797, 64)
        One image of 8 by 8 pixels a row, each pixel an integer from 0 to 16.
    labels : ndarray of int64, shape (1797,)
        The digit that each image shows, 0 to 9.

    Notes
    -----
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49; CC BY 4.0.

    Examples
    --------
    >>> from lpsim.data import load_digits
    >>> pixels, labels = load_digits()
    >>> pixels.shape, labels.shape, float(pixels.max())
    ((1797, 64), (1797,), 16.0)
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        content = np.load(file, allow_pickle=False)
        return content["pixels"].astype(np.float64), content["labels"].astype(np.int64)
