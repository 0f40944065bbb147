"""GPTQ against a plain column-by-column loop, and AutoGPTQ's packing."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest

import lpsim as lp
from lpsim.quantization import Hessian, gptq, pack_words, unpack_words
from lpsim.quantization.hessian import inverse_factor

f32 = np.float32


def row_parameters(values: npt.NDArray[Any], bits: int, sym: bool) -> tuple[np.float32, np.float32]:
    """Return scale and zero of one row of a group, by the rules of gptq/quant.py."""
    low, high = min(f32(0), *values), max(f32(0), *values)
    if sym:
        high = max(abs(low), high)
        if low < 0:
            low = -high
    if low == 0 and high == 0:
        low, high = f32(-1), f32(1)
    scale = f32(high - low) / f32(2**bits - 1)
    return scale, f32(2 ** (bits - 1)) if sym else np.rint(-low / scale)


def quantized(x: Any, scale: Any, zero: Any, bits: int) -> tuple[int, Any]:
    code = min(max(np.rint(x / scale) + zero, f32(0)), f32(2**bits - 1))
    return int(code), scale * (code - zero)


def plain_gptq(weights: Any, hessian: Any, scheme: Any) -> tuple[Any, Any, Any, Any]:
    """Return (codes, scales, zeros, groups), column by column, row by row."""
    w, h = weights.astype(np.float32), hessian.copy()
    rows, n = w.shape
    size = n if scheme.group_size == -1 else scheme.group_size
    count = -(-n // size)
    scales, zeros = np.zeros((rows, count), f32), np.zeros((rows, count), f32)

    def find(group: int, source: Any) -> None:
        for r in range(rows):
            found = row_parameters(source[r, group * size : (group + 1) * size], scheme.bits, scheme.sym)
            scales[r, group], zeros[r, group] = found

    if scheme.group_size == -1:
        find(0, w)
    for j in range(n):
        if h[j, j] == 0:
            h[j, j] = 1
            w[:, j] = 0
    if scheme.static_groups and scheme.group_size != -1:
        for group in range(count):
            find(group, w)
    order = sorted(range(n), key=lambda j: -h[j, j]) if scheme.desc_act else list(range(n))
    w, h = w[:, order].copy(), h[order][:, order]
    u = inverse_factor(h, scheme.damp_percent)
    codes, groups = np.zeros((rows, n), int), np.zeros(n, int)
    for first in range(0, n, scheme.block):
        last = min(first + scheme.block, n)
        work, errors = w[:, first:last].copy(), np.zeros((rows, last - first), f32)
        for i in range(last - first):
            column = first + i
            static = scheme.static_groups or scheme.group_size == -1
            group = order[column] // size if static else column // size
            if column % size == 0 and not static:
                find(group, w)
            groups[column] = group
            for r in range(rows):
                codes[r, column], value = quantized(work[r, i], scales[r, group], zeros[r, group], scheme.bits)
                errors[r, i] = (work[r, i] - value) / u[column, column]
                for j in range(i, last - first):
                    work[r, j] = work[r, j] - errors[r, i] * u[column, first + j]
        w[:, last:] -= errors @ u[first:last, last:]
    back = np.argsort(order)
    return codes[:, back], scales, zeros, groups[back]


def layer(rows: int = 12, n: int = 96, seed: int = 0) -> tuple[Any, Any]:
    """Return weights, and inputs that are correlated."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(n) + 0.3 * rng.normal(size=(n, n))
    inputs = rng.normal(size=(4, 64, n)) @ mixing * np.exp(0.3 * rng.normal(size=n))
    return rng.normal(size=(rows, n)).astype(f32), inputs.astype(f32)


def codes_of(result: lp.Quantized) -> tuple[Any, Any]:
    scheme: Any = result.scheme
    codes, zeros = scheme.unpack(result.parts, result.rows, result.n)
    return codes.T, zeros.T


SCHEMES = [
    {"group_size": 32},
    {"group_size": -1},
    {"group_size": 32, "sym": False},
    {"group_size": -1, "sym": False, "bits": 3},
    {"group_size": 16, "block": 48},  # groups that start inside a block
    {"group_size": 40, "block": 32},  # a short last group
    {"group_size": 32, "desc_act": True},
    {"group_size": -1, "desc_act": True},
    {"group_size": 32, "static_groups": True, "sym": False},
    {"group_size": 32, "static_groups": True, "desc_act": True},
    {"group_size": 32, "block": 7, "damp_percent": 0.1},
    *({"group_size": 24, "bits": bits} for bits in range(2, 9)),
]


