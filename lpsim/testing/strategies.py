"""Hypothesis strategies for formats and for the numbers on which they are hard to get right.

Needs the extra ``test``. Numbers are aimed at what goes wrong: ties and their neighbourhoods, subnormals, both
ends of the range, the step from one binade to the next, cancellation and special values. All strategies shrink to
simple cases: few bits, small codes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.formats import SPECIALS, Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.reference import decode
from lpsim.rounding import Overflow, Rounding
from lpsim.units import FusedDot, MatrixUnit

try:
    from hypothesis import reject
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ImportError as error:
    raise ImportError(
        "lpsim.testing.strategies needs the extra 'test'; install it with: pip install 'lpsim[test]'"
    ) from error

__all__ = [
    "arrays",
    "codes",
    "dot_units",
    "floats",
    "formats",
    "modes",
    "near_ties",
    "operands",
    "reals",
    "roundings",
    "units",
    "values",
]

_ARITY = {"round": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}


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
    """Draw a rounding mode."""
    return st.sampled_from([mode for mode in Rounding if stochastic or not mode.is_stochastic])


@st.composite
def modes(draw: DrawFn, fmt: FormatLike) -> dict[str, Any]:
    """Draw keyword arguments of a rounding to a format: mode, overflow policy, random bits."""
    fmt = as_format(fmt)
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


def codes(fmt: FormatLike) -> SearchStrategy[int]:
    """Draw a code of a format, special ones included."""
    return st.integers(0, (1 << as_format(fmt).bits) - 1)


def values(fmt: FormatLike) -> SearchStrategy[float]:
    """Draw a finite value of a format; small ones, those around 2**emin and the largest are frequent."""
    fmt = as_format(fmt)
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
def reals(draw: DrawFn, fmt: FormatLike) -> Fraction:
    """Draw an exact real number aimed at a format: at or between two of its values, or far outside its range."""
    fmt = as_format(fmt)
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


def floats(fmt: FormatLike) -> SearchStrategy[float]:
    """Draw a binary64 number, aimed at a format, special or arbitrary."""
    aimed = reals(fmt).map(to_float)
    return st.one_of(aimed, aimed, aimed, special_floats, st.floats())


@st.composite
def near_ties(draw: DrawFn, fmt: FormatLike) -> float:
    """Draw the binary64 number nearest to the middle of two neighbours, or one or a few of its own neighbours."""
    fmt = as_format(fmt)
    code = draw(magnitude_codes(fmt, beyond=0))
    tie = to_float((continued_magnitude(fmt, code) + continued_magnitude(fmt, code + 1)) / 2)
    toward = draw(st.sampled_from((0.0, math.inf)))
    for _ in range(draw(st.integers(0, 2))):
        tie = math.nextafter(tie, toward)
    return -tie if draw(st.booleans()) else tie


@st.composite
def operands(draw: DrawFn, fmt: FormatLike, op: str) -> tuple[float, ...]:
    """Draw operands for which the result of an operation is a hard case of a format.

    Usually a real result is drawn first, and the last operand is solved for: the exact result then lies at or very
    near a tie, a value or the end of the range. Opposite operands, values of the format and special values take turns
    with it.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> import lpsim as lp
    >>> from lpsim.testing.strategies import operands
    >>> @settings(max_examples=20, deadline=None)
    ... @given(operands("e4m3fn", "add"))
    ... def test_addition_commutes(xy):
    ...     x, y = xy
    ...     assert lp.encode(lp.add(x, y, "e4m3fn"), "e4m3fn") == lp.encode(lp.add(y, x, "e4m3fn"), "e4m3fn")
    >>> test_addition_commutes()
    """
    fmt, operation = as_format(fmt), op
    if operation not in _ARITY:
        raise ValueError(f"op is {op!r}; allowed: {', '.join(map(repr, _ARITY))}")
    if operation == "round":
        return (draw(floats(fmt)),)
    count = _ARITY[operation]
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


@st.composite
def arrays(draw: DrawFn, fmt: FormatLike, shape: int | tuple[int, ...]) -> npt.NDArray[Any]:
    """Draw an array of values of a format, in its carrier, infinities and NaN included where it has them."""
    fmt = as_format(fmt)
    dimensions = (shape,) if isinstance(shape, int) else tuple(shape)
    size = math.prod(dimensions)
    one = st.one_of(values(fmt), codes(fmt).map(lambda code: decode(code, fmt)))
    return np.array(draw(st.lists(one, min_size=size, max_size=size)), fmt.carrier).reshape(dimensions)


@st.composite
def units(draw: DrawFn, stochastic: bool = False) -> MatrixUnit:
    """Draw a matrix unit: any formats and modes; all its policies are ones that its formats allow."""
    narrow = formats(max_bits=20)
    a, b, accumulator = draw(narrow), draw(narrow), draw(narrow)
    product, outer, output = (draw(st.one_of(st.none(), narrow)) for _ in range(3))
    policies = st.sampled_from([policy for policy in Overflow if policy != Overflow.TO_NAN])
    inner = st.one_of(
        st.sampled_from(("sequential", "reverse", "pairwise", "kahan")), st.integers(1, 5).map("interleaved({})".format)
    )
    order = draw(st.one_of(st.just("sequential"), inner, st.builds("blocked({}, {})".format, st.integers(1, 9), inner)))
    one_chain = order in ("sequential", "reverse", "kahan")
    return MatrixUnit(
        a,
        b,
        input_rounding=draw(roundings(stochastic)),
        input_overflow=draw(policies),
        product_format=product,
        accumulator_format=accumulator,
        rounding=draw(roundings(stochastic)),
        overflow=draw(policies),
        order=order,
        outer_format=None if one_chain else outer,
        outer_rounding=None if one_chain else draw(st.one_of(st.none(), roundings(stochastic))),
        output_format=output,
        flush_inputs=draw(st.sampled_from((None, None, "signed", "positive", "signed_c"))),
        flush_results=draw(st.sampled_from((None, None, "rounded", "before", "after"))),
    )


@st.composite
def dot_units(draw: DrawFn, stochastic: bool = False) -> MatrixUnit:
    """Draw a matrix unit that adds several products at once."""
    narrow = formats(max_bits=16, max_exponent_bits=8)
    a, b = draw(narrow), draw(narrow)
    accumulator = draw(st.one_of(st.sampled_from((as_format("float32"), as_format("half"))), narrow))
    alignment = draw(st.sampled_from(("truncate", "truncate", "exact", "cdna3", "cdna3_split")))
    dots, terms = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    terms *= 2 if alignment == "cdna3_split" else 1
    blocked = draw(st.booleans())
    dealt = draw(st.sampled_from([n for n in range(1, terms + 1) if terms % n == 0])) if blocked else None
    policies = st.sampled_from([policy for policy in Overflow if policy != Overflow.TO_NAN])
    fraction_bits = None if alignment == "exact" else draw(st.integers(0, 40))
    zero_exponent = draw(st.integers(-300, 0))
    dot = FusedDot(terms, fraction_bits, zero_exponent, "truncate" if alignment == "exact" else alignment, dealt=dealt)
    try:
        return MatrixUnit(
            a,
            b,
            input_rounding=draw(roundings(stochastic)),
            accumulator_format=accumulator,
            rounding=draw(roundings(stochastic)),
            overflow=draw(policies),
            order=f"blocked({dots * terms})" if blocked else "sequential",
            outer_format=draw(st.one_of(st.none(), narrow)) if blocked else None,
            dot=dot,
        )
    except ValueError:  # sums too wide for 64-bit integers, or for an exact sum of binary64 numbers
        reject()
