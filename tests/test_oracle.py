"""The fast oracle against the reference's own rounding, against itself done another way, and against others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from comparing import assert_same
from hypothesis import given
from hypothesis import strategies as st
from strategies import OPERATIONS, SAMPLE_FORMATS, formats, reals

import lpsim as lp
from lpsim import reference
from lpsim.formats import NAMED_FORMATS
from lpsim.rounding import TININESS
from lpsim.testing import oracle
from lpsim.testing.operands import all_operands, sampled_operands


def exact_results(operation: str, columns: tuple[np.ndarray, ...]) -> list[reference.Exact]:
    exact = getattr(reference, f"exact_{operation}")
    return [exact(*case) for case in zip(*(column.tolist() for column in columns), strict=True)]


def policies(fmt: lp.Format) -> list[lp.Overflow]:
    return [policy for policy in lp.Overflow if fmt.has_nan or policy != lp.Overflow.TO_NAN]


def assert_agrees(exact: list[reference.Exact], fmt: lp.Format, bits: np.ndarray) -> None:
    """Compare with `reference.round_exact` in all modes, policies and kinds of tininess."""
    placed = oracle.place(exact, fmt)
    for mode in lp.Rounding:
        for policy in policies(fmt):
            for tininess in TININESS:
                rounded = oracle.round_placed(placed, fmt, mode, policy, bits, tininess)
                expected: list[Any] = [
                    reference.round_exact(
                        result, fmt, rounding=mode, overflow=policy, random_bits=oracle.RANDOM_BITS, bits=word,
                        flags=True, tininess=tininess,
                    )
                    for result, word in zip(exact, bits.tolist(), strict=True)
                ]  # fmt: skip
                values = [value for value, _ in expected]
                assert_same(oracle.values_of(rounded, fmt), values, [(fmt, mode, policy, e) for e in exact])
                assert rounded.flags.tolist() == [int(flags) for _, flags in expected], (fmt, mode, policy, tininess)
                real = ~np.isnan(values)
                codes = [reference.encode(value, fmt) for value in values if not math.isnan(value)]
                codes_of_all = oracle.codes_of(rounded, fmt) if fmt.has_nan or real.all() else None
                if codes_of_all is not None:
                    assert codes_of_all[real].tolist() == codes, (fmt, mode, policy)


@pytest.mark.parametrize("fmt", SAMPLE_FORMATS, ids=lambda fmt: fmt.spec)
def test_agrees_with_the_reference(fmt: lp.Format) -> None:
    rng = np.random.default_rng(5)
    exact = [reference.exact_value(float(x)) for x in (0.0, -0.0, math.inf, -math.inf, math.nan)]
    for operation, arity in OPERATIONS.items():
        exact += exact_results(operation, sampled_operands(fmt, operation, arity, 12, rng))
    assert_agrees(exact, fmt, rng.integers(0, 1 << oracle.RANDOM_BITS, len(exact)))


@given(st.data())
def test_agrees_with_the_reference_in_any_format(data: st.DataObject) -> None:
    fmt = data.draw(formats())
    exact = [reference.exact_value(x) for x in data.draw(st.lists(reals(fmt), min_size=1, max_size=4))]
    words = st.integers(0, (1 << oracle.RANDOM_BITS) - 1)
    assert_agrees(exact, fmt, np.array(data.draw(st.lists(words, min_size=len(exact), max_size=len(exact)))))


@given(st.data())
def test_a_table_and_a_formula_give_the_same_places(data: st.DataObject) -> None:
    fmt = data.draw(formats(max_bits=12))
    by_table, by_binade = oracle._by_table(fmt), oracle._by_binade(fmt)
    for x in data.draw(st.lists(reals(fmt).filter(bool), min_size=1, max_size=20)):
        result = reference.exact_value(x)
        case = result.significand, result.exponent, result.sticky
        if case[0]:
            assert by_table(*case) == by_binade(*case)


# Witnesses that share nothing with the reference either.


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
def test_agrees_with_numpy(operation: str, name: str) -> None:
    fmt = NAMED_FORMATS[name]
    x, y = (column.astype(name) for column in _sampled(fmt, operation))
    ufunc = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[operation]
    with np.errstate(all="ignore"):
        expected = ufunc(x, y)
    placed = oracle.place(exact_results(operation, (x, y)), fmt)
    assert_same(oracle.values_of(oracle.round_placed(placed, fmt), fmt), expected, list(zip(x, y, strict=True)))


def _sampled(fmt: lp.Format, operation: str) -> tuple[np.ndarray, ...]:
    with np.errstate(over="ignore"):
        columns = sampled_operands(fmt, operation, 2, 5000, np.random.default_rng(6))
        return tuple(np.asarray(lp.round(column, fmt)) for column in columns)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float6_e3m2fn"])
@pytest.mark.parametrize("operation", ["add", "mul", "div"])
def test_agrees_with_ml_dtypes(operation: str, name: str) -> None:
    """All pairs; binary32 has so many digits that the second rounding of ml_dtypes does no harm."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    fmt = NAMED_FORMATS[name]
    x, y = (column.astype(np.float32) for column in all_operands(fmt, 2))
    ufunc = {"add": np.add, "mul": np.multiply, "div": np.divide}[operation]
    with np.errstate(all="ignore"):
        single = ufunc(x, y)
        expected = single.astype(getattr(ml_dtypes, name)).astype(np.float64)
    if not fmt.has_nan:  # ml_dtypes turns NaN into a number there
        expected[np.isnan(single)] = np.nan
    placed = oracle.place(exact_results(operation, (x, y)), fmt)
    assert_same(oracle.values_of(oracle.round_placed(placed, fmt), fmt), expected, list(zip(x, y, strict=True)))


