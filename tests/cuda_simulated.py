"""lpsim on Numba's simulator of a GPU against lpsim on the CPU, bit for bit, as a program: it prints what differs.

NUMBA_ENABLE_CUDASIM=1 has to be in the environment. Threads of the simulator are Python's, so that arrays are tiny.
"""

import json
import sys
import warnings

import numpy as np
from numba import cuda

import lpsim as lp

RNG = np.random.default_rng(20)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, 65520.0, -1e-7, 3e-8, 1e-40, 3.3e38, 464.0]
FORMATS = ("fp16", "bf16", "e4m3fn", "e5m2fnuz", "float4_e2m1fn", "float8_e8m0fnu", "tf32", "float64")
MODES = [mode.name.lower() for mode in lp.Rounding]
OPERATIONS = {"round": 1, "sqrt": 1, "neg": 1, "abs": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "fma": 3}
counts = {}


def bits(array):
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.itemsize}")


def on_gpu(value):
    return cuda.to_device(value) if isinstance(value, np.ndarray) else value


def compare(kind, function, *args, **kwargs):
    """Call a function for arrays of both machines, and note it if the results are not the same bits."""
    expected = function(*args, **kwargs)
    got = function(*map(on_gpu, args), **{name: on_gpu(value) for name, value in kwargs.items()})
    pairs = zip(expected, got, strict=True) if isinstance(expected, tuple) else [(expected, got)]
    for wanted, given in pairs:
        one, other = np.asarray(wanted), given.copy_to_host()
        same = one.dtype == other.dtype and one.shape == other.shape and (bits(one) == bits(other)).all()
        done, wrong = counts.setdefault(kind, [0, []])
        counts[kind][0] = done + 1
        if not same:
            wrong.append(f"{args!r:.300} {kwargs!r:.300}: {other!r:.200}, not {one!r:.200}")


def seed_for(mode):
    return {"seed": 5} if lp.Rounding[mode.upper()].is_stochastic else {}


def elementwise():
    for number, (name, arity) in enumerate(OPERATIONS.items()):
        for dtype in (np.float32, np.float64):
            for i, fmt in enumerate(FORMATS):
                # Each mode with each operation, and each format with each operation.
                for mode in {MODES[(i + number) % len(MODES)], MODES[(i + number + 5) % len(MODES)]}:
                    operands = [RNG.permutation(SPECIAL)[:6].astype(dtype) for _ in range(arity)]
                    flags = bool((i + number) % 2)
                    with np.errstate(all="ignore"):
                        compare(name, getattr(lp, name), *operands, fmt, rounding=mode, flags=flags, **seed_for(mode))
    x = np.array(SPECIAL[:4] + SPECIAL[5:])
    for mode in MODES:
        compare("encode", lp.encode, x, "bf16", rounding=mode, **seed_for(mode))
        compare(
            "modes", lp.add, x.astype(np.float32), x[::-1].astype(np.float32), "fp16", rounding=mode, **seed_for(mode)
        )
    for fmt in ("fp16", "e4m3fn", "e5m2fnuz", "float6_e3m2fn", "float64", "float8_e8m0fnu"):
        one = lp.format(fmt)
        codes = RNG.integers(0, 1 << min(one.bits, 62), 12).astype(one.code_dtype)
        compare("decode", lp.decode, codes, fmt)
    compare("bits", lp.round, x, "fp16", rounding="stochastic", bits=np.arange(len(x)), random_bits=8)


