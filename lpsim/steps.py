"""Which matrix products the vector kernels of `lpsim.cpu.steps` do bit for bit, and how.

A step is ``accumulator = round(accumulator + term)``, where the term is the product of two inputs, exact (fused) or
rounded. The kernels compute the product and the sum in lanes, binary32 or binary64 numbers of precision q, and round
what they get to the format. That is the format's one rounding of the exact result, because:

*Product.* It is exact in the lanes if its factors have at most q digits together and its last bit is not below the
lanes' own; or it is so small that both roundings give zero.

*Sum*, with at most p digits in accumulator and term and q >= 2p + 1 (S. Figueroa, "When is double rounding innocuous?",
1995; here with a term of more digits than the accumulator). Let e be the exponent of the sum. Rounding it to q digits
can only matter if the rounded sum is a midpoint m between two numbers of the accumulator's format and the exact one is
not. It then has bits below ``2**(e - q + 1)``, which only the smaller operand y can have, so that
``|y| < 2**(e - q + p)``. The larger one, x, and m are multiples of ``2**(e - p)``, and they differ by less than that:
``|x - m| <= |y| + 2**(e - q) < 2**(e - p)``. Hence x = m, which is not a number of the accumulator's format. So x is a
term that has more digits than the accumulator, and y is an accumulator that is not 0 with ``|y| <= 2**(e - q)``. (A
term among subnormal numbers, too, may have too many digits; but no accumulator is so small beside it.) If all terms are
numbers of the accumulator's precision, or if no number of its format is ``2**q`` times as large as another, that cannot
be; otherwise the kernels are ``guarded``. Toward zero, the kernels round sums toward zero in the lanes as well, with
the help of the error of the sum, and rounding toward zero twice is rounding toward zero. Stochastically, they add a
random part of the last place to what they truncated to so many bits beyond it as are random, as the rounding function
does.

*Range.* The first kernel knows no range. All numbers are multiplied by a power of two, ``scale``, that makes the
constant of `nearest_by_fma` overflow from the binade of the format's largest number on: whatever may be beyond the
range, and infinities and NaNs among the operands, end as a number that is not finite in the accumulator, and so do all
later ones. Rows of which that is true are done again by the second kernel, with a comparison in every rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lpsim.arguments import RealArray
from lpsim.core.steps import StepParams
from lpsim.cpu.steps import WIDTH, Words, step_kernel
from lpsim.cpu.threads import check_stop
from lpsim.formats import Format
from lpsim.parameters import parameters
from lpsim.parts import Place
from lpsim.rounding import Rounding
from lpsim.units import MatrixUnit

__all__ = ["DEPTH", "StepRunner", "may_be_tiny", "step_passes", "step_runner"]

#: ``run(rows, columns)`` adds the products to that part of the result, and returns how many pieces of a row needed
#: the second kernel.
StepRunner = Callable[[tuple[int, int], tuple[int, int]], int]

#: Steps between two looks at the accumulators: so many rows of b stay in the second-level cache.
DEPTH = 512

_MODES = (Rounding.TIES_TO_EVEN, Rounding.TOWARD_ZERO, Rounding.STOCHASTIC)

#: Results narrower than this are computed transposed.
_NARROW = 16


class _Lanes(NamedTuple):
    """A format of the processor."""

    digits: int
    emax: int

    @property
    def last_bit(self) -> int:
        """Exponent of the smallest positive number."""
        return 2 - self.emax - self.digits

    @property
    def wide(self) -> bool:
        """Whether this is binary64."""
        return self.digits > 24

    def largest_binade(self, precision: int) -> int:
        """Return the exponent of the largest numbers that `nearest_by_fma` can round."""
        return self.emax - (self.digits - precision)


_LANES = (_Lanes(24, 127), _Lanes(53, 1023))


class _Pass(NamedTuple):
    """A kernel and its last arguments."""

    kernel: Callable[..., None]
    arguments: tuple[float, StepParams, StepParams]
    options: dict[str, bool]


def step_runner(
    a: RealArray, b: RealArray, out: RealArray, unit: MatrixUnit, seed: np.uint64, place: Place
) -> StepRunner | None:
    """Return a function that adds the product of two matrices to the accumulators in ``out``; None: there is none.

    Parameters
    ----------
    a, b : ndarray, shapes (m, k) and (k, n)
        Values of the unit's input formats, float32 or float64, C-contiguous and read-only.
    out : ndarray, shape (m, n)
        Start values of the accumulators, in the accumulator's format; of the same dtype, C-contiguous.
    unit : MatrixUnit
    seed : uint64
        Of stochastic units.
    place : Place
        Where ``out`` is in the whole result, which selects the random words.

    Returns
    -------
    callable or None
        ``run(rows, columns)`` with two (start, stop); it may run at the same time for different parts of ``out``.
        The bits are those of `lpsim.cpu.orders.order_kernel`.
    """
    found = step_passes(unit, False)
    if found is None:
        return None
    narrow = not all(options["wide"] for _, _, options in found)
    passes = step_passes(unit, True) if narrow and _may_lose_products(a, b, unit) else found
    if passes is None:
        return None

    def run(rows: tuple[int, int], columns: tuple[int, int]) -> int:
        height, width = rows[1] - rows[0], columns[1] - columns[0]
        if width >= _NARROW or width >= height:
            return _run(passes, a, b, out, rows, columns, Words(seed, place.first, place.row, 1, unit.random_bits))
        # Vectors are along the columns; the factors of a product may change places.
        part = out[slice(*rows), slice(*columns)]
        transposed = part.T.copy()
        left, right = _transposed(b[:, slice(*columns)]), _transposed(a[slice(*rows)])
        first = place.first + rows[0] * place.row + columns[0]
        words = Words(seed, first, 1, place.row, unit.random_bits)
        redone = _run(passes, left, right, transposed, (0, width), (0, height), words)
        part[...] = transposed.T
        return redone

    return run


def _transposed(matrix: RealArray) -> RealArray:
    # Read-only as the others are, so that one compiled kernel serves.
    copy: RealArray = matrix.T.copy()
    copy.flags.writeable = False
    return copy


def _run(
    passes: tuple[_Pass, _Pass],
    a: RealArray,
    b: RealArray,
    out: RealArray,
    rows: tuple[int, int],
    columns: tuple[int, int],
    words: Words,
) -> int:
    redone = 0
    for start in range(0, a.shape[1], DEPTH):
        check_stop()
        depths = (start, min(start + DEPTH, a.shape[1]))
        todo = np.ones((rows[1] - rows[0], -(-(columns[1] - columns[0]) // WIDTH)), np.bool_)
        for number, (kernel, arguments, _) in enumerate(passes):
            kernel(a, b, out, todo, rows, columns, depths, words, *arguments)
            left = int(np.count_nonzero(todo))
            redone += left if number == 0 else 0
            if left == 0:
                break
    return redone


@functools.lru_cache(maxsize=256)
def step_passes(unit: MatrixUnit, wide: bool) -> tuple[_Pass, _Pass] | None:
    """Return the two kernels that do the steps of a unit, one after the other; None: there are none.

    They work in binary64 if ``wide``; else maybe not, which is for matrices of which `_may_lose_products` is False.
    """
    targets = _targets(unit)
    if unit.order != "sequential" or unit.rounding not in _MODES:
        return None
    if not all(fmt.signed and fmt.subnormals and fmt.has_negative_zero and fmt.mantissa_bits > 0 for fmt in targets):
        return None
    usable = [lanes for lanes in _LANES[wide:] if _are_exact(lanes, unit)]
    first = next((lanes for lanes in usable if _scale_exponent(lanes, targets) < lanes.emax), None)
    second = next((lanes for lanes in usable if _hold_the_range(lanes, unit)), None)
    if first is None or second is None:
        return None
    return (
        _pass(first, unit, clamped=False, scale=_scale_exponent(first, targets)),
        _pass(second, unit, clamped=True, scale=0),
    )


def _pass(lanes: _Lanes, unit: MatrixUnit, *, clamped: bool, scale: int) -> _Pass:
    product, accumulator = _targets(unit)
    fused = unit.product_format is None
    options = {
        "wide": lanes.wide,
        "fused": fused,
        "toward_zero": _truncates(unit),
        "stochastic": unit.rounding.is_stochastic,
        "clamped": clamped,
        # A sum of numbers of the accumulator's format is zero only if it is exact, and then +0, but for -0 + -0.
        "signed": clamped or fused or product.quantum_exponent < accumulator.quantum_exponent,
        "guarded": not (_truncates(unit) or _keeps_accumulators(lanes, unit)),
    }
    arguments = (2.0**scale, _step_params(product, lanes, unit, scale), _step_params(accumulator, lanes, unit, scale))
    return _Pass(step_kernel(**options), arguments, options)


def _truncates(unit: MatrixUnit) -> bool:
    return unit.rounding != Rounding.TIES_TO_EVEN


def _targets(unit: MatrixUnit) -> tuple[Format, Format]:
    """Return the formats of product and accumulator."""
    return unit.product_format or unit.accumulator_format, unit.accumulator_format


def _term_digits(unit: MatrixUnit) -> int:
    exact = unit.a_format.precision + unit.b_format.precision
    return exact if unit.product_format is None else unit.product_format.precision


def _may_be_tiny(lanes: _Lanes, unit: MatrixUnit) -> bool:
    """Whether a product may have bits below the lanes' last one that matter for its rounding."""
    # Far above the lanes' last bit, the smallest product that is not rounded to zero has all its digits. In a sum that
    # is rounded toward zero each bit matters.
    far_above = _targets(unit)[0].quantum_exponent >= lanes.last_bit + lanes.digits + 5
    if far_above and not (unit.product_format is None and _truncates(unit)) and not unit.rounding.is_stochastic:
        return False
    return unit.a_format.quantum_exponent + unit.b_format.quantum_exponent < lanes.last_bit


