"""What a call may end in: a result, or an error that explains itself, and nothing else."""

from __future__ import annotations

import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import lpsim as lp
from fuzzing.call import Call
from fuzzing.results import alias, difference, internally_overlapping, plain

__all__ = ["Judge"]

PACKAGE = str(Path(lp.__file__).parent)

#: Errors that say what is wrong with a call. A KeyError or AttributeError never does.
EXPLAINING = (ValueError, TypeError, IndexError, MemoryError, OverflowError)

#: What an explanation looks like: "<argument> is <given>; allowed: <what>".
SENTENCES = re.compile("allowed")


#: Sentences of NumPy about sizes.
NUMPY = re.compile(
    r"Unable to allocate .* for an array with shape|array is too big; `arr.size|Maximum allowed dimension exceeded"
)


def copies(values: Any) -> list[tuple[Any, bytes]]:
    """Return the arrays among arguments, with their bytes."""
    found = []
    for one in values:
        if isinstance(one, np.ndarray) and one is not np.ma.masked and one.size <= 1 << 12 and one.dtype.kind != "O":
            found.append((one, one.tobytes()))
    return found


class Judge:
    """Makes calls and says what is wrong with their outcome."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.result: Any = None

    def __call__(self, call: Call) -> str | None:
        """Return what is wrong, or None; the call's result is in ``result``, None for one that raised an error."""
        before = copies([*call.args, *(value for key, value in call.kwargs.items() if key != "out")])
        out = call.kwargs.get("out")
        expected = None if call.again is None or internally_overlapping(out) else self._of_copies(call)
        result = self.result = None
        error: Exception | None = None
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                result = self.result = call.function(*call.args, **call.kwargs)
            except Exception as raised:
                error = raised
        if error is not None:
            self._count(type(error).__name__)
            wrong = self._of_error(error, call)
            of_matrices = any(isinstance(one, np.matrix) for one in call.args)  # have no more axes than two
            comparable = expected is not None and out is None and not isinstance(expected, Exception)
            if wrong is None and comparable and not of_matrices:
                wrong = f"{type(error).__name__}: {error!s:.200}; but copies of the arrays are taken"
        else:
            self._count("returned")
            wrong = None
            if call.result is not None:
                wrong = call.result(result)
            if wrong is None and expected is not None:
                self._count("compared")
                wrong = difference(result, expected)
            if wrong is None and call.again is not None and out is None and alias(result, call):
                wrong = "the result shares memory with an argument"
        if wrong is None and said:
            wrong = f"a warning: {said[0].category.__name__}: {said[0].message}"
        if wrong is None and not call.name.startswith("Array"):
            for array, octets in before:
                own = isinstance(out, np.ndarray) and np.may_share_memory(array, out)
                own |= isinstance(out, tuple) and any(np.may_share_memory(array, one) for one in out)
                if not own and array.tobytes() != octets:
                    wrong = "an argument was changed"
        return wrong

    @staticmethod
    def _of_copies(call: Call) -> Any:
        """Return the result of the call with plain copies of its arrays and without ``out``, or its error."""
        wide = call.again == "wide"
        args = [plain(one, wide) for one in call.args]
        kwargs = {key: plain(one, False) for key, one in call.kwargs.items() if key != "out"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return call.function(*args, **kwargs)
            except Exception as error:
                return error

    def _count(self, kind: str) -> None:
        self.outcomes[kind] = self.outcomes.get(kind, 0) + 1

    def _of_error(self, error: Exception, call: Call) -> str | None:
        text = str(error)
        if isinstance(error, ZeroDivisionError) and text == "rude":
            return None  # the argument's own
        if isinstance(error, EXPLAINING) and SENTENCES.search(text):
            frames = traceback.extract_tb(error.__traceback__)
            if frames[-1].filename.startswith(PACKAGE):
                return None
        if isinstance(error, (MemoryError, ValueError)) and NUMPY.match(text):
            return None
        if call.like is not None:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    call.like()
                except Exception as other:
                    if type(other) is type(error):
                        return None  # NumPy refuses it as well
        frames = traceback.extract_tb(error.__traceback__)
        at = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-4:]))
        return f"{type(error).__name__}: {text:.200} [{at}]"
