"""How a matrix unit takes its operands and delivers its result."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lpsim.arguments import RealArray, as_real
from lpsim.core.nearest import NearestParams
from lpsim.counts import Counter, counts_of
from lpsim.elementwise import round_real
from lpsim.engine import Engine
from lpsim.formats import Format, float32, float64
from lpsim.rounding import Overflow, Rounding
from lpsim.units import MatrixUnit

__all__ = ["Operands", "start_array"]

#: Streams of a seed's random bits; stream 0 serves the steps of the sums.
_STREAMS = {"a": 1, "b": 2, "c": 3, "result": 4}


def start_array(c: npt.ArrayLike, shape: tuple[int, ...]) -> RealArray:
    """Return C as an array of the shape of a product."""
    array = as_real(c, "c", lazy=True).view(np.ndarray)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"c has shape {array.shape}; allowed: shapes that broadcast to {shape}") from None


class Operands:
    """The roundings of a matrix product outside of its steps.

    Parameters
    ----------
    unit : MatrixUnit
        The unit.
    engine : Engine
        What computes its products; it may round operands itself.
    seed : int or None
        Seed of stochastic units.
    counters : tuple of Counter, optional
        Count what happens when inputs and output are rounded.
    """

    def __init__(
        self, unit: MatrixUnit, engine: Engine, seed: int | None, counters: tuple[Counter, Counter] | None
    ) -> None:
        self._unit = unit
        self._engine = engine
        self._seed = seed
        self._counters = counters

    def factor(self, array: RealArray, argument: str) -> tuple[RealArray, NearestParams | None]:
        """Return A or B, and how the engine is to round it while it multiplies; otherwise it is rounded."""
        unit = self._unit
        fmt = unit.a_format if argument == "a" else unit.b_format
        by_engine, rounding = self._engine.short_rounding(fmt, array.dtype)
        if by_engine and array.flags.aligned:
            return array, rounding
        plain = unit.input_overflow == Overflow.IEEE and unit.flush_inputs is None and self._counters is None
        if plain and _is_exact(array, fmt):
            return array, None
        rounded = self._rounded(array, fmt, argument, unit.input_rounding, unit.input_overflow)
        return rounded if unit.flush_inputs == "signed_c" else self._flushed(rounded, fmt), None

    def start_values(self, c: RealArray | None, shape: tuple[int, ...]) -> RealArray:
        """Return a new array of start values, those of C; `gemm` makes the zeros and the one NaN itself."""
        unit, fmt = self._unit, self._unit.total_format
        if c is None:
            return np.empty(shape, fmt.carrier) if self._engine.is_gemm else np.zeros(shape, fmt.carrier)
        if self._engine.is_gemm and c.dtype == np.float32 and unit.flush_inputs is None:
            return np.array(c, order="C")
        return self._flushed(self._rounded(c, fmt, "c", unit.total_rounding, unit.overflow), fmt)

    def scales(
        self,
        a_scale: npt.ArrayLike | None,
        b_scale: npt.ArrayLike | None,
        batch: tuple[int, ...],
        shape: tuple[int, int, int],
    ) -> tuple[RealArray, RealArray] | None:
        """Return the scales of A's rows and, transposed, of B's columns, of the shape of the batch; None: no scales.

        ``shape`` is that of the product: (m, k, n).
        """
        if self._unit.scale_format is None and a_scale is None and b_scale is None:
            return None
        m, depth, n = shape
        blocks = 0 if self._unit.scale_block is None else -(-depth // self._unit.scale_block)
        a = self._scale(a_scale, "a_scale", (*batch, m, blocks))
        b = self._scale(b_scale, "b_scale", (*batch, blocks, n))
        return a, np.swapaxes(b, -1, -2)

    def _scale(self, given: npt.ArrayLike | None, argument: str, shape: tuple[int, ...]) -> RealArray:
        unit, fmt = self._unit, self._unit.scale_format
        if fmt is None:
            if given is not None:
                raise ValueError(f"{argument} is given, but unit {unit} has no scales; allowed: None")
            return np.zeros(shape)
        if given is None:
            raise ValueError(f"{argument} is None, but unit {unit} has scales; allowed: an array of shape {shape}")
        array = as_real(given, argument).view(np.ndarray)
        values = np.asarray(
            round_real(array, argument, fmt, Rounding.TIES_TO_EVEN, Overflow.IEEE, None, 32, None, None, False)
        )
        if not np.array_equal(values, array, equal_nan=True):
            raise ValueError(f"{argument} holds numbers that are not in {fmt}; allowed: its values")
        try:
            return np.broadcast_to(values, shape)
        except ValueError:
            raise ValueError(f"{argument} has shape {array.shape}; allowed: shapes that broadcast to {shape}") from None

    def output(self, result: RealArray) -> RealArray:
        """Return the accumulators as the unit delivers them."""
        unit = self._unit
        if unit.output_format is not None:
            result = self._rounded(result, unit.output_format, "result", unit.rounding, unit.overflow)
        if unit.nan_bits is not None:
            result[np.isnan(result)] = np.uint32(unit.nan_bits).view(np.float32)
        return result

    def _rounded(
        self, array: RealArray, fmt: Format, argument: str, rounding: Rounding, overflow: Overflow
    ) -> RealArray:
        seed = self._seed if rounding.is_stochastic else None
        mode = (fmt, rounding, overflow, seed, self._unit.random_bits, None, None)
        if self._counters is None:
            return np.asarray(round_real(array, argument, *mode, False, stream=_STREAMS[argument]))
        values, flags = round_real(array, argument, *mode, True, stream=_STREAMS[argument])
        self._counters[argument == "result"].add(counts_of(values, flags))
        return np.asarray(values)

    def _flushed(self, values: RealArray, fmt: Format) -> RealArray:
        """Return the values with zeros for subnormal ones, if the unit wants it."""
        flush = self._unit.flush_inputs
        if flush is None:
            return values
        zeros = np.zeros_like(values) if flush == "positive" else np.copysign(0.0, values)
        subnormal = np.isfinite(values) & ((values == 0) | (np.frexp(values)[1] <= fmt.emin))
        return np.where(subnormal, zeros, values).astype(values.dtype)


def _is_exact(array: RealArray, fmt: Format) -> bool:
    """Whether rounding would make a copy and no more: the dtype is the format, and kernels can read the array."""
    readable = array.flags.aligned and array.dtype.isnative
    return fmt in (float32, float64) and array.dtype == fmt.carrier and readable
