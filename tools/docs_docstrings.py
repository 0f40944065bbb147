"""An extension of Griffe, which reads docstrings for the documentation.

Docstrings describe several parameters at once, ``rounding, overflow : ...``. Griffe gives all of them the type and the
default of the first one; here each gets an entry of its own.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

#: Names at the start of a line, what is said of their type, and the indented lines below.
_SEVERAL = re.compile(r"^(\w+(?:, \w+)+)( : .*)?\n((?:[ \t]+.*\n?|\n(?=[ \t]))+)", re.MULTILINE)
_PARAMETERS = re.compile(r"^Parameters\n-+\n.*?(?=^\w[^\n]*\n-{3,}\n|\Z)", re.MULTILINE | re.DOTALL)


def one_by_one(text: str) -> str:
    """Return a docstring in which each parameter has its own entry."""

    def entries(match: re.Match[str]) -> str:
        names, kind, below = match.groups()
        return "".join(f"{name}{kind or ''}\n{below.rstrip()}\n" for name in names.split(", "))

    return _PARAMETERS.sub(lambda section: _SEVERAL.sub(entries, section[0]), text)


class OneByOne(Extension):
    """Give each parameter its own entry."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = one_by_one(obj.docstring.value)
