"""Block formats against a plain model in fractions, gfloat and the OCP specification's cases."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim.quantization import block_float, mx

ELEMENTS = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "int8")
RULES = ("floor", "ceil", "even", "rceil")

#: Exponent and mantissa bits, bias, largest value; OCP MX 1.0, table 1.
FACTS = {
    "e4m3": (4, 3, 7, Fraction(448)),
    "e5m2": (5, 2, 15, Fraction(57344)),
    "e3m2": (3, 2, 3, Fraction(28)),
    "e2m3": (2, 3, 1, Fraction(15, 2)),
    "e2m1": (2, 1, 1, Fraction(6)),
}
EMAX = {"e4m3": 8, "e5m2": 15, "e3m2": 4, "e2m3": 2, "e2m1": 2, "int8": 0}
BITS = {"e4m3": 8, "e5m2": 8, "e3m2": 6, "e2m3": 6, "e2m1": 4, "int8": 8}


def magnitudes(element: str) -> list[Fraction]:
    """Return the magnitudes of an element format in the order of their codes."""
    if element == "int8":
        return [Fraction(i, 64) for i in range(128)]
    exponent_bits, mantissa_bits, bias, largest = FACTS[element]
    out = []
    for field, trailing in itertools.product(range(1 << exponent_bits), range(1 << mantissa_bits)):
        significand = Fraction(trailing, 1 << mantissa_bits) + (field > 0)
        value = significand * Fraction(2) ** (max(field, 1) - bias)
        if value <= largest:
            out.append(value)
    return out


def floor_log2(x: Fraction) -> int:
    k = math.floor(math.log2(x)) if x else 0
    while Fraction(2) ** k > x:
        k -= 1
    while Fraction(2) ** (k + 1) <= x:
        k += 1
    return k


def expected_power(amax: Fraction, element: str, rule: str) -> int:
    """Return the exponent of a block's scale."""
    if amax == 0:
        return -127
    largest = magnitudes(element)[-1]
    mantissa_bits = 6 if element == "int8" else FACTS[element][1]
    k = floor_log2(amax)
    if rule == "ceil":
        k += Fraction(2) ** k < amax
    elif rule == "even":
        k = floor_log2(amax + Fraction(2) ** (k - mantissa_bits - 1))
    elif rule == "rceil":
        with np.errstate(under="ignore"):
            d = Fraction(float(np.float32(amax) * (np.float32(1) / np.float32(largest))))
        if d == 0:
            return -127
        k = floor_log2(d)
        k += Fraction(2) ** k < d
        return min(max(k, -127), 127)
    return min(max(k - EMAX[element], -127), 127)


def expected_code(x: Fraction, element: str, rounding: str) -> int:
    """Return the magnitude code of a magnitude, saturating."""
    values = magnitudes(element)
    if x >= values[-1]:
        return len(values) - 1
    low = max(i for i, value in enumerate(values) if value <= x)
    below, above = x - values[low], values[low + 1] - x
    if rounding == "toward_zero" or below == 0:
        return low
    if rounding == "away_from_zero":
        return low + 1
    if below != above:
        return low + (below > above)
    return {"ties_to_even": low + low % 2, "ties_to_away": low + 1, "ties_to_zero": low}[rounding]


def expected(block: npt.NDArray[np.float32], element: str, rule: str, rounding: str) -> tuple[int, list[int]]:
    """Return the scale's byte and the codes of a finite block."""
    exact = [Fraction(float(x)) for x in block]
    power = expected_power(max(abs(x) for x in exact), element, rule)
    codes = []
    for given, x in zip(block, exact, strict=True):
        code = expected_code(abs(x) / Fraction(2) ** power, element, rounding)
        if element == "int8":
            codes.append((-code if x < 0 else code) % 256)
        else:
            codes.append(code | (int(np.signbit(given)) << (BITS[element] - 1)))
    return power + 127, codes


