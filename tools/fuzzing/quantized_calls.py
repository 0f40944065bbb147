"""Random calls of `lpsim.quantization`."""

from __future__ import annotations

import random

import numpy as np

import lpsim as lp
from fuzzing import values as v
from fuzzing.call import Call

__all__ = ["quantization"]


def quantization(rng: random.Random, hostility: float) -> Call:
    """Return a call of a function of `lpsim.quantization`."""
    name = rng.choice(["quantize", "quantize", "fake_quantize", "dequantize", "error", "pack_words", "unpack_words",
                       "integer_matmul", "scheme_from_dict", "linear"])  # fmt: skip
    q = lp.quantization
    if name == "pack_words":
        return Call(name, q.pack_words, (v.codes(rng, hostility), v.number(rng)), {}, again="plain")
    if name == "unpack_words":
        return Call(name, q.unpack_words, (v.codes(rng, hostility), v.number(rng), v.number(rng)), {}, again="plain")
    if name == "integer_matmul":
        a, b = rng.choice([(np.ones((2, 3), np.int8), np.ones((3, 2), np.int8)), v.factors(rng, hostility)])
        zeros = {key: v.number(rng) for key in ("a_zero", "b_zero") if rng.random() < 0.3}
        return Call(name, q.integer_matmul, (a, b), zeros, again="plain")
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
        return Call(name, getattr(lp, name), (x, scheme, axis), given, again="plain")
    quantized = lp.quantize(
        np.float32([[1.0, -2.0, 0.5, 3.0] * 64] * 2), rng.choice(v.FREE_SCHEMES) if hostility else "int8"
    )
    if name == "dequantize":
        return Call(name, quantized.dequantize, (rng.choice(["f4", "f8", "f2", "i4", "O", v.garbage(rng)]),), {})
    if name == "error":
        return Call(name, quantized.error, (v.array(rng, 0.5),), {})
    return Call(name, q.linear, (v.array(rng, 0.4) if rng.random() < 0.5 else v.good_array(rng, (3, 256)), quantized),
                {"unit": rng.choice([None, v.unit(rng, hostility)]), "bias": rng.choice([None, v.array(rng, 0.5)])})  # fmt: skip
