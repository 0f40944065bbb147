"""A page that shows a number in floating-point formats: bit fields, code, exact value, error and neighbours.

The page is one HTML file that loads nothing else. Its arithmetic is exact, on the integers of JavaScript, and rounds
once; what it knows of formats, it is told by `lpsim.Format` when it is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

from lpsim.formats import (
    ALIASES,
    EXMY,
    MAX_EXPONENT_BITS,
    MAX_MANTISSA_BITS,
    NAMED_FORMATS,
    P3109,
    SOURCES,
    Format,
    FormatLike,
)
from lpsim.formats import format as as_format
from lpsim.rounding import Overflow, Rounding

__all__ = ["DEFAULT_FORMATS", "facts", "page"]

#: The formats that the page shows at first.
DEFAULT_FORMATS = ("float16", "bfloat16", "tf32", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")

#: The page's scripts, in the order in which they build on each other.
_SCRIPTS = ("exact.js", "numbers.js", "formats.js", "rounding.js", "state.js", "line.js", "card.js", "main.js")


def page(formats: Iterable[FormatLike] = DEFAULT_FORMATS, number: str = "-27.15625") -> str:
    """Return the explorer as one HTML page.

    Parameters
    ----------
    formats : iterable of Format, str or dtype
        The formats that it shows when it is opened, each as `lpsim.format` reads it. On the page others can be added.
    number : str
        The number that it shows then, as it might be typed.

    Returns
    -------
    str
        A document with its style and scripts inside. It can be opened from a disk or served as it is.

    Raises
    ------
    ValueError
        If there is no format, or a string or dtype names none.
    TypeError
        If a format is none of the accepted kinds, or ``number`` is no string.

    Examples
    --------
    >>> from lpsim import explorer
    >>> html = explorer.page(["fp16", "E5M7"], number="0.1")
    >>> html.startswith("<!doctype html>"), "src=" in html
    (True, False)
    """
    if isinstance(formats, (str, Format)):
        raise TypeError(f"formats is {formats!r}; allowed: several formats, such as ['fp16', 'E5M7']")
    chosen = [as_format(one, "formats") for one in formats]
    if not chosen:
        raise ValueError("formats is empty; allowed: one format or more")
    if not isinstance(number, str):
        raise TypeError(f"number is {number!r}; allowed: a string such as '-27.15625' or '1/3'")
    content = {
        "formats": [facts(one) for one in dict.fromkeys([*NAMED_FORMATS.values(), *chosen])],
        "aliases": {alias: str(one) for alias, one in ALIASES.items()},
        "patterns": {"exmy": EXMY.pattern, "p3109": P3109.pattern},
        "maxExponentBits": MAX_EXPONENT_BITS,
        "maxMantissaBits": MAX_MANTISSA_BITS,
        "roundings": [mode.name.lower() for mode in Rounding if not mode.is_stochastic],
        "overflows": [policy.name.lower() for policy in Overflow],
        "shown": [_named(one) for one in dict.fromkeys(chosen)],
        "number": number,
    }
    # In a script element, "<" might begin the end of it.
    data = json.dumps(content, ensure_ascii=True).replace("<", "\\u003c")
    scripts = "\n".join(_read(name) for name in _SCRIPTS)
    return (
        _read("page.html")
        .replace("/* style */", _read("style.css"))
        .replace("/* scripts */", f'"use strict";\nconst FACTS = {data};\n{scripts}')
    )


def facts(fmt: Format) -> dict[str, Any]:
    """Return what the page has to know of a format.

    Parameters
    ----------
    fmt : Format
        The format.

    Returns
    -------
    dict
        Integers, booleans and strings. Codes are decimal strings, since JSON's readers cut large integers.

    Examples
    --------
    >>> import lpsim as lp
    >>> from lpsim import explorer
    >>> explorer.facts(lp.float8_e4m3fn)["maxCode"]
    '126'
    """

    def code(value: int | None) -> str | None:
        return None if value is None else str(value)

    return {
        "name": _named(fmt),
        "spec": fmt.spec,
        "exponentBits": fmt.exponent_bits,
        "mantissaBits": fmt.mantissa_bits,
        "bias": fmt.bias,
        "specials": fmt.specials,
        "subnormals": fmt.subnormals,
        "signed": fmt.signed,
        "bits": fmt.bits,
        "hasInfinity": fmt.has_infinity,
        "hasNan": fmt.has_nan,
        "hasZero": fmt.has_zero,
        "hasNegativeZero": fmt.has_negative_zero,
        "maxCode": code(fmt.max_code),
        "infinityCode": code(fmt.infinity_code),
        "nanCode": code(fmt.nan_code),
        "emin": fmt.emin,
        "emax": fmt.emax,
        "quantumExponent": fmt.quantum_exponent,
        "source": SOURCES.get(_named(fmt)),
    }


def _named(fmt: Format) -> str:
    """Return the name of a named format, of a P3109 format, or else the format spelled out."""
    # A label of a user's own may be anything, and the page must be able to read it again.
    if fmt in NAMED_FORMATS.values():
        return next(name for name, one in NAMED_FORMATS.items() if one == fmt)
    if fmt.name is not None and P3109.fullmatch(fmt.name) and as_format(fmt.name) == fmt:
        return fmt.name
    return fmt.spec


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
