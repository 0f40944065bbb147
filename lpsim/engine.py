"""The kernel that computes a unit's products, and its work on several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.arguments import RealArray
from lpsim.core.dot import CDNA3, CDNA3_SPLIT, EXACT, TRUNCATE, DotParams
from lpsim.core.params import Params
from lpsim.cpu.dots import dot_kernel
from lpsim.cpu.fused import DIRECT_EXPONENTS, NO_EXPONENT, FusedParams, fused_kernel, split_kernel
from lpsim.cpu.matmul import native_matmul_kernel
from lpsim.cpu.orders import INNER, StepParams, order_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.formats import Format, float32, float64
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit

__all__ = ["Engine"]

#: Terms below 4 * 2**29 are int32 numbers.
_MOST_FRACTION_BITS = 29

#: Fewest multiply-adds that are worth a thread.
_GRAIN = 1 << 15

_ALIGNMENTS = {"truncate": TRUNCATE, "cdna3": CDNA3, "cdna3_split": CDNA3_SPLIT}

_FLUSH = {None: None, "rounded": 0, "before": 1, "after": 1}

#: What computes the part (rows, columns) of a product.
_Part = Callable[[tuple[int, int], tuple[int, int]], None]


class Engine:
    """Computes products of matrices of a unit's input formats.

    Parameters
    ----------
    unit : MatrixUnit
        The unit.
    seed : uint64
        Seed of stochastic modes.
    """

    def __init__(self, unit: MatrixUnit, seed: np.uint64) -> None:
        self._unit = unit
        self._seeds = tuple(seed if mode.is_stochastic else None for mode in (unit.rounding, unit.outer_rounding))
        self._accumulator = self._parameters(unit.accumulator_format, unit.rounding)
        self._outer = self._parameters(unit.outer_format, unit.outer_rounding)
        formats = [unit.a_format, unit.b_format, unit.accumulator_format, unit.outer_format]
        formats += [unit.product_format] if unit.product_format is not None else []
        #: float32 operands are the faster ones, where all formats are in it.
        self._narrow = np.dtype(np.float32 if all(fmt.carrier == np.float32 for fmt in formats) else np.float64)

    def accumulate(
        self, a: RealArray, b: RealArray, out: RealArray, start: int, scales: tuple[RealArray, RealArray]
    ) -> None:
        """Add the product of two matrices to the accumulators in ``out``.

        Parameters
        ----------
        a, b : ndarray, shapes (m, k) and (k, n)
            Values of the input formats.
        out : ndarray, shape (m, n)
            Start values, and then results.
        start : int
            Index of ``out[0, 0]`` in the whole result: it selects random words.
        scales : tuple of ndarray
            Scales of A, shape (m, blocks), and of B, shape (n, blocks); without blocks where there are none.
        """
        dtype = out.dtype if self._is_native else np.dtype(np.float64) if self._unit.dot is not None else self._narrow
        a, b, accumulators = _read_only(a, dtype), _read_only(b, dtype), np.ascontiguousarray(out, dtype)
        if self._unit.dot is not None and self._is_vectorised:
            part = self._fused(a, b, accumulators)
        elif self._unit.dot is not None:
            part = self._dots(a, _read_only(b.T, dtype), accumulators, start, scales)
        elif self._is_native:
            part = self._native(a, b, accumulators)
        else:
            part = self._steps(a, b, accumulators, start)
        m, n = out.shape
        if m >= n:
            map_ranges(lambda *rows: part(rows, (0, n)), m, smallest=max(1, _GRAIN // max(b.size, 1)))
        else:
            # Whole cache lines to each thread.
            grain = -(-max(1, _GRAIN // max(a.size, 1)) // 16) * 16
            map_ranges(lambda *columns: part((0, m), columns), n, smallest=grain)
        if accumulators is not out:
            out[...] = accumulators

    @property
    def _is_native(self) -> bool:
        """Whether the processor's own fma does the steps of the unit."""
        unit = self._unit
        fits = unit.accumulator_format == float64 or (
            unit.accumulator_format == float32 and unit.a_format.carrier == unit.b_format.carrier == np.float32
        )
        plain = unit.dot is None and unit.product_format is None and unit.flush_results is None
        modes = (unit.rounding, unit.overflow) == (Rounding.TIES_TO_EVEN, Overflow.IEEE)
        return fits and plain and modes and unit.order == "sequential"

    @property
    def _is_vectorised(self) -> bool:
        """Whether float32 vectors hold the products of the unit's dot, and int32 ones their sums."""
        unit, dot, c = self._unit, self._unit.dot, self._unit.accumulator_format
        if dot is None or dot.fraction_bits is None or unit.scale_format is not None or dot.group > 1:
            return False
        formats = (unit.a_format, unit.b_format, c)
        return (
            dot.alignment == "truncate"
            and dot.fraction_bits <= _MOST_FRACTION_BITS
            and dot.zero_exponent <= c.emin
            and unit.a_format.precision + unit.b_format.precision <= 24
            and all(fmt.signed and fmt.has_zero and abs(fmt.emin) < 200 and abs(fmt.emax) < 200 for fmt in formats)
            and unit.order == "sequential"
            and not unit.rounding.is_stochastic
        )

    def _parameters(self, fmt: Format, rounding: Rounding) -> Params:
        tininess = "before" if self._unit.flush_results == "before" else "after"
        return parameters(fmt, rounding, self._unit.overflow, self._unit.random_bits, tininess)

    def _native(self, a: RealArray, b: RealArray, out: RealArray) -> _Part:
        kernel = native_matmul_kernel()
        return lambda rows, columns: kernel(a, b, out, rows, columns)

    def _steps(self, a: RealArray, b: RealArray, out: RealArray, start: int) -> _Part:
        unit, order, kernel = self._unit, self._unit.summation, order_kernel()
        product = None if unit.product_format is None else self._parameters(unit.product_format, unit.rounding)
        steps = StepParams(
            leaf=product or self._accumulator,
            accumulator=self._accumulator,
            outer=self._outer,
            flush=_FLUSH[unit.flush_results],
            inner=INNER[order.inner],
            lanes=order.lanes,
            block=order.block or 0,
        )
        return lambda rows, columns: kernel(a, b, out, rows, columns, self._seeds, start, product, steps)

    def _fused(self, a: RealArray, b: RealArray, out: RealArray) -> _Part:
        unit, dot, c = self._unit, self._unit.dot, self._unit.accumulator_format
        assert dot is not None
        assert dot.fraction_bits is not None
        truncates = (unit.rounding, unit.overflow) == (Rounding.TOWARD_ZERO, Overflow.TO_INFINITY)
        plain = truncates and c.has_infinity and c.has_negative_zero and c.subnormals and c.mantissa_bits > 0
        f = FusedParams(
            terms=dot.terms,
            fraction_bits=dot.fraction_bits,
            zero_exponent=dot.zero_exponent,
            chunk=1 << (_MOST_FRACTION_BITS - dot.fraction_bits),
            truncates=int(plain),
            c_bits=c.mantissa_bits,
            c_emin=c.emin,
            c_max=c.max,
        )
        left, right = _split(a, unit.a_format), _split(b, unit.b_format)
        low, high = left.least + right.least, left.most + right.most
        direct = DIRECT_EXPONENTS[0] <= low and high <= DIRECT_EXPONENTS[1]
        direct = direct and dot.terms % 4 == 0 and f.chunk % 4 == 0
        x, y = (a.astype(np.float32), b.astype(np.float32)) if direct else (left.significands, right.significands)
        arrays = [x, left.exponents, y, right.exponents]
        if a.shape[1] % dot.terms:
            # A rest is filled with zeros.
            missing = -a.shape[1] % dot.terms
            widths = [((0, 0), (0, missing))] * 2 + [((0, missing), (0, 0))] * 2
            arrays = [np.pad(array, width) for array, width in zip(arrays, widths, strict=True)]
            arrays[1][:, -missing:] = arrays[3][-missing:] = NO_EXPONENT
        kernel = fused_kernel()
        return lambda rows, columns: kernel(*arrays, direct, out, rows, columns, f, self._accumulator)

    def _dots(
        self, a: RealArray, b: RealArray, out: RealArray, start: int, scales: tuple[RealArray, RealArray]
    ) -> _Part:
        kernel, f = dot_kernel(), _dot_parameters(self._unit)
        a_scale, b_scale = (_read_only(scale, np.dtype(np.float64)) for scale in scales)

        def part(rows: tuple[int, int], columns: tuple[int, int]) -> None:
            kernel(a, b, a_scale, b_scale, out, rows, columns, self._seeds, start, self._accumulator, self._outer, f)

        return part


