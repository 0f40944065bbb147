"""Matrix products as a matrix unit computes them, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arguments import RealArray, as_real, as_seed, batch_shape, check_inner, check_value_out
from lpsim.core.nearest import NearestParams
from lpsim.cpu.gemm import gemm
from lpsim.elementwise import round_real
from lpsim.engine import Engine
from lpsim.formats import Format
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit

__all__ = ["matmul"]

#: Streams of a seed's random bits; stream 0 serves the steps of the sums.
_STREAM_A, _STREAM_B, _STREAM_C, _STREAM_OUTPUT = 1, 2, 3, 4


def matmul(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnit | str = units.tf32,
    c: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    seed: int | None = None,
    a_scale: npt.ArrayLike | None = None,
    b_scale: npt.ArrayLike | None = None,
) -> Any:
    """Return the matrix product a @ b (+ c) as a matrix unit computes it.

    Parameters
    ----------
    a : array_like, shape (..., m, k) or (k,)
        Real numbers; the unit rounds them to its ``a_format``.
    b : array_like, shape (..., k, n) or (k,)
        Real numbers; the unit rounds them to its ``b_format``.
    unit : MatrixUnit or str
        The unit, or the name of one in `lpsim.units`.
    c : array_like, optional
        Start values of the accumulators, of a shape that broadcasts to the result's. With
        sequential and blocked summation, products over parts of k (of whole blocks or dots), each with the previous
        result as its c, give the same bits as one product over all of k (unless the unit has an ``output_format``).
    out : ndarray, optional
        Where to write the result: an array of its shape and of a floating-point dtype that holds every
        value of the unit's result format.
    seed : int, optional
        Seed of stochastic units, 0 to ``2**64 - 1``; required for these.
    a_scale : array_like, optional, shape (..., m, blocks)
        Scales of the blocks of A's rows, values of the unit's ``scale_format``; required for units that have one.
    b_scale : array_like, optional, shape (..., blocks, n)
        Scales of the blocks of B's columns, likewise.

    Returns
    -------
    ndarray or scalar
        Values of the unit's result format, in its carrier, of the shape that `numpy.matmul` gives.

    Raises
    ------
    ValueError
        If shapes do not match, the unit is unknown, a stochastic unit has no seed, a unit with scales has none (or
        they are no values of its format), or ``out`` is read-only or of another shape.
    TypeError
        If an argument holds no real numbers, or ``out`` is of a wrong dtype.

    Notes
    -----
    The result is defined by the unit alone (see `MatrixUnit`): it is the same for any number of
    threads, memory layout and batch shape.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.matmul([[1, 2**-11]], [[1], [1 + 2**-12]], lp.units.tf32).tolist()
    [[1.00048828125]]
    """
    unit = units.get(unit)
    number = np.uint64(as_seed(seed, Rounding.STOCHASTIC if unit.is_stochastic else Rounding.TIES_TO_EVEN))
    left, right = as_real(a, "a").view(np.ndarray), as_real(b, "b").view(np.ndarray)
    check_inner(left, right)
    engine = Engine(unit, number)
    left, round_a = _operand(left, unit.a_format, "a", unit, engine, seed, _STREAM_A)
    right, round_b = _operand(right, unit.b_format, "b", unit, engine, seed, _STREAM_B)
    vector_a, vector_b = left.ndim == 1, right.ndim == 1
    matrix_a = left[np.newaxis, :] if vector_a else left
    matrix_b = right[:, np.newaxis] if vector_b else right
    batch = batch_shape(left, right)
    m, n = matrix_a.shape[-2], matrix_b.shape[-1]
    shape = batch + (() if vector_a else (m,)) + (() if vector_b else (n,))

    if out is not None:
        out = check_value_out(out, shape, unit.result_format)
    accumulators = _start_values(c, shape, unit, engine, seed).reshape(*batch, m, n)
    matrices_a = np.broadcast_to(matrix_a, (*batch, m, matrix_a.shape[-1]))
    matrices_b = np.broadcast_to(matrix_b, (*batch, matrix_b.shape[-2], n))
    if engine.is_gemm:
        gemm(matrices_a, matrices_b, accumulators, round_a, round_b, zero=c is None)
    scales_a, scales_b = _scales(a_scale, b_scale, unit, batch, m, matrix_a.shape[-1], n)
    for position, index in enumerate(() if engine.is_gemm else np.ndindex(batch)):
        scales = (scales_a[index], scales_b[index])
        engine.accumulate(matrices_a[index], matrices_b[index], accumulators[index], position * m * n, scales)
    result = accumulators.reshape(shape)
    if unit.output_format is not None:
        result = _rounded(
            result, unit.output_format, "result", unit.rounding, unit.overflow, unit, seed, _STREAM_OUTPUT
        )
    if unit.nan_bits is not None:
        result[np.isnan(result)] = np.uint32(unit.nan_bits).view(np.float32)
    if out is not None:
        out[...] = result
        return out
    return result if result.ndim else result[()]


def _operand(
    array: RealArray, fmt: Format, argument: str, unit: MatrixUnit, engine: Engine, seed: int | None, stream: int
) -> tuple[RealArray, NearestParams | None]:
    """Return a matrix and how the engine is to round it while it multiplies; otherwise it is rounded."""
    by_engine, rounding = engine.short_rounding(fmt, array.dtype)
    if by_engine and array.flags.aligned:
        return array, rounding
    rounded = _rounded(array, fmt, argument, unit.input_rounding, unit.input_overflow, unit, seed, stream)
    return _flushed(rounded, fmt, unit), None


def _rounded(
    array: RealArray,
    fmt: Format,
    argument: str,
    rounding: Rounding,
    overflow: Overflow,
    unit: MatrixUnit,
    seed: int | None,
    stream: int,
) -> RealArray:
    seed = seed if rounding.is_stochastic else None
    return np.asarray(
        round_real(array, argument, fmt, rounding, overflow, seed, unit.random_bits, None, None, False, stream=stream)
    )


def _start_values(
    c: npt.ArrayLike | None, shape: tuple[int, ...], unit: MatrixUnit, engine: Engine, seed: int | None
) -> RealArray:
    """Return a new array of the accumulators' start values; `gemm` makes the zeros and the one NaN itself."""
    fmt = unit.outer_format
    if c is None:
        return np.empty(shape, fmt.carrier) if engine.is_gemm else np.zeros(shape, fmt.carrier)
    start = as_real(c, "c").view(np.ndarray)
    try:
        full = np.broadcast_to(start, shape)
    except ValueError:
        raise ValueError(f"c has shape {start.shape}; allowed: shapes that broadcast to {shape}") from None
    if engine.is_gemm and full.dtype == np.float32 and unit.flush_inputs is None:
        return np.array(full, order="C")
    rounded = _rounded(full, fmt, "c", unit.outer_rounding, unit.overflow, unit, seed, _STREAM_C)
    return _flushed(rounded, fmt, unit)


