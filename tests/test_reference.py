"""The reference against the definition, by enumeration of the values of small formats, and its rules."""

from __future__ import annotations

import bisect
import functools
import math
from fractions import Fraction
from typing import Any

import pytest
from comparing import INEXACT, INVALID, NONE, OVERFLOW, UNDERFLOW, both, same
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED_MODES, OPERATIONS, SAMPLE_FORMATS, continued_magnitude, formats, operands, reals

from lpsim import formats as lpf
from lpsim import reference
from lpsim.formats import Format
from lpsim.rounding import Overflow, Rounding

INF, NAN = math.inf, math.nan


# Rounding is by definition a choice between two neighbours in a table.


@functools.lru_cache(maxsize=512)
def table(fmt: Format) -> tuple[list[Fraction], list[int]]:
    """The magnitudes of the format and the next beyond them, ascending, and the parity of each."""
    codes = [c for c in range(fmt.max_code + 2) if fmt.subnormals or c >= 1 << fmt.mantissa_bits or c == 0]
    magnitudes = [continued_magnitude(fmt, c) for c in codes]
    # Without subnormals zero and its neighbour both have even codes; zero is the one that counts as even,
    # which a choice by the parity of the lower neighbour brings about.
    return magnitudes, [c & 1 for c in codes]


def goes_up(
    x: Fraction, below: Fraction, above: Fraction, odd: bool, rounding: Rounding, random_bits: int, bits: int
) -> bool:
    """Whether x goes to the neighbour of larger magnitude; ``odd`` is the parity of the other's code."""
    size = abs(x)
    if size == below:
        return False
    toward = {
        Rounding.TOWARD_ZERO: False,
        Rounding.AWAY_FROM_ZERO: True,
        Rounding.TOWARD_POSITIVE: x > 0,
        Rounding.TOWARD_NEGATIVE: x < 0,
        Rounding.TO_ODD: not odd,
        Rounding.STOCHASTIC: math.floor((size - below) / (above - below) * 2**random_bits) + bits >= 2**random_bits,
        Rounding.STOCHASTIC_EQUAL: bits >= 2 ** (random_bits - 1),
    }
    if rounding in toward:
        return toward[rounding]
    if size - below != above - size:
        return size - below > above - size
    return {Rounding.TIES_TO_AWAY: True, Rounding.TIES_TO_ZERO: False}.get(rounding, odd)


def by_definition(x: Fraction, fmt: Format, *how: Any) -> Fraction | None:
    """Round a nonzero number, by looking it up; None is an overflow."""
    magnitudes, parities = table(fmt)
    sign, size = (-1 if x < 0 else 1), abs(x)
    if size >= magnitudes[-1]:
        return None
    if size < magnitudes[0]:
        return sign * magnitudes[0]
    low = bisect.bisect_right(magnitudes, size) - 1
    chosen = low + goes_up(x, magnitudes[low], magnitudes[low + 1], parities[low] == 1, *how)
    return None if chosen == len(magnitudes) - 1 else sign * magnitudes[chosen]


def is_tiny(x: Fraction, fmt: Format, tininess: str, *how: Any) -> bool:
    """Whether a number is tiny: below 2**emin, itself or rounded to full precision."""
    limit, size = Fraction(2) ** fmt.emin, abs(x)
    if tininess == "before" or not limit / 2 <= size < limit:
        return size < limit
    quantum = limit / 2 ** (fmt.mantissa_bits + 1)
    below = size // quantum * quantum
    # Codes go on downwards from that of 2**emin, 2**M to a binade.
    code = (int(fmt.has_zero) << fmt.mantissa_bits) - (limit - below) / quantum
    return below + quantum * goes_up(x, below, below + quantum, code % 2 == 1, *how) < limit


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_round_is_the_table_look_up(data: st.DataObject) -> None:
    fmt = data.draw(formats(max_bits=9))
    random_bits = data.draw(st.sampled_from((1, 3, 6, 32, 62)))
    tininess = data.draw(st.sampled_from(("after", "before")))
    for x in data.draw(st.lists(reals(fmt).filter(bool), min_size=3, max_size=3)):
        bits = data.draw(st.integers(0, 2**random_bits - 1))
        for rounding in Rounding:
            how = (rounding, random_bits, bits)
            mode = {"rounding": rounding, "random_bits": random_bits, "bits": bits, "tininess": tininess}
            value, flags = both("round", x, fmt, **mode)
            if x < 0 and not fmt.signed:
                assert flags == INVALID
                assert same(value, NAN if fmt.has_nan else fmt.min)
                continue
            expected = by_definition(x, fmt, *how)
            if expected is None:
                assert flags == OVERFLOW
                continue
            sign = -1.0 if x < 0 and (expected or fmt.has_negative_zero) else 1.0
            assert same(value, math.copysign(float(expected), sign))
            tiny = is_tiny(x, fmt, tininess, *how)
            assert flags == ((UNDERFLOW if tiny else INEXACT) if value != x else NONE)


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
    args = data.draw(operands(fmt, operation).filter(lambda args: all(map(math.isfinite, args))))
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
    zero, away = (both("round", x, fmt, rounding=m, overflow="saturate")[0] for m in ("toward_zero", "away_from_zero"))
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


@pytest.mark.parametrize("fmt", ["float16", "float64", "e8m0", "E4M3_nosubnormals"])
@pytest.mark.parametrize("speck", [Fraction(1, 3**2000), Fraction(1, 2**3000)], ids=["3**-2000", "2**-3000"])
def test_a_speck_below_every_format_decides_ties(fmt: str, speck: Fraction) -> None:
    spacing = Fraction(lpf.format(fmt).eps)
    for low in (Fraction(1), 1 + spacing):  # an even code and an odd one
        gap = spacing if low + spacing <= 2 else 2 * spacing
        for sign in (1, -1) if lpf.format(fmt).signed else (1,):
            for rounding in (Rounding.TIES_TO_EVEN, Rounding.TIES_TO_AWAY, Rounding.TIES_TO_ZERO):
                above = both("round", sign * (low + gap / 2 + speck), fmt, rounding=rounding)
                assert above == (sign * float(low + gap), INEXACT)
                below = both("round", sign * (low + gap / 2 - speck), fmt, rounding=rounding)
                assert below == (sign * float(low), INEXACT)


# Stochastic rounding: all random integers of six bits.


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_stochastic_probability_is_the_truncated_fraction(data: st.DataObject) -> None:
    fmt = data.draw(formats(max_bits=8).filter(lambda f: f.has_zero))
    x = abs(data.draw(reals(fmt)))
    magnitudes, _ = table(fmt)
    # Beyond the largest value a format without infinity and NaN gives that value, whatever the bits.
    if not 0 < x < magnitudes[-1 if fmt.has_infinity or fmt.has_nan else -2]:
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
