"""Orders of summation and units of hardware against the reference, and what their sources say of them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from comparing import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st

import lpsim as lp
from lpsim import reference
from lpsim.testing import strategies
from lpsim.units.order import parse_order


def assert_same_bits(got: Any, expected: Any) -> None:
    assert np.shape(got) == np.shape(expected)
    assert_same(got, expected, list(np.ndindex(np.shape(got))))


def compare(unit: lp.MatrixUnit, a: Any, b: Any, c: Any = None, **scales: Any) -> None:
    seed = 3 if unit.is_stochastic else None
    got = lp.matmul(a, b, unit, c, seed=seed, **scales)
    assert got.dtype == unit.result_format.carrier
    assert_same_bits(got, reference.matmul(a, b, unit, c, seed=seed, **scales))


def matrices(unit: lp.MatrixUnit, shape: tuple[int, int, int], rng: np.random.Generator, kind: str) -> Any:
    """Draw A, B and C: sums that cancel, overflow, underflow, or are special."""
    m, k, n = shape
    formats = ((unit.a_format, (m, k)), (unit.b_format, (k, n)), (unit.total_format, (m, n)))
    drawn = []
    for fmt, size in formats:
        x = rng.standard_normal(size)
        if kind == "wide":
            low, high = max(fmt.emin - fmt.mantissa_bits, -160), min(fmt.emax, 140)
            x = np.ldexp(x, rng.integers(low, high + 1, size))
        x[rng.random(size) < 0.1] = rng.choice([0.0, -0.0])
        if kind == "special":
            x[rng.random(size) < 0.05] = rng.choice([np.inf, -np.inf, np.nan])
        drawn.append(x)
    if kind == "cancelling":
        half = k // 2
        drawn[0][:, half : 2 * half], drawn[1][half : 2 * half] = -drawn[0][:, :half], drawn[1][:half]
    return drawn


ALIASES = ("a2.", "a30.", "rtx30.", "l40s.", "h200.")
NAMES = [name for name in lp.units.NAMED_UNITS if not name.startswith(ALIASES)]


@pytest.mark.parametrize("kind", ["normal", "wide", "special", "cancelling"])
@pytest.mark.parametrize("name", NAMES)
def test_every_named_unit_equals_the_reference(name: str, kind: str) -> None:
    unit = lp.units.get(name)
    rng = np.random.default_rng([*name.encode(), *kind.encode()])
    for shape in ((2, 70, 3), (3, 9, 2), (1, 1, 1)):
        a, b, c = matrices(unit, shape, rng, kind)
        scales = {}
        if unit.scale_format is not None:
            blocks = -(-shape[1] // unit.scale_block)
            values = lp.values(unit.scale_format)
            near_one = values[(np.abs(values) > 2**-6) & (np.abs(values) < 2**6)]
            scales = {
                "a_scale": rng.choice(near_one, (shape[0], blocks)),
                "b_scale": rng.choice(values if kind == "wide" else near_one, (blocks, shape[2])),
            }
            if kind == "special":
                scales["a_scale"][0, 0] = np.nan
        for start in (None, c):
            compare(unit, a, b, start, **scales)


@settings(max_examples=400)
@given(st.data())
def test_any_order_of_any_formats(data: st.DataObject) -> None:
    unit = data.draw(strategies.units(stochastic=True))
    m, k, n = (data.draw(st.integers(1, most)) for most in (2, 12, 2))
    a, b = data.draw(strategies.arrays(unit.a_format, (m, k))), data.draw(strategies.arrays(unit.b_format, (k, n)))
    c = data.draw(st.one_of(st.none(), strategies.arrays(unit.total_format, (m, n))))
    compare(unit, a, b, c)


@settings(max_examples=600)
@given(st.data())
def test_any_fused_dot(data: st.DataObject) -> None:
    unit = data.draw(strategies.dot_units(stochastic=True))
    m, k, n = (data.draw(st.integers(1, most)) for most in (2, 20, 2))
    a, b = data.draw(strategies.arrays(unit.a_format, (m, k))), data.draw(strategies.arrays(unit.b_format, (k, n)))
    c = data.draw(st.one_of(st.none(), strategies.arrays(unit.total_format, (m, n))))
    compare(unit, a, b, c)


# Orders, written out with the scalar operations.


def test_pairwise_is_a_tree_of_neighbours() -> None:
    unit = lp.MatrixUnit("half", accumulator_format="half", order="pairwise")
    a = [2049.0, 1, 1, 1, 1, 1, 3]
    x = [float(lp.round(v, "half")) for v in a]

    def add(p: float, q: float) -> float:
        return float(lp.add(p, q, "half"))

    tree = add(add(add(x[0], x[1]), add(x[2], x[3])), add(add(x[4], x[5]), x[6]))
    assert float(lp.matmul(a, [1.0] * 7, unit, c=100.0)) == add(100.0, tree)


def test_interleaved_and_reverse() -> None:
    rng = np.random.default_rng(5)
    a, b = lp.round(rng.standard_normal((2, 7)), "half")
    fma = lp.MatrixUnit("half", accumulator_format="half")
    even, odd = lp.matmul(a[::2], b[::2], fma), lp.matmul(a[1::2], b[1::2], fma)
    lanes = lp.MatrixUnit("half", accumulator_format="half", order="interleaved(2)", outer_format="single")
    assert lp.matmul(a, b, lanes, c=0.25) == lp.add(0.25, lp.add(even, odd, "half"), "single")
    reverse = lp.MatrixUnit("half", accumulator_format="half", order="reverse")
    assert lp.matmul(a, b, reverse, c=0.25) == lp.matmul(a[::-1], b[::-1], fma, c=0.25)


def test_compensated_sum_keeps_what_a_plain_one_loses() -> None:
    ones, unit = np.ones(4096), {"accumulator_format": "half", "product_format": "half"}
    assert float(lp.matmul(ones, ones, lp.MatrixUnit("half", **unit))) == 2048
    assert float(lp.matmul(ones, ones, lp.MatrixUnit("half", order="kahan", **unit))) == 4096


def test_promotion_of_partial_sums() -> None:
    """DeepSeek-V3: every 128 terms, the tensor core's sum goes to a binary32 accumulator."""

    unit = dataclasses.replace(
        lp.units.h100.e4m3, order="blocked(128)", outer_format="single", outer_rounding="ties_to_even"
    )
    rng = np.random.default_rng(0)
    a, b = rng.random((4, 1024)), rng.random((1024, 4))
    total = np.zeros((4, 4), np.float32)
    for k in range(0, 1024, 128):
        total += lp.matmul(a[:, k : k + 128], b[k : k + 128], lp.units.h100.e4m3)
    assert_same_bits(lp.matmul(a, b, unit), total)
    exact = lp.round(a, "e4m3fn").astype(float) @ lp.round(b, "e4m3fn").astype(float)
    plain = lp.matmul(a, b, lp.units.h100.e4m3)
    assert np.abs(lp.matmul(a, b, unit) - exact).max() < np.abs(plain - exact).max() / 3