def _flushed(values: RealArray, fmt: Format, unit: MatrixUnit) -> RealArray:
    """Return the values with zeros for subnormal ones, if the unit wants it."""
    if unit.flush_inputs is None:
        return values
    zeros = np.copysign(0.0, values) if unit.flush_inputs == "signed" else np.zeros_like(values)
    subnormal = np.isfinite(values) & (values != 0) & (np.frexp(values)[1] <= fmt.emin)
    return np.where(subnormal, zeros, values).astype(values.dtype)


def _scales(
    a_scale: npt.ArrayLike | None,
    b_scale: npt.ArrayLike | None,
    unit: MatrixUnit,
    batch: tuple[int, ...],
    m: int,
    depth: int,
    n: int,
) -> tuple[RealArray, RealArray]:
    """Return the scales of A's rows and, transposed, of B's columns, of the shape of the batch."""
    scales = []
    blocks = 0 if unit.scale_block is None else -(-depth // unit.scale_block)
    for argument, given, shape in (("a_scale", a_scale, (m, blocks)), ("b_scale", b_scale, (blocks, n))):
        if unit.scale_format is None:
            if given is not None:
                raise ValueError(f"{argument} is given, but unit {unit} has no scales; allowed: None")
            scales.append(np.zeros((*batch, m if argument == "a_scale" else n, 0)))
            continue
        if given is None:
            raise ValueError(f"{argument} is None; allowed: an array of shape (..., {shape[0]}, {shape[1]}) for {unit}")
        array = as_real(given, argument).view(np.ndarray)
        rounded = _rounded(array, unit.scale_format, argument, Rounding.TIES_TO_EVEN, Overflow.IEEE, unit, None, 0)
        if not np.array_equal(rounded, array, equal_nan=True):
            raise ValueError(f"{argument} holds numbers that are not in {unit.scale_format}; allowed: its values")
        try:
            full = np.broadcast_to(rounded, (*batch, *shape))
        except ValueError:
            raise ValueError(
                f"{argument} has shape {array.shape}; allowed: shapes that broadcast to {(*batch, *shape)}"
            ) from None
        scales.append(full if argument == "a_scale" else np.swapaxes(full, -1, -2))
    return scales[0], scales[1]
