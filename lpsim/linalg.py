"""Matrix products as a matrix unit computes them, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arguments import RealArray, as_real, as_seed, check_value_out
from lpsim.core.nearest import NearestParams
from lpsim.cpu.gemm import gemm
from lpsim.cpu.matmul import matmul_kernel, native_matmul_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.elementwise import round_real
from lpsim.formats import Format, float32, float64
from lpsim.parameters import nearest_parameters, parameters
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit

__all__ = ["matmul"]

#: Streams of a seed's random bits; stream 0 serves the steps of the sums.
_STREAM_A, _STREAM_B, _STREAM_C, _STREAM_OUTPUT = 1, 2, 3, 4

#: Fewest multiply-adds that are worth a thread.
_GRAIN = 1 << 15


def matmul(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnit | str = units.tf32,
    c: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    seed: int | None = None,
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
        sequential summation, products over parts of k, each with the previous result as its c, give
        the same bits as one product over all of k (unless the unit has an ``output_format``).
    out : ndarray, optional
        Where to write the result: an array of its shape and of a floating-point dtype that holds every
        value of the unit's result format.
    seed : int, optional
        Seed of stochastic units, 0 to ``2**64 - 1``; required for these.

    Returns
    -------
    ndarray or scalar
        Values of the unit's result format, in its carrier, of the shape that `numpy.matmul` gives.

    Raises
    ------
    ValueError
        If shapes do not match, the unit is unknown, a stochastic unit has no seed, or ``out`` is read-only or
        of another shape.
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
    for name, array in (("a", left), ("b", right)):
        if array.ndim == 0:
            raise ValueError(f"{name} is 0-d; allowed: at least one axis")
    by_gemm = _is_native(unit) and unit.accumulator_format == float32
    left, round_a = _operand(left, unit.a_format, "a", unit, seed, _STREAM_A, by_gemm)
    right, round_b = _operand(right, unit.b_format, "b", unit, seed, _STREAM_B, by_gemm)
    vector_a, vector_b = left.ndim == 1, right.ndim == 1
    matrix_a = left[np.newaxis, :] if vector_a else left
    matrix_b = right[:, np.newaxis] if vector_b else right
    if matrix_a.shape[-1] != matrix_b.shape[-2]:
        raise ValueError(
            f"a has shape {left.shape} and b has shape {right.shape}; allowed: as many columns of a "
            f"({matrix_a.shape[-1]}) as rows of b ({matrix_b.shape[-2]})"
        )
    try:
        batch = np.broadcast_shapes(matrix_a.shape[:-2], matrix_b.shape[:-2])
    except ValueError:
        raise ValueError(
            f"a has shape {left.shape} and b has shape {right.shape}; allowed: leading axes that broadcast together"
        ) from None
    m, n = matrix_a.shape[-2], matrix_b.shape[-1]
    shape = batch + (() if vector_a else (m,)) + (() if vector_b else (n,))

    if out is not None:
        out = check_value_out(out, shape, unit.result_format)
    accumulators = _start_values(c, shape, unit, seed, by_gemm).reshape(*batch, m, n)
    matrices_a = np.broadcast_to(matrix_a, (*batch, m, matrix_a.shape[-1]))
    matrices_b = np.broadcast_to(matrix_b, (*batch, matrix_b.shape[-2], n))
    if by_gemm:
        gemm(matrices_a, matrices_b, accumulators, round_a, round_b, zero=c is None)
    else:
        for position, index in enumerate(np.ndindex(batch)):
            _accumulate(matrices_a[index], matrices_b[index], accumulators[index], unit, number, position * m * n)
    result = accumulators.reshape(shape)
    if unit.output_format is not None:
        result = _rounded(
            result, unit.output_format, "result", unit.rounding, unit.overflow, unit, seed, _STREAM_OUTPUT
        )
    if out is not None:
        out[...] = result
        return out
    return result if result.ndim else result[()]


def _operand(
    array: RealArray, fmt: Format, argument: str, unit: MatrixUnit, seed: int | None, stream: int, by_gemm: bool
) -> tuple[RealArray, NearestParams | None]:
    """Return a matrix and how `gemm` is to round it, if it can; otherwise it is rounded."""
    rounding, overflow = unit.input_rounding, unit.input_overflow
    ordinary = (rounding, overflow) == (Rounding.TIES_TO_EVEN, Overflow.IEEE)
    if by_gemm and ordinary and array.dtype == np.float32 and array.flags.aligned:
        if fmt == float32:
            return array, None
        short = nearest_parameters(fmt)
        if short is not None:
            return array, short
    return _rounded(array, fmt, argument, rounding, overflow, unit, seed, stream), None


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
    c: npt.ArrayLike | None, shape: tuple[int, ...], unit: MatrixUnit, seed: int | None, by_gemm: bool
) -> RealArray:
    """Return a new array of the accumulators' start values; `gemm` makes the zeros and the one NaN itself."""
    fmt = unit.accumulator_format
    if c is None:
        return np.empty(shape, fmt.carrier) if by_gemm else np.zeros(shape, fmt.carrier)
    start = as_real(c, "c").view(np.ndarray)
    try:
        full = np.broadcast_to(start, shape)
    except ValueError:
        raise ValueError(f"c has shape {start.shape}; allowed: shapes that broadcast to {shape}") from None
    if by_gemm and full.dtype == np.float32:
        return np.array(full, order="C")
    return _rounded(full, fmt, "c", unit.rounding, unit.overflow, unit, seed, _STREAM_C)


