"""Steps of matrix products, each rounded, in a lane: binary32 or binary64 numbers.

Nothing here asks whether a number is special unless it is told to: `lpsim.steps` proves what serves when.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lpsim.core.bits import copy_sign, fma, rounded_product
from lpsim.core.jit import core_function
from lpsim.core.nearest import binade, nearest_by_fma, toward_zero_by_fma, truncated
from lpsim.core.random import word_at

__all__ = ["StepParams", "in_lanes", "next_sum"]


class StepParams(NamedTuple):
    """One rounding of a step."""

    lowest: float  # see nearest_by_fma; multiplied by the kernel's scale
    constant: float
    last_place: float  # see toward_zero_by_fma
    max: float  # the format's largest finite value
    overflow: float  # what becomes of numbers beyond it
    infinity: float  # and of infinity
    fine_constant: float  # for a format of so many digits more as there are random bits
    fine_last_place: float


@core_function
def in_lanes(f: Any, lane: Any) -> Any:
    """Return StepParams in the lane's type, as `next_sum` takes them."""
    range_ = lane(f.max), lane(f.overflow), lane(f.infinity)
    return lane(f.lowest), lane(f.constant), lane(f.last_place), range_, lane(f.fine_constant), lane(f.fine_last_place)


@core_function
def _with_noise(x: Any, word: Any, random_bits: Any, f: Any, lane: Any) -> Any:
    """Return x and a random part of its last place in the format, of as many bits as both have; exact but for x's rest.

    Truncated to the format, this is x rounded stochastically.
    """
    lowest, _, _, _, constant, last_place = f
    integer = np.int64(word >> np.uint64(np.int64(64) - random_bits))
    noise = rounded_product(lane(integer), max(binade(x), lowest) * last_place)
    return toward_zero_by_fma(x, lowest, constant, last_place) + copy_sign(noise, x)


@core_function
def _round(x: Any, noisy: Any, f: Any, toward_zero: Any, clamped: Any, signed: Any) -> Any:
    lowest, constant, last_place, (largest, overflow, infinity), _, _ = f
    if toward_zero:
        rounded = toward_zero_by_fma(noisy, lowest, constant, last_place)
    else:
        rounded = nearest_by_fma(x, lowest, constant)
    if clamped:
        rounded = overflow if abs(rounded) > largest else rounded
        rounded = infinity if abs(x) == np.inf else rounded
    return copy_sign(rounded, x) if signed else rounded


@core_function
def _off_the_tie(x: Any, term: Any, accumulator: Any, epsilon: Any) -> Any:
    """Return x, the rounded sum of a term and an accumulator, off a tie that only rounding made of it.

    An accumulator that got lost beside the term moves x by a few last places to its own side.
    """
    nudged = x + copy_sign(rounded_product(abs(x), epsilon), accumulator)
    # The difference of infinities is a NaN: they stay.
    return nudged if (x - term == 0) & (accumulator != 0) else x


@core_function
def _truncated_sum(term: Any, accumulator: Any) -> Any:
    x = term + accumulator
    virtual = x - term
    return truncated(x, (term - (x - virtual)) + (accumulator - virtual))


@core_function
def next_sum(
    total: Any,
    factor: Any,
    element: Any,
    to_product: Any,
    to_sum: Any,
    epsilon: Any,
    key: Any,
    step: Any,
    random_bits: Any,
    how: Any,
    lane: Any,
) -> Any:
    """Return the accumulator ``total`` after one step: with the product of two numbers of the lane's type added.

    Parameters
    ----------
    total, factor, element : float32 or float64
        The accumulator and the factors, of the lane's type.
    to_product, to_sum : tuple
        The roundings, as `in_lanes` returns them.
    epsilon : float32 or float64
        A few last places of 1.
    key, step, random_bits
        The element's key of random words, the number of the product's, and how many bits of them are used.
    how : tuple of bool
        Constants: fused, toward_zero, stochastic, clamped, signed, guarded, see `lpsim.cpu.steps.step_kernel`.
    lane : type
        `numpy.float32` or `numpy.float64`.
    """
    fused, toward_zero, stochastic, clamped, signed, guarded = how
    noisy = term = rounded_product(factor, element)
    if stochastic:
        noisy = _with_noise(term, word_at(key, step), random_bits, to_product, lane)
    if not fused:
        term = _round(term, noisy, to_product, toward_zero, clamped, signed)
    if toward_zero:
        x = _truncated_sum(term, total)
    elif fused:
        x = fma(factor, element, total)
    else:
        x = total + term
    if guarded:
        x = _off_the_tie(x, term, total, epsilon)
    noisy = x
    if stochastic:
        noisy = _with_noise(x, word_at(key, step + 1), random_bits, to_sum, lane)
    return _round(x, noisy, to_sum, toward_zero, clamped, signed)
