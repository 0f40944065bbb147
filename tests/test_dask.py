"""lpsim's functions on dask arrays have the bits that one machine computes, however the arrays are chunked."""

import itertools
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from clusters import local_cluster
from dask.base import tokenize
from hypothesis import given, settings
from hypothesis import strategies as st

import lpsim as lp
from lpsim.dask.elementwise import random_integers
from lpsim.testing.strategies import arrays, dot_units, units

RNG = np.random.default_rng(20)
X = RNG.standard_normal((7, 9)) * 2.0 ** RNG.integers(-20, 20, (7, 9))
Y = RNG.standard_normal((7, 9)).astype(np.float32)

CHUNKINGS = [(7, 9), (3, 4), ((1, 4, 2), (5, 1, 3)), (1, 1), ((0, 7, 0), (2, 0, 7))]


def assert_bits(got, expected):
    """Compare a dask array, or what it computes, with NumPy's result: dtype, shape and all bits."""
    if isinstance(got, da.Array):
        with dask.config.set(scheduler="synchronous"):
            computed = got.compute()
        assert got.dtype == computed.dtype
        assert got.shape == computed.shape
        got = computed
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    unsigned = f"u{got.dtype.itemsize}"
    np.testing.assert_array_equal(got.reshape(-1).view(unsigned), expected.reshape(-1).view(unsigned))


def chunked(array, chunks):
    return da.from_array(array, chunks=chunks)


@st.composite
def partitions(draw, size):
    """Draw chunks of an axis, empty ones among them."""
    inner = draw(st.lists(st.integers(0, size), max_size=4).map(sorted))
    bounds = [0, *inner, size]
    return tuple(stop - start for start, stop in itertools.pairwise(bounds))


# Elementwise.

STOCHASTIC = {"rounding": "stochastic", "seed": 2**64 - 3}


@pytest.mark.parametrize("chunks", CHUNKINGS, ids=str)
@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: lp.round(x, "e4m3fn"),
        lambda x, y: lp.round(x, fmt="e4m3fn", **STOCHASTIC),
        lambda x, y: lp.round(x, "half", "stochastic_equal", seed=1, random_bits=5),
        lambda x, y: lp.round(x, "half", bits=7, rounding="stochastic"),
        lambda x, y: lp.encode(x=x, fmt="bf16"),
        lambda x, y: lp.encode(x, "e5m2", **STOCHASTIC),
        lambda x, y: lp.decode(lp.encode(x, "e4m3fn"), "e4m3fn"),
        lambda x, y: lp.neg(x, "bf16"),
        lambda x, y: lp.abs(x, "E8M30"),
        lambda x, y: lp.sqrt(y, "bf16", "toward_positive"),
        lambda x, y: lp.add(x, y, "bf16", **STOCHASTIC),
        lambda x, y: lp.sub(x, y, "e5m2", overflow="saturate"),
        lambda x, y: lp.mul(x, y, "float64"),
        lambda x, y: lp.div(x, y, "half", **STOCHASTIC),
        lambda x, y: lp.fma(x, y, y, "bf16"),
        lambda x, y: lp.fma(x, y, z=x, fmt="bf16", random_bits=53, **STOCHASTIC),
    ],
)
def test_elementwise_functions_keep_chunks_and_bits(call, chunks):
    x, y = chunked(X, chunks), chunked(Y, chunks)
    result = call(x, y)
    assert isinstance(result, da.Array)
    assert_bits(result, call(X, Y))
    if all(isinstance(part, int) for part in chunks):
        assert result.chunks == x.chunks


@pytest.mark.parametrize("mode", [{}, STOCHASTIC])
def test_flags_are_a_second_array(mode):
    value, flags = lp.div(chunked(X, (2, 5)), 3.0, "e4m3fn", flags=True, **mode)
    expected = lp.div(X, 3.0, "e4m3fn", flags=True, **mode)
    assert flags.chunks == value.chunks
    assert_bits(value, expected[0])
    assert_bits(flags, expected[1])
    assert len(set(np.ravel(expected[1]))) > 1
    codes, flags = lp.encode(chunked(X, (2, 5)), "e4m3fn", flags=True, **mode)
    expected = lp.encode(X, "e4m3fn", flags=True, **mode)
    assert_bits(codes, expected[0])
    assert_bits(flags, expected[1])


