"""``out=`` may share memory with operands in any way: the result is that of operands copied before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpsim as lp

N = 40_000  # beyond a piece and a thread's part

#: Calls with operands x and out, by the function's name. Shapes of operands and results are the same.
CALLS: dict[str, Callable[..., Any]] = {
    "round": lambda x, out: lp.round(x, "half", out=out),
    "neg": lambda x, out: lp.neg(x, "half", out=out),
    "abs": lambda x, out: lp.abs(x, "half", out=out),
    "sqrt": lambda x, out: lp.sqrt(x, "half", out=out),
    "add": lambda x, out: lp.add(x, 1.5, "half", out=out),
    "sub": lambda x, out: lp.sub(1.5, x, "half", out=out),
    "mul": lambda x, out: lp.mul(x, x, "half", "toward_zero", out=out),
    "div": lambda x, out: lp.div(x, 3, "half", out=out),
    "fma": lambda x, out: lp.fma(x, x[::-1], x, "half", out=out),
    "flags": lambda x, out: lp.add(x, x, "half", out=out, flags=True)[0],
    "stochastic": lambda x, out: lp.round(x, "half", "stochastic", seed=3, out=out),
}


def overlaps(memory: Any, n: int, dtype: Any, out_dtype: Any) -> Iterator[tuple[Any, Any]]:
    """Yield operands and outputs of n elements that share memory."""
    size, out_size = np.dtype(dtype).itemsize, np.dtype(out_dtype).itemsize
    base = memory[: n * size].view(dtype)

    def at(byte: int, dt: Any = out_dtype, count: int = n) -> Any:
        return memory[byte : byte + count * np.dtype(dt).itemsize].view(dt)

    yield base, at(0)
    for shift in (1, 3, 17, n // 2, n - 1):
        yield base, at(shift * out_size)
        yield at(shift * size, dtype), at(0)
    yield base[::-1], at(0)
    yield base, at(0)[::-1]
    yield at(0, dtype, 2 * n)[::2], at(0)
    yield base, at(0, out_dtype, 2 * n)[1::2]
    yield memory[1 : 1 + n * size].view(dtype), at(0)
    yield np.broadcast_to(base[:1], (n,)), at(0)
    yield np.broadcast_to(base[n - 1 :], (n,)), at(0)
    yield base.reshape(-1, 8), at(0).reshape(-1, 8)
    side = int(n**0.5)
    yield base[: side * side].reshape(side, side).T, at(0)[: side * side].reshape(side, side)


def check(call: Callable[..., Any], x: Any, out: Any) -> None:
    separate = np.empty_like(out)
    with np.errstate(all="ignore"):
        call(x.copy(), separate)
        result = call(x, out)
    assert result is out
    assert np.array_equal(out, separate, equal_nan=out.dtype.kind == "f")


def memory_of(n: int, dtype: Any) -> Any:
    """Return octets that hold positive numbers of a dtype, or codes."""
    numbers = np.random.default_rng(5).uniform(0.5, 4, 3 * n)
    if np.dtype(dtype).kind == "u":
        numbers *= 4096
    return np.concatenate([numbers.astype(dtype).view(np.uint8), np.zeros(n * 16, np.uint8)])


@pytest.mark.parametrize("n", [24, N])
@pytest.mark.parametrize("name", CALLS)
def test_values(name: str, n: int) -> None:
    for dtype in (np.float32, np.float64, np.float16, np.int32):
        for out_dtype in (np.float32, np.float64):
            for x, out in overlaps(memory_of(n, dtype), n, dtype, out_dtype):
                check(CALLS[name], x, out)


@pytest.mark.parametrize("n", [24, N])
def test_codes(n: int) -> None:
    for dtype, out_dtype in ((np.float32, np.uint16), (np.float64, np.uint64), (np.float32, np.uint32)):
        for x, out in overlaps(memory_of(n, dtype), n, dtype, out_dtype):
            check(lambda x, out: lp.encode(x, "half", out=out), x, out)
    for dtype, out_dtype in ((np.uint16, np.float32), (np.uint64, np.float64), (np.uint32, np.float32)):
        for x, out in overlaps(memory_of(n, dtype), n, dtype, out_dtype):
            if x.flags.writeable:
                x[...] = x & 0x3FFF  # codes, whatever was written before
                check(lambda x, out: lp.decode(x, "half", out=out), x, out)


@pytest.mark.parametrize("shift", [-3, 0, 5])
def test_random_integers(shift: int) -> None:
    memory = np.arange(N + 16, dtype=np.int64) % 256
    bits = memory[8 : 8 + N]
    out = memory.view(np.float64)[8 + shift : 8 + shift + N]
    expected = lp.round(np.full(N, 1.0001), "bf16", "stochastic", bits=bits.copy(), random_bits=8)
    lp.round(np.full(N, 1.0001), "bf16", "stochastic", bits=bits, random_bits=8, out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("unit", ["tf32", "fp16_fp16acc", "h100.fp16", "mi300.fp64"])
def test_products_and_sums(unit: str) -> None:
    out_dtype = lp.units.get(unit).result_format.carrier
    for shape in ((1, 1), (4, 4), (70, 70)):
        size = shape[0] * shape[1]
        memory = np.random.default_rng(1).standard_normal(4 * size).astype(out_dtype)
        a, b = memory[:size].reshape(shape), memory[size // 2 : size // 2 + size].reshape(shape)
        for out in (a, b, a.T, a[::-1], memory[size // 4 : size // 4 + size].reshape(shape)):
            before = memory.copy()
            for call in (
                lambda a, b, out: lp.matmul(a, b, unit, out=out),
                lambda a, b, out: lp.matmul(a, b.T, unit, c=b, out=out),
                lambda a, b, out: lp.dot(a, b, unit, out=out),
            ):
                expected = call(a.copy(), b.copy(), None)
                assert call(a, b, out) is out
                np.testing.assert_array_equal(out, expected)
                memory[...] = before
        expected = lp.sum(a.copy(), "half", axis=0)
        for row in (a[0], a[-1], a[:, 0]):
            before = memory.copy()
            lp.sum(a, "half", axis=0, out=row)
            np.testing.assert_array_equal(row, expected)
            memory[...] = before


@given(st.data())
def test_any_views(data: st.DataObject) -> None:
    """As `numpy.add` does, for views of any strides into one piece of memory."""
    memory = np.arange(1.0, 61.0)

    def view() -> Any:
        start = data.draw(st.integers(0, 59))
        step = data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
        return memory[start::step][:n]

    n = data.draw(st.integers(1, 12))
    x, y, out = view(), view(), view()
    n = min(x.size, y.size, out.size)
    x, y, out = x[:n], y[:n], out[:n]
    twin = memory.copy()

    def same(array: Any) -> Any:
        offset = (array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]) // 8
        return np.lib.stride_tricks.as_strided(twin[offset:], array.shape, array.strides)

    np.add(same(x), same(y), out=same(out))
    lp.add(x, y, "float64", out=out)
    np.testing.assert_array_equal(memory, twin)


def test_all_functions_with_an_output_are_here() -> None:
    """A new one must be added above."""
    found = {
        name
        for name in dir(lp)
        if inspect.isfunction(getattr(lp, name)) and "out" in inspect.signature(getattr(lp, name)).parameters
    }
    assert found == {*CALLS, "encode", "decode", "matmul", "dot", "sum"} - {"flags", "stochastic"}


def test_arrays() -> None:
    values = lp.array(np.linspace(1, 2, 50), "half")
    expected = values[1:] + values[:-1]
    np.add(values[1:], values[:-1], out=values[:-1])
    np.testing.assert_array_equal(values[:-1].values, expected.values)
