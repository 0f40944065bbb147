"""The reference against independent arithmetic: the processor's, ml_dtypes and MPFR."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from comparing import assert_same, same
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OPERATIONS, operands, values

from lpsim import formats as lpf
from lpsim import reference
from lpsim.formats import NAMED_FORMATS, Format
from lpsim.rounding import Flag, Rounding

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's overflow and invalid


# The processor.

ALL_16_BIT = np.arange(1 << 16, dtype=np.uint16)
UPPER_HALVES = (ALL_16_BIT.astype(np.uint32) << 16).view(np.float32)


def test_float16_codes() -> None:
    expected = ALL_16_BIT.view(np.float16).astype(np.float64)
    assert_same([reference.decode(code, "float16") for code in range(1 << 16)], expected, ALL_16_BIT)
    for code, value in enumerate(expected.tolist()):
        assert reference.encode(value, "float16") == (0x7E00 if value != value else code)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_codes(dtype: type[np.floating[Any]]) -> None:
    unsigned = np.uint32 if dtype is np.float32 else np.uint64
    top = np.iinfo(unsigned).max
    codes = np.random.default_rng(1).integers(0, top, 2000, unsigned, endpoint=True)
    for code, value in zip(codes.tolist(), codes.view(dtype).tolist(), strict=True):
        assert same(reference.decode(code, dtype), value)
        if value == value:
            assert reference.encode(value, dtype) == code


def test_float64_to_float16_and_float32() -> None:
    # Neighbours of every tie of float16, and of some of float32.
    halves = ALL_16_BIT[:0x7C00:3].view(np.float16).astype(np.float64)
    ties = halves + 0.5 * np.abs(np.spacing(halves.astype(np.float16)).astype(np.float64))
    x = np.concatenate([ties, np.nextafter(ties, np.inf), -np.nextafter(ties, 0)])
    assert_same([reference.round(v, "float16") for v in x.tolist()], x.astype(np.float16), x)
    exponents = np.random.default_rng(2).integers(-160, 130, 5000)
    y = np.ldexp(np.random.default_rng(3).integers(1 << 23, 1 << 24, 5000) + 0.5, exponents - 23)
    y = np.concatenate([y, np.nextafter(y, 0), -np.nextafter(y, np.inf)])
    assert_same([reference.round(v, "float32") for v in y.tolist()], y.astype(np.float32), y)


NUMPY_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "sqrt": np.sqrt,
}  # fmt: skip


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("operation", NUMPY_OPERATIONS)
def test_random_operands_against_the_processor(operation: str, name: str) -> None:
    rng = np.random.default_rng(4)
    fmt = NAMED_FORMATS[name]
    unsigned = fmt.code_dtype
    codes = rng.integers(0, 1 << fmt.bits, (2, 3000), np.uint64).astype(unsigned)
    # Half of the pairs have near exponents, or sums and quotients would be trivial.
    codes[1, ::2] = codes[0, ::2].astype(np.uint64) ^ rng.integers(0, 1 << fmt.mantissa_bits + 2, 1500, np.uint64)
    x, y = codes.view(name)
    args = (x,) if operation == "sqrt" else (x, y)
    expected = NUMPY_OPERATIONS[operation](*args)
    lists = [arg.tolist() for arg in args]
    got = [getattr(reference, operation)(*one, fmt) for one in zip(*lists, strict=True)]
    assert_same(got, expected, list(zip(*lists, strict=True)))


@pytest.mark.parametrize("name", ["float32", "float64"])
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_aimed_operands_against_the_processor(name: str, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(list(NUMPY_OPERATIONS)))
    args = [np.dtype(name).type(x) for x in data.draw(operands(NAMED_FORMATS[name], operation))]
    expected = NUMPY_OPERATIONS[operation](*args)
    assert same(getattr(reference, operation)(*map(float, args), name), float(expected))


# ml_dtypes. Its conversions from binary32 round once; its arithmetic does not concern us.

ML_FORMATS = [name for name in NAMED_FORMATS if name.startswith(("bfloat", "float8_", "float6_", "float4_"))]


@pytest.fixture(params=ML_FORMATS)
def ml_format(request: pytest.FixtureRequest) -> tuple[Format, np.dtype[Any]]:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    return NAMED_FORMATS[request.param], np.dtype(getattr(ml_dtypes, request.param))


def test_codes_of_ml_dtypes(ml_format: tuple[Format, np.dtype[Any]]) -> None:
    fmt, dtype = ml_format
    codes = np.arange(1 << fmt.bits, dtype=fmt.code_dtype)
    expected = codes.view(dtype).astype(np.float64)
    assert_same([reference.decode(code, fmt) for code in codes.tolist()], expected, codes)
    for code, value in enumerate(expected.tolist()):
        if value == value:
            assert reference.encode(value, fmt) == code
    if fmt.nan_code is not None:
        assert math.isnan(expected[fmt.nan_code])


@pytest.mark.parametrize("low", [0, 0x8000])
def test_rounding_of_ml_dtypes(ml_format: tuple[Format, np.dtype[Any]], low: int) -> None:
    fmt, dtype = ml_format
    x = (UPPER_HALVES.view(np.uint32) | low).view(np.float32)
    if not fmt.has_nan:  # ml_dtypes gives zero for a NaN; a NaN has no value in such a format
        x = x[~np.isnan(x)]
    expected = x.astype(dtype).astype(np.float64)
    rounding = Rounding.TIES_TO_EVEN
    if fmt == lpf.float8_e8m0fnu:
        # ml_dtypes (0.5) has E8M0's ties go up, where the even code is this library's rule; and rounds
        # subnormal binary32 numbers up to 2**-126 from 2**-127 on instead of from the tie on.
        rounding = Rounding.TIES_TO_AWAY
        wrong = (x > 2.0**-127) & (x < 1.5 * 2.0**-127)
        assert wrong.any()
        assert (expected[wrong] == 2.0**-126).all()
        expected[wrong] = 2.0**-127
    assert_same([reference.round(v, fmt, rounding=rounding) for v in x.tolist()], expected, x)


def test_ties_of_e8m0_go_to_the_even_code() -> None:
    for code in range(255):
        tie = 1.5 * reference.decode(code, "e8m0")
        assert reference.encode(tie, "e8m0") == code + code % 2
        assert reference.encode(tie, "e8m0", rounding="ties_to_away") == code + 1


# MPFR: five modes, any precision, subnormals by mpfr_subnormalize. Formats that end with a full binade.

MPFR_FORMATS = (
    "float16",
    "bfloat16",
    "float8_e5m2",
    "float32",
    "float64",
    "E6M13",
    "E11M30",
    "E8M40B200",
    "E2M3",
)
MPFR_MODES = {
    Rounding.TIES_TO_EVEN: "RoundToNearest",
    Rounding.TOWARD_ZERO: "RoundToZero",
    Rounding.TOWARD_POSITIVE: "RoundUp",
    Rounding.TOWARD_NEGATIVE: "RoundDown",
    Rounding.AWAY_FROM_ZERO: "RoundAwayZero",
}


@pytest.mark.parametrize("spec", MPFR_FORMATS)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_operations_against_mpfr(spec: str, data: st.DataObject) -> None:
    gmpy2 = pytest.importorskip("gmpy2")
    fmt = lpf.format(spec)
    operation = data.draw(st.sampled_from(list(OPERATIONS)))
    args = data.draw(operands(fmt, operation))
    # MPFR wants operands within the exponent range of the context: values of the format are.
    if not all(x == 0 or not math.isfinite(x) or fmt.smallest_subnormal <= abs(x) <= fmt.max for x in args):
        args = tuple(data.draw(values(fmt)) for _ in args)
    exact = getattr(reference, f"exact_{operation}")(*args)
    for rounding, mpfr_mode in MPFR_MODES.items():
        context = gmpy2.context(
            precision=fmt.precision,
            emin=fmt.quantum_exponent + 1,  # MPFR's significands lie in [0.5, 1)
            emax=fmt.emax + 1,
            subnormalize=True,
            round=getattr(gmpy2, mpfr_mode),
        )
        expected = float(getattr(context, operation)(*(gmpy2.mpfr(x, 53) for x in args)))
        value, flags = reference.round_exact(exact, fmt, rounding=rounding, flags=True)  # type: ignore[misc]
        assert same(value, expected), (operation, args, rounding)
        assert bool(flags & Flag.INEXACT) == context.inexact
        assert bool(flags & Flag.OVERFLOW) == context.overflow
        assert bool(flags & Flag.DIVIDE_BY_ZERO) == context.divzero
        # MPFR also raises its flag for a NaN operand, where nothing is invalid.
        assert bool(flags & Flag.INVALID) == (context.invalid and not any(map(math.isnan, args)))