@pytest.mark.parametrize("options", SCHEMES, ids=str)
def test_plain_loop(options: dict[str, Any]) -> None:
    weights, inputs = layer()
    inputs[:, :, [5, 40]] = 0  # dead
    weights[2] = 0
    weights[3] = np.abs(weights[3])
    scheme = gptq(**options)
    hessian = Hessian(96).add(inputs)
    result = lp.quantize(weights, scheme, calibration=hessian)
    codes, scales, zeros, groups = plain_gptq(weights, hessian.matrix, scheme)
    got_codes, got_zeros = codes_of(result)
    assert np.array_equal(got_codes, codes)
    assert np.array_equal(got_zeros, zeros)
    assert np.array_equal(result.parts["scales"], scales.T.astype(np.float16))
    assert np.array_equal(result.parts["g_idx"], groups)
    values = (scales.astype(np.float16)[:, groups] * (codes - zeros[:, groups]).astype(np.float16)).astype(np.float16)
    assert np.array_equal(result.dequantize(), values.astype(f32))
    assert hessian.samples == 4


@pytest.mark.parametrize("options", [{"block": 16}, {"block": 128}, {"block": 40, "desc_act": True}])
def test_fresh_groups_see_all_updates(options: dict[str, Any]) -> None:
    weights, inputs = layer()
    hessian = Hessian(96).add(inputs)
    fresh = lp.quantize(weights, gptq(group_size=16, stale_groups=False, **options), calibration=hessian)
    # Blocks of one group: the plain loop has nothing stale.
    plain = gptq(group_size=16, **{**options, "block": 16})
    if options["block"] != 40:
        assert np.array_equal(codes_of(fresh)[0], plain_gptq(weights, hessian.matrix, plain)[0])
    stale = lp.quantize(weights, gptq(group_size=16, **options), calibration=hessian)
    assert np.array_equal(codes_of(stale)[0], codes_of(fresh)[0]) == (options["block"] == 16)


@pytest.mark.parametrize("group_size", [-1, 16, 32])
@pytest.mark.parametrize("sym", [True, False])
def test_diagonal_hessian_is_round_to_nearest(group_size: int, sym: bool) -> None:
    weights, _ = layer()
    inputs = 5 * np.eye(96, dtype=f32)
    result = lp.quantize(weights, gptq(group_size=group_size, sym=sym), calibration=inputs)
    size = 96 if group_size == -1 else group_size
    expected = np.zeros((12, 96), int)
    for r in range(12):
        for first in range(0, 96, size):
            scale, zero = row_parameters(weights[r, first : first + size], 4, sym)
            for j in range(first, first + size):
                expected[r, j] = quantized(weights[r, j], scale, zero, 4)[0]
    assert np.array_equal(codes_of(result)[0], expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("options", [{}, {"desc_act": True}, {"static_groups": True}, {"mse": True}], ids=str)
def test_less_output_error_than_rounding_to_nearest(seed: int, options: dict[str, Any]) -> None:
    weights, inputs = layer(32, 96, seed)
    outputs = inputs.reshape(-1, 96) @ weights.T
    nearest = lp.quantize(weights, gptq(group_size=32), calibration=np.eye(96))
    better = lp.quantize(weights, gptq(group_size=32, **options), calibration=inputs)
    errors = [np.linalg.norm(inputs.reshape(-1, 96) @ q.dequantize().T - outputs) for q in (nearest, better)]
    assert errors[1] < 0.9 * errors[0]


def test_rows_without_negative_weights() -> None:
    # Zero's code stays 8, so that large weights clip.
    weights = np.zeros((2, 32), f32)
    weights[0, :3] = [0.1, 0.5, 1.0]
    result = lp.quantize(weights, gptq(group_size=32), calibration=np.eye(32))
    assert result.dequantize()[0, :3] == pytest.approx([0.1333, 0.4667, 0.4667], abs=2e-4)
    scales = np.array([f32(1) / f32(15), f32(2) / f32(15)]).astype(np.float16)
    assert np.array_equal(result.parts["scales"][0], scales)
    assert not result.dequantize()[1].any()


def test_search_for_scales() -> None:
    weights, _ = layer(6, 32)
    weights[:, 0] = 8
    plain = gptq(group_size=32, sym=False)
    searched = gptq(group_size=32, sym=False, mse=True)
    values = [lp.quantize(weights, s, calibration=np.eye(32)).dequantize() for s in (plain, searched)]
    errors = [(np.abs(v - weights) ** 2.4).sum(axis=1) for v in values]
    assert (errors[1] <= errors[0]).all()
    assert (errors[1] < errors[0]).any()
    # A brute-force search in float64 picks the same scales.
    for row, scale in zip(weights.astype(float), searched.parameters(weights)[0], strict=True):
        low, high = min(row.min(), 0), max(row.max(), 0)
        tried = []
        for i in range(80):
            s = (1 - i / 100) * (high - low) / 15
            z = np.rint(-(1 - i / 100) * low / s)
            tried.append((np.sum(np.abs(s * (np.clip(np.rint(row / s) + z, 0, 15) - z) - row) ** 2.4), s))
        assert scale == pytest.approx(min(tried)[1], rel=1e-6)


def test_hessian() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(t, 7, 16)).astype(f32) for t in (3, 1, 4)]
    hessian = Hessian(16)
    expected, n = np.zeros((16, 16)), 0
    for batch in batches:
        hessian.add(batch)
        t = batch.shape[0]
        expected *= n / (n + t)
        n += t
        x = batch.reshape(-1, 16).T.astype(float) * np.sqrt(2 / n)
        expected += x @ x.T
    assert hessian.samples == 8
    assert np.allclose(hessian.matrix, expected, rtol=1e-5, atol=1e-5)
    assert Hessian(16).add(batches[0][0]).samples == 1  # a matrix is one sample
    assert hessian.matrix.dtype == np.float32