def may_be_tiny(unit: MatrixUnit) -> bool:
    """Return whether binary32 may lose bits of a product that matter, for all that the unit's formats tell."""
    return _may_be_tiny(_LANES[0], unit)


def _may_lose_products(a: RealArray, b: RealArray, unit: MatrixUnit) -> bool:
    """Whether binary32 loses bits of a product of these matrices, as far as their smallest numbers tell."""
    if not _may_be_tiny(_LANES[0], unit):
        return False
    return _last_bit(a, unit.a_format) + _last_bit(b, unit.b_format) < _LANES[0].last_bit


def _last_bit(x: RealArray, fmt: Format) -> int:
    """Return a lower bound of the exponents of the last bits of x."""
    codes = np.abs(x).view(f"u{x.itemsize}")
    codes -= 1  # zero becomes the largest, at the price of one last place of the others
    largest = np.iinfo(codes.dtype).max
    smallest = codes.min(initial=largest)
    if smallest == largest:
        return 0
    return max(fmt.quantum_exponent, math.frexp(float(smallest.view(x.dtype)))[1] - fmt.precision)


def _are_exact(lanes: _Lanes, unit: MatrixUnit) -> bool:
    """Whether products and sums in the lanes serve, as the module says, if no product is tiny in binary32."""
    targets = _targets(unit)
    if _truncates(unit):
        more = unit.random_bits if unit.rounding.is_stochastic else 0
        sums = lanes.digits >= max(fmt.precision for fmt in targets) + more + 2 and (lanes.wide or not more)
    else:
        sums = lanes.digits >= 2 * max(_term_digits(unit), unit.accumulator_format.precision) + 1
    return (
        sums
        and unit.a_format.precision + unit.b_format.precision <= lanes.digits
        and all(fmt.emin >= 1 - lanes.emax for fmt in targets)
        and (lanes.wide or unit.a_format.carrier == unit.b_format.carrier == np.float32)
        and not (lanes.wide and _may_be_tiny(lanes, unit))
    )


