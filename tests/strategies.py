"""Hypothesis strategies and lists of formats and modes that the tests share.

Values are aimed at what goes wrong: ties and their neighbourhoods, subnormals, both ends of the
range, the step from one binade to the next, cancellation and special values.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from lpsim.formats import NAMED_FORMATS, SPECIALS, Format, p3109
from lpsim.rounding import Overflow, Rounding

#: Number of operands of each operation.
OPERATIONS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}

#: Modes that use no random bits.
FIXED_MODES = tuple(mode for mode in Rounding if not mode.is_stochastic)

#: Formats that differ in every way a format can, for tests that cannot afford to draw at random.
SAMPLE_FORMATS = (
    *NAMED_FORMATS.values(),
    p3109(8, 3), p3109(8, 4, extended=False), p3109(8, 1), p3109(8, 8, signed=False),
    p3109(6, 2, signed=False, extended=False), p3109(3, 2),
    Format(0, 4, specials="finite"), Format(0, 7, specials="fnuz"), Format(0, 52, bias=900, specials="fn"),
    Format(4, 0), Format(5, 0, specials="fn"), Format(3, 0, specials="finite", signed=False),
    Format(4, 0, specials="fn", subnormals=False), Format(4, 0, specials="finite", subnormals=False),
    Format(11, 0), Format(5, 10, subnormals=False), Format(4, 3, specials="fnuz", subnormals=False),
    Format(11, 52, subnormals=False), Format(8, 30), Format(9, 20, bias=-300), Format(10, 47, bias=900),
    Format(1, 2), Format(1, 0, specials="finite"),
)  # fmt: skip


@st.composite
def formats(draw: DrawFn, max_bits: int = 64, max_mantissa_bits: int = 52, max_exponent_bits: int = 11) -> Format:
    """Any format, or any that is no wider than the limits."""
    max_exponent_bits = min(max_exponent_bits, max_bits - 1)
    exponent_bits = draw(st.integers(0, max_exponent_bits))
    mantissa_bits = draw(st.integers(0, min(max_mantissa_bits, max_bits - 1 - exponent_bits)))
    kwargs: dict[str, Any] = {
        "specials": draw(st.sampled_from(SPECIALS)),
        "subnormals": draw(st.sampled_from((True, True, False))),
        "signed": draw(st.sampled_from((True, True, False))),
    }
    if kwargs["specials"] == "fnuz":
        kwargs["signed"] = True
    # The bias may move the values anywhere within binary64; its ends are tried often.
    low, high = (1 << exponent_bits) - 1 - 1023, 1074 - mantissa_bits
    if low <= high and draw(st.booleans()):
        kwargs["bias"] = draw(st.one_of(st.sampled_from((low, high)), st.integers(low, high)))
    try:
        return Format(exponent_bits, mantissa_bits, **kwargs)
    except ValueError:  # no room for a number beside the special codes, or for the default bias
        reject()


def roundings(stochastic: bool = True) -> SearchStrategy[Rounding]:
    """A rounding mode."""
    return st.sampled_from(tuple(Rounding) if stochastic else FIXED_MODES)


@st.composite
def modes(draw: DrawFn, fmt: Format) -> dict[str, Any]:
    """Keyword arguments of a rounding to ``fmt``: mode, overflow policy, random bits."""
    random_bits = draw(st.sampled_from((1, 2, 6, 31, 32, 33, 52, 53)))
    top = (1 << random_bits) - 1
    return {
        "rounding": draw(roundings()),
        "overflow": draw(st.sampled_from([o for o in Overflow if fmt.has_nan or o != Overflow.TO_NAN])),
        "random_bits": random_bits,
        "bits": draw(st.one_of(st.sampled_from((0, 1, top // 2, top // 2 + 1, top)), st.integers(0, top))),
    }


def continued_magnitude(fmt: Format, code: int) -> Fraction:
    """Return the value of a magnitude code, also beyond the largest finite one.

    The codes are read as if the exponent field were as wide as needed, and as if there were subnormals.
    """
    exponent_field, trailing = divmod(code, 1 << fmt.mantissa_bits)
    implicit = 1 << fmt.mantissa_bits
    if fmt.has_zero and exponent_field == 0:
        implicit, exponent_field = 0, 1
    exponent = exponent_field - fmt.bias - fmt.mantissa_bits
    return (implicit + trailing) * Fraction(2) ** exponent


def magnitude_codes(fmt: Format, beyond: int = 2) -> SearchStrategy[int]:
    """A code without sign, up to a few beyond the largest finite one; the ends and 2**emin often."""
    top = fmt.max_code + beyond
    normal = min(1 << fmt.mantissa_bits, top)
    return st.one_of(
        st.integers(0, top),
        st.integers(0, min(4, top)),
        st.integers(max(normal - 2, 0), min(normal + 2, top)),
        st.integers(max(fmt.max_code - 2, 0), top),
    )


def values(fmt: Format) -> SearchStrategy[float]:
    """A finite value of the format."""
    magnitudes = magnitude_codes(fmt, beyond=0).map(fmt.magnitude)
    return _signed(magnitudes) if fmt.signed else magnitudes


def _signed(magnitudes: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.builds(lambda x, negative: -x if negative else x, magnitudes, st.booleans())


@st.composite
def _gap_positions(draw: DrawFn) -> Fraction:
    """Where a number lies between two neighbours: on one, half-way, or just beside these."""
    anchor = draw(st.sampled_from((Fraction(0), Fraction(1, 2), Fraction(1))))
    offset = draw(st.sampled_from((0, 0, 1, -1))) * Fraction(1, 1 << draw(st.integers(2, 140)))
    anywhere = st.integers(0, 1 << 64).map(lambda n: Fraction(n, 1 << 64))
    return draw(st.one_of(st.just(min(max(anchor + offset, Fraction(0)), Fraction(1))), anywhere))


@st.composite
def reals(draw: DrawFn, fmt: Format) -> Fraction:
    """A real number aimed at the format: at or between two of its values, or far outside its range."""
    where = draw(st.integers(0, 19))
    if where == 0:
        magnitude = continued_magnitude(fmt, fmt.max_code) * (1 << draw(st.integers(1, 200)))
    elif where == 1:
        magnitude = continued_magnitude(fmt, 1) / (1 << draw(st.integers(1, 200)))
    else:
        code = draw(magnitude_codes(fmt, beyond=1))
        low, high = continued_magnitude(fmt, code), continued_magnitude(fmt, code + 1)
        magnitude = low + (high - low) * draw(_gap_positions())
    return -magnitude if draw(st.booleans()) else magnitude


def to_float(x: Fraction) -> float:
    """Return the nearest binary64 value; beyond its range, an infinity."""
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


#: Numbers that are special everywhere.
special_floats = st.sampled_from(
    (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 5e-324, -5e-324, 2.0**-1022, 1.7976931348623157e308)
)


def floats(fmt: Format) -> SearchStrategy[float]:
    """A binary64 number, aimed at the format, special or arbitrary."""
    aimed = reals(fmt).map(to_float)
    return st.one_of(aimed, aimed, aimed, special_floats, st.floats())


@st.composite
def operands(draw: DrawFn, operation: str, fmt: Format) -> tuple[float, ...]:
    """Operands for which the result of the operation is a hard case of the format.

    Usually a real result is drawn first, and the last operand is solved for: the exact result then
    lies at or very near a tie, a value or the end of the range. Opposite operands, values of the
    format and special values take turns with it.
    """
    count = OPERATIONS[operation]
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return tuple(draw(floats(fmt)) for _ in range(count))
    if kind == 1:
        return tuple(draw(st.one_of(values(fmt), special_floats)) for _ in range(count))
    if kind == 2 and count >= 2:
        x, y = draw(values(fmt)), draw(values(fmt))  # cancellation, exact or nearly so
        if operation == "fma":
            return x, y, -to_float(Fraction(x) * Fraction(y))
        return x, math.nextafter(-x, draw(st.sampled_from((-x, math.inf, -math.inf))))
    target = draw(reals(fmt))
    if operation == "sqrt":
        return (to_float(target * target),)
    # Short factors leave products and quotients exactly at the target.
    short = st.sampled_from((1.0, -1.0, 0.5, -2.0, 3.0, 0.75))
    p = Fraction(draw(st.one_of(values(fmt), values(fmt), short, floats(fmt).filter(math.isfinite))))
    if operation == "add":
        return to_float(p), to_float(target - p)
    if operation == "sub":
        return to_float(p), to_float(p - target)
    if operation == "mul":
        return to_float(p), to_float(target / p) if p else to_float(target)
    if operation == "div":
        return to_float(target * p), to_float(p)
    q = Fraction(draw(st.one_of(values(fmt), short)))
    return to_float(p), to_float(q), to_float(target - p * q)
