"""Matrix multiplication as a matrix unit does it, step by step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lpsim.formats import FormatLike
from lpsim.formats import format as as_format
from lpsim.reference.dot import FusedDotLike, sum_dots
from lpsim.reference.exact import Operand, exact_value
from lpsim.reference.random import GOLDEN, mix, random_word
from lpsim.reference.rounded import check_overflow, check_random_bits, deliver, grid_of, round_magnitude
from lpsim.reference.steps import Rounder, Steps, is_subnormal, order_parts, sum_products
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding

__all__ = ["MatrixUnitLike", "matmul"]

# Streams of random words; stream 0 belongs to the steps of the accumulation.
_STREAM_A, _STREAM_B, _STREAM_C, _STREAM_OUTPUT = 1, 2, 3, 4


class MatrixUnitLike(Protocol):
    """What `matmul` reads of a matrix unit."""

    @property
    def a_format(self) -> FormatLike:
        """Format of the left factor."""

    @property
    def b_format(self) -> FormatLike | None:
        """Format of the right factor; None: as ``a_format``."""

    @property
    def input_rounding(self) -> Rounding | str:
        """How the factors are rounded to their formats."""

    @property
    def input_overflow(self) -> Overflow | str:
        """What becomes of factors beyond the range of their formats."""

    @property
    def product_format(self) -> FormatLike | None:
        """Format to which products are rounded; None: they go exactly into a fused multiply-add."""

    @property
    def accumulator_format(self) -> FormatLike:
        """Format of the accumulator."""

    @property
    def rounding(self) -> Rounding | str:
        """How products, sums and output are rounded."""

    @property
    def overflow(self) -> Overflow | str:
        """What becomes of products, sums and output beyond the range."""

    @property
    def order(self) -> str:
        """Order of summation; see `lpsim.MatrixUnit`."""

    @property
    def outer_format(self) -> FormatLike | None:
        """Format of sums of blocks and of totals and C's elements; None: as ``accumulator_format``."""

    @property
    def outer_rounding(self) -> Rounding | str | None:
        """Mode of these additions; None: as ``rounding``."""

    @property
    def dot(self) -> FusedDotLike | None:
        """How several products at once are added; None: one by one."""

    @property
    def scale_format(self) -> FormatLike | None:
        """Format of the scales of blocks; None: there are none."""

    @property
    def scale_block(self) -> int | None:
        """How many consecutive k share a scale."""

    @property
    def flush_inputs(self) -> str | None:
        """What becomes of subnormal elements: ``"signed"``, ``"positive"`` or (C's) ``"signed_c"`` zeros; or None."""

    @property
    def flush_results(self) -> str | None:
        """Which results of steps become zeros: ``"rounded"``, ``"before"``, ``"after"`` or None."""

    @property
    def output_format(self) -> FormatLike | None:
        """Format to which the result is rounded; None: that of the accumulator."""

    @property
    def random_bits(self) -> int:
        """How many random bits the stochastic modes use."""


class _Element(NamedTuple):
    """A value, and, if it is finite, as the integer ``n`` times ``2**exponent``."""

    value: float
    finite: bool
    n: int
    exponent: int


