"""The rules of the reference: overflow, zeros, infinities, NaNs, flags and arguments."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
from comparing import DIVIDE_BY_ZERO, INEXACT, INVALID, NONE, OVERFLOW, UNDERFLOW, both, same

from lpsim import formats as lpf
from lpsim import reference
from lpsim.formats import Format
from lpsim.p3109 import p3109
from lpsim.rounding import Flag, Rounding

INF, NAN = math.inf, math.nan


# Overflow. The kinds of format that differ: with infinity; with NaN only; with neither.

E5M2, E4M3FN, E2M1, UNSIGNED = (
    lpf.float8_e5m2,
    lpf.float8_e4m3fn,
    lpf.float4_e2m1fn,
    p3109(8, 4, signed=False),
)
E8M0 = lpf.float8_e8m0fnu
TO_INFINITY = (
    "ties_to_even",
    "ties_to_away",
    "ties_to_zero",
    "away_from_zero",
    "stochastic",
    "stochastic_equal",
)


@pytest.mark.parametrize("fmt", [E5M2, E4M3FN, E2M1], ids=str)
def test_finite_overflow_by_policy(fmt: Format) -> None:
    infinity = INF if fmt.has_infinity else NAN if fmt.has_nan else fmt.max
    expected = {
        **dict.fromkeys(TO_INFINITY, (infinity, -infinity)),
        **dict.fromkeys(("toward_zero", "to_odd"), (fmt.max, -fmt.max)),
        "toward_positive": (infinity, -fmt.max),
        "toward_negative": (fmt.max, -infinity),
    }
    assert len(expected) == len(Rounding)
    for rounding, (positive, negative) in expected.items():
        for x, value in ((1e9, positive), (-1e9, negative)):
            result = both("round", x, fmt, rounding=rounding)
            assert same(result[0], value)
            assert result[1] == OVERFLOW
            for overflow in ("saturate", "saturate_finite"):
                assert both("round", x, fmt, rounding=rounding, overflow=overflow) == (
                    math.copysign(fmt.max, x),
                    OVERFLOW,
                )
            if fmt.has_nan:
                result = both("round", x, fmt, rounding=rounding, overflow="to_nan")
                assert math.isnan(result[0])
                assert result[1] == OVERFLOW


@pytest.mark.parametrize(
    ("fmt", "overflow", "value", "flags"),
    [
        (E5M2, "ieee", INF, NONE),
        (E5M2, "saturate", 57344.0, OVERFLOW),
        (E5M2, "saturate_finite", INF, NONE),
        (E5M2, "to_nan", INF, NONE),
        (E4M3FN, "ieee", NAN, OVERFLOW),
        (E4M3FN, "saturate", 448.0, OVERFLOW),
        (E4M3FN, "saturate_finite", NAN, OVERFLOW),
        (E4M3FN, "to_nan", NAN, OVERFLOW),
        (E2M1, "ieee", 6.0, OVERFLOW),
        (E2M1, "saturate", 6.0, OVERFLOW),
        (E2M1, "saturate_finite", 6.0, OVERFLOW),
        (E8M0, "ieee", NAN, OVERFLOW),
        (E8M0, "saturate", 2.0**127, OVERFLOW),
    ],
    ids=str,
)
def test_infinity_by_policy(fmt: Format, overflow: str, value: float, flags: Flag) -> None:
    for rounding in Rounding:
        for sign in (1, -1) if fmt.signed else (1,):
            result = both("round", sign * INF, fmt, rounding=rounding, overflow=overflow)
            assert same(result[0], sign * value)
            assert result[1] == flags
            result = both("div", sign, 0.0, fmt, rounding=rounding, overflow=overflow)
            assert same(result[0], sign * value)
            assert result[1] == flags | DIVIDE_BY_ZERO


def test_overflow_begins_half_an_ulp_beyond_the_largest_value() -> None:
    for x, value in ((464, 448.0), (Fraction(464 * 2**200 + 1, 2**200), NAN), (464.5, NAN), (463.9, 448.0)):
        assert same(reference.round(x, E4M3FN), value)  # type: ignore[arg-type]
    # E4M3FN would continue with 480, whose code is odd; 464 is a tie and 448 is even.
    assert same(both("round", 464, E4M3FN, rounding="ties_to_away")[0], NAN)
    # float16 ends with an odd code: the tie at 65520 goes up, out of range.
    assert reference.round(65520, "float16") == INF
    assert reference.round(65520, "float16", rounding="ties_to_zero") == 65504.0


def test_to_nan_needs_a_nan() -> None:
    with pytest.raises(ValueError, match=r"^overflow is 'to_nan', but float4_e2m1fn has no NaN"):
        reference.round(1.0, E2M1, overflow="to_nan")


# Zeros, negative numbers and formats that lack them.


@pytest.mark.parametrize(
    ("operation", "args", "value", "toward_negative"),
    [
        ("add", (1.0, -1.0), 0.0, -0.0),
        ("add", (0.0, -0.0), 0.0, -0.0),
        ("add", (-0.0, -0.0), -0.0, -0.0),
        ("add", (0.0, 0.0), 0.0, 0.0),
        ("sub", (1.0, 1.0), 0.0, -0.0),
        ("sub", (-0.0, 0.0), -0.0, -0.0),
        ("sub", (0.0, -0.0), 0.0, 0.0),
        ("sub", (-0.0, -0.0), 0.0, -0.0),
        ("mul", (-0.0, 3.0), -0.0, -0.0),
        ("mul", (-0.0, -3.0), 0.0, 0.0),
        ("div", (0.0, -3.0), -0.0, -0.0),
        ("div", (3.0, -INF), -0.0, -0.0),
        ("sqrt", (-0.0,), -0.0, -0.0),
        ("round", (-0.0,), -0.0, -0.0),
        ("fma", (2.0, 3.0, -6.0), 0.0, -0.0),
        ("fma", (-0.0, 3.0, 0.0), 0.0, -0.0),
        ("fma", (-0.0, 3.0, -0.0), -0.0, -0.0),
        ("fma", (1e-300, -1e-300, 0.0), -0.0, -(2.0**-24)),
        ("mul", (-1e-300, 1e-300), -0.0, -(2.0**-24)),
    ],
    ids=str,
)
def test_sign_of_zero(operation: str, args: tuple[float, ...], value: float, toward_negative: float) -> None:
    for rounding in Rounding:
        if rounding in (Rounding.TO_ODD, Rounding.AWAY_FROM_ZERO) and toward_negative:
            continue
        expected = toward_negative if rounding == Rounding.TOWARD_NEGATIVE else value
        assert same(both(operation, *args, "float16", rounding=rounding)[0], expected)
        if not expected:
            for without in ("E4M3FNUZ", "binary8p3se"):
                if rounding != Rounding.TOWARD_NEGATIVE:
                    assert same(both(operation, *args, without, rounding=rounding)[0], 0.0)


@pytest.mark.parametrize(
    ("x", "fmt", "overflow", "value", "flags"),
    [
        (-1.0, UNSIGNED, "ieee", NAN, INVALID),
        (-1e-300, UNSIGNED, "ieee", NAN, INVALID),
        (-INF, UNSIGNED, "to_nan", NAN, INVALID),
        (-INF, UNSIGNED, "saturate", 0.0, INVALID),
        (-1e300, UNSIGNED, "saturate_finite", 0.0, INVALID),
        (-0.0, UNSIGNED, "ieee", 0.0, NONE),
        (-1.0, "E4M3_finite_unsigned", "ieee", 0.0, INVALID),
        (-1.0, E8M0, "ieee", NAN, INVALID),
        (-1.0, E8M0, "saturate", 2.0**-127, INVALID),
        (0.0, E8M0, "ieee", NAN, INVALID),
        (-0.0, E8M0, "to_nan", NAN, INVALID),
        (0.0, E8M0, "saturate", 2.0**-127, INEXACT),
        (-0.0, E8M0, "saturate_finite", 2.0**-127, INEXACT),
        (0.0, "E4M0_finite_nosubnormals", "ieee", 2.0**-7, INEXACT),
        (1e-300, E8M0, "ieee", 2.0**-127, UNDERFLOW),
        (-1e-300, "E4M0FN_nosubnormals", "ieee", -(2.0**-7), UNDERFLOW),
    ],
    ids=str,
)
def test_numbers_that_a_format_cannot_hold(x: float, fmt: Any, overflow: str, value: float, flags: Flag) -> None:
    for rounding in Rounding:
        result = both("round", x, fmt, rounding=rounding, overflow=overflow)
        assert same(result[0], value)
        assert result[1] == flags


def test_division_of_a_negative_number_by_zero_in_an_unsigned_format_is_only_invalid() -> None:
    value, flags = both("div", -1.0, 0.0, UNSIGNED)
    assert math.isnan(value)
    assert flags == INVALID


# Flags.


@pytest.mark.parametrize(
    ("operation", "args", "flags"),
    [
        ("add", (INF, -INF), INVALID),
        ("sub", (INF, INF), INVALID),
        ("mul", (0.0, INF), INVALID),
        ("mul", (-INF, -0.0), INVALID),
        ("div", (0.0, -0.0), INVALID),
        ("div", (INF, -INF), INVALID),
        ("sqrt", (-1e-300,), INVALID),
        ("sqrt", (-INF,), INVALID),
        ("fma", (0.0, INF, 1.0), INVALID),
        ("fma", (0.0, INF, INF), INVALID),
        ("fma", (INF, 1.0, -INF), INVALID),
        ("fma", (0.0, INF, NAN), INVALID),
        ("fma", (INF, NAN, -INF), NONE),
        ("add", (NAN, 1.0), NONE),
        ("sub", (INF, NAN), NONE),
        ("mul", (NAN, 0.0), NONE),
        ("div", (NAN, 0.0), NONE),
        ("sqrt", (NAN,), NONE),
        ("round", (NAN,), NONE),
    ],
    ids=str,
)
def test_results_that_are_nan(operation: str, args: tuple[float, ...], flags: Flag) -> None:
    # A NaN stays one as a value, also in formats that have none, whatever the overflow policy.
    for fmt, overflow in itertools.product(("float16", "E4M3FN", "E2M1FN", "E8M0"), ("ieee", "saturate")):
        value, raised = both(operation, *args, fmt, overflow=overflow)
        assert math.isnan(value)
        assert raised == flags


@pytest.mark.parametrize(
    ("operation", "args", "value", "flags"),
    [
        ("add", (INF, 1.0), INF, NONE),
        ("sub", (1.0, INF), -INF, NONE),
        ("add", (-INF, -INF), -INF, NONE),
        ("mul", (-2.0, INF), -INF, NONE),
        ("div", (INF, -0.0), -INF, NONE),
        ("div", (1.0, -0.0), -INF, DIVIDE_BY_ZERO),
        ("sqrt", (INF,), INF, NONE),
        ("fma", (1e300, 1e300, -INF), -INF, NONE),
        ("fma", (INF, 2.0, 1.0), INF, NONE),
        ("mul", (1e300, 1e300), INF, OVERFLOW),
        ("add", (1.0, 1.0), 2.0, NONE),
        ("div", (1.0, 3.0), 0.333251953125, INEXACT),
        ("sqrt", (2.0,), 1.4140625, INEXACT),
        ("mul", (2.0**-12, 2.0**-12), 2.0**-24, NONE),  # tiny but exact
        ("mul", (2.0**-12, 2.0**-13), 0.0, UNDERFLOW),
        ("round", (2.0**-14 - 2.0**-26,), 2.0**-14, INEXACT),  # not tiny after rounding
        ("round", (2.0**-14 - 2.0**-25,), 2.0**-14, UNDERFLOW),
        ("round", (2.0**-14 + 2.0**-26,), 2.0**-14, INEXACT),
        ("round", (2**5000,), INF, OVERFLOW),
        ("round", (Fraction(1, 3**5000),), 0.0, UNDERFLOW),
    ],
    ids=str,
)
def test_values_and_flags(operation: str, args: tuple[Any, ...], value: float, flags: Flag) -> None:
    result = both(operation, *args, "float16")
    assert same(result[0], value)
    assert result[1] == flags


# Arguments.


def test_operands_are_taken_exactly() -> None:
    assert reference.sub(2**200 + 1, 2**200, "float16") == 1.0
    assert reference.add(10**400, -(10**400) + 3, "float16") == 3.0
    assert reference.round(Fraction(1, 3), "float64") == 1 / 3


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"bits": 2**32}, ValueError, "^bits is 4294967296; allowed: 0 to "),
        ({"bits": -1}, ValueError, "^bits is -1; allowed: "),
        ({"random_bits": 0}, ValueError, "^random_bits is 0; allowed: 1 to 62"),
        ({"random_bits": 63}, ValueError, "^random_bits is 63; allowed: 1 to 62"),
        ({"rounding": "nearest"}, ValueError, "^rounding is 'nearest'; allowed: "),
        ({"overflow": 1}, TypeError, "^overflow is 1; allowed: "),
        ({"x": "1.0"}, TypeError, "^x is '1.0'; allowed: "),
        ({"fmt": "E5M99"}, ValueError, "^mantissa_bits is 99; allowed: "),
    ],
    ids=str,
)
def test_wrong_arguments(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        reference.round(**{"x": 1.0, "fmt": "float16", **kwargs})


def test_codes_out_of_range_and_nan_without_code() -> None:
    for code in (-1, 256):
        with pytest.raises(ValueError, match=rf"^code is {code}; allowed: 0 to 255 for float8_e5m2"):
            reference.decode(code, E5M2)
    with pytest.raises(ValueError, match=r"^x is nan, which gives a NaN, but float4_e2m1fn has none"):
        reference.encode(NAN, E2M1)
