"""Verification finds what is wrong, and says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from comparing import assert_same
from hypothesis import find, given, settings
from hypothesis import strategies as st

import lpsim as lp
from lpsim import reference
from lpsim.testing import OPERATIONS, Report, Row, oracle, strategies, verification, verify
from lpsim.testing.operands import all_operands, all_values, sampled_operands, unary_points


def test_a_users_format_is_proved() -> None:
    report = lp.testing.verify(lp.Format(3, 1, bias=9, specials="fnuz"), jobs=2)
    assert report.ok
    assert {row.operation for row in report.rows} == set(OPERATIONS)
    # All pairs of 32 values in ten modes under five policies, all triples likewise.
    cases = {row.operation: row.cases for row in report.rows}
    assert (cases["decode"], cases["add"], cases["fma"], cases["sqrt"]) == (32, 32**2, 32**3, 32)
    assert len([row for row in report.rows if row.operation == "div"]) == 10 * 5


@pytest.mark.parametrize("fmt", ["E5M10", "float64", "E11M1", "E8M0FN_nosubnormals_unsigned", "E9M3"])
def test_sampled(fmt: str) -> None:
    report = verify(fmt, level="sampled", samples=400)
    assert report.ok, str(report)
    assert all(row.cases == 400 for row in report.rows if row.operation in ("add", "fma", "sqrt", "round"))


def test_samples_are_hard_cases() -> None:
    rng = np.random.default_rng(1)
    x, y = sampled_operands(lp.float16, "add", 2, 20_000, rng)
    with np.errstate(all="ignore"):
        total = x + y
        ties = np.abs(total) % lp.ulp(total, "half") == lp.ulp(total, "half") / 2
    assert ties.mean() > 0.1
    _, flags = lp.add(x, y, "half", flags=True)
    for flag in (lp.Flag.INVALID, lp.Flag.OVERFLOW, lp.Flag.UNDERFLOW, lp.Flag.INEXACT):
        expected = 0.001 if flag != lp.Flag.UNDERFLOW else 0  # sums of halves are never tiny and inexact
        assert (flags & flag != 0).mean() > expected
    again = sampled_operands(lp.float16, "add", 2, 20_000, np.random.default_rng(1))
    np.testing.assert_array_equal(again[0], x)


def test_exhaustive_operands() -> None:
    fmt = lp.float8_e4m3fn
    assert all_values(fmt).size == 256
    x, y = all_operands(fmt, 2)
    assert len(set(zip(x.view(np.int64).tolist(), y.view(np.int64).tolist(), strict=True))) == 255**2
    points = unary_points(fmt)
    for special in (464.0, math.nextafter(464.0, 500), math.nextafter(464.0, 0), 2.0**-10, 448.0, math.inf):
        assert special in points
        assert -special in points


def test_what_is_exhaustive() -> None:
    def found(fmt: str, **options: Any) -> dict[str, bool]:
        rows = verify(fmt, modes=["to_odd"], overflows=["ieee"], samples=50, **options).rows
        return {row.operation: row.exhaustive for row in rows if row.operation in ("decode", "sqrt", "mul", "fma")}

    assert set(found("e2m1fn").values()) == {True}
    assert set(found("e2m1fn", level="sampled").values()) == {False}
    assert found("e4m3fn", ops=["decode", "sqrt", "fma"]) == {"decode": True, "sqrt": True, "fma": False}
    assert found("E5M4") == {"decode": True, "sqrt": True, "mul": False, "fma": False}
    assert set(found("tf32").values()) == {False}
    report = verify("e4m3fn", ops=["sqrt", "fma"], modes=["to_odd"], overflows=["ieee"], samples=50)
    assert [total.operands for total in report.by_operation()] == ["all", "sampled"]


@pytest.mark.parametrize("fmt", [lp.bfloat16, lp.float64, lp.Format(6, 0)], ids=str)
@pytest.mark.parametrize("operation", ["add", "sub", "mul", "fma"])
def test_samples_of_any_precision_hold_ties_and_cancellation(operation: str, fmt: lp.Format) -> None:
    arity = OPERATIONS[operation]
    columns = sampled_operands(fmt, operation, arity, 4000, np.random.default_rng(3))
    exact = [
        getattr(reference, f"exact_{operation}")(*case) for case in zip(*(c.tolist() for c in columns), strict=True)
    ]
    placed = oracle.place(exact, fmt)
    assert (placed.position == oracle._AT_HALF).mean() > 0.02
    assert ((placed.kind == oracle._ZERO) & placed.cancelled).mean() > 0.01 or operation == "mul"
    assert verification._in_float32(columns).size > 0.2 * 4000


def wrong_value(value: Any, flags: Any) -> None:
    value[np.isfinite(value) & (value != 0)] *= -1


def wrong_flag(value: Any, flags: Any) -> None:
    flags[np.flatnonzero(value == 1.5)] ^= np.uint8(lp.Flag.INEXACT)


def lost_sign_of_zero(value: Any, flags: Any) -> None:
    value += 0.0


@pytest.mark.parametrize("fault", [wrong_value, wrong_flag, lost_sign_of_zero])
@pytest.mark.parametrize("operation", ["round", "add", "mul", "fma"])
def test_faults_are_found(operation: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = getattr(lp, operation)

    def faulty(*args: Any, **kwargs: Any) -> Any:
        value, flags = kernel(*args, **{**kwargs, "flags": True})
        fault(value, flags)
        return (value, flags) if "flags" in kwargs else value

    monkeypatch.setitem(verification._KERNELS, operation, faulty)
    report = verify("e2m1fn", ops=[operation, "sqrt"], modes=["ties_to_even"], overflows=["ieee"])
    assert not report.ok
    found, other = report.rows
    assert found.mismatches > 0
    assert found.example.startswith(f"{operation}(")
    assert found.example in str(report)
    assert other.mismatches == 0


@pytest.mark.parametrize("condition", ["float32", "before", "without flags"])
def test_faults_of_one_way_to_call_are_found(condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(x: Any, y: Any, *args: Any, **kwargs: Any) -> Any:
        value, flags = lp.mul(x, y, *args, **{**kwargs, "flags": True})
        if "flags" not in kwargs:
            value[(x == 0.5) & (y == 3) & (condition == "without flags")] = 0
            return value
        if condition in (x.dtype.name, kwargs["tininess"]):
            flags[(x == 0.5) & (y == 3)] ^= np.uint8(lp.Flag.UNDERFLOW)
        return value, flags

    monkeypatch.setitem(verification._KERNELS, "mul", faulty)
    row = verify("e2m1fn", ops=["mul"], modes=["ties_to_even"], overflows=["ieee"]).rows[0]
    assert row.mismatches == 1
    assert row.example.startswith("mul(0x1.0000000000000p-1, 0x1.8000000000000p+1) gave np.float32(")
    if condition == "without flags":
        assert row.example.endswith("(computed without flags)")
        return
    assert "np.float32(1.5) with UNDERFLOW" in row.example
    assert f"with no flag ({'operands in float32' if condition == 'float32' else 'tininess before'}" in row.example


def test_the_example_is_the_simplest(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*args: Any, **kwargs: Any) -> Any:
        if "flags" not in kwargs:
            return lp.add(*args, **kwargs)
        value, flags = lp.add(*args, **kwargs)
        return value, flags ^ np.uint8(lp.Flag.INVALID)

    monkeypatch.setitem(verification._KERNELS, "add", faulty)
    row = verify("float64", ops=["add"], modes=["to_odd"], overflows=["ieee"], level="sampled", samples=3000).rows[0]
    assert row.mismatches == 3000
    x, y = map(float.fromhex, row.example.removeprefix("add(").partition(")")[0].split(", "))
    assert {abs(x), abs(y)} <= {0.0, 1.0, 0.5, 2.0}


def test_faults_of_codes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification.codec, "decode", lambda codes, fmt: lp.decode(codes ^ (codes == 5), fmt))
    row = verify("e2m1fn", ops=["decode"]).rows[0]
    assert (row.cases, row.mismatches) == (16, 1)
    assert row.example == "decode(0x5) gave np.float32(2.0), not np.float64(3.0)"


def test_report_as_json() -> None:
    report = verify("e2m1fn", ops=["add", "decode"], modes=["to_odd"])
    assert Report.from_json(report.to_json()) == report
    with pytest.raises(ValueError, match="text is no report"):
        Report.from_json('{"rows": [{}]}')


def test_interruption_keeps_what_was_compared() -> None:
    def stop(done: int, total: int, row: Row) -> None:
        if done == 2:
            raise KeyboardInterrupt

    report = verify("e2m1fn", ops=["add"], progress=stop)
    assert not report.complete
    assert not report.ok
    assert len(report.rows) == 2 * 4
    assert "interrupted" in str(report)


BAD = {
    "ops": ({"ops": ["pow"]}, "ops holds 'pow'; allowed: 'round'"),
    "modes": ({"modes": ["up"]}, "modes is 'up'"),
    "overflows": ({"overflows": ["wrap"]}, "overflows is 'wrap'"),
    "level": ({"level": "some"}, "level is 'some'; allowed: 'exhaustive', 'sampled'"),
    "wide": ({"fmt": "half", "level": "exhaustive"}, "float16 of 16 bits; allowed: at most 8 bits"),
    "samples": ({"samples": 0}, "samples is 0; allowed: 1 or more"),
    "jobs": ({"jobs": 0}, "jobs is 0; allowed: 1 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        verify(**{"fmt": "e2m1fn", **arguments})


@given(st.data())
def test_strategies_draw_what_they_say(data: st.DataObject) -> None:
    fmt = data.draw(strategies.formats(max_bits=12))
    value = data.draw(strategies.values(fmt))
    assert lp.round(value, fmt) == value
    assert 0 <= data.draw(strategies.codes(fmt)) < 1 << fmt.bits
    array = data.draw(strategies.arrays(fmt, (2, 3)))
    assert (array.shape, array.dtype) == ((2, 3), fmt.carrier)
    np.testing.assert_array_equal(lp.round(array, fmt, overflow="saturate_finite"), array)


def test_near_ties_are_near() -> None:
    @settings(max_examples=200)
    @given(strategies.near_ties("half"))
    def check(x: float) -> None:
        half = lp.ulp(x, "half") / 2
        assert abs(abs(x) % (2 * half) - half) <= 2 * math.ulp(x)

    check()


@settings(max_examples=40)
@given(st.data())
def test_units(data: st.DataObject) -> None:
    unit = data.draw(st.one_of(strategies.units(stochastic=True), strategies.dot_units(stochastic=True)))
    a, b = data.draw(strategies.arrays(unit.a_format, (2, 3))), data.draw(strategies.arrays(unit.b_format, (3, 2)))
    got, expected = lp.matmul(a, b, unit, seed=1), reference.matmul(a, b, unit, seed=1)
    assert_same(got, expected, list(np.ndindex(2, 2)))


def test_strategies_shrink_to_simple_cases() -> None:
    assert find(strategies.formats(), lambda fmt: fmt.bits >= 4).bits == 4
    assert find(strategies.values("half"), lambda x: x > 0) == 2.0**-24
    with pytest.raises(ValueError, match="op is 'pow'"):
        find(strategies.operands("half", "pow"), bool)


def test_signalling_nans_are_not_the_same_in_float32() -> None:
    nans = np.array([0x7FF8000000000000, 0x7FF0000020000000, 0x3FF0000000000000], np.uint64).view(np.float64)
    assert verification._in_float32((nans,)).tolist() == [0, 2]
    assert verify("e4m3fn", ops=["fma"], modes=["to_odd"], overflows=["ieee"]).ok
