"""All codes of small formats, and sweeps of 32-bit patterns, against the reference and other libraries."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from strategies import FIXED_MODES, OPERATIONS

import lpsim as lp
from lpsim import reference
from lpsim.formats import SPECIALS


def small_formats() -> Iterator[lp.Format]:
    """Every format of up to 8 bits with its default bias, and some with another."""
    for exponent_bits, mantissa_bits, specials, subnormals, signed in itertools.product(
        range(9), range(9), SPECIALS, (True, False), (True, False)
    ):
        if not 1 <= exponent_bits + mantissa_bits + signed <= 8:
            continue
        for bias in (None, 11):
            try:
                yield lp.Format(
                    exponent_bits,
                    mantissa_bits,
                    bias=bias,
                    specials=specials,
                    subnormals=subnormals,
                    signed=signed,
                )
            except ValueError:  # no positive number
                continue


SMALL_FORMATS = tuple(small_formats())


def bits_of(values: Any) -> np.ndarray:
    """Binary64 patterns with one NaN, to compare values to the bit."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        values = np.array(values, np.float64)
    values[np.isnan(values)] = np.nan
    return values.view(np.int64)


@pytest.mark.parametrize("exponent_bits", range(9))
def test_every_code_of_every_small_format(exponent_bits: int) -> None:
    formats = [fmt for fmt in SMALL_FORMATS if fmt.exponent_bits == exponent_bits]
    assert len(formats) > 10
    for fmt in formats:
        codes = np.arange(1 << fmt.bits, dtype=fmt.code_dtype)
        values = lp.decode(codes, fmt)
        np.testing.assert_array_equal(
            bits_of(values), bits_of([reference.decode(int(c), fmt) for c in codes]), str(fmt)
        )
        finite = values[~np.isnan(values)]
        canonical = [reference.encode(float(x), fmt) for x in finite]
        np.testing.assert_array_equal(lp.encode(finite, fmt), canonical, str(fmt))


@pytest.mark.parametrize("exponent_bits", range(9))
def test_rounding_between_all_codes_of_every_small_format(exponent_bits: int) -> None:
    for fmt in SMALL_FORMATS:
        if fmt.exponent_bits != exponent_bits:
            continue
        magnitudes = np.array([float(x) for x in lp.values(fmt) if x >= 0])
        ends = np.concatenate([[0.0], magnitudes, [fmt.max + fmt.max - magnitudes[-2:][0], 4 * fmt.max]])
        middles = (ends[1:] + ends[:-1]) / 2
        points = np.unique(np.concatenate([ends, middles, np.nextafter(middles, 0), np.nextafter(middles, np.inf)]))
        points = np.concatenate([points, -points])
        for mode in FIXED_MODES:
            expected = [reference.round(float(x), fmt, rounding=mode, flags=True) for x in points]
            values, flags = lp.round(points, fmt, mode, flags=True)
            np.testing.assert_array_equal(bits_of(values), bits_of([x for x, _ in expected]), f"{fmt} {mode!r}")
            np.testing.assert_array_equal(flags, [int(raised) for _, raised in expected], f"{fmt} {mode!r}")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fmt", [lp.float4_e2m1fn, lp.float6_e2m3fn, lp.float6_e3m2fn, lp.p3109(5, 2)], ids=str)
def test_all_pairs_of_tiny_formats(operation: str, fmt: lp.Format) -> None:
    values = lp.decode(np.arange(1 << fmt.bits, dtype=np.uint8), fmt)
    values = values if fmt.bits < 6 else values[::3]
    grids = [
        grid.ravel() for grid in np.meshgrid(*[values[: 17 if i == 2 else None] for i in range(OPERATIONS[operation])])
    ]
    exact = [getattr(reference, f"exact_{operation}")(*map(float, numbers)) for numbers in zip(*grids, strict=True)]
    for mode in FIXED_MODES:
        expected = [reference.round_exact(result, fmt, rounding=mode, flags=True) for result in exact]
        got, flags = getattr(lp, operation)(*grids, fmt, mode, flags=True)
        np.testing.assert_array_equal(bits_of(got), bits_of([x for x, _ in expected]), repr(mode))
        np.testing.assert_array_equal(flags, [int(raised) for _, raised in expected], repr(mode))