MPFR_MODES = {
    lp.Rounding.TIES_TO_EVEN: "RoundToNearest",
    lp.Rounding.TOWARD_ZERO: "RoundToZero",
    lp.Rounding.TOWARD_POSITIVE: "RoundUp",
    lp.Rounding.TOWARD_NEGATIVE: "RoundDown",
    lp.Rounding.AWAY_FROM_ZERO: "RoundAwayZero",
}


@pytest.mark.parametrize("mode", MPFR_MODES, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("fmt", [lp.float8_e5m2, lp.float16, lp.Format(9, 3), lp.float64], ids=str)
def test_agrees_with_mpfr(fmt: lp.Format, mode: lp.Rounding) -> None:
    """Values and the flags that MPFR defines as IEEE 754 does."""
    gmpy2 = pytest.importorskip("gmpy2")
    context = gmpy2.context(
        precision=fmt.precision,
        emin=fmt.quantum_exponent + 1,  # MPFR's significands lie in [0.5, 1)
        emax=fmt.emax + 1,
        subnormalize=True,
        round=getattr(gmpy2, MPFR_MODES[mode]),
    )
    for operation, arity in OPERATIONS.items():
        columns = sampled_operands(fmt, operation, arity, 1500, np.random.default_rng(7))
        rounded = oracle.round_placed(oracle.place(exact_results(operation, columns), fmt), fmt, mode)
        cases = list(zip(*(column.tolist() for column in columns), strict=True))
        expected, flags = [], []
        for case in cases:
            context.clear_flags()
            expected.append(float(getattr(context, operation)(*(gmpy2.mpfr(x, 53) for x in case))))
            flags.append((context.inexact, context.overflow, context.divzero))
        assert_same(oracle.values_of(rounded, fmt), expected, cases)
        for i, flag in enumerate((lp.Flag.INEXACT, lp.Flag.OVERFLOW, lp.Flag.DIVIDE_BY_ZERO)):
            assert (rounded.flags & flag != 0).tolist() == [raised[i] for raised in flags], flag
