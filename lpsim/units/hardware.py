"""A chip's matrix units, under one name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from lpsim.units.unit import MatrixUnit

__all__ = ["Hardware"]


class Hardware(Mapping[str, MatrixUnit]):
    """The matrix units of one kind of hardware, as attributes and as a mapping from input names.

    Parameters
    ----------
    name : str
        Its name in `lpsim.units`.
    title : str
        What it is.
    units : iterable of (str, MatrixUnit)
        Input names and units; the units are named ``"<name>.<input>"``.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.units.a100.tf32.name, "bf16" in lp.units.a100, len(lp.units.a100)
    ('a100.tf32', True, 4)
    """

    def __init__(self, name: str, title: str, units: Iterable[tuple[str, MatrixUnit]]) -> None:
        self.name = name
        self.title = title
        self._units = {key: dataclasses.replace(unit, name=f"{name}.{key}") for key, unit in units}

    def __getitem__(self, key: str) -> MatrixUnit:
        return self._units[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def __getattr__(self, key: str) -> MatrixUnit:
        # Copying and pickling ask for attributes before there are units.
        units = self.__dict__.get("_units", {})
        if key in units:
            unit: MatrixUnit = units[key]
            return unit
        raise AttributeError(f"{self.__dict__.get('name')} has no unit {key!r}; it has {', '.join(units)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._units]

    def __repr__(self) -> str:
        return f"<lpsim.units.{self.name}: {self.title}; {', '.join(self)}>"