class _Split(NamedTuple):
    """Significands and exponents of a matrix, and the exponents' range."""

    significands: RealArray
    exponents: npt.NDArray[np.int32]
    least: int
    most: int


def _split(matrix: RealArray, fmt: Format) -> _Split:
    significands, exponents = np.empty(matrix.shape, np.float32), np.empty(matrix.shape, np.int32)
    flat = (matrix.reshape(-1), significands.reshape(-1), exponents.reshape(-1))
    return _Split(significands, exponents, *split_kernel()(*flat, fmt.mantissa_bits, fmt.emin))


def _dot_parameters(unit: MatrixUnit) -> DotParams:
    dot = unit.dot
    assert dot is not None
    scale = unit.scale_format
    return DotParams(
        terms=dot.terms,
        alignment=EXACT if dot.fraction_bits is None else _ALIGNMENTS[dot.alignment],
        fraction_bits=dot.fraction_bits or 0,
        zero_exponent=dot.zero_exponent,
        group=dot.group,
        run=dot.dealt or dot.terms,
        block=unit.summation.block or 0,
        a_bits=unit.a_format.mantissa_bits,
        a_emin=unit.a_format.emin,
        b_bits=unit.b_format.mantissa_bits,
        b_emin=unit.b_format.emin,
        scale_block=unit.scale_block or 0,
        scale_bits=0 if scale is None else scale.mantissa_bits,
        scale_emin=0 if scale is None else scale.emin,
        c_bits=unit.accumulator_format.mantissa_bits,
        c_emin=unit.accumulator_format.emin,
        c_emax=unit.accumulator_format.emax,
    )


def _read_only(matrix: RealArray, dtype: np.dtype[Any]) -> RealArray:
    # Compiled kernels distinguish writeable from read-only arrays; always the latter, so that one serves.
    view: RealArray = np.ascontiguousarray(matrix, dtype).view()
    view.flags.writeable = False
    return view
