"""Operands for verification: all of a small format, or drawn where rounding is hard."""

from __future__ import annotations

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

    In nearly half of the cases a result is drawn first and an operand is solved for; in others operands cancel, or
    few digits make an exact tie; the rest are values of the format, numbers near these, numbers of any exponent and
    special numbers. A quarter of all cases are numbers of binary32, which kernels treat apart.
    """
    with np.errstate(all="ignore"):
        columns = [_mixed(fmt, count, rng) for _ in range(arity)]
        how = rng.random(count)
        for share, drawn in ((0.45, _solved), (0.55, _cancelling), (0.7, _ties)):
            found = drawn(fmt, operation, columns, rng)
            columns = [np.where(how < share, new, old) for new, old in zip(found, columns, strict=True)]
            how = np.where(how < share, 1.0, how)
        single = rng.random(count) < 0.25
        return tuple(np.where(single, column.astype(np.float32), column) for column in columns)


def _solved(fmt: Format, operation: str, columns: list[_Reals], rng: np.random.Generator) -> list[_Reals]:
    """Replace an operand such that the result is, or is near, a number drawn before."""
    target, x = _targets(fmt, columns[0].size, rng), columns[0]
    match operation:
        case "add":
            return [x, target - x]
        case "sub":
            return [x, x - target]
        case "mul":
            return [x, target / x]
        case "div":
            return [target * columns[1], columns[1]]
        case "sqrt":
            return [target * target]
        case "fma":
            return [x, columns[1], target - x * columns[1]]
        case _:
            return [target]


def _cancelling(fmt: Format, operation: str, columns: list[_Reals], rng: np.random.Generator) -> list[_Reals]:
    """Replace the last operand such that a sum is zero, or nearly so."""
    x = columns[0]
    match operation:
        case "add":
            opposite = -x
        case "sub":
            opposite = x
        case "fma":
            opposite = -(x * columns[1])
        case _:
            return columns
    beside = np.nextafter(opposite, rng.choice([-np.inf, np.inf], x.size))
    return [*columns[:-1], np.where(rng.random(x.size) < 0.5, opposite, beside)]


def _ties(fmt: Format, operation: str, columns: list[_Reals], rng: np.random.Generator) -> list[_Reals]:
    """Return operands of which sums and products end one digit below the format's last, whatever its precision."""
    count, digits = columns[0].size, fmt.mantissa_bits + 2  # those of a tie
    if operation in ("add", "sub", "fma"):
        values = np.array([fmt.magnitude(int(code)) for code in _magnitude_codes(fmt, count, rng)])
        last = np.clip(np.frexp(values)[1] - 1, fmt.emin, None) - fmt.mantissa_bits
        # The middle between neighbours, and what moves a sum off it by the least that there is.
        step = np.ldexp(rng.choice([0.5, 0.5, 1.5, 0.25], count), last) * rng.choice([-1.0, 1.0], count)
        step = np.where(rng.random(count) < 0.5, step, np.nextafter(step, rng.choice([0.0, np.inf], count)))
        values *= rng.choice([-1.0, 1.0], count)
        return [values, step] if operation != "fma" else [step, np.ones(count), values]
    if operation != "mul":
        return columns
    left = rng.integers(1, digits, count) if digits > 2 else np.ones(count, np.int64)
    factors = [
        (np.int64(1) << (size - 1)) | (rng.integers(0, 1 << 53, count) >> (53 - size)) | 1
        for size in (left, digits - left)
    ]
    # Anywhere from below the smallest value to above the largest.
    exponent = rng.integers(fmt.quantum_exponent - 3, fmt.emax + 3, count) - digits
    scale = [np.clip(exponent // 2, -1100, 1000), exponent - np.clip(exponent // 2, -1100, 1000)]
    return [
        np.ldexp(factor.astype(np.float64), power) * rng.choice([-1.0, 1.0], count)
        for factor, power in zip(factors, scale, strict=True)
    ]


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
