"""PyTorch models under simulated matrix units; needs the extra ``torch``."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ImportError("lpsim.torch needs the extra 'torch': pip install 'lpsim[torch]'")

from lpsim.torch.report import Report
from lpsim.torch.rounding import round
from lpsim.torch.rules import Cast, Rule
from lpsim.torch.simulation import simulate

__all__ = ["Cast", "Report", "Rule", "round", "simulate"]