def _hold_the_range(lanes: _Lanes, unit: MatrixUnit) -> bool:
    """Whether the lanes can tell what is beyond the range, and, where that is not the same, from infinity."""
    tells = unit.a_format.emax + unit.b_format.emax + 2 <= lanes.emax
    for fmt in _targets(unit):
        f = parameters(fmt, unit.rounding, unit.overflow)
        same = f.over_positive == f.infinity_positive or not (fmt.has_infinity or math.isfinite(f.over_positive))
        if not (same or tells) or fmt.emax > lanes.largest_binade(fmt.precision):
            return False
    return True


def _keeps_accumulators(lanes: _Lanes, unit: MatrixUnit) -> bool:
    """Whether no accumulator gets lost beside a term that is a midpoint."""
    fmt = unit.accumulator_format
    return _term_digits(unit) <= fmt.precision or fmt.emax - fmt.quantum_exponent < lanes.digits


def _scale_exponent(lanes: _Lanes, targets: tuple[Format, Format]) -> int:
    return max(0, *(lanes.largest_binade(fmt.precision) + 1 - fmt.emax for fmt in targets))


def _step_params(fmt: Format, lanes: _Lanes, unit: MatrixUnit, scale: int) -> StepParams:
    f = parameters(fmt, unit.rounding, unit.overflow)
    return StepParams(
        lowest=math.ldexp(1.0, min(fmt.emin + scale, lanes.emax)),
        constant=math.ldexp(1.5, lanes.digits - fmt.precision),
        last_place=math.ldexp(1.0, 1 - fmt.precision),
        max=fmt.max,
        overflow=f.over_positive,
        infinity=f.infinity_positive,
        fine_constant=math.ldexp(1.5, lanes.digits - fmt.precision - unit.random_bits),
        fine_last_place=math.ldexp(1.0, 1 - fmt.precision - unit.random_bits),
    )
