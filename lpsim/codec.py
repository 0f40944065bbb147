"""Conversion of arrays: to the nearest values of a format, to its codes and back, and to packed bytes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.arguments import RealArray, as_array, as_real, check_value_out
from lpsim.checks import shown
from lpsim.dispatch import overridable
from lpsim.elementwise import iterate, round_real, wrap_result
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.memory import PIECE, pieces
from lpsim.rounding import Overflow, Rounding
from lpsim.shortcuts import Shortcut, decoder

__all__ = ["decode", "encode", "pack", "round", "unpack"]


@overridable
def round(
    x: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: RealArray | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Round real numbers to values of a format, each once.

    Parameters
    ----------
    x : array_like
        Real numbers of any shape: booleans, integers of up to 64 bits, float16, float32, float64 or a dtype
        of ml_dtypes. Each is rounded from its exact value.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.
    rounding : Rounding or str
        The rounding mode.
    overflow : Overflow or str
        What becomes of results beyond the largest finite value.
    seed : int, optional
        Seed of the stochastic modes, 0 to ``2**64 - 1``. Element i (in C order) takes its random bits
        from (seed, i) alone. Required for these modes unless ``bits`` is given.
    random_bits : int
        How many random bits a stochastic mode compares the discarded fraction with, 1 to 53.
    bits : array_like of int, optional
        The random integers themselves, 0 to ``2**random_bits - 1``, of a shape that broadcasts with x.
    out : ndarray, optional
        Where to write the values: an array of the result's shape and of a floating-point dtype that
        holds every value of the format. It may be ``x`` itself.
    flags : bool
        Whether to return the exceptions as well.
    tininess : str
        For the flag UNDERFLOW: ``"after"`` or ``"before"`` rounding, see `lpsim.Flag`.

    Returns
    -------
    ndarray or scalar
        Values of the format, in its carrier: float32 if every value is a binary32 value, else float64.
        With ``flags``, a tuple of it and an array of `lpsim.Flag` bits (uint8) of the same shape.

    Raises
    ------
    ValueError
        For an unknown format or mode, a stochastic mode without ``seed`` or ``bits``, or an ``out`` that
        is read-only or of another shape.
    TypeError
        For arrays that hold no real numbers, and an ``out`` of a wrong dtype.

    Notes
    -----
    Source: IEEE 754-2019, sections 4.3 and 7; for stochastic rounding, Croci et al., "Stochastic rounding:
    implementation, error analysis and applications", 2022, doi:10.1098/rsos.211631.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.round([0.1, 464, 465], lp.float8_e4m3fn).tolist()
    [0.1015625, 448.0, nan]
    """
    return round_real(
        as_real(x, "x", lazy=True), "x", fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess
    )


@overridable
def encode(
    x: npt.ArrayLike,
    fmt: FormatLike,
    rounding: Rounding | str = Rounding.TIES_TO_EVEN,
    overflow: Overflow | str = Overflow.IEEE,
    seed: int | None = None,
    random_bits: int = 32,
    bits: npt.ArrayLike | None = None,
    out: npt.NDArray[np.unsignedinteger[Any]] | None = None,
    flags: bool = False,
    tininess: str = "after",
) -> Any:
    """Round real numbers to a format and return the codes of the results.

    Parameters
    ----------
    x, fmt, rounding, overflow, seed, random_bits, bits, flags, tininess
        As for `lpsim.round`.
    out : ndarray, optional
        Where to write the codes: an array of unsigned integers, wide enough, of the result's shape.

    Returns
    -------
    ndarray or scalar
        Codes, in the smallest unsigned dtype that holds them (uint8 up to 8 bits). With ``flags``, a
        tuple of it and an array of `lpsim.Flag` bits.

    Raises
    ------
    ValueError, TypeError
        As for `lpsim.round`; also a ValueError for NaNs if the format has none.

    Notes
    -----
    Source: IEEE 754-2019, section 3.4. NaNs become the one code `Format.nan_code`.

    Examples
    --------
    >>> import lpsim as lp
    >>> hex(lp.encode(-27.15625, lp.float16))
    '0xceca'
    """
    fmt = as_format(fmt)
    array = as_real(x, "x", lazy=True)
    if not fmt.has_nan and array.dtype.kind not in "bui" and any(np.isnan(piece).any() for piece in pieces(array)):
        raise ValueError(
            f"x holds NaN (first at index {tuple(map(int, np.argwhere(np.isnan(array))[0]))}), but {fmt} has no code "
            "for NaN; allowed: numbers and infinities"
        )
    return round_real(array, "x", fmt, rounding, overflow, seed, random_bits, bits, out, flags, tininess, codes=True)


