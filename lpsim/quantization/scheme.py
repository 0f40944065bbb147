"""What every quantisation scheme is: data, a way to codes and scales, and a way back."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lpsim.checks import shown
from lpsim.formats import Format

__all__ = ["Layout", "Parts", "RealMatrix", "Scheme", "scheme_from_dict"]

#: What a scheme stores, by name: ``codes``, packed as the tool packs them, ``scales``, ``zero_points`` and others.
Parts = Mapping[str, npt.NDArray[Any]]

#: The dtype and shape of each part.
Layout = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]

RealMatrix = npt.NDArray[np.float32]

_KINDS: dict[str, type[Scheme]] = {}


class Scheme(abc.ABC):
    """A way to store real numbers as codes with scales; each scheme is a frozen dataclass.

    Schemes see matrices: the axis along which blocks or groups lie is the last one, all others are rows.
    """

    #: Whether NaNs and infinities have a rule in the scheme; they are refused elsewhere.
    takes_non_finite: ClassVar[bool] = False

    #: What `lpsim.quantize` has to be given besides the array, if anything: ``"calibration"``.
    needs: ClassVar[frozenset[str]] = frozenset()

    #: What it may be given besides.
    takes: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _KINDS[cls.__name__] = cls

    @abc.abstractmethod
    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the parts for a C-contiguous matrix of shape (rows, n); `needs` and `takes` name what is given."""

    @abc.abstractmethod
    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the matrix that the parts stand for."""

    @abc.abstractmethod
    def layout(self, rows: int, n: int) -> Layout:
        """Return the dtype and shape of each part of a matrix of shape (rows, n), in the order of storage."""

    def check_shape(self, rows: int, n: int) -> None:  # noqa: B027  # most schemes take all
        """Raise a ValueError for shapes that the scheme has no rule for: blocks that do not fit."""

    def tobytes(self, parts: Parts, rows: int, n: int) -> bytes:
        """Return the bytes as the tool stores them. Default: the parts one after another."""
        del rows, n
        return b"".join(np.ascontiguousarray(part).tobytes() for part in parts.values())

    def stored_bytes(self, parts: Parts, rows: int, n: int) -> int:
        """Return how many bytes the parts take where they are stored. Default: the sum of their sizes."""
        del rows, n
        return sum(part.nbytes for part in parts.values())

    def asdict(self) -> dict[str, Any]:
        """Return the scheme as plain values that `scheme_from_dict` reads, fit for JSON."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # each scheme is a dataclass
        return {"scheme": type(self).__name__, **{one.name: _plain(getattr(self, one.name)) for one in fields}}


def _plain(value: Any) -> Any:
    if isinstance(value, Scheme):
        return value.asdict()
    if isinstance(value, Format):
        return value.spec
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def scheme_from_dict(values: Mapping[str, Any]) -> Scheme:
    """Return the scheme that `Scheme.asdict` described.

    Raises
    ------
    ValueError
        If the values describe no scheme.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"values is {shown(values)}; allowed: what Scheme.asdict returned")
    given = dict(values)
    kind = given.pop("scheme", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"scheme is {shown(kind)}; allowed: {', '.join(sorted(_KINDS))}")
    for name, value in given.items():
        if isinstance(value, Mapping):
            given[name] = scheme_from_dict(value)
        elif isinstance(value, list):
            given[name] = tuple(value)
    try:
        return _KINDS[kind](**given)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"scheme {kind} has wrong parameters ({error}); allowed: what asdict returned") from None
