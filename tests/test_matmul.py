"""Matrix products against the reference, bit for bit, and against NumPy's own float16 steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp
from lpsim import reference

UNITS = {
    **{name: unit for name, unit in lp.units.NAMED_UNITS.items() if "." not in name},
    **{name: lp.units.get(name) for name in ("h100.fp16", "b200.e5m2_mma_fp16", "amx.bf16")},
    "mixed inputs, saturating, FP16 accumulator by fma": lp.MatrixUnit(
        "e4m3fn", "e5m2", input_overflow="saturate", accumulator_format="half"
    ),
    "TF32 by truncation, to odd, BF16 out": lp.MatrixUnit(
        "tf32", input_rounding="toward_zero", rounding="to_odd", output_format="bf16"
    ),
    "wide product, narrow accumulator": lp.MatrixUnit(
        "bf16", product_format="E8M13", accumulator_format="E5M4", rounding="toward_negative"
    ),
    "float64": lp.MatrixUnit("float64", accumulator_format="float64"),
    "FP4 by stochastic steps": lp.MatrixUnit(
        "e2m1fn",
        input_rounding="stochastic",
        rounding="stochastic",
        accumulator_format="E5M6",
        output_format="e5m2",
    ),
    "stochastic products": lp.MatrixUnit(
        "half", product_format="bf16", rounding="stochastic_equal", accumulator_format="half", random_bits=1
    ),
}


def matrices(rng: np.random.Generator, shape: tuple[int, ...], fmt: lp.Format) -> np.ndarray:
    """Numbers of which some sums cancel, overflow, underflow or are special."""
    spread = min(fmt.emax, 12)
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-spread, spread // 2 + 1, shape))
    x[rng.random(shape) < 0.05] = 0.0
    x[rng.random(shape) < 0.02] = -0.0
    if rng.random() < 0.2:
        x[rng.random(shape) < 0.02] = rng.choice([np.inf, -np.inf, np.nan, fmt.max, -fmt.max])
    return x


def assert_same_bits(got: Any, expected: Any) -> None:
    assert np.shape(got) == np.shape(expected)
    assert_same(got, expected, list(np.ndindex(np.shape(got))))


@pytest.mark.parametrize("name", UNITS)
def test_equals_reference(name: str, threads: int) -> None:
    unit = UNITS[name]
    rng = np.random.default_rng([threads, *name.encode()])
    for case in range(12):
        m, k, n = rng.integers(1, 25, 3)
        a, b = matrices(rng, (m, k), unit.a_format), matrices(rng, (k, n), unit.b_format)
        c = matrices(rng, (m, n), unit.accumulator_format) if case % 2 else None
        seed = case if unit.is_stochastic else None
        assert_same_bits(lp.matmul(a, b, unit, c=c, seed=seed), reference.matmul(a, b, unit, c, seed=seed))


def test_sequential_float16_loop_of_numpy(threads: int) -> None:
    rng = np.random.default_rng(128)
    a, b = rng.standard_normal((2, 128, 128)).astype(np.float16)
    total = np.zeros((128, 128), np.float16)
    for k in range(128):
        total = total + a[:, k, np.newaxis] * b[k]
    assert_same_bits(lp.matmul(a, b, lp.units.fp16_fp16acc), total)


@pytest.mark.parametrize("name", UNITS)
def test_chained_over_k(name: str) -> None:
    unit = UNITS[name]
    if unit.is_stochastic or unit.output_format is not None:
        pytest.skip("steps differ by definition")
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((9, 71)), rng.standard_normal((71, 5))
    first = 32 if unit.dot or unit.order != "sequential" else 13
    part = lp.matmul(a[:, :first], b[:first], unit)
    assert_same_bits(lp.matmul(a[:, first:], b[first:], unit, c=part), lp.matmul(a, b, unit))


SHAPES = [
    ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((5, 1, 2, 3), (4, 3, 2)),
    ((2, 3), (5, 3, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 4)), ((3,), (2, 3, 4)), ((2, 4, 3), (3,)),
]  # fmt: skip


@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
def test_shapes_as_numpy(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(-8, 9, a_shape), rng.integers(-8, 9, b_shape)
    expected = np.matmul(a, b)
    got = lp.matmul(a, b)
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_array_equal(got, expected)
    out = np.full(np.shape(expected), 7.0)
    assert lp.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_layout_and_batch_change_no_bit() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((4, 33, 17)), rng.standard_normal((4, 17, 29))
    for unit in ("tf32", "bf16_bf16acc"):
        expected = np.stack([lp.matmul(x, y, unit) for x, y in zip(a, b, strict=True)])
        assert_same_bits(lp.matmul(a, b, unit), expected)
        assert_same_bits(lp.matmul(np.asfortranarray(a), b[:, ::-1][:, ::-1], unit), expected)
        assert_same_bits(lp.matmul(a.astype(">f8"), b, unit), expected)


def test_integers_beyond_binary64_are_rounded_once() -> None:
    a = np.array([[2**62 + 2**38 + 1]])  # binary64 would make a tie of it
    assert lp.matmul(a, [[1]], lp.units.fp32) == 2.0**62 + 2.0**39


def test_out_may_be_an_operand() -> None:
    a = np.random.default_rng(4).standard_normal((6, 6)).astype(np.float32)
    expected = lp.matmul(a, a)
    assert lp.matmul(a, a, out=a) is a
    assert_same_bits(a, expected)


def test_stochastic_unit_is_reproducible_and_unbiased() -> None:
    unit = lp.MatrixUnit("half", accumulator_format="E5M4", rounding="stochastic")
    a, b = np.ones((1, 64)), np.full((64, 500), 0.3)
    first = lp.matmul(a, b, unit, seed=5)
    assert_same_bits(first, lp.matmul(a, b, unit, seed=5))
    assert (first != lp.matmul(a, b, unit, seed=6)).any()
    # Ties to even stalls at 16, where the spacing is 1; the sum is 19.2.
    assert lp.matmul(a, b, lp.MatrixUnit("half", accumulator_format="E5M4"))[0, 0] == 16
    # The standard deviation of a step is at most half the spacing, that of 64 steps 4, of the mean of 500 sums 0.18.
    assert abs(first.mean() - 64 * float(lp.round(0.3, "half"))) < 5 * 0.18


BAD = {
    "inner": (lambda a: lp.matmul(a, a[:2]), ValueError, "as many columns of a"),
    "batch": (lambda a: lp.matmul(np.ones((2, 3, 3)), np.ones((4, 3, 3))), ValueError, "leading axes"),
    "0-d": (lambda a: lp.matmul(a, 2.0), ValueError, "b is 0-d"),
    "unit name": (lambda a: lp.matmul(a, a, "tf23"), ValueError, "'tf32'"),
    "unit type": (lambda a: lp.matmul(a, a, 3), TypeError, "unit is 3"),
    "seed": (lambda a: lp.matmul(a, a, UNITS["stochastic products"]), ValueError, "seed is None"),
    "complex": (lambda a: lp.matmul(a * 1j, a), TypeError, "a is an array of dtype complex128"),
    "object": (lambda a: lp.matmul(a, a.astype(object)), TypeError, "b is an array of dtype object"),
    "c": (lambda a: lp.matmul(a, a, c=np.ones((2, 2))), ValueError, r"c has shape \(2, 2\)"),
    "out shape": (lambda a: lp.matmul(a, a, out=np.ones((2, 2))), ValueError, r"out has shape \(2, 2\)"),
    "out dtype": (lambda a: lp.matmul(a, a, out=np.ones((3, 3), np.int32)), TypeError, "out has dtype int32"),
    "out read-only": (
        lambda a: lp.matmul(a, a, out=np.broadcast_to(1.0, (3, 3))),
        ValueError,
        "out is read-only",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(np.ones((3, 3)))


BAD_UNITS = {
    "a_format": ({"a_format": "E99M1"}, ValueError),
    "b_format": ({"b_format": "nope"}, ValueError),
    "accumulator_format": ({"accumulator_format": None}, TypeError),
    "product_format": ({"product_format": "nope"}, ValueError),
    "output_format": ({"output_format": "nope"}, ValueError),
    "input_rounding": ({"input_rounding": "nearest"}, ValueError),
    "rounding": ({"rounding": "nearest"}, ValueError),
    "overflow": ({"overflow": "wrap"}, ValueError),
    "order": ({"order": "random"}, ValueError),
    "random_bits": ({"random_bits": 54}, ValueError),
    "name": ({"name": 3}, TypeError),
}


@pytest.mark.parametrize("argument", BAD_UNITS)
def test_bad_units(argument: str) -> None:
    changed, error = BAD_UNITS[argument]
    with pytest.raises(error, match="exponent_bits is 99" if argument == "a_format" else f"{argument} is"):
        lp.MatrixUnit(**{"a_format": "half", **changed})


def test_units_are_data() -> None:
    import pickle

    unit = lp.MatrixUnit("tf32")
    assert unit == lp.units.tf32
    assert hash(unit) == hash(lp.units.tf32)
    assert pickle.loads(pickle.dumps(unit)) == unit
    assert unit != lp.units.bf16
    assert all(lp.units.get(name) is unit and unit.source for name, unit in lp.units.NAMED_UNITS.items())
