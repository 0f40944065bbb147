"""Every public operation as a call whose result is known beforehand: one table for all tests of threads and processes.

A call is a function of a variant, an integer that chooses its format, mode or shape; it makes its operands itself, so
that only a name and a number have to travel to another process.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import lpsim as lp
from lpsim import elementwise, errors, parts
from lpsim.cpu import gemm
from lpsim.quantization import affine, codebooks, gguf, int8

__all__ = ["TABLE", "VARIANTS", "expected", "outcome", "split_small_work"]

#: How many variants a call has.
VARIANTS = 6

FORMATS = ("half", "bfloat16", "float8_e4m3fn", "tf32", "float32", "E5M6")
MODES = ("ties_to_even", "toward_zero", "stochastic", "to_odd", "ties_to_away", "toward_negative")
SCHEMES = ("int8", "nf4", "mxfp4", "fp8", "Q8_0", "nvfp4")
SIZES = (7, 33, 300, 1, 1200, 65)

Call = Callable[[int], Any]


@functools.lru_cache(maxsize=512)
def numbers(label: str, size: int, spread: int = 12, single: bool = False) -> Any:
    """Return read-only numbers of many magnitudes, some of them special."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big"))
    x = rng.standard_normal(size) * np.exp2(rng.integers(-spread, spread + 1, size))
    x[rng.random(size) < 0.03] = 0.0
    special = np.array([np.inf, -np.inf, np.nan, 448.0, -0.0, 65504.0, 2.0**-24, 1e30])
    chosen = rng.random(size) < 0.03
    x[chosen] = rng.choice(special, int(chosen.sum()))
    with np.errstate(all="ignore"):
        x = x.astype(np.float32 if single else np.float64)
    x.flags.writeable = False
    return x


