"""Precision sweeps: a function called for each combination of formats, units, sizes and seeds, as one table.

The table is a pandas DataFrame, which needs the extra ``sweep``.
"""

from lpsim.sweeps.run import SweepError, matmul_error, sweep

__all__ = ["SweepError", "matmul_error", "sweep"]
