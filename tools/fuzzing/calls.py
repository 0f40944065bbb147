"""Random calls of the whole public interface: each is a function, its arguments, and what its result must be."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

import lpsim as lp
from fuzzing import values as v
from fuzzing.array_calls import arrays
from fuzzing.call import Call
from fuzzing.other_calls import others
from fuzzing.quantized_calls import quantization

__all__ = ["make_call"]


#: Share of the calls that are made again with plain copies of their arrays, where that must not matter.
_AGAIN = 0.4

#: Elementwise operations by name, with their number of operands.
OPERATIONS = {"round": 1, "encode": 1, "abs": 1, "neg": 1, "sqrt": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "fma": 3}


def make_call(rng: random.Random) -> Call:
    """Return the call that a generator's state leads to."""
    call = rng.choices(_MAKERS, _WEIGHTS)[0](rng, rng.choice((0.0, 0.06, 0.06, 0.3)))
    return call if rng.random() < _AGAIN else call._replace(again=None)


def _elementwise(rng: random.Random, hostility: float) -> Call:
    name = rng.choice(list(OPERATIONS))
    count = OPERATIONS[name]
    operands = [v.array(rng, hostility + 0.15)]
    for _ in range(count - 1):
        kind = rng.random()
        if kind < 0.3:
            operands.append(operands[0])
        elif kind < 0.6 and isinstance(operands[0], np.ndarray) and operands[0].size < 1 << 12:
            operands.append(v.good_array(rng, operands[0].shape))
        elif kind < 0.8:
            operands.append(rng.choice([1.5, 0, np.float32(2), -1]))
        else:
            operands.append(v.array(rng, hostility + 0.15))
    kwargs: dict[str, Any] = {}
    fmt = v.fmt(rng, hostility)
    if rng.random() < 0.6:
        kwargs["rounding"] = v.rounding(rng, hostility)
    if rng.random() < 0.3:
        kwargs["overflow"] = v.overflow(rng, hostility)
    if rng.random() < 0.4:
        kwargs["seed"] = v.number(rng) if rng.random() < hostility + 0.1 else rng.randint(0, 1 << 40)
    if rng.random() < 0.15:
        kwargs["random_bits"] = v.number(rng) if rng.random() < hostility + 0.1 else rng.randint(1, 53)
    if rng.random() < 0.08:
        kwargs["bits"] = v.hostile_array(rng) if rng.random() < 0.4 else rng.randint(0, 255)
    if rng.random() < 0.3:
        kwargs["out"] = v.out_for(rng, operands[0], "codes" if name == "encode" else "value")
    if rng.random() < 0.15:
        kwargs["flags"] = v.boolean(rng)
    if rng.random() < 0.03:
        kwargs["backend"] = rng.choice(["cpu", None, v.garbage(rng)])
    if rng.random() < 0.05:
        kwargs["tininess"] = rng.choice(["after", "before", "never", None, 3, [], v.garbage(rng)])

    def check(result: Any) -> str | None:
        parsed = lp.format(fmt)
        if kwargs.get("flags"):
            if not isinstance(result, tuple) or len(result) != 2:
                return "flags gave no pair"
            result, flags = result
            matrix = isinstance(result, np.matrix)  # always of two axes
            if (np.shape(flags) != np.shape(result) and not matrix) or np.asarray(flags).dtype != np.uint8:
                return f"flags of {np.shape(flags)} for a result of {np.shape(result)}"
        given = [*operands, *([kwargs["bits"]] if kwargs.get("bits") is not None else [])]
        shapes = {np.shape(one) for one in given}
        shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*(s for s in shapes if len(s) <= 32))
        if max(map(len, [*shapes, shape])) > 32:
            return None  # more axes than broadcast_shapes takes
        if kwargs.get("out") is not None:
            out = kwargs["out"]
            return None if result is (out[0] if isinstance(out, tuple) else out) else "the result is not out"
        dtype = parsed.code_dtype if name == "encode" else parsed.carrier
        if np.shape(result) != shape and not any(isinstance(one, np.matrix) for one in operands):
            return f"shape {np.shape(result)} instead of {shape}"
        if np.asarray(result).dtype != dtype:
            return f"dtype {np.asarray(result).dtype} instead of {dtype}"
        return None

    # A wider copy of a signalling NaN is a quiet one, which raises no flag.
    again = "plain" if "flags" in kwargs else "wide"
    return Call(name, getattr(lp, name), (*operands, fmt), kwargs, None, check, again)


