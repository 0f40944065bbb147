"""The scalar operations in users' compiled code: the same bits as on arrays, one compilation for all formats."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp

Array = npt.NDArray[Any]
NAMES = ["half", "bf16", "e4m3fn", "e2m1fn", "E11M52", "E3M4_unsigned", "e5m2fnuz", "E10M40", "E8M0"]
MODES = list(lp.Rounding)
ARITY = {"round": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}


@numba.njit
def loop(operation, x, y, z, out, f):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        if operation == 0:
            out[i] = lp.jit.round(x[i], f)
        elif operation == 1:
            out[i] = lp.jit.add(x[i], y[i], f)
        elif operation == 2:
            out[i] = lp.jit.sub(x[i], y[i], f)
        elif operation == 3:
            out[i] = lp.jit.mul(x[i], y[i], f)
        elif operation == 4:
            out[i] = lp.jit.div(x[i], y[i], f)
        elif operation == 5:
            out[i] = lp.jit.sqrt(x[i], f)
        else:
            out[i] = lp.jit.fma(x[i], y[i], z[i], f)


@numba.njit(parallel=True)
def random_loop(x, out, seed, f):  # type: ignore[no-untyped-def]
    for i in numba.prange(out.size):
        word = lp.jit.random_integer(seed, i, f)
        out[i] = lp.jit.mul(x[i], x[i], f, word)


def operands(fmt: lp.Format, size: int = 2000) -> list[Array]:
    rng = np.random.default_rng(fmt.bits)
    near = np.exp2(rng.integers(max(fmt.emin - 3, -1021), fmt.emax, size).astype(float)) * (
        1 + rng.integers(0, 64, size) / 64
    )
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, fmt.max, -fmt.max])
    x = np.concatenate([near, -near[::2], rng.integers(0, 1 << 64, size, dtype=np.uint64).view(float), special])
    return [rng.permutation(x) for _ in range(3)]


def bits(x: Any) -> Array:
    array = np.asarray(x, np.float64)
    return np.where(np.isnan(array), np.uint64(1), array.view(np.uint64))


@pytest.mark.parametrize("name", NAMES)
def test_as_on_arrays(name: str) -> None:
    fmt = lp.format(name)
    x, y, z = operands(fmt)
    for mode in MODES:
        if mode.is_stochastic:
            continue
        f = fmt.params(rounding=mode, overflow="saturate" if mode == 3 else "ieee")
        for number, (operation, arity) in enumerate(ARITY.items()):
            out = np.empty(x.size)
            loop(number, x, y, z, out, f)
            expected = getattr(lp, operation)(*(x, y, z)[:arity], fmt, mode, "saturate" if mode == 3 else "ieee")
            assert np.array_equal(bits(out), bits(expected)), (operation, mode)
    assert len(loop.signatures) == 1


@pytest.mark.parametrize("mode", ["stochastic", "stochastic_equal"])
def test_random_integers_are_those_of_arrays(mode: str) -> None:
    for name in ("half", "e4m3fn"):
        x = np.random.default_rng(0).normal(size=4000)
        for random_bits in (8, 32):
            for seed in (5, 2**64 - 1):
                out = np.empty_like(x)
                random_loop(x, out, np.uint64(seed), lp.format(name).params(rounding=mode, random_bits=random_bits))
                assert np.array_equal(out, lp.mul(x, x, name, mode, seed=seed, random_bits=random_bits))
    assert len(random_loop.signatures) == 1


def test_codes() -> None:
    @numba.njit
    def there_and_back(codes, f):  # type: ignore[no-untyped-def]
        wrong = 0
        for code in codes:
            wrong += lp.jit.encode(lp.jit.decode(code, f), f) != code
        return wrong

    codes = lp.encode(lp.values("half"), "half")
    assert there_and_back(codes[codes != 0x8000], lp.float16.params()) == 0
    assert lp.jit.encode(np.nan, lp.float6_e2m3fn.params()) == -1


def test_plain_python() -> None:
    f = lp.bfloat16.params(rounding="toward_negative")
    assert lp.jit.sub(1.0, 1.0, f) == 0
    assert np.signbit(lp.jit.sub(1.0, 1.0, f))
    assert lp.jit.round(np.float32(0.1), f) == lp.round(np.float32(0.1), "bf16", "toward_negative")
    assert lp.jit.round(1, lp.bfloat16.params()) == 1


def test_random_integers_are_asked_for() -> None:
    random, plain = lp.float16.params(rounding="stochastic"), lp.float16.params()

    @numba.njit
    def without(f):  # type: ignore[no-untyped-def]
        return lp.jit.add(0.1, 0.2, f)

    @numba.njit
    def given(f):  # type: ignore[no-untyped-def]
        return lp.jit.add(0.1, 0.2, f, 3)

    assert given(random) in (0.3000488281, lp.round(0.3, "half"), lp.add(0.1, 0.2, "half", "toward_zero"))
    for call in (lambda: without(random), lambda: lp.jit.add(0.1, 0.2, random)):
        with pytest.raises((TypeError, numba.TypingError), match="needs a random integer"):
            call()
    for call in (lambda: given(plain), lambda: lp.jit.add(0.1, 0.2, plain, 3)):
        with pytest.raises((TypeError, numba.TypingError), match="word is given"):
            call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounding": "up"}, "rounding is 'up'; allowed:"),
        ({"overflow": "wrap"}, "overflow is 'wrap'; allowed:"),
        ({"random_bits": 54}, "random_bits is 54; allowed: 1 to 53"),
    ],
)
def test_bad_parameters(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lp.float16.params(**arguments)
