"""Random calls of the whole public interface: each is a function, its arguments, and what its result must be."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import lpsim as lp
from fuzzing import values as v

__all__ = ["Call", "make_call"]


class Call(NamedTuple):
    """A call, and what to hold its outcome against.

    ``like`` does the same on NumPy's arrays, whose own errors explain; ``result`` is a check of the result.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    like: Callable[[], Any] | None = None
    result: Callable[[Any], str | None] | None = None


#: Elementwise operations by name, with their number of operands.
OPERATIONS = {"round": 1, "encode": 1, "abs": 1, "neg": 1, "sqrt": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "fma": 3}


def make_call(rng: random.Random) -> Call:
    """Return the call that a generator's state leads to."""
    return rng.choices(_MAKERS, _WEIGHTS)[0](rng, rng.choice((0.0, 0.06, 0.06, 0.3)))


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
    if rng.random() < 0.05:
        kwargs["tininess"] = rng.choice(["after", "before", "never", None, 3])

    def check(result: Any) -> str | None:
        parsed = lp.format(fmt)
        if kwargs.get("flags"):
            if not isinstance(result, tuple) or len(result) != 2:
                return "flags gave no pair"
            result, flags = result
            if np.shape(flags) != np.shape(result) or np.asarray(flags).dtype != np.uint8:
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

    return Call(name, getattr(lp, name), (*operands, fmt), kwargs, None, check)


def _of_codes(rng: random.Random, hostility: float) -> Call:
    name = rng.choice(["decode", "pack", "unpack"])
    fmt = v.fmt(rng, hostility)
    x = v.codes(rng, hostility + 0.1)
    if name == "decode":
        kwargs = {"out": v.out_for(rng, x)} if rng.random() < 0.3 else {}
        return Call(name, lp.decode, (x, fmt), kwargs)
    if name == "pack":
        return Call(name, lp.pack, (x, fmt), {})
    count = v.number(rng) if rng.random() < 0.4 else None
    octets = x if rng.random() < 0.3 else np.frombuffer(rng.randbytes(rng.randint(0, 24)), np.uint8)
    return Call(name, lp.unpack, (octets, fmt), {"count": count})


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
        return Call(name, lp.ulp, (x, fmt), {})
    if name == "describe":
        x = rng.choice([x, 1.5, v.number(rng), float("nan")])
        kwargs = {"seed": v.number(rng)} if rng.random() < 0.3 else {}
        return Call(name, lp.describe, (x, fmt, v.rounding(rng, hostility), v.overflow(rng, hostility)), kwargs)
    return Call(name, getattr(lp, name), (x, v.array(rng, hostility + 0.1), fmt), {})


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


def _factors(rng: random.Random, hostility: float) -> tuple[Any, Any]:
    m, k, n = (rng.choice([0, 1, 2, 3, 5, 16, 33]) for _ in range(3))
    dtype = rng.choice([np.float32, np.float32, np.float64, np.float16, np.int8])
    if dtype is np.int8:
        a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
    else:
        a, b = v.good_array(rng, (m, k), dtype), v.good_array(rng, (k, n), dtype)
    layout = rng.randrange(10)
    if layout == 0:
        a = v.good_array(rng, (k, m), dtype if dtype is not np.int8 else np.float32).T
    if layout == 1:
        a = a[np.newaxis]
    if layout == 2:
        b = np.broadcast_to(b, (2, 1, k, n))
    if layout == 3:
        a = a[:, ::-1]
    if layout == 4:
        a = a[0] if m else a
    if layout == 5 and k:
        a, b = np.broadcast_to(np.float32(1), (1 << 40, k)), np.broadcast_to(np.float32(1), (k, 1 << 40))
    if layout == 6:
        a, b = np.broadcast_to(np.float32(1), (m, 1 << 50)), np.broadcast_to(np.float32(1), (1 << 50, n))
    if rng.random() < hostility:
        a = v.hostile_array(rng)
    if rng.random() < hostility:
        b = v.hostile_array(rng)
    return a, b


