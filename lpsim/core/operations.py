"""The operations by number, so that one loop serves them all and the number is a compile-time constant."""

from __future__ import annotations

from typing import Any

from lpsim.core.exact import exact_add, exact_div, exact_fma, exact_mul, exact_round, exact_sqrt, exact_sub
from lpsim.core.jit import core_function

__all__ = ["ADD", "ARITY", "DIV", "FMA", "MUL", "ROUND", "SQRT", "SUB", "exact_result"]

ROUND = 0
ADD = 1
SUB = 2
MUL = 3
DIV = 4
SQRT = 5
FMA = 6

#: Number of operands by operation.
ARITY = (1, 2, 2, 2, 2, 1, 3)


@core_function
def exact_result(operation: Any, x: Any, y: Any, z: Any, f: Any) -> Any:
    """Parts of an operation's exact result; operands beyond the operation's arity are not looked at."""
    if operation == ADD:
        return exact_add(x, y, f)
    if operation == SUB:
        return exact_sub(x, y, f)
    if operation == MUL:
        return exact_mul(x, y, f)
    if operation == DIV:
        return exact_div(x, y, f)
    if operation == SQRT:
        return exact_sqrt(x, f)
    if operation == FMA:
        return exact_fma(x, y, z, f)
    return exact_round(x, f)
