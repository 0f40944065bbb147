"""The short ways to round to nearest against the one rounding function, on every binade of binary32."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp
from lpsim.core.nearest import nearest_by_addition, nearest_by_bits, round_nearest
from lpsim.parameters import nearest_parameters


@numba.njit
def _round_all(x, f):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = nearest_by_bits(x[i], f.shift) if f.by_bits else nearest_by_addition(x[i], f)
    return out


FORMATS = ["half", "bf16", "tf32", "e4m3fn", "e5m2", "e2m1fn", "E8M22", "E5M21", "E6M9", "E1M6", "E7M20", "e3m2fn"]


@pytest.mark.parametrize("name", FORMATS)
def test_same_as_the_rounding_function(name: str) -> None:
    fmt = lp.format(name)
    f = nearest_parameters(fmt)
    assert f is not None
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)
    # Ties and their neighbours in half of the cases.
    bits[::2] = (bits[::2] >> f.shift << f.shift) | (1 << (f.shift - 1))
    bits[::4] += rng.integers(-1, 2, bits[::4].size).astype(np.uint32)
    x = bits.view(np.float32)
    # Near the format's own subnormal numbers, too.
    small = (rng.integers(-64, 65, 5000) / 8 * fmt.smallest_subnormal).astype(np.float32)
    x = np.concatenate([x[np.isfinite(x)], small, np.nextafter(small, np.float32(1)), [0.0]]).astype(np.float32)
    expected = lp.round(x, fmt, flags=True)[0]  # with flags, there is no shorter way
    got = _round_all(x, f)
    if not f.by_bits:
        # Zeros and what is beyond the range are the caller's.
        x, expected, got = (array[np.abs(x) < 2.0 ** (103 + fmt.precision)] for array in (x, expected, got))
        got = np.where(np.abs(got) > f.max, np.copysign(np.float32(f.overflow), x), np.copysign(got, x))
    assert_same(got, expected, x.tolist())


@pytest.mark.parametrize("name", ["E5M10_nosubnormals", "e5m2fnuz", "E8M0", "E9M3", "E3M0_unsigned", "double", "E8M23"])
def test_formats_without_a_short_way(name: str) -> None:
    assert nearest_parameters(lp.format(name)) is None


@numba.njit
def _round_nearest_all(x, f):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = round_nearest(x[i], f)
    return out


@pytest.mark.parametrize("name", [*FORMATS, "e3m4", "e2m3fn"])
def test_any_number(name: str) -> None:
    fmt = lp.format(name)
    f = nearest_parameters(fmt)
    assert f is not None
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)
    # Ties and their neighbours; NaNs of any payload; the ends of the range.
    bits[::2] = (bits[::2] >> f.shift << f.shift) | (1 << (f.shift - 1))
    bits[::4] += rng.integers(-1, 2, bits[::4].size).astype(np.uint32)
    bits[:8] = [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFF800001]
    half_step = np.float32(2.0 ** (fmt.emax - fmt.mantissa_bits - 1))
    with np.errstate(over="ignore"):
        ends = (np.float32(fmt.max) + half_step * np.arange(-4, 5)).astype(np.float32)
    x = np.concatenate([bits.view(np.float32), ends, -ends, np.nextafter(ends, np.float32(0)), np.float32([3.4e38])])
    expected = lp.round(x, fmt, flags=True)[0]  # with flags, there is no shorter way
    np.testing.assert_array_equal(_round_nearest_all(x, f).view(np.uint32), expected.view(np.uint32))
    np.testing.assert_array_equal(lp.round(x, fmt).view(np.uint32), expected.view(np.uint32))