def _products(rng: random.Random, hostility: float) -> Call:
    a, b = _factors(rng, hostility)
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
        return Call("dot", lp.dot, (a, b, unit), {"order": v.order(rng, hostility), **kwargs})
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
        return Call("matmul_split", lp.matmul_split, (a, b, name), kwargs)
    return Call("matmul", lp.matmul, (a, b, unit), kwargs)


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
    return Call("sum", lp.sum, (x, v.fmt(rng, hostility)), kwargs)


def _quantization(rng: random.Random, hostility: float) -> Call:
    name = rng.choice(["quantize", "quantize", "fake_quantize", "dequantize", "error", "pack_words", "unpack_words",
                       "integer_matmul", "scheme_from_dict", "linear"])  # fmt: skip
    q = lp.quantization
    if name == "pack_words":
        return Call(name, q.pack_words, (v.codes(rng, hostility), v.number(rng)), {})
    if name == "unpack_words":
        return Call(name, q.unpack_words, (v.codes(rng, hostility), v.number(rng), v.number(rng)), {})
    if name == "integer_matmul":
        a, b = rng.choice([(np.ones((2, 3), np.int8), np.ones((3, 2), np.int8)), _factors(rng, hostility)])
        zeros = {key: v.number(rng) for key in ("a_zero", "b_zero") if rng.random() < 0.3}
        return Call(name, q.integer_matmul, (a, b), zeros)
    if name == "scheme_from_dict":
        described = dict(q.get(v.scheme(rng, 0)).asdict())
        for key in list(described):
            if rng.random() < 0.2:
                described[key] = rng.choice([v.number, v.garbage])(rng)
        return Call(name, q.scheme_from_dict, (described if rng.random() < 0.9 else v.garbage(rng),), {})
    shape = rng.choice([(2, 64), (3, 32), (256,), (2, 256), (1, 128), (4, 16), (5,), (0, 32), (2, 2, 32), (), (2, 0)])
    with np.errstate(all="ignore"):
        x = v.hostile_array(rng) if rng.random() < hostility + 0.1 else v.good_array(rng, shape)
    scheme = v.scheme(rng, hostility)
    axis = v.number(rng) if rng.random() < hostility + 0.1 else rng.choice([-1, 0])
    if name in ("quantize", "fake_quantize"):
        given = {"hessian": v.garbage(rng)} if rng.random() < 0.05 else {}
        return Call(name, getattr(lp, name), (x, scheme, axis), given)
    quantized = lp.quantize(
        np.float32([[1.0, -2.0, 0.5, 3.0] * 64] * 2), rng.choice(v.FREE_SCHEMES) if hostility else "int8"
    )
    if name == "dequantize":
        return Call(name, quantized.dequantize, (rng.choice(["f4", "f8", "f2", "i4", "O", v.garbage(rng)]),), {})
    if name == "error":
        return Call(name, quantized.error, (v.array(rng, 0.5),), {})
    return Call(name, q.linear, (v.array(rng, 0.4) if rng.random() < 0.5 else v.good_array(rng, (3, 256)), quantized),
                {"unit": rng.choice([None, v.unit(rng, hostility)]), "bias": rng.choice([None, v.array(rng, 0.5)])})  # fmt: skip


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


_UFUNCS = [np.add, np.subtract, np.multiply, np.divide, np.sqrt, np.square, np.negative, np.absolute, np.maximum, np.power,
           np.floor, np.equal, np.less, np.isnan, np.matmul, np.nextafter, np.exp, np.modf, np.logical_and, np.sign]  # fmt: skip
_METHODS = ["sum", "mean", "prod", "cumsum", "max", "min", "argmax", "any", "ravel", "transpose", "squeeze", "tolist",
            "copy", "flatten", "item", "__float__", "__len__", "__bool__", "__repr__", "__str__", "__int__"]  # fmt: skip
_OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.pow, operator.lt,
              operator.eq, operator.floordiv, operator.mod, operator.iadd, operator.contains, operator.and_]  # fmt: skip
_FUNCTIONS = [np.sum, np.mean, np.dot, np.sort, np.clip, np.concatenate, np.where, np.linalg.norm, np.outer, np.trace,
              np.cumsum, np.linalg.inv, np.fft.fft, np.median, np.vdot, np.inner, np.stack, np.unique, np.full_like]  # fmt: skip