@pytest.mark.parametrize("name", ["v100.fp16", "a100.tf32", "h100.e4m3", "b200.e5m2_mma", "mi300.xf32", "amx.bf16"])
def test_chained_over_k(name: str) -> None:
    unit = lp.units.get(name)
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((5, 96)), rng.standard_normal((96, 4))
    part = lp.matmul(a[:, :64], b[:64], unit)
    assert_same_bits(lp.matmul(a[:, 64:], b[64:], unit, c=part), lp.matmul(a, b, unit))


# What is recorded of hardware: specification texts and published rows.

U = 2.0**-24


def dot(unit: str, products: list[tuple[float, float]], c: float) -> float:
    a, b = zip(*products, strict=True)
    return float(lp.matmul(list(a), list(b), lp.units.get(unit), c=c))


# Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores" (2021), and its test programs:
# products and c, and the result on V100, on A100, and by the rule with one more bit that holds on H100.
PROBES = {
    "subnormal input": ([(2**-24, 4)], 0, (2**-22,) * 3),
    "subnormal c": ([(0, 0)], 2.0**-149, (2.0**-149,) * 3),
    "exact product": ([(1 - 2**-11, 1 - 2**-11)], 0, ((1 - 2**-11) ** 2,) * 3),
    "exact sum": ([(1 - 2**-11, 1 - 2**-11)] * 4, 0, (4 * (1 - 2**-11) ** 2,) * 3),
    "small terms beside c": ([(1, 2**-24)] * 4, 1, (1, 1 + 2**-22, 1 + 2**-22)),
    "half as small": ([(0.5, 2**-24)] * 4, 1, (1, 1, 1 + 2**-23)),
    "toward zero": ([(1, 2), (1, 2**-23 + 2**-24)], 0, (2, 2, 2)),
    "toward zero, negative": ([(-1, 2), (-1, 2**-23 + 2**-24)], 0, (-2, -2, -2)),
    "extra bits of c": ([(1, 1)], -(1 - U), (2**-23, 2**-24, 2**-24)),
    "small terms beside less than 1": ([(1, U)] * 4, 1 - U, (1 + 2**-23,) * 3),
    "cancellation": ([(1, 1), (1, -U)], -1 + U, (2**-23, 0, 0)),
    "carries": ([(1, 1), (1, 1), (1, 1), (1, 2**-23)], 1 + 2**-22 + 2**-23, (4 + 2**-21,) * 3),
    "no carry is lost": ([(1, 1), (1, 1.5), (1, 1.75), (1, 1.875)], 1.875, (8,) * 3),
    "normalised at the end": ([(1, 1)] * 4, 1 + 2**-22 + 2**-23, (5,) * 3),
    "and negative": ([(-1, 1)] * 4, -1 - 2**-22 - 2**-23, (-5,) * 3),
}


