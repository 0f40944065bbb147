"""Between PyTorch's tensors and NumPy's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lpsim.arguments import RealArray

__all__ = ["as_array", "as_tensor", "check_real"]

_NUMPY_HAS = (torch.float32, torch.float64)


def check_real(tensor: torch.Tensor, argument: str) -> None:
    """Refuse tensors that do not lie in the processor's memory or hold no floating-point numbers.

    Raises
    ------
    TypeError
        If it is one.
    """
    if tensor.device.type != "cpu":
        raise TypeError(f"{argument} is on device {str(tensor.device)!r}; allowed: 'cpu' (tensor.cpu() copies)")
    if not tensor.is_floating_point():
        raise TypeError(f"{argument} has dtype {tensor.dtype}; allowed: floating-point dtypes")


def as_array(tensor: torch.Tensor) -> RealArray:
    """Return the values of a tensor as float32 or float64, without a copy where its dtype is one of these."""
    plain = tensor.detach()
    if plain.dtype not in _NUMPY_HAS:
        plain = plain.to(torch.float32)  # exact: bfloat16, float16 and the formats of 8 bits
    array: RealArray = plain.resolve_neg().numpy()
    return array


def as_tensor(array: Any, like: torch.Tensor) -> torch.Tensor:
    """Return an array as a tensor of another one's dtype."""
    return torch.from_numpy(np.asarray(array)).to(like.dtype)