def _arrays(rng: random.Random, hostility: float) -> Call:
    fmt = rng.choice(["half", "e4m3fn", "bf16", "float64", "E3M2_unsigned"])
    kind = rng.randrange(8)
    if kind == 0:
        kwargs = {"rounding": v.rounding(rng, hostility), "seed": rng.choice([None, 1, v.number(rng)])}
        if rng.random() < 0.2:
            kwargs["unit"] = v.unit(rng, hostility)
        return Call("array", lp.array, (v.array(rng, hostility), v.fmt(rng, hostility)), kwargs)
    if kind == 1:
        return Call("Array.from_codes", lp.Array.from_codes, (v.codes(rng, 0.2), v.fmt(rng, hostility)), {})
    shape = rng.choice([(), (3,), (2, 3), (0,), (1,), (3, 3), (2, 0), (1,) * 20])
    with np.errstate(all="ignore"):
        x = lp.array(v.good_array(rng, shape), fmt)
    other = rng.choice([x, 2, 1.5, v.number(rng), v.array(rng, 0.4), lp.array(1.0, "half"), lp.array([1.0] * 3, fmt)])
    plain_other = other.values if isinstance(other, lp.Array) else other
    if kind == 2:
        method = rng.choice(_METHODS)
        args = (v.number(rng),) if rng.random() < 0.4 and not method.startswith("__") and method != "tolist" else ()
        return Call(f"Array.{method}", getattr(x, method), args, {}, lambda: getattr(x.values, method)(*args))
    if kind == 3:
        op = rng.choice(_OPERATORS)
        swap = rng.random() < 0.3
        args = (other, x) if swap else (x, other)
        plain = (plain_other, x.values.copy()) if swap else (x.values.copy(), plain_other)
        return Call(f"Array.{op.__name__}", op, args, {}, lambda: op(*plain))
    if kind == 4:
        ufunc = rng.choice(_UFUNCS)
        args = (x, other)[: ufunc.nin]
        plain_args = (x.values, plain_other)[: ufunc.nin]
        kwargs = {"out": rng.choice([x, np.zeros(shape, np.float32), other])} if rng.random() < 0.2 else {}
        plain_out = {key: one.values.copy() if isinstance(one, lp.Array) else one for key, one in kwargs.items()}
        return Call(f"np.{ufunc.__name__}", ufunc, args, kwargs, lambda: ufunc(*plain_args, **plain_out))
    if kind == 5:
        function = rng.choice(_FUNCTIONS)
        args = ([x, other],) if function in (np.concatenate, np.stack) else (x, other)
        plain_args = ([x.values, plain_other],) if function in (np.concatenate, np.stack) else (x.values, plain_other)
        return Call(f"np.{function.__name__}", function, args, {}, lambda: function(*plain_args))
    if kind == 6:
        index = rng.choice([0, -1, 5, slice(None, None, -1), ..., None, (0, 0), [0, 1], True, x, v.number(rng),
                            v.garbage(rng), np.array([0, 0]), (1, ..., 2)])  # fmt: skip
        if rng.random() < 0.5:
            return Call("Array.getitem", operator.getitem, (x, index), {}, lambda: x.values[index])
        copy = x.values.copy()
        return Call("Array.setitem", operator.setitem, (x, index, other), {},
                    lambda: operator.setitem(copy, index, plain_other))  # fmt: skip
    name = rng.choice(["astype", "reshape", "take", "with_context", "swapaxes", "clip", "dot", "fill"])
    args = tuple(v.number(rng) for _ in range(2 if name in ("swapaxes", "clip") else 1))
    if name == "astype":
        args = (v.fmt(rng, 0.3), rng.choice([None, lp.Context("toward_zero"), v.garbage(rng)]))
    return Call(f"Array.{name}", getattr(x, name), args, {}, lambda: getattr(x.values.copy(), name)(*args))


_MAKERS = [_elementwise, _of_codes, _spacing, _formats, _products, _sums, _quantization, _jit, _arrays]
_WEIGHTS = [35, 8, 8, 8, 12, 8, 8, 4, 14]
