"""Bit-level views of binary64 numbers, exact scaling, and fused multiply-add."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from lpsim.core.jit import by_size, core_function, on_each_target

__all__ = [
    "FRACTION_MASK",
    "IMPLICIT_BIT",
    "MAGNITUDE_MASK",
    "bits_of",
    "copy_sign",
    "decompose",
    "divide",
    "float_of",
    "floor",
    "fma",
    "negated",
    "power_of_two",
    "rounded_product",
    "shift_left",
    "shift_right",
    "square_root",
    "truncate",
]

MAGNITUDE_MASK = np.int64(0x7FFFFFFFFFFFFFFF)
FRACTION_MASK = np.int64(0x000FFFFFFFFFFFFF)
IMPLICIT_BIT = np.int64(0x0010000000000000)
_SIGN_AND_FRACTION = np.int64(-0x7FF0000000000001)
_ONE = np.int64(0x3FF0000000000000)
_QUIET_BIT = np.int64(0x0008000000000000)
_QUIET_BIT_32 = np.int32(0x00400000)
_TWO_54 = np.float64(2.0**54)

#: Exponent that stands for zero: below any other by more than the precision of an exact sum.
_ZERO_EXPONENT = np.int64(-8000)


@core_function
def bits_of(x: Any) -> Any:
    """Return the binary64 representation of x as int64."""
    return np.float64(x).view(np.int64)


@core_function
def float_of(bits: Any) -> Any:
    """Return the binary64 number with the representation ``bits``."""
    return np.int64(bits).view(np.float64)


@core_function
def power_of_two(exponent: Any) -> Any:
    """Return ``2.0**exponent`` for -1022 <= exponent <= 1023."""
    return float_of((np.int64(exponent) + np.int64(1023)) << np.int64(52))


@core_function
def scale(x: Any, exponent: Any) -> Any:
    """Return ``x * 2**exponent`` for |exponent| <= 2000, exactly wherever that is a binary64 number."""
    half = np.int64(exponent) >> np.int64(1)
    return x * power_of_two(half) * power_of_two(exponent - half)


@core_function
def _negated_32(x: Any) -> Any:
    return np.int32(np.float32(x).view(np.int32) ^ np.int32(-0x80000000)).view(np.float32)


@core_function
def _negated_64(x: Any) -> Any:
    return float_of(bits_of(x) ^ np.int64(-0x8000000000000000))


#: Return -x, also of a signalling NaN, which an instruction of a processor might make quiet.
negated = by_size(_negated_32, _negated_64)


@core_function
def is_finite(x: Any) -> Any:
    """Return whether x is neither infinite nor NaN."""
    return (bits_of(x) & MAGNITUDE_MASK) < np.int64(0x7FF0000000000000)


@core_function
def is_negative(x: Any) -> Any:
    """Return 1 if the sign bit of x is set, else 0."""
    return np.int64(bits_of(x) < np.int64(0))


@core_function
def _is_signalling_binary64(x: Any) -> Any:
    return (x != x) & ((bits_of(x) & _QUIET_BIT) == np.int64(0))


@core_function
def _is_signalling_binary32(x: Any) -> Any:
    # In its own bits: conversion to binary64 makes a NaN quiet.
    return (x != x) & ((np.float32(x).view(np.int32) & _QUIET_BIT_32) == np.int32(0))


def is_signalling(x: Any) -> Any:
    """Return whether x, a float64 or float32, is a signalling NaN (IEEE 754-2019, section 6.2.1)."""
    return _is_signalling_binary32(x) if isinstance(x, np.float32) else _is_signalling_binary64(x)


@overload(is_signalling, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
def _is_signalling_overload(x: Any) -> Any:
    chosen = _is_signalling_binary32 if x == types.float32 else _is_signalling_binary64

    def implementation(x: Any) -> Any:
        return chosen(x)

    return implementation


@core_function
def _decompose_any(x: Any) -> Any:
    tiny = (bits_of(x) & MAGNITUDE_MASK) < IMPLICIT_BIT
    bits = bits_of(x * _TWO_54 if tiny else x)
    exponent = ((bits >> np.int64(52)) & np.int64(0x7FF)) - np.int64(1023)
    exponent = exponent - np.int64(54) if tiny else exponent
    significand = float_of((bits & _SIGN_AND_FRACTION) | _ONE)
    zero = x == np.float64(0.0)
    return (np.float64(0.0) if zero else significand), (_ZERO_EXPONENT if zero else exponent)


@core_function
def _decompose_binary32(x: Any) -> Any:
    return np.float64(x), np.int64(0)


def decompose(x: Any) -> Any:
    """Return (m, e) with ``x == m * 2**e`` and m so near to 1 that error-free transformations of it are exact.

    For float64, 1 <= abs(m) < 2, also for subnormal x, and zero gives (0.0, a very small e). A float32 is its own m:
    in binary64 no product, quotient or residual of such numbers overflows or underflows. For
    infinities and NaNs the result means nothing.
    """
    return _decompose_binary32(x) if isinstance(x, np.float32) else _decompose_any(x)


@overload(decompose, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
def _decompose_overload(x: Any) -> Any:
    chosen = _decompose_binary32 if x == types.float32 else _decompose_any

    def implementation(x: Any) -> Any:
        return chosen(x)

    return implementation


def fma(x: Any, y: Any, z: Any) -> Any:
    """Return ``x * y + z`` rounded once to nearest, ties to even, in the operands' type.

    As ordinary Python it goes through exact rationals.
    """
    kind = np.float32 if all(isinstance(one, np.float32) for one in (x, y, z)) else np.float64
    if np.isfinite(x) and np.isfinite(y) and not np.isfinite(z):
        return kind(z)
    if not (np.isfinite(x) and np.isfinite(y)) or x == 0 or y == 0:
        return kind(kind(x) * kind(y) + kind(z))
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    return kind(0.0) if exact == 0 else _nearest(exact, kind)


def _nearest(exact: Fraction, kind: Any) -> Any:
    """Return a rational rounded to nearest, ties to even, as float64 or float32."""
    try:
        number = exact.numerator / exact.denominator
    except OverflowError:
        return kind(np.copysign(np.inf, float(np.sign(exact.numerator))))
    if kind is np.float32 and (error := exact - Fraction(number)) != 0:
        # Rounded to odd, it can be rounded once more.
        bits = int(np.float64(number).view(np.int64))
        number = float(np.int64((bits - ((error > 0) != (exact > 0))) | 1).view(np.float64))
    with np.errstate(over="ignore"):
        return kind(number)


@intrinsic  # type: ignore[untyped-decorator]
def _llvm_fma(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    if isinstance(x, types.Float) and x == y == z:
        return x(x, x, x), lambda context, builder, signature, arguments: builder.fma(*arguments)
    return None


@overload(fma, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
def _fma_overload(x: Any, y: Any, z: Any) -> Any:
    def implementation(x: Any, y: Any, z: Any) -> Any:
        return _llvm_fma(x, y, z)

    return implementation


def divide(x: Any, y: Any) -> Any:
    """Return ``x / y`` of binary64 numbers by IEEE 754: users' compiled code would raise an error where y is zero."""
    with np.errstate(all="ignore"):
        return np.float64(x) / np.float64(y)