@functools.lru_cache(maxsize=512)
def finite(label: str, *shape: int) -> Any:
    """Return read-only float32 numbers of that shape without special ones."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big"))
    x = rng.standard_normal(shape).astype(np.float32)
    x.flags.writeable = False
    return x


def _how(variant: int) -> tuple[tuple[str, str], dict[str, int]]:
    mode = MODES[variant]
    return (FORMATS[variant], mode), {"seed": 17} if mode.startswith("stochastic") else {}


def _elementwise(name: str, operands: int) -> Call:
    def call(variant: int) -> Any:
        how, seed = _how(variant)
        single = bool(variant % 2)
        given = [numbers(f"{name} {i}", SIZES[variant], 12, single) for i in range(operands)]
        if name == "encode" and not lp.format(how[0]).has_nan:
            given = [np.nan_to_num(x) for x in given]
        return getattr(lp, name)(*given, *how, **seed)

    return call


def _flags(name: str, operands: int) -> Call:
    def call(variant: int) -> Any:
        how, seed = _how(variant)
        given = [numbers(f"{name} {i}", SIZES[-1 - variant])[:: 1 + variant % 2] for i in range(operands)]
        return getattr(lp, name)(*given, *how, flags=True, **seed)

    return call


def _codes(variant: int) -> Any:
    fmt = lp.format(FORMATS[variant])
    rng = np.random.default_rng(variant)
    return rng.integers(0, 1 << fmt.bits, SIZES[variant], dtype=np.uint64).astype(fmt.code_dtype), fmt


def _matmul(units: list[Any]) -> Call:
    def call(variant: int) -> Any:
        unit = units[variant % len(units)]
        m, k, n = ((3, 24, 5), (1, 40, 1), (12, 8, 9), (2, 8, 33), (20, 5, 2), (2, 33, 4))[variant]
        given: dict[str, Any] = {"seed": variant} if unit.is_stochastic else {}
        if unit.scale_format is not None:
            blocks = -(-k // unit.scale_block)
            given["a_scale"] = np.exp2(np.arange(m * blocks) % 3 - 1).reshape(m, blocks)
            given["b_scale"] = np.ones((blocks, n))
        a, b = numbers("a", m * k, 3).reshape(m, k), numbers("b", k * n, 3).reshape(k, n)
        if unit.is_stochastic or variant % 2:
            a, b = finite("a", m, k), finite("b", k, n)
        return lp.matmul(a, b, unit, c=0.5 if variant % 3 else None, **given)

    return call


def _kind(unit: Any) -> Any:
    """Return what decides how a unit's products are computed; a call's variants go through the units of one kind."""
    dot = unit.dot
    how = None if dot is None else (dot.alignment, dot.fraction_bits is None, dot.group > 1, dot.dealt is None)
    formats = unit.accumulator_format, unit.product_format is None, unit.scale_format is None
    return how, unit.order, unit.flush_inputs, unit.flush_results, unit.rounding, *formats


def _scheme(name: str) -> Call:
    def call(variant: int) -> Any:
        x = lp.quantize(finite("x", 1 + variant % 2, 256), name)
        return [*(x.parts[key] for key in sorted(x.parts)), x.dequantize()]

    return call


@numba.njit(cache=True)  # type: ignore[untyped-decorator]  # else each process compiles it, for seconds
def _chain(x: Any, y: Any, f: Any) -> Any:
    total = 0.0
    for i in range(x.size):
        total = lp.jit.fma(x[i], y[i], total, f)
    return total


def _sum(variant: int) -> Any:
    order = ("sequential", "reverse", "pairwise", "kahan", "interleaved(3)", "blocked(8)")[variant]
    return lp.sum(finite("sum", 40, 3), "half", order=order, axis=variant % 2)


def _dot(variant: int) -> Any:
    unit = ("tf32", "h100.fp16", "fp16_fp16acc", "bf16_bf16acc", "mi200.bf16", "fp32")[variant]
    return lp.dot(finite("dot", 3, 50), finite("dots", 50), unit)


def _split(variant: int) -> Any:
    scheme = ("3xtf32", "ootomo", "bf16x3", "ozaki_int8", "bf16x6", "bf16x9")[variant]
    return lp.matmul_split(finite("a", 5, 30), finite("b", 30, 4), scheme)


def _ulp_distance(variant: int) -> Any:
    x, y = (lp.round(finite(name, SIZES[variant]), FORMATS[variant]) for name in "xy")
    return lp.ulp_distance(x, y, FORMATS[variant])


def _array(variant: int) -> Any:
    context = lp.Context("stochastic", seed=3) if variant == 2 else lp.Context(MODES[variant])
    x, y = (lp.Array(finite(name, 4, 9), FORMATS[variant], context) for name in "xy")
    z = (x * y + 1.5) / (y - 2)
    return [np.asarray(z), np.asarray(np.sqrt(abs(x))), np.asarray(x @ y.T), np.asarray(z.sum(axis=0))]


def _sweep(variant: int) -> Any:
    table = lp.sweep(_error, {"fmt": ["half", "bfloat16"]}, seeds=[variant], progress=False)
    return table["error"].to_numpy()


def _error(fmt: str, seed: int) -> dict[str, float]:
    x = finite(f"sweep {seed}", 50)
    return {"error": float(np.abs(lp.round(x, fmt) - x).max())}


def _gptq(variant: int) -> Any:
    scheme = lp.quantization.gptq(group_size=8, block=8, desc_act=bool(variant % 2))
    x = lp.quantize(finite("w", 2 + variant, 16), scheme, calibration=finite("inputs", 2, 20, 16))
    return [x.parts[key] for key in sorted(x.parts)]


def _errors(variant: int) -> Any:
    a, b = finite("a", 4, 20), finite("b", 20, 3)
    unit = ("tf32", "fp16_fp16acc", "h100.e4m3", "fp32", "bf16", "mi300.fp16")[variant]
    found = lp.matmul(a, b, unit)
    return [
        repr(errors.product_error(found, a, b, unit)),
        errors.condition(a, b),
        errors.matmul_bound(a, b, unit),
    ]


def _stats(variant: int) -> Any:
    unit = ("fp16_fp16acc", "h100.e4m3", "tf32", "fp32", "bf16_bf16acc", "mi300.fp16")[variant]
    product, stats = lp.matmul(finite("a", 6, 40) * 900, finite("b", 40, 7) * 900, unit, stats=True)
    return [product, str(stats)]


def _with_threads(variant: int) -> Any:
    n = 1 + variant % int(numba.config.NUMBA_NUM_THREADS)
    with lp.threads(n):
        return [lp.round(numbers("threads", 3000), "half"), lp.get_num_threads() == n]


def _read_table() -> dict[str, Call]:
    operations = {
        "round": 1,
        "encode": 1,
        "abs": 1,
        "neg": 1,
        "sqrt": 1,
        "add": 2,
        "sub": 2,
        "mul": 2,
        "div": 2,
        "fma": 3,
    }
    table: dict[str, Call] = {name: _elementwise(name, count) for name, count in operations.items()}
    table |= {f"{name} flags": _flags(name, count) for name, count in operations.items() if name not in ("abs", "neg")}
    table |= {
        "decode": lambda v: lp.decode(*_codes(v)),
        "pack": lambda v: lp.pack(*_codes(v)),
        "unpack": lambda v: lp.unpack(lp.pack(*_codes(v)), FORMATS[v], SIZES[v]),
        "values": lambda v: lp.values(("e4m3", "e5m2", "e2m1fn", "e3m2fn", "e2m3fn", "E3M4")[v]),
        "ulp": lambda v: lp.ulp(numbers("ulp", SIZES[v]), FORMATS[v]),
        "nextafter": lambda v: lp.nextafter(numbers("from", SIZES[v]), numbers("to", SIZES[v]), FORMATS[v]),
        "ulp_distance": _ulp_distance,
        "finfo": lambda v: repr(lp.finfo(FORMATS[v])),
        "describe": lambda v: str(lp.describe(0.1 + v, FORMATS[v])),
        "format": lambda v: repr(lp.format(f"E{3 + v}M{v + 1}")),
        "p3109": lambda v: repr(lp.p3109(8, 1 + v)),
        "array": _array,
        "sum": _sum,
        "dot": _dot,
        "matmul_split": _split,
        "sweep": _sweep,
        "jit": lambda v: _chain(finite("x", 60), finite("y", 60), lp.format(FORMATS[v]).params("toward_zero")),
        "fake_quantize": lambda v: lp.fake_quantize(finite("fake", 3, 64), SCHEMES[v]),
        "quantize gptq": _gptq,
        "errors": _errors,
        "matmul stats": _stats,
        "threads": _with_threads,
        "get_num_threads": lambda v: lp.get_num_threads() > 0,
    }  # fmt: skip
    table |= {
        f"quantize {name}": _scheme(name)
        for name in lp.quantization.NAMED_SCHEMES
        if not lp.quantization.get(name).needs
    }
    half = {"accumulator_format": "half"}
    others = [
        lp.MatrixUnit("half", **half, rounding=mode, order=order)
        for order in ("sequential", "kahan", "pairwise", "blocked(8)")
        for mode in ("stochastic", "toward_positive")
    ]
    others.append(lp.MatrixUnit("float64", accumulator_format="float64"))
    kinds: dict[Any, list[Any]] = {}
    for unit in lp.units.NAMED_UNITS.values():
        if unit not in kinds.setdefault(_kind(unit), []):
            kinds[_kind(unit)].append(unit)
    table |= {f"matmul {units[0]}": _matmul(units) for units in kinds.values()}
    table |= {f"matmul own {i}": _matmul([unit]) for i, unit in enumerate(others)}
    return table


#: The calls by name, whose first word is that of the public function.
TABLE = _read_table()


def outcome(name: str, variant: int) -> bytes:
    """Return all bits of a call's result."""
    with np.errstate(all="ignore"):
        return _bytes(TABLE[name](variant))


def _bytes(result: Any) -> bytes:
    if isinstance(result, (list, tuple)):
        return b"|".join(map(_bytes, result))
    if isinstance(result, str):
        return result.encode()
    array = np.asarray(result)
    return f"{array.dtype.str}{array.shape}".encode() + array.tobytes()


def expected() -> dict[tuple[str, int], bytes]:
    """Return the results of all variants, by this thread alone."""
    with lp.threads(1):
        return {(name, variant): outcome(name, variant) for name in TABLE for variant in range(VARIANTS)}


def split_small_work() -> None:
    """Let several threads work on arrays for which that is not worth it, so that small ones test it."""
    elementwise._GRAIN = 16
    for module in (affine, codebooks, int8):
        module._GRAIN = 128
    gguf._GRAIN = {True: 128, False: 128}
    parts._GRAIN = 64
    gemm._GRAIN, gemm._SHARED = 256, 1 << 9
