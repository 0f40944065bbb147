"""Lists of operations, modes and formats that the tests share, and the strategies of `lpsim.testing`."""

from __future__ import annotations

from lpsim.formats import NAMED_FORMATS, Format
from lpsim.p3109 import p3109
from lpsim.rounding import Rounding
from lpsim.testing.strategies import continued_magnitude, floats, formats, modes, operands, reals, values

__all__ = [
    "FIXED_MODES",
    "OPERATIONS",
    "SAMPLE_FORMATS",
    "continued_magnitude",
    "floats",
    "formats",
    "modes",
    "operands",
    "reals",
    "values",
]

#: Number of operands of each operation.
OPERATIONS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}

#: Modes that use no random bits.
FIXED_MODES = tuple(mode for mode in Rounding if not mode.is_stochastic)

#: Formats that differ in every way a format can, for tests that cannot afford to draw at random.
SAMPLE_FORMATS = (
    *NAMED_FORMATS.values(),
    p3109(8, 3), p3109(8, 4, extended=False), p3109(8, 1), p3109(8, 8, signed=False),
    p3109(6, 2, signed=False, extended=False), p3109(3, 2),
    Format(0, 4, specials="finite"), Format(0, 7, specials="fnuz"), Format(0, 52, bias=900, specials="fn"),
    Format(4, 0), Format(5, 0, specials="fn"), Format(3, 0, specials="finite", signed=False),
    Format(4, 0, specials="fn", subnormals=False), Format(4, 0, specials="finite", subnormals=False),
    Format(11, 0), Format(5, 10, subnormals=False), Format(4, 3, specials="fnuz", subnormals=False),
    Format(11, 52, subnormals=False), Format(8, 30), Format(9, 20, bias=-300), Format(10, 47, bias=900),
    Format(1, 2), Format(1, 0, specials="finite"),
)  # fmt: skip