ML_DTYPES = [
    f for f in lp.formats.NAMED_FORMATS.values() if hasattr(ml_dtypes, str(f)) and f != lp.float8_e8m0fnu
]  # fmt: skip


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("fmt", [f for f in ML_DTYPES if f.bits <= 8], ids=str)
def test_all_pairs_of_ml_dtypes(operation: str, fmt: lp.Format) -> None:
    """ml_dtypes computes in binary32, whose 24 bits are enough for one rounding of these results."""
    codes = np.arange(1 << fmt.bits, dtype=np.uint8)
    values = lp.decode(codes, fmt)
    dtype = getattr(ml_dtypes, str(fmt))
    x, y = np.meshgrid(values, values)
    with np.errstate(all="ignore"):
        ufunc = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[operation]
        peer = ufunc(x.astype(np.float32), y.astype(np.float32)).astype(dtype).astype(np.float32)
    if not fmt.has_nan:
        # ml_dtypes turns NaN into a number where there is no NaN.
        peer = np.where(np.isnan(getattr(lp, operation)(x, y, lp.float32)), np.nan, peer)
    np.testing.assert_array_equal(bits_of(getattr(lp, operation)(x, y, fmt)), bits_of(peer))


def patterns(start: int, count: int, step: int) -> np.ndarray:
    return np.arange(start, start + count * step, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def test_float16_equals_numpy_on_a_sweep_of_float32() -> None:
    step, chunk = 97, 1 << 22
    total = -(-(1 << 32) // step)
    for first in range(0, total, chunk):
        x = patterns(first * step, min(chunk, total - first), step)
        with np.errstate(all="ignore"):
            peer = x.astype(np.float16)
        nan = np.isnan(x)
        codes = lp.encode(x, lp.float16)
        np.testing.assert_array_equal(codes[~nan], peer.view(np.uint16)[~nan])
        assert (codes[nan] == lp.float16.nan_code).all()
        rounded = lp.round(x, lp.float16)
        np.testing.assert_array_equal(rounded[~nan].view(np.uint32), peer[~nan].astype(np.float32).view(np.uint32))
        assert np.isnan(rounded[nan]).all()


@pytest.mark.parametrize("fmt", ML_DTYPES, ids=str)
def test_equals_ml_dtypes_on_float16_and_random_float32(fmt: lp.Format) -> None:
    dtype = getattr(ml_dtypes, str(fmt))
    half = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(np.float16)
    random = np.random.default_rng(97).integers(0, 1 << 32, 2_000_000, dtype=np.uint32).view(np.float32)
    for x in (half[np.isfinite(half)], random):
        with np.errstate(all="ignore"):
            peer = x.astype(np.float32).astype(dtype)
        keep = ~np.isnan(x) if fmt.has_nan else np.isfinite(x)
        np.testing.assert_array_equal(bits_of(lp.round(x, fmt)[keep]), bits_of(peer[keep].astype(np.float32)))
        real = keep & ~np.isnan(lp.round(x, fmt))
        np.testing.assert_array_equal(lp.encode(x[real], fmt), peer[real].view(f"u{dtype(0).itemsize}"))


@pytest.mark.parametrize("fmt", [lp.float16, lp.bfloat16], ids=str)
def test_every_code_of_16_bits(fmt: lp.Format) -> None:
    codes = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    values = lp.decode(codes, fmt)
    dtype = np.float16 if fmt == lp.float16 else ml_dtypes.bfloat16
    with np.errstate(invalid="ignore"):
        peer = codes.view(dtype).astype(np.float32)
    np.testing.assert_array_equal(bits_of(values), bits_of(peer))
    number = ~np.isnan(values)
    np.testing.assert_array_equal(lp.encode(values[number], fmt), codes[number])
    np.testing.assert_array_equal(bits_of(lp.round(values, fmt)), bits_of(values))


@pytest.mark.parametrize("fmt", [lp.float16, lp.bfloat16], ids=str)
@pytest.mark.parametrize("mode", FIXED_MODES, ids=lambda mode: mode.name.lower())
def test_between_all_codes_of_16_bits(fmt: lp.Format, mode: lp.Rounding) -> None:
    """Quarter points between neighbours, by the neighbours' positions alone."""
    magnitudes = np.append(lp.values(fmt)[lp.values(fmt) >= 0], np.inf).astype(np.float64)
    low, high = magnitudes[:-2], magnitudes[1:-1]
    odd = np.arange(low.size) % 2 == 1
    for quarter, sign in itertools.product((1, 2, 3), (1, -1)):
        x = low + (high - low) * (quarter / 4)
        up = {
            "TIES_TO_EVEN": odd if quarter == 2 else quarter > 2,
            "TIES_TO_AWAY": quarter >= 2,
            "TIES_TO_ZERO": quarter > 2,
            "TOWARD_ZERO": False,
            "TOWARD_POSITIVE": sign > 0,
            "TOWARD_NEGATIVE": sign < 0,
            "AWAY_FROM_ZERO": True,
            "TO_ODD": ~odd,
        }[mode.name]
        expected = np.where(up, high, low) * sign
        np.testing.assert_array_equal(bits_of(lp.round(x * sign, fmt, mode)), bits_of(expected))
