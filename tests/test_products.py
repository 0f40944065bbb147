"""Products in tiles have the bits of the same products as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lpsim as lp
from lpsim import products
from lpsim.units import NAMED_UNITS

OTHERS = {
    "pairwise": lp.MatrixUnit("half", order="pairwise"),
    "reverse": lp.MatrixUnit("half", accumulator_format="half", order="reverse"),
    "kahan": lp.MatrixUnit("bf16", accumulator_format="bf16", order="kahan"),
    "interleaved": lp.MatrixUnit("half", accumulator_format="half", order="interleaved(3)"),
    "blocks": lp.MatrixUnit("half", accumulator_format="half", order="blocked(4)", outer_format="float32"),
    "blocks of trees": lp.MatrixUnit("half", order="blocked(8, pairwise)"),
    "double": lp.MatrixUnit("float64", accumulator_format="float64"),
    "output": lp.MatrixUnit("half", output_format="e4m3fn"),
    "products": lp.MatrixUnit("half", product_format="half", accumulator_format="float32"),
    "single": lp.MatrixUnit("float32", accumulator_format="half"),
    "saturating": lp.MatrixUnit("float32", input_overflow="saturate", overflow="saturate"),
    "stochastic": lp.MatrixUnit("half", accumulator_format="bf16", rounding="stochastic"),
    "stochastic trees": lp.MatrixUnit("half", accumulator_format="bf16", rounding="stochastic", order="pairwise"),
    "stochastic totals": lp.MatrixUnit("half", order="blocked(5)", outer_rounding="stochastic"),
    "stochastic dots": lp.MatrixUnit("half", dot=lp.FusedDot(4, 20), rounding="stochastic"),
    "stochastic inputs": lp.MatrixUnit("e4m3fn", input_rounding="stochastic"),
    "stochastic output": lp.MatrixUnit("half", output_format="e4m3fn", rounding="stochastic"),
}
#: Units whose random words belong to places in all of an operand or of the result.
WHOLE = ("stochastic inputs", "stochastic output")
UNITS = {**{name: unit for name, unit in NAMED_UNITS.items() if name == unit.name}, **OTHERS}


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Make tiles of few numbers, for small products; the list tells which tiles there were."""
    tiles: list[Any] = []
    tile = products.Product._tile

    def noted(self: Any, factors: Any) -> tuple[int, int, int]:
        tiles.append(tile(self, factors))
        return tiles[-1]

    monkeypatch.setattr(products.Product, "_tile", noted)
    for name, value in (("_LARGE", 64), ("_LARGE_GEMM", 64), ("_TILE", (4, 3, 7 * 33)), ("_GEMM_TILE", (4, 3, 3 * 33))):
        monkeypatch.setattr(products, name, value)
    return tiles


