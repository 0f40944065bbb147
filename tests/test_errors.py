"""Error measures and the a-priori bounds of matrix products."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lpsim as lp
from lpsim.errors import (
    componentwise_error,
    condition,
    matmul_bound,
    normwise_error,
    product_error,
    ulp_error,
)
from lpsim.testing import strategies

UNITS = sorted(lp.units.NAMED_UNITS)
ORDERS = ("sequential", "reverse", "pairwise", "kahan", "interleaved(4)", "blocked(8)", "blocked(16, pairwise)")


def scales(unit, rows, n, columns, rng):
    """Return random scales where the unit has them."""
    if unit.scale_block is None:
        return {}
    blocks = -(-n // unit.scale_block)
    shapes = {"a_scale": (rows, blocks), "b_scale": (blocks, columns)}
    return {name: lp.round(2.0 ** rng.uniform(-3, 3, shape), unit.scale_format) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", UNITS)
def test_no_error_exceeds_the_bound(name):
    unit, rng = lp.units.get(name), np.random.default_rng(1)
    for n in (1, 7, 300):
        # The small scales drive inputs and sums of the narrow formats below their normal range.
        for scale in (1.0, 2.0**-4, 2.0**-9):
            for draw in (rng.normal, rng.random):
                a, b, c = draw(size=(5, n)) * scale, draw(size=(n, 6)) * scale, draw(size=(5, 6)) * scale
                given = scales(unit, 5, n, 6, rng)
                for start in ({}, {"c": c}):
                    computed = lp.matmul(a, b, unit, **start, **given)
                    error = product_error(computed, a, b, unit, **start, **given)
                    assert error.not_finite == 0
                    assert math.isfinite(error.max_absolute_bound)
                    assert error.max_absolute > 0 or n == 1 or name.endswith("fp64")
                    assert error.max_componentwise <= error.max_componentwise_bound
                    if not given:
                        assert (
                            np.abs(computed - (a @ b + start.get("c", 0))) <= matmul_bound(a, b, unit, **start)
                        ).all()


@pytest.mark.parametrize("rounding", ["ties_to_even", "ties_to_away", "toward_zero", "toward_positive", "to_odd"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("extra", [{}, {"product_format": "half"}, {"flush_results": "after"}], ids=str)
def test_bounds_of_orders_and_modes(order, rounding, extra):
    if order == "kahan" and "flush_results" in extra:
        pytest.skip("refused")
    unit = lp.MatrixUnit("single", accumulator_format="half", order=order, rounding=rounding, **extra)
    rng = np.random.default_rng(2)
    for scale in (1, 2.0**-10):  # products of the small ones are below binary16's normal range
        for n in (1, 2, 9, 200):
            for draw in (rng.random, rng.normal):
                a, b = draw(size=(8, n)) * scale, draw(size=(n, 8)) * scale
                error = np.abs(lp.matmul(a, b, unit) - a @ b)
                bound = matmul_bound(a, b, unit)
                assert np.isfinite(bound).all()
                assert (error <= bound).all()


def random_unit(rng):
    """Return a unit with a narrow accumulator, whose errors come near to the bound."""
    formats, modes = ("E5M4", "E6M2", "E5M10", "E8M7", "E4M6"), [mode.name for mode in lp.Rounding]
    given = {"accumulator_format": rng.choice(formats), "rounding": rng.choice(modes)}
    maybe = {"output_format": rng.choice(formats), "flush_inputs": "signed"}
    if rng.random() < 0.5:
        terms, alignment = int(rng.choice([2, 4, 8])), rng.choice(["truncate", "cdna3", "cdna3_split"])
        given["dot"] = lp.FusedDot(terms, int(rng.integers(3, 14)), int(rng.integers(-40, -1)), str(alignment))
        maybe["order"] = f"blocked({2 * terms})"
    else:
        given["order"] = rng.choice([*ORDERS, "blocked(4, kahan)", "blocked(8, interleaved(2))"])
        maybe |= {"product_format": rng.choice(formats), "flush_results": rng.choice(["rounded", "before", "after"])}
    given |= {name: value for name, value in maybe.items() if rng.random() < 0.3}
    if str(given.get("order", "sequential")).startswith(("blocked", "pairwise", "interleaved")):
        given |= {"outer_format": rng.choice(formats), "outer_rounding": rng.choice(modes)}
    given = {name: str(value) if isinstance(value, np.str_) else value for name, value in given.items()}
    return lp.MatrixUnit(str(rng.choice(["E8M12", "E5M2"])), **given)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_of_random_units(seed):
    rng = np.random.default_rng(seed)
    highest = 0.0
    for _ in range(150):
        unit, n, scale = random_unit(rng), int(rng.integers(1, 40)), 2.0 ** rng.integers(-8, 2)
        draw = rng.normal if rng.random() < 0.5 else rng.random
        a, b, c = (draw(size=shape) * scale for shape in ((20, n), (n, 20), (20, 20)))
        a *= (rng.random(a.shape) < rng.choice([0.2, 1])) * 2.0 ** rng.integers(-6, 3, a.shape)
        c = c if rng.random() < 0.4 else np.zeros(c.shape)
        if unit.summation.inner == "kahan" and unit.flush_results is not None:
            continue
        bound = matmul_bound(a, b, unit, c)
        error = np.abs(lp.matmul(a, b, unit, c, seed=1 if unit.is_stochastic else None) - (a @ b + c))
        assert (error <= bound).all(), unit
        highest = max(highest, (error[bound > 0] / bound[bound > 0]).max(initial=0))
    assert highest > 0.7  # so the bounds are not much too large


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_bounds_of_any_unit_hold_exactly(data):
    unit = data.draw(st.one_of(strategies.units(stochastic=True), strategies.dot_units(stochastic=True)))
    m, k, n = (data.draw(st.integers(1, most)) for most in (2, 20, 2))
    a, b = data.draw(strategies.arrays(unit.a_format, (m, k))), data.draw(strategies.arrays(unit.b_format, (k, n)))
    c = data.draw(st.one_of(st.none(), strategies.arrays(unit.total_format, (m, n))))
    try:
        bound = matmul_bound(a, b, unit, c)
    except ValueError:
        return  # no zero, no sign or no subnormal numbers where there have to be some
    computed = lp.matmul(a, b, unit, c, seed=7 if unit.is_stochastic else None)
    for i, j in np.ndindex(m, n):
        if np.isfinite(bound[i, j]):
            terms = [Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a[i], b[:, j], strict=True)]
            terms.append(Fraction(0 if c is None else float(c[i, j])))
            error = abs(Fraction(float(computed[i, j])) - sum(terms))
            # The bound itself is computed in binary64.
            slack = Fraction(bound[i, j]) * Fraction(2) ** -40 + sum(map(abs, terms)) * Fraction(2) ** -48
            assert error <= Fraction(bound[i, j]) + slack + Fraction(2) ** -1060


def test_a_block_of_one_product_is_rounded_to_the_format_of_the_sum():
    unit = lp.MatrixUnit("single", product_format="half", accumulator_format="e5m2", order="pairwise")
    error = abs(float(lp.matmul([1.1], [1.0], unit)) - 1.1)
    assert 0.1 - 1e-9 < error <= matmul_bound([1.1], [1.0], unit) < 0.2


def test_a_subnormal_start_value_is_flushed_even_without_terms():
    unit = lp.MatrixUnit("single", flush_results="rounded")
    assert lp.matmul([0.0], [0.0], unit, 2.0**-130) == 0
    assert matmul_bound([0.0], [0.0], unit, 2.0**-130) >= 2.0**-130


def test_directed_modes_have_twice_the_bound():
    a, b = np.ones((1, 64)), np.ones((64, 1))
    down = matmul_bound(a, b, lp.MatrixUnit("half", rounding="toward_zero"))
    assert (down / matmul_bound(a, b, "fp16"))[0, 0] > 1
    # What is left when the inputs' part is taken off: n u, and (1 + 2u)**n - 1.
    wide = lp.MatrixUnit("E8M40", rounding="toward_zero")
    assert matmul_bound(a, b, wide)[0, 0] / 64 == pytest.approx((1 + 2.0**-23) ** 64 - 1, rel=1e-3)


def test_first_order_of_the_bound():
    """The bound relative to |A||B|: the formulas of the docstring, with inputs that hardly round."""
    n, u = 64, 2.0**-11
    a, b = np.ones((1, n)), np.ones((n, 1))
    expected = {
        "sequential": n * u,
        "reverse": n * u,
        "pairwise": (6 + 1) * u,
        "interleaved(4)": (16 + 2) * u,
        "blocked(8)": (8 + 7) * u,
        "blocked(8, pairwise)": (3 + 1 + 7) * u,
        "kahan": 3 * u,
    }
    for order, factor in expected.items():
        unit = lp.MatrixUnit("E8M40", accumulator_format="half", order=order)
        assert matmul_bound(a, b, unit)[0, 0] / n == pytest.approx(factor, rel=0.15 if order == "kahan" else 0.02)
    unit = lp.MatrixUnit("E8M40", accumulator_format="half", order="blocked(8)", outer_format="single")
    assert matmul_bound(a, b, unit)[0, 0] / n == pytest.approx(8 * u + 7 * 2.0**-24, rel=0.01)
    inputs = {"tf32": 2 * 2**-11 + n * 2**-24, "bf16": 2 * 2**-8 + n * 2**-24, "fp32": (n + 2) * 2**-24}
    for name, factor in inputs.items():
        assert matmul_bound(a, b, name)[0, 0] / n == pytest.approx(factor, rel=0.01)


def test_first_order_of_the_bound_of_dots():
    n = 4096
    a, b = np.ones((1, n)), np.ones((n, 1))
    # h100.fp16: 16 terms, 25 bits, toward zero; inputs of 2**-11 each. mi100.fp16: exact sums of four, to nearest.
    dots = {"h100.fp16": 256 * (16 * 2**-25 + 2**-23), "mi100.fp16": 1024 * 2**-24}
    for name, factor in dots.items():
        assert matmul_bound(a, b, name)[0, 0] / n - 2 * 2**-11 == pytest.approx(factor, rel=0.02)
    assert matmul_bound(a, b, "h100.fp16") < matmul_bound(a, b, "v100.fp16")
    assert matmul_bound(a, b, "h100.e4m3") > 2 * matmul_bound(a, b, "h100.e4m3_mma")


def test_a_dot_that_drops_all_but_one_term_stays_within_its_bound():
    x = np.array([[1.0] + [2.0**-12] * 15])
    y = np.array([[1.0]] + [[2.0**-13]] * 15)  # 15 terms of 2**-25 (1 - tiny), of which V100 keeps none
    error = np.abs(lp.matmul(x, y, "v100.fp16") - x @ y)[0, 0]
    assert error == 15 * 2.0**-25
    bound = matmul_bound(x, y, lp.MatrixUnit("E8M20", dot=lp.units.v100.fp16.dot, rounding="toward_zero"))[0, 0]
    assert error <= bound < 30 * error


@pytest.mark.parametrize("order", ["sequential", "interleaved(8)", "blocked(256)"])
def test_the_probabilistic_bound_holds_and_is_lower(order):
    n = 4000
    rng = np.random.default_rng(3)
    a, b = rng.random((4, n)), rng.random((n, 4))
    for rounding in ("ties_to_even", "stochastic"):
        unit = lp.MatrixUnit("E8M40", accumulator_format="E8M15", order=order, rounding=rounding)
        likely = matmul_bound(a, b, unit, kind="probabilistic")
        assert (np.abs(lp.matmul(a, b, unit, seed=5 if unit.is_stochastic else None) - a @ b) <= likely).all()
        assert (likely < 0.5 * matmul_bound(a, b, unit)).all()
        assert (matmul_bound(a, b, unit, kind="probabilistic", confidence=2) < likely).all()
    # Short sums: the deterministic bound is the smaller one, and both are the same.
    short = a[:, :4], b[:4]
    assert (matmul_bound(*short, unit, kind="probabilistic") == matmul_bound(*short, unit)).all()


def test_sqrt_n_of_the_probabilistic_bound():
    n, u = 1000, 2.0**-24
    unit = lp.MatrixUnit("E8M40")
    bound = matmul_bound(np.ones(n), np.ones(n), unit, kind="probabilistic", confidence=4) / n
    assert float(bound) == pytest.approx(4 * math.sqrt(n) * u, rel=1e-3)


def test_bound_covers_stagnation():
    # From 256 on, adding 1 does not change a bfloat16 sum.
    n = 1000
    a, b = np.ones((1, n)), np.ones((n, 1))
    error = product_error(lp.matmul(a, b, "bf16_bf16acc"), a, b, "bf16_bf16acc")
    assert error.max_absolute == n - 256
    assert n - 256 <= error.max_absolute_bound < 5 * n


def test_bound_is_infinite_where_overflow_is_possible():
    a = np.array([[60000.0, 60000.0], [1.0, 1.0]])
    b = np.eye(2)
    assert np.isinf(matmul_bound(10 * a, b, "fp16")).tolist() == [[True, True], [False, False]]
    assert np.isinf(matmul_bound(a, b + 1, "fp16_fp16acc")).tolist() == [[True, True], [False, False]]
    unit = lp.MatrixUnit("half", product_format="e4m3fn")
    assert np.isinf(matmul_bound([[30.0, 1]], [[30.0], [1]], unit)).all()
    # n u**2 of Kahan's summation in E5M2 is more than 1.
    assert np.isinf(matmul_bound(np.ones(100), np.ones(100), lp.MatrixUnit("half", accumulator_format="e5m2",
                                                                           order="kahan")))  # fmt: skip


@pytest.mark.parametrize("unit", ["fp16", "h100.fp16", "mi300.fp16", "amx.fp16"])
def test_operands_that_are_not_finite_leave_the_rest_finite(unit):
    a, b = np.array([[np.inf, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [np.nan, 1.0]])
    assert np.isinf(matmul_bound(a, b, unit)).tolist() == [[True, True], [True, False]]
    assert np.isinf(matmul_bound(np.eye(2), np.eye(2), unit, [[np.inf, 0]])).tolist() == [[True, False]] * 2


def test_where_all_terms_are_zero_the_bound_is_zero():
    a, b = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[1.0], [0.0]])
    for unit in ("fp16_fp16acc", "a100.fp16_fp16", "mi200.fp16", "mi300.e4m3", "amx.bf16"):
        assert (matmul_bound(a, b, unit) > 0).tolist() == [[False], [True]]
    assert np.isfinite(product_error([[0.0], [1.0]], a, b, "fp16_fp16acc").max_componentwise_bound)


def test_flushing_to_zero_is_in_the_bound():
    tiny = 2.0**-130  # a subnormal number of bfloat16
    for unit in ("amx.bf16", "mi200.bf16", "arm.bfdot"):
        assert lp.matmul([[tiny]], [[1.0]], unit)[0, 0] == 0
        assert matmul_bound([[tiny]], [[1.0]], unit)[0, 0] >= tiny
    assert matmul_bound([[tiny]], [[1.0]], "bf16")[0, 0] < tiny


def test_shapes_of_bounds():
    rng = np.random.default_rng(4)
    for a, b in (((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 0), (0, 3)), ((0, 3), (3, 2))):
        x, y = rng.normal(size=a), rng.normal(size=b)
        for unit in ("tf32", "a100.tf32", "mi200.fp16"):
            assert np.shape(matmul_bound(x, y, unit)) == np.shape(x @ y)
            assert (np.abs(lp.matmul(x, y, unit) - x @ y) <= matmul_bound(x, y, unit)).all()


@pytest.mark.parametrize(
    ("unit", "options", "words"),
    [
        ("h100.fp16_fp16", {"kind": "probabilistic"}, "dot that truncates"),
        ("h100.fp16", {"kind": "probabilistic"}, "toward_zero, which is biased"),
        ("arm.bfdot", {"kind": "probabilistic"}, "to_odd, which is biased"),
        ("fp16", {"kind": "likely"}, "allowed: 'deterministic', 'probabilistic'"),
        ("fp16", {"confidence": 0}, "allowed: a positive number"),
        ("fp16", {"c": np.ones(3)}, "broadcast"),
        ("fp16", {"a_scale": np.ones((2, 1))}, "a_scale is given"),
        ("b200.nvfp4", {}, "a_scale is None"),
        ("b200.nvfp4", {"a_scale": np.ones((2, 2)), "b_scale": np.ones((1, 2))}, "allowed: 1 blocks"),
        (lp.MatrixUnit("half", accumulator_format="e8m0fnu"), {}, "a zero and a sign"),
        (lp.MatrixUnit("half", order="kahan", flush_results="after"), {}, "without subnormal"),
        ("nope", {}, "allowed"),
    ],
)
def test_bounds_that_cannot_be_stated_are_refused(unit, options, words):
    with pytest.raises(ValueError, match=words):
        matmul_bound(np.eye(2), np.eye(2), unit, **options)


def test_bad_shapes_and_types_are_refused():
    for a, b in ((np.eye(2), np.eye(3)), (1.0, np.eye(2)), (np.ones((2, 3, 3)), np.ones((4, 3, 3)))):
        with pytest.raises(ValueError, match="allowed"):
            matmul_bound(a, b, "fp16")
    with pytest.raises(TypeError, match="a is"):
        matmul_bound(np.eye(2) * 1j, np.eye(2), "fp16")
    for measure in (normwise_error, componentwise_error, lambda x, y: ulp_error(x, y, "half")):
        with pytest.raises(ValueError, match="computed has shape"):
            measure([1, 2], [1])
        with pytest.raises(TypeError, match="computed is"):
            measure([1j], [1])
    with pytest.raises(ValueError, match="norm is 2"):
        normwise_error([1], [1], norm=2)
    with pytest.raises(ValueError, match="at most two"):
        normwise_error(np.ones((1, 1, 1)), np.ones((1, 1, 1)))


def test_measures_by_hand():
    a, b = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, -1.0]])
    error = product_error(np.array([[3.5, -4.0]]), a, b, "fp32")
    assert error.max_absolute == 0.5
    assert error.relative_frobenius == 0.1
    assert error.max_componentwise == 0.5 / 3
    assert error.not_finite == 0


def test_norms_by_hand():
    exact, computed = np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([[1.0, -2.5], [3.25, 4.0]])
    assert normwise_error(computed, exact) == pytest.approx(math.sqrt(0.3125 / 30), rel=1e-15)
    assert normwise_error(computed, exact, 1) == 0.5 / 6
    assert normwise_error(computed, exact, np.inf) == 0.5 / 7
    assert normwise_error([1.0, 2.0], [1.0, 4.0], np.inf) == 0.5
    assert componentwise_error(computed, exact) == 0.25


def test_measures_of_zeros_infinities_and_nothing():
    for measure in (normwise_error, componentwise_error):
        assert measure([[0.0, 0.0]], [[0.0, 0.0]]) == 0
        assert measure(np.zeros((0, 3)), np.zeros((0, 3))) == 0
        assert measure([1.0], [0.0]) == math.inf
        assert math.isnan(measure([np.nan], [1.0]))
    assert componentwise_error([np.inf, 1.0], [np.inf, 1.0]) == 0
    assert ulp_error([0.0, np.inf, np.inf, 1.0], [0.0, np.inf, 1.0, np.inf], "half").tolist() == [0, 0, np.inf, np.inf]


def test_ulp_errors():
    assert ulp_error([1 + 2.0**-10, 65504, 2.0**-24, 0], [1, 65520, 0, 2.0**-25], "half").tolist() == [1, 0.5, 1, 0.5]
    x = np.random.default_rng(5).normal(size=1000)
    assert 0.49 < ulp_error(lp.round(x, "bf16"), x, "bf16").max() <= 0.5


def test_conditions():
    a, b = np.array([[1.0, -1.0], [2.0, 0.0]]), np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.5]])
    assert condition(a, b).tolist() == [[np.inf, 1.0, 3.0], [1.0, 1.0, 1.0]]


def test_infinities_and_nans_are_counted_and_not_hidden():
    a, b = np.array([[1.0, 2.0]]), np.eye(2)
    error = product_error(np.array([[np.inf, 2.0]]), a, b, "fp16")
    assert (error.max_absolute, error.relative_frobenius, error.not_finite) == (math.inf, math.inf, 1)
    error = product_error(np.array([[np.nan, 2.0]]), a, b, "fp16")
    assert math.isnan(error.max_absolute)
    assert error.not_finite == 1


def test_zero_and_empty_products_have_no_error():
    for a, b in ((np.zeros((2, 3)), np.zeros((3, 2))), (np.zeros((0, 3)), np.zeros((3, 2)))):
        for unit in ("tf32", "h100.tf32"):
            error = product_error(lp.matmul(a, b, unit), a, b, unit)
            assert (error.max_absolute, error.relative_frobenius, error.max_componentwise) == (0, 0, 0)


def test_the_bound_follows_the_unit_and_not_its_name():
    unit = dataclasses.replace(lp.units.h100.fp16, name="other")
    assert matmul_bound(np.eye(2), np.eye(2), unit).tolist() == matmul_bound(np.eye(2), np.eye(2), "h100.fp16").tolist()


@pytest.mark.parametrize("norm", ["fro", math.inf, 1])
def test_numbers_have_a_normwise_error(norm):
    assert lp.errors.normwise_error(3.0, 2.0, norm) == 0.5
