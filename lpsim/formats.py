"""Floating-point formats as data: facts, validation, derived properties and the named formats.

A format is a set of real numbers with an integer code for each. Derived facts are computed in
integers; where a property is a float, the float is exact.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.checks import check_choice, check_integer, shown

__all__ = [
    "ALIASES", "EXMY", "MAX_EXPONENT_BITS", "MAX_MANTISSA_BITS", "NAMED_FORMATS", "P3109", "SOURCES", "SPECIALS",
    "Format", "FormatLike", "format",
]  # fmt: skip

#: Allowed values of ``Format.specials``.
SPECIALS = ("ieee", "fn", "fnuz", "finite", "p3109", "p3109_finite")

MAX_EXPONENT_BITS = 11
MAX_MANTISSA_BITS = 52


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with ``exponent_bits`` and ``mantissa_bits`` (ExMy).

    A code holds, from the top, a sign bit (signed formats), the biased exponent ``f`` and the trailing significand
    ``t``. It stands for ``(1 + t / 2**M) * 2**(f - bias)``, and for ``(t / 2**M) * 2**(1 - bias)`` where ``f`` is 0
    (IEEE 754-2019, section 3.4), except for the codes that ``specials`` sets aside.

    Parameters
    ----------
    exponent_bits : int
        Width E of the exponent field, 0 to 11. With 0 all values are subnormal: fixed point.
    mantissa_bits : int
        Width M of the trailing significand field, 0 to 52; the precision is M + 1.
    bias : int, optional
        Exponent bias. Default: ``2**(E-1) - 1``, and ``2**(E-1)`` for ``"fnuz"`` and P3109 formats.
    specials : str
        Which codes are not finite numbers:

        ``"ieee"``
            infinities and NaNs take the largest exponent (IEEE 754-2019). With M = 0 there is no room for a NaN.
        ``"fn"``
            no infinity; NaN is the code with all exponent and significand bits set (OCP OFP8 E4M3).
        ``"fnuz"``
            no infinity, no negative zero: its code is the NaN (arXiv:2206.02915). Signed only.
        ``"finite"``
            neither infinity nor NaN (OCP MX FP6 and FP4).
        ``"p3109"``, ``"p3109_finite"``
            one NaN (the code of -0, or in unsigned formats the last code), no negative zero, and infinities at the
            largest remaining codes, or none (IEEE P3109 draft).
    subnormals : bool
        False: the values below the smallest normal are not in the format, and codes with a zero exponent field stand
        for zero. With M = 0 as well, code 0 is ``2**-bias`` and the format has no zero (OCP MX E8M0).
    signed : bool
        False: there is no sign bit, and no negative value.
    name : str, optional
        A label for printing; it takes no part in comparison.

    Raises
    ------
    ValueError
        If a parameter is out of range, no positive value is left, or some value is not a binary64 value.
    TypeError
        If a parameter has the wrong type.

    Examples
    --------
    >>> import lpsim as lp
    >>> f = lp.Format(4, 3, specials="fn")
    >>> f == lp.float8_e4m3fn, f.bits, f.bias, f.emax, f.max
    (True, 8, 7, 8, 448.0)
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int = field(default=None, kw_only=True)  # type: ignore[assignment]  # None is replaced below
    specials: str = field(default="ieee", kw_only=True)
    subnormals: bool = field(default=True, kw_only=True)
    signed: bool = field(default=True, kw_only=True)
    name: str | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        self._check_integer("exponent_bits", 0, MAX_EXPONENT_BITS)
        self._check_integer("mantissa_bits", 0, MAX_MANTISSA_BITS)
        for argument in ("subnormals", "signed"):
            if not isinstance(getattr(self, argument), (bool, np.bool_)):
                raise TypeError(f"{argument} is {shown(getattr(self, argument))}; allowed: True or False")
            object.__setattr__(self, argument, bool(getattr(self, argument)))
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"name is {shown(self.name)}; allowed: a string or None")
        check_choice("specials", self.specials, SPECIALS)
        if self.specials == "fnuz" and not self.signed:
            raise ValueError("specials is 'fnuz', which needs a sign bit, but signed is False; allowed: True")
        if self.bias is None:
            object.__setattr__(self, "bias", _default_bias(self.exponent_bits, self.specials))
        else:
            self._check_integer("bias", -(1 << 12), 1 << 12)
        self._check_values()

    def _check_integer(self, argument: str, low: int, high: int) -> None:
        value = getattr(self, argument)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{argument} is {shown(value)}; allowed: an integer from {low} to {high}")
        if not low <= value <= high:
            raise ValueError(f"{argument} is {shown(int(value))}; allowed: {low} to {high}")
        object.__setattr__(self, argument, int(value))

    def _check_values(self) -> None:
        smallest_code = (1 if self.subnormals else 1 << self.mantissa_bits) if self.has_zero else 0
        given = (
            f"exponent_bits={self.exponent_bits}, mantissa_bits={self.mantissa_bits}, "
            f"subnormals={self.subnormals} with specials={self.specials!r}"
        )
        if self.max_code < smallest_code or self.bits == 0:
            raise ValueError(f"{given} leave no code for a positive number; allowed: more bits or fewer special values")
        if self.signed and not self.has_zero and self.nan_code == self.sign_mask:
            raise ValueError(f"{given} take the code of a negative number for NaN; allowed here: signed=False")
        if self.emax > 1023 or self.quantum_exponent < -1074:
            raise ValueError(
                f"{self.spec} with bias={self.bias} has values from 2**{self.quantum_exponent} to over 2**{self.emax}; "
                "allowed: formats whose every value is a binary64 value (2**-1074 to below 2**1024)"
            )

    # Codes. "Magnitude" codes are without the sign bit, so they are ordered as their values.

    @property
    def bits(self) -> int:
        """Width of a code in bits."""
        return self.signed + self.exponent_bits + self.mantissa_bits

    @property
    def sign_mask(self) -> int:
        """The sign bit of a code; 0 in unsigned formats."""
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def magnitude_mask(self) -> int:
        """All bits of a code but the sign."""
        return (1 << (self.exponent_bits + self.mantissa_bits)) - 1

    @property
    def max_code(self) -> int:
        """Code of the largest finite value."""
        if self.specials == "ieee":
            reserved = 1 << self.mantissa_bits
        elif self.specials in ("p3109", "p3109_finite"):
            reserved = self.has_infinity + (not self.signed)
        else:
            reserved = int(self.specials == "fn")
        return self.magnitude_mask - reserved

    @property
    def infinity_code(self) -> int | None:
        """Code of positive infinity; None where the format has none."""
        return self.max_code + 1 if self.has_infinity else None

    @property
    def nan_code(self) -> int | None:
        """Code of the (quiet, positive) NaN that ``encode`` writes; None where there is none."""
        if not self.has_nan:
            return None
        if self.specials == "ieee":
            return self.max_code + 1 + (1 << self.mantissa_bits >> 1)
        if self.signed and self.specials != "fn":
            return self.sign_mask
        return self.magnitude_mask

    # What the format has.

    @property
    def has_infinity(self) -> bool:
        """Whether there are infinities."""
        return self.specials in ("ieee", "p3109")

    @property
    def has_nan(self) -> bool:
        """Whether there is a NaN."""
        return self.specials != "finite" and not (self.specials == "ieee" and self.mantissa_bits == 0)

    @property
    def has_zero(self) -> bool:
        """Whether zero is a value of the format (E8M0 scales have none)."""
        return self.subnormals or self.mantissa_bits > 0

    @property
    def has_negative_zero(self) -> bool:
        """Whether -0 has a code."""
        return self.signed and self.has_zero and self.specials in ("ieee", "fn", "finite")

    # Parameters in the sense of IEEE 754-2019, section 3.3.

    @property
    def precision(self) -> int:
        """Number of significand bits p, the implicit bit included."""
        return self.mantissa_bits + 1

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal value."""
        return self.has_zero - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest finite value."""
        exponent_field, trailing = divmod(self.max_code, 1 << self.mantissa_bits)
        if exponent_field == 0 and self.has_zero:
            return self.quantum_exponent + trailing.bit_length() - 1
        return self.emin + exponent_field - self.has_zero

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the last place at ``emin``; every value is a multiple of 2 to this power."""
        return self.emin - self.mantissa_bits

    # Values: each is a binary64 value, so the floats are exact.

    def magnitude(self, code: int) -> float:
        """Return the finite value of a magnitude code: no sign, and no infinity or NaN."""
        allowed = f"0 to {self.max_code}, the finite ones of {self}"
        check_integer("code", code, allowed)
        code = int(code)
        if not 0 <= code <= self.max_code:
            raise ValueError(f"code is {shown(code)}; allowed: {allowed}")
        return self._magnitude(code)

    def _magnitude(self, code: int) -> float:
        exponent_field, trailing = divmod(code, 1 << self.mantissa_bits)
        if exponent_field == 0 and self.has_zero:
            return math.ldexp(trailing if self.subnormals else 0, self.quantum_exponent)
        lift = exponent_field - self.has_zero
        return math.ldexp(trailing + (1 << self.mantissa_bits), self.quantum_exponent + lift)

    @property
    def max(self) -> float:
        """Largest finite value."""
        return self._magnitude(self.max_code)

    @property
    def min(self) -> float:
        """Smallest (most negative) finite value; the smallest value of an unsigned format."""
        if self.signed:
            return -self.max
        return 0.0 if self.has_zero else self.smallest_normal

    @property
    def smallest_normal(self) -> float:
        """Smallest positive normal value; NaN where all values are subnormal."""
        return math.ldexp(1.0, self.emin) if self.emax >= self.emin else math.nan

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive value; without subnormals it is the smallest normal value."""
        if self.subnormals:
            return math.ldexp(1.0, self.quantum_exponent)
        return self.smallest_normal

    @property
    def eps(self) -> float:
        """Distance from 1 to the next larger number of this precision, ``2**(1 - precision)``."""
        return math.ldexp(1.0, -self.mantissa_bits)

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding to nearest in the normal range, ``2**-precision``."""
        return self.eps / 2

    @functools.cached_property
    def carrier(self) -> np.dtype[Any]:
        """NumPy dtype in which values travel: float32 if every value is a binary32 value, else float64."""
        fits = self.mantissa_bits <= 23 and self.emax <= 127 and self.quantum_exponent >= -149
        return np.dtype(np.float32 if fits else np.float64)

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """Smallest NumPy unsigned dtype that holds a code."""
        size = next(size for size in (1, 2, 4, 8) if self.bits <= 8 * size)
        return np.dtype(f"u{size}")

    @property
    def spec(self) -> str:
        """The format spelled out in the grammar of `lpsim.format`, whatever its label."""
        start, end = f"E{self.exponent_bits}M{self.mantissa_bits}", ""
        if self.specials in ("fn", "fnuz"):
            end += self.specials.upper()
        elif self.specials != "ieee":
            end += f"_{self.specials}"
        end += "_nosubnormals" * (not self.subnormals) + "_unsigned" * (not self.signed)
        # Some spellings are names of other formats; with the bias they are not.
        taken = ALIASES.get((start + end).lower(), self) != self
        if taken or self.bias != _default_bias(self.exponent_bits, self.specials):
            start += f"B{self.bias}"
        return start + end

    def params(
        self, rounding: Any = "ties_to_even", overflow: Any = "ieee", random_bits: int = 32, tininess: str = "after"
    ) -> Any:
        """Return the format and a mode as a tuple of numbers, for `lpsim.jit`.

        Parameters
        ----------
        rounding, overflow, random_bits, tininess
            As for `lpsim.round`.

        Returns
        -------
        tuple
            A named tuple of int and float; of a type of its own for the stochastic modes.

        Examples
        --------
        >>> import lpsim as lp
        >>> float(lp.jit.mul(1.5, 1.5, lp.format("E3M2").params()))
        2.0
        """
        from lpsim.parameters import jit_parameters

        return jit_parameters(self, rounding, overflow, random_bits, tininess)

    def __str__(self) -> str:
        return self.name or self.spec


