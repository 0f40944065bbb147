"""The short ways of elementwise operations against the general kernel, bit for bit."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim import elementwise
from lpsim.core.operations import ADD, ROUND
from lpsim.cpu.elementwise import NONE, decode_kernel
from lpsim.cpu.records import as_record
from lpsim.parameters import parameters
from lpsim.shortcuts import shortcut

FORMATS = ["half", "bf16", "tf32", "e4m3fn", "e5m2", "e3m4", "e2m1fn", "E6M9", "E8M22", "fp32", "e4m3fnuz", "E10M40"]
FORMATS += ["double", "E6M21", "E7M21B63FN", "E8M7FN", "E5M10B130", "E1M6", "binary8p3", "e5m2fnuz", "E8M10"]
WITHOUT = ["E3M0", "E5M10_nosubnormals", "E8M0", "E5M2_unsigned"]
DETERMINISTIC = [mode for mode in lp.Rounding if not mode.is_stochastic]
ARITHMETIC = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}

Array = npt.NDArray[Any]


def numbers(fmt: lp.Format, dtype: type, size: int = 3000) -> Array:
    """Random bit patterns, ties and numbers beside them, subnormals, the ends of the range, and specials."""
    rng = np.random.default_rng(len(fmt.spec))
    words = rng.integers(0, 1 << 8 * np.dtype(dtype).itemsize, size, dtype=f"u{np.dtype(dtype).itemsize}")
    with np.errstate(all="ignore"):
        any_bits = words.view(dtype)
        exponents = rng.integers(fmt.emin - 2, fmt.emax + 2, size).astype(np.float64)
        near = np.exp2(exponents) * (1 + rng.integers(0, 1 << min(fmt.precision + 1, 52), size) / 2.0**fmt.precision)
        small = rng.integers(-40, 41, size // 4) / 8 * fmt.smallest_subnormal
        ends = fmt.max + np.arange(-8, 9) / 4 * 2.0 ** (fmt.emax - fmt.mantissa_bits)
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1.0, -1.0]
        grid = np.concatenate([near, -near[::3], small, ends, -ends, special]).astype(dtype)
        beside = [np.nextafter(grid, dtype(toward)) for toward in (-np.inf, np.inf)]
    x = np.concatenate([any_bits, grid, *beside])
    x = x[~np.isnan(x) | (rng.random(x.size) < 0.2)]
    rng.shuffle(x)
    return x


def assert_identical(got: Array, expected: Array, *given: Array) -> None:
    assert got.dtype == expected.dtype
    wrong = np.flatnonzero(got.view(f"u{got.itemsize}") != expected.view(f"u{got.itemsize}"))
    examples = [(*(float(x[i]).hex() for x in given), got[i], expected[i]) for i in wrong[:5]]
    assert wrong.size == 0, examples


def policies(fmt: lp.Format) -> list[lp.Overflow]:
    return [policy for policy in lp.Overflow if fmt.has_nan or policy != lp.Overflow.TO_NAN]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FORMATS)
def test_round_and_encode(name: str, dtype: type) -> None:
    fmt = lp.format(name)
    x = numbers(fmt, dtype)
    words = np.random.default_rng(1).integers(0, 1 << 20, x.size)
    words[::3] = (words[::3] % 2) * ((1 << 20) - 1)
    coded = x if fmt.has_nan else x[~np.isnan(x)]
    for policy in policies(fmt):
        for mode in lp.Rounding:
            bits: dict[str, Any] = {"bits": words, "random_bits": 20} if mode.is_stochastic else {}
            assert_identical(
                lp.round(x, fmt, mode, policy, **bits), lp.round(x, fmt, mode, policy, flags=True, **bits)[0], x
            )
            if bits:
                bits["bits"] = words[: coded.size]
            got, expected = (
                lp.encode(coded, fmt, mode, policy, **bits),
                lp.encode(coded, fmt, mode, policy, flags=True, **bits)[0],
            )
            assert_identical(got, expected, coded)


@pytest.mark.parametrize("random_bits", [1, 24, 32, 53])
@pytest.mark.parametrize("mode", ["stochastic", "stochastic_equal"])
def test_seeds(mode: str, random_bits: int) -> None:
    for name in ("half", "bf16", "e4m3fn", "fp32"):
        for dtype in (np.float32, np.float64):
            x = numbers(lp.format(name), dtype)
            kind: dict[str, Any] = {"seed": 2**64 - 3, "random_bits": random_bits}
            assert_identical(lp.round(x, name, mode, **kind), lp.round(x, name, mode, flags=True, **kind)[0], x)
            got, expected = (
                lp.mul(x, x[::-1], name, mode, **kind),
                lp.mul(x, x[::-1], name, mode, flags=True, **kind)[0],
            )
            assert_identical(got, expected, x, x[::-1])


@pytest.mark.parametrize("operation", ARITHMETIC)
@pytest.mark.parametrize("name", FORMATS)
def test_arithmetic(name: str, operation: str) -> None:
    fmt = lp.format(name)
    rng = np.random.default_rng(2)
    x = numbers(fmt, np.float32)
    operands = [x, *(rng.permutation(x) for _ in range(ARITHMETIC[operation] - 1))]
    if operation in ("add", "sub", "fma"):
        # Cancellation, and ties that a number far below decides.
        last = operands[-1]
        with np.errstate(all="ignore"):
            product = (operands[0] * operands[1]).astype(np.float32) if operation == "fma" else operands[0]
            last[::4] = -product[::4] * (1 + rng.integers(-2, 3, last[::4].size) * np.float32(2) ** -23)
            last[1::4] = product[1::4] * np.exp2(rng.integers(-70, -20, last[1::4].size)).astype(np.float32)
    # Quotients and roots beside the middles of the format.
    middles = 1 + rng.integers(0, 1 << min(fmt.precision, 24), x.size) / 2.0 ** min(fmt.precision, 24)
    if operation == "div":
        operands[1] = np.where(rng.random(x.size) < 0.5, operands[1], 1 + rng.random(x.size)).astype(np.float32)
        with np.errstate(all="ignore"):
            operands[0][::2] = (middles * operands[1]).astype(np.float32)[::2]
    if operation == "sqrt":
        operands[0][::2] = (middles**2).astype(np.float32)[::2]
    compute = getattr(lp, operation)
    for mode in DETERMINISTIC:
        for policy in policies(fmt) if mode in (0, 4, 5) else [lp.Overflow.IEEE]:
            got, expected = compute(*operands, fmt, mode, policy), compute(*operands, fmt, mode, policy, flags=True)[0]
            assert_identical(got, expected, *operands)


@pytest.mark.parametrize("operation", ARITHMETIC)
def test_binary64_of_binary64(operation: str) -> None:
    rng = np.random.default_rng(4)
    x = numbers(lp.float64, np.float64)
    operands = [x, *(rng.permutation(x) for _ in range(ARITHMETIC[operation] - 1))]
    compute = getattr(lp, operation)
    for policy in ("ieee", "to_infinity", "saturate"):
        got, expected = (
            compute(*operands, "double", overflow=policy),
            compute(*operands, "double", overflow=policy, flags=True)[0],
        )
        assert_identical(got, expected, *operands)


def near_middles(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    """Factors, and addends for which binary32 fused multiply-adds are near a middle of 22 to 24 digits."""

    def significands() -> Array:
        top = rng.integers(0, 1 << 24, size, dtype=np.int64) >> rng.integers(0, 24, size)
        return (1 << 23 | top << rng.integers(0, 20, size) & 0x7FFFFF).astype(np.float64)

    x = (significands() * np.exp2(rng.integers(-40, 10, size))).astype(np.float32)
    y = (significands() * np.exp2(rng.integers(-40, 10, size))).astype(np.float32)
    product = x.astype(np.float64) * y
    place = np.exp2(np.floor(np.log2(product)) - 23)
    halves = rng.integers(-8, 9, size) / 2 * place
    small = rng.integers(-3, 4, size) * place * np.exp2(rng.integers(-26, 1, size))
    rest = product - product.astype(np.float32)
    kinds = [
        halves + small,
        halves - rest + small,
        small - product,
        halves - product,
        -product * (1 + rng.integers(-5, 6, size) * 2.0**-24),
        rng.integers(-9, 10, size) * product * np.exp2(rng.integers(-3, 25, size)),
        significands() * np.exp2(rng.integers(-30, 10, size)) * place,
    ]
    z = np.choose(rng.integers(0, len(kinds), size), kinds).astype(np.float32)
    return x * rng.choice(np.float32([-1, 1]), size), y, z * rng.choice(np.float32([-1, 1]), size)


@pytest.mark.parametrize("name", ["half", "E6M21", "E6M20", "E5M2"])
def test_fused_multiply_adds_in_binary32(name: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(4):
        x, y, z = near_middles(rng, 500_000)
        assert_identical(lp.fma(x, y, z, name), lp.fma(x, y, z, name, flags=True)[0], x, y, z)


def test_tiny_products_in_one_block() -> None:
    rng = np.random.default_rng(6)
    x, y, z = (rng.normal(size=3000).astype(np.float32) for _ in range(3))
    x[1500], y[1500], z[1500] = 2.0**-140, 2.0**-120, 1 + 2.0**-11  # a middle of half, and what decides it
    x[2900], y[2900] = 0, np.inf
    out = lp.fma(x, y, z, "half")
    assert_identical(out, lp.fma(x, y, z, "half", flags=True)[0], x, y, z)
    assert out[1500] == 1 + 2.0**-10
    assert_identical(lp.fma(x, y, z, "half", out=x), out)


@pytest.mark.parametrize("name", FORMATS)
def test_there_is_a_short_way(name: str) -> None:
    for operation in (ROUND, ADD):
        for mode in DETERMINISTIC:
            assert shortcut(operation, lp.format(name), mode, lp.Overflow.IEEE, 32, True, NONE, False)


@pytest.mark.parametrize("name", WITHOUT)
def test_formats_without_a_short_way(name: str) -> None:
    fmt = lp.format(name)
    assert shortcut(ROUND, fmt, lp.Rounding.TIES_TO_EVEN, lp.Overflow.IEEE, 32, True, NONE, False) is None
    x = numbers(fmt, np.float32, 500)
    assert_identical(lp.round(x, fmt), lp.round(x, fmt, flags=True)[0], x)


@pytest.mark.parametrize("threads", [1, 2])
def test_arrays(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "_GRAIN", 64)
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        x = numbers(lp.format("half"), np.float32)[:8192].reshape(64, 128)
        expected, sums = lp.round(x, "half", flags=True)[0], lp.add(x, x[0], "half", flags=True)[0]
        random = lp.round(x, "half", "stochastic", seed=3, flags=True)[0]

        def same(got: Array, expected: Array) -> None:
            assert_identical(np.ascontiguousarray(got).reshape(-1), np.ascontiguousarray(expected).reshape(-1))

        same(lp.round(x, "half"), expected)
        same(lp.round(x[::2, ::-3], "half"), expected[::2, ::-3])
        same(lp.round(x.T, "half"), expected.T)
        same(lp.round(x, "half", "stochastic", seed=3), random)
        same(lp.round(np.asfortranarray(x), "half", "stochastic", seed=3), random)
        same(lp.round(x.astype(">f4"), "half"), expected)
        same(lp.add(x, x[0], "half"), sums)
        wide = np.empty(x.shape, np.float64)
        same(lp.round(x, "half", out=wide).astype(np.float32), expected)
        place = x.copy()
        assert lp.round(place, "half", out=place) is place
        same(place, expected)
        place = x.copy()
        same(lp.add(place, x[0], "half", out=place), sums)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize(
    "name",
    [*FORMATS, *WITHOUT, "E0M7_finite", "E8M7FN", "E8M23B100", "E8M23B200", "E11M3", "E5M10_unsigned", "binary8p3"],
)
def test_decode(name: str) -> None:
    fmt = lp.format(name)
    codes: Array = np.arange(1 << min(fmt.bits, 16), dtype=np.uint64)
    if fmt.bits > 16:
        rng = np.random.default_rng(3)
        any_codes = rng.integers(0, 1 << 64, 50_000, dtype=np.uint64) >> np.uint64(64 - fmt.bits)
        top = np.uint64((1 << fmt.bits) - 1)
        ends = np.array([fmt.max_code, fmt.magnitude_mask, fmt.nan_code or 0, fmt.infinity_code or 0], np.uint64)
        codes = np.concatenate(
            [codes, top - codes, any_codes, any_codes & np.uint64(fmt.magnitude_mask), ends, ends + 1]
        )
        codes &= top
    codes = codes.astype(fmt.code_dtype)
    expected = np.empty(codes.size, fmt.carrier)
    decode_kernel()(codes, expected, as_record(parameters(fmt)))
    assert_identical(lp.decode(codes, fmt), expected, codes)


@pytest.mark.parametrize("specials", ["ieee", "fn", "fnuz", "finite"])
def test_ends_of_the_exponent_range(specials: str) -> None:
    """The lowest and highest biases that a format may have: constants of a short way must not overflow or vanish."""
    refused = 0
    for exponent_bits, mantissa_bits in [(0, 1), (0, 3), (1, 1), (1, 3), (2, 2), (8, 3), (11, 1)]:
        for end in (127, -126, -149, 1023, -1022, -1074):
            for near in range(-6, 7):
                try:
                    fmt = lp.Format(exponent_bits, mantissa_bits, bias=near - end, specials=specials)
                except ValueError:
                    refused += 1
                    continue
                codes = np.arange(1 << fmt.bits, dtype=fmt.code_dtype)
                expected = np.empty(codes.size, fmt.carrier)
                decode_kernel()(codes, expected, as_record(parameters(fmt)))
                values = lp.decode(codes, fmt)
                assert_identical(values, expected, codes)
                for dtype in (np.float32, np.float64):
                    with np.errstate(over="ignore", under="ignore"):
                        x = np.concatenate([values, values * 1.25, values * 1.5]).astype(dtype)
                    for mode in (lp.Rounding.TIES_TO_EVEN, lp.Rounding.TOWARD_POSITIVE):
                        assert_identical(lp.round(x, fmt, mode), lp.round(x, fmt, mode, flags=True)[0], x)
    assert refused < 400
