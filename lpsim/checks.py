"""Checks of arguments that are names or numbers, and how an error message shows what was given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["check_choice", "check_integer", "check_length", "check_number", "shown"]

#: Characters of an argument that a message shows.
_LONGEST = 80


def shown(value: object) -> str:
    """Return an argument's ``repr`` in one line of some length, or its type where it has none.

    A ``repr`` may fail: that of an array of datetimes without a unit does, and that of an integer of more digits than
    Python converts.
    """
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return " ".join(text.split("\n"))[:_LONGEST]


def check_choice(argument: str, value: Any, allowed: Iterable[Any], otherwise: str = "") -> None:
    """Refuse what is none of some names or numbers; it need not be hashable, nor comparable.

    Parameters
    ----------
    argument : str
        The argument's name.
    value : object
        What the user passed.
    allowed : iterable of str, int and float
        What may be passed.
    otherwise : str
        What else is allowed, for the message.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    names = list(allowed)
    if isinstance(value, (str, int, float)) and value in names:
        return
    raise ValueError(f"{argument} is {shown(value)}; allowed: {', '.join(map(repr, names))}{otherwise}")


def check_integer(argument: str, value: Any, allowed: str) -> None:
    """Refuse what is no integer, of Python or NumPy, and truth values."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument} is {shown(value)}; allowed: {allowed}")


def check_length(argument: str, value: int) -> None:
    """Refuse a length, of blocks or groups, that kernels do not take: no array is as long."""
    if value >> 63:
        raise ValueError(f"{argument} is {shown(value)}; allowed: below 2**63")


def check_number(argument: str, value: Any, allowed: str) -> None:
    """Refuse what is no real number, of Python or NumPy, in the range of float64, and truth values."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{argument} is {shown(value)}; allowed: {allowed}")
    if isinstance(value, int) and abs(value) > 1 << 1023:
        raise ValueError(f"{argument} is {shown(value)}; allowed: {allowed}, in the range of float64")
