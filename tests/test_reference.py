"""The reference against the definition, by enumeration of the values of small formats, and its rules."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED_MODES, OPERATIONS, SAMPLE_FORMATS, continued_magnitude, formats, operands, reals

from lpsim import formats as lpf
from lpsim import reference
from lpsim.formats import Format, p3109
from lpsim.rounding import Flag, Overflow, Rounding

NONE, INVALID, DIVIDE_BY_ZERO = Flag(0), Flag.INVALID, Flag.DIVIDE_BY_ZERO
UNDERFLOW, INEXACT = Flag.UNDERFLOW | Flag.INEXACT, Flag.INEXACT
OVERFLOW = Flag.OVERFLOW | Flag.INEXACT
INF, NAN = math.inf, math.nan


def same(x: float, y: float) -> bool:
    """Whether two floats are the same value: zeros by sign, and all NaNs are one."""
    return (x != x and y != y) or (x == y and math.copysign(1, x) == math.copysign(1, y))


def both(operation: str, *args: Any, **kwargs: Any) -> tuple[float, Flag]:
    value, flags = getattr(reference, operation)(*args, flags=True, **kwargs)
    assert type(value) is float
    assert type(flags) is Flag
    return value, flags


# Rounding is by definition a choice between two neighbours in a table.


@functools.lru_cache(maxsize=512)
def table(fmt: Format) -> tuple[list[Fraction], list[int]]:
    """The magnitudes of the format and the next beyond them, ascending, and the parity of each."""
    codes = [c for c in range(fmt.max_code + 2) if fmt.subnormals or c >= 1 << fmt.mantissa_bits or c == 0]
    magnitudes = [continued_magnitude(fmt, c) for c in codes]
    # Without subnormals zero and its neighbour both have even codes; zero is the one that counts as even,
    # which a choice by the parity of the lower neighbour brings about.
    return magnitudes, [c & 1 for c in codes]


def by_definition(x: Fraction, fmt: Format, rounding: Rounding, random_bits: int, bits: int) -> Fraction | None:
    """Round a nonzero number, by looking it up; None is an overflow."""
    magnitudes, parities = table(fmt)
    sign, size = (-1 if x < 0 else 1), abs(x)
    if size >= magnitudes[-1]:
        return None
    if size < magnitudes[0]:
        return sign * magnitudes[0]
    low = bisect.bisect_right(magnitudes, size) - 1
    below, above = magnitudes[low], magnitudes[low + 1]
    if size == below:
        return sign * below
    toward = {
        Rounding.TOWARD_ZERO: False,
        Rounding.AWAY_FROM_ZERO: True,
        Rounding.TOWARD_POSITIVE: x > 0,
        Rounding.TOWARD_NEGATIVE: x < 0,
        Rounding.TO_ODD: parities[low] == 0,
        Rounding.STOCHASTIC: math.floor((size - below) / (above - below) * 2**random_bits) + bits >= 2**random_bits,
        Rounding.STOCHASTIC_EQUAL: bits >= 2 ** (random_bits - 1),
    }
    if rounding in toward:
        up = toward[rounding]
    elif size - below != above - size:
        up = size - below > above - size
    else:
        up = {Rounding.TIES_TO_AWAY: True, Rounding.TIES_TO_ZERO: False}.get(rounding, parities[low] == 1)
    chosen = low + up
    return None if chosen == len(magnitudes) - 1 else sign * magnitudes[chosen]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_round_is_the_table_look_up(data: st.DataObject) -> None:
    fmt = data.draw(formats(max_bits=9))
    random_bits = data.draw(st.sampled_from((1, 3, 6, 32, 62)))
    for x in data.draw(st.lists(reals(fmt).filter(bool), min_size=3, max_size=3)):
        bits = data.draw(st.integers(0, 2**random_bits - 1))
        for rounding in Rounding:
            value, flags = both("round", x, fmt, rounding=rounding, random_bits=random_bits, bits=bits)
            if x < 0 and not fmt.signed:
                assert flags == INVALID
                assert same(value, NAN if fmt.has_nan else fmt.min)
                continue
            tiny = abs(x) < Fraction(2) ** fmt.emin
            expected = by_definition(x, fmt, rounding, random_bits, bits)
            if expected is None:
                assert flags == OVERFLOW | (Flag.UNDERFLOW if tiny else NONE)
                continue
            sign = -1.0 if x < 0 and (expected or fmt.has_negative_zero) else 1.0
            assert same(value, math.copysign(float(expected), sign))
            inexact = value != x
            assert flags == ((UNDERFLOW if tiny else INEXACT) if inexact else NONE)


def sign_and_square(operation: str, args: tuple[float, ...]) -> tuple[bool, Fraction]:
    """The exact result of the operation on finite operands as its sign and its square."""
    x, y, z = ([Fraction(arg) for arg in args] + [Fraction(1)] * 2)[:3]
    if operation == "sqrt":
        return False, x
    exact = {
        "add": lambda: x + y,
        "sub": lambda: x - y,
        "mul": lambda: x * y,
        "div": lambda: x / y,
        "fma": lambda: x * y + z,
    }[operation]()
    return exact < 0, exact * exact


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_operations_round_their_exact_result(data: st.DataObject) -> None:
    fmt = data.draw(formats())
    operation = data.draw(st.sampled_from(list(OPERATIONS)))
    args = data.draw(operands(operation, fmt).filter(lambda args: all(map(math.isfinite, args))))
    if (operation == "sqrt" and args[0] < 0) or (operation == "div" and args[1] == 0):
        return
    negative, square = sign_and_square(operation, args)
    exact = getattr(reference, f"exact_{operation}")(*args)
    assert exact.kind == "finite"
    # The interval that an Exact stands for holds the result, and is narrower than any format can tell.
    low, high = ((exact.significand + i) * Fraction(2) ** exact.exponent for i in (0, 1))
    if exact.sticky:
        assert low * low < square < high * high
        assert high - low == Fraction(1, 2 ** (1074 + 64))
    else:
        assert low * low == square
    assert exact.negative == negative or square == 0
    for rounding in Rounding:
        once = reference.round_exact(exact, fmt, rounding=rounding, bits=1 << 31, flags=True)
        again = both(operation, *args, fmt, rounding=rounding, bits=1 << 31)
        assert same(once[0], again[0])  # type: ignore[index]
        assert once[1] == again[1]  # type: ignore[index]


@pytest.mark.parametrize("fmt", SAMPLE_FORMATS, ids=str)
def test_values_are_fixed_points_and_codes_survive(fmt: Format) -> None:
    codes = range(1 << fmt.bits) if fmt.bits <= 8 else range(0, 1 << fmt.bits, ((1 << fmt.bits) - 1) // 997)
    for code in codes:
        value = reference.decode(code, fmt)
        for overflow in (Overflow.IEEE, Overflow.SATURATE_FINITE):
            for rounding in Rounding:
                result = both("round", value, fmt, rounding=rounding, overflow=overflow, bits=2**32 - 1)
                assert same(result[0], value)
                assert result[1] == NONE
        if math.isnan(value):
            assert reference.encode(value, fmt) == fmt.nan_code
        elif fmt.subnormals or not fmt.has_zero or code & fmt.magnitude_mask >= 1 << fmt.mantissa_bits:
            assert reference.encode(value, fmt) == code
        else:  # without subnormals these codes all stand for zero
            assert same(value, -0.0 if code & fmt.sign_mask and fmt.has_negative_zero else 0.0)
            assert reference.encode(value, fmt) == (code & fmt.sign_mask if fmt.has_negative_zero else 0)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rounding_is_monotone(data: st.DataObject) -> None:
    fmt = data.draw(formats().filter(lambda fmt: fmt.signed))
    xs = sorted(data.draw(st.lists(reals(fmt).filter(bool), min_size=2, max_size=8)))
    for rounding in FIXED_MODES:
        rounded = [both("round", x, fmt, rounding=rounding, overflow="saturate")[0] for x in xs]
        assert rounded == sorted(rounded)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_modes_mirror_each_other_in_sign(data: st.DataObject) -> None:
    fmt = data.draw(formats().filter(lambda fmt: fmt.signed))
    x = data.draw(reals(fmt).filter(bool))
    mirror = {
        Rounding.TOWARD_POSITIVE: Rounding.TOWARD_NEGATIVE,
        Rounding.TOWARD_NEGATIVE: Rounding.TOWARD_POSITIVE,
    }
    for rounding in Rounding:
        value, flags = both("round", x, fmt, rounding=rounding, bits=12345)
        opposite = both("round", -x, fmt, rounding=mirror.get(rounding, rounding), bits=12345)
        assert same(opposite[0], -value if value or fmt.has_negative_zero else value)
        assert opposite[1] == flags
    up, down = (both("round", x, fmt, rounding=m, overflow="saturate")[0] for m in mirror)
    zero, away = (
        both("round", x, fmt, rounding=m, overflow="saturate")[0] for m in ("toward_zero", "away_from_zero")
    )
    assert (zero, away) == ((down, up) if x > 0 else (up, down))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_to_odd_makes_double_rounding_harmless(data: st.DataObject) -> None:
    """Boldo and Melquiond, doi:10.1109/TC.2007.70819: two more bits, rounded to odd, lose nothing."""
    narrow = data.draw(formats(max_mantissa_bits=48, max_exponent_bits=9).filter(lambda f: f.subnormals and f.signed))
    # Same emin and a wider range above, so that only precision is at stake.
    extra = data.draw(st.integers(2, 52 - narrow.mantissa_bits))
    bias = narrow.bias
    try:
        wide = Format(narrow.exponent_bits + 1, narrow.mantissa_bits + extra, bias=bias)
    except ValueError:
        return
    x = data.draw(reals(narrow).filter(bool))
    once = both("round", x, wide, rounding="to_odd")[0]
    for rounding in FIXED_MODES:
        direct = both("round", x, narrow, rounding=rounding, overflow="saturate")[0]
        assert same(both("round", once, narrow, rounding=rounding, overflow="saturate")[0], direct)


# Stochastic rounding: all random integers of six bits.


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_stochastic_probability_is_the_truncated_fraction(data: st.DataObject) -> None:
    fmt = data.draw(formats(max_bits=8).filter(lambda f: f.has_zero))
    x = abs(data.draw(reals(fmt)))
    magnitudes, _ = table(fmt)
    if not 0 < x < magnitudes[-1]:
        return
    low = bisect.bisect_right(magnitudes, x) - 1
    fraction = (x - magnitudes[low]) / (magnitudes[low + 1] - magnitudes[low])
    exact = reference.exact_value(x)

    def ups(rounding: str) -> int:
        rounded = [reference.round_exact(exact, fmt, rounding=rounding, random_bits=6, bits=r) for r in range(64)]
        return sum(y != magnitudes[low] for y in rounded)

    assert ups("stochastic") == math.floor(fraction * 64)
    assert ups("stochastic_equal") == (32 if fraction else 0)


def test_stochastic_root_counts_its_exact_fraction() -> None:
    # sqrt(2) lies 0.41421... of the way from 1 to 2, the values of a format without mantissa.
    exact = reference.exact_sqrt(2.0)
    for random_bits in (1, 8, 12):
        rounded = [
            reference.round_exact(exact, "E4M0", rounding="stochastic", random_bits=random_bits, bits=r)
            for r in range(2**random_bits)
        ]
        assert rounded.count(2.0) == math.isqrt(2 * 4**random_bits) - 2**random_bits
        assert rounded.count(1.0) + rounded.count(2.0) == len(rounded)
    threshold = 2**63 - math.isqrt(2 * 4**62)  # the same carry at the limit of 62 bits
    args = {"rounding": "stochastic", "random_bits": 62}
    assert reference.sqrt(2.0, "E4M0", bits=threshold, **args) == 2.0  # type: ignore[arg-type]
    assert reference.sqrt(2.0, "E4M0", bits=threshold - 1, **args) == 1.0  # type: ignore[arg-type]


def test_tiny_addend_is_seen_by_every_mode_but_truncated_stochastic() -> None:
    args = (1.0, 1.0, 2.0**-1000)
    up = {Rounding.TOWARD_POSITIVE, Rounding.AWAY_FROM_ZERO, Rounding.TO_ODD}
    for rounding in Rounding:
        value, flags = both("fma", *args, "float64", rounding=rounding, random_bits=62, bits=2**61 - 1)
        assert value == (1 + 2.0**-52 if rounding in up else 1.0)
        assert flags == INEXACT


# Overflow. The kinds of format that differ: with infinity; with NaN only; with neither.

E5M2, E4M3FN, E2M1, UNSIGNED = lpf.float8_e5m2, lpf.float8_e4m3fn, lpf.float4_e2m1fn, p3109(8, 4, signed=False)
E8M0 = lpf.float8_e8m0fnu
TO_INFINITY = ("ties_to_even", "ties_to_away", "ties_to_zero", "away_from_zero", "stochastic", "stochastic_equal")


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
        (0.0, "E4M0_finite_nosubnormals", "ieee", 2.0**-7, INVALID),
        (1e-300, E8M0, "ieee", 2.0**-127, UNDERFLOW),
        (-1e-300, "E4M0FN_nosubnormals", "ieee", -(2.0**-7), UNDERFLOW),
    ],
    ids=str,
)
def test_numbers_that_a_format_cannot_hold(
    x: float, fmt: Any, overflow: str, value: float, flags: Flag
) -> None:
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
        ("fma", (0.0, INF, NAN), NONE),
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
        ("round", (2.0**-14 - 2.0**-26,), 2.0**-14, UNDERFLOW),  # tiny before rounding
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