@pytest.mark.parametrize("case", PROBES)
def test_probes_of_tensor_cores(case: str) -> None:
    products, c, expected = PROBES[case]
    for unit, result in zip(("v100.fp16", "a100.fp16", "h100.fp16"), expected, strict=True):
        assert dot(unit, products, c) == result, unit
        # The order within a dot is irrelevant.
        assert dot(unit, products[::-1], c) == result, unit


def test_sums_are_not_monotonic() -> None:
    assert dot("v100.fp16", [(1, U)] * 4, 1 - U) > dot("v100.fp16", [(1, U)] * 4, 1)
    terms = [(0.5, U)] * 3 + [(0.5, 2**-23 + U)]
    assert dot("a100.fp16", terms, 1 - U) > dot("a100.fp16", terms, 1)
    assert dot("h100.fp16", terms, 1 - U) == dot("h100.fp16", terms, 1) == 1 + 2**-23


def test_probes_of_other_outputs_and_inputs() -> None:
    b = 1 - 2**-11
    assert dot("v100.fp16_fp16", [(2**-24, 0.5), (2**-24, 0.25)], 0) == 2**-24
    assert dot("a100.fp16_fp16", [(b, b), (b, 2**-11)], 0) == 1 - 2**-10 + 2**-11
    for unit in ("a100.tf32", "a100.bf16"):
        assert dot(unit, [(2.0**-126, 0.5)], 0) == 2.0**-127
        assert dot(unit, [(2.0**-126, 1)], -(2.0**-127)) == 2.0**-127
    assert dot("a100.bf16", [(2.0**127, 1)], 2.0**127) == np.inf  # truncation overflows to infinity all the same
    largest = float(lp.bfloat16.max)
    assert dot("a100.bf16", [(largest, largest), (-largest, largest)], 0) == 0  # products have no range
    assert np.isnan(dot("mi300.bf16", [(largest, largest), (-largest, largest)], 0))


def test_nan_is_the_units_own() -> None:
    for unit, bits in (("h100.fp16", 0x7FFFFFFF), ("a100.fp16_fp16", 0x7FFFE000), ("amx.fp16", 0x7FC00000)):
        for a, c in (([np.inf, 1], -np.inf), ([np.nan, 1], 0), ([1, 1], -np.nan)):
            result = lp.matmul([a], [[1], [1]], lp.units.get(unit), c=[[c]])
            assert result.view(np.uint32)[0, 0] == bits
        assert np.isnan(lp.matmul([[np.inf]], [[0]], lp.units.get(unit))[0, 0])
        assert lp.matmul([[np.inf]], [[-1]], lp.units.get(unit))[0, 0] == -np.inf
    assert lp.matmul([[np.nan]], [[0]], lp.units.a100.fp16_fp16).astype(np.float16).view(np.uint16)[0, 0] == 0x7FFF