@intrinsic  # type: ignore[untyped-decorator]
def _llvm_divide(typing_context: Any, x: Any, y: Any) -> Any:
    if isinstance(x, types.Float) and x == y:
        return x(x, x), lambda context, builder, signature, arguments: builder.fdiv(*arguments)
    return None


@overload(divide, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
def _divide_overload(x: Any, y: Any) -> Any:
    def implementation(x: Any, y: Any) -> Any:
        return _llvm_divide(np.float64(x), np.float64(y))

    return implementation


def _llvm_shift(instruction: str) -> Any:
    def shift(typing_context: Any, x: Any, places: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(arguments[0], context.cast(builder, arguments[1], places, x))

        return x(x, places), generate

    shift.__name__ = instruction
    return intrinsic(shift)


_shl, _ashr = _llvm_shift("shl"), _llvm_shift("ashr")


@core_function
def _compiled_shift_left(x: Any, places: Any) -> Any:
    return _shl(x, places)


@core_function
def _compiled_shift_right(x: Any, places: Any) -> Any:
    return _ashr(x, places)


#: Shifts of a signed integer in its own type, where Python's operators would make it int64.
shift_left = on_each_target(_compiled_shift_left, lambda x, places: type(x)(x << type(x)(places)))
shift_right = on_each_target(_compiled_shift_right, lambda x, places: type(x)(x >> type(x)(places)))


@core_function
def _multiply(x: Any, y: Any) -> Any:
    return x * y


#: Return ``x * y`` rounded, where a sum or difference of it follows that is not to be fused with it: compilers for
#: GPUs fuse what is written as a product and a sum.
rounded_product = on_each_target(_multiply)

# NumPy's functions of numbers, of which CUDA knows few by themselves.
square_root = on_each_target(core_function(lambda x: np.sqrt(x)))
floor = on_each_target(core_function(lambda x: np.floor(x)))
truncate = on_each_target(core_function(lambda x: np.trunc(x)))
copy_sign = on_each_target(core_function(lambda x, y: np.copysign(x, y)))
