"""Products by splitting against compositions of the reference's products, and their errors against published ones."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp
from lpsim import reference
from lpsim.splitting import SCHEMES

STOCHASTIC = lp.MatrixUnit("bf16", accumulator_format="E8M13", rounding="stochastic")


def assert_same_bits(got: Any, expected: Any) -> None:
    assert np.shape(got) == np.shape(expected)
    assert_same(got, expected, list(np.ndindex(np.shape(got))))


def operands(shape: tuple[int, int, int], spread: int = 4) -> tuple[np.ndarray, np.ndarray]:
    m, k, n = shape
    rng = np.random.default_rng(shape)
    a, b = (np.ldexp(rng.standard_normal(s), rng.integers(-spread, spread + 1, s)) for s in ((m, k), (k, n)))
    a[0, 0], b[-1, -1] = -0.0, 0.0
    return a.astype(np.float32), b.astype(np.float32)


def cast(x: Any, fmt: lp.Format, rounding: str) -> np.ndarray:
    return np.array([reference.round(float(v), fmt, rounding=rounding) for v in np.ravel(x)]).reshape(np.shape(x))


def words(x: np.ndarray, fmt: lp.Format, modes: list[str], scale: float = 1.0) -> list[np.ndarray]:
    """Return the words; differences of binary32 numbers and words are exact in binary64."""
    rest, found = x.astype(float), []
    for mode in modes:
        found.append(cast(rest, fmt, mode))
        rest = (rest - found[-1]) * scale
    return found


def chain(pairs: list[tuple[np.ndarray, np.ndarray]], unit: lp.MatrixUnit, block: int) -> np.ndarray:
    """Add the products of pairs by turns to one accumulator, block by block of k."""
    c = np.zeros((pairs[0][0].shape[0], pairs[0][1].shape[1]))
    for k in range(0, pairs[0][0].shape[1], block):
        for left, right in pairs:
            c = reference.matmul(left[:, k : k + block], right[k : k + block], unit, c)
    return c


SHAPES = [(2, 16, 3), (3, 21, 2), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["a100.tf32", "h100.tf32", "tf32"])
@pytest.mark.parametrize("modes", [None, ("toward_zero", "ties_to_away")])
def test_3xtf32(shape: tuple[int, int, int], name: str, modes: Any) -> None:
    a, b = operands(shape)
    unit = lp.units.get(name)
    (a0, a1), (b0, b1) = (words(x, lp.tf32, list(modes or ["ties_to_away"] * 2)) for x in (a, b))
    expected = chain([(a1, b0), (a0, b1), (a0, b0)], unit, max(shape[1], 1))
    assert_same_bits(lp.matmul_split(a, b, "3xtf32", name, word_rounding=modes), expected)
    if name == "a100.tf32" and modes is None:
        assert_same_bits(lp.matmul_split(a, b, "3xtf32"), expected)
        for block in (4, 8):
            turns = chain([(a1, b0), (a0, b1), (a0, b0)], unit, block)
            assert_same_bits(lp.matmul_split(a, b, "3xtf32", block=block), turns)


def staged(name: str) -> lp.MatrixUnit:
    """Return a unit whose sums of 16 k of three products go to an accumulator outside it, as CUTLASS has it."""
    return dataclasses.replace(
        lp.units.get(name), order="blocked(48)", outer_format="single", outer_rounding="ties_to_even"
    )


def test_3xtf32_with_staged_accumulation() -> None:
    a, b = operands((2, 40, 2))
    modes = ["toward_zero", "ties_to_away"]
    (a0, a1), (b0, b1) = (words(x, lp.tf32, modes) for x in (a, b))
    total = np.zeros((2, 2), np.float32)
    for k in range(0, 40, 16):
        part = slice(k, k + 16)
        pairs = [(a1[:, part], b0[part]), (a0[:, part], b1[part]), (a0[:, part], b0[part])]
        total += chain(pairs, lp.units.a100.tf32, 8).astype(np.float32)
    assert_same_bits(lp.matmul_split(a, b, "3xtf32", staged("a100.tf32"), word_rounding=modes, block=8), total)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["a100.tf32", "a100.fp16", "h100.fp16", "v100.fp16", "fp16"])
def test_ootomo(shape: tuple[int, int, int], name: str) -> None:
    a, b = operands(shape)
    unit = lp.units.get(name)
    fmt, mode, scale, block = (
        (lp.tf32, "ties_to_away", 1.0, 8) if name.endswith("tf32") else (lp.float16, "ties_to_even", 2048.0, 16)
    )
    (a0, a1), (b0, b1) = (words(x, fmt, [mode] * 2, scale) for x in (a, b))
    main = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(0, shape[1], block):
        main += reference.matmul(a0[:, k : k + block], b0[k : k + block], unit).astype(np.float32)
    correction = chain([(a1, b0), (a0, b1)], unit, block).astype(np.float32)
    assert_same_bits(lp.matmul_split(a, b, "ootomo", name), main + correction / np.float32(scale))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["a100.bf16", "h100.bf16", "bf16"])
@pytest.mark.parametrize("scheme", ["bf16x3", "bf16x6", "bf16x9"])
def test_bfloat16_words(shape: tuple[int, int, int], name: str, scheme: str) -> None:
    a, b = operands(shape)
    pairs = {
        "bf16x3": [(0, 1), (1, 0), (0, 0)],
        "bf16x6": [(0, 2), (1, 1), (2, 0), (0, 1), (1, 0), (0, 0)],
        "bf16x9": [(2, 2), (1, 2), (2, 1), (0, 2), (1, 1), (2, 0), (0, 1), (1, 0), (0, 0)],
    }[scheme]
    left, right = (words(x, lp.bfloat16, ["ties_to_even"] * 3) for x in (a, b))
    expected = chain([(left[i], right[j]) for i, j in pairs], lp.units.get(name), shape[1])
    assert_same_bits(lp.matmul_split(a, b, scheme, name), expected)


def integer_slices(row: list[float], beta: int, slices: int) -> tuple[list[list[int]], Fraction]:
    """Return the slices of a row by exact arithmetic, and its scale."""
    largest = max(abs(Fraction(x)) for x in row)
    scale = Fraction(2)
    if largest:
        exponent = largest.numerator.bit_length() - largest.denominator.bit_length() + 1
        while Fraction(2) ** exponent > largest:
            exponent -= 1
        scale = 2 * Fraction(2) ** exponent
    found: list[list[int]] = [[] for _ in range(slices)]
    for x in row:
        bits = math.floor(abs(Fraction(x)) / scale * 2 ** (beta * slices))
        for s in range(slices):
            digit = bits >> beta * (slices - 1 - s) & (1 << beta) - 1
            found[s].append(-digit if x < 0 else digit)
    return found, scale


@pytest.mark.parametrize("slices", [1, 3, 8, 40])
@pytest.mark.parametrize("kind", ["normal", "wide", "extreme"])
def test_ozaki(slices: int, kind: str) -> None:
    rng = np.random.default_rng([slices, *kind.encode()])
    spread = {"normal": 0, "wide": 30, "extreme": 500}[kind]
    a, b = (np.ldexp(rng.standard_normal(s), rng.integers(-spread, spread + 1, s)) for s in ((3, 9), (9, 2)))
    a[1] = 0.0
    if kind == "extreme":
        a[2], b[0] = 5e-324 * rng.integers(-9, 9, 9), rng.choice([1e308, -1e308], 2)
    beta = 7
    rows, columns = ([integer_slices(list(row), beta, slices) for row in matrix] for matrix in (a, b.T))
    expected = np.zeros((3, 2))
    for i, (left, scale_a) in enumerate(rows):
        for j, (right, scale_b) in enumerate(columns):
            total = 0.0
            for both in range(2, slices + 2):
                for s in range(1, both):
                    product = sum(x * y for x, y in zip(left[s - 1], right[both - s - 1], strict=True))
                    assert abs(product) < 2**31
                    total += product * 2.0 ** (-beta * both)
            try:
                expected[i, j] = float(Fraction(total) * scale_a * scale_b)
            except OverflowError:
                expected[i, j] = math.copysign(math.inf, total)
    got = lp.matmul_split(a, b, "ozaki_int8", slices=slices)
    assert got.dtype == np.float64
    assert_same_bits(got, expected)


def test_slices_of_long_products_are_narrower() -> None:
    # 7 bits of 1 + 2**-6, divided by 2, include the last one. The sum of 2**18 products is beyond int32: 6 bits then.
    x = np.ones(2**18)
    x[0] += 2**-6
    for depth, slices, kept in ((2**17, 1, True), (2**17 + 1, 1, False), (2**18, 1, False), (2**18, 2, True)):
        got = lp.matmul_split(x[:depth], np.ones(depth), "ozaki_int8", slices=slices)
        assert float(got) == depth + kept * 2**-6


# Errors.


def uniform(low: float, depth: int = 4096) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(low, 1, shape).astype(np.float32) for shape in ((32, depth), (depth, 32)))
    return a, b, a.astype(float) @ b.astype(float)


def relative(c: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(c - exact) / np.linalg.norm(exact))


# Of whole products of words one after the other, and blocks that take turns, as instructions do: U(-1, 1), U(0, 1).
LEVELS = {
    "3xtf32 a100.tf32": (1.3e-5, 5.0e-5, 3.8e-5, 7.0e-5),
    "3xtf32 h100.tf32": (9.7e-6, 2.7e-5, 2.9e-5, 4.3e-5),
    "ootomo a100.tf32": (4.0e-7, 3.1e-7, None, None),
}


@pytest.mark.parametrize("case", LEVELS)
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_error_levels(case: str, low: float) -> None:
    """Truncation drifts with the number of steps inside the unit; sums outside it, to nearest, do not."""
    scheme, name = case.split()
    a, b, exact = uniform(low)
    whole, turns = LEVELS[case][low == 0.0 :: 2]
    assert relative(lp.matmul_split(a, b, scheme, name), exact) == pytest.approx(whole, rel=0.2)
    if turns is not None:
        assert relative(lp.matmul_split(a, b, scheme, name, block=8), exact) == pytest.approx(turns, rel=0.2)
        assert relative(lp.matmul_split(a, b, scheme, staged(name), block=8), exact) < 5e-7


def test_more_words_are_more_accurate() -> None:
    a, b, exact = uniform(-1.0, 64)
    one = relative(lp.matmul(a, b, lp.units.bf16), exact)
    three, six = (relative(lp.matmul_split(a, b, scheme, "bf16"), exact) for scheme in ("bf16x3", "bf16x6"))
    assert one > 1e-3
    assert 1e-6 < three < 1e-5
    assert six < 2e-7


OZAKI_LEVELS = [(0, 3, 2e-7), (0, 4, 2e-9), (0, 6, 2e-13), (0, 8, 6e-17), (1, 6, 1e-10), (1, 8, 1e-14), (1, 9, 2e-16)]


@pytest.mark.parametrize(("phi", "slices", "level"), OZAKI_LEVELS)
def test_error_levels_of_ozaki(phi: int, slices: int, level: float) -> None:
    rng = np.random.default_rng(0)
    a, b = ((rng.random(s) - 0.5) * np.exp(phi * rng.standard_normal(s)) for s in ((32, 1024), (1024, 32)))
    scale = 2**100  # makes integers of all elements, whose products are exact
    whole = np.frompyfunc(lambda x: int(Fraction(x) * scale), 1, 1)
    exact = whole(a) @ whole(b)
    got = lp.matmul_split(a, b, "ozaki_int8", slices=slices)
    error = np.abs(whole(got) * scale - exact).astype(float) / float(scale) ** 2
    assert level / 3 < np.max(error / (np.abs(a) @ np.abs(b))) < level * 3


# Arguments.


@pytest.mark.parametrize("scheme", SCHEMES)
def test_shapes_are_those_of_matmul(scheme: str) -> None:
    rng = np.random.default_rng(1)
    for a_shape, b_shape in (
        ((7,), (7,)),
        ((7,), (7, 2)),
        ((3, 7), (7,)),
        ((4, 3, 7), (7, 2)),
        ((2, 1, 3, 7), (4, 7, 2)),
        ((3, 0), (0, 2)),
        ((0, 7), (7, 2)),
    ):
        a, b = rng.integers(-4, 5, a_shape), rng.integers(-4, 5, b_shape)
        got, expected = lp.matmul_split(a, b, scheme), a @ b
        assert_same_bits(got, expected)
        assert isinstance(got, np.ndarray) == isinstance(expected, np.ndarray)


def test_operands_are_binary32_numbers() -> None:
    a, b = np.array([[1 / 3, 2**-130]]), np.array([[1.0], [1.0]])
    for scheme in SCHEMES[:-1]:
        assert_same_bits(lp.matmul_split(a, b, scheme), lp.matmul_split(a.astype(np.float32), b, scheme))


def test_what_does_not_fit_gives_nan() -> None:
    one = np.ones((1, 1))
    for scheme, unit, big in (("3xtf32", None, np.inf), ("bf16x3", None, 3.4e38), ("ootomo", "a100.fp16", 7e4)):
        for x in (big, -big, np.nan):
            assert np.isnan(lp.matmul_split([[x]], one, scheme, unit)[0, 0])
    assert lp.matmul_split([[7e4]], one, "ootomo")[0, 0] == 7e4
    assert lp.matmul_split([[1e308]], [[10]], "ozaki_int8")[0, 0] == np.inf


def test_stochastic_units() -> None:
    a, b = operands((2, 9, 2))
    first, again, other = (lp.matmul_split(a, b, "bf16x6", STOCHASTIC, seed=seed) for seed in (1, 1, 2))
    assert_same_bits(first, again)
    assert not np.array_equal(first, other)


X = np.ones((2, 3))
BAD = {
    "scheme": (lambda: lp.matmul_split(X, X.T, "4xtf32"), ValueError, "scheme is '4xtf32'; allowed: '3xtf32', 'oot"),
    "unit": (
        lambda: lp.matmul_split(X, X.T, "3xtf32", "a100.bf16"),
        ValueError,
        "unit is a100.bf16, with inputs bfloat16 and bfloat16; allowed with scheme '3xtf32': units with inputs tf32",
    ),
    "unit of ootomo": (lambda: lp.matmul_split(X, X.T, "ootomo", "bf16"), ValueError, "inputs tf32 or float16"),
    "mixed": (lambda: lp.matmul_split(X, X.T, "bf16x3", lp.MatrixUnit("bf16", "half")), ValueError, "unit is bfloat16"),
    "unit of ozaki": (lambda: lp.matmul_split(X, X.T, "ozaki_int8", "tf32"), ValueError, "unit is 'tf32' with scheme"),
    "slices": (lambda: lp.matmul_split(X, X.T, "ozaki_int8", slices=0), ValueError, "slices is 0; allowed: 1 to 64"),
    "slices type": (lambda: lp.matmul_split(X, X.T, "ozaki_int8", slices=2.0), TypeError, "slices is 2.0"),
    "no slices": (lambda: lp.matmul_split(X, X.T, "bf16x3", slices=3), ValueError, "slices is 3 with scheme 'bf16x3'"),
    "block": (lambda: lp.matmul_split(X, X.T, "3xtf32", block=6), ValueError, "block is 6; allowed: multiples .* 4"),
    "block of nothing": (lambda: lp.matmul_split(X, X.T, "3xtf32", block=0), ValueError, "block is 0; allowed: 1 or"),
    "block of ozaki": (lambda: lp.matmul_split(X, X.T, "ozaki_int8", block=8), ValueError, "block is 8 with scheme"),
    "mode": (lambda: lp.matmul_split(X, X.T, "3xtf32", word_rounding="up"), ValueError, "word_rounding is 'up'"),
    "stochastic words": (
        lambda: lp.matmul_split(X, X.T, "3xtf32", word_rounding="stochastic", seed=1),
        ValueError,
        "word_rounding is 'stochastic'",
    ),
    "modes": (
        lambda: lp.matmul_split(X, X.T, "bf16x6", word_rounding=["to_odd"] * 2),
        ValueError,
        "word_rounding has 2 modes; allowed: one, or one for each of 3 words",
    ),
    "seed": (lambda: lp.matmul_split(X, X.T, "bf16x3", STOCHASTIC), ValueError, "seed is None"),
    "depths": (lambda: lp.matmul_split(X, X, "3xtf32"), ValueError, r"a has shape \(2, 3\) and b has shape \(2, 3\)"),
    "depths of ozaki": (lambda: lp.matmul_split(X, X, "ozaki_int8"), ValueError, "as many columns of a"),
    "batches": (
        lambda: lp.matmul_split(np.ones((2, 3, 4)), np.ones((3, 4, 2)), "bf16x3"),
        ValueError,
        r"a has shape \(2, 3, 4\) and b has shape \(3, 4, 2\); allowed: leading axes",
    ),
    "0-d": (lambda: lp.matmul_split(X, 1, "3xtf32"), ValueError, "b is 0-d"),
    "infinity": (lambda: lp.matmul_split(X, X.T * np.inf, "ozaki_int8"), ValueError, "b holds infinities or NaNs"),
    "complex": (lambda: lp.matmul_split(X * 1j, X.T, "3xtf32"), TypeError, "a is an array of dtype complex128"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