def test_inverse_factor() -> None:
    rng = np.random.default_rng(1)
    for n in (1, 5, 300):
        x = rng.normal(size=(4 * n, n))
        matrix = (x.T @ x).astype(f32)
        damped = matrix.astype(float) + 0.01 * np.mean(np.diag(matrix)) * np.eye(n)
        factor = inverse_factor(matrix.copy(), 0.01)
        # As the tools have it: the upper Cholesky factor of the inverse.
        expected = np.linalg.cholesky(np.linalg.inv(damped)).T
        assert np.allclose(factor, expected, rtol=1e-4, atol=1e-6)
        assert not np.tril(factor, -1).any()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("n", [32, 96, 8, 37])
def test_packing(bits: int, n: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (n, 5))
    words = pack_words(codes, bits)
    assert words.shape == (-(-n * bits // 32), 5)
    assert np.array_equal(unpack_words(words, bits, n), codes)
    for column in range(5):
        string = sum(int(code) << (bits * j) for j, code in enumerate(codes[:, column]))
        assert words[:, column].view(np.uint32).tolist() == [
            string >> (32 * i) & 0xFFFFFFFF for i in range(len(words))
        ]  # fmt: skip


def test_three_bits_straddle_as_in_autogptq() -> None:
    codes = np.random.default_rng(0).integers(0, 8, 32).astype(np.uint32)
    expected = [0, 0, 0]
    for j in range(10):
        expected[0] |= int(codes[j]) << (3 * j)
    expected[0] |= int(codes[10]) << 30 & 0xFFFFFFFF
    expected[1] |= int(codes[10]) >> 2 & 1
    for j in range(11, 21):
        expected[1] |= int(codes[j]) << (3 * (j - 11) + 1)
    expected[1] |= int(codes[21]) << 31 & 0xFFFFFFFF
    expected[2] |= int(codes[21]) >> 1 & 3
    for j in range(22, 32):
        expected[2] |= int(codes[j]) << (3 * (j - 22) + 2)
    assert pack_words(codes[:, np.newaxis], 3).view(np.uint32)[:, 0].tolist() == expected


def test_layout() -> None:
    weights, inputs = layer(64, 96)
    result = lp.quantize(weights, gptq(group_size=32), calibration=inputs)
    assert {name: (part.dtype.name, part.shape) for name, part in result.parts.items()} == {
        "codes": ("int32", (12, 64)),
        "scales": ("float16", (3, 64)),
        "zero_points": ("int32", (3, 8)),
        "g_idx": ("int32", (96,)),
    }
    assert (result.parts["zero_points"] == 0x77777777).all()
    assert result.parts["g_idx"].tolist() == [j // 32 for j in range(96)]


def test_zero_of_zero_comes_back() -> None:
    # Rows without negative weights have 0 as zero's code; one less is 15, modulo 16.
    weights = np.abs(layer(8, 32)[0])
    result = lp.quantize(weights, gptq(group_size=32, sym=False), calibration=np.eye(32))
    assert result.parts["zero_points"].view(np.uint32).tolist() == [[0xFFFFFFFF]]
    assert not codes_of(result)[1].any()
    assert result.error(weights).relative_rms < 0.1


def test_threads_and_progress() -> None:
    weights, inputs = layer(700, 200)
    before = numba.get_num_threads()
    steps: list[tuple[int, int]] = []
    try:
        results = []
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            progress = None if threads == 1 else lambda done, total: steps.append((done, total))
            one = lp.quantize(weights, gptq(group_size=50), calibration=inputs, progress=progress)
            results.append((one.tobytes(), one.dequantize().tobytes()))
    finally:
        numba.set_num_threads(before)
    assert results[0] == results[-1]
    assert steps in ([], [(128, 200), (200, 200)])


def test_files(tmp_path: Any) -> None:
    weights, inputs = layer()
    result = lp.quantize(weights, gptq(group_size=40, bits=3, desc_act=True), calibration=inputs)
    result.save(tmp_path / "w.npz")
    loaded = lp.Quantized.load(tmp_path / "w.npz")
    assert loaded.scheme == result.scheme
    assert np.array_equal(loaded.dequantize(), result.dequantize())


def test_empty() -> None:
    assert lp.quantize(np.empty((0, 32)), gptq(group_size=32), calibration=np.eye(32)).dequantize().shape == (0, 32)
    assert lp.quantize(np.empty((4, 0)), gptq(), calibration=np.empty((3, 0))).dequantize().shape == (4, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w: gptq(bits=9), "bits is 9; allowed: 2 to 8"),
        (lambda w: gptq(group_size=0), "group_size is 0; allowed: 1 or more, and -1"),
        (lambda w: gptq(damp_percent=-1), "damp_percent is -1"),
        (lambda w: gptq(block=0), "block is 0"),
        (lambda w: lp.quantize(w, gptq(), calibration=np.eye(96)), "x has rows of 96 with group_size=128; allowed"),
        (lambda w: lp.quantize(w, gptq(group_size=32), calibration=np.eye(95)), r"batch has shape \(95, 95\)"),
        (lambda w: lp.quantize(w, gptq(group_size=32), calibration=Hessian(95)), "is a Hessian of 95 inputs"),
        (lambda w: lp.quantize(w, gptq(group_size=32), calibration=Hessian(96)), "a Hessian without samples"),
        (lambda w: lp.quantize(w, gptq(group_size=32), calibration=np.empty((0, 4, 96))), "calibration is empty"),
        (lambda w: lp.quantize(w, gptq(group_size=32), calibration=np.eye(96) * np.nan), "batch holds NaN"),
        (
            lambda w: lp.quantize(w, gptq(group_size=32, damp_percent=0), calibration=np.ones((2, 96))),
            "the Hessian is singular .* larger damp_percent",
        ),
        (lambda w: lp.quantize(w * 1e7, gptq(group_size=32), calibration=np.eye(96)), "allowed: what float16 holds"),
        (lambda w: lp.quantize(w * np.nan, gptq(group_size=32), calibration=np.eye(96)), "x is nan"),
        (lambda w: pack_words([[8]], 3), "codes holds 8 to 8; allowed: 0 to 7"),
        (lambda w: unpack_words([[8]], 3, 32), "words has 1 rows; allowed for 32 codes: 3"),
    ],
)
def test_bad_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(layer()[0])


def test_bad_types() -> None:
    with pytest.raises(TypeError, match="calibration= is missing, which GPTQ needs"):
        lp.quantize(np.ones((2, 32)), gptq(group_size=32))
    with pytest.raises(TypeError, match="sym is 1; allowed: True or False"):
        gptq(sym=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"bits is 4\.0; allowed: an integer"):
        gptq(bits=4.0)  # type: ignore[arg-type]
