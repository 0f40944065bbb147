"""What a verification found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import NamedTuple

__all__ = ["Report", "Row", "Total"]


@dataclass(frozen=True)
class Row:
    """The comparison of one operation in one mode, under one overflow policy.

    Attributes
    ----------
    format : str
        The format, as `Format.spec` spells it.
    operation, rounding, overflow : str
        What was compared; for ``"decode"``, which rounds nothing, the last two are empty.
    cases : int
        How many operands, pairs or triples were compared.
    mismatches : int
        In how many of them the value or a flag differs.
    exhaustive : bool
        Whether the cases were all that there are, not samples.
    example : str
        The simplest of these, spelled out; empty if there is none.
    seconds : float
        Time that it took.

    Examples
    --------
    >>> import lpsim.testing
    >>> row = lpsim.testing.verify("e2m1fn", ops=["sqrt"], modes=["to_odd"]).rows[0]
    >>> row.operation, row.cases, row.mismatches
    ('sqrt', 18, 0)
    """

    format: str
    operation: str
    rounding: str
    overflow: str
    cases: int
    mismatches: int
    exhaustive: bool
    example: str
    seconds: float


class Total(NamedTuple):
    """The rows of one operation on one format, summed."""

    format: str
    operation: str
    rows: int
    cases: int
    mismatches: int
    exhaustive: bool
    seconds: float

    @property
    def operands(self) -> str:
        """``"all"`` or ``"sampled"``."""
        return "all" if self.exhaustive else "sampled"


@dataclass(frozen=True)
class Report:
    """The rows of a verification; ``str()`` is a table of them.

    Attributes
    ----------
    rows : tuple of Row
        One for each operation, mode and policy.
    complete : bool
        Whether all that was asked for was compared; False after an interruption.

    Examples
    --------
    >>> import lpsim.testing
    >>> report = lpsim.testing.verify("e2m1fn", ops=["decode"])
    >>> report.ok, report.cases
    (True, 16)
    """

    rows: tuple[Row, ...]
    complete: bool = True

    @property
    def cases(self) -> int:
        """Number of cases in all rows."""
        return sum(row.cases for row in self.rows)

    @property
    def mismatches(self) -> int:
        """Number of mismatches in all rows."""
        return sum(row.mismatches for row in self.rows)

    @property
    def ok(self) -> bool:
        """Whether everything was compared and nothing differs."""
        return self.complete and self.mismatches == 0

    def by_operation(self) -> list[Total]:
        """Return the rows summed over modes and policies, in their order."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.format, row.operation), []).append(row)
        return [
            Total(
                fmt,
                operation,
                len(rows),
                sum(row.cases for row in rows),
                sum(row.mismatches for row in rows),
                all(row.exhaustive for row in rows),
                sum(row.seconds for row in rows),
            )
            for (fmt, operation), rows in groups.items()
        ]

    def __str__(self) -> str:
        width = max([len(row.format) for row in self.rows] + [6])
        lines = [f"{'format':<{width}}  operation          cases  operands  mismatches  seconds"]
        for total in self.by_operation():
            lines.append(
                f"{total.format:<{width}}  {total.operation:<9}  {total.cases:>13,}  {total.operands:<8}  "
                f"{total.mismatches:>10,}  {total.seconds:>7.1f}"
            )
        lines.append(f"{'all':<{width}}  {'':<9}  {self.cases:>13,}  {'':<8}  {self.mismatches:>10,}")
        lines += [
            f"{row.format} {row.operation} {row.rounding} {row.overflow}: {row.example}"
            for row in self.rows
            if row.example
        ]
        if not self.complete:
            lines.append("interrupted: what is not listed was not compared")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps({"complete": self.complete, "rows": [asdict(row) for row in self.rows]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return the report that `to_json` wrote.

        Raises
        ------
        ValueError
            If it is not such a text.
        """
        try:
            content = json.loads(text)
            return cls(tuple(Row(**row) for row in content["rows"]), content["complete"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"text is no report ({error}); allowed: what Report.to_json returned") from None

    @classmethod
    def merge(cls, reports: Iterable[Report]) -> Report:
        """Return one report of several."""
        collected = list(reports)
        return cls(tuple(row for report in collected for row in report.rows), all(r.complete for r in collected))
