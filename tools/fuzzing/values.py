"""Arguments, good and hostile, as functions of a random generator of Python's, which is the same in all versions."""

from __future__ import annotations

import math
import random
import struct
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

import lpsim as lp

__all__ = [
    "array",
    "boolean",
    "codes",
    "factors",
    "fmt",
    "garbage",
    "good_array",
    "hostile_array",
    "number",
    "order",
    "out_for",
    "overflow",
    "rounding",
    "scheme",
    "small_integer",
    "twisted",
    "unit",
]

FLOATS = [np.float32, np.float64, np.float16, ">f4", ">f8", ">f2"]
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, ">i4", ">u8", np.bool_]
STRANGE = [
    "c8", "c16", "M8[s]", "m8[s]", "S3", "U2", "O", "V4", [("a", "f4"), ("b", "i2")], np.longdouble, "c32", "M8",
    [("x", "f4", (2,))],
]  # fmt: skip
ML = [
    getattr(ml_dtypes, name)
    for name in ("int2", "uint2", "int4", "uint4", "bfloat16", "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn",
                 "float8_e3m4", "float8_e4m3", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e8m0fnu",
                 "int1", "uint1")
    if hasattr(ml_dtypes, name)
]  # fmt: skip
SHAPES = [
    (), (0,), (1,), (3,), (7,), (2, 3), (3, 2), (0, 3), (3, 0), (1, 1), (2, 2, 2), (1, 3), (3, 1), (4, 4), (1,) * 31,
    (1,) * 32, (0,) * 5, (2, 0, 2), (33,), (64,), (2, 32), (257,),
]  # fmt: skip
MOST_AXES = 64 if int(np.__version__.split(".", maxsplit=1)[0]) >= 2 else 32  # NumPy's limit
SHAPES += [(1,) * MOST_AXES, (1,) * (MOST_AXES - 1) + (2,)]
#: Beyond any memory: nothing between what a call does in a moment and these.
HUGE = [
    (1 << 45,),
    (1 << 23, 1 << 23),
    (1 << 55,),
    (3, 1 << 50),
    (1 << 50, 1),
    (1 << 17,) * 3,
    (1 << 55, 0),
    (0, 1 << 57),
]
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    math.inf,
    -math.inf,
    math.nan,
    5e-324,
    2.0**-149,
    65504.0,
    448.0,
    1e308,
    0.1,
    2.0**53 + 2,
]


class Sub(np.ndarray):
    """A subclass of arrays."""


class Rude:
    """What raises an error of its own when it is taken for an array, a number, a string or a key."""

    def __array__(self, *given: Any, **named: Any) -> Any:
        raise ZeroDivisionError("rude")


class Unprintable:
    """What has no text, and is equal to nothing that can be asked."""

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


class Interface:
    """An array by `__array_interface__` alone."""

    def __init__(self) -> None:
        self._array = np.arange(3, dtype=np.float32)
        self.__array_interface__ = self._array.__array_interface__


class Index:
    """An integer by `__index__` alone."""

    def __index__(self) -> int:
        return 3


class Text(str):
    """A subclass of strings."""


def number(rng: random.Random) -> Any:
    """Return what may stand where a number is asked for."""
    return rng.choice([
        True, False, -1, 0, 1, 2, 3, 16, 53, 54, 64, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64,
        1 << 200, -(1 << 63), -(1 << 200), 1.5, 2.0, math.nan, math.inf, -math.inf, -0.0, None, "3", "", b"x",
        np.int8(3), np.int64(-1), np.uint64((1 << 64) - 1), np.float32(math.nan), np.bool_(True), [], {}, (), (1, 2),
        np.array(3), np.array([1, 2]), 1 + 2j, Fraction(1, 3), Index(), "nan", np.datetime64("NaT"), 1e308, 1 << 20000,
        -(1 << 20000), np.longdouble(3), np.float16(2), np.str_("3"), Decimal("2.5"), np.array([[3]]), Unprintable(),
    ])  # fmt: skip


