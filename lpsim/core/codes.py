"""Codes of a format's values: the integers that storage holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.bits import FRACTION_MASK, decompose, is_negative, scale
from lpsim.core.bits import bits_of as _bits_of
from lpsim.core.jit import core_function

__all__ = ["code_of", "value_of"]

_ZERO = np.float64(0.0)


@core_function
def code_of(value: Any, f: Any) -> Any:
    """Return the code (int64) of a value of the format; the NaN code is -1 if there is none."""
    magnitude = abs(value)
    significand, exponent = decompose(magnitude)
    field = exponent - f.emin + f.field_offset
    trailing = (_bits_of(significand) & FRACTION_MASK) >> (np.int64(52) - f.mantissa_bits)
    normal = (field << np.int64(f.mantissa_bits)) | trailing
    small = _ZERO if exponent >= f.emin else magnitude
    tiny = np.int64(scale(small, -np.int64(f.tiny_quantum)))
    code = normal if exponent >= f.emin else tiny
    code = f.infinity_code if magnitude == np.inf else code
    code |= (is_negative(value) & f.signed) << np.int64(f.sign_shift)
    return f.nan_code if value != value else code


@core_function
def value_of(code: Any, f: Any) -> Any:
    """Return the value (float64) of a code, which must lie in the format's range of codes."""
    code = np.int64(code)
    negative = (code >> np.int64(f.sign_shift)) & f.signed
    magnitude_code = code & f.magnitude_mask
    field = magnitude_code >> np.int64(f.mantissa_bits)
    trailing = magnitude_code & ((np.int64(1) << np.int64(f.mantissa_bits)) - np.int64(1))
    normal = field >= f.field_offset
    integer = trailing | (np.int64(normal) << np.int64(f.mantissa_bits))
    integer = integer if normal | (f.has_subnormals != 0) else np.int64(0)
    quantum = f.emin - f.mantissa_bits + (field - f.field_offset if normal else np.int64(0))
    magnitude = scale(np.float64(integer), quantum)
    above = magnitude_code > f.max_code
    magnitude = np.float64(np.inf) if above & (magnitude_code == f.infinity_code) else magnitude
    nan = (code == f.nan_code) | (above & (magnitude_code != f.infinity_code))
    # Without subnormals, several codes are zeros; they have a sign only where a zero can have one.
    negative &= np.int64(magnitude != _ZERO) | f.has_negative_zero
    value = -magnitude if negative != 0 else magnitude
    return np.float64(np.nan) if nan else value
