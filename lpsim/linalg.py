"""Matrix products as a matrix unit computes them, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim import units
from lpsim.arguments import RealArray, as_real, as_seed, batch_shape, check_inner, check_value_out
from lpsim.checks import shown
from lpsim.counts import Counter, MatmulStats
from lpsim.dispatch import overridable
from lpsim.engine import Engine
from lpsim.memory import check_size
from lpsim.operands import Operands, start_array
from lpsim.products import Factors, Product
from lpsim.rounding import Rounding
from lpsim.units import MatrixUnit

__all__ = ["matmul"]

#: Elements of results from which on there is a look at the memory.
_LARGE = 1 << 26


@overridable
def matmul(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    unit: MatrixUnit | str | None = None,
    c: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    seed: int | None = None,
    a_scale: npt.ArrayLike | None = None,
    b_scale: npt.ArrayLike | None = None,
    stats: bool = False,
) -> Any:
    """Return the matrix product a @ b (+ c) as a matrix unit computes it.

    Parameters
    ----------
    a : array_like, shape (..., m, k) or (k,)
        Real numbers; the unit rounds them to its ``a_format``. Or both factors are a `lpsim.Quantized` in a block
        format (``mx``, ``block_float``, ``bfp``, ``nvfp4``) along k, whose elements the unit multiplies, and whose
        scales it applies where it applies scales of blocks.
    b : array_like, shape (..., k, n) or (k,)
        Real numbers; the unit rounds them to its ``b_format``.
    unit : MatrixUnit or str, optional
        The unit, or the name of one in `lpsim.units`. Default: ``lpsim.units.tf32``, and for quantised factors
        the unit of ``lpsim.units.b200`` that multiplies their format.
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
    stats : bool
        Whether to count overflows, underflows and saturated results, which takes the slower kernels.

    Returns
    -------
    ndarray or scalar
        Values of the unit's result format, in its carrier, of the shape that `numpy.matmul` gives.
        With ``stats``, a pair of this and of `lpsim.counts.MatmulStats`.

    Raises
    ------
    ValueError
        If shapes do not match, the unit is unknown, a stochastic unit has no seed, a unit with scales has none (or
        they are no values of its format), or ``out`` is read-only or of another shape.
    TypeError
        If an argument holds no real numbers, or ``out`` is of a wrong dtype.

    Notes
    -----
    Of two-level NVFP4 factors, the unit multiplies elements and scales of blocks, and its result times the product of
    the tensors' scales, both products rounded to float32, is returned (the epilogue's alpha of CUTLASS).

    The result is defined by the unit alone (see `MatrixUnit`): it is the same for any number of
    threads, memory layout and batch shape.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.matmul([[1, 2**-11]], [[1], [1 + 2**-12]], lp.units.tf32).tolist()
    [[1.00048828125]]
    """
    unit = units.tf32 if unit is None else units.get(unit)
    number = np.uint64(as_seed(seed, Rounding.STOCHASTIC if unit.is_stochastic else Rounding.TIES_TO_EVEN))
    if not isinstance(stats, bool):
        raise TypeError(f"stats is {shown(stats)}; allowed: True or False")
    left, right = as_real(a, "a", lazy=True).view(np.ndarray), as_real(b, "b", lazy=True).view(np.ndarray)
    check_inner(left, right)
    vector_a, vector_b = left.ndim == 1, right.ndim == 1
    matrix_a = left[np.newaxis, :] if vector_a else left
    matrix_b = right[:, np.newaxis] if vector_b else right
    batch = batch_shape(left, right)
    m, n = matrix_a.shape[-2], matrix_b.shape[-1]
    shape = batch + (() if vector_a else (m,)) + (() if vector_b else (n,))
    if math.prod(shape) > _LARGE:
        check_size("the result", shape)
    if out is not None:
        out = check_value_out(out, shape, unit.result_format)

    counters = (Counter(), Counter(), Counter()) if stats else None
    engine = Engine(unit, number, None if counters is None else counters[1])
    operands = Operands(unit, engine, seed, None if counters is None else (counters[0], counters[2]))
    product = Product(unit, engine, operands, whole=stats)
    start = None if c is None else start_array(c, shape).reshape(*batch, m, n)
    factors = Factors(matrix_a, matrix_b, start, operands.scales(a_scale, b_scale, batch, (m, matrix_a.shape[-1], n)))
    if product.is_large(factors, batch):
        given = [x for x in (left, right, start) if x is not None]
        is_free = out is not None and not any(np.may_share_memory(x, out) for x in given)
        result = out if out is not None and is_free else np.empty(shape, unit.result_format.carrier)
        product.fill(factors, result.reshape(*batch, m, n))
    else:
        result = product.compute(factors, batch).reshape(shape)
    if out is not None:
        if result is not out:
            out[...] = result
        result = out
    elif result.ndim == 0:
        result = result[()]
    return result if counters is None else (result, MatmulStats(*(counter.total for counter in counters)))
