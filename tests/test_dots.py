"""The vector kernel of fused dots against the careful one, bit for bit, where its tiles, chunks and ranges end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numba
import numpy as np
import pytest
from comparing import assert_same

import lpsim as lp
from lpsim import dots, parts
from lpsim.parts import Place

UNITS = {
    **{
        name: lp.units.get(name)
        for name in ("v100.fp16", "v100.fp16_fp16", "a100.bf16", "a100.tf32", "h100.fp16", "ada.e4m3", "h100.e5m2_fp16")
    },
    "dealt": lp.units.b200.e4m3_mma,
    "promoted": dataclasses.replace(lp.units.h100.e4m3, order="blocked(128)", outer_format="single"),
    "six terms": lp.MatrixUnit("half", dot=lp.FusedDot(6, 27), rounding="to_odd"),
    "no chunks": lp.MatrixUnit("bf16", dot=lp.FusedDot(8, 29), rounding="toward_negative", accumulator_format="E6M9"),
    "saturating": lp.MatrixUnit(
        "e5m2", dot=lp.FusedDot(16, 10, -20), accumulator_format="half", rounding="toward_zero", overflow="saturate"
    ),
    "few bits": lp.MatrixUnit("e2m1fn", "bf16", dot=lp.FusedDot(4, 0), rounding="toward_zero", overflow="to_infinity"),
}


def carefully(a: Any, b: Any, c: Any, unit: lp.MatrixUnit) -> Any:
    out = np.array(c, np.float64)
    dots._accumulate_carefully(a, b, out, unit, (None, None), Place(0, 0), None)
    return out.astype(unit.total_format.carrier)


@pytest.mark.parametrize("kind", ["normal", "wide", "overflowing", "subnormal", "special"])
@pytest.mark.parametrize("name", UNITS)
def test_same_as_one_element_after_the_other(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UNITS[name]
    assert dots._is_vectorised(unit)
    monkeypatch.setattr(parts, "_GRAIN", 1)
    rng = np.random.default_rng([*name.encode(), *kind.encode()])
    taken = []
    chain = dots._chain
    monkeypatch.setattr(dots, "_chain", lambda *arguments: (taken.append(1), chain(*arguments)))
    for m, k, n in ((3, 270, 5), (2, 40, 300), (7, 33, 2)):
        operands = []
        for fmt, shape in ((unit.a_format, (m, k)), (unit.b_format, (k, n)), (unit.total_format, (m, n))):
            x = rng.standard_normal(shape)
            low, high = fmt.emin - fmt.mantissa_bits, fmt.emax
            if kind == "wide":
                x = np.ldexp(x, rng.integers(low, high, shape))
            if kind == "overflowing":
                x = np.ldexp(x, high - 2)
            if kind == "subnormal":
                x = np.ldexp(x, low // 2 + rng.integers(-3, 3))
            x[rng.random(shape) < 0.1] = 0
            if kind == "special":
                x[rng.random(shape) < 0.01] = rng.choice([np.inf, -np.inf, np.nan])
            operands.append(lp.round(x, fmt))
        a, b, c = operands
        for start in (c, np.zeros_like(c)):
            expected = carefully(a, b, start, unit)
            for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
                before = numba.get_num_threads()
                numba.set_num_threads(threads)
                try:
                    got = lp.matmul(a, b, unit, c=start)
                finally:
                    numba.set_num_threads(before)
                assert_same(got, expected, list(np.ndindex(expected.shape)))
    assert taken


def test_significands_serve_where_products_leave_the_range_of_binary32() -> None:
    unit = lp.units.a100.bf16
    a, b = np.array([[2.0**-120, 2.0**-130, 2.0**100]]), np.array([[2.0**-110], [2.0**-100], [2.0**-130]])
    assert lp.matmul(a, b, unit) == 2.0**-30
    a, b = np.full((1, 8), 2.0**120), np.array([[2.0**100], [-(2.0**100)]] * 4)
    assert lp.matmul(a, b, unit, c=[[3.0]]) == 0  # c is far below the largest product's last kept bit


def test_units_that_stay_with_the_careful_kernel() -> None:
    for name in ("mi100.fp16", "mi300.e4m3", "b200.nvfp4", "arm.bfdot_ebf"):
        assert not dots._is_vectorised(lp.units.get(name))
    assert not dots._is_vectorised(lp.MatrixUnit("half", dot=lp.FusedDot(4, 23), rounding="stochastic"))
    assert not dots._is_vectorised(lp.MatrixUnit("half", dot=lp.FusedDot(4, 30)))
    assert not dots._is_vectorised(lp.MatrixUnit("E5M15", dot=lp.FusedDot(4, 23)))