@given(st.data())
@settings(max_examples=40)
def test_random_bits_are_those_of_the_whole_array(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 6), max_size=4)))
    chunks = tuple(data.draw(partitions(size)) for size in shape)
    seed, random_bits = data.draw(st.integers(0, 2**64 - 1)), data.draw(st.integers(1, 53))
    x = np.linspace(1, 2, math.prod(shape)).reshape(shape)
    how = {"rounding": "stochastic", "seed": seed, "random_bits": random_bits}
    assert_bits(lp.add(chunked(x, chunks), 2.0**-9, "bf16", **how), lp.add(x, 2.0**-9, "bf16", **how))


def test_random_integers_are_those_of_the_kernels():
    shape, seed = (3, 5, 2), 11
    drawn = random_integers(seed, 53, shape, [(0, 3), (0, 5), (0, 2)])
    f = lp.float16.params("stochastic", random_bits=53)
    assert drawn.ravel().tolist() == [int(lp.jit.random_integer(seed, i, f)) for i in range(drawn.size)]
    # Beyond 2**32 elements, of an array that no machine holds.
    far = random_integers(seed, 53, (2**20, 2**20), [(2**19, 2**19 + 1), (7, 9)])
    assert far.ravel().tolist() == [int(lp.jit.random_integer(seed, 2**39 + i, f)) for i in (7, 8)]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (chunked(X, (3, 4)), Y),
        (X, chunked(Y, (2, 9))),
        (chunked(X, (3, 4)), chunked(Y, (7, 2))),  # misaligned
        (chunked(X, (3, 4)), chunked(Y[:1], (1, 5))),
        (chunked(X[:, :1], (3, 1)), chunked(Y[0], 2)),
        (chunked(X, (3, 4)), 0.1),
        (chunked(X, (3, 4)), 2**60 + 2**20),
        (chunked(X, (3, 4)), [0.1] * 9),
        (chunked(np.arange(9) - 4, 4), chunked(Y, 5)),
        (chunked(np.arange(9, dtype=np.int64) << 53, 4), chunked(Y.astype(np.float16), 5)),
        (chunked(Y.astype(ml_dtypes.bfloat16), 4), chunked(Y > 0, 5)),
        (chunked(np.array(0.3), ()), chunked(X, (3, 4))),
        (chunked(np.array(0.3), ()), 3.0),
        (chunked(np.empty((0, 4)), (0, 2)), 1.0),
        (chunked(np.empty((0, 4)), (0, 2)), chunked(np.ones((1, 4)), 3)),
    ],
)
@pytest.mark.parametrize("mode", [{}, STOCHASTIC])
def test_operands_broadcast_as_numpy_arrays_do(x, y, mode):
    plain = [one.compute() if isinstance(one, da.Array) else one for one in (x, y)]
    assert_bits(lp.add(x, y, "bf16", **mode), np.asarray(lp.add(*plain, "bf16", **mode)))


def test_integers_of_64_bits_are_rounded_once():
    x = np.array([[2**53 + 1, 2**63 - 1], [1, -(2**62) - 2**38 - 1]])
    for mode in ({}, STOCHASTIC):
        assert_bits(lp.round(chunked(x, 1), "float32", **mode), lp.round(x, "float32", **mode))


def test_given_random_integers_are_chunked_too():
    bits = RNG.integers(0, 2**32, X.shape)
    expected = lp.round(X, "bf16", "stochastic", bits=bits)
    assert_bits(lp.round(chunked(X, (3, 4)), "bf16", "stochastic", bits=bits), expected)
    assert_bits(lp.round(X, "bf16", "stochastic", bits=chunked(bits, (2, 2))), expected)


def failing_array(shape, chunks):
    """Return a dask array that cannot be computed."""

    def fail(block):
        raise RuntimeError("computed")

    return da.map_blocks(fail, da.zeros(shape, chunks=chunks), dtype=np.float64, meta=np.empty((0,) * len(shape)))