def floats(bits: Any) -> Any:
    return np.asarray(bits, np.uint32).view(np.float32)


def test_tf32_inputs() -> None:
    """Units take the leading 19 bits; libraries round before, ties away (cvt.rna)."""

    one = floats(0x3F800000)
    raw = lp.units.a100.tf32
    assert lp.matmul([[floats(0x3F801FFF)]], [[one]], raw)[0, 0] == 1
    away = dataclasses.replace(raw, input_rounding="ties_to_away")
    for bits, expected in ((0x3F801000, 0x3F802000), (0x3F800FFF, 0x3F800000), (0x7F7FFFFF, 0x7F800000)):
        assert lp.matmul([[floats(bits)]], [[one]], away).view(np.uint32)[0, 0] == expected
    assert lp.matmul([[1024.5]], [[1]], away)[0, 0] == 1025
    assert lp.matmul([[1024.5]], [[1]], lp.units.tf32)[0, 0] == 1024
    assert lp.matmul([[-0.45466]], [[1]], away)[0, 0] == np.float32(-0.45458984375)


# Units as data.


def test_names() -> None:
    assert lp.units.h200 is lp.units.h100
    assert lp.units.a30 is lp.units.a100
    assert lp.units.get("H200.E4M3_mma_fp16") is lp.units.h100.e4m3_mma_fp16
    for name, unit in lp.units.NAMED_UNITS.items():
        assert lp.units.get(name) is unit
        assert unit.source, name
        assert unit.verified or "." not in name, name
        assert (unit.throughput is None) == (unit.throughput_source is None), name
        assert pickle.loads(pickle.dumps(unit)) == unit
    assert lp.units.a100.tf32.throughput == 8
    assert lp.units.a100["fp16"].throughput == 16
    copied = copy.deepcopy(lp.units.a100)
    assert list(copied) == ["fp16", "bf16", "tf32", "fp16_fp16"]
    assert "A100" in repr(copied)
    assert "tf32" in dir(lp.units.a100)
    with pytest.raises(AttributeError, match="a100 has no unit 'fp8'; it has fp16, bf16, tf32, fp16_fp16"):
        _ = lp.units.a100.fp8
    with pytest.raises(ValueError, match=r"allowed: .*'a100.tf32'"):
        lp.units.get("a100.fp8")


def test_orders_in_parts() -> None:
    assert str(parse_order(" Blocked( 32,interleaved(2)) ")) == "blocked(32, interleaved(2))"
    assert lp.MatrixUnit("half", order="blocked(4, sequential)").order == "blocked(4)"
    for bad in ("blocked", "blocked(0)", "interleaved(0)", "blocked(4, blocked(2))", "random", 3):
        with pytest.raises(ValueError, match=r"order is .*allowed: 'sequential'"):
            lp.MatrixUnit("half", order=bad)


