"""The Lorenz system of 1963 by the classical Runge-Kutta method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["lorenz63", "runge_kutta4"]


def lorenz63(state: Any, sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3) -> Any:
    """Return the time derivative of the Lorenz system.

    Parameters
    ----------
    state : ndarray or Array, shape (3, ...)
        x, y and z.
    sigma, rho, beta : float
        The parameters, rounded to the state's format as all of Python's numbers.

    Returns
    -------
    ndarray or Array, shape (3, ...)
        The derivatives.

    Notes
    -----
    Source: E. N. Lorenz, "Deterministic nonperiodic flow", 1963, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2,
    equations 25 to 27.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.examples import lorenz63
    >>> lorenz63(lp.array([1, 2, 3], "bf16"))
    Array([10.0, 23.0, -6.0], bfloat16)
    """
    x, y, z = state
    return np.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def runge_kutta4(derivative: Callable[[Any], Any], state: Any, step: float) -> Any:
    """Return the state after a step of the classical Runge-Kutta method.

    Parameters
    ----------
    derivative : callable
        The time derivative as a function of the state.
    state : ndarray or Array
        The state.
    step : float
        The length of the step.

    Returns
    -------
    ndarray or Array
        The state after it.

    Notes
    -----
    Source: W. Kutta, "Beitrag zur näherungsweisen Integration totaler Differentialgleichungen", 1901.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim.examples import runge_kutta4
    >>> runge_kutta4(lambda x: -x, lp.array(1.0, "half"), 0.125)
    Array(0.8823, float16)
    """
    first = derivative(state)
    second = derivative(state + 0.5 * step * first)
    third = derivative(state + 0.5 * step * second)
    fourth = derivative(state + step * third)
    return state + step / 6 * (first + 2 * (second + third) + fourth)
