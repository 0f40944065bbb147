"""Operands for verification: all of a small format, or drawn where rounding is hard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.formats import Format
from lpsim.reference import decode

__all__ = ["all_operands", "all_values", "sampled_operands", "unary_points"]

_Reals = npt.NDArray[np.float64]

#: Numbers that are special everywhere.
_SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 5e-324, 2.0**-1022, 1.7976931348623157e308)


def all_values(fmt: Format) -> _Reals:
    """Return the value of every code, special ones included, as float64."""
    return np.array([decode(code, fmt) for code in range(1 << fmt.bits)])


def unary_points(fmt: Format) -> _Reals:
    """Return all values, the middles between neighbours, and the nearest float64 numbers beside each."""
    values = all_values(fmt)
    # What follows the largest value in an unbounded range of exponents, where overflow is decided.
    beyond = fmt.max + fmt.magnitude(fmt.max_code) - fmt.magnitude(max(fmt.max_code - 1, 0))
    ends = np.unique(np.concatenate([np.abs(values[np.isfinite(values)]), [0.0, beyond]]))
    ends = ends[np.isfinite(ends)]
    with np.errstate(over="ignore"):
        middles = ends[:-1] + (ends[1:] - ends[:-1]) / 2
        points = np.concatenate([ends, middles])
        points = np.concatenate([points, np.nextafter(points, 0), np.nextafter(points, np.inf)])
    return np.concatenate([values, points, -points, _SPECIAL])


def all_operands(fmt: Format, arity: int) -> tuple[_Reals, ...]:
    """Return every combination of values of the format as operands, simplest first."""
    values = all_values(fmt)
    if fmt.bits <= 4:
        values = np.append(values, [np.inf, np.nan])
    values = values[np.argsort(np.abs(values), kind="stable")]
    return tuple(grid.ravel() for grid in np.meshgrid(*[values] * arity, indexing="ij"))


def _magnitude_codes(fmt: Format, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw codes of finite magnitudes: anywhere, and often at both ends and around 2**emin."""
    top, normal = fmt.max_code, min(1 << fmt.mantissa_bits, fmt.max_code)
    near = rng.choice([0, normal, top], count) + rng.integers(-3, 4, count)
    spread = rng.integers(0, top + 1, count)
    return np.clip(np.where(rng.random(count) < 0.4, near, spread), 0, top)


def _targets(fmt: Format, count: int, rng: np.random.Generator) -> _Reals:
    """Draw numbers that are values, ties or beside them, subnormal, or at the end of the range."""
    codes = _magnitude_codes(fmt, count, rng)
    low = np.array([fmt.magnitude(int(code)) for code in codes])
    high = np.array([fmt.magnitude(int(code) + 1) if code < fmt.max_code else np.nan for code in codes])
    exponents = np.frexp(low)[1] - 1 - fmt.mantissa_bits
    gap = np.where(np.isnan(high), np.ldexp(1.0, np.clip(exponents, -1074, 1023)), high - low)
    offset = rng.choice([-1.0, 1.0], count) * np.exp2(-rng.integers(2, 53, count).astype(np.float64))
    fraction = rng.choice([0.0, 0.5, 0.5, 1.0], count) + np.where(rng.random(count) < 0.5, offset, 0.0)
    with np.errstate(over="ignore"):
        targets: _Reals = (low + gap * fraction) * rng.choice([-1.0, 1.0], count)
    return targets


def sampled_operands(
    fmt: Format, operation: str, arity: int, count: int, rng: np.random.Generator
) -> tuple[_Reals, ...]:
    """Draw operands whose exact result lies at or near a value, a tie or the end of the range.

    In half of the cases a result is drawn first and the last operand is solved for; the others are
    values of the format, numbers near these, numbers of any exponent, and special numbers.
    """
    with np.errstate(all="ignore"):
        columns = [_mixed(fmt, count, rng) for _ in range(arity)]
        solved = rng.random(count) < 0.5
        target = _targets(fmt, count, rng)
        x = columns[0]
        last: Any = {
            "add": lambda: target - x,
            "sub": lambda: x - target,
            "mul": lambda: target / x,
            "div": lambda: x / target,
            "sqrt": lambda: target * target,
            "fma": lambda: target - x * columns[1],
        }.get(operation, lambda: target)()
        columns[-1] = np.where(solved, last, columns[-1])
    return tuple(columns)


def _mixed(fmt: Format, count: int, rng: np.random.Generator) -> _Reals:
    kind = rng.random(count)
    values = np.array([fmt.magnitude(int(code)) for code in _magnitude_codes(fmt, count, rng)])
    values *= rng.choice([-1.0, 1.0], count)
    short = rng.choice([1.0, -1.0, 0.5, 3.0, 0.75, -2.0], count)
    anywhere = rng.integers(0, 1 << 64, count, dtype=np.uint64).view(np.float64)
    special = rng.choice(_SPECIAL, count)
    return np.select(
        [kind < 0.5, kind < 0.7, kind < 0.85, kind < 0.97],
        [values, _targets(fmt, count, rng), short, anywhere],
        special,
    )
