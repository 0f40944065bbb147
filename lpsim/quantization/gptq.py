"""GPTQ: weights rounded column by column, each error made up for by the columns to come."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.checks import check_length, check_number, shown
from lpsim.cpu.gptq import gptq_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.quantization.hessian import Hessian, inverse_factor
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme
from lpsim.quantization.words import pack_words, unpack_words, words_for

__all__ = ["GPTQ", "gptq"]

#: The search for the scale of least error: 80 steps of a hundredth, and the power of errors.
_SHRINKS, _GRID, _NORM = 80, 100, 2.4


class _Codes(NamedTuple):
    codes: npt.NDArray[np.uint8]  # (rows, n)
    scales: RealMatrix  # (rows, groups)
    zeros: RealMatrix  # (rows, groups)
    groups: npt.NDArray[np.int32]  # (n,)


@dataclass(frozen=True)
class GPTQ(Scheme):
    """GPTQ; see `gptq` for the rules.

    Attributes
    ----------
    bits, group_size, desc_act, damp_percent, static_groups, sym, stale_groups, block, mse
        As for `gptq`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    takes: ClassVar[frozenset[str]] = frozenset({"progress"})

    bits: int = 4
    group_size: int = 128
    desc_act: bool = False
    damp_percent: float = 0.01
    static_groups: bool = False
    sym: bool = True
    stale_groups: bool = True
    block: int = 128
    mse: bool = False

    def __post_init__(self) -> None:
        for name in ("bits", "group_size", "block"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is {shown(value)}; allowed: an integer")
        for name in ("desc_act", "static_groups", "sym", "stale_groups", "mse"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is {shown(getattr(self, name))}; allowed: True or False")
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits is {shown(int(self.bits))}; allowed: 2 to 8")
        if self.group_size < 1 and self.group_size != -1:
            raise ValueError(f"group_size is {shown(int(self.group_size))}; allowed: 1 or more, and -1 for whole rows")
        if self.block < 1:
            raise ValueError(f"block is {shown(int(self.block))}; allowed: 1 or more")
        check_length("block", self.block)
        check_length("group_size", abs(self.group_size))
        damp = self.damp_percent
        check_number("damp_percent", damp, "a number")
        if not 0 <= damp < float("inf"):
            raise ValueError(f"damp_percent is {shown(damp)}; allowed: finite numbers from 0")
        object.__setattr__(self, "damp_percent", float(damp))

    def _width(self, n: int) -> int:
        return max(n, 1) if self.group_size == -1 else self.group_size

    def check_shape(self, rows: int, n: int) -> None:
        """Refuse groups that are longer than the rows."""
        if n and self.group_size > n:
            raise ValueError(f"x has rows of {n} with group_size={self.group_size}; allowed: group sizes up to {n}, -1")

    def layout(self, rows: int, n: int) -> Layout:
        """Return the dtype and shape of each part."""
        groups = -(-n // self._width(n))
        return {
            "codes": (np.int32, (words_for(n, self.bits), rows)),
            "scales": (np.float16, (groups, rows)),
            "zero_points": (np.int32, (groups, words_for(rows, self.bits))),
            "g_idx": (np.int32, (n,)),
        }

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the parts of a matrix of weights, shape (outputs, inputs)."""
        done = self._quantized(x, _as_hessian(given["calibration"], x.shape[1]), given.get("progress"))
        with np.errstate(over="ignore"):
            scales = np.ascontiguousarray(done.scales.T).astype(np.float16)
        if not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(
                f"x needs scales from {done.scales.min()} to {done.scales.max()}; "
                "allowed: what float16 holds without overflow and underflow to 0"
            )
        # One less, as the kernels that read it add one.
        zeros = (done.zeros.T.astype(np.int64) - 1) & ((1 << self.bits) - 1)
        return {
            "codes": pack_words(done.codes.T, self.bits),
            "scales": scales,
            "zero_points": np.ascontiguousarray(pack_words(zeros.T, self.bits).T),
            "g_idx": done.groups,
        }

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return float16 products of scales and codes less zeros."""
        codes, zeros = self.unpack(parts, rows, n)
        out = np.empty((n, rows), np.float32)
        groups, scales = parts["g_idx"], parts["scales"]

        def run(start: int, stop: int) -> None:
            for first in range(start, stop, 64):
                here = slice(first, min(first + 64, stop))
                steps = (codes[here].astype(np.int32) - zeros[groups[here]]).astype(np.float32)
                with np.errstate(over="ignore", under="ignore"):
                    # The exact product takes 11 + 9 bits, so that it is rounded once, to float16.
                    out[here] = (scales[groups[here]].astype(np.float32) * steps).astype(np.float16)

        map_ranges(run, n, smallest=(1 << 18) / max(rows, 1))
        return np.ascontiguousarray(out.T)

    def unpack(self, parts: Parts, rows: int, n: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
        """Return the codes, shape (n, rows), and the codes of zero, shape (groups, rows)."""
        stored = unpack_words(np.ascontiguousarray(parts["zero_points"].T), self.bits, rows).T
        zeros = ((stored + np.uint32(1)) & np.uint32((1 << self.bits) - 1)).astype(np.int32)
        return unpack_words(parts["codes"], self.bits, n), zeros

    def _quantized(self, x: RealMatrix, hessian: RealMatrix, progress: Callable[[int, int], object] | None) -> _Codes:
        """Return codes and parameters of the weights; ``hessian`` is used up."""
        rows, n = x.shape
        width = self._width(n)
        groups = np.arange(n, dtype=np.int32) // np.int32(width)
        count = -(-n // width)
        scales, zeros = np.ones((rows, count), np.float32), np.zeros((rows, count), np.float32)
        if not rows * n:
            return _Codes(np.zeros((rows, n), np.uint8), scales, zeros, groups)
        weights = x.copy()

        def set_group(group: int) -> None:
            columns = weights[:, group * width : (group + 1) * width]
            scales[:, group], zeros[:, group] = self.parameters(columns)

        if self.group_size == -1:
            set_group(0)  # before columns of dead inputs become zeros
        dead = np.flatnonzero(np.einsum("ii->i", hessian) == 0)
        hessian[dead, dead] = 1
        weights[:, dead] = 0
        static = self.static_groups or self.group_size == -1
        if self.static_groups and self.group_size != -1:
            for group in range(count):
                set_group(group)
        order = None
        if self.desc_act:
            order = np.argsort(-np.einsum("ii->i", hessian), kind="stable")
            weights = np.ascontiguousarray(weights[:, order])
            hessian = hessian[np.ix_(order, order)]
        # The group of each column in the order of work.
        used = groups[order] if static and order is not None else groups
        factor = inverse_factor(hessian, self.damp_percent)
        codes = np.empty((rows, n), np.uint8)
        kernel, largest = gptq_kernel(), np.float32((1 << self.bits) - 1)
        for start, stop in self._spans(n, width, static):
            if not static:
                for group in range(-(-start // width), -(-stop // width)):
                    set_group(group)
            block = np.ascontiguousarray(factor[start:stop, start:stop])
            work = np.ascontiguousarray(weights[:, start:stop])
            block_codes, errors = np.empty(work.shape, np.uint8), np.empty_like(work)
            here = used[start:stop].copy()

            def run(first: int, last: int, arrays: tuple[Any, ...] = (work, block, here, block_codes, errors)) -> None:
                its_work, its_block, its_groups, its_codes, its_errors = arrays
                part = slice(first, last)
                kernel(
                    its_work[part], its_block, scales[part], zeros[part], its_groups, largest, its_codes[part],
                    its_errors[part],
                )  # fmt: skip

            map_ranges(run, rows, smallest=(1 << 16) / (stop - start) ** 2)
            codes[:, start:stop] = block_codes
            weights[:, stop:] -= errors @ factor[start:stop, stop:]
            if progress is not None:
                progress(stop, n)
        if order is None:
            return _Codes(codes, scales, zeros, groups)
        back = np.argsort(order, kind="stable")
        return _Codes(np.ascontiguousarray(codes[:, back]), scales, zeros, np.ascontiguousarray(used[back]))

    def _spans(self, n: int, width: int, static: bool) -> list[tuple[int, int]]:
        """Return the blocks of columns, in which no group starts but at the first column if groups must be fresh."""
        bounds = {*range(0, n, self.block), n}
        if not static and not self.stale_groups:
            bounds |= set(range(0, n, width))
        ordered = sorted(bounds)
        return list(itertools.pairwise(ordered))

    def parameters(self, columns: RealMatrix) -> tuple[RealMatrix, RealMatrix]:
        """Return the scale and the code of zero of each row of a group's weights."""
        largest_code = np.float32((1 << self.bits) - 1)
        low = np.minimum(columns.min(axis=1), np.float32(0))
        high = np.maximum(columns.max(axis=1), np.float32(0))
        if self.sym:
            high = np.maximum(np.abs(low), high)
            low = np.where(low < 0, -high, low)
        zero_row = (low == 0) & (high == 0)
        low = np.where(zero_row, np.float32(-1), low)
        high = np.where(zero_row, np.float32(1), high)
        scale: RealMatrix = (high - low) / largest_code
        middle = np.full(scale.shape, 1 << (self.bits - 1), np.float32)
        zero: RealMatrix = middle if self.sym else np.rint(-low / scale)
        if self.mse:
            best = np.full(scale.shape, np.inf, np.float32)
            for i in range(_SHRINKS):
                p = np.float32(1 - i / _GRID)
                tried = (p * high - p * low) / largest_code
                tried_zero = zero if self.sym else np.rint(-(p * low) / tried)
                codes = np.rint(columns / tried[:, None]) + tried_zero[:, None]
                values = tried[:, None] * (np.clip(codes, 0, largest_code) - tried_zero[:, None])
                error = (np.abs(values - columns) ** np.float32(_NORM)).sum(axis=1)
                better = error < best
                best = np.where(better, error, best)
                scale, zero = np.where(better, tried, scale), np.where(better, tried_zero, zero)
        return scale, zero


def _as_hessian(calibration: Any, n: int) -> RealMatrix:
    """Return a new array of the Hessian of calibration inputs."""
    if isinstance(calibration, Hessian):
        if calibration.matrix.shape[0] != n:
            raise ValueError(f"calibration is a Hessian of {calibration.matrix.shape[0]} inputs; allowed: {n}")
        if not calibration.samples:
            raise ValueError("calibration is a Hessian without samples; allowed: one that has been given some")
        matrix: RealMatrix = calibration.matrix.copy()
        return matrix
    if n == 0:
        return np.zeros((0, 0), np.float32)
    hessian = Hessian(n).add(calibration)
    if not hessian.samples:
        raise ValueError("calibration is empty; allowed: at least one sample")
    return hessian.matrix


def gptq(
    bits: int = 4,
    group_size: int = 128,
    desc_act: bool = False,
    damp_percent: float = 0.01,
    static_groups: bool = False,
    sym: bool = True,
    stale_groups: bool = True,
    block: int = 128,
    mse: bool = False,
) -> GPTQ:
    """Return GPTQ, which takes ``calibration=`` in `lpsim.quantize` and packs as AutoGPTQ does.

    Parameters
    ----------
    bits : int
        Bits of a code, 2 to 8.
    group_size : int
        How many columns share a scale, at most all of them; -1: all. The last group may be shorter.
    desc_act : bool
        Whether columns are worked on by descending diagonal of the Hessian (act-order).
    damp_percent : float
        What part of the diagonal's mean is added to it.
    static_groups : bool
        Whether the scales of all groups come from the weights as given.
    sym : bool
        Whether zero's code is ``2**(bits - 1)``.
    stale_groups : bool
        Whether scales of groups that start inside a block come from weights without the updates of that block, as in
        the tools. False: blocks end where groups start.
    block : int
        How many columns are worked on between updates of all later ones.
    mse : bool
        Whether scales are searched for, by shrinking the range.

    Returns
    -------
    GPTQ

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.

    Notes
    -----
    ``lpsim.quantize(weights, scheme, calibration=inputs)`` takes weights (outputs, inputs) and a `Hessian`, or the
    inputs that make one: (samples, tokens, inputs), or (tokens, inputs) for one sample. Optional: ``progress``, a
    function that is called with the number of columns done and of all columns.

    Weights, scales and errors are float32. The Hessian's inverse factor is computed in float64 and rounded to float32.
    Inputs that are always 0 get weights of 0 and a diagonal of 1. Ties in ``desc_act`` keep the order of columns.
    Updates of later blocks are summed by BLAS; everything else is defined operation by operation.

    A symmetric row or group without negative weights keeps 0 as its lower end, so that weights above 7/15 of its
    largest (4 bits) clip; this is the tools' rule. Rows of zeros have the range -1 to 1.

    Parts: ``codes`` (qweight), ``scales`` (float16), ``zero_points`` (qzeros: one less, modulo 2**bits) and ``g_idx``.
    AutoGPTQ packs whole words only; here, a last word is filled up with zeros. Values are float16 products
    of the float16 scale and code - zero. Scales beyond float16 are refused, and so are NaN, infinity and
    singular Hessians.

    Source: IST-DASLab/gptq (2d65066e), gptq.py and quant.py; AutoGPTQ (9f7d3707), quantization and
    nn_modules/qlinear/qlinear_cuda_old.py; Frantar et al., arXiv:2210.17323.

    Examples
    --------
    >>> import lpsim as lp
    >>> import numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(4, 16, 32))
    >>> weights = np.sin(np.arange(64)).reshape(2, 32)
    >>> quantized = lp.quantize(weights, lp.quantization.gptq(group_size=32), calibration=inputs)
    >>> quantized.codes.shape, quantized.error(weights).relative_rms < 0.2
    ((4, 2), True)
    """
    return GPTQ(bits, group_size, desc_act, damp_percent, static_groups, sym, stale_groups, block, mse)
