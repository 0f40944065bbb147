"""Integers of less than 8 bits in bytes, along rows: the first one in the lowest bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["pack_rows", "unpack_rows"]

#: Rows that are packed together, so that temporary arrays stay small.
_ROWS = 64


def pack_rows(codes: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Return integers of shape (rows, n), of which the lower bits count, as bytes of shape (rows, ceil(n bits / 8))."""
    rows, n = codes.shape
    octets: npt.NDArray[Any] = codes.astype(np.uint8, copy=False)
    if bits == 4:
        if n % 2:
            octets = np.pad(octets, ((0, 0), (0, 1)))
        return np.asarray((octets[:, 0::2] & np.uint8(15)) | (octets[:, 1::2] << np.uint8(4)), np.uint8)
    out = np.empty((rows, -(-n * bits // 8)), np.uint8)
    for start in range(0, rows, _ROWS):
        part = octets[start : start + _ROWS]
        string = np.unpackbits(part[..., None], axis=-1, bitorder="little", count=bits)
        out[start : start + _ROWS] = np.packbits(string.reshape(len(part), n * bits), axis=-1, bitorder="little")
    return out


def unpack_rows(packed: npt.NDArray[np.uint8], bits: int, n: int, signed: bool) -> npt.NDArray[Any]:
    """Return the n integers of each row, int8 or uint8."""
    rows = packed.shape[0]
    out = np.empty((rows, n), np.uint8)
    if bits == 4:
        out[:, 0::2] = packed & 15
        out[:, 1::2] = packed[:, : n // 2] >> 4
    else:
        for start in range(0, rows, _ROWS):
            part = packed[start : start + _ROWS]
            string = np.unpackbits(part, axis=-1, bitorder="little", count=n * bits).reshape(len(part), n, bits)
            out[start : start + _ROWS] = np.packbits(string, axis=-1, bitorder="little")[..., 0]
    if not signed:
        return out
    # The sign bit moves to the top and back.
    return np.asarray((out << np.uint8(8 - bits)).view(np.int8) >> np.int8(8 - bits))