def test_nothing_is_computed_before_it_is_asked_for():
    x = failing_array((4, 4), 2)
    results = [
        lp.round(x, "half", "stochastic", seed=1),
        *lp.sqrt(x, "half", flags=True),
        lp.matmul(x, x, c=x),
        lp.dot(x, x),
        lp.sum(x, "half"),
    ]
    for result in results:
        with pytest.raises(RuntimeError, match="computed"):
            result.compute(scheduler="synchronous")


def test_names_are_the_same_each_time_and_differ_with_arguments():
    # So that results can be reused, and no others are taken for them.
    x = chunked(X[:, :7], 3)
    calls = [
        lambda: lp.round(x, "half"),
        lambda: lp.round(x, "bf16"),
        lambda: lp.round(x, "half", "stochastic", seed=1),
        lambda: lp.round(x, "half", "stochastic", seed=2),
        lambda: lp.matmul(x, x),
        lambda: lp.matmul(x, x, lp.units.bf16),
        lambda: lp.matmul(x, x, lp.MatrixUnit("tf32", order="reverse")),
        lambda: lp.matmul(x, x, c=x),
        lambda: lp.sum(x, "half", axis=0),
        lambda: lp.sum(x, "half", axis=1),
    ]
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        names = [call().name for call in calls]
        assert names == [call().name for call in calls]
    assert len(set(names)) == len(names)
    assert tokenize(lp.units.h100.e4m3) == tokenize(pickle.loads(pickle.dumps(lp.units.h100.e4m3)))


# Products.

WHOLE_K = ("pairwise", "kahan", "interleaved(3)")


def drawn_product(data, unit):
    """Draw factors and start values, and all in chunks."""
    m, n = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    k = data.draw(st.integers(0, 20))
    a, b = data.draw(arrays(unit.a_format, (m, k))), data.draw(arrays(unit.b_format, (k, n)))
    c = data.draw(st.one_of(st.none(), arrays(unit.total_format, data.draw(st.sampled_from([(m, n), (1, n), (n,)])))))
    lazy_a = chunked(a, (data.draw(partitions(m)), data.draw(partitions(k))))
    lazy_b = chunked(b, (data.draw(partitions(k)), data.draw(partitions(n))))
    lazy_c = None if c is None else chunked(c, tuple(data.draw(partitions(size)) for size in c.shape))
    return (a, b, c), (lazy_a, lazy_b, lazy_c)


@given(st.data(), units())
@settings(max_examples=80)
def test_matmul_of_any_unit(data, unit):
    (a, b, c), (lazy_a, lazy_b, lazy_c) = drawn_product(data, unit)
    assert_bits(lp.matmul(lazy_a, lazy_b, unit, lazy_c), lp.matmul(a, b, unit, c))


@given(st.data(), dot_units())
@settings(max_examples=60)
def test_matmul_of_any_unit_with_dots(data, unit):
    (a, b, c), (lazy_a, lazy_b, lazy_c) = drawn_product(data, unit)
    assert_bits(lp.matmul(lazy_a, lazy_b, unit, lazy_c), lp.matmul(a, b, unit, c))


@given(st.data(), units(stochastic=True))
@settings(max_examples=30)
def test_matmul_of_stochastic_units(data, unit):
    (a, b, c), (lazy_a, lazy_b, lazy_c) = drawn_product(data, unit)
    assert_bits(lp.matmul(lazy_a, lazy_b, unit, lazy_c, seed=9), lp.matmul(a, b, unit, c, seed=9))


SCALED = [name for name, unit in lp.units.NAMED_UNITS.items() if unit.scale_format is not None]
PLAIN = [name for name in lp.units.NAMED_UNITS if name not in SCALED]


def wide(fmt, shape):
    """Return numbers over a range that loses some terms and keeps others."""
    spread = RNG.integers(-6, 6, shape)
    return np.asarray(lp.round(RNG.standard_normal(shape) * 2.0**spread, fmt), np.float32)