def _of_codes(rng: random.Random, hostility: float) -> Call:
    name = rng.choice(["decode", "pack", "unpack"])
    fmt = v.fmt(rng, hostility)
    x = v.codes(rng, hostility + 0.1)
    if name == "decode":
        kwargs = {"out": v.out_for(rng, x)} if rng.random() < 0.3 else {}
        return Call(name, lp.decode, (x, fmt), kwargs, again="plain")
    if name == "pack":
        return Call(name, lp.pack, (x, fmt), {}, again="plain")
    count = v.number(rng) if rng.random() < 0.4 else None
    octets = x if rng.random() < 0.3 else np.frombuffer(rng.randbytes(rng.randint(0, 24)), np.uint8)
    return Call(name, lp.unpack, (octets, fmt), {"count": count}, again="plain")


def _spacing(rng: random.Random, hostility: float) -> Call:
    name = rng.choice(["ulp", "nextafter", "ulp_distance", "values", "finfo", "format", "describe"])
    fmt = v.fmt(rng, hostility)
    if name == "values":
        # Formats of many bits have many values.
        return Call(name, lp.values, (rng.choice(["e4m3fn", "E3M2", "float4_e2m1fn", "float64", "E11M40", fmt]),), {})
    if name in ("finfo", "format"):
        return Call(name, getattr(lp, name), (fmt,), {}, None, None)
    x = v.array(rng, hostility + 0.1)
    if name == "ulp":
        return Call(name, lp.ulp, (x, fmt), {}, again="wide")
    if name == "describe":
        x = rng.choice([x, 1.5, v.number(rng), float("nan")])
        kwargs = {"seed": v.number(rng)} if rng.random() < 0.3 else {}
        return Call(name, lp.describe, (x, fmt, v.rounding(rng, hostility), v.overflow(rng, hostility)), kwargs)
    return Call(name, getattr(lp, name), (x, v.array(rng, hostility + 0.1), fmt), {}, again="wide")


def _formats(rng: random.Random, hostility: float) -> Call:
    def integer(low: int, high: int) -> Any:
        return v.number(rng) if rng.random() < hostility + 0.2 else rng.randint(low, high)

    kind = rng.randrange(5)
    if kind == 0:
        kwargs = {}
        if rng.random() < 0.5:
            kwargs["bias"] = integer(-5, 20)
        if rng.random() < 0.5:
            kwargs["specials"] = rng.choice([*lp.formats.SPECIALS, v.garbage(rng)])
        for flag in ("subnormals", "signed"):
            if rng.random() < 0.4:
                kwargs[flag] = v.boolean(rng)
        if rng.random() < 0.2:
            kwargs["name"] = v.garbage(rng)
        return Call("Format", lp.Format, (integer(0, 11), integer(0, 52)), kwargs)
    if kind == 1:
        return Call("p3109", lp.p3109, (integer(2, 16), integer(1, 12), v.boolean(rng), v.boolean(rng)), {})
    if kind == 2:
        names = ("terms", "fraction_bits", "zero_exponent", "alignment", "group", "dealt")
        kwargs = {name: v.number(rng) for name in names[1:] if rng.random() < hostility + 0.2}
        return Call("FusedDot", lp.FusedDot, (integer(1, 32),), kwargs)
    if kind == 3:
        kwargs = {
            "rounding": v.rounding(rng, hostility), "overflow": v.overflow(rng, hostility),
            "order": v.order(rng, hostility), "input_rounding": v.rounding(rng, hostility),
        }  # fmt: skip
        for name in ("product_format", "accumulator_format", "outer_format", "output_format", "scale_format"):
            if rng.random() < 0.2:
                kwargs[name] = v.fmt(rng, hostility)
        numbers = ("random_bits", "nan_bits", "scale_block", "throughput", "flush_inputs", "flush_results", "name")
        for name in numbers:
            if rng.random() < hostility:
                kwargs[name] = rng.choice([v.number, v.garbage])(rng)
        if rng.random() < 0.2:
            kwargs["dot"] = lp.FusedDot(rng.choice([1, 4, 8]), rng.choice([None, 10, 23]))
        elif rng.random() < 0.05:
            kwargs["dot"] = v.garbage(rng)
        return Call("MatrixUnit", lp.MatrixUnit, (v.fmt(rng, hostility),), kwargs)
    kwargs = {"rounding": v.rounding(rng, hostility), "seed": v.number(rng), "random_bits": integer(1, 53)}
    return Call("Context", lp.Context, (), kwargs)


