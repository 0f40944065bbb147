"""How the operations of an array round."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from lpsim import units
from lpsim.arguments import RealArray, as_random_bits, as_seed
from lpsim.codec import round as round_to
from lpsim.formats import Format
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding
from lpsim.units import MatrixUnit

__all__ = ["Context"]

#: Held while a context's next operation gets its number, as several threads may share a context. None of a context's
#: own, as a context can be copied and pickled.
_drawing = threading.Lock()


def _renew_lock() -> None:
    # A forked child may have got it while a thread held it, which the child does not have.
    global _drawing
    _drawing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Context:
    """How the operations of an array round, and where their random bits come from.

    Parameters
    ----------
    rounding : Rounding or str
        The rounding mode.
    overflow : Overflow or str
        What becomes of results beyond the largest finite value.
    seed : int, optional
        Seed of the stochastic modes, 0 to ``2**64 - 1``; required for these. Each operation takes bits of its own:
        the n-th one of a context those of the seed that NumPy's ``SeedSequence((seed, n))`` generates.
    random_bits : int
        How many random bits a stochastic mode compares the discarded fraction with, 1 to 53.
    unit : MatrixUnit or str, optional
        What computes matrix and dot products; its result is then rounded to the array's format as all others.
        Default: every product and every sum is rounded to the format, k ascending.

    Raises
    ------
    ValueError, TypeError
        If an argument names no mode, policy or unit, or a stochastic mode has no seed.

    Notes
    -----
    Two contexts that use no random bits are equal if they say the same; one that does is equal to itself alone, since
    two would give the same bits twice.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.Context("toward_zero") == lp.Context(rounding=lp.Rounding.TOWARD_ZERO)
    True
    >>> context = lp.Context("stochastic", seed=1)
    >>> x, y = lp.Array([1.0, 2.0], "bf16", context), lp.Array([0.3, 0.7], "bf16", context)
    >>> (x + y).context is context
    True
    """

    def __init__(
        self,
        rounding: Rounding | str = Rounding.TIES_TO_EVEN,
        overflow: Overflow | str = Overflow.IEEE,
        *,
        seed: int | None = None,
        random_bits: int = 32,
        unit: MatrixUnit | str | None = None,
    ) -> None:
        self.rounding = as_rounding(rounding)
        self.overflow = as_overflow(overflow)
        self.unit = None if unit is None else units.get(unit)
        needs = Rounding.STOCHASTIC if self._is_stochastic else Rounding.TIES_TO_EVEN
        self.seed = None if seed is None and not self._is_stochastic else as_seed(seed, needs)
        self.random_bits = as_random_bits(random_bits)
        parameters(Format(5, 10), self.rounding, self.overflow, self.random_bits)
        self._drawn = 0

    @property
    def _is_stochastic(self) -> bool:
        return self.rounding.is_stochastic or (self.unit is not None and self.unit.is_stochastic)

    def _settings(self) -> tuple[Any, ...]:
        return self.rounding, self.overflow, self.random_bits, self.unit

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Context):
            return NotImplemented
        if self._is_stochastic or other._is_stochastic:
            return self is other
        return self._settings() == other._settings()

    def __hash__(self) -> int:
        return id(self) if self._is_stochastic else hash(self._settings())

    def __repr__(self) -> str:
        parts = [f"rounding={self.rounding.name.lower()!r}"] if self.rounding != Rounding.TIES_TO_EVEN else []
        parts += [f"overflow={self.overflow.name.lower()!r}"] if self.overflow != Overflow.IEEE else []
        parts += [f"seed={self.seed}"] if self.seed is not None else []
        parts += [f"unit={str(self.unit)!r}"] if self.unit is not None else []
        return f"Context({', '.join(parts)})"

    def how(self) -> dict[str, Any]:
        """Return the keyword arguments with which an elementwise operation rounds; it draws its seed."""
        seed = self.next_seed() if self.rounding.is_stochastic else None
        return {
            "rounding": self.rounding, "overflow": self.overflow, "seed": seed, "random_bits": self.random_bits
        }  # fmt: skip

    def next_seed(self) -> int:
        """Return the seed of the next operation that uses random bits."""
        with _drawing:
            number = self._drawn
            self._drawn += 1
        return int(np.random.SeedSequence((self.seed or 0, number)).generate_state(1, np.uint64)[0])

    def products(self, function: Callable[..., Any], a: RealArray, b: RealArray, fmt: Format) -> Any:
        """Return `lpsim.matmul` or `lpsim.dot` of values of a format, rounded to it."""
        unit = self.unit
        if unit is None:
            unit = MatrixUnit(
                fmt,
                product_format=fmt,
                accumulator_format=fmt,
                rounding=self.rounding,
                overflow=self.overflow,
                random_bits=self.random_bits,
            )
        result = function(a, b, unit, seed=self.next_seed() if unit.is_stochastic else None)
        return result if unit.result_format == fmt else round_to(result, fmt, **self.how())
