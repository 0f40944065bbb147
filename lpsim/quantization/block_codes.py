"""Blocks of a matrix as packed codes of a format: scaled, rounded and packed a tile at a time, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.core.operations import ROUND
from lpsim.cpu.blocks import largest_kernel, pack_kernel, scale_kernel, unpack_kernel, unscale_kernel
from lpsim.cpu.elementwise import COUNTER, NONE
from lpsim.cpu.threads import map_ranges
from lpsim.formats import Format
from lpsim.quantization.scheme import RealMatrix
from lpsim.rounding import Overflow, Rounding
from lpsim.shortcuts import decoder, quickest

__all__ = ["Elements", "block_maxima", "decode_blocks", "encode_blocks", "packed_width"]

#: Elements of a tile, whose temporaries stay in a core's cache.
_TILE = 1 << 14

_NO_WORDS = np.empty(0, np.int64)
_NO_FLAGS = np.empty(0, np.uint8)
_RANDOM_BITS = 32


class Elements(NamedTuple):
    """How the elements of blocks are stored."""

    fmt: Format
    integer: bool = False  # two's complement instead of sign and magnitude
    rounding: Rounding = Rounding.TIES_TO_EVEN
    seed: int | None = None


def packed_width(n: int, fmt: Format) -> int:
    """Return how many bytes a row of n codes takes."""
    return -(-n * fmt.bits // 8)


def block_maxima(x: RealMatrix, block: int) -> npt.NDArray[np.float32]:
    """Return the largest magnitude of each block, shape (rows, n / block); infinite or NaN if the block holds such."""
    flat = x.reshape(-1).view(np.int32)
    flat.flags.writeable = False
    out = np.empty(flat.size // block, np.int32)
    kernel = largest_kernel(block)
    map_ranges(
        lambda start, stop: kernel(flat[start * block : stop * block], block, out[start:stop]),
        out.size,
        smallest=(1 << 18) / block,
    )
    return out.view(np.float32).reshape(x.shape[0], x.shape[1] // block)


def encode_blocks(
    x: RealMatrix, factors: npt.NDArray[np.floating[Any]], block: int, elements: Elements
) -> npt.NDArray[np.uint8]:
    """Return the packed codes of ``x`` times the factor of each block, rounded to the format, saturating.

    Parameters
    ----------
    x : ndarray of float32, shape (rows, n)
        The matrix; n is a multiple of ``block``.
    factors : ndarray, shape (rows, n / block)
        Factors. Products have their dtype: float32, or float64 where each has to be exact. Blocks whose factor is NaN
        become zeros.
    block : int
        Block length.
    elements : Elements
        How elements are stored.

    Returns
    -------
    ndarray of uint8, shape (rows, bytes)
    """
    fmt, mode = elements.fmt, elements.rounding
    randomness = COUNTER if mode.is_stochastic else NONE
    single = factors.dtype == np.float32
    kernel, record, _ = quickest(ROUND, fmt, mode, Overflow.SATURATE, _RANDOM_BITS, single, randomness, True)
    scale, pack = scale_kernel(block), pack_kernel()
    seed = np.uint64(elements.seed or 0)
    out = np.empty((x.shape[0], packed_width(x.shape[1], fmt)), np.uint8)
    flat, flat_factors, flat_out = _read_only(x.reshape(-1)), _read_only(factors.reshape(-1)), out.reshape(-1)

    def run(start: int, stop: int, first_byte: int, last_byte: int, buffers: _Buffers) -> None:
        scaled, codes = buffers.reals[: stop - start], buffers.codes[: stop - start]
        scale(flat[start:stop], flat_factors[start // block : stop // block], block, scaled)
        operand = _read_only(scaled)
        kernel(operand, operand, operand, _NO_WORDS, seed, 0, start, codes, _NO_FLAGS, record)
        pack(_read_only(codes), fmt.bits, elements.integer, flat_out[first_byte:last_byte])

    _over_tiles(run, x.shape, block, fmt, factors.dtype)
    return out


def decode_blocks(
    packed: npt.NDArray[np.uint8],
    scales: npt.NDArray[np.float32] | None,
    shape: tuple[int, int],
    block: int,
    elements: Elements,
) -> RealMatrix:
    """Return values times the scale of each block, in binary32; the values themselves without scales."""
    fmt = elements.fmt
    kernel, record, _ = decoder(fmt)
    unpack, unscale = unpack_kernel(), unscale_kernel(block)
    out = np.empty(shape, np.float32)
    flat, flat_out = _read_only(np.ascontiguousarray(packed).reshape(-1)), out.reshape(-1)
    flat_scales = None if scales is None else _read_only(np.ascontiguousarray(scales).reshape(-1))

    def run(start: int, stop: int, first_byte: int, last_byte: int, buffers: _Buffers) -> None:
        codes = buffers.codes[: stop - start]
        unpack(flat[first_byte:last_byte], fmt.bits, elements.integer, codes)
        kernel(_read_only(codes), flat_out[start:stop], record)
        if flat_scales is not None:
            unscale(flat_out[start:stop], flat_scales[start // block : stop // block], block)

    _over_tiles(run, shape, block, fmt, np.dtype(np.float32))
    return out


class _Buffers:
    """A thread's temporaries."""

    def __init__(self, size: int, real: np.dtype[Any], fmt: Format) -> None:
        self.reals = np.empty(size, real)
        self.codes = np.empty(size, fmt.code_dtype)


def _over_tiles(
    run: Callable[[int, int, int, int, _Buffers], None],
    shape: tuple[int, int],
    block: int,
    fmt: Format,
    real: np.dtype[Any],
) -> None:
    """Call ``run`` on ranges of elements, whole blocks, and of the bytes that hold them, in parallel."""
    rows, n = shape
    if not rows * n:
        return
    if n * fmt.bits % 8:
        # Rows end within a byte, so that each is packed by itself.
        def by_rows(start: int, stop: int) -> None:
            buffers, width = _Buffers(n, real, fmt), packed_width(n, fmt)
            for row in range(start, stop):
                run(row * n, (row + 1) * n, row * width, (row + 1) * width, buffers)

        map_ranges(by_rows, rows, smallest=(1 << 18) / n)
        return
    step = math.lcm(block, 8)
    step *= max(1, _TILE // step)

    def by_tiles(start: int, stop: int) -> None:
        buffers = _Buffers(min(step, rows * n), real, fmt)
        for tile in range(start, stop):
            first, last = tile * step, min((tile + 1) * step, rows * n)
            run(first, last, first * fmt.bits // 8, last * fmt.bits // 8, buffers)

    map_ranges(by_tiles, -(-rows * n // step), smallest=(1 << 18) / step)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view: npt.NDArray[Any] = array.view()
    view.flags.writeable = False
    return view
