"""``a @ weight.T`` for a quantised weight, as the tool that quantised it computes it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_real
from lpsim.linalg import matmul
from lpsim.quantization.quantized import Quantized
from lpsim.units import MatrixUnit

__all__ = ["linear"]


def linear(
    a: npt.ArrayLike, weight: Quantized, unit: MatrixUnit | str | None = None, bias: npt.ArrayLike | None = None
) -> npt.NDArray[Any]:
    """Return activations times a quantised weight, as the tool of its scheme computes them.

    Parameters
    ----------
    a : array_like, shape (..., k)
        Activations.
    weight : Quantized, shape (n, k), axis 1
        The weight, quantised along the axis that is summed over.
    unit : MatrixUnit or str, optional
        The unit of products in floating point. Default: that of the scheme; `lpsim.units.fp32` for schemes that say
        nothing, whose weight is dequantised and multiplied.
    bias : array_like, shape (n,), optional
        Added to the sums in float32, before a result is rounded to the scheme's output format.

    Returns
    -------
    ndarray of float32, shape (..., n)
        Values of the scheme's output format, if it has one: float16 for LLM.int8() and EETQ.

    Raises
    ------
    ValueError
        If shapes do not fit, or the weight was quantised along another axis.

    Examples
    --------
    >>> import lpsim as lp
    >>> weight = lp.quantize([[1.0, -2.0], [0.5, 0.25]], "nf4")
    >>> lp.quantization.linear([[1.0, 1.0]], weight).tolist()
    [[-1.1185803413391113, 0.8140850067138672]]
    """
    if len(weight.shape) != 2 or weight.axis != 1:
        raise ValueError(f"weight has shape {weight.shape} and axis {weight.axis}; allowed: two axes, and axis 1")
    with np.errstate(all="ignore"):  # numbers beyond float32 are infinite
        array = as_real(a, "a").astype(np.float32)
    if array.ndim == 0 or array.shape[-1] != weight.n:
        raise ValueError(f"a has shape {array.shape}; allowed: (..., {weight.n}), as weight has {weight.shape}")
    with np.errstate(all="ignore"):
        addend = None if bias is None else as_real(bias, "bias").astype(np.float32)
    if addend is not None and addend.shape != (weight.rows,):
        raise ValueError(f"bias has shape {addend.shape}; allowed: ({weight.rows},)")
    rows = array.reshape(math.prod(array.shape[:-1]), weight.n)
    own = getattr(weight.scheme, "linear", None)
    with np.errstate(all="ignore"):
        if own is not None:
            result = own(rows, weight.parts, weight.rows, unit, addend)
        else:
            result = np.asarray(matmul(rows, weight.dequantize().T, "fp32" if unit is None else unit), np.float32)
            result = result if addend is None else result + addend
    return np.asarray(result, np.float32).reshape(*array.shape[:-1], weight.rows)
