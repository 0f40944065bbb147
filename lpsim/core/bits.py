"""Bit-level views of binary64 numbers, exact scaling, and fused multiply-add."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from lpsim.core.jit import core_function

__all__ = [
    "FRACTION_MASK",
    "IMPLICIT_BIT",
    "MAGNITUDE_MASK",
    "bits_of",
    "decompose",
    "divide",
    "float_of",
    "fma",
    "power_of_two",
    "shift_right",
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

    As ordinary Python it goes through exact rationals and returns float64.
    """
    if np.isfinite(x) and np.isfinite(y) and not np.isfinite(z):
        return np.float64(z)
    if not (np.isfinite(x) and np.isfinite(y)) or x == 0 or y == 0:
        return np.float64(x) * np.float64(y) + np.float64(z)
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    if exact == 0:
        return np.float64(0.0)
    try:
        return np.float64(exact.numerator / exact.denominator)
    except OverflowError:
        return np.float64(np.copysign(np.inf, float(np.sign(exact.numerator))))


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


def _shift(name: str, instruction: str) -> Any:
    """Return a shift of a signed integer in its own type, where Python's operators would make it int64."""

    def shift(typing_context: Any, x: Any, places: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(arguments[0], context.cast(builder, arguments[1], places, x))

        return x(x, places), generate

    shift.__name__ = name
    return intrinsic(shift)


shift_left = _shift("shift_left", "shl")
shift_right = _shift("shift_right", "ashr")