def _products(rng: random.Random, hostility: float) -> Call:
    a, b = v.factors(rng, hostility)
    unit = v.unit(rng, hostility)
    kwargs: dict[str, Any] = {}
    if rng.random() < 0.3:
        kwargs["seed"] = rng.choice([v.number(rng), 3])
    if rng.random() < 0.2:
        kwargs["c"] = v.hostile_array(rng) if rng.random() < 0.5 else 1.0
    if rng.random() < 0.2:
        shape = (a.shape[-2], b.shape[-1]) if getattr(a, "ndim", 0) == 2 == getattr(b, "ndim", 0) else (3, 3)
        kwargs["out"] = v.out_for(rng, v.good_array(rng, shape) if max(shape) < 100 else a)
    if rng.random() < 0.3:
        return Call("dot", lp.dot, (a, b, unit), {"order": v.order(rng, hostility), **kwargs}, again="plain")
    if rng.random() < 0.15:
        kwargs["a_scale"], kwargs["b_scale"] = v.array(rng, 0.5), v.array(rng, 0.5)
    if rng.random() < 0.1:
        kwargs["stats"] = v.boolean(rng)
    if rng.random() < 0.15:
        name = rng.choice(["3xtf32", "ootomo", "bf16x3", "bf16x6", "bf16x9", "ozaki_int8", v.garbage(rng)])
        kwargs = {key: value for key, value in kwargs.items() if key == "seed"}
        for key in ("block", "slices", "word_rounding"):
            if rng.random() < 0.2:
                kwargs[key] = rng.choice([v.number(rng), 8])
        return Call("matmul_split", lp.matmul_split, (a, b, name), kwargs, again="plain")
    return Call("matmul", lp.matmul, (a, b, unit), kwargs, again="plain")


def _sums(rng: random.Random, hostility: float) -> Call:
    x = v.array(rng, hostility + 0.1)
    kwargs: dict[str, Any] = {"order": v.order(rng, hostility)}
    if rng.random() < 0.5:
        kwargs["axis"] = rng.choice([0, -1, 1, (0, 1), (), None, (0, 0), v.number(rng)])
    if rng.random() < 0.3:
        kwargs["keepdims"] = v.boolean(rng)
    if rng.random() < 0.5:
        kwargs["rounding"] = v.rounding(rng, hostility)
        kwargs["seed"] = rng.choice([None, 5, v.number(rng)])
    if rng.random() < 0.1:
        kwargs["outer_format"] = v.fmt(rng, hostility)
    if rng.random() < 0.1:
        kwargs["random_bits"] = v.number(rng)
    if rng.random() < 0.15:
        kwargs["out"] = v.out_for(rng, np.float32(0))
    return Call("sum", lp.sum, (x, v.fmt(rng, hostility)), kwargs, again="wide")


def _jit(rng: random.Random, hostility: float) -> Call:
    name = rng.choice(
        ["round", "add", "sub", "mul", "div", "fma", "sqrt", "encode", "decode", "random_integer", "params"]
    )
    if name == "params":
        return Call(
            name, lp.float16.params, (v.rounding(rng, hostility), v.overflow(rng, hostility), v.number(rng)), {}
        )
    f = v.garbage(rng) if rng.random() < hostility else lp.format(v.fmt(rng, 0)).params()
    count = {"fma": 3, "add": 2, "sub": 2, "mul": 2, "div": 2}.get(name, 1)
    args = [v.number(rng) if rng.random() < hostility else rng.choice(v.SPECIAL) for _ in range(count)]
    if name == "random_integer":
        return Call("jit." + name, lp.jit.random_integer, (v.number(rng), v.number(rng), f), {})
    if name == "decode":
        args = [v.number(rng)]
    kwargs = {"word": v.number(rng)} if rng.random() < hostility and name != "decode" else {}
    return Call("jit." + name, getattr(lp.jit, name), (*args, f), kwargs)


_MAKERS = [_elementwise, _of_codes, _spacing, _formats, _products, _sums, quantization, _jit, arrays, others]
_WEIGHTS = [34, 8, 8, 8, 12, 8, 8, 4, 14, 8]
