"""Convolutions as matrix products, in any number of dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lpsim.arguments import RealArray

__all__ = ["convolve", "input_gradient", "weight_gradient"]

Multiply = Callable[[RealArray, RealArray], RealArray]


def _windows(
    x: RealArray, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> RealArray:
    """Return the numbers under the kernel at each place: (batch, channels, *places, *kernel), without a copy."""
    padded = np.pad(x, [(0, 0), (0, 0), *((one, one) for one in padding)])
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    axes = tuple(range(2, x.ndim))
    every = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
    places = tuple(slice(None, None, one) for one in stride)
    taps = tuple(slice(None, None, one) for one in dilation)
    index = (slice(None), slice(None), *places, *taps)
    windows: RealArray = every[index]
    return windows


def _rows(windows: RealArray, dimensions: int) -> RealArray:
    """Return windows as a matrix: (batch and places, channels and kernel)."""
    batch, channels = windows.shape[:2]
    places = tuple(range(2, 2 + dimensions))
    taps = tuple(range(2 + dimensions, 2 + 2 * dimensions))
    moved = windows.transpose(0, *places, 1, *taps)
    depth = channels * int(np.prod(windows.shape[2 + dimensions :]))
    rows: RealArray = moved.reshape(batch * int(np.prod(windows.shape[2 : 2 + dimensions])), depth)
    return rows


def convolve(
    x: RealArray,
    weight: RealArray,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    multiply: Multiply,
) -> RealArray:
    """Return the convolution, each element a dot product over channels and kernel in C order.

    Parameters
    ----------
    x : ndarray, shape (batch, channels, *spatial)
        The input.
    weight : ndarray, shape (outputs, channels / groups, *kernel)
        The kernel.
    stride, padding, dilation : sequence of int
        One for each spatial axis.
    groups : int
        Number of groups of channels.
    multiply : callable
        Multiplies matrices.
    """
    dimensions = x.ndim - 2
    windows = _windows(x, weight.shape[2:], stride, padding, dilation)
    places = windows.shape[2 : 2 + dimensions]
    channels, outputs = x.shape[1] // groups, weight.shape[0] // groups
    parts = []
    for group in range(groups):
        rows = _rows(windows[:, group * channels : (group + 1) * channels], dimensions)
        columns = weight[group * outputs : (group + 1) * outputs].reshape(outputs, -1).T
        parts.append(multiply(rows, columns).reshape(x.shape[0], *places, outputs))
    return np.ascontiguousarray(np.moveaxis(np.concatenate(parts, axis=-1), -1, 1))


def input_gradient(
    slope: RealArray,
    weight: RealArray,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    multiply: Multiply,
) -> RealArray:
    """Return the gradient for the input, of a shape: the convolution transposed.

    Each element is a dot product over output channels and the flipped kernel, with zeros between the places of a
    stride; zeros change no sum but the sign of one of zeros.
    """
    spatial = tuple(shape[2:])
    spread = [(one - 1) * s + 1 for one, s in zip(slope.shape[2:], stride, strict=True)]
    spans = [d * (k - 1) for k, d in zip(weight.shape[2:], dilation, strict=True)]
    full = np.zeros((*slope.shape[:2], *(one + span for one, span in zip(spatial, spans, strict=True))), slope.dtype)
    # Place o of the output has tap t of the kernel at input o * stride - padding + t * dilation.
    target = []
    source = []
    for axis, (length, s, p, span) in enumerate(zip(spread, stride, padding, spans, strict=True)):
        first = span - p
        skipped = max(0, -(first // s)) if first < 0 else 0
        start = first + skipped * s
        count = len(range(start, min(full.shape[2 + axis], first + length), s))
        target.append(slice(start, start + count * s, s) if count else slice(0, 0))
        source.append(slice(skipped, skipped + count))
    to, of = (slice(None), slice(None), *target), (slice(None), slice(None), *source)
    full[to] = slope[of]
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    grouped = weight.reshape(groups, outputs, inputs, *weight.shape[2:])
    turned = np.flip(np.swapaxes(grouped, 1, 2), axis=tuple(range(3, grouped.ndim)))
    mirrored = turned.reshape(groups * inputs, outputs, *weight.shape[2:])
    ones, zeros = [1] * len(spatial), [0] * len(spatial)
    return convolve(full, mirrored, ones, zeros, dilation, groups, multiply)


def weight_gradient(
    slope: RealArray,
    x: RealArray,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    multiply: Multiply,
) -> RealArray:
    """Return the gradient for the kernel: dot products over batch and places in C order."""
    dimensions = x.ndim - 2
    windows = _windows(x, kernel, stride, padding, dilation)
    places = tuple(slice(one) for one in slope.shape[2:])
    covered = (slice(None), slice(None), *places)
    windows = windows[covered]
    channels, outputs = x.shape[1] // groups, slope.shape[1] // groups
    parts = []
    for group in range(groups):
        rows = _rows(windows[:, group * channels : (group + 1) * channels], dimensions)
        part = slope[:, group * outputs : (group + 1) * outputs]
        columns = np.moveaxis(part, 1, 0).reshape(outputs, -1)
        parts.append(multiply(columns, rows).reshape(outputs, channels, *kernel))
    return np.concatenate(parts)
