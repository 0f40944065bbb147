"""The reference's matrix multiplication against its definition, written out with the scalar functions."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lpsim import reference
from lpsim.reference.random import GOLDEN, mix


@dataclasses.dataclass(frozen=True)
class Unit:
    a_format: Any = "tf32"
    b_format: Any = None
    input_rounding: Any = "ties_to_even"
    input_overflow: Any = "ieee"
    product_format: Any = None
    accumulator_format: Any = "float32"
    rounding: Any = "ties_to_even"
    overflow: Any = "ieee"
    order: str = "sequential"
    outer_format: Any = None
    outer_rounding: Any = None
    dot: Any = None
    scale_format: Any = None
    scale_block: Any = None
    flush_inputs: Any = None
    flush_results: Any = None
    output_format: Any = None
    random_bits: int = 32


UNITS = {
    "tf32": Unit(),
    "fp64": Unit(a_format="float64", accumulator_format="float64"),
    "fp16": Unit(a_format="float16", accumulator_format="float16", input_rounding="toward_zero"),
    "fp16 in two roundings": Unit("float16", product_format="float16", accumulator_format="float16"),
    "mixed": Unit("E4M3FN", "E5M2", input_overflow="saturate", accumulator_format="E8M13",
                  rounding="toward_zero", output_format="bfloat16"),
    "overflows": Unit("E5M2", product_format="E5M2", accumulator_format="E4M3FN", overflow="to_nan"),
    "toward negative": Unit("E4M3", accumulator_format="E4M3", rounding="toward_negative"),
    "to odd, no negative zero": Unit("E4M3FNUZ", accumulator_format="E5M2FNUZ", rounding="to_odd"),
    "unsigned": Unit("E4M3", accumulator_format="E4M3_finite_unsigned", overflow="saturate"),
    "no zero": Unit("E4M0FN_nosubnormals", product_format="E4M3", accumulator_format="E5M0FN_nosubnormals"),
    "no subnormals": Unit("E4M3", product_format="E4M3_nosubnormals", accumulator_format="E3M4_nosubnormals"),
    "fixed point": Unit("E0M7_finite", accumulator_format="E0M15_finite"),
    "stochastic": Unit("E4M3", input_rounding="stochastic", product_format="E5M6", accumulator_format="E5M6",
                       rounding="stochastic", output_format="E4M3", random_bits=11),
    "stochastic sum": Unit("E5M2", accumulator_format="E5M3", rounding="stochastic_equal", random_bits=62),
}  # fmt: skip


def by_definition(a: Any, b: Any, unit: Unit, c: Any, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    r = unit.random_bits
    inputs = {"rounding": unit.input_rounding, "overflow": unit.input_overflow, "random_bits": r}
    mode = {"rounding": unit.rounding, "overflow": unit.overflow, "random_bits": r}

    def rounded(x: Any, fmt: Any, how: dict[str, Any], stream: int) -> Any:
        words = [reference.random_word(seed, i, stream) for i in range(x.size)]
        flat = [
            reference.round(v, fmt, bits=w >> (64 - r), **how) for v, w in zip(x.ravel().tolist(), words, strict=True)
        ]
        return np.array(flat, np.float64).reshape(x.shape)

    a = rounded(a, unit.a_format, inputs, 1)
    b = rounded(b, unit.b_format or unit.a_format, inputs, 2)
    out = np.zeros((a.shape[0], b.shape[1])) if c is None else rounded(c, unit.accumulator_format, mode, 3)
    for i, j in np.ndindex(out.shape):
        inner = reference.random_word(seed, i * out.shape[1] + j, 0)
        acc: Any = float(out[i, j])
        for k in range(a.shape[1]):
            x, y = float(a[i, k]), float(b[k, j])
            first, second = (mix(inner + (2 * k + t + 1) * GOLDEN) >> (64 - r) for t in (0, 1))
            if unit.product_format is None:
                acc = reference.fma(x, y, acc, unit.accumulator_format, bits=second, **mode)
            else:
                p: Any = reference.mul(x, y, unit.product_format, bits=first, **mode)
                acc = reference.add(acc, p, unit.accumulator_format, bits=second, **mode)
        out[i, j] = acc
    return out if unit.output_format is None else rounded(out, unit.output_format, mode, 4)


def assert_same_bits(got: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(got.view(np.uint64)[number], expected.view(np.uint64)[number])


def matrices(kind: str, m: int, k: int, n: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng([m, k, n, len(kind)])
    a, b, c = rng.normal(size=(m, k)), rng.normal(size=(k, n)), rng.normal(size=(m, n))
    if kind == "wide":  # products that underflow, overflow and vanish beside each other
        a, b, c = (np.ldexp(x, rng.integers(-20, 20, x.shape)) for x in (a, b, c))
    if kind == "special":
        for x in (a, b, c):
            x[rng.random(x.shape) < 0.2] = 0.0
            x[rng.random(x.shape) < 0.1] = -0.0
            x[rng.random(x.shape) < 0.04] = np.inf
            x[rng.random(x.shape) < 0.04] = -np.inf
            x[rng.random(x.shape) < 0.02] = np.nan
    if kind == "cancelling":
        a[:, 1::2] = -a[:, ::2]
        b[1::2] = b[::2]
    return a, b, c


@pytest.mark.parametrize("kind", ["normal", "wide", "special", "cancelling"])
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_matmul_is_the_chain_of_its_steps(unit: Unit, kind: str) -> None:
    for shape in ((1, 1, 1), (5, 12, 4), (2, 0, 3)):
        a, b, c = matrices(kind, *shape)
        for start in (None, c):
            got = reference.matmul(a, b, unit, start, seed=7)
            assert got.dtype == np.float64
            assert_same_bits(got, by_definition(a, b, unit, start, 7))


def test_float32_steps_are_the_processors() -> None:
    unit = Unit(a_format="float32", product_format="float32")
    a, b, _ = matrices("wide", 6, 30, 5)
    a, b = a.astype(np.float32), b.astype(np.float32)
    acc = np.zeros((6, 5), np.float32)
    for k in range(30):
        acc = acc + a[:, k : k + 1] * b[k : k + 1]
    assert_same_bits(reference.matmul(a, b, unit), acc.astype(np.float64))


def test_chunks_chain_through_c() -> None:
    a, b, _ = matrices("normal", 3, 20, 4)
    unit = UNITS["fp16"]
    head = reference.matmul(a[:, :7], b[:7], unit)
    assert_same_bits(reference.matmul(a[:, 7:], b[7:], unit, head), reference.matmul(a, b, unit))


def test_layout_and_dtype_of_the_operands_do_not_matter() -> None:
    a, b, _ = matrices("normal", 3, 5, 4)
    expected = reference.matmul(a, b, UNITS["stochastic"], seed=3)
    fortran = reference.matmul(np.asfortranarray(a), b[::-1][::-1], UNITS["stochastic"], seed=3)
    assert_same_bits(fortran, expected)
    assert not np.array_equal(reference.matmul(a, b, UNITS["stochastic"], seed=4), expected)
    whole = [[1, -2], [3, 2**60 + 1]]  # integers are exact, beyond binary64's precision too
    toward_positive = Unit("float64", accumulator_format="float64", input_rounding="toward_positive")
    assert reference.matmul(whole, [[0], [1]], toward_positive).tolist() == [[-2.0], [2.0**60 + 256]]
    ml_dtypes = pytest.importorskip("ml_dtypes")
    half = a.astype(ml_dtypes.bfloat16)
    assert_same_bits(reference.matmul(half, b, Unit()), reference.matmul(half.astype(np.float64), b, Unit()))


def test_random_words_are_those_of_splitmix64() -> None:
    # First outputs of splitmix64.c for the seeds 1234567 and 0.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [mix(1234567 + (i + 1) * GOLDEN) for i in range(4)] == expected
    assert reference.random_word(0, 0) == 0xE220A8397B1DCDAF
    assert reference.random_word(-1, 3) == reference.random_word(2**64 - 1, 3)
    words = {reference.random_word(seed, i, stream) for seed in (1, 2) for i in range(50) for stream in range(5)}
    assert len(words) == 500


@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        ({"order": "random"}, {}, r"^unit\.order is 'random'; allowed: 'sequential'"),
        ({"rounding": "stochastic"}, {}, "^seed is None; allowed: an integer"),
        ({"input_rounding": "stochastic_equal"}, {}, "^seed is None; allowed: an integer"),
        ({"accumulator_format": "E2M3_finite", "overflow": "to_nan"}, {}, "^overflow is 'to_nan', but"),
        ({"a_format": "E2M1FN", "input_overflow": "to_nan"}, {}, "^overflow is 'to_nan', but"),
        ({"random_bits": 63}, {}, "^random_bits is 63; allowed: 1 to 62"),
        ({}, {"b": np.ones((2, 2))}, r"^b has shape \(2, 2\); allowed: 3 rows"),
        ({}, {"a": np.ones(3)}, r"^a has shape \(3,\); allowed: two dimensions"),
        ({}, {"c": np.ones((3, 3))}, r"^c has shape \(3, 3\); allowed: \(2, 2\)"),
    ],
    ids=str,
)
def test_wrong_arguments(change: dict[str, Any], kwargs: dict[str, Any], message: str) -> None:
    unit = dataclasses.replace(Unit(), **change)
    with pytest.raises(ValueError, match=message):
        reference.matmul(**{"a": np.ones((2, 3)), "b": np.ones((3, 2)), "unit": unit, **kwargs})
