"""What is simulated in which layers of a model."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lpsim import units
from lpsim.arguments import RealArray
from lpsim.codec import round as round_to
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding
from lpsim.units import MatrixUnit

__all__ = ["ROLES", "Cast", "Rule", "as_rules", "rule_for"]

#: What an operand of a product is.
ROLES = ("weights", "activations", "grads")


@dataclass(frozen=True)
class Cast:
    """How an operand is prepared for a matrix unit.

    Parameters
    ----------
    format : Format, str or dtype, optional
        Format to which it is rounded. Default: it is not, beyond what the unit does.
    rounding : Rounding or str
        The rounding mode.
    overflow : Overflow or str
        What becomes of numbers beyond the largest finite value.
    scaling : str, optional
        ``"tensor"``: the operand is multiplied by the largest power of two with which none of its numbers is beyond
        the largest value of the format (or else of the unit's input format), and the product divided by it, both
        exactly but for underflow and overflow. Default: none.

    Raises
    ------
    ValueError, TypeError
        If an argument names no format, mode or scaling.

    Notes
    -----
    Source of the scaling: P. Micikevicius et al., "FP8 formats for deep learning", 2022, arXiv:2209.05433, section 3.

    Examples
    --------
    >>> from lpsim.torch import Cast
    >>> Cast("e4m3fn", scaling="tensor").format.max
    448.0
    """

    format: Format | None
    rounding: Rounding
    overflow: Overflow
    scaling: str | None

    def __init__(
        self,
        format: FormatLike | None = None,
        rounding: Rounding | str = Rounding.TIES_TO_EVEN,
        overflow: Overflow | str = Overflow.IEEE,
        scaling: str | None = None,
    ) -> None:
        if scaling not in (None, "tensor"):
            raise ValueError(f"scaling is {scaling!r}; allowed: 'tensor' or None")
        for name, value in (
            ("format", None if format is None else as_format(format)),
            ("rounding", as_rounding(rounding)),
            ("overflow", as_overflow(overflow)),
            ("scaling", scaling),
        ):
            object.__setattr__(self, name, value)

    def apply(self, values: RealArray, unit_format: Format | None, seed: int | None) -> tuple[RealArray, int]:
        """Return the prepared operand, and the exponent of two by which it is multiplied."""
        exponent = 0
        if self.scaling is not None:
            exponent = _headroom(values, self.format or unit_format)
            values = np.ldexp(values, exponent)
        if self.format is None:
            return values, exponent
        number = seed if self.rounding.is_stochastic else None
        return round_to(values, self.format, self.rounding, self.overflow, number), exponent


def _headroom(values: RealArray, fmt: Format | None) -> int:
    largest = float(np.max(np.abs(values), initial=0.0))
    if fmt is None or largest == 0 or not math.isfinite(largest):
        return 0
    exponent = math.frexp(fmt.max)[1] - math.frexp(largest)[1]
    return exponent if math.ldexp(largest, exponent) <= fmt.max else exponent - 1


@dataclass(frozen=True)
class Rule:
    """What is simulated of a layer.

    Parameters
    ----------
    matmul : MatrixUnit or str, optional
        The unit of the products of the forward pass. Default: PyTorch's own.
    backward : MatrixUnit or str, optional
        The unit of the products of the backward pass. Default: ``matmul``.
    weights, activations, grads : Cast, Format, str or dtype, optional
        How operands are prepared that are parameters, other tensors of the forward pass, and gradients. A format
        stands for a `Cast` to it. Default: as the unit takes them.

    Raises
    ------
    ValueError, TypeError
        If an argument names no unit or format.

    Examples
    --------
    >>> from lpsim.torch import Rule
    >>> Rule("h100.e4m3", backward="h100.e5m2").backward.name
    'h100.e5m2'
    """

    matmul: MatrixUnit | None
    backward: MatrixUnit | None
    weights: Cast | None
    activations: Cast | None
    grads: Cast | None

    def __init__(
        self,
        matmul: MatrixUnit | str | None = None,
        backward: MatrixUnit | str | None = None,
        weights: Cast | FormatLike | None = None,
        activations: Cast | FormatLike | None = None,
        grads: Cast | FormatLike | None = None,
    ) -> None:
        forward = None if matmul is None else units.get(matmul)
        object.__setattr__(self, "matmul", forward)
        object.__setattr__(self, "backward", forward if backward is None else units.get(backward))
        for name, given in (("weights", weights), ("activations", activations), ("grads", grads)):
            cast = given if given is None or isinstance(given, Cast) else Cast(as_format(given, name))
            object.__setattr__(self, name, cast)
        for name in ("matmul", "backward"):
            unit = getattr(self, name)
            if unit is not None and unit.scale_format is not None:
                raise ValueError(f"{name} is {unit}, which needs scales of blocks; allowed: units without")

    @property
    def is_native(self) -> bool:
        """Whether nothing is simulated."""
        return all(getattr(self, one.name) is None for one in fields(self))

    @property
    def is_stochastic(self) -> bool:
        """Whether random bits are used."""
        casts = (getattr(self, role) for role in ROLES)
        chosen = (unit for unit in (self.matmul, self.backward) if unit is not None)
        return any(unit.is_stochastic for unit in chosen) or any(
            cast is not None and cast.rounding.is_stochastic for cast in casts
        )


def as_rules(default: Rule, layers: Any) -> list[tuple[str, Rule]]:
    """Return the patterns of layers' names and what is simulated there, the default last."""
    if layers is None:
        layers = {}
    if not isinstance(layers, Mapping):
        raise TypeError(f"layers is {layers!r:.60}; allowed: a mapping of patterns of names to rules, units or None")
    rules = []
    for pattern, value in layers.items():
        if not isinstance(pattern, str):
            raise TypeError(f"layers has the key {pattern!r:.60}; allowed: patterns of names, such as 'encoder.*'")
        rules.append((pattern, value if isinstance(value, Rule) else Rule(value)))
    return [*rules, ("*", default)]


def rule_for(name: str, rules: list[tuple[str, Rule]]) -> Rule:
    """Return the rule of the first pattern that matches a layer's name."""
    return next(rule for pattern, rule in rules if fnmatch.fnmatchcase(name, pattern))