def matmul(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnitLike,
    c: npt.ArrayLike | None = None,
    *,
    seed: int | None = None,
    a_scale: npt.ArrayLike | None = None,
    b_scale: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float64]:
    """Multiply matrices as ``unit`` does.

    Parameters
    ----------
    a, b : array_like
        Matrices of shapes (m, k) and (k, n). Elements are taken exactly, then rounded to the unit's
        input formats.
    unit : MatrixUnitLike
        The formats and modes of the steps, such as a `lpsim.MatrixUnit`.
    c : array_like, optional
        Matrix of shape (m, n): start values of the accumulators. Default: +0.
    seed : int, optional
        Seed of the stochastic modes.
    a_scale, b_scale : array_like, optional
        Scales of the blocks of ``a``, shape (m, blocks), and of ``b``, shape (blocks, n); values of the
        unit's ``scale_format``.

    Returns
    -------
    ndarray
        float64, shape (m, n).

    Raises
    ------
    ValueError
        If shapes do not fit, ``unit.order`` is unknown, an overflow policy asks for a NaN
        that a format does not have, or a stochastic mode has no seed.

    Notes
    -----
    The random word of a rounded element of ``a``, ``b``, ``c`` and the output is
    ``random_word(seed, index, stream)`` with stream 1, 2, 3 and 4 and the flat index in its own array.
    In step ``k`` of the output element with flat index ``i``, the words for the product and for
    the sum are the numbers ``2k`` and ``2k + 1`` of the SplitMix64 sequence that starts at
    ``random_word(seed, i, 0)``; other additions add ``level * 2**40`` to that, where ``k`` is the last term in
    the sum (see `lpsim.reference.steps` for the levels).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from lpsim import reference
    >>> unit = SimpleNamespace(
    ...     a_format="float16",
    ...     b_format=None,
    ...     input_rounding="ties_to_even",
    ...     input_overflow="ieee",
    ...     product_format=None,
    ...     accumulator_format="float16",
    ...     rounding="ties_to_even",
    ...     overflow="ieee",
    ...     order="sequential",
    ...     outer_format=None,
    ...     outer_rounding=None,
    ...     dot=None,
    ...     scale_format=None,
    ...     flush_inputs=None,
    ...     flush_results=None,
    ...     output_format=None,
    ...     random_bits=32,
    ... )
    >>> reference.matmul([[1.0, 2.0**-11, 2.0**-11]], [[1.0], [1.0], [1.0]], unit)
    array([[1.]])
    """
    order = order_parts(unit.order)
    input_mode = (as_rounding(unit.input_rounding), as_overflow(unit.input_overflow))
    mode = (as_rounding(unit.rounding), as_overflow(unit.overflow))
    outer_mode = (mode[0] if unit.outer_rounding is None else as_rounding(unit.outer_rounding), mode[1])
    if seed is None and any(one.is_stochastic for one in (input_mode[0], mode[0], outer_mode[0])):
        raise ValueError("seed is None; allowed: an integer, as the unit rounds stochastically")
    seed = seed or 0
    check_random_bits(unit.random_bits)

    def rounder(fmt: FormatLike, rounding: Rounding, overflow: Overflow) -> Rounder:
        check_overflow(as_format(fmt), overflow)
        return Rounder(grid_of(as_format(fmt)), rounding, overflow, unit.random_bits)

    to_a = rounder(unit.a_format, *input_mode)
    to_b = to_a if unit.b_format is None else rounder(unit.b_format, *input_mode)
    to_product = None if unit.product_format is None else rounder(unit.product_format, *mode)
    to_sum = rounder(unit.accumulator_format, *mode)
    to_outer = rounder(unit.accumulator_format if unit.outer_format is None else unit.outer_format, *outer_mode)
    to_output = None if unit.output_format is None else rounder(unit.output_format, *mode)

    left, right = _matrix(a, "a"), _matrix(b, "b")
    if left.shape[1] != right.shape[0]:
        raise ValueError(f"b has shape {right.shape}; allowed: {left.shape[1]} rows, as a is {left.shape}")
    shape = (left.shape[0], right.shape[1])
    start = np.zeros(shape) if c is None else _matrix(c, "c")
    if start.shape != shape:
        raise ValueError(f"c has shape {start.shape}; allowed: {shape}")

    # A start value of +0 is not rounded: an accumulator without zero gets its first sum exactly.
    starts = start.ravel().tolist() if c is None else _rounded(start, to_outer, seed, _STREAM_C, unit.flush_inputs)
    flush = None if unit.flush_inputs == "signed_c" else unit.flush_inputs
    a_values = _rounded(left, to_a, seed, _STREAM_A, flush)
    b_values = _rounded(right, to_b, seed, _STREAM_B, flush)
    depth, width = right.shape
    rows = [a_values[i * depth : (i + 1) * depth] for i in range(shape[0])]
    columns = [b_values[j::width] for j in range(width)]
    keys = [random_word(seed, i) for i in range(len(starts))]
    if unit.dot is not None:
        scale_format = None if unit.scale_format is None else as_format(unit.scale_format)
        a_scales, b_scales = (
            _scales(unit, scale, depth, size, axis)
            for scale, size, axis in ((a_scale, shape[0], 1), (b_scale, shape[1], 0))
        )
        formats = (to_a.grid.fmt, to_b.grid.fmt, scale_format)
        result = [
            sum_dots(
                starts[i * width + j],
                list(zip(rows[i], columns[j], a_scales[i], b_scales[j], strict=True)),
                unit.dot,
                formats,
                Steps(None, to_sum, to_outer, None, keys[i * width + j]),
                order[2],
            )
            for i in range(shape[0])
            for j in range(shape[1])
        ]
    elif order == ("sequential", 1, None) and unit.flush_results is None:
        row_elements = [[_element(x) for x in row] for row in rows]
        column_elements = [[_element(x) for x in column] for column in columns]
        result = [
            _dot(starts[i * width + j], row, column, to_product, to_sum, keys[i * width + j])
            for i, row in enumerate(row_elements)
            for j, column in enumerate(column_elements)
        ]
    else:
        result = [
            sum_products(
                starts[i * width + j],
                row,
                column,
                Steps(to_product, to_sum, to_outer, unit.flush_results, keys[i * width + j]),
                order,
            )
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        ]
    out = np.array(result, np.float64).reshape(shape)
    if to_output is None:
        return out
    return np.array(_rounded(out, to_output, seed, _STREAM_OUTPUT), np.float64).reshape(shape)