@pytest.mark.parametrize("name", PLAIN)
def test_matmul_of_each_named_unit(name):
    unit = lp.units.get(name)
    a, b = wide(unit.a_format, (3, 150)), wide(unit.b_format, (150, 4))
    c = wide(unit.total_format, (3, 4))
    lazy_a, lazy_b = chunked(a, (2, (1, 70, 9, 70))), chunked(b, ((33, 100, 17), 3))
    assert_bits(lp.matmul(lazy_a, lazy_b, name, c), lp.matmul(a, b, name, c))


@pytest.mark.parametrize("name", SCALED)
def test_matmul_with_scales_of_blocks(name):
    unit = lp.units.get(name)
    size, k = unit.scale_block, 5 * 64 - 3
    blocks = -(-k // size)
    a, b = wide(unit.a_format, (3, k)), wide(unit.b_format, (k, 4))
    a_scale, b_scale = (
        np.asarray(lp.round(2.0 ** RNG.integers(-3, 3, s), unit.scale_format)) for s in ((3, blocks), (blocks, 4))
    )
    whole = lp.matmul(a, b, unit, a_scale=a_scale, b_scale=b_scale)
    lazy_a, lazy_b = chunked(a, (2, (70, 130, k - 200))), chunked(b, ((65, k - 65), 3))
    assert_bits(lp.matmul(lazy_a, lazy_b, unit, a_scale=a_scale, b_scale=b_scale), whole)
    lazy_scales = {"a_scale": chunked(a_scale, (1, 2)), "b_scale": chunked(b_scale, (3, 3))}
    lazily = lp.matmul(lazy_a, b, unit, **lazy_scales)
    assert_bits(lazily, whole)
    assert links(lazily) > 1
    # One scale for all rows.
    row = a_scale[:1]
    assert_bits(
        lp.matmul(lazy_a, lazy_b, unit, a_scale=row, b_scale=b_scale),
        lp.matmul(a, b, unit, a_scale=row, b_scale=b_scale),
    )


def links(result):
    """Return how many tasks of the product's own there are for each chunk of it."""
    layer = result.dask.layers[result.name]
    return len(layer) // math.prod(result.numblocks)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ({}, 4),
        ({"order": "reverse"}, 4),
        ({"output_format": "e4m3fn"}, 4),
        ({"flush_inputs": "signed"}, 4),
        ({"order": "blocked(10)"}, 3),  # 13, 14 and 31 of 40 end up at 10 and 30
        ({"order": "blocked(50)"}, 1),
        ({"order": "blocked(8, kahan)"}, 3),
        ({"dot": lp.FusedDot(16, 24)}, 2),
        *(({"order": order}, 1) for order in WHOLE_K),
        ({"rounding": "stochastic"}, 1),
    ],
    ids=str,
)
def test_chunks_of_k_are_kept_where_a_product_can_be_continued(unit, expected):
    unit = lp.MatrixUnit("bf16", accumulator_format="bf16", **unit)
    a, b = wide("bf16", (4, 40)), wide("bf16", (40, 4))
    result = lp.matmul(chunked(a, (2, (13, 1, 17, 9))), chunked(b, ((14, 26), 2)), unit, seed=3)
    assert links(result) == expected
    assert result.numblocks == ((1, 1) if unit.is_stochastic else (2, 2))
    assert_bits(result, lp.matmul(a, b, unit, seed=3))


def test_the_orders_that_need_one_chunk_do_need_it():
    # Otherwise these cases would test nothing.
    a, b = wide("bf16", (4, 40)), wide("bf16", (40, 4))
    for order in (*WHOLE_K, "blocked(10)"):
        unit = lp.MatrixUnit("bf16", accumulator_format="bf16", order=order)
        parts = lp.matmul(a[:, 13:], b[13:], unit, lp.matmul(a[:, :13], b[:13], unit))
        assert (parts != lp.matmul(a, b, unit)).any()


