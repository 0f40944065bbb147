"""The scalar operations for your own compiled code: call them in functions under ``numba.njit``, also in ``prange``.

They are the functions that lpsim's own kernels consist of, so that results are those of the functions on arrays, bit
for bit. A format with a mode is data, a tuple of numbers that `Format.params` returns: pass it to your function, and
one compilation serves all formats and modes. Without Numba, in plain Python, the functions do the same, slowly.

Examples
--------
>>> import numba
>>> import numpy as np
>>> import lpsim as lp
>>> @numba.njit
... def dot(x, y, f):
...     total = 0.0
...     for i in range(x.size):
...         total = lp.jit.fma(x[i], y[i], total, f)
...     return total
>>> x = np.array([1.0, 3.0, 2.0**-9])
>>> dot(x, x, lp.bfloat16.params()), dot(x, x, lp.bfloat16.params(rounding="toward_positive"))
(10.0, 10.0625)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import overload

from lpsim.checks import shown
from lpsim.core import random as _random
from lpsim.core.codes import code_of, value_of
from lpsim.core.jit import core_function
from lpsim.core.operations import ADD, DIV, FMA, MUL, ROUND, SQRT, SUB, exact_result
from lpsim.core.params import Params, StochasticParams
from lpsim.core.rounding import round_parts, round_parts_stochastic

__all__ = ["add", "decode", "div", "encode", "fma", "mul", "random_integer", "round", "sqrt", "sub"]

_NEEDS_WORD = "f is of a stochastic mode, which needs a random integer; allowed: word=, see lpsim.jit.random_integer"
_TAKES_NO_WORD = "word is given, but f is of a deterministic mode; allowed: none"


def _check(f: Any, word: Any) -> None:
    """Refuse a random integer that is missing or has no use."""
    stochastic = isinstance(f, StochasticParams)
    if stochastic == (word is None):
        raise TypeError(_NEEDS_WORD if stochastic else _TAKES_NO_WORD)


@overload(_check, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
def _check_types(f: Any, word: Any) -> Any:
    stochastic = getattr(f, "instance_class", None) is StochasticParams
    given = not isinstance(word, (types.NoneType, types.Omitted))
    if stochastic != given:
        raise TypingError(_NEEDS_WORD if stochastic else _TAKES_NO_WORD)

    def implementation(f: Any, word: Any) -> None:
        pass

    return implementation


#: The least and the largest of the integers that operations take.
_INTEGERS = {
    "word": (0, (1 << 63) - 1),
    "code": (0, (1 << 64) - 1),
    "seed": (0, (1 << 64) - 1),
    "index": (0, (1 << 63) - 1),
}


#: What operations take as numbers in plain Python: what float64 holds, but for large integers.
_NUMBERS = (int, float, np.integer, np.float16, np.float32, np.bool_)


def _checked(name: str, value: Any) -> Any:
    """Return an argument; refuse what is no number, in plain Python: in compiled code Numba does."""
    if name == "f":
        if not isinstance(value, (Params, StochasticParams)):
            raise TypeError(f"f is {shown(value)}; allowed: what lpsim.Format.params returns")
    elif name in _INTEGERS:
        if value is None and name == "word":
            return None
        low, high = _INTEGERS[name]
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} is {shown(value)}; allowed: an integer")
        if not low <= value <= high:
            raise ValueError(f"{name} is {shown(value)}; allowed: {low} to {high}")
        return int(value) - (1 << 64) if name == "code" and int(value) >> 63 else value  # as an int64
    elif name in ("x", "y", "z"):
        if not isinstance(value, _NUMBERS):
            raise TypeError(f"{name} is {shown(value)}; allowed: a float or an integer")
        if isinstance(value, int) and abs(value) > 1 << 1023:
            raise ValueError(f"{name} is {shown(value)}; allowed: numbers in the range of float64")
    return value


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a core function for plain Python, where NumPy would warn of infinities and NaNs, and for compiled code."""
    core = core_function(function)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]

    @functools.wraps(function)
    def quiet(*arguments: Any) -> Any:
        checked = [_checked(name, value) for name, value in zip(names, arguments, strict=True)]
        with np.errstate(all="ignore"):
            return function(*checked)

    @overload(quiet, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
    def _compiled(*arguments: Any) -> Any:
        def implementation(*arguments: Any) -> Any:
            return core(*arguments)

        return implementation

    return quiet


@_quiet
def _operate(operation: Any, x: Any, y: Any, z: Any, f: Any, word: Any) -> Any:
    _check(f, word)
    parts = exact_result(operation, np.float64(x), np.float64(y), np.float64(z), f)
    if word is None:
        return round_parts(parts, f)[0]
    return round_parts_stochastic(parts, np.int64(word), f)[0]


@_quiet
def _code(x: Any, f: Any) -> Any:
    return code_of(x, f)


@_quiet
def _value(code: Any, f: Any) -> Any:
    return value_of(np.int64(code), f)


@_quiet
def _random_integer(seed: Any, index: Any, f: Any) -> Any:
    return _random.random_integer(_random.word_at(_random.stream_key(np.uint64(seed), 0), index), f)


@core_function
def round(x: Any, f: Any, word: Any = None) -> Any:
    """Return the number x rounded once.

    Parameters
    ----------
    x : float32 or float64
        A number.
    f : tuple
        A format and a mode, from `Format.params`.
    word : int, optional
        For the stochastic modes, and these alone: a random integer below ``2**random_bits``.

    Returns
    -------
    float64
        A value of the format, as `lpsim.round` returns it.

    Raises
    ------
    TypeError, numba.TypingError
        If ``word`` is missing in a stochastic mode, or given in another one.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.round(0.1, lp.bfloat16.params()))
    0.10009765625
    """
    return _operate(ROUND, x, x, x, f, word)


@core_function
def add(x: Any, y: Any, f: Any, word: Any = None) -> Any:
    """Return x + y, rounded once. See `round` for the parameters.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.add(1.0, 2.0**-100, lp.bfloat16.params(rounding="toward_positive")))
    1.0078125
    """
    return _operate(ADD, x, y, x, f, word)


@core_function
def sub(x: Any, y: Any, f: Any, word: Any = None) -> Any:
    """Return x - y, rounded once. See `round` for the parameters.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.sub(1.0, 2.0**-100, lp.bfloat16.params(rounding="toward_zero")))
    0.99609375
    """
    return _operate(SUB, x, y, x, f, word)


@core_function
def mul(x: Any, y: Any, f: Any, word: Any = None) -> Any:
    """Return x * y, rounded once. See `round` for the parameters.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.mul(1.1, 1.1, lp.float8_e4m3fn.params()))
    1.25
    """
    return _operate(MUL, x, y, x, f, word)


@core_function
def div(x: Any, y: Any, f: Any, word: Any = None) -> Any:
    """Return x / y, rounded once. See `round` for the parameters.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.div(1.0, 3.0, lp.float16.params()))
    0.333251953125
    """
    return _operate(DIV, x, y, x, f, word)


@core_function
def sqrt(x: Any, f: Any, word: Any = None) -> Any:
    """Return the square root of x, rounded once. See `round` for the parameters.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.sqrt(2.0, lp.float16.params()))
    1.4140625
    """
    return _operate(SQRT, x, x, x, f, word)


@core_function
def fma(x: Any, y: Any, z: Any, f: Any, word: Any = None) -> Any:
    """Return x * y + z, rounded once. See `round` for the parameters.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.fma(144.0, 232.0, 2.0**-100, lp.bfloat16.params()))
    33536.0
    """
    return _operate(FMA, x, y, z, f, word)


@core_function
def encode(x: Any, f: Any, word: Any = None) -> Any:
    """Return the code, an int64, of a number rounded once; of formats with 64 bits, its two's complement.

    In formats without NaN, the code of a NaN is -1. See `round` for the parameters.

    Examples
    --------
    >>> import lpsim as lp
    >>> hex(lp.jit.encode(-27.15625, lp.float16.params()))
    '0xceca'
    """
    return _code(_operate(ROUND, x, x, x, f, word), f)


@core_function
def decode(code: Any, f: Any) -> Any:
    """Return the value, a float64, that a code stands for.

    Examples
    --------
    >>> import lpsim as lp
    >>> float(lp.jit.decode(0xCECA, lp.float16.params()))
    -27.15625
    """
    return _value(code, f)


@core_function
def random_integer(seed: Any, index: Any, f: Any) -> Any:
    """Return the random integer that the functions on arrays take for element ``index``, in C order.

    Parameters
    ----------
    seed : int
        0 to ``2**64 - 1``; in compiled code, above ``2**63 - 1`` as a `numpy.uint64`.
    index : int
        Of an element, or a counter of your own: each gives an independent number.
    f : tuple
        A format and a stochastic mode, from `Format.params`, for its ``random_bits``.

    Returns
    -------
    int64

    Examples
    --------
    >>> import lpsim as lp
    >>> f = lp.float16.params(rounding="stochastic")
    >>> x = lp.jit.round(0.1, f, lp.jit.random_integer(7, 0, f))
    >>> bool(x == lp.round(0.1, lp.float16, rounding="stochastic", seed=7))
    True
    """
    return _random_integer(seed, index, f)
