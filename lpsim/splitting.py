"""Products of higher precision, put together from several products of a low-precision matrix unit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arguments import RealArray, as_float64, as_real, as_seed, batch_shape, check_inner
from lpsim.arithmetic import add, mul, sub
from lpsim.checks import check_choice, shown
from lpsim.codec import round as round_to
from lpsim.formats import Format, bfloat16, float16, float32
from lpsim.formats import tf32 as tf32_format
from lpsim.linalg import matmul
from lpsim.rounding import Rounding, as_rounding
from lpsim.units import MatrixUnit

__all__ = ["SCHEMES", "matmul_split"]


class _Scheme(NamedTuple):
    """Words of each element, and which of their products are summed."""

    formats: tuple[Format, ...]  # of the inputs of its units
    default: MatrixUnit
    words: int
    pairs: tuple[tuple[int, int], ...]  # words of a and of b, in the order of summation


def _pairs(words: int, largest: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs i, j of words with i + j up to the largest, the smallest products first."""
    every = ((i, j) for i in range(words) for j in range(words) if i + j <= largest)
    return tuple(sorted(every, key=lambda pair: -sum(pair)))


_CORRECTIONS = ((1, 0), (0, 1))

_SCHEMES = {
    "3xtf32": _Scheme((tf32_format,), units.a100.tf32, 2, (*_CORRECTIONS, (0, 0))),
    "ootomo": _Scheme((tf32_format, float16), units.a100.tf32, 2, _CORRECTIONS),
    "bf16x3": _Scheme((bfloat16,), units.a100.bf16, 2, _pairs(2, 1)),
    "bf16x6": _Scheme((bfloat16,), units.a100.bf16, 3, _pairs(3, 2)),
    "bf16x9": _Scheme((bfloat16,), units.a100.bf16, 3, _pairs(3, 4)),
}

#: Allowed schemes of `matmul_split`.
SCHEMES = (*_SCHEMES, "ozaki_int8")

#: How many k one instruction multiplies: mma.m16n8k8 and m16n8k16.
_INSTRUCTION_DEPTH = {tf32_format: 8, float16: 16}

#: Slices of 7 bits beyond which nothing of a binary64 product is left; their weights stay far from underflow.
_MOST_SLICES = 64