DOT = lp.FusedDot(4, 23)
BAD = {
    "no terms": (lambda: lp.FusedDot(0, 23), ValueError, "dot.terms is 0"),
    "terms": (lambda: lp.FusedDot(4.0, 23), TypeError, "dot.terms is 4.0"),
    "fraction bits": (lambda: lp.FusedDot(4, -1), ValueError, "dot.fraction_bits is -1"),
    "too many bits": (
        lambda: lp.MatrixUnit("half", dot=lp.FusedDot(4, 58)),
        ValueError,
        "dot.fraction_bits is 58 .*allowed: at most 55, so that aligned sums are 64-bit integers",
    ),
    "exact and wide": (lambda: lp.MatrixUnit("double", dot=lp.FusedDot(4)), ValueError, "fraction_bits is None, exact"),
    "alignment": (lambda: lp.FusedDot(4, 23, alignment="floor"), ValueError, "dot.alignment is 'floor'"),
    "alignment without bits": (lambda: lp.FusedDot(4, alignment="cdna3"), ValueError, "dot.alignment is 'cdna3'"),
    "odd split": (lambda: lp.FusedDot(5, 24, alignment="cdna3_split"), ValueError, "dot.terms is 5"),
    "zero exponent": (lambda: lp.FusedDot(4, 23, 1), ValueError, "dot.zero_exponent is 1"),
    "group": (lambda: lp.FusedDot(4, 23, group=3), ValueError, "dot.group is 3; allowed: divisors of terms, 4"),
    "dot": (lambda: lp.MatrixUnit("half", dot=4), TypeError, "dot is 4; allowed: a lpsim.FusedDot"),
    "dot and product": (lambda: lp.MatrixUnit("half", dot=DOT, product_format="half"), ValueError, "product_format is"),
    "dot and order": (lambda: lp.MatrixUnit("half", dot=DOT, order="pairwise"), ValueError, "order is 'pairwise'"),
    "promotion": (lambda: lp.MatrixUnit("half", dot=DOT, order="blocked(6)"), ValueError, "a multiple of dot.terms, 4"),
    "dealt": (
        lambda: lp.MatrixUnit("half", dot=lp.FusedDot(4, 23, dealt=3), order="blocked(8)"),
        ValueError,
        "dot.dealt is 3",
    ),
    "dealt without blocks": (
        lambda: lp.MatrixUnit("half", dot=lp.FusedDot(4, 23, dealt=2)),
        ValueError,
        "dot.dealt is 2",
    ),
    "scales without dot": (
        lambda: lp.MatrixUnit("e2m1fn", scale_format="e8m0fnu", scale_block=32),
        ValueError,
        "scale_format is given without a dot",
    ),
    "scales without blocks": (
        lambda: lp.MatrixUnit("e2m1fn", dot=DOT, scale_format="e8m0fnu"),
        ValueError,
        "scale_block is None, but scale_format is given",
    ),
    "blocks without scales": (
        lambda: lp.MatrixUnit("e2m1fn", dot=DOT, scale_block=32),
        ValueError,
        "scale_format is None, but scale_block is given",
    ),
    "scale block": (
        lambda: lp.MatrixUnit("e2m1fn", dot=lp.FusedDot(8, 23, group=4), scale_format="e8m0fnu", scale_block=6),
        ValueError,
        "scale_block is 6; allowed: multiples of dot.group, 4",
    ),
    "outer format": (lambda: lp.MatrixUnit("half", outer_format="half"), ValueError, "outer_format is float16"),
    "outer rounding": (lambda: lp.MatrixUnit("half", outer_rounding="to_odd"), ValueError, "outer_rounding is"),
    "flush inputs": (lambda: lp.MatrixUnit("half", flush_inputs="yes"), ValueError, "flush_inputs is 'yes'"),
    "flush results": (lambda: lp.MatrixUnit("half", flush_results=True), ValueError, "flush_results is True"),
    "NaN": (lambda: lp.MatrixUnit("half", nan_bits=0x7F800000), ValueError, "nan_bits is 0x7f800000"),
    "no scale": (lambda: lp.matmul(np.ones(32), np.ones(32), lp.units.b200.mxfp4), ValueError, "a_scale is None"),
    "scale of no unit": (lambda: lp.matmul([1], [1], lp.units.tf32, a_scale=[1]), ValueError, "a_scale is given, but"),
    "scale shape": (
        lambda: lp.matmul(np.ones(32), np.ones(32), lp.units.b200.mxfp4, a_scale=np.ones((1, 3)), b_scale=[[1]]),
        ValueError,
        r"a_scale has shape \(1, 3\)",
    ),
    "scale value": (
        lambda: lp.matmul(np.ones(32), np.ones(32), lp.units.b200.mxfp4, a_scale=[[1.5]], b_scale=[[1]]),
        ValueError,
        "a_scale holds numbers that are not in float8_e8m0fnu",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_contradictions_are_refused(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


# What happened in a product.


def test_stats_count_every_rounding() -> None:
    a = [[300.0, 1e9, 2.0**-14, 1.0]]
    b = [[300.0], [1e-9], [2.0**-12], [2049.0]]
    product, stats = lp.matmul(a, b, lp.units.fp16_fp16acc, c=[[1e-9]], stats=True)
    # Inputs: 1e9 overflows, 1e-9 (twice) underflows; steps: 300 * 300 overflows, 2**-26 underflows; 2049 is inexact.
    assert (stats.inputs.overflow, stats.inputs.underflow, stats.inputs.saturated) == (1, 2, 0)
    assert (stats.steps.overflow, stats.steps.underflow, stats.steps.invalid) == (1, 1, 1)  # and inf * 0
    assert np.isnan(product[0, 0])
    assert stats.output == (0, 0, 0, 0)
    assert str(stats).startswith("inputs: overflow 1, saturated 0, underflow 2, invalid 0\nsteps: overflow 1,")


@pytest.mark.parametrize("name", ["fp32", "fp16_fp16acc", "h100.fp16_fp16", "amx.bf16", "arm.bfdot", "saturating"])
def test_stats_change_no_bit_and_agree_with_the_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lpsim.reference import matrix, steps

    unit = (
        lp.units.get(name)
        if name != "saturating"
        else lp.MatrixUnit("half", accumulator_format="e4m3fn", overflow="saturate", order="pairwise")
    )
    rng = np.random.default_rng(list(name.encode()))
    a, b, c = matrices(unit, (3, 40, 4), rng, "wide")
    product, stats = lp.matmul(a, b, unit, c, stats=True)
    assert_same_bits(product, lp.matmul(a, b, unit, c))
    counted = np.zeros(4, int)
    deliver = steps.Steps.deliver
    plain = matrix.deliver

    def counting(self: Any, exact: Any, to: Any, number: int) -> float:
        tininess = "before" if self.flush == "before" else "after"
        _, flags = plain(exact, to.grid, to.rounding, to.overflow, to.random_bits, 0, tininess)
        value = deliver(self, exact, to, number)
        kept = plain(exact, to.grid, to.rounding, to.overflow, to.random_bits, 0, tininess)[0]
        over = bool(flags & lp.Flag.OVERFLOW)
        flushed = value == 0 and kept != 0
        counted[:] += over, over and np.isfinite(value), bool(flags & lp.Flag.UNDERFLOW) or flushed, flags & 1
        return value

    monkeypatch.setattr(steps.Steps, "deliver", counting)
    if unit.order == "sequential" and unit.dot is None:
        # The reference's way on pairs of integers does not deliver every step.
        order = steps.order_parts("sequential")
        x, y = (reference.matmul(m, np.eye(m.shape[1]), lp.MatrixUnit(fmt, "double", accumulator_format="double"))
                for m, fmt in ((a, unit.a_format), (b, unit.b_format)))  # fmt: skip
        start = lp.round(c, unit.total_format)
        for i, j in np.ndindex(start.shape):
            to = [matrix.Rounder(matrix.grid_of(f), unit.rounding, unit.overflow, 32) if f else None
                  for f in (unit.product_format, unit.accumulator_format)]  # fmt: skip
            chain = steps.Steps(to[0], to[1], to[1], None, 0)
            steps.sum_products(float(start[i, j]), x[i].tolist(), y[:, j].tolist(), chain, order)
    else:
        reference.matmul(a, b, unit, c)
    assert list(stats.steps) == counted.tolist()


def test_stats_are_true_or_false() -> None:
    with pytest.raises(TypeError, match="stats is 'yes'; allowed: True or False"):
        lp.matmul([1], [1], stats="yes")


def test_a_changed_copy_of_a_unit_follows_its_change() -> None:
    unit = dataclasses.replace(lp.units.tf32, accumulator_format="half", rounding="toward_zero")
    assert unit.result_format == lp.float16
    assert unit.total_rounding == lp.Rounding.TOWARD_ZERO
    assert dataclasses.replace(unit, order="pairwise", outer_format="single").result_format == lp.float32


def test_amx_fp16_takes_subnormal_halves_but_not_subnormal_accumulators() -> None:
    assert dot("amx.fp16", [(2.0**-24, 1.0)], 0) == 2.0**-24
    smallest = 2.0**-126
    assert dot("amx.fp16", [(0.0, 0.0)], smallest) == smallest
    assert dot("amx.fp16", [(0.0, 0.0)], smallest / 2) == 0
    assert dot("amx.fp16", [(1.0, 2.0**-24)], 2.0**-24 - smallest / 2) == 2.0**-23
