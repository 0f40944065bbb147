"""Machine limits of a format, as ``numpy.finfo`` gives them for a dtype."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format

__all__ = ["FloatInfo", "finfo"]


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a format, as `lpsim.finfo` returns them. All numbers are exact, except ``resolution``.

    Attributes
    ----------
    format : Format
        The format itself.
    bits : int
        Width of a code.
    precision : int
        Significand bits p, the implicit bit included (IEEE 754's p, not decimal digits).
    bias, emin, emax : int
        Exponent bias; exponents of the smallest normal and of the largest finite value.
    max, min : float
        Largest and smallest (most negative) finite value.
    smallest_normal, smallest_subnormal : float
        Smallest positive normal value, and smallest positive value of all.
    eps : float
        ``2**(1 - precision)``, the distance from 1 to the next larger number.
    unit_roundoff : float
        ``2**-precision``.
    digits : int
        Decimal digits that every value of the format's precision carries (C's ``FLT_DIG``).
    resolution : float
        ``10**-digits``.

    Examples
    --------
    >>> import lpsim as lp
    >>> info = lp.finfo("e5m2")
    >>> info.max, info.eps, info.emin
    (57344.0, 0.25, -14)
    """

    format: Format
    bits: int = field(init=False)
    precision: int = field(init=False)
    bias: int = field(init=False)
    emin: int = field(init=False)
    emax: int = field(init=False)
    max: float = field(init=False)
    min: float = field(init=False)
    smallest_normal: float = field(init=False)
    smallest_subnormal: float = field(init=False)
    eps: float = field(init=False)
    unit_roundoff: float = field(init=False)
    digits: int = field(init=False)
    resolution: float = field(init=False)

    def __post_init__(self) -> None:
        f = self.format
        for name in ("bits", "precision", "bias", "emin", "emax", "max", "min", "eps", "unit_roundoff"):
            object.__setattr__(self, name, getattr(f, name))
        object.__setattr__(self, "smallest_normal", f.smallest_normal)
        object.__setattr__(self, "smallest_subnormal", f.smallest_subnormal)
        digits = math.floor(f.mantissa_bits * math.log10(2))
        object.__setattr__(self, "digits", digits)
        object.__setattr__(self, "resolution", 10.0**-digits)

    @property
    def tiny(self) -> float:
        """Another name of ``smallest_normal``, as in ``numpy.finfo``."""
        return self.smallest_normal

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        numbers = ", ".join(f"{name}={getattr(self, name):.6g}" for name in names)
        return f"finfo({numbers}, format={self.format})"


def finfo(fmt: FormatLike) -> FloatInfo:
    """Return the machine limits of a format.

    Parameters
    ----------
    fmt : Format, str or dtype
        The format, as `lpsim.format` reads it.

    Returns
    -------
    FloatInfo
        With the attributes bits, precision, bias, emin, emax, max, min, smallest_normal,
        smallest_subnormal, eps, unit_roundoff, digits, resolution and tiny.

    Raises
    ------
    ValueError, TypeError
        If ``fmt`` names no format.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.finfo("bf16")
    finfo(resolution=0.01, min=-3.38953e+38, max=3.38953e+38, eps=0.0078125, smallest_normal=1.17549e-38, \
tiny=1.17549e-38, format=bfloat16)
    """
    return FloatInfo(as_format(fmt))