def _as_codes(codes: npt.ArrayLike, fmt: Format) -> npt.NDArray[Any]:
    array = as_array(codes, "codes")
    if array.size == 0 and not isinstance(codes, np.ndarray):
        array = array.astype(fmt.code_dtype)
    if array.dtype.kind not in "ui" or array.dtype.name not in np.sctypeDict:
        raise TypeError(f"codes has dtype {array.dtype}; allowed: integers from 0 to 2**{fmt.bits} - 1")
    all_are_codes = array.dtype.kind == "u" and array.dtype.itemsize * 8 == fmt.bits
    if array.size and not all_are_codes:
        low, high = int(array.min()), int(array.max())  # NumPy 1 shifts no uint64 by a Python integer
        if low < 0 or high >> fmt.bits > 0:
            wrong = low if low < 0 else high
            raise ValueError(f"codes holds {wrong}; allowed: 0 to {(1 << fmt.bits) - 1}, the codes of {fmt}")
    return array


class _Decoding(NamedTuple):
    fmt: Format
    shortcut: Shortcut
    code_dtype: np.dtype[Any]
    carrier: np.dtype[Any]
    any_integer: bool  # whether each integer of the dtype is a code


@functools.lru_cache(maxsize=1024, typed=True)
def _decoding(fmt: FormatLike) -> _Decoding:
    fmt = as_format(fmt)
    return _Decoding(fmt, decoder(fmt), fmt.code_dtype, fmt.carrier, fmt.bits == 8 * fmt.code_dtype.itemsize)


@overridable
def decode(codes: npt.ArrayLike, fmt: FormatLike, out: RealArray | None = None) -> Any:
    """Return the values that codes of a format stand for.

    Parameters
    ----------
    codes : array_like of int
        Codes, 0 to ``2**fmt.bits - 1``.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.
    out : ndarray, optional
        Where to write the values, as for `lpsim.round`.

    Returns
    -------
    ndarray or scalar
        Values in the format's carrier (float32 or float64).

    Raises
    ------
    ValueError
        If a code is out of range, or ``out`` is read-only or of another shape.
    TypeError
        If the codes are not integers, or ``out`` is of a wrong dtype.

    Notes
    -----
    Source: IEEE 754-2019, section 3.4. In formats without subnormals, codes with a zero exponent field are
    zeros.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.decode(0xCECA, lp.float16))
    -27.15625
    """
    try:
        fmt, (kernel, record, speed), code_dtype, carrier, any_integer = _decoding(fmt)  # type: ignore[arg-type]
    except TypeError:  # no key of a cache
        fmt, (kernel, record, speed), code_dtype, carrier, any_integer = _decoding(as_format(fmt))
    plain = any_integer and type(codes) is np.ndarray and codes.dtype is code_dtype
    array: npt.NDArray[Any] = codes if plain else _as_codes(codes, fmt)  # type: ignore[assignment]
    if out is None:
        result: RealArray = np.empty(array.shape, carrier)
    else:
        result = check_value_out(out, array.shape, fmt)
        if np.may_share_memory(array, result):
            array = array.copy()
    narrow = array.view(np.ndarray).astype(code_dtype, copy=False)
    iterate(
        lambda chunk, start: kernel(chunk[0], chunk[1], record),
        [narrow],
        [code_dtype],
        [result.view(np.ndarray)],
        [carrier],
        ordered=False,
        speed=speed,
    )
    return wrap_result(result, out, [array])


