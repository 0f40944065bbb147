"""Dot products and sums against the reference's matrix product, and NumPy's rules for shapes and axes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp
from lpsim import reference

ORDERS = ("sequential", "reverse", "pairwise", "kahan", "interleaved(3)", "blocked(4)", "blocked(5, interleaved(2))")
FORMATS = ("half", "bf16", "e4m3fn", "single", "E6M9")
MODES = ("ties_to_even", "toward_zero", "to_odd", "stochastic")


def assert_same_bits(got: Any, expected: Any) -> None:
    assert np.shape(got) == np.shape(expected)
    assert_same(got, expected, list(np.ndindex(np.shape(got))))


def numbers(rng: np.random.Generator, shape: Any, spread: int = 6) -> np.ndarray:
    """Draw numbers of which sums cancel and round."""
    return np.ldexp(rng.standard_normal(shape), rng.integers(-spread, spread + 1, shape))


def sum_by_reference(x: np.ndarray, fmt: str, seed: int | None = None, **unit: Any) -> np.ndarray:
    """Sum the rows of a matrix: its product with ones."""
    definition = lp.MatrixUnit("double", accumulator_format=fmt, **unit)
    return reference.matmul(x, np.ones((x.shape[1], 1)), definition, seed=seed)[:, 0]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_equal_the_reference(order: str, fmt: str, dtype: Any) -> None:
    rng = np.random.default_rng([*order.encode(), *fmt.encode()])
    for mode in MODES:
        for overflow in ("ieee", "saturate"):
            x = numbers(rng, (4, 13)).astype(dtype)
            x[rng.random(x.shape) < 0.1] = -0.0
            how = {"order": order, "rounding": mode, "overflow": overflow, "random_bits": 7}
            seed = 5 if mode == "stochastic" else None
            got = lp.sum(x, fmt, axis=1, seed=seed, **how)
            assert got.dtype == lp.format(fmt).carrier
            assert_same_bits(got, sum_by_reference(x, fmt, seed, **how))
            if "(" in order:
                wide = lp.sum(x, fmt, axis=1, seed=seed, outer_format="single", **how)
                assert_same_bits(wide, sum_by_reference(x, fmt, seed, outer_format="single", **how))


def test_special_elements() -> None:
    x = np.array([[np.inf, 1, -1], [np.inf, -np.inf, 0], [np.nan, 1, 1], [7e4, -7e4, 1], [-0.0, -0.0, -0.0]])
    for order in ORDERS:
        assert_same_bits(lp.sum(x, "half", order=order, axis=1), sum_by_reference(x, "half", order=order))


def test_elements_enter_as_they_are() -> None:
    # 2 + 2**-10 is a tie. A chain rounds the sum with the exact element, a tree one with the rounded element.
    x = [2, 2**-10 + 2**-22]
    assert float(lp.sum(x, "half")) == 2 + 2**-9
    assert float(lp.sum(x, "half", order="pairwise")) == 2
    assert float(lp.sum([2**60, 2**60], "single")) == 2**61
    assert float(lp.sum([True, True, False], "half")) == 2
    for dtype in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int8):
        given = np.array([1, 2, 4], dtype)
        result = lp.sum(given, "half")
        assert result == 7
        assert result.dtype == np.float32


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (2, 0), (-2,), (), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes_are_those_of_numpy(axis: Any, keepdims: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-8, 9, (2, 3, 4)).astype(np.float32)
    for given in (x, x.transpose(2, 0, 1)[::-1]):
        got = lp.sum(given, "half", axis=axis, keepdims=keepdims)
        assert_same_bits(got, np.sum(given, axis=axis, keepdims=keepdims) + 0)
        out = np.full(np.shape(got), 7.0)
        assert lp.sum(given, "half", axis=axis, keepdims=keepdims, out=out) is out
        assert_same_bits(out, got)


def test_elements_over_several_axes_are_in_c_order() -> None:
    x = numbers(np.random.default_rng(2), (3, 4, 5))
    rows = x.transpose(1, 0, 2).reshape(4, 15)
    for axis in ((0, 2), (2, 0)):
        assert_same_bits(lp.sum(x, "bf16", axis=axis), sum_by_reference(rows, "bf16"))
    assert_same_bits(lp.sum(x, "bf16"), sum_by_reference(x.reshape(1, -1), "bf16")[0])


def test_sums_of_nothing_and_of_scalars() -> None:
    assert_same_bits(lp.sum([], "half"), 0.0)
    assert_same_bits(lp.sum(np.zeros((0, 3)), "half", axis=0), np.zeros(3))
    assert_same_bits(lp.sum(np.zeros((0, 3)), "half", axis=1), np.zeros(0))
    assert_same_bits(lp.sum(2049.0, "half"), 2048.0)
    assert isinstance(lp.sum([1.0], "half"), np.float32)


def test_out_may_be_the_operand() -> None:
    x = np.array([1.0, 2.0, 3.0])
    lp.sum(x, "half", out=x[:1].reshape(()))
    assert x.tolist() == [6, 2, 3]


def test_more_accurate_orders() -> None:
    """Higham, Accuracy and Stability of Numerical Algorithms, chapter 4: error bounds n u, log2(n) u, 2 u."""
    x = np.random.default_rng(0).random((8, 4096)).astype(np.float32)
    exact = x.astype(float).sum(axis=1)
    error = {
        order: float(np.max(np.abs(lp.sum(x, "bf16", order=order, axis=1, overflow="saturate") - exact) / exact))
        for order in ("sequential", "blocked(64)", "pairwise", "kahan")
    }
    assert error["sequential"] > 0.5  # the sum stays at 256: the elements are less than half an ulp
    assert error["blocked(64)"] < 0.1
    assert error["pairwise"] < 0.02
    assert error["kahan"] <= 2 * 2.0**-8


SHAPES = [((5,), (5,)), ((3, 5), (5,)), ((5,), (5, 2)), ((3, 5), (5, 2)), ((2, 3, 5), (5,)), ((2, 3, 5), (4, 5, 2))]
SHAPES += [((5,), (4, 5, 2)), ((2, 3, 0), (0, 4)), ((0, 5), (5, 2))]


@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
def test_dot_has_the_shapes_of_numpy(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(-4, 5, a_shape).astype(np.float32), rng.integers(-4, 5, b_shape).astype(np.float32)
    expected = np.dot(a, b)
    got = lp.dot(a, b)
    assert_same_bits(got, expected + 0)
    assert isinstance(got, np.ndarray) == isinstance(expected, np.ndarray)
    out = np.empty(expected.shape)
    assert lp.dot(a, b, out=out, c=1) is out
    assert_same_bits(out, expected + 1)


def test_dots_are_elements_of_one_product() -> None:
    rng = np.random.default_rng(4)
    a, b, c = numbers(rng, (2, 3, 7)), numbers(rng, (4, 7, 2)), numbers(rng, (2, 3, 4, 2))
    columns = b.transpose(1, 0, 2).reshape(7, 8)
    stochastic = lp.MatrixUnit("half", rounding="stochastic", accumulator_format="bf16", input_rounding="stochastic")
    for unit, seed in ((lp.units.a100.tf32, None), (stochastic, 9)):
        got = lp.dot(a, b, unit, c=c, seed=seed)
        expected = reference.matmul(a.reshape(6, 7), columns, unit, c.reshape(6, 8), seed=seed)
        assert_same_bits(got, expected.reshape(2, 3, 4, 2))
    assert lp.dot(a[0, 0], b[0, :, 0], "fp16") == lp.matmul(a[0, 0], b[0, :, 0], lp.units.fp16)


@pytest.mark.parametrize("order", ORDERS)
def test_dot_in_another_order(order: str) -> None:
    rng = np.random.default_rng(6)
    a, b = numbers(rng, (3, 13)), numbers(rng, (13, 2))
    plain = {"accumulator_format": "half", "rounding": "toward_zero"}
    promoting = lp.MatrixUnit("half", order="blocked(4)", outer_format="single", outer_rounding="to_odd", **plain)
    chain = order in ("sequential", "reverse", "kahan")
    outer = {} if chain else {"outer_format": "single", "outer_rounding": "to_odd"}
    expected = reference.matmul(a, b, lp.MatrixUnit("half", order=order, **outer, **plain))
    assert_same_bits(lp.dot(a, b, promoting, order=order), expected)


X = np.ones((2, 3))
BAD = {
    "scalar a": (lambda: lp.dot(2, X), ValueError, "a is 0-d; allowed: at least one axis"),
    "scalar b": (lambda: lp.dot(X, 2), ValueError, "b is 0-d"),
    "depths": (lambda: lp.dot(X, X), ValueError, r"a has shape \(2, 3\) and b has shape \(2, 3\); allowed: as many"),
    "c": (lambda: lp.dot(X, X.T, c=[1, 2, 3]), ValueError, r"c has shape \(3,\); allowed: .* \(2, 2\)"),
    "dot out": (lambda: lp.dot(X, X.T, out=np.empty(3)), ValueError, r"out has shape \(3,\)"),
    "unit": (lambda: lp.dot(X, X.T, "fp17"), ValueError, "unit is 'fp17'"),
    "scales": (lambda: lp.dot(X, X.T, "b200.mxfp4"), ValueError, "unit is b200.mxfp4, which needs scales"),
    "dot seed": (lambda: lp.dot(X, X.T, lp.MatrixUnit("half", rounding="stochastic")), ValueError, "seed is None"),
    "dot order": (lambda: lp.dot(X, X.T, order="shuffled"), ValueError, "order is 'shuffled'"),
    "order with a dot": (lambda: lp.dot(X, X.T, "a100.fp16", order="pairwise"), ValueError, "order is 'pairwise'"),
    "format": (lambda: lp.sum(X, "float17"), ValueError, "fmt is 'float17'|'float17'"),
    "order": (lambda: lp.sum(X, "half", order="shuffled"), ValueError, "order is 'shuffled'"),
    "outer format": (lambda: lp.sum(X, "half", outer_format="single"), ValueError, "outer_format is float32"),
    "rounding": (lambda: lp.sum(X, "half", rounding="up"), ValueError, "rounding is 'up'"),
    "overflow": (lambda: lp.sum(X, "half", overflow="up"), ValueError, "overflow is 'up'"),
    "seed": (lambda: lp.sum(X, "half", rounding="stochastic"), ValueError, "seed is None"),
    "random bits": (lambda: lp.sum(X, "half", random_bits=99), ValueError, "random_bits is 99"),
    "axis": (lambda: lp.sum(X, "half", axis=2), ValueError, "axis is 2, but x has 2 axes; allowed: -2 to 1"),
    "axis of a scalar": (lambda: lp.sum(1.0, "half", axis=0), ValueError, "axis is 0, but x has 0 axes; allowed: None"),
    "axis twice": (lambda: lp.sum(X, "half", axis=(0, -2)), ValueError, "each axis once"),
    "axis type": (lambda: lp.sum(X, "half", axis=1.0), TypeError, "axis is 1.0"),
    "axis list": (lambda: lp.sum(X, "half", axis=[0]), TypeError, r"axis is \[0\]"),
    "integers": (lambda: lp.sum([2**60 + 1], "half"), ValueError, "x holds 1152921504606846977"),
    "complex": (lambda: lp.sum([1j], "half"), TypeError, r"x is \[1j\]"),
    "out": (lambda: lp.sum(X, "half", out=np.empty(2)), ValueError, r"out has shape \(2,\); allowed: \(\)"),
    "out dtype": (lambda: lp.sum(X, "single", out=np.empty((), np.float16)), TypeError, "out has dtype float16"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
