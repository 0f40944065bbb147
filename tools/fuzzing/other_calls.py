"""Random calls of functions by their signatures: constructors of schemes, errors and bounds, methods of formats."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import numpy as np

import lpsim as lp
from fuzzing import values as v
from fuzzing.call import Call
from lpsim import bounds, errors

__all__ = ["others"]

q = lp.quantization

#: Functions that take what their parameters' names say.
_NAMED = [
    q.affine, q.block_float, q.mx, q.bfp, q.nf4, q.nf, q.bnb_fp4, q.dynamic8, q.codebook, q.normal_map, q.gguf, q.gptq,
    q.llm_int8, q.eetq, q.nvfp4, q.scaled_float, q.Hessian, q.get, errors.normwise_error, errors.componentwise_error,
    errors.ulp_error, errors.condition, errors.product_error, bounds.matmul_bound, lp.units.get,
]  # fmt: skip

_Maker = Callable[[random.Random, float], Any]


def _small(rng: random.Random, hostility: float) -> Any:
    return v.small_integer(rng, 0, 33)


def _one_of(*names: Any) -> _Maker:
    return lambda rng, hostility: rng.choice(names)


def _table(rng: random.Random, hostility: float) -> Any:
    return rng.choice([[-1, 0, 1], [0.5, 0.25], v.good_array(rng, (4,)), v.hostile_array(rng), [0, 0], ["1", "2"]])


_PARAMETERS: dict[str, _Maker] = {
    "fmt": v.fmt, "element": lambda rng, h: rng.choice([v.fmt(rng, h), "e4m3", "int8", "e2m1"]), "scale_format": v.fmt,
    "rounding": v.rounding, "unit": v.unit, "scheme": v.scheme, "table": _table, "type": _one_of(*q.GGUF_TYPES),
    "a": lambda rng, h: v.factors(rng, h)[0], "b": lambda rng, h: v.factors(rng, h)[1], "c": v.array,
    "computed": lambda rng, h: v.good_array(rng, (3,)), "exact": lambda rng, h: v.good_array(rng, (3,)),
    "a_scale": v.array, "b_scale": v.array, "norm": _one_of("fro", 1, np.inf, 2), "accum": _one_of("fp32", "fp16"),
    "convention": _one_of(*q.CONVENTIONS), "per": _one_of("tensor", "channel"), "kind": _one_of(*bounds.KINDS),
    "scale_rule": _one_of("floor", "ceil", "even", "rceil"), "scale": _one_of(0.5, 1, 1e-300), "threshold": _one_of(0, 6.0),
    "damp_percent": _one_of(0.01, 1), "confidence": _one_of(6.0, 3),
}  # fmt: skip


def others(rng: random.Random, hostility: float) -> Call:
    """Return a call of a function by its signature, or of a format's method."""
    kind = rng.random()
    if kind < 0.7:
        return _by_signature(rng, rng.choice(_NAMED), hostility)
    fmt = lp.format(v.fmt(rng, 0))
    if kind < 0.75:
        return Call("Format.magnitude", fmt.magnitude, (v.number(rng),), {})
    if kind < 0.8:
        names = [name for name in dir(lp.Format) if isinstance(getattr(lp.Format, name), property)]
        return Call("Format's property", getattr, (fmt, rng.choice(names)), {})
    if kind < 0.9:
        hessian = q.Hessian(3)
        shape = rng.choice([(2, 3), (0, 3), (2, 2, 3), (3,)])
        batch = v.hostile_array(rng) if rng.random() < 0.5 else v.good_array(rng, shape)
        return Call("Hessian.add", hessian.add, (batch,), {})
    given = rng.choice([fmt, lp.units.get(v.unit(rng, 0)), q.get(rng.choice(v.SCHEMES)), lp.array([1.0], fmt)])
    how = rng.choice([repr, str, lambda one: format(one, ""), lambda one: one == "x", lambda one: one != v.Rude()])
    return Call(f"text of {type(given).__name__}", how, (given,), {})


def _by_signature(rng: random.Random, function: Callable[..., Any], hostility: float) -> Call:
    kwargs = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty and rng.random() < 0.5:
            continue
        if rng.random() < hostility:
            kwargs[name] = rng.choice([v.number, v.garbage, v.hostile_array])(rng)
        elif name in _PARAMETERS:
            kwargs[name] = _PARAMETERS[name](rng, hostility)
        elif isinstance(parameter.default, bool):
            kwargs[name] = v.boolean(rng)
        else:
            kwargs[name] = _small(rng, hostility)
    return Call(function.__name__, function, (), kwargs)
