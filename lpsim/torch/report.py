"""What a simulation did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Report"]


@dataclass
class Report:
    """Which operations were simulated, and which were PyTorch's own.

    Attributes
    ----------
    simulated : Counter
        Calls by (layer, operation, ``"forward"`` or ``"backward"``, unit).
    multiplications : Counter
        Products of numbers in these calls, by the same.
    native : Counter
        Calls of all other operations, by (operation, ``"forward"`` or ``"backward"``).

    Examples
    --------
    >>> import torch
    >>> import lpsim.torch
    >>> with lpsim.torch.simulate("bf16") as report:
    ...     _ = torch.nn.Linear(2, 3)(torch.ones(4, 2))
    >>> report.total_simulated, dict(report.multiplications)
    (1, {('', 'addmm', 'forward', 'bf16'): 24})
    """

    simulated: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    multiplications: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    native: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total_simulated(self) -> int:
        """Number of simulated calls."""
        return self.simulated.total()

    def __str__(self) -> str:
        lines = [f"simulated: {self.total_simulated} calls"]
        for key, calls in self.simulated.items():
            layer, operation, phase, unit = key
            lines.append(
                f"  {layer or '(no layer)'}: {operation} {phase} by {unit}, {calls} calls, "
                f"{self.multiplications[key]:,} multiplications"
            )
        lines.append(f"native: {self.native.total()} calls")
        lines += [f"  {operation} {phase}, {calls} calls" for (operation, phase), calls in self.native.most_common()]
        return "\n".join(lines)
