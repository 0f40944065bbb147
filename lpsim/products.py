"""Products of matrices: as a whole, or if they are large in tiles of the result.

Factors are rounded, split or packed before they are multiplied, which takes memory. For a tile this is done with few
terms at a time, and the accumulators carry on from those to the next, as far as the unit's order allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lpsim.arguments import RealArray
from lpsim.cpu.gemm import gemm
from lpsim.engine import Engine
from lpsim.operands import Operands
from lpsim.parts import Place, depth_multiple, descends
from lpsim.units import MatrixUnit

__all__ = ["Factors", "Product"]

#: Numbers of factors and result from which on a product is computed in tiles: about 24 bytes are needed for each.
_LARGE = 1 << 22

#: Numbers of B and of the result from which on `gemm`, which packs B and nothing else, is called for tiles.
_LARGE_GEMM = 1 << 24

#: Rows and columns of a tile, and how many numbers of its factors, of B alone for `gemm`, are taken at a time.
_TILE, _GEMM_TILE = (1024, 1024, 1 << 20), (4096, 512, 1 << 23)

Scales = tuple[RealArray, RealArray]


#: Casts of signalling NaNs warn.
_without_warnings = np.errstate(invalid="ignore")


class Factors(NamedTuple):
    """What a product is made of.

    ``a`` and ``b`` have shapes (..., m, k) and (..., k, n), whose leading axes broadcast. ``c``, if given, has the
    shape of the result, and ``scales``, if given, have its leading axes.
    """

    a: RealArray
    b: RealArray
    c: RealArray | None
    scales: Scales | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one product: (m, k, n)."""
        return self.a.shape[-2], self.a.shape[-1], self.b.shape[-1]

    @property
    def numbers(self) -> int:
        """How many numbers the factors of one product and its result hold."""
        m, k, n = self.shape
        return m * k + k * n + m * n

    def at(self, ndim: int, where: slice | int) -> Factors:
        """Return a part of the first of ``ndim - 2`` leading axes."""

        def part(array: RealArray) -> RealArray:
            if array.ndim < ndim:
                return array
            if array.shape[0] == 1:
                return array if isinstance(where, slice) else array[0]
            return array[where]

        return Factors(
            part(self.a),
            part(self.b),
            None if self.c is None else self.c[where],
            None if self.scales is None else (self.scales[0][where], self.scales[1][where]),
        )


