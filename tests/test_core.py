"""The scalar core as ordinary Python, without the compiler, against the reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from comparing import same
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED_MODES, OPERATIONS, floats, formats, modes, operands

import lpsim as lp
from lpsim import reference
from lpsim.core import operations
from lpsim.core.bits import fma
from lpsim.core.codes import code_of, value_of
from lpsim.core.random import random_integer, stream_key, word_at
from lpsim.core.rounding import round_parts, round_parts_stochastic
from lpsim.parameters import parameters

NUMBERS = {"round": operations.ROUND} | {name: getattr(operations, name.upper()) for name in OPERATIONS}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("carrier", [np.float64, np.float32])
@settings(max_examples=60)
@given(data=st.data())
def test_operations(name: str, carrier: Any, data: st.DataObject) -> None:
    fmt = data.draw(formats())
    mode = data.draw(modes(fmt))
    numbers = (data.draw(floats(fmt)),) if name == "round" else data.draw(operands(fmt, name))
    with np.errstate(all="ignore"):
        numbers = tuple(map(carrier, numbers))
        f = parameters(fmt, mode["rounding"], mode["overflow"], mode["random_bits"])
        x, y, z = (*numbers, *numbers, *numbers)[:3]
        parts = operations.exact_result(NUMBERS[name], x, y, z, f)
        if mode["rounding"].is_stochastic:
            value, flags = round_parts_stochastic(parts, np.int64(mode["bits"]), f)
        else:
            value, flags = round_parts(parts, f)
    expected, raised = getattr(reference, name)(*map(float, numbers), fmt, **mode, flags=True)
    assert same(float(value), expected), (numbers, fmt.spec, mode)
    assert int(flags) == int(raised), (numbers, fmt.spec, mode)


@given(st.data())
def test_codes(data: st.DataObject) -> None:
    fmt = data.draw(formats())
    f = parameters(fmt)
    code = data.draw(st.integers(0, (1 << fmt.bits) - 1))
    with np.errstate(all="ignore"):
        value = value_of(np.uint64(code).astype(np.int64), f)
        assert same(float(value), reference.decode(code, fmt))
        if value == value or fmt.has_nan:
            assert int(code_of(value, f)) % (1 << 64) == reference.encode(float(value), fmt)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 4))
def test_random_words(seed: int, index: int, stream: int) -> None:
    with np.errstate(over="ignore"):
        word = word_at(stream_key(np.uint64(seed), stream), index)
    assert int(word) == reference.random_word(seed, index, stream)
    assert int(random_integer(word, parameters(lp.float16, random_bits=7))) == int(word) >> 57


@given(st.floats(width=64), st.floats(width=64), st.floats(width=64))
def test_fma_of_python_equals_the_processor(x: float, y: float, z: float) -> None:
    with np.errstate(all="ignore"):
        assert same(float(fma(np.float64(x), np.float64(y), np.float64(z))), float(lp.fma(x, y, z, "float64")))


@pytest.mark.parametrize("mode", FIXED_MODES, ids=lambda mode: mode.name.lower())
def test_fma_beside_a_tie_of_binary64(mode: lp.Rounding) -> None:
    # The product is 2**-53 - 2**-107: in binary64 its sum with z leaves half a unit and, 54 bits further down, a tail.
    x, y = 2.0**-53 * (1 + 2.0**-27), 1 - 2.0**-27
    f = parameters(lp.float64, mode)
    for z, sign in itertools.product((1.0, 1 + 2.0**-52, -1.0, -1 - 2.0**-52), (1, -1)):
        expected, raised = reference.fma(sign * x, y, z, "float64", rounding=mode, flags=True)
        numbers = tuple(map(np.float64, (sign * x, y, z)))
        for value, flags in (
            round_parts(operations.exact_result(operations.FMA, *numbers, f), f),
            lp.fma(*numbers, "float64", mode, flags=True),
        ):
            assert same(float(value), expected), (sign * x, y, z)
            assert int(flags) == int(raised)