def _default_bias(exponent_bits: int, specials: str) -> int:
    ieee_like = specials in ("ieee", "fn", "finite")
    return max((1 << exponent_bits >> 1) - ieee_like, 0)


# The named formats. Names are those of ml_dtypes wherever it has the format.

float16 = Format(5, 10, name="float16")
float32 = Format(8, 23, name="float32")
float64 = Format(11, 52, name="float64")
bfloat16 = Format(8, 7, name="bfloat16")
tf32 = Format(8, 10, name="tf32")
float8_e4m3fn = Format(4, 3, specials="fn", name="float8_e4m3fn")
float8_e5m2 = Format(5, 2, name="float8_e5m2")
float8_e4m3 = Format(4, 3, name="float8_e4m3")
float8_e3m4 = Format(3, 4, name="float8_e3m4")
float8_e4m3fnuz = Format(4, 3, specials="fnuz", name="float8_e4m3fnuz")
float8_e5m2fnuz = Format(5, 2, specials="fnuz", name="float8_e5m2fnuz")
float8_e4m3b11fnuz = Format(4, 3, bias=11, specials="fnuz", name="float8_e4m3b11fnuz")
float8_e8m0fnu = Format(8, 0, bias=127, specials="fn", subnormals=False, signed=False, name="float8_e8m0fnu")
float6_e3m2fn = Format(3, 2, specials="finite", name="float6_e3m2fn")
float6_e2m3fn = Format(2, 3, specials="finite", name="float6_e2m3fn")
float4_e2m1fn = Format(2, 1, specials="finite", name="float4_e2m1fn")