class Product:
    """Products under one unit.

    Parameters
    ----------
    unit : MatrixUnit
        The unit.
    engine : Engine
        Does its steps.
    operands : Operands
        Round its operands and results.
    whole : bool
        Whether each product is to be computed as a whole, however large.
    """

    def __init__(self, unit: MatrixUnit, engine: Engine, operands: Operands, *, whole: bool) -> None:
        self._unit = unit
        self._engine = engine
        self._operands = operands
        self._whole = whole

    def is_large(self, factors: Factors, batch: tuple[int, ...]) -> bool:
        """Whether products are to be computed in tiles."""
        if factors.numbers * math.prod(batch) <= _LARGE or self._whole or self._rounds_by_place(factors):
            return False
        if not self._packs(factors):
            return True
        m, k, n = factors.shape
        return n * k > _LARGE_GEMM or (self._unit.output_format is not None and m * n * math.prod(batch) > _LARGE)

    def _rounds_by_place(self, factors: Factors) -> bool:
        """Whether the random words of operands or results belong to their places in the whole of them."""
        unit = self._unit
        final = unit.output_format is not None and unit.rounding.is_stochastic
        start = factors.c is not None and unit.total_rounding.is_stochastic
        return unit.input_rounding.is_stochastic or final or start

    def _packs(self, factors: Factors) -> bool:
        """Whether `gemm` reads the factors as they are."""
        formats = (self._unit.a_format, self._unit.b_format)
        pairs = zip(formats, (factors.a, factors.b), strict=True)
        return all(array.flags.aligned and self._engine.short_rounding(fmt, array.dtype)[0] for fmt, array in pairs)

    @_without_warnings
    def compute(self, factors: Factors, batch: tuple[int, ...], position: int = 0) -> RealArray:
        """Return products, of the shape ``(*batch, m, n)``; ``position`` is as for `fill`."""
        a, round_a = self._operands.factor(factors.a, "a")
        b, round_b = self._operands.factor(factors.b, "b")
        m, n = a.shape[-2], b.shape[-1]
        result = self._operands.start_values(factors.c, (*batch, m, n))
        if batch:
            a, b = np.broadcast_to(a, (*batch, *a.shape[-2:])), np.broadcast_to(b, (*batch, *b.shape[-2:]))
        if self._engine.is_gemm:
            gemm(a, b, result, round_a, round_b, zero=factors.c is None)
        elif not batch:
            self._engine.accumulate(a, b, result, Place(position, n), factors.scales)
        else:
            for number, index in enumerate(np.ndindex(batch)):
                place = Place(position + number * m * n, n)
                here = None if factors.scales is None else (factors.scales[0][index], factors.scales[1][index])
                self._engine.accumulate(a[index], b[index], result[index], place, here)
        return self._operands.output(result)

    def fill(self, factors: Factors, result: RealArray, position: int = 0) -> None:
        """Write products to an array of the shape ``(*batch, m, n)``, which shares no memory with the factors.

        ``position`` is the index of the result's first element among those of all products.
        """
        batch = result.shape[:-2]
        if not self.is_large(factors, batch):
            result[...] = self.compute(factors, batch, position)
        elif batch:
            rest, size = factors.numbers * math.prod(batch[1:]), math.prod(result.shape[1:])
            if rest > _LARGE:
                for index in range(batch[0]):
                    self.fill(factors.at(result.ndim, index), result[index], position + index * size)
                return
            step = _LARGE // rest
            for first in range(0, batch[0], step):
                some = slice(first, first + step)
                part = factors.at(result.ndim, some)
                result[some] = self.compute(part, result[some].shape[:-2], position + first * size)
        else:
            self._fill_tiles(factors, result, position)

    @_without_warnings
    def _fill_tiles(self, factors: Factors, result: RealArray, position: int) -> None:
        height, width, step = self._tile(factors)
        for rows, columns in _rectangles(result.shape, height, width):
            place = Place(position + rows.start * result.shape[1] + columns.start, result.shape[1])
            start = None if factors.c is None else factors.c[rows, columns]
            tile = self._operands.start_values(start, result[rows, columns].shape)
            depths = range(0, max(factors.a.shape[-1], 1), step)  # of no terms there are sums, too
            for first in reversed(depths) if descends(self._unit) else depths:
                terms = slice(first, first + step)
                a, round_a = self._operands.factor(factors.a[rows, terms], "a")
                b, round_b = self._operands.factor(factors.b[terms, columns], "b")
                if self._engine.is_gemm:
                    gemm(a, b, tile, round_a, round_b, zero=start is None and first == 0)
                else:
                    scales = self._scales(factors, rows, columns, terms)
                    self._engine.accumulate(a, b, tile, place, scales)
            result[rows, columns] = self._operands.output(tile)

    def _tile(self, factors: Factors) -> tuple[int, int, int]:
        """Return how many rows, columns and terms to take at a time."""
        m, k, n = factors.shape
        # Random words of steps belong to their places among all terms.
        multiple = None if self._unit.is_stochastic else depth_multiple(self._unit)
        if self._packs(factors):
            height, width, numbers = _GEMM_TILE
            return height, width, numbers // min(n, width)
        height, width, numbers = _TILE
        step = numbers // (min(m, height) + min(n, width))
        if multiple is not None and multiple <= step:
            return height, width, step // multiple * multiple
        step = max(k, 1) if multiple is None else min(k, multiple)
        side = min(max(1, numbers // (2 * step)), height)
        return side, side, step

    def _scales(self, factors: Factors, rows: slice, columns: slice, terms: slice) -> Scales | None:
        if factors.scales is None:
            return None
        block = self._unit.scale_block or 1
        blocks = slice(terms.start // block, -(-min(terms.stop, factors.a.shape[-1]) // block))
        return factors.scales[0][rows, blocks], factors.scales[1][columns, blocks]


def _rectangles(shape: tuple[int, ...], height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, shape[0], height):
        for column in range(0, shape[1], width):
            yield slice(row, row + height), slice(column, column + width)
