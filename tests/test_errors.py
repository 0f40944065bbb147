"""Error measures and the a-priori bound of matrix products."""

import dataclasses
import math

import numpy as np
import pytest

import lpsim as lp
from lpsim.errors import matmul_bound, product_error

UNITS = sorted(lp.units.NAMED_UNITS)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("scale", [1.0, 2.0**-4, 2.0**-9])
@pytest.mark.parametrize("n", [1, 7, 300])
def test_no_error_exceeds_the_bound(unit, scale, n):
    # The small scales drive inputs and sums of the narrow formats below their normal range.
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(5, n)) * scale, rng.normal(size=(n, 6)) * scale
    error = np.abs(np.asarray(lp.matmul(a, b, unit), dtype=float) - a @ b)
    bound = matmul_bound(a, b, unit)
    assert np.isfinite(bound).all()
    assert (error <= bound).all()
    assert error.any() or n == 1


@pytest.mark.parametrize("rounding", ["toward_zero", "toward_positive"])
def test_bound_of_modes_that_are_not_nearest(rounding):
    rng = np.random.default_rng(1)
    a, b = rng.random((4, 200)), rng.random((200, 4))
    unit = dataclasses.replace(lp.units.fp16_fp16acc, rounding=lp.Rounding[rounding.upper()])
    error = np.abs(np.asarray(lp.matmul(a, b, unit), dtype=float) - a @ b)
    bound = matmul_bound(a, b, unit)
    nearest = matmul_bound(a, b, lp.units.fp16_fp16acc)
    assert (error <= bound).all()
    assert (bound > nearest).all()


def test_first_order_of_the_bound():
    n = 64
    a, b = np.ones((1, n)), np.ones((n, 1))
    expected = {"tf32": 2 * 2**-11 + n * 2**-24, "bf16": 2 * 2**-8 + n * 2**-24, "fp32": (n + 2) * 2**-24}
    for unit, factor in expected.items():
        assert matmul_bound(a, b, unit)[0, 0] / n == pytest.approx(factor, rel=0.01)


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
    assert np.isinf(matmul_bound(1000 * a, b, "fp16")).all()
    assert np.isinf(matmul_bound(a, b + 1, "fp16_fp16acc")).tolist() == [[True, True], [False, False]]


def test_where_all_terms_are_zero_the_bound_is_zero():
    a, b = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[1.0], [0.0]])
    assert (matmul_bound(a, b, "fp16_fp16acc") > 0).tolist() == [[False], [True]]
    assert np.isfinite(product_error([[0.0], [1.0]], a, b, "fp16_fp16acc").max_componentwise_bound)


def test_measures_by_hand():
    a, b = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, -1.0]])
    error = product_error(np.array([[3.5, -4.0]]), a, b, "fp32")
    assert error.max_absolute == 0.5
    assert error.relative_frobenius == 0.1
    assert error.max_componentwise == 0.5 / 3
    assert error.not_finite == 0


def test_infinities_and_nans_are_counted_and_not_hidden():
    a, b = np.array([[1.0, 2.0]]), np.eye(2)
    error = product_error(np.array([[np.inf, 2.0]]), a, b, "fp16")
    assert (error.max_absolute, error.relative_frobenius, error.not_finite) == (math.inf, math.inf, 1)
    error = product_error(np.array([[np.nan, 2.0]]), a, b, "fp16")
    assert math.isnan(error.max_absolute)
    assert error.not_finite == 1


def test_zero_and_empty_products_have_no_error():
    for a, b in ((np.zeros((2, 3)), np.zeros((3, 2))), (np.zeros((0, 3)), np.zeros((3, 2)))):
        error = product_error(lp.matmul(a, b, "tf32"), a, b, "tf32")
        assert (error.max_absolute, error.relative_frobenius, error.max_componentwise) == (0, 0, 0)
