"""Random calls on arrays that carry their format, and what NumPy does with its own."""

from __future__ import annotations

import operator
import random

import numpy as np

import lpsim as lp
from fuzzing import values as v
from fuzzing.call import Call

__all__ = ["OPERATORS", "arrays"]

_UFUNCS = [np.add, np.subtract, np.multiply, np.divide, np.sqrt, np.square, np.negative, np.absolute, np.maximum, np.power,
           np.floor, np.equal, np.less, np.isnan, np.matmul, np.nextafter, np.exp, np.modf, np.logical_and, np.sign]  # fmt: skip
_METHODS = ["sum", "mean", "prod", "cumsum", "max", "min", "argmax", "any", "ravel", "transpose", "squeeze", "tolist",
            "copy", "flatten", "item", "__float__", "__len__", "__bool__", "__repr__", "__str__", "__int__"]  # fmt: skip
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.pow, operator.lt,
              operator.eq, operator.floordiv, operator.mod, operator.iadd, operator.contains, operator.and_]  # fmt: skip
_FUNCTIONS = [np.sum, np.mean, np.dot, np.sort, np.clip, np.concatenate, np.where, np.linalg.norm, np.outer, np.trace,
              np.cumsum, np.linalg.inv, np.fft.fft, np.median, np.vdot, np.inner, np.stack, np.unique, np.full_like]  # fmt: skip


def arrays(rng: random.Random, hostility: float) -> Call:
    """Return a call of a constructor, method or operator of arrays, or of a function of NumPy."""
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
        op = rng.choice(OPERATORS)
        swap = rng.random() < 0.3 and op is not operator.contains  # which is the other one's
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
