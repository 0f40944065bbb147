"""Schemes by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from lpsim.checks import shown
from lpsim.quantization.scheme import Scheme

__all__ = ["NAMED_SCHEMES", "SchemeLike", "get"]

SchemeLike = Scheme | str

#: Constructors of schemes by the name that `lpsim.quantize` and the command line take; filled by the package.
NAMED_SCHEMES: dict[str, Callable[..., Scheme]] = {}


def get(scheme: SchemeLike) -> Scheme:
    """Return the scheme that ``scheme`` names.

    Parameters
    ----------
    scheme : Scheme or str
        A scheme, returned as it is, or a name of `NAMED_SCHEMES` in any case, with or without parameters:
        ``"nf4"``, ``"nf4(block=128, double_quant=True)"``.

    Returns
    -------
    Scheme

    Raises
    ------
    ValueError
        If nothing has the name, or a parameter is wrong.
    TypeError
        If ``scheme`` is of another type.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if not isinstance(scheme, str):
        raise TypeError(f"scheme is {shown(scheme)}; allowed: a scheme of lpsim.quantization or its name")
    match = re.fullmatch(r"\s*([\w.-]+)\s*(\(.*\))?\s*", scheme)
    lowered = {name.lower(): one for name, one in NAMED_SCHEMES.items()}
    if match is None or match[1].lower() not in lowered:
        names = ", ".join(NAMED_SCHEMES)
        raise ValueError(f"scheme is {shown(scheme)}; allowed: {names}, each with or without parameters")
    try:
        return lowered[match[1].lower()](**_parameters(match[2] or "()"))
    except TypeError as error:
        allowed = f"those of lpsim.quantization.{match[1].lower()}"
        raise ValueError(f"scheme is {shown(scheme)}, with wrong parameters: {error}; allowed: {allowed}") from None


def _parameters(text: str) -> dict[str, object]:
    """Read keyword arguments that are literals."""
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(one.arg is None for one in call.keywords):
            raise ValueError
        return {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # the last two for text that nests deeply
        raise ValueError(
            f"parameters of a scheme are {shown(text)}; allowed: literals by name, such as (block=64)"
        ) from None