def _matrix(x: npt.ArrayLike, argument: str) -> npt.NDArray[Any]:
    array = np.asarray(x)
    if array.ndim != 2:
        raise ValueError(f"{argument} has shape {array.shape}; allowed: two dimensions")
    # The elements of the dtypes that NumPy does not know itself, ml_dtypes', are binary64 values.
    return array if array.dtype.kind in "biufO" else array.astype(np.float64)


def _rounded(array: npt.NDArray[Any], to: Rounder, seed: int, stream: int, flush: str | None = None) -> list[float]:
    """Return the elements in C order, rounded, and subnormal ones flushed."""
    stochastic = to.rounding.is_stochastic
    values = [
        _round(x, to, random_word(seed, index, stream) if stochastic else 0)
        for index, x in enumerate(array.ravel().tolist())
    ]
    if flush is None:
        return values
    sign = [1.0 if flush == "positive" else x for x in values]
    return [
        math.copysign(0.0, s) if x == 0 or is_subnormal(x, to.grid) else x for x, s in zip(values, sign, strict=True)
    ]


def _scales(unit: MatrixUnitLike, scale: npt.ArrayLike | None, depth: int, size: int, axis: int) -> list[list[float]]:
    """Return the scale of each element of each row of ``a`` or column of ``b``."""
    if unit.scale_block is None or scale is None:
        return [[1.0] * depth] * size
    array = np.asarray(scale, np.float64)
    each = np.repeat(array if axis else array.T, unit.scale_block, axis=1)[:, :depth]
    return [list(map(float, row)) for row in each]


def _round(x: Operand, to: Rounder, word: int) -> float:
    return deliver(exact_value(x), to.grid, to.rounding, to.overflow, to.random_bits, to.bits(word))[0]


def _dot(
    start: float,
    row: list[_Element],
    column: list[_Element],
    to_product: Rounder | None,
    to_sum: Rounder,
    inner: int,
) -> float:
    """Accumulate the products of a row and a column.

    Nearly all steps have nonzero finite numbers all along. These are done here on pairs of integers
    by the same `round_magnitude`, without the detour by floats; every other step by `Steps.accumulate`.
    """
    stochastic = to_sum.rounding.is_stochastic
    words = (0, 0)
    steps = Steps(to_product, to_sum, to_sum, None, inner)
    acc, finite, n, exponent = _element(start)  # acc is out of date while n is not 0
    for k, ((x, x_finite, xn, xe), (y, y_finite, yn, ye)) in enumerate(zip(row, column, strict=True)):
        if stochastic:
            first = inner + (2 * k + 1) * GOLDEN
            words = mix(first), mix(first + GOLDEN)
        if finite and x_finite and y_finite:
            product, shift = xn * yn, xe + ye
            if to_product is not None:
                product, shift = _round_signed(product, shift, to_product, words[0])
            if product or to_product is None:
                if shift >= exponent:
                    product, shift = (product << (shift - exponent)) + n, exponent
                else:
                    product += n << (exponent - shift)
                product, shift = _round_signed(product, shift, to_sum, words[1])
                if product:
                    n, exponent = product, shift
                    continue
        if finite and n:
            acc = math.ldexp(n, exponent)
        acc, finite, n, exponent = _element(steps.accumulate(acc, x, y, k))
    return math.ldexp(n, exponent) if n else acc


def _round_signed(n: int, exponent: int, to: Rounder, word: int) -> tuple[int, int]:
    """Round ``n * 2**exponent``; give 0 if the result is not a nonzero finite number."""
    if n == 0:
        return 0, 0
    grid, rounding, _, random_bits = to
    negative = n < 0
    bits = word >> (64 - random_bits)
    k, q, code, _ = round_magnitude(abs(n), exponent, False, negative, grid, rounding, random_bits, bits)
    if code > grid.max_code or (negative and not grid.signed):
        return 0, 0
    return (-k if negative else k), q


def _element(value: float) -> _Element:
    exact = exact_value(value)
    n = exact.significand
    zeros = max((n & -n).bit_length() - 1, 0)
    n >>= zeros  # short integers are quick ones
    finite = exact.kind == "finite"
    return _Element(value, finite, -n if exact.negative else n, exact.exponent + zeros)
