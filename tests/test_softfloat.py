"""Results and flags against Berkeley SoftFloat, in the manner of its TestFloat suite.

Operands combine all exponents at which something happens with significands at which something happens; every
operation runs in the five rounding directions of IEEE 754, with tininess detected after and before rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lpsim as lp
from lpsim import reference

softfloat = pytest.importorskip("softfloatpy")

CARRIERS = {"float16": np.float16, "float32": np.float32, "float64": np.float64}
TYPES = {"float16": softfloat.Float16, "float32": softfloat.Float32, "float64": softfloat.Float64}
PREFIXES = {"float16": "f16", "float32": "f32", "float64": "f64"}
OPERATIONS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}
MODES = {
    "ties_to_even": softfloat.RoundingMode.NEAR_EVEN,
    "ties_to_away": softfloat.RoundingMode.NEAR_MAX_MAG,
    "toward_zero": softfloat.RoundingMode.MIN_MAG,
    "toward_negative": softfloat.RoundingMode.MIN,
    "toward_positive": softfloat.RoundingMode.MAX,
}
TININESS = {
    "after": softfloat.TininessMode.AFTER_ROUNDING,
    "before": softfloat.TininessMode.BEFORE_ROUNDING,
}
FLAGS = {
    softfloat.ExceptionFlag.INVALID: lp.Flag.INVALID,
    softfloat.ExceptionFlag.INFINITE: lp.Flag.DIVIDE_BY_ZERO,
    softfloat.ExceptionFlag.OVERFLOW: lp.Flag.OVERFLOW,
    softfloat.ExceptionFlag.UNDERFLOW: lp.Flag.UNDERFLOW,
    softfloat.ExceptionFlag.INEXACT: lp.Flag.INEXACT,
}


def patterns(name: str, rng: np.random.Generator, count: int) -> np.ndarray:
    """Codes drawn from the corners of a format, its NaNs included."""
    fmt = lp.format(name)
    m, e, bias = fmt.mantissa_bits, fmt.exponent_bits, fmt.bias
    offsets = [-m - 3, -m - 2, -m - 1, -m, -1, 0, 1, m, m + 1, m + 2]
    middle = [bias + offset for offset in offsets] + [bias // 2, bias // 2 + 1, bias + bias // 2]
    exponents = [x for x in [0, 1, 2, m, m + 1, *middle, 2 * bias - 1, 2 * bias, 2 * bias + 1] if 0 <= x < 1 << e]
    ones = (1 << m) - 1
    trailing = [0, 1, 2, 3, 1 << (m - 1), (1 << (m - 1)) - 1, (1 << (m - 1)) + 1, ones, ones - 1, ones >> 1 << 1]
    drawn = np.where(
        rng.random(count) < 0.6, rng.choice(trailing, count), rng.integers(0, 1 << m, count, dtype=np.int64)
    )
    sign = rng.integers(0, 2, count, dtype=np.uint64) << np.uint64(e + m)
    fields = rng.choice(exponents, count).astype(np.uint64) << np.uint64(m)
    return (sign | fields | drawn.astype(np.uint64)).astype(fmt.code_dtype)


def big_endian(column: np.ndarray) -> list[bytes]:
    width = column.itemsize
    raw = column.astype(column.dtype.newbyteorder(">")).tobytes()
    return [raw[i : i + width] for i in range(0, len(raw), width)]


def soft(function: Any, columns: list[list[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """SoftFloat's results (codes) and flags, one call each."""
    results, flags = [], []
    for numbers in zip(*columns, strict=True):
        softfloat.set_exception_flags(0)
        results.append(function(*numbers).to_bytes())
        raised = softfloat.get_exception_flags()
        flags.append(sum(ours for theirs, ours in FLAGS.items() if raised & theirs))
    return np.frombuffer(b"".join(results), f">u{len(results[0])}"), np.array(flags, np.uint8)


def assert_agrees(
    value: np.ndarray, flags: np.ndarray, theirs: np.ndarray, their_flags: np.ndarray, fmt: lp.Format, case: Any
) -> None:
    expected = lp.decode(theirs, fmt)
    same = (value == expected) & (np.signbit(value) == np.signbit(expected)) | (np.isnan(value) & np.isnan(expected))
    wrong = np.flatnonzero(~same | (flags != their_flags))
    assert wrong.size == 0, [(case(i), value[i], expected[i], flags[i], their_flags[i]) for i in wrong[:3]]