def garbage(rng: random.Random) -> Any:
    """Return what belongs nowhere."""
    return rng.choice([
        None, "", " ", "nonsense", "E999M999", "\0", "é" * 50, "x" * 5000, b"half", 0, -1, 3.7, 1 << 70, [], {}, (), set(),
        object(), Rude(), Ellipsis, NotImplemented, int, float, np.dtype("O"), np.dtype("f4,i4"), np.array([1.0]),
        np.array(1.0), lambda: None, lp, slice(None), ["half"], ("half",), {"fmt": "half"}, Text("half"), 1j, math.nan,
        True, np.str_("half"), iter([1]), range(3), Exception("x"), type("T", (), {}), "blocked(0)", "interleaved(-1)",
        Unprintable(), np.zeros(2, "M8"), np.full(2, 5, "M8"), np.ma.masked, memoryview(b"ab"), lp.Rounding.STOCHASTIC,
        lp.float16, lp.Overflow.IEEE, lp.Context(), Interface(), 1 << 20000, Decimal("NaN"), np.dtype("M8[s]"), bytearray(2),
        "E" + "9" * 5000 + "M1", "nf4(block=3)", "nf4(block=" + "9" * 5000 + ")", "nf4" + "(" * 300 + ")" * 300, "nf4(block)",
        "nf4(block=" + "-" * 9000 + "1)", "nf4(**{})", "affine(bits=[])", "affine(group={1: 2})", "mx('e4m3')", "nf4(block=None)",
        "blocked(99999999999999999999)", "blocked(2, blocked(2))", "half\n", "ﬁ", "E5M10" * 3, "e4m3\x00", "-1",
    ])  # fmt: skip


def small_integer(rng: random.Random, low: int = 0, high: int = 64) -> Any:
    """Return a small integer, in some type."""
    value = rng.randint(low, high)
    return rng.choice([value, value, value, np.int64(value)])


def boolean(rng: random.Random) -> Any:
    """Return a truth value, mostly."""
    return rng.choice([True, False, True, False, True, False, 1, 0, None, np.bool_(True), "True"])


def _floats(rng: random.Random, size: int, octets: int) -> bytes:
    """Return the bytes of floats: any bits, special values, ordinary ones."""
    kind = rng.random()
    if kind < 0.35:
        return rng.randbytes(size * octets)
    code = {2: "e", 4: "f", 8: "d"}[octets]
    if kind < 0.6:
        numbers = [rng.choice(SPECIAL) for _ in range(size)]
    else:
        numbers = [rng.choice((1.0, -1.0)) * rng.random() * 2.0 ** rng.randint(-12, 6) for _ in range(size)]
    limit = {"e": 65504.0, "f": 3e38, "d": math.inf}[code]
    numbers = [x if abs(x) <= limit or math.isinf(x) or math.isnan(x) else limit for x in numbers]
    return struct.pack(f"={size}{code}", *numbers)


def good_array(rng: random.Random, shape: tuple[int, ...] | None = None, dtype: Any = None) -> Any:
    """Return an ordinary array of floats, whose bits are any."""
    if shape is None:
        shape = rng.choice(SHAPES)
    size = math.prod(shape)
    dtype = np.dtype(rng.choice(FLOATS[:2]) if dtype is None else dtype)
    native = np.frombuffer(bytearray(_floats(rng, size, dtype.itemsize)), np.dtype(f"f{dtype.itemsize}"))
    with np.errstate(all="ignore"):
        return native.astype(dtype).reshape(shape)


def _of_any_dtype(rng: random.Random, shape: tuple[int, ...]) -> Any:
    group = rng.random()
    size = math.prod(shape)
    if group < 0.35:
        return good_array(rng, shape, rng.choice(FLOATS))
    if group < 0.6:
        dtype = np.dtype(rng.choice(INTEGERS))
        if rng.random() < 0.5 and dtype.kind != "b":
            return np.frombuffer(bytearray(rng.randbytes(size * dtype.itemsize)), dtype).reshape(shape)
        return np.array([rng.randint(0, 3) for _ in range(size)]).astype(dtype).reshape(shape)
    if group < 0.8:
        return np.array([rng.choice([0, 1, 1, 0.5]) for _ in range(size)]).astype(rng.choice(ML)).reshape(shape)
    return np.zeros(shape, np.dtype(rng.choice(STRANGE)))