def _is_native(unit: MatrixUnit) -> bool:
    """Whether the processor's own fma does the steps of a unit."""
    fits = unit.accumulator_format == float64 or (
        unit.accumulator_format == float32 and unit.a_format.carrier == unit.b_format.carrier == np.float32
    )
    exact_products = unit.product_format is None
    return fits and exact_products and (unit.rounding, unit.overflow) == (Rounding.TIES_TO_EVEN, Overflow.IEEE)


def _accumulate(a: RealArray, b: RealArray, out: RealArray, unit: MatrixUnit, seed: np.uint64, start: int) -> None:
    """Add the products of two matrices to the accumulators in ``out``, in parallel over rows or columns."""
    native = _is_native(unit)
    formats = (
        unit.a_format,
        unit.b_format,
        unit.product_format or unit.accumulator_format,
        unit.accumulator_format,
    )
    narrow = all(fmt.carrier == np.float32 for fmt in formats)
    dtype = out.dtype if native else np.dtype(np.float32 if narrow else np.float64)
    a, b, result, out = _read_only(a, dtype), _read_only(b, dtype), out, np.ascontiguousarray(out, dtype)
    if native:
        native_kernel = native_matmul_kernel()
    else:
        kernel = matmul_kernel(fused=unit.product_format is None, stochastic=unit.rounding.is_stochastic)
        accumulator = parameters(unit.accumulator_format, unit.rounding, unit.overflow, unit.random_bits)
        product = accumulator
        if unit.product_format is not None:
            product = parameters(unit.product_format, unit.rounding, unit.overflow, unit.random_bits)

    def run(rows: tuple[int, int], columns: tuple[int, int]) -> None:
        if native:
            native_kernel(a, b, out, rows, columns)
        else:
            kernel(a, b, out, rows, columns, seed, start, product, accumulator)

    m, n = out.shape
    if m >= n:
        map_ranges(lambda *rows: run(rows, (0, n)), m, smallest=max(1, _GRAIN // max(b.size, 1)))
    else:
        # Whole cache lines to each thread.
        grain = -(-max(1, _GRAIN // max(a.size, 1)) // 16) * 16
        map_ranges(lambda *columns: run((0, m), columns), n, smallest=grain)
    if out is not result:
        result[...] = out


def _read_only(matrix: RealArray, dtype: np.dtype[Any]) -> RealArray:
    # Compiled kernels distinguish writeable from read-only arrays; always the latter, so that one serves.
    view: RealArray = np.ascontiguousarray(matrix, dtype).view()
    view.flags.writeable = False
    return view