@pytest.mark.parametrize("tininess", TININESS)
@pytest.mark.parametrize("rounding", MODES)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", CARRIERS)
def test_arithmetic(name: str, operation: str, rounding: str, tininess: str) -> None:
    rng = np.random.default_rng([*name.encode(), *operation.encode()])
    codes = tuple(patterns(name, rng, 3000) for _ in range(OPERATIONS[operation]))
    if operation == "fma":  # cancellation, which independent operands seldom meet
        with np.errstate(all="ignore"):
            products = -(codes[0].view(CARRIERS[name]) * codes[1].view(CARRIERS[name]))
        codes = (*codes[:2], np.where(rng.random(3000) < 0.3, products.view(codes[2].dtype), codes[2]))
    softfloat.set_rounding_mode(MODES[rounding])
    softfloat.set_tininess_mode(TININESS[tininess])
    function = getattr(softfloat, f"{PREFIXES[name]}_{'mul_add' if operation == 'fma' else operation}")
    theirs, their_flags = soft(function, [[TYPES[name].from_bytes(raw) for raw in big_endian(x)] for x in codes])
    operands = [column.view(CARRIERS[name]) for column in codes]
    value, flags = getattr(lp, operation)(*operands, name, rounding, flags=True, tininess=tininess)
    assert_agrees(value, flags, theirs, their_flags, lp.format(name), lambda i: [hex(column[i]) for column in codes])
    # The reference takes Python's floats, in which signalling NaNs are already quiet.
    for i in range(0, 3000, 10):
        numbers = [float(lp.decode(column[i], name)) for column in codes]
        if not any(map(np.isnan, numbers)):
            result = getattr(reference, operation)(*numbers, name, rounding=rounding, tininess=tininess, flags=True)
            expected = float(lp.decode(theirs[i], name))
            assert result[1] == their_flags[i]
            assert result[0] == expected or (np.isnan(result[0]) and np.isnan(expected))


CONVERSIONS = [("float32", "float16"), ("float64", "float16"), ("float64", "float32"), ("float16", "float64")]


@pytest.mark.parametrize("tininess", TININESS)
@pytest.mark.parametrize("rounding", MODES)
@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
def test_conversion(source: str, target: str, rounding: str, tininess: str) -> None:
    rng = np.random.default_rng([*source.encode(), *target.encode()])
    codes = patterns(source, rng, 4000)
    # Numbers around the target's range, and its ties with a bit or two beside them.
    with np.errstate(all="ignore"):
        near = lp.decode(patterns(target, rng, 4000), target)
        near = near + lp.ulp(near, target) * rng.choice([0, 0.5, 0.25, 2.0**-12], 4000)
        codes = np.concatenate([codes, near.astype(CARRIERS[source]).view(codes.dtype)])
    softfloat.set_rounding_mode(MODES[rounding])
    softfloat.set_tininess_mode(TININESS[tininess])
    function = getattr(softfloat, f"{PREFIXES[source]}_to_{PREFIXES[target]}")
    theirs, their_flags = soft(function, [[TYPES[source].from_bytes(raw) for raw in big_endian(codes)]])
    value, flags = lp.round(codes.view(CARRIERS[source]), target, rounding, flags=True, tininess=tininess)
    assert_agrees(value, flags, theirs, their_flags, lp.format(target), lambda i: hex(codes[i]))


@pytest.mark.parametrize("rounding", MODES)
@pytest.mark.parametrize("source", ["i64", "ui64"])
@pytest.mark.parametrize("target", CARRIERS)
def test_integers(source: str, target: str, rounding: str) -> None:
    rng = np.random.default_rng([*source.encode(), *target.encode()])
    integers = rng.integers(0, 1 << 64, 3000, dtype=np.uint64) >> rng.integers(0, 64, 3000, dtype=np.uint64)
    x = integers if source == "ui64" else integers.view(np.int64)
    softfloat.set_rounding_mode(MODES[rounding])
    kind = softfloat.UInt64 if source == "ui64" else softfloat.Int64
    function = getattr(softfloat, f"{source}_to_{PREFIXES[target]}")
    theirs, their_flags = soft(function, [[kind.from_bytes(raw) for raw in big_endian(x)]])
    value, flags = lp.round(x, target, rounding, flags=True)
    assert_agrees(value, flags, theirs, their_flags, lp.format(target), lambda i: x[i])
