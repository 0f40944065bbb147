"""Products by fused dots: in vectors where float32 holds what they need, else one element after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.arguments import RealArray
from lpsim.arithmetic import add
from lpsim.core.dot import CDNA3, CDNA3_SPLIT, EXACT, TRUNCATE, DotParams
from lpsim.counts import Counter
from lpsim.cpu.dots import dot_kernel
from lpsim.cpu.fused import DIRECT_EXPONENTS, NO_EXPONENT, WIDTH, FusedParams, fused_kernel, split_kernel
from lpsim.formats import Format
from lpsim.parameters import parameters
from lpsim.parts import Place, over_parts, read_only, spans, step_seeds
from lpsim.rounding import Overflow, Rounding
from lpsim.units import FusedDot, MatrixUnit

__all__ = ["accumulate_dots", "dot_parameters"]

_ALIGNMENTS = {"truncate": TRUNCATE, "cdna3": CDNA3, "cdna3_split": CDNA3_SPLIT}

#: Terms below 4 * 2**29 are int32 numbers.
_MOST_FRACTION_BITS = 29

#: How many times as quick as the careful kernel the vector kernel is.
_SPEED = 32

_DOUBLE = np.dtype(np.float64)


def accumulate_dots(
    a: RealArray,
    b: RealArray,
    out: RealArray,
    unit: MatrixUnit,
    seed: np.uint64,
    place: Place,
    scales: tuple[RealArray, RealArray] | None,
    counter: Counter | None = None,
) -> None:
    """Add the product of two matrices to the accumulators in ``out``; see `lpsim.engine.Engine.accumulate`."""
    accumulators = np.ascontiguousarray(out, np.float64)
    if counter is None and _is_vectorised(unit):
        _accumulate_in_vectors(np.asarray(a, np.float64), np.asarray(b, np.float64), accumulators, unit)
    else:
        _accumulate_carefully(a, b, accumulators, unit, step_seeds(unit, seed), place, scales, counter)
    if accumulators is not out:
        out[...] = accumulators


def _accumulate_carefully(
    a: RealArray,
    b: RealArray,
    out: RealArray,
    unit: MatrixUnit,
    seeds: tuple[np.uint64 | None, np.uint64 | None],
    place: Place,
    scales: tuple[RealArray, RealArray] | None,
    counter: Counter | None = None,
) -> None:
    kernel, f, size = dot_kernel(), dot_parameters(unit), unit.scale_block or 1
    if scales is None:
        scales = np.zeros((a.shape[0], 0)), np.zeros((b.shape[1], 0))
    accumulator = parameters(unit.accumulator_format, unit.rounding, unit.overflow, unit.random_bits)
    outer = parameters(unit.total_format, unit.total_rounding, unit.overflow, unit.random_bits)
    for first, last in spans(unit, a.shape[1]):
        left, right = read_only(a[:, first:last], _DOUBLE), read_only(b[first:last].T, _DOUBLE)
        a_scale, b_scale = (read_only(scale[:, first // size : -(-last // size)], _DOUBLE) for scale in scales)
        given = (left, right, a_scale, b_scale, out)

        def part(rows: tuple[int, int], columns: tuple[int, int], given: tuple[RealArray, ...] = given) -> None:
            arguments = (*given, rows, columns, seeds, place, accumulator, outer, f)
            if counter is None:
                kernel(*arguments, None)
            else:
                counter.counting(lambda counts: kernel(*arguments, counts))

        over_parts(part, left, right.T)


def dot_parameters(unit: MatrixUnit) -> DotParams:
    """Return a unit's fused dot as kernels take it."""
    dot, scale = _dot_of(unit), unit.scale_format
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


def _dot_of(unit: MatrixUnit) -> FusedDot:
    assert unit.dot is not None
    return unit.dot


def _is_vectorised(unit: MatrixUnit) -> bool:
    """Whether float32 vectors hold the products of the unit's dot, and int32 ones their sums."""
    dot, c = _dot_of(unit), unit.accumulator_format
    if dot.fraction_bits is None or dot.alignment != "truncate" or unit.scale_format is not None or dot.group > 1:
        return False
    formats = (unit.a_format, unit.b_format, c)
    return (
        dot.fraction_bits <= _MOST_FRACTION_BITS
        # No alignment is by less than the accumulator's own exponent then, also where no term is zero.
        and dot.zero_exponent <= c.emin
        and dot.zero_exponent >= -400
        and unit.a_format.precision + unit.b_format.precision <= 24
        and all(fmt.signed and fmt.has_zero and abs(fmt.emin) < 200 and abs(fmt.emax) < 200 for fmt in formats)
        and not (unit.rounding.is_stochastic or unit.total_rounding.is_stochastic)
    )