def matmul_split(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    scheme: str,
    unit: MatrixUnit | str | None = None,
    *,
    word_rounding: Rounding | str | Sequence[Rounding | str] | None = None,
    block: int | None = None,
    slices: int | None = None,
    seed: int | None = None,
) -> Any:
    """Return a @ b of higher precision by several products of words that a low-precision unit multiplies.

    Parameters
    ----------
    a : array_like, shape (..., m, k) or (k,)
        Real numbers. All schemes but ``"ozaki_int8"`` split binary32 numbers, to which these are rounded first
        (ties to even); that one splits binary64 numbers.
    b : array_like, shape (..., k, n) or (k,)
        Likewise.
    scheme : str
        ``"3xtf32"``, ``"ootomo"``, ``"bf16x3"``, ``"bf16x6"``, ``"bf16x9"`` or ``"ozaki_int8"``, see Notes.
    unit : MatrixUnit or str, optional
        The unit that multiplies words, or the name of one in `lpsim.units`, with the inputs that the scheme needs:
        TF32 (``"3xtf32"``, ``"ootomo"``), float16 (``"ootomo"``) or bfloat16 (``"bf16x..."``). Default:
        ``lpsim.units.a100.tf32`` and ``a100.bf16``. None for ``"ozaki_int8"``.
    word_rounding : Rounding or str, or a sequence of one for each word, optional
        Modes, not stochastic, in which words are rounded to the unit's input format. Default: ties away for TF32 (PTX
        ``cvt.rna``), else ties to even. None for ``"ozaki_int8"``, which truncates.
    block : int, optional
        How many k of a pair of words are multiplied before the next pair's turn; a multiple of ``unit.dot.terms``.
        Default: all of k, and with ``"ootomo"`` an instruction's depth (8 for TF32, 16 for float16).
        None for ``"ozaki_int8"``.
    slices : int, optional
        Number of slices of ``"ozaki_int8"``, 1 to 64. Default: 8. None for the other schemes.
    seed : int, optional
        Seed of stochastic units, 0 to ``2**64 - 1``; required for these.

    Returns
    -------
    ndarray or scalar
        Of the shape that `numpy.matmul` gives: values of the unit's result format in its carrier (``"ootomo"``:
        float32; ``"ozaki_int8"``: float64).

    Raises
    ------
    ValueError
        If shapes do not match, the scheme or unit is unknown, the unit has other inputs than the scheme
        needs or block scales, a stochastic unit has no seed, a mode of words is stochastic, or an
        argument is given that the scheme does not have; with ``"ozaki_int8"`` also for infinities and NaNs.
    TypeError
        If an argument holds no real numbers, or ``block`` or ``slices`` is no integer.

    Notes
    -----
    The words of x are w0 = x, rounded to the unit's input format, w1 = x - w0, rounded, and w2 = x - w0 - w1, rounded.
    The differences are computed in binary32, and exact while nothing overflows. An element that overflows in
    w0, or is infinite, has a w1 of the opposite infinity or NaN, so its sums are NaN.

    ``"3xtf32"``
        One accumulator of the unit adds the products w1 * w0, w0 * w1 and w0 * w0, in this order; with ``block``, in
        turns of so many k. Source: CUTLASS, ``gemm/warp/mma_tensor_op_fast_f32.h`` and example 27. CUTLASS
        takes turns after each instruction (``block=8``), truncates first words, and adds the sums of 16 k (a tile of
        example 27) outside the unit in binary32 (``gemm/threadblock/mma_multistage.h``, staged accumulation), which
        is ``word_rounding=("toward_zero", "ties_to_away")`` and a unit with ``order="blocked(48)"``,
        ``outer_format="float32"`` and ``outer_rounding="ties_to_even"``. Inside a unit that truncates, turns
        make three times as many steps at the sum's full size, and the error about three times as large.
    ``"ootomo"``
        w1 is scaled by s = 2**11 before it is rounded, if words are float16 (TF32: s = 1). The products
        w0 * w0 of each block of k are summed in the unit from +0, and the blocks outside it in
        binary32, ties to even. w1 * w0 and w0 * w1 go, block by block, to one more accumulator of the unit,
        which is divided by s and added in the end, in binary32. (Stochastic units use the same random bits
        for both accumulators.) Source: Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores
        while surpassing the FP32 theoretical peak performance", 2022, doi:10.1177/10943420221090256, and their
        library wmma_extension.
    ``"bf16x3"``, ``"bf16x6"``, ``"bf16x9"``
        Two words, or three, of bfloat16. One accumulator of the unit adds whole products wi * wj with
        i + j <= 1, 2 or 4, those of the largest i + j first, and of these that of the smallest i. Source: Henry, Tang
        and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations",
        2019, arXiv:1904.06376; the order is this library's.
    ``"ozaki_int8"``
        Rows of a and columns of b are divided by 2 * 2**floor(log2(max |x|)) and cut into slices of
        beta = min(7, floor((31 - ceil(log2 k)) / 2)) bits, toward zero, which int8 holds. Their products i, j with
        i + j <= slices + 1 are exact in int32, and are summed in binary64 in the order of i + j, then of i; the sum
        is scaled back in one rounding. Source:
        Ootomo, Ozaki and Yokota, "DGEMM on integer matrix multiplication unit", 2024, arXiv:2306.11975, and their
        library ozIMMU.

    All terms of an accumulator are one sum in the unit's order: ``"blocked(n)"`` counts those of all words. Zeros fill
    the last dot of each word.

    Examples
    --------
    >>> import lpsim as lp
    >>> a, b = [[1 + 2**-12, 1]], [[1 + 2**-12], [-1]]
    >>> float(lp.matmul(a, b, lp.units.a100.tf32)[0, 0]), float(lp.matmul_split(a, b, "3xtf32")[0, 0]) * 2**11
    (0.0, 1.0)
    """
    check_choice("scheme", scheme, SCHEMES)
    if scheme == "ozaki_int8":
        for argument, value in (("unit", unit), ("word_rounding", word_rounding), ("block", block)):
            if value is not None:
                raise ValueError(f"{argument} is {shown(value)} with scheme 'ozaki_int8'; allowed: None")
        as_seed(seed, Rounding.TIES_TO_EVEN)
        return _by_integers(a, b, 8 if slices is None else _positive("slices", slices, _MOST_SLICES))
    if slices is not None:
        raise ValueError(f"slices is {shown(slices)} with scheme {scheme!r}; allowed: None")
    parts = _SCHEMES[scheme]
    unit = _unit(scheme, parts, unit)
    fmt = unit.a_format
    modes = _modes(word_rounding, fmt, parts.words)
    scale = 2.0**11 if scheme == "ootomo" and fmt == float16 else 1.0
    left, right = as_real(a, "a").view(np.ndarray), as_real(b, "b").view(np.ndarray)
    check_inner(left, right)
    batch_shape(left, right)
    a_words = _words(left, fmt, modes, scale)
    b_words = [_swapped(word) for word in _words(right, fmt, modes, scale)]

    step = 1 if unit.dot is None else unit.dot.terms
    if block is None:
        block = math.lcm(step, _INSTRUCTION_DEPTH[fmt]) if scheme == "ootomo" else None
    else:
        block = _positive("block", block)
        if block % step:
            raise ValueError(f"block is {shown(block)}; allowed: multiples of the terms of a dot of {unit}, {step}")
        block = min(block, max(-(-left.shape[-1] // step), 1) * step)  # of all terms, however few these are
    chained_a = _chained([a_words[i] for i, _ in parts.pairs], step, block)
    chained_b = _chained([b_words[j] for _, j in parts.pairs], step, block)
    result = matmul(chained_a, _swapped(chained_b), unit, seed=seed)
    if scheme != "ootomo":
        return result
    outside = dataclasses.replace(
        unit, order=f"blocked({block})", outer_format=float32, outer_rounding=Rounding.TIES_TO_EVEN
    )
    main = matmul(a_words[0], _swapped(b_words[0]), outside, seed=seed)
    return add(main, mul(result, 1 / scale, float32), float32)


def _unit(scheme: str, parts: _Scheme, unit: MatrixUnit | str | None) -> MatrixUnit:
    if unit is None:
        return parts.default
    unit = units.get(unit)
    if unit.a_format != unit.b_format or unit.a_format not in parts.formats:
        raise ValueError(
            f"unit is {unit}, with inputs {unit.a_format} and {unit.b_format}; allowed with scheme {scheme!r}: units "
            f"with inputs {' or '.join(map(str, parts.formats))}"
        )
    if unit.scale_format is not None:
        raise ValueError(f"unit is {unit}, which needs scales; allowed: units without")
    return unit


def _modes(word_rounding: Any, fmt: Format, words: int) -> list[Rounding]:
    """Return the mode of each word."""
    if word_rounding is None:
        word_rounding = Rounding.TIES_TO_AWAY if fmt == tf32_format else Rounding.TIES_TO_EVEN
    given = word_rounding if isinstance(word_rounding, (list, tuple)) else [word_rounding] * words
    if len(given) != words:
        raise ValueError(f"word_rounding has {len(given)} modes; allowed: one, or one for each of {words} words")
    modes = [as_rounding(one, "word_rounding") for one in given]
    for mode in modes:
        if mode.is_stochastic:
            raise ValueError(f"word_rounding is {mode.name.lower()!r}; allowed: modes that are not stochastic")
    return modes


def _words(x: RealArray, fmt: Format, modes: list[Rounding], scale: float) -> list[RealArray]:
    """Return the words of binary32 numbers, all but the first one scaled."""
    rest = np.asarray(round_to(x, float32))
    words = []
    for position, mode in enumerate(modes):
        word = np.asarray(round_to(rest, fmt, mode))
        words.append(word)
        if position + 1 < len(modes):
            rest = np.asarray(mul(sub(rest, word, float32), scale, float32))
    return words


def _swapped(matrices: RealArray) -> RealArray:
    """Return transposed matrices; a vector as it is."""
    return np.swapaxes(matrices, -1, -2) if matrices.ndim > 1 else matrices


def _chained(words: list[RealArray], step: int, block: int | None) -> RealArray:
    """Return words by turns along the last axis, a block of each; without a block size, all of each.

    Zeros fill each word to a multiple of ``step``, so that no dot mixes words.
    """
    depth = words[0].shape[-1]
    missing = -depth % step
    if not words[0].size:  # of however many blocks
        return np.empty((*words[0].shape[:-1], len(words) * (depth + missing)), words[0].dtype)
    filled = [np.pad(word, [(0, 0)] * (word.ndim - 1) + [(0, missing)]) for word in words]
    block = block or max(depth + missing, 1)
    starts = range(0, max(depth + missing, 1), block)
    return np.concatenate([word[..., start : start + block] for start in starts for word in filled], axis=-1)


def _positive(argument: str, value: Any, largest: int | None = None) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument} is {shown(value)}; allowed: an integer or None")
    if value < 1 or (largest is not None and value > largest):
        allowed = "1 or more" if largest is None else f"1 to {largest}"
        raise ValueError(f"{argument} is {shown(int(value))}; allowed: {allowed}")
    return int(value)


def _by_integers(a: npt.ArrayLike, b: npt.ArrayLike, slices: int) -> Any:
    """Return the product by slices of integers."""
    left, right = (as_float64(x, name) for x, name in ((a, "a"), (b, "b")))
    check_inner(left, right)
    batch = batch_shape(left, right)
    for argument, array in (("a", left), ("b", right)):
        if not np.isfinite(array).all():
            raise ValueError(f"{argument} holds infinities or NaNs; allowed with scheme 'ozaki_int8': finite numbers")
    rows, columns = np.atleast_2d(left), np.atleast_2d(_swapped(right))
    depth = rows.shape[-1]
    bits = min(7, (31 - max(depth - 1, 0).bit_length()) // 2)
    with np.errstate(over="ignore", under="ignore"):
        a_slices, a_exponents = _cut(rows, bits, slices)
        b_slices, b_exponents = _cut(columns, bits, slices)
        total: Any = 0.0
        for both in range(2, slices + 2):
            for i in range(1, both):
                # Sums of products stay below 2**31, so binary64 has them exactly, and its product is the fast one.
                product = a_slices[i - 1] @ _swapped(b_slices[both - i - 1])
                total = total + np.ldexp(product, -bits * both)
        result = np.ldexp(total, a_exponents + _swapped(b_exponents))
    result = result.reshape(batch + left.shape[-2:-1] + right.shape[-1:] * (right.ndim > 1))
    return result if result.ndim else result[()]


def _cut(rows: RealArray, bits: int, slices: int) -> tuple[list[RealArray], npt.NDArray[np.intc]]:
    """Return slices of so many bits, integers with the sign of their number, and the exponent of each row's scale."""
    largest = np.max(np.abs(rows), axis=-1, keepdims=True, initial=0.0)
    exponents = np.frexp(largest)[1]  # 2**exponent is more than the largest magnitude, and at most twice it
    cut, rest = [], rows
    for position in range(1, slices + 1):
        # Bits that underflow here belong to later slices; the rest is always exact.
        digits = np.trunc(np.ldexp(rest, bits * position - exponents))
        rest = rest - np.ldexp(digits, exponents - bits * position)
        cut.append(digits)
    return cut, exponents