@pytest.mark.parametrize("flush", ["signed", "positive", "signed_c"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_accumulators_on_their_way_are_not_flushed_as_start_values_are(flush, cut):
    # Partial sums of 2**-20, below half's 2**-14, and of -0; the factors' own small numbers are flushed.
    a = np.array([[2.0**-10, 1, 1.0, 2.0**-15], [-(2.0**-30), 1, 1, 1]])
    b = np.array([[2.0**-10], [-0.0], [-0.0], [1.0]])
    for c in (None, np.array([[2.0**-20], [-(2.0**-20)]])):
        unit = lp.MatrixUnit("half", accumulator_format="half", flush_inputs=flush)
        lazily = lp.matmul(chunked(a, (2, (cut, 4 - cut))), b, unit, c)
        assert links(lazily) == 2
        assert_bits(lazily, lp.matmul(a, b, unit, c))


def test_boundaries_are_those_of_dots_and_of_blocks_with_a_scale():
    unit = lp.MatrixUnit("e4m3fn", dot=lp.FusedDot(8, 20), scale_format="e8m0fnu", scale_block=16)
    a, b = wide("e4m3fn", (2, 64)), wide("e4m3fn", (64, 2))
    scales = {"a_scale": 2.0 ** np.arange(4)[None], "b_scale": 0.5 ** np.arange(4)[:, None]}
    lazily = lp.matmul(chunked(a, (2, (24, 40))), b, unit, **scales)
    assert links(lazily) == 2
    assert_bits(lazily, lp.matmul(a, b, unit, **scales))


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((12,), (12,)),
        ((12,), (12, 5)),
        ((4, 12), (12,)),
        ((3, 4, 12), (12, 5)),
        ((3, 4, 12), (3, 12, 5)),
        ((3, 1, 4, 12), (2, 12, 5)),
        ((12,), (2, 3, 12, 5)),
        ((2, 1, 4, 12), (12,)),
        ((0, 4, 12), (12, 5)),
        ((4, 0), (0, 5)),
    ],
)
@pytest.mark.parametrize("function", [lp.matmul, lp.dot])
@pytest.mark.parametrize("order", ["sequential", "blocked(4)", "pairwise"])
def test_vectors_and_batches(function, a_shape, b_shape, order):
    a, b = wide("bf16", a_shape), wide("bf16", b_shape)
    unit = lp.MatrixUnit("bf16", accumulator_format="bf16", order=order)
    expected = function(a, b, unit)
    c = wide("bf16", np.shape(expected))
    for with_c in ({}, {"c": c}, {"c": chunked(c, 1)}, {"c": 0.5}):
        plain = {name: one.compute() if isinstance(one, da.Array) else one for name, one in with_c.items()}
        got = function(chunked(a, 5), chunked(b, 3), unit, **with_c)
        assert_bits(got, np.asarray(function(a, b, unit, **plain)))
    assert_bits(function(chunked(a, 5), b, unit), expected)
    assert_bits(function(a, chunked(b, 3), unit), expected)


def test_dot_takes_an_order():
    x, y = wide("half", 100), wide("half", 100)
    for order in ("reverse", "pairwise", "blocked(7)"):
        assert_bits(
            lp.dot(chunked(x, 13), chunked(y, 30), "fp16_fp16acc", order=order),
            lp.dot(x, y, "fp16_fp16acc", order=order),
        )


def test_dot_of_a_stochastic_unit():
    unit = lp.MatrixUnit("bf16", accumulator_format="bf16", rounding="stochastic")
    a, b = wide("bf16", (2, 3, 9)), wide("bf16", (4, 9, 2))
    assert_bits(lp.dot(chunked(a, 2), chunked(b, 3), unit, seed=5), lp.dot(a, b, unit, seed=5))


# Sums.


@given(st.data(), units(stochastic=True))
@settings(max_examples=80)
def test_sum_in_any_order(data, unit):
    shape = tuple(data.draw(st.lists(st.integers(0, 6), max_size=3)))
    x = data.draw(arrays("half", shape))
    chunks = tuple(data.draw(partitions(size)) for size in shape)
    axes = st.lists(st.sampled_from(range(len(shape))), unique=True).map(tuple) if shape else st.just(())
    options = {
        "fmt": unit.accumulator_format,
        "order": unit.order,
        "outer_format": unit.outer_format,
        "rounding": unit.rounding,
        "overflow": unit.overflow,
        "axis": data.draw(st.one_of(st.none(), axes)),
        "keepdims": data.draw(st.booleans()),
        "seed": 3,
    }
    assert_bits(lp.sum(chunked(x, chunks), **options), np.asarray(lp.sum(x, **options)))