def pack(codes: npt.ArrayLike, fmt: FormatLike) -> npt.NDArray[np.uint8]:
    """Pack codes into bytes without gaps, along the last axis.

    Parameters
    ----------
    codes : array_like of int, shape (..., n)
        Codes, 0 to ``2**fmt.bits - 1``.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.

    Returns
    -------
    ndarray of uint8, shape (..., ceil(n * fmt.bits / 8))
        The bit string with the first code in the lowest bits of the first byte; the bits left over in the last
        byte are 0. Two FP4 codes fill a byte, low half first; four FP6 codes fill three bytes.

    Raises
    ------
    ValueError
        If a code is out of range or ``codes`` is 0-d.
    TypeError
        If the codes are not integers.

    Notes
    -----
    Source: the layout is that of FP4 pairs in PTX ISA (``e2m1x2``) and of `safetensors`' F4 and F6 types.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.pack([1, 2, 3], lp.float4_e2m1fn).tolist()
    [33, 3]
    """
    fmt = as_format(fmt)
    array = _as_codes(codes, fmt).view(np.ndarray)
    if array.ndim == 0:
        raise ValueError("codes is 0-d; allowed: at least one axis, the last of which is packed")
    n, shape = array.shape[-1], array.shape[:-1]
    rows = math.prod(shape)  # as a matrix: there may be as many axes as NumPy has already
    matrix, width = array.reshape(rows, n), -(-n * fmt.bits // 8)
    packed = np.empty((rows, width), np.uint8)
    for some, part in _parts(rows, n):  # eight codes fill whole bytes
        octets = slice(part.start * fmt.bits // 8, min(part.stop * fmt.bits // 8, width))
        little = np.ascontiguousarray(matrix[some, part], dtype=fmt.code_dtype.newbyteorder("<"))
        digits = little.view(np.uint8).reshape(*little.shape, fmt.code_dtype.itemsize)
        string = np.unpackbits(digits, axis=-1, bitorder="little", count=fmt.bits)
        packed[some, octets] = np.packbits(string.reshape(little.shape[0], -1), axis=-1, bitorder="little")
    return packed.reshape(*shape, width)


def _parts(rows: int, n: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of parts of a matrix, of few elements; columns start at multiples of 8."""
    height = max(1, PIECE // max(n, 1))
    for row in range(0, rows if n else 0, height):
        for column in range(0, n, PIECE):
            yield slice(row, row + height), slice(column, column + PIECE)


def unpack(packed: npt.ArrayLike, fmt: FormatLike, count: int | None = None) -> npt.NDArray[Any]:
    """Return the codes in bytes that `lpsim.pack` made.

    Parameters
    ----------
    packed : array_like of uint8, shape (..., m)
        Packed codes.
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.
    count : int, optional
        Number n of codes along the last axis. Default: as many as fit into m bytes.

    Returns
    -------
    ndarray of unsigned integers, shape (..., n)
        Codes in the smallest unsigned dtype that holds them.

    Raises
    ------
    ValueError
        If ``count`` codes do not take m bytes, bits beyond the last code are set, or ``packed`` is 0-d.
    TypeError
        If ``packed`` is not an array of uint8.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.unpack(lp.pack([1, 2, 3], lp.float4_e2m1fn), lp.float4_e2m1fn, count=3).tolist()
    [1, 2, 3]
    """
    fmt = as_format(fmt)
    octets = as_array(packed, "packed").view(np.ndarray)
    if octets.dtype != np.uint8:
        raise TypeError(f"packed has dtype {octets.dtype}; allowed: uint8")
    if octets.ndim == 0:
        raise ValueError("packed is 0-d; allowed: at least one axis, the last of which is unpacked")
    size = octets.shape[-1]
    if count is None:
        count = 8 * size // fmt.bits
    elif isinstance(count, (bool, np.bool_)) or not isinstance(count, (int, np.integer)):
        raise TypeError(f"count is {shown(count)}; allowed: an integer or None")
    elif (count := int(count)) < 0 or -(-count * fmt.bits // 8) != size:
        low, high = -(-(8 * size - 7) // fmt.bits), 8 * size // fmt.bits
        raise ValueError(
            f"count is {shown(int(count))}; allowed for {size} bytes of {fmt.bits}-bit codes: {max(low, 0)} to {high}"
        )
    rows = math.prod(octets.shape[:-1])  # as a matrix: there may be as many axes as NumPy has already
    matrix, used = octets.reshape(rows, size), count * fmt.bits
    if 8 * size > used:
        for first in range(0, rows, PIECE):
            rest = np.unpackbits(matrix[first : first + PIECE, used // 8 :], axis=-1, bitorder="little")
            if rest[:, used % 8 :].any():
                raise ValueError(f"packed has bits set beyond the last of {count} codes; allowed: zeros there")
    codes: npt.NDArray[Any] = np.empty((rows, count), fmt.code_dtype)
    for some, part in _parts(rows, count):
        here = codes[some, part]
        start, bits = part.start * fmt.bits // 8, here.shape[1] * fmt.bits
        string = np.unpackbits(matrix[some, start : start + -(-bits // 8)], axis=-1, bitorder="little", count=bits)
        digits = np.zeros((*here.shape, 8 * fmt.code_dtype.itemsize), np.uint8)
        digits[..., : fmt.bits] = string.reshape(*here.shape, fmt.bits)
        little = np.packbits(digits, axis=-1, bitorder="little").view(fmt.code_dtype.newbyteorder("<"))
        here[...] = little.reshape(here.shape)
    return codes.reshape(*octets.shape[:-1], count)