def _accumulate_in_vectors(a: RealArray, b: RealArray, out: RealArray, unit: MatrixUnit) -> None:
    rows = np.flatnonzero(~np.isfinite(a).all(axis=1))
    columns = np.flatnonzero(~np.isfinite(b).all(axis=0))
    starts = out.copy() if rows.size or columns.size else out
    if unit.summation.block is None:
        _chain(a, b, out, unit)
    else:
        _sum_blocks(a, b, out, unit, unit.summation.block)
    # The vectors took infinities and NaNs for zeros: what these touch is computed again.
    for touched_rows, touched_columns in ((rows, slice(None)), (slice(None), columns)):
        part = starts[touched_rows][:, touched_columns]
        if part.size and starts is not out:
            part = np.ascontiguousarray(part)
            _accumulate_carefully(a[touched_rows], b[:, touched_columns], part, unit, (None, None), Place(0, 0), None)
            if touched_rows is rows:
                out[touched_rows] = part
            else:
                out[:, touched_columns] = part


def _sum_blocks(a: RealArray, b: RealArray, out: RealArray, unit: MatrixUnit, block: int) -> None:
    """Sum each block of terms from +0, and add the sums to the accumulators."""
    dot, depth = _dot_of(unit), a.shape[1]
    run, dots = dot.dealt or dot.terms, block // dot.terms
    # In a block longer than all terms, dots of nothing but zeros change nothing.
    d, t = np.divmod(np.arange(min(dots, -(-depth // run)) * dot.terms), dot.terms)
    places = d * run + t // run * (dots * run) + t % run
    for first in range(0, depth, block):
        # A rest is filled with zeros, so that each of its terms stays in its dot.
        left, right = a[:, first : first + block], b[first : first + block]
        left, right = np.pad(left, ((0, 0), (0, 1))), np.pad(right, ((0, 1), (0, 0)))
        sums = np.zeros(out.shape)
        chosen = np.minimum(places, left.shape[1] - 1)
        _chain(left[:, chosen], right[chosen], sums, unit)
        add(out, sums, unit.total_format, rounding=unit.total_rounding, overflow=unit.overflow, out=out)


def _chain(a: RealArray, b: RealArray, out: RealArray, unit: MatrixUnit) -> None:
    """Add dots one after the other to the accumulators."""
    dot, c = _dot_of(unit), unit.accumulator_format
    truncates = (unit.rounding, unit.overflow) == (Rounding.TOWARD_ZERO, Overflow.TO_INFINITY)
    ordinary = c.has_infinity and c.has_negative_zero and c.subnormals and c.mantissa_bits > 0
    f = FusedParams(
        terms=dot.terms,
        fraction_bits=dot.fraction_bits or 0,
        zero_exponent=dot.zero_exponent,
        chunk=1 << (_MOST_FRACTION_BITS - (dot.fraction_bits or 0)),
        truncates=int(truncates and ordinary),
        c_bits=c.mantissa_bits,
        c_emin=c.emin,
        c_max=c.max,
    )
    left, right = _split(a, unit.a_format), _split(b, unit.b_format)
    low, high = left.least + right.least, left.most + right.most
    direct = DIRECT_EXPONENTS[0] <= low and high <= DIRECT_EXPONENTS[1] and dot.terms % 4 == 0 and f.chunk % 4 == 0
    x, y = (left.values, right.values) if direct else (left.significands, right.significands)
    arrays: list[npt.NDArray[Any]] = [x, left.exponents, y, right.exponents]
    missing = -a.shape[1] % dot.terms
    if missing:
        widths = [((0, 0), (0, missing))] * 2 + [((0, missing), (0, 0))] * 2
        arrays = [np.pad(array, width) for array, width in zip(arrays, widths, strict=True)]
        arrays[1][:, -missing:] = arrays[3][-missing:] = NO_EXPONENT
    accumulator = parameters(c, unit.rounding, unit.overflow)
    kernel = fused_kernel()

    def part(rows: tuple[int, int], columns: tuple[int, int]) -> None:
        kernel(*arrays, direct, out, rows, columns, f, accumulator)

    over_parts(part, a, b, _SPEED, width=WIDTH)


class _Split(NamedTuple):
    """A matrix as float32 numbers, their significands and exponents, and the range of these."""

    values: npt.NDArray[np.float32]
    significands: npt.NDArray[np.float32]
    exponents: npt.NDArray[np.int32]
    least: int
    most: int


def _split(matrix: RealArray, fmt: Format) -> _Split:
    flat = read_only(matrix, _DOUBLE).reshape(-1)
    values, significands = np.empty(flat.size, np.float32), np.empty(flat.size, np.float32)
    exponents = np.empty(flat.size, np.int32)
    least, most = split_kernel()(flat, values, significands, exponents, fmt.mantissa_bits, fmt.emin)
    shape = matrix.shape
    return _Split(values.reshape(shape), significands.reshape(shape), exponents.reshape(shape), least, most)
