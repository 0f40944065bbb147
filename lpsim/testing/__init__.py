"""Proofs of a format by comparison of the kernels with the exact reference.

`verify` needs nothing beyond the core install.
"""

from lpsim.testing.report import Report, Row
from lpsim.testing.verification import LEVELS, OPERATIONS, verify

__all__ = ["LEVELS", "OPERATIONS", "Report", "Row", "verify"]
