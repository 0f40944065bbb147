"""What a fuzzed call is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Call"]


class Call(NamedTuple):
    """A call, and what to hold its outcome against.

    ``like`` does the same on NumPy's arrays, whose own errors explain; ``result`` is a check of the result. ``again``
    asks for the same call with plain copies of its arrays, whose bits must be the same: ``"wide"`` as float64.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    like: Callable[[], Any] | None = None
    result: Callable[[Any], str | None] | None = None
    again: str | None = None
