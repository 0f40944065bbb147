"""Rounding that gradients pass."""

from __future__ import annotations

from typing import Any

import torch

from lpsim.codec import round as round_to
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.rounding import Overflow, Rounding
from lpsim.torch.tensors import as_array, as_tensor, check_real

__all__ = ["round"]


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, fmt: Format, gradient: Format | None, how: dict[str, Any]) -> torch.Tensor:
        ctx.gradient, ctx.how = gradient, how
        return as_tensor(round_to(as_array(x), fmt, **how), x)

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (slope,) = outputs
        if ctx.gradient is not None:
            slope = as_tensor(round_to(as_array(slope), ctx.gradient, **ctx.how), slope)
        return slope, None, None, None


def round(
    x: torch.Tensor,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    *,
    gradient_format: FormatLike | None = None,
) -> torch.Tensor:
    """Round a tensor to values of a format; gradients pass as if it were not rounded.

    Parameters
    ----------
    x : Tensor
        Floating-point numbers in the processor's memory.
    fmt, rounding, overflow, seed, random_bits
        As for `lpsim.round`.
    gradient_format : Format, str or dtype, optional
        Format to which the gradient is rounded, in the same way. Default: it is passed as it is.

    Returns
    -------
    Tensor
        Values of the format, of the shape and dtype of ``x``. A dtype that does not hold them rounds them again.

    Raises
    ------
    TypeError
        If ``x`` is on another device or holds no floating-point numbers.
    ValueError
        As `lpsim.round`.

    Notes
    -----
    The derivative of rounding is zero almost everywhere; it is replaced by 1, the straight-through estimator.

    Source: Y. Bengio, N. Léonard and A. Courville, "Estimating or propagating gradients through stochastic neurons",
    2013, arXiv:1308.3432.

    Examples
    --------
    >>> import torch
    >>> import lpsim.torch
    >>> x = torch.tensor([0.1, 464.0], requires_grad=True)
    >>> y = lpsim.torch.round(x, "e4m3fn")
    >>> y.tolist()
    [0.1015625, 448.0]
    >>> y.sum().backward()
    >>> x.grad.tolist()
    [1.0, 1.0]
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x is {x!r:.60}; allowed: a torch.Tensor (lpsim.round takes arrays)")
    check_real(x, "x")
    gradient = None if gradient_format is None else as_format(gradient_format, "gradient_format")
    how = {"rounding": rounding, "overflow": overflow, "seed": seed, "random_bits": random_bits}
    result: torch.Tensor = _Round.apply(x, as_format(fmt), gradient, how)
    return result
