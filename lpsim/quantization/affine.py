"""Affine quantisation: integers with a scale and a zero point, as frameworks define them.

A number x becomes the code ``round(x / scale) + zero_point``, kept within the range of the integers, and comes back as
``scale * (code - zero_point)``. All arithmetic is binary32, as in the tools. How the scale and the zero point come from
the least and greatest number of a group, and how x is rounded, is the `convention`:

``"absmax"``
    scale = amax / qmax, zero point 0; asymmetric: (max - min) / (qmax - qmin). Ties to even.
``"tensorrt"``
    The symmetric one of the above, which is all that TensorRT has.
``"torchao"``
    Symmetric: amax / ((qmax - qmin) / 2), so amax / 127.5 for INT8. x is multiplied by the reciprocal of the scale,
    which is at least the smallest normal number. Ties to even.
``"torchao_no_clipping"``
    As before, with max(min / qmin, max / qmax).
``"tensorflow_scaled"``
    max(min / qmin, max / qmax), or max / qmax if unsigned; ties away from zero. TensorFlow's mode SCALED.
``"tensorflow_min_combined"``, ``"tensorflow_min_first"``
    The least number is code qmin, and x comes back as ``min + scale * (code - qmin)``, with the scale
    (max - min) / (2**bits - 1); in the latter, ``min`` is a multiple of it. Ties away from zero. TensorFlow documents
    how these come back; here, quantisation is the inverse of that.

Sources: TensorRT documentation, "Working with Quantized Types"; torchao 36027d82, ``quantization/quant_primitives.py``;
the documentation of ``tf.quantization.quantize`` and ``dequantize``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.checks import check_choice, check_integer, check_length, check_number, shown
from lpsim.cpu.affine import affine_kernel, affine_value_kernel, range_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.parts import read_only
from lpsim.quantization.bits import pack_rows, unpack_rows
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme
from lpsim.rounding import Rounding, as_rounding

__all__ = ["CONVENTIONS", "Affine", "affine"]

#: Names of conventions, with the mode of rounding and whether there are asymmetric ones.
CONVENTIONS = {
    "absmax": (Rounding.TIES_TO_EVEN, True),
    "tensorrt": (Rounding.TIES_TO_EVEN, False),
    "torchao": (Rounding.TIES_TO_EVEN, True),
    "torchao_no_clipping": (Rounding.TIES_TO_EVEN, False),
    "tensorflow_scaled": (Rounding.TIES_TO_AWAY, False),
    "tensorflow_min_combined": (Rounding.TIES_TO_AWAY, True),
    "tensorflow_min_first": (Rounding.TIES_TO_AWAY, True),
}

#: Numbers that are worth a thread.
_GRAIN = 1 << 18

_Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Affine(Scheme):
    """Integers with scales and zero points; see `affine` for the parameters."""

    bits: int = 8
    symmetric: bool = True
    group: int | None = None
    per: str = "channel"
    convention: str = "absmax"
    signed: bool | None = None
    narrow_range: bool = False
    rounding: Rounding | str | None = None
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, (int, np.integer)) or not 2 <= self.bits <= 16:
            raise ValueError(f"bits is {shown(self.bits)}; allowed: 2 to 16")
        for name in ("symmetric", "narrow_range"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} is {shown(getattr(self, name))}; allowed: True or False")
        if self.signed is not None and not isinstance(self.signed, (bool, np.bool_)):
            raise TypeError(f"signed is {shown(self.signed)}; allowed: True, False or None")
        check_choice("convention", self.convention, CONVENTIONS)
        check_choice("per", self.per, ("tensor", "channel"))
        mode, asymmetric = CONVENTIONS[self.convention]
        if not self.symmetric and not asymmetric:
            raise ValueError(
                f"symmetric is False, but the convention {self.convention!r} has no zero points; allowed: True"
            )
        if self.symmetric and self.convention.startswith("tensorflow_min"):
            raise ValueError(
                f"symmetric is True, but the convention {self.convention!r} starts at the least number; allowed: False"
            )
        if self.group is not None:
            if isinstance(self.group, bool) or not isinstance(self.group, (int, np.integer)) or self.group < 1:
                raise ValueError(f"group is {shown(self.group)}; allowed: a positive integer or None")
            check_length("group", int(self.group))
            if self.per == "tensor":
                raise ValueError("group is given, but per is 'tensor'; allowed: one of them")
        object.__setattr__(self, "rounding", mode if self.rounding is None else as_rounding(self.rounding))
        if as_rounding(self.rounding).is_stochastic:
            raise ValueError(f"rounding is {self._mode.name.lower()!r}; allowed: the deterministic modes")
        object.__setattr__(self, "signed", self.symmetric if self.signed is None else bool(self.signed))
        if self.scale is not None:
            check_number("scale", self.scale, "a positive number or None")
            if not 0 < self.scale < math.inf:
                raise ValueError(f"scale is {shown(self.scale)}; allowed: a positive number or None")
        if self.scale is not None and self.convention.startswith("tensorflow_min"):
            raise ValueError(
                f"scale is given, but the convention {self.convention!r} takes it from the data; allowed: None"
            )
        if self.zero_point is not None:
            if self.scale is None:
                raise ValueError("zero_point is given without scale; allowed: both, scale alone or none")
            check_integer("zero_point", self.zero_point, "an integer or None")
            if not self.qmin <= self.zero_point <= self.qmax:
                raise ValueError(f"zero_point is {shown(int(self.zero_point))}; allowed: {self.qmin} to {self.qmax}")

    @property
    def _mode(self) -> Rounding:
        return as_rounding(self.rounding)

    @property
    def qmin(self) -> int:
        """The least code."""
        return (-(1 << self.bits - 1) if self.signed else 0) + self.narrow_range

    @property
    def qmax(self) -> int:
        """The greatest code."""
        return (1 << self.bits - 1) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """The integers that hold a code, before those of less than 8 bits are packed."""
        return np.dtype(f"{'i' if self.signed else 'u'}{1 if self.bits <= 8 else 2}")

    @property
    def _has_zero_points(self) -> bool:
        return not self.symmetric or self.zero_point is not None or (self.signed is False and self.scale is None)

    @property
    def _has_minima(self) -> bool:
        return self.convention.startswith("tensorflow_min")

    def _groups(self, rows: int, n: int) -> tuple[int, int, int]:
        """Return the rows and groups of scales, and the numbers in a group."""
        if self.per == "tensor" or self.scale is not None:
            return 1, 1, n
        size = n if self.group is None else int(self.group)
        return rows, -(-n // size) if n else 0, size

    def check_shape(self, rows: int, n: int) -> None:
        """Refuse rows that groups do not fill."""
        if self.group is not None and n % self.group:
            raise ValueError(f"x has {n} numbers along the axis; allowed: multiples of group={self.group}")

    def layout(self, rows: int, n: int) -> Layout:
        """Return dtypes and shapes: codes of less than 8 bits are packed along rows, the first in the lowest bits."""
        scale_rows, groups, _ = self._groups(rows, n)
        packed = self.bits < 8
        width = -(-n * self.bits // 8) if packed else n
        parts: dict[str, tuple[npt.DTypeLike, tuple[int, ...]]] = {
            "codes": (np.uint8 if packed else self.code_dtype, (rows, width)),
            "scales": (np.float32, (scale_rows, groups)),
        }
        if self._has_minima:
            parts["minima"] = (np.float32, (scale_rows, groups))
        elif self._has_zero_points:
            parts["zero_points"] = (np.int32, (scale_rows, groups))
        return parts

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the parts that `layout` names."""
        rows, n = x.shape
        x = read_only(x, np.dtype(np.float32))
        scale_rows, groups, size = self._groups(rows, n)
        shape = (scale_rows, groups)
        if self.scale is not None:
            scales = np.full(shape, self.scale, np.float32)
            zeros = np.full(shape, self.zero_point or 0, np.int32)
            minima = None
        else:
            scales, zeros, minima = self._parameters(*self._ranges(x, size, groups))
        codes = self._integers(x, size, groups, scales, zeros, minima)
        parts = {"codes": pack_rows(codes, self.bits) if self.bits < 8 else codes, "scales": scales}
        if minima is not None:
            parts["minima"] = minima
        elif self._has_zero_points:
            parts["zero_points"] = zeros
        return parts

    def _ranges(self, x: RealMatrix, size: int, groups: int) -> tuple[_Numbers, _Numbers]:
        rows = x.shape[0]
        by_row = 1 if self.per == "tensor" else groups
        lowest, highest = np.zeros((2, rows, by_row), np.float32)
        kernel = range_kernel()
        map_ranges(
            lambda start, stop: kernel(x[start:stop], size, lowest[start:stop], highest[start:stop]),
            rows,
            smallest=_GRAIN / max(x.shape[1], 1),
        )
        if self.per == "tensor":
            return lowest.min(initial=0, keepdims=True)[:1], highest.max(initial=0, keepdims=True)[:1]
        return lowest, highest

    def _parameters(
        self, lowest: _Numbers, highest: _Numbers
    ) -> tuple[_Numbers, npt.NDArray[np.int32], _Numbers | None]:
        """Return scales, zero points and the numbers of code qmin, if that is how codes are counted."""
        qmin, qmax, real = self.qmin, self.qmax, np.float32
        zeros = np.zeros(lowest.shape, np.int32)
        if self.convention == "tensorflow_min_combined":
            return (highest - lowest) / real(qmax - qmin), zeros, lowest
        if self.convention == "tensorflow_min_first":
            steps = real(qmax - qmin + 1)
            return (highest - lowest) * (steps / real(qmax - qmin)) / steps, zeros, lowest
        if self.convention == "torchao_no_clipping" or (self.convention == "tensorflow_scaled" and self.signed):
            scales = np.maximum(lowest / real(qmin), highest / real(qmax))
        elif self.convention == "tensorflow_scaled":
            scales = highest / real(qmax)
        elif not self.symmetric:
            scales = (highest - lowest) / real(qmax - qmin)
        else:
            amax = np.maximum(-lowest, highest)
            scales = amax / real((qmax - qmin) / 2 if self.convention == "torchao" or not self.signed else qmax)
        if self.convention.startswith("torchao"):
            scales = np.maximum(scales, np.finfo(np.float32).smallest_normal)
        if not self.symmetric:
            with np.errstate(invalid="ignore", divide="ignore"):
                raw = real(qmin) - np.rint(lowest / scales)
            zeros = np.clip(np.nan_to_num(raw, nan=max(qmin, 0)), qmin, qmax).astype(np.int32)
        elif not self.signed and not self.convention.startswith("tensorflow"):
            zeros = np.full(lowest.shape, (qmax + qmin + 1) // 2, np.int32)
        return scales.astype(np.float32), zeros, None

    def _integers(
        self,
        x: RealMatrix,
        size: int,
        groups: int,
        scales: _Numbers,
        zeros: npt.NDArray[np.int32],
        minima: _Numbers | None,
    ) -> npt.NDArray[Any]:
        rows, n = x.shape
        zero, one = np.zeros_like(scales), np.ones_like(scales)
        shift, factor, divisor, offset = zero, one, scales, zeros.astype(np.float32)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if minima is not None:
                factor = np.where(scales > 0, one / scales, zero)
                divisor, offset = one, zero + np.float32(self.qmin)
                if self.convention == "tensorflow_min_first":
                    offset = offset - self._rounded(minima, factor)
                else:
                    shift = minima
            elif self.convention.startswith("torchao"):
                factor, divisor = one / scales, one
        codes = np.empty((rows, n), self.code_dtype)
        kernel = affine_kernel(int(self._mode))
        arrays = [
            read_only(np.broadcast_to(a, (rows, groups)), np.dtype(np.float32))
            for a in (shift, factor, divisor, offset)
        ]
        low, high = np.float32(self.qmin), np.float32(self.qmax)

        def run(start: int, stop: int) -> None:
            kernel(x[start:stop], size, *(array[start:stop] for array in arrays), low, high, codes[start:stop])

        map_ranges(run, rows, smallest=_GRAIN / max(n, 1))
        return codes

    def _rounded(self, x: _Numbers, factor: _Numbers) -> _Numbers:
        """Return ``x * factor``, rounded to integers as numbers are."""
        zero, one, out = np.zeros_like(x), np.ones_like(x), np.empty(x.shape, np.int32)
        most = np.float32(1 << 24)
        arrays = [read_only(array, np.dtype(np.float32)) for array in (x, zero, factor, one, zero)]
        affine_kernel(int(self._mode))(arrays[0], 1, *arrays[1:], -most, most, out)
        return out.astype(np.float32)

    def unpacked(self, parts: Parts, n: int) -> npt.NDArray[Any]:
        """Return the codes as integers, shape (rows, n)."""
        codes = parts["codes"]
        return unpack_rows(codes, self.bits, n, bool(self.signed)) if self.bits < 8 else codes

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the values, in float32."""
        _, groups, size = self._groups(rows, n)
        scales = parts["scales"]
        zeros = parts.get("zero_points", np.zeros(scales.shape, np.int32))
        base = np.zeros(scales.shape, np.float32)
        if self._has_minima:
            base, zeros = parts["minima"], np.full(scales.shape, self.qmin, np.int32)
        codes = self.unpacked(parts, n)
        codes = read_only(codes, codes.dtype)
        out = np.empty((rows, n), np.float32)
        kernel = affine_value_kernel()
        arrays = [read_only(np.broadcast_to(array, (rows, groups)), array.dtype) for array in (scales, zeros, base)]

        def run(start: int, stop: int) -> None:
            kernel(codes[start:stop], size, *(array[start:stop] for array in arrays), out[start:stop])

        map_ranges(run, rows, smallest=_GRAIN / max(n, 1))
        return out


def affine(
    bits: int = 8,
    symmetric: bool = True,
    group: int | None = None,
    *,
    per: str = "channel",
    convention: str = "absmax",
    signed: bool | None = None,
    narrow_range: bool = False,
    rounding: Rounding | str | None = None,
    scale: float | None = None,
    zero_point: int | None = None,
) -> Affine:
    """Return affine quantisation to integers.

    Parameters
    ----------
    bits : int
        2 to 16.
    symmetric : bool
        Whether 0 is in the middle of the range, so that there are no zero points.
    group : int, optional
        Numbers along the axis that share a scale; they have to divide it. Default: all.
    per : str
        ``"channel"``: scales for each row, that is, each index of the other axes; ``"tensor"``: one scale.
    convention : str
        How scales, zero points and codes are computed, one of `lpsim.quantization.CONVENTIONS`; the module that
        defines this function describes them.
    signed : bool, optional
        Whether codes are signed. Default: if symmetric.
    narrow_range : bool
        Whether the least code is not used: -127 to 127 for INT8.
    rounding : Rounding or str, optional
        A deterministic mode, instead of the convention's.
    scale, zero_point : float, int, optional
        Static quantisation: these for all numbers.

    Returns
    -------
    Affine

    Raises
    ------
    ValueError
        If a parameter is out of range or contradicts another one.

    Notes
    -----
    A group of zeros has scale 0 (torchao: the smallest normal number) and comes back as zeros. NaNs and infinities are
    refused.

    Examples
    --------
    >>> import lpsim as lp
    >>> quantized = lp.quantize([[0.5, -1.0, 0.25]], lp.quantization.affine(4))
    >>> quantized.dequantize().tolist()
    [[0.4285714626312256, -1.0, 0.2857142984867096]]
    >>> lp.quantize([-1, 0, 1, 2], lp.quantization.affine(scale=0.1, zero_point=10, signed=False)).codes.tolist()
    [[0, 10, 20, 30]]
    """
    return Affine(bits, symmetric, group, per, convention, signed, narrow_range, rounding, scale, zero_point)
