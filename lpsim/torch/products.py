"""PyTorch's products of matrices, vectors and convolutions, written with one function that multiplies matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lpsim.arguments import RealArray
from lpsim.torch.convolution import convolve, input_gradient, weight_gradient
from lpsim.torch.tensors import as_array, as_tensor

__all__ = ["PRODUCTS", "UNSUPPORTED", "Multiply"]

#: Multiplies two tensors, as arrays derived from them: (a, b, array of a, array of b) -> product.
Multiply = Callable[[torch.Tensor, torch.Tensor, RealArray, RealArray], RealArray]

_aten = torch.ops.aten


def _product(multiply: Multiply, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return as_tensor(multiply(a, b, as_array(a), as_array(b)), a)


def _sum(product: torch.Tensor, start: torch.Tensor, beta: float, alpha: float) -> torch.Tensor:
    """Return beta * start + alpha * product, as PyTorch's own operations round it."""
    if alpha != 1:
        product = product * alpha
    if beta == 0:  # what is in it does not count, NaN included
        return product
    return product + (start if beta == 1 else start * beta)


def _mm(multiply: Multiply, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _product(multiply, a, b)


def _addmm(
    multiply: Multiply, start: torch.Tensor, a: torch.Tensor, b: torch.Tensor, beta: float = 1, alpha: float = 1
) -> torch.Tensor:
    return _sum(_product(multiply, a, b), start, beta, alpha)


def _addbmm(
    multiply: Multiply, start: torch.Tensor, a: torch.Tensor, b: torch.Tensor, beta: float = 1, alpha: float = 1
) -> torch.Tensor:
    # One sum over the batch and over k.
    m, n = a.shape[1], b.shape[2]
    left, right = as_array(a).transpose(1, 0, 2).reshape(m, -1), as_array(b).reshape(-1, n)
    return _sum(as_tensor(multiply(a, b, left, right), a), start, beta, alpha)


def _convolution(
    multiply: Multiply,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> torch.Tensor:
    by = _of_arrays(multiply, x, weight)
    if transposed:
        shape = _transposed_shape(x, weight, stride, padding, dilation, output_padding, groups)
        result = input_gradient(as_array(x), as_array(weight), shape, stride, padding, dilation, groups, by)
    else:
        result = convolve(as_array(x), as_array(weight), stride, padding, dilation, groups, by)
    tensor = as_tensor(result, x)
    return tensor if bias is None else tensor + bias.reshape(1, -1, *[1] * (x.ndim - 2))


def _transposed_shape(
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    output_padding: list[int],
    groups: int,
) -> list[int]:
    spatial = [
        (x.shape[2 + i] - 1) * stride[i]
        - 2 * padding[i]
        + dilation[i] * (weight.shape[2 + i] - 1)
        + output_padding[i]
        + 1
        for i in range(x.ndim - 2)
    ]
    return [x.shape[0], weight.shape[1] * groups, *spatial]


def _of_arrays(multiply: Multiply, x: torch.Tensor, y: torch.Tensor) -> Callable[[RealArray, RealArray], RealArray]:
    return lambda left, right: multiply(x, y, left, right)


def _convolution_backward(
    multiply: Multiply,
    slope: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias_sizes: list[int] | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    output_mask: list[bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    geometry = (stride, padding, dilation, groups)
    slopes, inputs, weights = as_array(slope), as_array(x), as_array(weight)
    for_x = for_weight = for_bias = None
    if output_mask[0]:
        by = _of_arrays(multiply, slope, weight)
        if transposed:
            result = convolve(slopes, weights, *geometry, by)
        else:
            result = input_gradient(slopes, weights, x.shape, *geometry, by)
        for_x = as_tensor(result, x)
    if output_mask[1]:
        kernel = weight.shape[2:]
        if transposed:
            result = weight_gradient(inputs, slopes, kernel, *geometry, _of_arrays(multiply, x, slope))
        else:
            result = weight_gradient(slopes, inputs, kernel, *geometry, _of_arrays(multiply, slope, x))
        for_weight = as_tensor(result, weight)
    if output_mask[2]:
        for_bias = slope.sum(dim=[0, *range(2, slope.ndim)])
    return for_x, for_weight, for_bias


#: What each operation does, by PyTorch's name: called with what multiplies and the operation's arguments.
PRODUCTS: dict[Any, Callable[..., Any]] = {
    _aten.mm.default: _mm,
    _aten.bmm.default: _mm,
    _aten.mv.default: _mm,
    _aten.dot.default: _mm,
    _aten.vdot.default: _mm,
    _aten.addmm.default: _addmm,
    _aten.addmv.default: _addmm,
    _aten.baddbmm.default: _addmm,
    _aten.addbmm.default: _addbmm,
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
}

#: Operations with products inside that are not simulated, by parts of their names.
UNSUPPORTED = (
    "scaled_dot_product", "transformer_encoder_layer_fwd", "native_multi_head_attention", "mkldnn_rnn",
    "mkldnn_linear", "mkldnn_convolution", "mkldnn_rnn_layer", "_cudnn", "scaled_mm", "int_mm", "weight_int",
    "quantized", "sparse_addmm", "sparse_mm", "_sparse", "grouped_mm", "dyn_quant", "_addmm_activation", "miopen",
    "flex_attention", "trilinear",
)  # fmt: skip