def test_sums_of_no_elements():
    x = np.empty((0, 0))
    for axis in (None, 0, 1, (), (0, 1)):
        assert_bits(lp.sum(chunked(x, ((0,), (0, 0))), "half", axis=axis), np.asarray(lp.sum(x, "half", axis=axis)))


def test_a_long_sum_keeps_its_chunks():
    x = np.full(10000, 0.1)
    lazy = chunked(x, 999)
    for order, expected in (("sequential", 11), ("reverse", 11), ("blocked(1000)", 10), ("pairwise", 1)):
        total = lp.sum(lazy, "half", order=order)
        assert links(total) == expected
        assert_bits(total, lp.sum(x, "half", order=order))


# Processes.


def test_workers_in_other_processes_compute_the_same_bits():
    unit = lp.MatrixUnit("half", accumulator_format="half", order="blocked(10, kahan)", output_format="bf16")
    a, b = wide("half", (90, 200)), wide("half", (200, 70))
    x, y = chunked(a, (40, 30)), chunked(b, (70, 33))
    with local_cluster():
        for got, expected in (
            (lp.matmul(x, y, unit), lp.matmul(a, b, unit)),
            (lp.sum(x, "bf16"), lp.sum(a, "bf16")),
            (lp.mul(x, 0.3, "e4m3fn", **STOCHASTIC), lp.mul(a, 0.3, "e4m3fn", **STOCHASTIC)),
        ):
            assert_bits(got.compute(), expected)


SCRIPT = Path(__file__).parents[1] / "benchmarks" / "distributed_product.py"