def packed(codes: list[int], bits: int) -> bytes:
    whole = sum(code << (bits * i) for i, code in enumerate(codes))
    return whole.to_bytes(len(codes) * bits // 8, "little")


def blocks(seed: int = 0) -> npt.NDArray[np.float32]:
    """Return blocks of all kinds: random, ties, subnormal, huge, zero, equal, negative zeros."""
    rng = np.random.default_rng(seed)
    ties = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0] * 4, np.float32)
    rows = [
        *rng.normal(size=(4, 32)),
        *(rng.normal(size=(4, 32)) * np.exp2(rng.integers(-40, 40, (4, 32)))),
        ties,
        -ties,
        ties * 2.0**-130,
        ties * 2.0**120,
        np.zeros(32),
        np.full(32, -0.0),
        np.full(32, 3.3),
        np.r_[np.float32(1e-45), np.zeros(31)],
        np.r_[np.finfo(np.float32).max, ties[:31]],
        rng.integers(-256, 256, 32) / 64,
        rng.normal(size=32) * 1e-41,
        *([top] + [0.3] * 31 for top in (5, 6, 6.5, 7, 7.5, 7.75, 7.9, 8, 448, 464, 57344, 61440, 1.984375, 1.9921875)),
    ]
    return np.array(rows, np.float32)