def operands(unit: lp.MatrixUnit, dtype: Any = np.float32) -> tuple[Any, Any, dict[str, Any]]:
    rng = np.random.default_rng(7)
    a, b = (2.0 ** rng.integers(-6, 7, shape) * rng.standard_normal(shape) for shape in ((9, 131), (131, 7)))
    a[0, 5], a[1, 9], b[3, 6], b[100, 2] = np.inf, np.nan, -np.inf, 2.0**-140
    given: dict[str, Any] = {"seed": 3} if unit.is_stochastic else {}
    if unit.scale_format is not None:
        assert unit.scale_block is not None
        blocks = -(-131 // unit.scale_block)
        given |= {
            "a_scale": 2.0 ** rng.integers(-2, 3, (9, blocks)),
            "b_scale": 2.0 ** rng.integers(-2, 3, (blocks, 7)),
        }
    with np.errstate(all="ignore"):
        return a.astype(dtype), b.astype(dtype), given


@pytest.mark.parametrize("name", UNITS)
def test_units(name: str, small_tiles: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UNITS[name]
    a, b, given = operands(unit)
    c = np.linspace(-3, 3, 63, dtype=np.float32).reshape(9, 7)
    tiled = lp.matmul(a, b, unit, **given), lp.matmul(a, b, unit, c=c, **given)
    assert len(small_tiles) > 0 or name in WHOLE
    monkeypatch.setattr(products.Product, "is_large", lambda *_: False)
    whole = lp.matmul(a, b, unit, **given), lp.matmul(a, b, unit, c=c, **given)
    for one, other in zip(tiled, whole, strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def test_all_terms_are_not_at_once(small_tiles: list[Any]) -> None:
    for name, unit in UNITS.items():
        a, b, given = operands(unit)
        del small_tiles[:]
        lp.matmul(a, b, unit, **given)
        if name not in WHOLE:
            assert (small_tiles[0][2] >= 131) == (name in ("pairwise", "kahan", "interleaved") or unit.is_stochastic), (
                name
            )


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int64", ">f4", "bool"])
@pytest.mark.parametrize("unit", ["tf32", "fp16_fp16acc", "h100.fp16"])
def test_dtypes_and_layouts(dtype: str, unit: str, small_tiles: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-9, 9, shape).astype(dtype) for shape in ((131, 18), (14, 131)))
    c = rng.integers(-9, 9, 7).astype(dtype)
    tiled = lp.matmul(a.T[::2], b.T[:, ::-2], unit, c=c)
    assert small_tiles
    monkeypatch.setattr(products.Product, "is_large", lambda *_: False)
    np.testing.assert_array_equal(tiled, lp.matmul(a.T[::2], b.T[:, ::-2], unit, c=c), strict=True)


SHAPES = [
    ((5, 9, 131), (131, 7)),
    ((2, 5, 4, 6), (1, 5, 6, 4)),
    ((131,), (131, 7)),
    ((9, 131), (131,)),
    ((1, 1, 3, 40), (4, 3, 40, 2)),
    ((131,), (131,)),
    ((40, 2, 3), (40, 3, 2)),
    ((0, 9, 131), (131, 7)),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(
    "unit", ["tf32", "fp16_fp16acc", "h100.fp16", "ada.e4m3_fp16", "stochastic", "stochastic dots"]
)
def test_batches(
    shapes: tuple[tuple[int, ...], ...], unit: str, small_tiles: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (np.random.default_rng(2).standard_normal(shape).astype(np.float32) for shape in shapes)
    given: Any = (OTHERS[unit], 5) if unit in OTHERS else (unit, None)
    tiled = lp.matmul(a, b, given[0], seed=given[1])
    out = np.full_like(tiled, 7)
    assert lp.matmul(a, b, given[0], seed=given[1], out=out) is out
    monkeypatch.setattr(products.Product, "is_large", lambda *_: False)
    whole = lp.matmul(a, b, given[0], seed=given[1])
    np.testing.assert_array_equal(tiled, whole, strict=True)
    np.testing.assert_array_equal(out, whole, strict=True)


def test_an_output_in_the_memory_of_a_factor(small_tiles: list[Any]) -> None:
    a, b = (np.random.default_rng(i).standard_normal((20, 20)).astype(np.float32) for i in range(2))
    right = lp.matmul(a, b, "h100.fp16")
    for out in (a, b, a.T):
        left_copy, right_copy = a.copy(), b.copy()
        lp.matmul(a, b, "h100.fp16", out=out)
        np.testing.assert_array_equal(out, right)
        a[...], b[...] = left_copy, right_copy


@pytest.mark.parametrize("order", ["sequential", "reverse", "pairwise", "kahan", "blocked(8)", "interleaved(4)"])
def test_sums(order: str, small_tiles: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(4).standard_normal((20, 30)).astype(np.float32)
    tiled = [lp.sum(x, "half", order=order, axis=axis) for axis in (None, 0, 1)]
    assert small_tiles
    monkeypatch.setattr(products.Product, "is_large", lambda *_: False)
    for axis, one in zip((None, 0, 1), tiled, strict=True):
        np.testing.assert_array_equal(one, lp.sum(x, "half", order=order, axis=axis))


@pytest.mark.parametrize("unit", ["tf32", "fp16_fp16acc", "h100.fp16", "output"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_nothing(unit: str, dtype: Any, small_tiles: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float, **_: np.full(shape, 7, dtype))
    result = lp.matmul(np.ones((20, 0), dtype), np.ones((0, 30), dtype), OTHERS.get(unit, unit))
    assert result.shape == (20, 30)
    assert not result.any()


@pytest.mark.parametrize("unit", ["fp32", "tf32", "mi300.fp64", "fp16_fp16acc", "single"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_fields_of_records(unit: str, dtype: str) -> None:
    """Their elements are not aligned, and their strides no multiples of their size."""
    records = np.zeros((6, 7), [("before", "u1"), ("value", dtype)])
    records["value"] = np.random.default_rng(0).standard_normal((6, 7))
    x, chosen = records["value"], OTHERS.get(unit, unit)
    np.testing.assert_array_equal(lp.matmul(x, x.T, chosen), lp.matmul(x.copy(), x.T.copy(), chosen))
    np.testing.assert_array_equal(lp.sum(x, "half", axis=0), lp.sum(x.copy(), "half", axis=0))
