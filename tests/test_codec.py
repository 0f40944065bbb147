"""Packed codes, against bit strings and ml_dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import formats

import lpsim as lp


@given(st.data())
def test_pack_is_a_bit_string(data: st.DataObject) -> None:
    fmt = data.draw(formats())
    codes = data.draw(st.lists(st.integers(0, (1 << fmt.bits) - 1), max_size=20))
    packed = lp.pack(np.array(codes, fmt.code_dtype), fmt)
    expected = sum(code << (i * fmt.bits) for i, code in enumerate(codes))
    assert int.from_bytes(packed.tobytes(), "little") == expected
    assert packed.size == -(-len(codes) * fmt.bits // 8)
    unpacked = lp.unpack(packed, fmt, count=len(codes))
    assert unpacked.tolist() == codes
    assert unpacked.dtype == fmt.code_dtype


def test_pack_works_along_the_last_axis() -> None:
    codes = np.random.default_rng(0).integers(0, 64, (3, 5, 8))
    packed = lp.pack(codes, "e3m2fn")
    assert packed.shape == (3, 5, 6)
    np.testing.assert_array_equal(packed[1, 2], lp.pack(codes[1, 2], "e3m2fn"))
    np.testing.assert_array_equal(lp.unpack(packed, "e3m2fn"), codes)
    assert lp.pack(np.empty((2, 0), np.uint8), "e3m2fn").shape == (2, 0)


def test_whole_bytes_are_little_endian() -> None:
    codes = lp.encode([1.0, -2.5], "half")
    np.testing.assert_array_equal(lp.pack(codes, "half"), codes.astype("<u2").view(np.uint8))


BAD = {
    "range": (lambda: lp.pack([16], "e2m1fn"), ValueError, "codes holds 16; allowed: 0 to 15"),
    "0-d": (lambda: lp.pack(1, "e2m1fn"), ValueError, "codes is 0-d"),
    "dtype": (lambda: lp.unpack([1, 2], "e2m1fn"), TypeError, "packed has dtype int64"),
    "packed 0-d": (lambda: lp.unpack(np.uint8(1), "e2m1fn"), ValueError, "packed is 0-d"),
    "count": (lambda: lp.unpack(np.zeros(3, np.uint8), "e2m1fn", 4), ValueError, "count is 4; allowed .*: 5 to 6"),
    "count type": (lambda: lp.unpack(np.zeros(3, np.uint8), "e2m1fn", 5.0), TypeError, "count is 5.0"),
    "rest": (lambda: lp.unpack(np.full(3, 255, np.uint8), "e2m1fn", 5), ValueError, "bits set beyond the last of 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    call: Any
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("fmt", "code", "value"),
    [
        ("half", 0xCECA, -27.15625),
        ("bf16", 0xC1D9, -27.125),
        ("e4m3fn", 0xDE, -28.0),
        ("e5m2", 0xCF, -28.0),
        ("e3m2fn", 0x3F, -28.0),
        ("e2m3fn", 0x3F, -7.5),
        ("e2m1fn", 0x0F, -6.0),
    ],
)
def test_one_number_in_the_formats_of_deep_learning(fmt: str, code: int, value: float) -> None:
    """Codes and values that ml_dtypes gives; FP6 and FP4 saturate."""
    assert lp.encode(-27.15625, fmt) == code
    assert lp.round(-27.15625, fmt) == lp.decode(code, fmt) == value