@pytest.mark.parametrize("rounding", ["ties_to_even", "ties_to_away", "ties_to_zero", "toward_zero", "away_from_zero"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_codes_and_values(element: str, rounding: str) -> None:
    x = blocks()
    for rule in RULES if rounding == "ties_to_even" else ("floor",):
        scheme = mx(element, scale_rule=rule, rounding=rounding)
        quantized = lp.quantize(x, scheme)
        model = [expected(row, element, rule, rounding) for row in x]
        assert quantized.scales is not None
        assert quantized.scales[:, 0].tolist() == [byte for byte, _ in model]
        assert quantized.codes.tobytes() == b"".join(packed(codes, BITS[element]) for _, codes in model)
        values = magnitudes(element)
        for row, (byte, codes) in zip(quantized.dequantize(), model, strict=True):
            for got, code in zip(row, codes, strict=True):
                sign = 1 << (BITS[element] - 1)
                magnitude = values[code % sign] if element != "int8" or code < 128 else values[256 - code]
                value = magnitude * Fraction(2) ** (byte - 127)
                assert abs(float(got)) == (float(value) if value < 2**128 else math.inf)
                assert bool(np.signbit(got)) == bool(code & sign)
        assert quantized.bits_per_value == BITS[element] + 8 / 32


@pytest.mark.parametrize("element", ELEMENTS)
def test_gfloat(element: str) -> None:
    gfloat = pytest.importorskip("gfloat")
    formats = pytest.importorskip("gfloat.formats")
    kind = {"e4m3": "mxfp8_", "e5m2": "mxfp8_", "e3m2": "mxfp6_", "e2m3": "mxfp6_", "e2m1": "mxfp4_", "int8": "mx"}
    info = getattr(formats, f"format_info_{kind[element]}{element}")
    x = np.random.default_rng(1).normal(size=(60, 32)).astype(np.float32)
    x[30:] *= np.exp2(np.random.default_rng(2).integers(-30, 30, (30, 1))).astype(np.float32)
    x[40:50] = np.round(x[40:50] * 4) / 4
    x[59] = 0
    got = lp.fake_quantize(x, mx(element))
    for row, values in zip(x, got, strict=True):
        witness = gfloat.quantize_block(info, row.astype(np.float64), gfloat.compute_scale_amax)
        assert np.array_equal(values, witness)


@pytest.mark.parametrize("element", ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1"])
def test_ml_dtypes(element: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    names = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2", "e3m2": "float6_e3m2fn", "e2m3": "float6_e2m3fn"}
    dtype = getattr(ml_dtypes, names.get(element, "float4_e2m1fn"))
    top = np.float32(magnitudes(element)[-1])
    x = np.random.default_rng(3).normal(size=(500, 32)).astype(np.float32)
    scale = np.exp2(np.floor(np.log2(np.abs(x).max(axis=1, keepdims=True))) - EMAX[element]).astype(np.float32)
    # Its casts to FP8 do not saturate.
    witness = np.clip(x / scale, -top, top).astype(dtype)
    quantized = lp.quantize(x, mx(element))
    assert np.array_equal(quantized.dequantize(), witness.astype(np.float32) * scale)
    fmt = lp.quantization.blocks.MX_ELEMENTS[element]
    assert np.array_equal(quantized.codes, lp.pack(witness.view(np.uint8), fmt))


CASE_10 = {
    "e4m3": (121, [1, -3.25, 0.05078125, 7, -0.625, 2.5, 0, 5]),
    "e5m2": (114, [1, -3.5, 0.046875, 7, -0.625, 2.5, 0, 5]),
    "e3m2": (125, [1, -3.5, 0.046875, 7, -0.625, 2.5, 0, 5]),
    "e2m3": (127, [1, -3.25, 0, 7.5, -0.625, 2.5, 0, 5]),
    "e2m1": (127, [1, -3, 0, 6, -0.5, 2, 0, 4]),
    "int8": (129, [1, -3.3125, 0.0625, 7.875, -0.625, 2.5, 0, 5]),
}


@pytest.mark.parametrize("element", ELEMENTS)
def test_published_block(element: str) -> None:
    x = np.zeros(32)
    x[:8] = [1, -3.3, 0.05, 7.9, -0.6, 2.5, 0, 5]
    quantized = lp.quantize(x, mx(element))
    byte, values = CASE_10[element]
    assert quantized.scales is not None
    assert quantized.scales.tolist() == [[byte]]
    assert quantized.dequantize()[:8].tolist() == values
    assert not quantized.dequantize()[8:].any()


def test_ties() -> None:
    x = np.zeros(32)
    x[:8] = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 6]
    rows = {
        "ties_to_even": [0, 1, 1, 2, 2, 4, 4],
        "ties_to_zero": [0, 0.5, 1, 1.5, 2, 3, 4],
        "ties_to_away": [0.5, 1, 1.5, 2, 3, 4, 6],
    }
    for rounding, values in rows.items():
        assert lp.fake_quantize(x, mx("e2m1", rounding=rounding))[:7].tolist() == values


@pytest.mark.parametrize(
    ("amax", "scales"), [(5, [1, 2, 1, 1]), (6.5, [1, 2, 1, 2]), (7, [1, 2, 2, 2]), (7.9, [1, 2, 2, 2])]
)
def test_scale_rules(amax: float, scales: list[int]) -> None:
    for rule, scale in zip(RULES, scales, strict=True):
        quantized = lp.quantize([amax] + 31 * [0], mx("e2m1", rule))
        assert quantized.scales is not None
        assert 2.0 ** (int(quantized.scales[0, 0]) - 127) == scale


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(element: str, bad: float) -> None:
    x = np.ones((2, 64), np.float32)
    x[1, 40] = bad
    quantized = lp.quantize(x, mx(element))
    assert quantized.scales is not None
    assert quantized.scales[1, 1] == 255
    assert np.count_nonzero(quantized.scales == 255) == 1
    values = quantized.dequantize()
    assert np.isnan(values[1, 32:]).all()
    values[1, 32:] = 1
    assert (values == 1).all()
    assert quantized.error(np.ones((2, 64))).relative_rms != 0


def test_stochastic() -> None:
    x = np.full((64, 32), 1.25, np.float32)
    x[:, 0] = 6
    scheme = mx("e2m1", rounding="stochastic", seed=5)
    got = lp.fake_quantize(x, scheme)
    assert np.array_equal(got, lp.round(x, lp.float4_e2m1fn, "stochastic", seed=5))
    assert set(np.unique(got)) == {1.0, 1.5, 6.0}
    with pytest.raises(ValueError, match="seed"):
        mx("e2m1", rounding="stochastic")


@pytest.mark.parametrize("fmt", ["E2M2_finite", "E3M0_finite", "E5M10", "E3M3FN", "E2M0_finite", "E0M3_finite"])
@pytest.mark.parametrize("block", [1, 3, 16, 40])
def test_any_element_and_block(fmt: str, block: int) -> None:
    element = lp.format(fmt)
    x = np.random.default_rng(7).normal(size=(5, 240)).astype(np.float32)
    quantized = lp.quantize(x, block_float(fmt, block=block))
    values, scales = [], []
    for part in x.reshape(-1, block):
        k = math.frexp(float(np.abs(part).max()))[1] - 1 - element.emax
        scales.append(k + 127)
        values.append(lp.round(part.astype(np.float64) / 2.0**k, element, overflow="saturate") * 2.0**k)
    assert quantized.scales is not None
    assert quantized.scales.ravel().tolist() == scales
    assert np.array_equal(quantized.dequantize().reshape(-1, block), values)


@pytest.mark.parametrize(("rule", "mode"), [("floor", "toward_zero"), ("ceil", "toward_positive"), (None, 0)])
def test_other_scale_formats(rule: str | None, mode: Any) -> None:
    ue4m3 = lp.Format(4, 3, specials="fn", signed=False)
    x = np.random.default_rng(8).normal(size=(7, 64)).astype(np.float32)
    x[0] = 0
    x[1, 0] = 1e9
    scheme = block_float("e2m1", ue4m3, 16, rule)
    quantized = lp.quantize(x, scheme)
    amax = np.abs(x.reshape(-1, 16)).max(axis=1)
    rounding = lp.Rounding.TIES_TO_EVEN if mode == 0 else mode
    scales = np.maximum(lp.round(amax / np.float32(6), ue4m3, rounding, "saturate"), np.float32(2.0**-9))
    assert quantized.scales is not None
    assert np.array_equal(quantized.scales.ravel(), lp.encode(scales, ue4m3))
    factors = np.float32(1) / scales[:, None]
    values = lp.round(x.reshape(-1, 16) * factors, lp.float4_e2m1fn, overflow="saturate") * scales[:, None]
    assert np.array_equal(quantized.dequantize().reshape(-1, 16), values)


@pytest.mark.parametrize("bits", range(2, 17))
def test_bfp(bits: int) -> None:
    x = np.random.default_rng(bits).normal(size=(6, 48)).astype(np.float32)
    x[0, :16] = 0
    quantized = lp.quantize(x, lp.quantization.bfp(bits))
    for part, got in zip(x.reshape(-1, 16), quantized.dequantize().reshape(-1, 16), strict=True):
        amax = float(np.abs(part).max())
        step = Fraction(2) ** (math.frexp(amax)[1] - 1 - bits + 2) if amax else Fraction(1)
        largest = 2 ** (bits - 1) - 1
        integers = [max(-largest, min(largest, round(Fraction(float(v)) / step))) for v in part]
        assert got.tolist() == [float(i * step) for i in integers]


def test_names_of_elements() -> None:
    for element in ELEMENTS:
        assert block_float(element.upper()) == mx(element)
    assert block_float(lp.float8_e4m3).element == lp.float8_e4m3
    assert lp.quantization.get("mxfp4(scale_rule='even')") == mx("e2m1", "even")


def test_code_minus_128_reads_as_the_smallest_integer() -> None:
    quantized = lp.quantize([1.0] * 32, mx("int8"))
    quantized.codes[0, 0] = 128
    assert quantized.dequantize()[:2].tolist() == [-127 / 64, 1.0]


def test_threads_do_not_matter() -> None:
    x = np.random.default_rng(9).normal(size=(700, 1056)).astype(np.float32)
    before = numba.get_num_threads()
    try:
        results = []
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            for scheme in (mx("e2m1"), mx("e3m2", rounding="stochastic", seed=1), lp.quantization.bfp(5, 11)):
                quantized = lp.quantize(x, scheme)
                results.append((quantized.tobytes(), quantized.dequantize().tobytes()))
    finally:
        numba.set_num_threads(before)
    assert results[:3] == results[3:]


@pytest.mark.parametrize("shape", [(0,), (0, 32), (3, 0)])
def test_empty(shape: tuple[int, ...]) -> None:
    quantized = lp.quantize(np.empty(shape), mx("e2m3"))
    assert quantized.dequantize().shape == shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lp.quantize(np.ones(33), mx("e2m1")), "x has rows of 33 along axis; allowed: multiples of .* 32"),
        (lambda: mx("e2m2"), "element is 'e2m2'; allowed: 'e4m3'"),
        (lambda: mx("e2m1", "round"), "scale_rule is 'round'; allowed: 'floor', 'ceil', 'even', 'rceil'"),
        (lambda: mx("e2m1", block=0), "block is 0; allowed: 1 or more"),
        (lambda: block_float("float32"), "element is float32; allowed: signed formats of at most 16 bits"),
        (lambda: block_float("e4m3fn", "float32"), "scale_format is float32; allowed"),
        (lambda: lp.quantization.bfp(17), "mantissa_bits is 17; allowed: 2 to 16"),
        (
            lambda: lp.quantize([np.nan, 1], block_float("e2m1", "E4M3_finite", 2)),
            "x holds NaN or infinity, for which scale_format",
        ),
    ],
)
def test_bad_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
