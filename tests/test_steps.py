"""Vector kernels for rounded steps against the careful kernel and the reference, bit for bit, path by path."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp
from lpsim import reference
from lpsim import steps as steps_module
from lpsim.core.nearest import nearest_by_fma
from lpsim.engine import Engine
from lpsim.parts import Place
from lpsim.steps import step_passes, step_runner


def unit_of(inputs: Any, accumulator: str, product: str | None = None, **options: Any) -> lp.MatrixUnit:
    a, b = inputs if isinstance(inputs, tuple) else (inputs, None)
    return lp.MatrixUnit(a, b, accumulator_format=accumulator, product_format=product, **options)


#: Units, and the options that their first kernel is expected to have: w(ide), s(igned), g(uarded).
UNITS: dict[str, tuple[lp.MatrixUnit, str]] = {
    "half": (unit_of("half", "half", "half"), ""),
    "half fma": (unit_of("half", "half"), "ws"),
    "bf16": (unit_of("bf16", "bf16", "bf16"), ""),
    "bf16 fma": (unit_of("bf16", "bf16"), "wsg"),
    "tf32": (unit_of("tf32", "tf32", "tf32"), ""),
    "tf32 fma": (unit_of("tf32", "tf32"), "wsg"),
    "e4m3fn": (unit_of("e4m3fn", "e4m3fn", "e4m3fn"), ""),
    "e4m3fn fma": (unit_of("e4m3fn", "e4m3fn"), "s"),
    "e5m2": (unit_of("e5m2", "e5m2", "e5m2"), ""),
    "e5m2 fma, wide range": (unit_of("e5m2", "E5M1"), "sg"),
    "e3m4, saturating": (unit_of("E3M4", "E3M4", "E3M4", overflow="saturate"), ""),
    "e2m1fn to E5M6": (unit_of("e2m1fn", "E5M6"), "s"),
    "e2m1fn, finite sums": (unit_of("e2m1fn", "e2m1fn", "e2m1fn"), ""),
    "E8M13": (unit_of("bf16", "E8M13", "E8M13"), "w"),
    "E6M9": (unit_of("half", "E6M9", "E6M9"), ""),
    "E6M9 fma": (unit_of("half", "E6M9"), "wsg"),
    "FP8 to half": (unit_of(("e4m3fn", "e5m2"), "half"), "s"),
    "FP8 to E4M13": (unit_of("e4m3fn", "E4M13"), "ws"),
    "fine products": (unit_of("half", "E4M6", "E6M3"), "s"),
    "narrow products": (unit_of("half", "E6M9", "e4m3fn"), ""),
    "long products": (unit_of("bf16", "E5M4", "E8M13"), "ws"),
    "long products, long range": (unit_of("bf16", "bf16", "E8M13"), "wsg"),
    "float32 sums": (unit_of("half", "float32", "half"), "w"),
    "scales": (unit_of(("E8M0", "half"), "half", "half"), ""),
    "fnuz inputs": (unit_of(("e4m3fnuz", "e5m2fnuz"), "half", "half"), ""),
    "one binade": (unit_of("half", "E1M6", "E1M6"), ""),
    "half toward zero": (unit_of("half", "half", "half", rounding="toward_zero"), ""),
    "half fma toward zero": (unit_of("half", "half", rounding="toward_zero"), "s"),
    "bf16 fma toward zero": (unit_of("bf16", "bf16", rounding="toward_zero"), "s"),
    "bf16 to half toward zero": (unit_of("bf16", "half", rounding="toward_zero"), "s"),
    "E8M13 toward zero": (unit_of("e5m2", "E8M13", rounding="toward_zero"), "s"),
    "float32 toward zero": (unit_of("bf16", "float32", rounding="toward_zero"), "ws"),
    "e4m3fn toward zero": (unit_of("e4m3fn", "e4m3fn", "e4m3fn", rounding="toward_zero"), ""),
    "e2m1fn toward zero": (unit_of("e2m1fn", "e2m1fn", "e2m1fn", rounding="toward_zero"), ""),
    "narrow products toward zero": (unit_of("bf16", "half", "e5m2", rounding="toward_zero"), ""),
    "long products toward zero": (unit_of("bf16", "E5M4", "E8M13", rounding="toward_zero"), "s"),
    "saturating finite numbers": (unit_of("half", "half", "half", overflow="saturate_finite"), ""),
    "overflow to NaN": (unit_of("bf16", "e5m2", "half", overflow="to_nan"), "sg"),
    "half stochastic": (unit_of("half", "half", "half", rounding="stochastic"), "w"),
    "bf16 fma stochastic": (unit_of("bf16", "bf16", rounding="stochastic", random_bits=8), "ws"),
    "e4m3fn stochastic": (unit_of("e4m3fn", "e4m3fn", "e4m3fn", rounding="stochastic", random_bits=47), "w"),
    "E8M13 stochastic": (unit_of("half", "E8M13", "half", rounding="stochastic", random_bits=1), "w"),
    "float32 stochastic": (unit_of("bf16", "float32", rounding="stochastic", random_bits=20), "ws"),
    "long range": (unit_of("E9M3", "E9M7", "E9M7"), "w"),
    "long-range inputs": (unit_of("E10M3", "half", "half"), "w"),
}
DEVIOUS = [
    "half", "half fma", "bf16", "bf16 fma", "e4m3fn fma", "E6M9 fma", "E8M13", "fine products", "long products",
    "half toward zero", "bf16 fma toward zero", "half stochastic", "bf16 fma stochastic",
]  # fmt: skip


SEED = np.uint64(12)


def rounded(x: Any, fmt: lp.Format, dtype: Any) -> np.ndarray:
    array = np.ascontiguousarray(lp.round(np.asarray(x, np.float64), fmt), dtype)
    array.flags.writeable = False
    return array


def dtype_of(unit: lp.MatrixUnit) -> Any:
    formats = [unit.a_format, unit.b_format, unit.product_format or unit.a_format, unit.accumulator_format]
    return np.float32 if all(fmt.carrier == np.float32 for fmt in formats) else np.float64


def careful(a: np.ndarray, b: np.ndarray, c: np.ndarray, unit: lp.MatrixUnit) -> np.ndarray:
    out = c.copy()
    Engine(unit, SEED).carefully(a, b, out, Place(0, out.shape[1]))((0, out.shape[0]), (0, out.shape[1]))
    return out


def check(a: Any, b: Any, c: Any, unit: lp.MatrixUnit) -> int:
    """Compare the two ways to a product; return how many pieces of rows the second kernel did."""
    dtype = dtype_of(unit)
    a, b = rounded(a, unit.a_format, dtype), rounded(b, unit.b_format, dtype)
    c = np.zeros((a.shape[0], b.shape[1]), dtype) if c is None else rounded(c, unit.accumulator_format, dtype)
    expected = careful(a, b, c, unit)
    got = np.array(c)
    run = step_runner(a, b, got, unit, SEED, Place(0, got.shape[1]))
    assert run is not None
    redone = run((0, got.shape[0]), (0, got.shape[1]))
    assert_same(got, expected, list(np.ndindex(got.shape)))
    nan = got[np.isnan(got)]
    assert (nan.view(f"u{nan.itemsize}") == np.array(np.nan, dtype).view(f"u{nan.itemsize}")).all()
    return redone


def normal(rng: np.random.Generator, shape: tuple[int, int], spread: int = 0, center: float = 0) -> np.ndarray:
    exponents = center + rng.integers(-spread, spread + 1, shape)
    return rng.standard_normal(shape) * np.exp2(exponents)


@pytest.mark.parametrize("name", UNITS)
def test_kernel_is_the_expected_one(name: str) -> None:
    unit, expected = UNITS[name]
    passes = step_passes(unit, False)
    assert passes is not None
    first, second = (p.options for p in passes)
    assert first == {
        "wide": "w" in expected,
        "fused": unit.product_format is None,
        "toward_zero": unit.rounding != lp.Rounding.TIES_TO_EVEN,
        "stochastic": unit.is_stochastic,
        "clamped": False,
        "signed": "s" in expected,
        "guarded": "g" in expected,
    }
    assert second["clamped"]
    assert second["signed"]


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("kind", ["plain", "spread", "huge", "tiny", "ties", "special", "negative zeros"])
def test_equals_the_careful_kernel(name: str, kind: str) -> None:
    unit, _ = UNITS[name]
    rng = np.random.default_rng([*name.encode(), *kind.encode()])
    target = unit.accumulator_format
    redone = 0
    for m, k, n in ((9, 40, 37), (5, 600, 70), (40, 30, 3), (3, 7, 530)):
        a, b, c = normal(rng, (m, k)), normal(rng, (k, n)), normal(rng, (m, n))
        if kind == "plain":
            c = c + np.copysign(1, c)  # too far from zero to be rounded to -0
        elif kind == "spread":
            a, b, c = (x * np.exp2(rng.integers(-9, 10, x.shape)) for x in (a, b, c))
        elif kind == "huge":
            half = min(target.emax // 2, unit.a_format.emax - 2, unit.b_format.emax - 2)
            a, b = normal(rng, (m, k), 2, half), normal(rng, (k, n), 2, min(target.emax - half, unit.b_format.emax))
            c = c * np.exp2(target.emax - 1)
        elif kind == "tiny":
            half = max(target.quantum_exponent // 2, unit.a_format.emin, unit.b_format.emin)
            a, b, c = normal(rng, (m, k), 2, half), normal(rng, (k, n), 2, half), c * target.smallest_subnormal * 8
        elif kind == "ties":
            a, b, c = (np.round(4 * x) for x in (a, b, c * 2.0 ** (target.precision - 4)))
            b = b * np.exp2(rng.integers(-4, 1, (1, n)))
        elif kind == "special":
            for x in (a, b, c):
                x[rng.random(x.shape) < 0.3 / x.shape[1]] = rng.choice([np.inf, -np.inf, np.nan, 0.0, -0.0])
        elif kind == "negative zeros":
            for x in (a, b, c):
                x[rng.random(x.shape) < 0.5] = -0.0
        redone += check(a, b, c, unit) + check(a, b, None, unit)
    if kind == "plain" and target.emax >= 8 and unit.a_format.signed:
        assert redone == 0
    if kind == "huge" and unit.product_format == target and unit.a_format == target and target.emax < 127:
        assert redone > 0


@pytest.mark.parametrize("name", UNITS)
def test_equals_the_reference(name: str) -> None:
    unit, _ = UNITS[name]
    rng = np.random.default_rng([*name.encode()])
    a, b, c = normal(rng, (6, 19), 4), normal(rng, (19, 21), 4), normal(rng, (6, 21), 4)
    a[2, 3], a[3, 4], b[5, 5], c[0, 0] = np.inf, np.nan, unit.b_format.max, -0.0
    for start in (c, None):
        seed = int(SEED) if unit.is_stochastic else None
        expected = reference.matmul(a, b, unit, start, seed=seed)
        assert_same(lp.matmul(a, b, unit, start, seed=seed), expected, list(np.ndindex(expected.shape)))


def all_values(fmt: lp.Format) -> np.ndarray:
    return np.asarray(lp.decode(np.arange(1 << fmt.bits, dtype=np.uint32), fmt), np.float64)


@pytest.mark.parametrize("inputs", ["e4m3fn", "e5m2"])
@pytest.mark.parametrize("accumulator", ["e4m3fn", "e5m2", "E3M2", "E5M4"])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("rounding", ["ties_to_even", "toward_zero", "stochastic"])
def test_every_step_of_small_formats(inputs: str, accumulator: str, fused: bool, rounding: str) -> None:
    unit = unit_of(inputs, accumulator, None if fused else accumulator, rounding=rounding)
    terms, starts = all_values(unit.a_format), all_values(unit.accumulator_format)
    # One step of every a with every c, for several b.
    for factor in (1.0, -1.75, 2.0**-9, 2.0**7):
        check(terms[:, np.newaxis], np.full((1, starts.size), factor), np.tile(starts, (terms.size, 1)), unit)
    # Every product, with c that are far from it and near.
    for start in (0.0, 1.0, unit.accumulator_format.smallest_subnormal, unit.accumulator_format.max):
        check(terms[:, np.newaxis], terms[np.newaxis], np.full((terms.size, terms.size), start), unit)


@pytest.mark.parametrize(
    "name", ["half", "half fma", "bf16", "bf16 fma", "half toward zero", "half fma toward zero", "bf16 fma toward zero"]
)
def test_every_accumulator(name: str) -> None:
    unit, _ = UNITS[name]
    starts = all_values(unit.accumulator_format)
    rng = np.random.default_rng(5)
    a, b = normal(rng, (20, 1), 12), np.ones((1, starts.size))
    if unit.product_format is None:
        b = b * (1 + 2.0**-unit.b_format.mantissa_bits)
    check(a, b, np.tile(starts, (20, 1)), unit)


@pytest.mark.parametrize(("more", "innocuous"), [(0, True), (-1, False)])
def test_double_rounding_of_sums(more: int, innocuous: bool) -> None:
    """The claim on sums for p = 3, with q = 7 = 2 p + 1 digits, and with one digit less."""
    values = all_values(lp.format("E4M2"))
    values = values[np.isfinite(values)]
    sums = values[:, np.newaxis] + values
    twice = lp.round(lp.round(sums, f"E8M{6 + more}"), "E4M2")
    assert (twice == lp.round(sums, "E4M2")).all() == innocuous


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ["bf16 fma", "tf32 fma", "E6M9 fma", "long products, long range"])
def test_accumulator_lost_beside_a_tie(name: str, sign: int) -> None:
    unit, _ = UNITS[name]
    fmt = unit.accumulator_format
    # (1 + 2**-M) * 1.5 is a tie. Beside a large one, binary64 does not see the accumulator at all.
    a = np.array([[sign * (1 + 2.0**-fmt.mantissa_bits)]])
    b = np.array([[1.5, 1.5 * 2.0**14]])
    c = fmt.smallest_subnormal * np.array([[1.0] * 2, [-1.0] * 2, [0.0] * 2])
    assert check(np.tile(a, (3, 1)), b, c, unit) == 0
    assert check(np.tile(a, (3, 1)), b, np.append(c[:, :1], np.full((3, 1), np.inf), 1), unit) > 0
    # The tie goes up, to the even neighbour.
    even, odd = (lp.round(a[0, 0] * x, fmt) for x in (1.5, 1.5 * (1 - 2.0**-20)))
    assert abs(odd) < abs(even)
    got = lp.matmul(np.tile(a, (3, 1)), b[:, :1], unit, c[:, :1])
    assert_same(got, [even, odd, even] if sign > 0 else [odd, even, even], range(3))


def test_accumulator_lost_beside_a_tie_in_binary32() -> None:
    unit, _ = UNITS["e5m2 fma, wide range"]
    c = unit.accumulator_format.smallest_subnormal * np.array([[1.0], [-1.0], [0.0]])
    got = lp.matmul(np.full((3, 1), 1.25), [[2.0**12]], unit, c)
    assert (got[:, 0] == np.array([1.5, 1.0, 1.0]) * 2.0**12).all()
    assert check(np.full((3, 1), -1.25), [[2.0**12] * 20], np.tile(c, 20), unit) == 0


def test_products_that_binary32_would_lose() -> None:
    unit, _ = UNITS["bf16"]
    rng = np.random.default_rng(6)
    a, b = (rounded(normal(rng, (20, 20), 30, -50), unit.a_format, np.float32) for _ in range(2))
    assert not steps_module._may_lose_products(a, np.abs(1 / b), unit)
    assert steps_module._may_lose_products(a, b, unit)
    assert not steps_module._may_lose_products(a, np.zeros((20, 3), np.float32), unit)
    lost = step_passes(unit, True)
    assert lost is not None
    assert lost[0].options["wide"]
    assert check(a, b, None, unit) == 0
    assert check(a * 2.0**-30, b, None, unit) == 0


@pytest.mark.parametrize("name", ["bf16 fma toward zero", "bf16 to half toward zero"])
def test_tiny_products_count_toward_zero(name: str) -> None:
    unit, _ = UNITS[name]
    a, b = np.full((4, 1), 2.0**-130), np.full((1, 20), -(2.0**-130))
    assert check(a, b, np.ones((4, 20)), unit) == 0
    b[0, 0] = np.inf  # for the second kernel
    assert check(a, b, np.ones((4, 20)), unit) == 4
    assert lp.matmul(a, b, unit, np.ones((4, 20)))[0, 1] == 1 - 2.0**-unit.accumulator_format.precision


def test_what_overflows_binary32_is_not_infinity() -> None:
    unit = unit_of("bf16", "half", "half", overflow="saturate_finite")
    a, b = np.full((4, 2), 2.0**100), np.full((2, 20), -(2.0**100))
    b[1, 3] = np.inf
    assert check(a, b, None, unit) > 0
    got = lp.matmul(a, b, unit)
    assert got[0, 0] == -unit.accumulator_format.max
    assert got[0, 3] == np.inf


def test_overflow_of_one_row_redoes_that_row() -> None:
    unit, _ = UNITS["half"]
    rng = np.random.default_rng(7)
    a, b = normal(rng, (20, 30)), normal(rng, (30, 600))
    a[3, 5] = 60000.0
    assert check(a, b, None, unit) == 2  # in two pieces
    # Beyond the range and back again: the constant of the rounding is infinite all along.
    a = np.array([[1.0, -1.0, 1.0]])
    b = np.repeat([[32768.0], [32768.0], [3.0]], 20, axis=1)
    assert check(a * 256, b, None, unit) == 1
    # Where a product overflows binary32, too.
    unit = unit_of("bf16", "half", "half")
    assert check(a, np.repeat([[2.0**120], [2.0**120], [3.0]], 20, axis=1) * 256, None, unit) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"rounding": "ties_to_away"},
        {"rounding": "toward_positive"},
        {"rounding": "stochastic_equal"},
        {"rounding": "stochastic", "random_bits": 41},
        {"accumulator_format": "E5M10_nosubnormals"},
        {"accumulator_format": "e5m2fnuz"},
        {"accumulator_format": "double"},
        {"accumulator_format": "E11M10"},
        {"accumulator_format": "E8M0", "overflow": "ieee"},
        {"product_format": "E8M26"},
        {"a_format": "E5M42"},
        {"a_format": "E11M3", "accumulator_format": lp.Format(10, 3, bias=1015), "product_format": None},
    ],
)
def test_units_without_vector_kernels(options: dict[str, Any]) -> None:
    unit = lp.MatrixUnit(**{"a_format": "half", "product_format": "half", "accumulator_format": "half", **options})
    assert step_passes(unit, False) is None


@pytest.mark.parametrize("name", DEVIOUS)
def test_any_number_of_threads_and_depth(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unit, _ = UNITS[name]
    monkeypatch.setattr(steps_module, "DEPTH", 17)
    rng = np.random.default_rng(8)
    dtype = dtype_of(unit)
    for shape in ((1, 40, 90), (90, 40, 1), (37, 50, 41), (3, 20, 600), (70, 20, 5)):
        m, k, n = shape
        a = rounded(normal(rng, (m, k), 3), unit.a_format, dtype)
        b = rounded(normal(rng, (k, n), 3), unit.b_format, dtype)
        c = rounded(normal(rng, (m, n), 3), unit.accumulator_format, dtype)
        expected = careful(a, b, c, unit)
        seed = int(SEED) if unit.is_stochastic else None
        assert_same(lp.matmul(a, b, unit, c, seed=seed), expected, list(np.ndindex(m, n)))


def test_sequential_float16_loop_of_numpy() -> None:
    rng = np.random.default_rng(128)
    a, b = rng.standard_normal((2, 128, 128)).astype(np.float16)
    total = np.zeros((128, 128), np.float16)
    for k in range(128):
        total = total + a[:, k, np.newaxis] * b[k]
    got = lp.matmul(a, b, lp.units.fp16_fp16acc).astype(np.float16)
    assert (got.view(np.uint16) == total.view(np.uint16)).all()


@numba.njit
def _round_all(x, lowest, constant):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = nearest_by_fma(x[i], lowest, constant)
    return out


@pytest.mark.parametrize("name", ["half", "bf16", "e4m3fn", "E5M21", "E6M9"])
@pytest.mark.parametrize("lane", [np.float32, np.float64])
def test_nearest_by_fma(name: str, lane: Any) -> None:
    fmt = lp.format(name)
    digits = np.finfo(lane).nmant + 1
    rng = np.random.default_rng(9)
    x = normal(rng, (1, 100_000), min(fmt.emax - 3, 100))[0]
    x[::2] = np.round(x[::2] / fmt.smallest_subnormal * 8) / 8 * fmt.smallest_subnormal
    x = x[np.abs(x) < 2.0 ** min(fmt.emax, 100)].astype(lane)
    got = _round_all(x, lane(2.0**fmt.emin), lane(1.5 * 2.0 ** (digits - fmt.precision)))
    assert_same(np.copysign(got, x), lp.round(x, fmt), x.tolist())
