"""Quantised arrays, and the functions that make them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_real
from lpsim.checks import shown
from lpsim.cpu.largest import largest_bits_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.parts import read_only
from lpsim.quantization.names import SchemeLike, get
from lpsim.quantization.scheme import Parts, RealMatrix, Scheme

__all__ = ["QuantizationError", "Quantized", "fake_quantize", "quantize"]


@dataclass(frozen=True)
class QuantizationError:
    """How far a quantised array is from what it stands for.

    Attributes
    ----------
    relative_rms : float
        Euclidean norm of the error over that of the array; 0 if both are 0.
    rms : float
        Root of the mean square of the error.
    max_abs : float
        Largest absolute error.
    index : tuple of int
        Where it is; empty for arrays without elements.
    """

    relative_rms: float
    rms: float
    max_abs: float
    index: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Quantized:
    """An array as a scheme stores it.

    Attributes
    ----------
    scheme : Scheme
        The scheme.
    shape : tuple of int
        Shape of the array.
    axis : int
        The axis, not negative, along which blocks and groups lie.
    parts : dict of ndarray
        What the scheme stores, by name. Rows are the other axes, in C order.

    Examples
    --------
    >>> import lpsim as lp
    >>> quantized = lp.quantize([[0.5, -1.0], [3.0, 0.0]], "int8")
    >>> quantized.nbytes, quantized.bits_per_value, quantized.error([[0.5, -1.0], [3.0, 0.0]]).index
    (12, 24.0, (0, 0))
    """

    scheme: Scheme
    shape: tuple[int, ...]
    axis: int
    parts: Parts = field(repr=False)

    @property
    def rows(self) -> int:
        """Number of rows: the product of all axes but `axis`."""
        return math.prod(self.shape[: self.axis] + self.shape[self.axis + 1 :])

    @property
    def n(self) -> int:
        """Length of the rows."""
        return self.shape[self.axis]

    @property
    def codes(self) -> npt.NDArray[Any]:
        """The codes, packed as the tool packs them."""
        return self.parts["codes"]

    @property
    def scales(self) -> npt.NDArray[Any] | None:
        """The scales; None if they lie among the codes."""
        return self.parts.get("scales")

    @property
    def zero_points(self) -> npt.NDArray[Any] | None:
        """The codes of zero; None if the scheme has none."""
        return self.parts.get("zero_points")

    @property
    def nbytes(self) -> int:
        """Bytes that the array takes where the tool stores it, without names and shapes."""
        return self.scheme.stored_bytes(self.parts, self.rows, self.n)

    @property
    def bits_per_value(self) -> float:
        """Stored bits for each element, scales included; NaN for arrays without elements."""
        size = math.prod(self.shape)
        return 8 * self.nbytes / size if size else math.nan

    def dequantize(self, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """Return the values that the codes stand for.

        Parameters
        ----------
        dtype : dtype
            A floating-point dtype. Values are computed as the scheme says, and then converted.

        Returns
        -------
        ndarray
            Of the array's shape.
        """
        try:
            wanted = np.dtype(dtype)
        except Exception:  # NumPy raises what it meets in a description of a dtype
            raise TypeError(f"dtype is {shown(dtype)}; allowed: floating-point dtypes") from None
        if wanted.kind != "f" and wanted.name not in _EXTRA_FLOATS:
            raise TypeError(f"dtype is {wanted}; allowed: floating-point dtypes")
        with np.errstate(all="ignore"):
            values = self.scheme.dequantize_matrix(self.parts, self.rows, self.n)
            return _from_matrix(values, self.shape, self.axis).astype(wanted, copy=False)

    def error(self, x: npt.ArrayLike) -> QuantizationError:
        """Return how far the values are from ``x``, an array of the same shape."""
        exact = _as_reals(x)
        if exact.shape != self.shape:
            raise ValueError(f"x has shape {exact.shape}; allowed: {self.shape}")
        if not exact.size:
            return QuantizationError(0.0, 0.0, 0.0, ())
        difference = self.dequantize(np.float64) - exact
        norm, error = float(np.linalg.norm(exact)), float(np.linalg.norm(difference))
        where = int(np.argmax(np.abs(difference)))
        index = tuple(int(i) for i in np.unravel_index(where, self.shape))
        relative = error / norm if norm else (0.0 if error == 0 else math.inf)
        return QuantizationError(relative, error / math.sqrt(exact.size), float(np.abs(difference).flat[where]), index)

    def __lpsim_function__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do what `lpsim.matmul` does with quantised factors."""
        from lpsim.quantization.products import matmul_quantized

        if function.__name__ != "matmul":
            raise TypeError(
                f"lpsim.{function.__name__} is called with a quantised array ({self.scheme}); allowed: its values "
                "(dequantize())"
            )
        return matmul_quantized(function, *args, **kwargs)

    def tobytes(self) -> bytes:
        """Return the bytes of the array as the tool stores them."""
        return self.scheme.tobytes(self.parts, self.rows, self.n)

    def save(self, path: str | Path) -> None:
        """Write a ``.npz`` or ``.safetensors`` file that `load` reads; the name says which.

        The latter needs the extra ``quantization``.
        """
        from lpsim.quantization.storage import save

        save(self, path)

    @staticmethod
    def load(path: str | Path) -> Quantized:
        """Read what `save` wrote."""
        from lpsim.quantization.storage import load

        return load(path)


