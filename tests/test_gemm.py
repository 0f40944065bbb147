"""The fast float32 matrix product against the plain loop of fused multiply-adds, on every bit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest

import lpsim as lp
from lpsim.cpu import gemm as module
from lpsim.cpu.gemm import gemm
from lpsim.cpu.matmul import native_matmul_kernel
from lpsim.cpu.tile import Tile, best_tile, tile_for
from lpsim.parameters import nearest_parameters


@pytest.fixture(params=["1", "2, packing apart", "2, packing together"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run with so many threads, and split even small work among them."""
    before, count = numba.get_num_threads(), int(request.param[0])
    if count > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("needs two threads")
    monkeypatch.setattr(module, "_SHARED", 1)
    monkeypatch.setattr(module, "_GRAIN", 1)
    monkeypatch.setattr(module, "_PRIVATE", 0 if request.param.endswith("together") else 1 << 30)
    numba.set_num_threads(count)
    yield
    numba.set_num_threads(before)


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of which some sums cancel, overflow, underflow or are special."""
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-12, 7, shape))
    x[rng.random(shape) < 0.05] = 0.0
    x[rng.random(shape) < 0.02] = -0.0
    if rng.random() < 0.3:
        chosen = rng.random(shape) < 0.02
        x[chosen] = rng.choice([np.inf, -np.inf, np.nan, -np.nan, 3e38, -3e38, 1e-45], shape)[chosen]
    return x.astype(np.float32)


def layout(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Return the same numbers in another place in memory."""
    choice = rng.integers(5)
    if choice == 1:
        return np.asfortranarray(x)
    if choice == 2:
        return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    if choice == 3:
        return np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3]
    if choice == 4:
        x = x.copy()
        x.flags.writeable = False
    return x