@pytest.mark.parametrize("kill", [False, True])
def test_a_product_from_disk_to_disk_with_a_worker_killed_midway(tmp_path, kill):
    # One tile: all of the product is compared.
    sizes = ["--size", "1000", "--chunk", "130", "--tiles", "1", "--tile", "1000", "--memory", "1GB"]
    command = [sys.executable, str(SCRIPT), *sizes, "--unit", "h100.fp16", "--folder", str(tmp_path)]
    result = subprocess.run(command + ["--kill"] * kill, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["wrong_tiles"] == 0
    assert report["chunks"] == 64
    assert report["worker_peak_mb"] < 1000
    if kill:
        assert 16 <= report["chunks_when_killed"] < 64
        assert report["killed_pid"] > 0


def test_the_comparison_of_tiles_sees_one_bit(tmp_path):
    sizes = ["--size", "64", "--chunk", "32", "--tiles", "1", "--tile", "64"]
    command = [sys.executable, str(SCRIPT), *sizes, "--folder", str(tmp_path)]
    code = (
        "import sys, zarr; sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0]); import distributed_product as p\n"
        "from pathlib import Path\n"
        "folder = Path(sys.argv[1]); c = zarr.open_array(str(folder / 'C'), mode='r+')\n"
        "x = c[5, 7:8]; x.view('u4')[0] ^= 1; c[5, 7:8] = x\n"
        "print(p.wrong_tiles(folder, 'tf32', 1, 64, 0))"
    )
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    changed = [sys.executable, "-c", code, str(SCRIPT.parent), str(tmp_path)]
    result = subprocess.run(changed, capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout == "1\n", result.stderr


# What is refused.


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: lp.round(x, "half", out=np.empty((4, 4))), TypeError, "^out is given to lpsim.round of dask arrays"),
        (lambda x: lp.matmul(x, x, out=np.empty((4, 4))), TypeError, "^out is given to lpsim.matmul of dask arrays"),
        (lambda x: lp.round(x, "hal"), ValueError, "^fmt is 'hal'"),
        (lambda x: lp.round(x, "half", "stochastic"), ValueError, "^seed is None"),
        (lambda x: lp.round(x, "half", "stochastic", seed=-1), ValueError, "^seed is -1"),
        (lambda x: lp.round(x, "half", seed=x), TypeError, "^seed is a dask array; allowed: a plain value"),
        (lambda x: lp.round(x, "half", bits=x, rounding="stochastic"), TypeError, "^bits has dtype float64"),
        (lambda x: lp.round(x.astype(complex), "half"), TypeError, "^x is an array of dtype complex128"),
        (lambda x: lp.decode(x, "half"), TypeError, "^codes has dtype float64"),
        (lambda x: lp.add(x, x[:3], "half"), ValueError, "^x has shape .4, 4., y has shape .3, 4."),
        (lambda x: lp.add(1.0, x[x[:, 0] > 0], "half"), ValueError, "^y is a dask array with chunks of unknown size"),
        (lambda x: lp.round(x, "half", 1, 2, 3, 4, 5, None, 7, 8, 9), TypeError, "too many positional"),
        (lambda x: lp.matmul(x, x[:3]), ValueError, "^a has shape .4, 4. and b has shape .3, 4."),
        (lambda x: lp.matmul(x, x, "tf33"), ValueError, "^unit is 'tf33'"),
        (lambda x: lp.matmul(x, x, stats=True), ValueError, "^stats is given to lpsim.matmul of dask arrays"),
        (lambda x: lp.matmul(x, x, c=x[:3]), ValueError, r"^c has shape \(3, 4\); allowed: shapes that broadcast"),
        (lambda x: lp.matmul(x, x, c=x[None]), ValueError, r"^c has shape \(1, 4, 4\); allowed: shapes that broad"),
        (lambda x: lp.matmul(x, x, a_scale=x), ValueError, "^a_scale is given, but unit tf32 has no scales"),
        (lambda x: lp.matmul(x, x, SCALED[0]), ValueError, r"^a_scale is None, but .*\(4, 1\)"),
        (lambda x: lp.matmul(x, x, SCALED[0], a_scale=x), ValueError, r"^a_scale has shape \(4, 4\); .*\(4, 1\)"),
        (lambda x: lp.matmul(x[0, 0], x), ValueError, "^a is 0-d"),
        (lambda x: lp.matmul(x, lp.quantize(np.ones((4, 4)), "int8")), TypeError, "."),
        (lambda x: lp.dot(x, x, SCALED[0]), ValueError, "^unit is .*, which needs scales"),
        (lambda x: lp.sum(x, "half", axis=2), ValueError, "^axis is 2, but x has 2 axes"),
        (lambda x: lp.sum(x, "half", order="upward"), ValueError, "^order is 'upward'"),
        (lambda x: lp.sum(x[x[:, 0] > 0], "half"), ValueError, "^x is a dask array with chunks of unknown size"),
    ],
)
def test_bad_arguments_are_named_at_once(call, error, message):
    with pytest.raises(error, match=message):
        call(failing_array((4, 4), 2))


def test_functions_that_are_not_made_for_dask_arrays_say_so():
    from lpsim.dispatch import overridable

    @overridable
    def transform(x):
        return x

    with pytest.raises(TypeError, match=r"^lpsim\.transform is called with a dask array"):
        transform(da.zeros(3))


def test_other_types_of_dask_are_no_arrays():
    with pytest.raises(TypeError, match="x is "):
        lp.round(dask.delayed(1.0), "half")


def test_arrays_of_dask_that_are_expressions_are_refused_where_they_are_not_supported():
    code = (
        "import dask; dask.config.set({'array.query-planning': True})\n"
        "import dask.array as da, lpsim as lp; x = da.ones((4, 4), chunks=2) / 3\n"
        "how = {'fmt': 'e4m3fn', 'rounding': 'stochastic', 'seed': 1}\n"
        "print((lp.round(x, **how).compute() == lp.round(x.compute(), **how)).all())\n"
        "lp.matmul(x, x)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    if "query-planning" not in result.stderr:
        pytest.skip("this dask has no such arrays")
    assert result.stdout.strip() == "True"
    assert "TypeError: dask's setting array.query-planning is True, for whose arrays lpsim.matmul" in result.stderr


def test_the_extra_is_named():
    code = "import sys, numpy, lpsim; sys.modules['dask.array'] = None\nimport dask; import lpsim.dask"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1
    assert "install it with: pip install 'lpsim[dask]'" in result.stderr
