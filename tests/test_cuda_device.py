"""lpsim.cuda on a GPU gives the bits of the CPU. tools/check_gpu.py does the same at length."""

import numpy as np
import pytest

import lpsim as lp
import lpsim.cuda

pytestmark = pytest.mark.skipif(not lpsim.cuda.is_available(), reason="needs a GPU by NVIDIA and lpsim[cuda]")

MODES = [mode.name.lower() for mode in lp.Rounding]
RNG = np.random.default_rng(3)


def same(got, expected):
    got, expected = np.ascontiguousarray(got), np.ascontiguousarray(expected)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got.view(f"u{got.itemsize}"), expected.view(f"u{expected.itemsize}"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "arity"), [("round", 1), ("sqrt", 1), ("add", 2), ("mul", 2), ("div", 2), ("fma", 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elementwise(mode, name, arity, dtype):
    seed = 7 if lp.Rounding[mode.upper()].is_stochastic else None
    bits = RNG.integers(0, 1 << (8 * np.dtype(dtype).itemsize), (arity, 1 << 14), np.uint64)
    operands = list(bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype))
    function = getattr(lp, name)
    for fmt in ("fp16", "e4m3fn", "bf16"):
        with np.errstate(all="ignore"):
            got = function(*operands, fmt, rounding=mode, seed=seed, flags=True, backend="cuda")
            expected = function(*operands, fmt, rounding=mode, seed=seed, flags=True)
        same(got[0], expected[0])
        same(got[1], expected[1])
        same(function(*operands, fmt, rounding=mode, seed=seed, backend="cuda"), expected[0])


@pytest.mark.parametrize("name", ["tf32", "fp16_fp16acc", "bf16_bf16acc", "h100.fp16", "h100.e4m3", "mi300.fp16"])
@pytest.mark.parametrize("shape", [(70, 130, 90), (1, 300, 1), (257, 3, 129)])
def test_products(name, shape):
    m, k, n = shape
    a, b = RNG.standard_normal((m, k)).astype(np.float32), RNG.standard_normal((k, n)).astype(np.float32)
    same(lp.matmul(a, b, name, backend="cuda"), lp.matmul(a, b, name))


def test_results_stay_on_the_gpu():
    cuda = pytest.importorskip("numba.cuda")
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    stream = cuda.stream()
    result = lp.add(cuda.to_device(x, stream=stream), 1.5, "bf16")
    assert hasattr(result, "__cuda_array_interface__")
    assert result.stream is stream
    same(result.copy_to_host(stream=stream), lp.add(x, 1.5, "bf16"))
    same(lp.round(cuda.to_device(x).T, "bf16").copy_to_host(), lp.round(x.T, "bf16"))


@pytest.mark.parametrize("package", ["torch", "cupy"])
def test_arrays_of_other_packages(package):
    library = pytest.importorskip(package)
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    array = library.asarray(x) if package == "cupy" else library.from_numpy(x).cuda()
    result = lp.round(array, "e4m3fn")
    assert type(result) is type(array)
    host = library.asnumpy(result) if package == "cupy" else result.cpu().numpy()
    same(host, lp.round(x, "e4m3fn"))