def plain(a: np.ndarray, b: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    out = np.zeros((a.shape[0], b.shape[1]), np.float32) if c is None else c.copy()
    operands = []
    for x in (a, b):
        operands.append(np.array(x, order="C"))
        operands[-1].flags.writeable = False
    native_matmul_kernel()(*operands, out, (0, out.shape[0]), (0, out.shape[1]))
    return out


def product(a: np.ndarray, b: np.ndarray, c: np.ndarray | None, fmt: lp.Format | None = None) -> np.ndarray:
    out = np.full((*a.shape[:-1], b.shape[-1]), np.nan, np.float32) if c is None else c.copy()
    rounding = None if fmt is None else nearest_parameters(fmt)
    gemm(a, b, out, rounding, rounding, zero=c is None)
    return out


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("name", [None, "half", "bf16", "e2m1fn"])
def test_same_as_the_plain_loop(name: str | None, threads: None) -> None:
    fmt = None if name is None else lp.format(name)
    rng = np.random.default_rng(0)
    for case in range(60):
        m, n = rng.integers(1, 71, 2)
        k = rng.integers(1, 41)
        a, b = numbers(rng, (m, k)), numbers(rng, (k, n))
        c = numbers(rng, (m, n)) if case % 2 else None
        if case % 7 == 0:
            b = np.broadcast_to(b[:, :1], (k, n))
        if case % 11 == 0:
            a = np.broadcast_to(a[:1], (m, k))
        expected = plain(a, b, c) if fmt is None else plain(lp.round(a, fmt), lp.round(b, fmt), c)
        assert_same_bits(product(layout(rng, a), layout(rng, b), c, fmt), expected)


def test_edges_of_tiles(threads: None) -> None:
    tile, rng = best_tile(), np.random.default_rng(1)
    for m in (tile.rows - 1, tile.rows, 2 * tile.rows + 1):
        for n in (tile.columns - 1, tile.columns, 2 * tile.columns + 1):
            a, b, c = numbers(rng, (m, 19)), numbers(rng, (19, n)), numbers(rng, (m, n))
            assert_same_bits(product(a, b, c), plain(a, b, c))


@pytest.mark.parametrize("setting", [("_STEPS", 8), ("_BLOCK", 1), ("_PACKED", 1), ("_COLUMNS", 40)])
def test_edges_of_blocks(setting: tuple[str, int], threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STEPS", 8)
    monkeypatch.setattr(module, *setting)
    rng = np.random.default_rng(2)
    for k in (7, 8, 9, 16, 25):
        a, b, c = numbers(rng, (70, k)), numbers(rng, (k, 90)), numbers(rng, (70, 90))
        assert_same_bits(product(a, b, c), plain(a, b, c))
        assert_same_bits(product(a, b.T.copy().T, None), plain(a, b, None))


@pytest.mark.parametrize("k", [767, 769, 1537])
def test_long_sums(k: int) -> None:
    rng = np.random.default_rng(k)
    a, b = numbers(rng, (13, k)), numbers(rng, (k, 33))
    assert_same_bits(product(a, b, None), plain(a, b, None))
    assert_same_bits(product(a.T.copy().T, b.T.copy().T, None), plain(a, b, None))


def test_vectors(threads: None) -> None:
    rng = np.random.default_rng(3)
    for m, k, n in ((300, 70, 1), (1, 70, 300), (1, 500, 1), (3, 200, 5)):
        a, b, c = numbers(rng, (m, k)), numbers(rng, (k, n)), numbers(rng, (m, n))
        assert_same_bits(product(a, b, c, lp.format("tf32")), plain(lp.round(a, "tf32"), lp.round(b, "tf32"), c))


@pytest.mark.parametrize("shape", [(2, 3, 1), (9, 5, 7), (13, 20, 40)])
def test_batches(shape: tuple[int, int, int], threads: None) -> None:
    rng = np.random.default_rng(4)
    m, k, n = shape
    a = np.broadcast_to(numbers(rng, (5, 1, m, k)), (5, 4, m, k))
    b = np.broadcast_to(numbers(rng, (4, k, n))[::-1], (5, 4, k, n))
    c = numbers(rng, (5, 4, m, n))
    got = product(a, b, c)
    for index in np.ndindex(5, 4):
        assert_same_bits(got[index], plain(a[index], b[index], c[index]))
    assert_same_bits(product(a[2:4, 1], b[2:4, 1], c[2:4, 1]), got[2:4, 1])


def test_nothing_to_add() -> None:
    c = numbers(np.random.default_rng(5), (20, 40))
    c[0, :2] = -np.nan, -0.0
    expected = np.where(np.isnan(c), np.float32(np.nan), c)
    assert_same_bits(product(np.empty((20, 0), np.float32), np.empty((0, 40), np.float32), c), expected)
    assert_same_bits(product(np.empty((20, 0), np.float32), np.empty((0, 40), np.float32), None), 0 * np.ones_like(c))
    for m, n in ((0, 4), (4, 0), (0, 0)):
        assert product(np.ones((m, 3), np.float32), np.ones((3, n), np.float32), None).size == 0


def test_nothing_but_the_result_is_written() -> None:
    rng = np.random.default_rng(6)
    a, b = numbers(rng, (14, 9)), numbers(rng, (9, 35))
    frame = np.full((20, 50), 7, np.float32)
    gemm(a, b, frame[3:17, 4:39], zero=True)
    assert_same_bits(frame[3:17, 4:39].copy(), plain(a, b, None))
    gemm(a, b[:, :1], frame[3:17, 4:5], zero=True)
    assert_same_bits(frame[3:17, 4:39].copy(), plain(a, b, None))
    frame[3:17, 4:39] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("threads_of_one_product", [1, 2, 5, 64])
def test_more_threads_than_panels(threads_of_one_product: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The division among many threads, which one works off here if there are not so many."""
    monkeypatch.setattr(module, "_SHARED", 1)
    monkeypatch.setattr(module, "get_num_threads", lambda: threads_of_one_product)
    monkeypatch.setattr(
        module, "map_ranges", lambda function, size, smallest: [function(i, i + 1) for i in range(size)]
    )
    rng = np.random.default_rng(7)
    for private in (0, 1 << 30):
        monkeypatch.setattr(module, "_PRIVATE", private)
        a, b, c = numbers(rng, (50, 30)), numbers(rng, (30, 100)), numbers(rng, (50, 100))
        assert_same_bits(product(a, b, c), plain(a, b, c))


def test_units_that_round_while_packing() -> None:
    rng = np.random.default_rng(8)
    a, b = numbers(rng, (37, 50)), numbers(rng, (50, 41))
    for name in ("fp32", "tf32", "bf16", "fp16", "fp8_e4m3", "fp8_e5m2"):
        unit = lp.units.get(name)
        expected = plain(*(np.asarray(lp.round(x, unit.a_format), np.float32) for x in (a, b)), None)
        assert_same_bits(lp.matmul(a, b, unit), expected)
        with np.errstate(all="ignore"):
            assert_same_bits(lp.matmul(a.astype(np.float64), b.astype(">f4"), unit), expected)


TILES: list[tuple[dict[str, bool], Tile]] = [
    ({"avx512f": True, "avx2": True, "fma": True}, Tile(12, 32, 16)),
    ({"avx512f": False, "avx2": True, "fma": True}, Tile(6, 16, 8)),
    ({"neon": True}, Tile(8, 12, 4)),
    ({}, Tile(4, 8, 4)),
]


@pytest.mark.parametrize(("features", "tile"), TILES)
def test_tiles(features: dict[str, bool], tile: Tile) -> None:
    assert tile_for(features) == tile
    # Vectors of accumulators, of b, and of one element of a.
    registers = (tile.rows + 1) * (tile.columns // tile.lanes) + 1
    assert registers <= (32 if tile.lanes == 16 or "neon" in features else 16)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names features of x86-64")
@pytest.mark.parametrize("features", ["+avx2,+fma,+avx,+sse4.2,+sse2,-avx512f", "+sse2,+sse4.2,-avx,-fma"])
def test_other_processors(features: str, tmp_path: Any) -> None:
    """What is compiled for lesser processors gives the same bits."""
    if "+fma" in features and best_tile().lanes < 8:
        pytest.skip("needs AVX2")
    rng = np.random.default_rng(9)
    a, b = numbers(rng, (31, 150)), numbers(rng, (150, 41))
    np.savez(tmp_path / "in.npz", a=a, b=b)
    program = (
        "import sys, numpy as np, lpsim as lp\n"
        "given = np.load(sys.argv[1])\n"
        "np.save(sys.argv[2], lp.matmul(given['a'], given['b'], 'bf16'))\n"
    )
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    paths = [str(tmp_path / name) for name in ("in.npz", "out.npy")]
    subprocess.run([sys.executable, "-c", program, *paths], env=environment, check=True)
    assert_same_bits(np.load(paths[1]), plain(lp.round(a, "bf16"), lp.round(b, "bf16"), None))