#: The named formats by name, widest first.
NAMED_FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        float64, float32, tf32, float16, bfloat16, float8_e5m2, float8_e4m3fn, float8_e4m3, float8_e3m4,
        float8_e4m3fnuz, float8_e5m2fnuz, float8_e4m3b11fnuz, float8_e8m0fnu,
        float6_e3m2fn, float6_e2m3fn, float4_e2m1fn,
    )
    if f.name is not None
}  # fmt: skip

#: Where each named format is defined.
SOURCES: dict[str, str] = {
    **dict.fromkeys(("float16", "float32", "float64"), "IEEE 754-2019, table 3.5"),
    "bfloat16": 'Wang and Kanwar, "BFloat16: the secret to high performance on Cloud TPUs", 2019; Intel 338302-001US',
    "tf32": "NVIDIA A100 Tensor Core GPU Architecture whitepaper, 2020",
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2"), "OCP 8-bit Floating Point Specification (OFP8) 1.0, 2023"),
    **dict.fromkeys(("float8_e4m3", "float8_e3m4"), "IEEE-like, as ml_dtypes defines it"),
    **dict.fromkeys(
        ("float8_e4m3fnuz", "float8_e5m2fnuz"),
        'Noune et al., "8-bit numerical formats for deep neural networks", 2022, arXiv:2206.02915',
    ),
    "float8_e4m3b11fnuz": 'Sun et al., "Hybrid 8-bit floating point training and inference", NeurIPS 2019: bias 11',
    **dict.fromkeys(
        ("float8_e8m0fnu", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn"),
        "OCP Microscaling Formats (MX) Specification 1.0, 2023, sections 5.3 and 5.4",
    ),
}

#: The named formats by every name that `format` knows, in lower case.
ALIASES = {
    **NAMED_FORMATS,
    **{name.split("_", 1)[1]: f for name, f in NAMED_FORMATS.items() if "_" in name},
    **dict.fromkeys(("binary16", "fp16", "f16", "half"), float16),
    **dict.fromkeys(("binary32", "fp32", "f32", "single"), float32),
    **dict.fromkeys(("binary64", "fp64", "f64", "double"), float64),
    **dict.fromkeys(("bf16",), bfloat16),
    **dict.fromkeys(("tensorfloat32",), tf32),
    **dict.fromkeys(("e8m0",), float8_e8m0fnu),
}

#: Spellings of formats that `format` reads besides, and those of the P3109 draft.
EXMY = re.compile(r"e(\d{1,9})m(\d{1,9})(?:b(-?\d{1,9}))?(fnuz|fn)?((?:_[a-z0-9]+)*)")
P3109 = re.compile(r"(?:binary|p3109_k)(\d{1,9})p(\d{1,9})([su]?)([ef]?)")

#: What the public functions accept as a format.
FormatLike = Format | str | npt.DTypeLike


def format(spec: FormatLike, argument: str = "fmt") -> Format:
    """Return the format that ``spec`` names.

    Parameters
    ----------
    spec : Format, str or dtype
        A `Format` (returned as it is); a NumPy or ml_dtypes floating-point dtype; or a string, in
        any case:

        - a named format, with or without its ``float8_`` (``float6_``, ``float4_``) prefix: ``"bfloat16"``,
          ``"e4m3fn"``; or one of its usual names: ``"half"``, ``"fp16"``, ``"bf16"``, ``"single"``, ``"double"``;
        - ``"ExMy"`` with x exponent bits and y mantissa bits, IEEE-like infinities and NaNs: ``"E5M10"``. ``Bn`` after
          it sets the bias, then ``FN``, ``FNUZ``, ``_finite``, ``_p3109`` or ``_p3109_finite`` the special codes,
          ``_nosubnormals`` and ``_unsigned`` the rest: ``"E4M3B11FNUZ"``, ``"E3M2_finite"``;
        - a P3109 format: ``"binary8p3"``, then ``s`` or ``u`` for the sign and ``e`` or ``f`` for the domain:
          ``"binary8p3se"`` (see `p3109`).

        Named formats win: ``"e2m1fn"`` is `float4_e2m1fn`, which has no NaN, and ``"e4m3"`` is the IEEE-like
        `float8_e4m3`; OCP's E4M3 is ``"e4m3fn"``.
    argument : str
        The name by which messages call ``spec``.

    Returns
    -------
    Format

    Raises
    ------
    ValueError
        If the string or dtype names no format.
    TypeError
        If ``spec`` is none of the accepted kinds.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.format("E5M10") == lp.format("half") == lp.float16
    True
    """
    if isinstance(spec, Format):
        return spec
    if isinstance(spec, str):
        return _parse(spec, argument)
    try:
        dtype = np.dtype(spec)
    except Exception:  # NumPy raises what it meets in a description of a dtype
        dtype = None
    if spec is None or dtype is None:
        raise TypeError(f"{argument} is {shown(spec)}; allowed: a lpsim.Format, a string such as 'E5M10' or a dtype")
    if dtype.name not in NAMED_FORMATS:
        raise ValueError(
            f"{argument} is the dtype {dtype.name!r}; allowed: float16, float32, float64 and dtypes of ml_dtypes"
        )
    return NAMED_FORMATS[dtype.name]


@functools.lru_cache(maxsize=256)
def _parse(text: str, argument: str) -> Format:
    key = text.strip().lower()
    if key in ALIASES:
        return ALIASES[key]
    if match := EXMY.fullmatch(key):
        exponent_bits, mantissa_bits, bias, specials, rest = match.groups()
        words = rest.removeprefix("_").replace("p3109_finite", "p3109finite").split("_") if rest else []
        kinds = {"finite": "finite", "p3109": "p3109", "p3109finite": "p3109_finite"}
        chosen = [specials] * (specials is not None) + [kinds[word] for word in words if word in kinds]
        others = [word for word in words if word not in kinds]
        if len(chosen) <= 1 and set(others) <= {"nosubnormals", "unsigned"}:
            return Format(
                int(exponent_bits),
                int(mantissa_bits),
                bias=None if bias is None else int(bias),  # type: ignore[arg-type]
                specials=chosen[0] if chosen else "ieee",
                subnormals="nosubnormals" not in others,
                signed="unsigned" not in others,
            )
    if match := P3109.fullmatch(key):
        from lpsim.p3109 import p3109

        k, p, sign, domain = match.groups()
        return p3109(int(k), int(p), signed=sign != "u", extended=domain != "f")
    near = difflib.get_close_matches(key, ALIASES, n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(
        f"{argument} is {shown(text)}, which names no format; allowed: 'ExMy' such as 'E5M10', 'E4M3FN' or "
        f"'E4M3B11FNUZ', 'binary8p3', or a named format such as {', '.join(map(repr, NAMED_FORMATS))}{hint}"
    )