def twisted(rng: random.Random, array: Any) -> Any:
    """Return the array, or a copy or view of it in another layout."""
    twist = rng.randrange(14)
    if twist == 0 and array.ndim:
        return array[::-1]
    if twist == 1 and array.ndim:
        return array[..., ::2]
    if twist == 2:
        return array.T
    if twist == 3:
        return np.asfortranarray(array)
    if twist == 4:
        return array.view(Sub)
    if twist == 5:
        array.flags.writeable = False
        return array
    if twist == 6 and array.dtype.kind in "fiu":
        memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
        unaligned = memory.view(array.dtype).reshape(array.shape)
        unaligned[...] = array
        return unaligned
    if twist == 7 and array.ndim:
        return np.broadcast_to(array[..., :1], array.shape) if array.shape[-1] else array
    if twist == 8 and array.dtype.kind in "fiu":
        return np.ma.masked_array(array, mask=False)
    if twist == 9 and array.ndim == 2:
        return array.view(np.matrix) if rng.random() < 0.3 else array.swapaxes(0, 1)
    if twist == 10 and array.ndim and array.shape[-1] > 2 and array.dtype.isbuiltin == 1:
        return np.lib.stride_tricks.sliding_window_view(array, 2, axis=-1)
    if twist == 11 and array.dtype.isbuiltin == 1 and array.dtype.kind in "fiu" and array.size <= 64:
        memory = np.zeros(1 << 26, np.uint8)  # of which a few pages are touched
        distant = memory.view(array.dtype)[:: (1 << 20) // array.itemsize][: array.size].reshape(array.shape)
        distant[...] = array
        return distant
    if twist == 12 and array.dtype.isbuiltin == 1 and array.dtype.kind in "fiu":
        records = np.zeros(array.shape, [("before", "u1"), ("value", array.dtype)])
        records["value"] = array  # of strides that are no multiples of its elements' size
        return records["value"]
    return array


def hostile_array(rng: random.Random) -> Any:
    """Return what may stand where an array is asked for, of any dtype, layout and size, or no array at all."""
    kind = rng.random()
    if kind < 0.72:
        return twisted(rng, _of_any_dtype(rng, rng.choice(SHAPES)))
    if kind < 0.8:
        return np.broadcast_to(_of_any_dtype(rng, ()), rng.choice(HUGE))
    if kind < 0.9:
        return rng.choice([
            [], [[]], [1, [2, 3]], [1.0, None], ["a"], [1 << 70], -(1 << 70), 1 << 64, (1 << 63), [[[1.0]] * 3], "text",
            {1: 2}, {1.0, 2.0}, range(4), [True, 1.5], [np.float32(1), np.float16(2)], [Fraction(1, 3)], memoryview(b"abc"),
            bytearray(b"abc"), Interface(), np.float32(2), np.float64("nan"), np.int64(-7), 2 + 1j, None, [lp.array(1.0, "half")],
        ])  # fmt: skip
    return number(rng) if kind < 0.95 else garbage(rng)


def array(rng: random.Random, hostility: float) -> Any:
    """Return an array, hostile with that probability."""
    return hostile_array(rng) if rng.random() < hostility else good_array(rng)


FORMATS = sorted(lp.formats.NAMED_FORMATS)
SPECS = ["half", "bf16", "e4m3fn", "E3M2", "E2M1_finite", "E8M23", "E11M52", "E0M7_finite", "E5M2B3", "binary8p3se",
         "E4M3FNUZ", "E6M9_nosubnormals", "E5M3_unsigned", "E11M20", "E1M1"]  # fmt: skip
_PARSED: list[Any] = []
for _spec in SPECS:
    try:
        _PARSED.append(lp.format(_spec))
    except ValueError:
        continue


def fmt(rng: random.Random, hostility: float) -> Any:
    """Return a format, as an object, a name or a dtype."""
    if rng.random() < hostility:
        return garbage(rng)
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(FORMATS)
    if kind < 0.9:
        return rng.choice(_PARSED)
    return rng.choice([np.float32, np.float16, np.dtype("f8"), ml_dtypes.bfloat16, np.dtype(ml_dtypes.float8_e4m3fn)])


def _enum(rng: random.Random, kind: Any, hostility: float) -> Any:
    if rng.random() < hostility:
        return rng.choice([garbage, number])(rng)
    member = rng.choice(list(kind))
    return rng.choice([member, member.name.lower(), member.name, member.value])


def rounding(rng: random.Random, hostility: float) -> Any:
    """Return a rounding mode."""
    return _enum(rng, lp.Rounding, hostility)


def overflow(rng: random.Random, hostility: float) -> Any:
    """Return an overflow policy."""
    return _enum(rng, lp.Overflow, hostility)


UNITS = sorted(lp.units.NAMED_UNITS)


def order(rng: random.Random, hostility: float) -> Any:
    """Return an order of summation."""
    if rng.random() < hostility:
        return garbage(rng)
    return rng.choice([
        "sequential", "reverse", "pairwise", "kahan", "interleaved(3)", "blocked(4)", "blocked(2, pairwise)",
        "blocked(3,interleaved(2))", "interleaved(1)", "blocked(1)", "blocked(1000000)", "interleaved(1000)",
        "interleaved(100000000000)", "blocked(100000000000)", "interleaved(1000000000000000000000)",
    ])  # fmt: skip


def unit(rng: random.Random, hostility: float) -> Any:
    """Return a matrix unit or its name."""
    if rng.random() < hostility:
        return garbage(rng)
    return rng.choice(UNITS) if rng.random() < 0.7 else rng.choice(CUSTOM)


def _custom() -> list[Any]:
    made = []
    for given in (
        {"a_format": "half", "order": "pairwise"},
        {"a_format": "bf16", "product_format": "bf16", "accumulator_format": "bf16", "rounding": "toward_zero"},
        {"a_format": "e4m3fn", "rounding": "stochastic"},
        {"a_format": "float64", "accumulator_format": "float64"},
        {"a_format": "half", "order": "kahan", "overflow": "saturate"},
        {"a_format": "half", "dot": lp.FusedDot(4, 23), "rounding": "toward_zero"},
        {"a_format": "half", "order": "blocked(4)", "accumulator_format": "half", "outer_format": "float32"},
    ):
        made.append(lp.MatrixUnit(**given))
    return made


CUSTOM = _custom()


SCHEMES = sorted(lp.quantization.NAMED_SCHEMES)
FREE_SCHEMES = [name for name in SCHEMES if not lp.quantization.get(name).needs]


def scheme(rng: random.Random, hostility: float) -> Any:
    """Return a quantisation scheme."""
    if rng.random() < hostility:
        return garbage(rng)
    return rng.choice(SCHEMES)


def codes(rng: random.Random, hostility: float) -> Any:
    """Return codes."""
    if rng.random() < hostility:
        return hostile_array(rng)
    shape = rng.choice(SHAPES)
    dtype = np.dtype(rng.choice([np.uint8, np.uint16, np.uint8, np.int64, np.uint32, np.uint64, ">u2"]))
    if rng.random() < 0.5:
        return np.frombuffer(bytearray(rng.randbytes(math.prod(shape) * dtype.itemsize)), dtype).reshape(shape)
    return np.array([rng.randint(0, 15) for _ in range(math.prod(shape))]).astype(dtype).reshape(shape)


def out_for(rng: random.Random, x: Any, kind: str = "value") -> Any:
    """Return an ``out=``: sometimes right, sometimes overlapping the operand, sometimes absurd."""
    choice = rng.random()
    if choice < 0.15:
        return hostile_array(rng)
    shape = getattr(x, "shape", ())
    if not isinstance(shape, tuple) or math.prod(shape) > 1 << 12:
        shape = (3,)
    dtype = rng.choice([np.float32, np.float64] if kind == "value" else [np.uint8, np.uint16, np.uint64, np.int32])
    if choice < 0.4 and isinstance(x, np.ndarray):
        return x if rng.random() < 0.5 or not x.ndim else x[::-1]
    if choice < 0.55 and isinstance(x, np.ndarray) and x.ndim == 1 and x.base is None and x.size > 1:
        return x[1:]
    result = np.zeros(shape, dtype)
    return result if choice < 0.85 else twisted(rng, result)


def factors(rng: random.Random, hostility: float) -> tuple[Any, Any]:
    """Return two factors of a product, that fit or not."""
    m, k, n = (rng.choice([0, 1, 2, 3, 5, 16, 33]) for _ in range(3))
    dtype = rng.choice([np.float32, np.float32, np.float64, np.float16, np.int8])
    if dtype is np.int8:
        a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
    else:
        a, b = good_array(rng, (m, k), dtype), good_array(rng, (k, n), dtype)
    layout = rng.randrange(10)
    if layout == 0:
        a = good_array(rng, (k, m), dtype if dtype is not np.int8 else np.float32).T
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
        a = hostile_array(rng)
    if rng.random() < hostility:
        b = hostile_array(rng)
    return a, b