def arrays():
    x = np.arange(12, dtype=np.float32).reshape(3, 4) / 7
    compare("broadcast", lp.add, x, x[0], "bf16")
    compare("broadcast", lp.mul, x, x[:, :1].copy(), "bf16")
    compare("broadcast", lp.mul, x, 3.0, "bf16")
    compare("mixed", lp.add, x, x.astype(np.float64), "bf16")
    compare("integers", lp.round, np.arange(5, dtype=np.int32) * 70001, "bf16")
    compare("halves", lp.round, x.astype(np.float16), "e4m3fn")
    compare("empty", lp.round, x[:0], "bf16")
    on_device = cuda.to_device(x)
    strided = lp.round(on_device.T, "bf16").copy_to_host()
    counts["strided"] = [1, [] if (bits(strided) == bits(lp.round(x.T.copy(), "bf16"))).all() else ["transposed"]]
    out = cuda.device_array((3, 4), np.float64)
    result = lp.round(on_device, "bf16", out=out)
    same = result is out and (out.copy_to_host() == lp.round(x, "bf16")).all()
    counts["out"] = [1, [] if same else ["out"]]
    copied = lp.round(x, "bf16", backend="cuda")
    same = type(copied) is np.ndarray and (bits(copied) == bits(lp.round(x, "bf16"))).all()
    counts["backend"] = [1, [] if same else ["backend"]]
    for message, wrong in (
        ("y is an array of the host's", lambda: lp.add(on_device, x, "bf16")),
        ("stats is True", lambda: lp.matmul(on_device, on_device.T, stats=True)),
        ("lpsim.sum is called for a GPU", lambda: lp.sum(on_device, "bf16")),
        ("has shape", lambda: lp.add(on_device, cuda.to_device(x[0, :3].copy()), "bf16")),
        ("has dtype", lambda: lp.round(on_device, "bf16", out=cuda.device_array((3, 4), np.int32))),
        ("backend is 'gpu'", lambda: lp.round(x, "bf16", backend="gpu")),
        ("x holds NaN", lambda: lp.encode(cuda.to_device(np.array([np.nan])), "float4_e2m1fn")),
        ("codes holds", lambda: lp.decode(cuda.to_device(np.array([64], np.uint8)), "float6_e3m2fn")),
        ("complex128", lambda: lp.round(cuda.to_device(np.array([1j])), "bf16")),
    ):
        try:
            wrong()
        except (TypeError, ValueError) as error:
            counts.setdefault("errors", [0, []])[0] += 1
            if message not in str(error):
                counts["errors"][1].append(str(error))
        else:
            counts.setdefault("errors", [0, []])[1].append(f"no error: {message}")


def matrix(*shape):
    """Return numbers of which some overflow and some are subnormal in half precision."""
    array = RNG.standard_normal(shape).astype(np.float32)
    array.reshape(-1)[RNG.integers(0, array.size, 3)] = [3e4, -1e-6, 0.0]
    return array


def products():
    a, b, c = matrix(3, 5), matrix(5, 3), matrix(3, 3)
    special_a, special_b = a.copy(), b.copy()
    special_a[1, 2], special_b[0, 0] = np.inf, np.nan
    unit = lp.MatrixUnit
    for one in (lp.units.tf32, lp.units.fp32, lp.units.fp16_fp16acc, lp.units.bf16_bf16acc):
        compare("sequential", lp.matmul, a, b, one, c=c)
        compare("special", lp.matmul, special_a, special_b, one)
    compare("batches", lp.matmul, matrix(2, 3, 5), matrix(5, 2), "bf16")
    compare("vectors", lp.matmul, a[0], b, "tf32")
    compare("vectors", lp.matmul, a, b[:, 0].copy(), "tf32")
    compare("float64", lp.matmul, a, b, unit("float64", accumulator_format="float64"))
    for mode in ("ties_to_even", "toward_zero", "stochastic", "toward_positive"):
        for product in (None, "fp16"):
            one = unit("fp16", accumulator_format="fp16", product_format=product, rounding=mode)
            compare("steps", lp.matmul, a, b, one, **seed_for(mode))
    compare("steps", lp.matmul, a, b, unit("fp16", accumulator_format="fp16", input_rounding="stochastic"), seed=9)
    for order in ("reverse", "pairwise", "kahan", "interleaved(2)", "blocked(2)", "blocked(2, pairwise)"):
        for product in (None, "bf16"):
            one = unit("bf16", accumulator_format="bf16", order=order, product_format=product)
            compare("orders", lp.matmul, a, b, one, c=c)
    one = unit("e4m3fn", accumulator_format="E8M13", order="blocked(2)", outer_format="float32")
    compare("blocks", lp.matmul, a, b, one, c=c)
    one = unit("bf16", accumulator_format="bf16", order="blocked(2)", rounding="stochastic")
    compare("blocks", lp.matmul, a, b, one, seed=7)
    for flush in ("signed", "positive", "signed_c"):
        one = unit("fp16", accumulator_format="fp16", flush_results="before", flush_inputs=flush, output_format="e5m2")
        compare("flushes", lp.matmul, a * np.float32(1e-5), b, one, c=c * np.float32(1e-5))
    for name in (
        "v100.fp16", "a100.tf32", "h100.e4m3", "h100.fp16_fp16", "h100.e4m3_mma", "mi300.fp16", "mi100.fp16",
        "mi200.bf16", "amx.bf16",
    ):  # fmt: skip
        compare("dots", lp.matmul, a, b, name, c=c)
        compare("dots", lp.matmul, special_a, special_b, name)
    scales = {"a_scale": np.full((3, 1), 2, np.float32), "b_scale": np.full((1, 3), 0.5, np.float32)}
    for name in ("b200.nvfp4", "b200.mxfp8_e4m3"):
        compare("scales", lp.matmul, a, b, name, **scales)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    {"elementwise": elementwise, "arrays": arrays, "products": products}[sys.argv[1]]()
    print(json.dumps(counts))
