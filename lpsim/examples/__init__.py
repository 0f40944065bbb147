"""Algorithms written for NumPy's arrays that run unchanged on `lpsim.Array`, in any format."""

from __future__ import annotations

from lpsim.examples.linear import conjugate_gradients, iterative_refinement, lu_factor, lu_solve
from lpsim.examples.lorenz import lorenz63, runge_kutta4

__all__ = ["conjugate_gradients", "iterative_refinement", "lorenz63", "lu_factor", "lu_solve", "runge_kutta4"]