_EXTRA_FLOATS = ("bfloat16",)

#: Representation of infinity in binary32.
_INFINITY = 0x7F800000


def quantize(x: npt.ArrayLike, scheme: SchemeLike, axis: int = -1, **given: Any) -> Quantized:
    """Quantise an array.

    Parameters
    ----------
    x : array_like
        Real numbers; float64 is rounded to float32 first, as the tools' own arrays are.
    scheme : Scheme or str
        One of the constructors of `lpsim.quantization`, or a name of `lpsim.quantization.NAMED_SCHEMES`.
    axis : int
        The axis along which blocks, groups and rows lie: of weights, the one that is summed over.
    **given
        What some schemes need or take besides: ``calibration`` (needed) and ``progress`` for GPTQ.

    Returns
    -------
    Quantized

    Raises
    ------
    ValueError
        If a block does not fit the axis, or x holds NaN or infinity and the scheme has no rule for them.
    TypeError
        If x holds no real numbers.

    Examples
    --------
    >>> import lpsim as lp
    >>> quantized = lp.quantize([[0.5, -1.0, 0.3]], "int8")
    >>> quantized.codes.tolist(), quantized.dequantize().round(4).tolist()
    ([[64, -127, 38]], [[0.5038999915122986, -1.0, 0.29919999837875366]])
    """
    chosen = get(scheme)
    array = _as_reals(x)
    if array.ndim == 0:
        raise ValueError("x is 0-d; allowed: at least one axis")
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"axis is {shown(axis)}; allowed: an integer")
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"axis is {shown(int(axis))}; allowed for {array.ndim} axes: {-array.ndim} to {array.ndim - 1}"
        )
    unknown, missing = sorted(given.keys() - chosen.needs - chosen.takes), sorted(chosen.needs - given.keys())
    if unknown:
        allowed = ", ".join(sorted(chosen.needs | chosen.takes)) or "none"
        raise TypeError(f"{unknown[0]}= is given, which {type(chosen).__name__} does not take; allowed: {allowed}")
    if missing:
        raise TypeError(f"{missing[0]}= is missing, which {type(chosen).__name__} needs; allowed: with it")
    matrix = _to_matrix(array, int(axis) % array.ndim, chosen)
    chosen.check_shape(*matrix.shape)
    with np.errstate(all="ignore"):
        parts = chosen.quantize_matrix(matrix, **given)
    return Quantized(chosen, array.shape, int(axis) % array.ndim, parts)


def fake_quantize(x: npt.ArrayLike, scheme: SchemeLike, axis: int = -1, **given: Any) -> npt.NDArray[np.float32]:
    """Return an array as it comes back from quantisation: the values that `quantize` stores, as float32.

    Parameters
    ----------
    x, scheme, axis, **given
        As for `quantize`.

    Returns
    -------
    ndarray of float32
        Of x's shape.

    Raises
    ------
    ValueError, TypeError
        As for `quantize`.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.fake_quantize([0.5, -1.0, 0.3], "nf4").tolist()
    [0.44070982933044434, -1.0, 0.33791524171829224]
    """
    return quantize(x, scheme, axis, **given).dequantize()


def _as_reals(x: npt.ArrayLike) -> npt.NDArray[Any]:
    array = as_real(x, "x")
    return array.view(np.ndarray)


def _to_matrix(array: npt.NDArray[Any], axis: int, scheme: Scheme) -> RealMatrix:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        narrow = np.moveaxis(array, axis, -1).astype(np.float32, copy=False)
    n = narrow.shape[-1]
    matrix = np.ascontiguousarray(narrow).reshape(math.prod(narrow.shape[:-1]), n)
    if not scheme.takes_non_finite and not _all_finite(matrix):
        where = np.moveaxis(~np.isfinite(narrow), -1, axis)
        index = tuple(map(int, np.argwhere(where)[0]))
        raise ValueError(
            f"x is {array[index]} at index {index}, for which {type(scheme).__name__} has no rule; "
            "allowed: finite float32 numbers"
        )
    return matrix


def _all_finite(matrix: RealMatrix) -> bool:
    """Return whether there is no NaN and no infinity: in representations, these are above all numbers."""
    bits = read_only(matrix.reshape(-1).view(np.int32), np.dtype(np.int32))
    found: list[int] = []
    kernel = largest_bits_kernel()
    map_ranges(lambda start, stop: found.append(int(kernel(bits[start:stop]))), bits.size, smallest=1 << 19)
    return max(found, default=0) < _INFINITY


def _from_matrix(matrix: RealMatrix, shape: tuple[int, ...], axis: int) -> npt.NDArray[Any]:
    moved = shape[:axis] + shape[axis + 1 :] + (shape[axis],)
    return np.moveaxis(matrix.reshape(moved), -1, axis)
