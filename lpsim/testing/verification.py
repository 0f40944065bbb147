"""Verification of the kernels for a format, against the exact reference, bit for bit."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from lpsim import arithmetic, codec, reference
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.rounding import TININESS, Flag, Overflow, Rounding, as_overflow, as_rounding
from lpsim.testing import oracle
from lpsim.testing.operands import all_operands, sampled_operands, unary_points
from lpsim.testing.report import Report, Row
from lpsim.workers import processes

__all__ = ["LEVELS", "OPERATIONS", "verify"]

Level = Literal["exhaustive", "sampled"]

#: Allowed values of ``level``.
LEVELS: tuple[str, ...] = get_args(Level)

#: Operations that can be verified, with their numbers of operands.
OPERATIONS = {"round": 1, "encode": 1, "decode": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}

#: Widest formats of which all values, pairs and triples are compared, by number of operands.
_WIDEST = {1: 16, 2: 8, 3: 7}

_KERNELS = {name: getattr(arithmetic if hasattr(arithmetic, name) else codec, name) for name in OPERATIONS}


_Columns = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class _Task:
    """One operation in some modes, under some policies."""

    fmt: Format
    operation: str
    roundings: tuple[Rounding, ...]
    overflows: tuple[Overflow, ...]
    exhaustive: bool
    samples: int
    seed: int


class _Given(NamedTuple):
    """What the rows of a task have in common."""

    fmt: Format
    operation: str
    operands: _Columns
    narrow: npt.NDArray[np.intp]
    placed: oracle.Placed
    bits: npt.NDArray[np.int64]
    exhaustive: bool


def verify(
    fmt: FormatLike | list[Format] | list[str],
    ops: Iterable[str] | None = None,
    modes: Iterable[Rounding | str] | None = None,
    overflows: Iterable[Overflow | str] | None = None,
    level: Level | None = None,
    samples: int = 100_000,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int, Row], None] | None = None,
) -> Report:
    """Compare the kernels with the exact reference, in values, codes and flags.

    Exact results are those of `lpsim.reference`; their rounding is that of `lpsim.testing.oracle`. Each case is
    computed with flags, with tininess detected after and before rounding, and without flags, and all this once more
    from float32 operands if these are the same numbers: all have to agree.

    Parameters
    ----------
    fmt : Format, str, dtype, or a list of formats or strings
        The format or formats.
    ops : list of str, optional
        Of ``"round"``, ``"encode"``, ``"decode"``, ``"add"``, ``"sub"``, ``"mul"``, ``"div"``, ``"sqrt"`` and
        ``"fma"``. Default: all.
    modes : list of Rounding or str, optional
        Rounding modes. Default: all; stochastic ones with 16 random bits to a case.
    overflows : list of Overflow or str, optional
        Overflow policies. Default: all that the format allows.
    level : str, optional
        ``"exhaustive"``: all operands and pairs of formats up to 8 bits and all triples of formats up to 7 bits, with
        ``samples`` triples above; for ``round`` and ``encode`` also the middles between neighbours and the float64
        numbers beside these. ``"sampled"``: ``samples`` operands aimed at ties, subnormals, the end of the range,
        cancellation and far exponents. Default: exhaustive for formats up to 8 bits, and for operations on one
        operand in formats up to 16 bits; `Row.exhaustive` tells.
    samples : int
        Number of cases where they are sampled.
    seed : int
        Seed of the sampling.
    jobs : int
        Number of processes.
    progress : callable, optional
        Called after each mode of each operation with (how many are done, how many there are, last row).

    Returns
    -------
    Report
        Also after an interruption (Ctrl-C), of what was compared until then.

    Raises
    ------
    ValueError
        For an unknown format, operation, mode, policy or level, or an exhaustive level for a format of more
        than 8 bits.

    Examples
    --------
    >>> import lpsim as lp
    >>> import lpsim.testing
    >>> fmt = lp.Format(2, 2, bias=3, specials="fnuz")
    >>> report = lpsim.testing.verify(fmt, ops=["add", "mul"], modes=["ties_to_even", "to_odd"])
    >>> report.ok, report.cases  # all pairs, in two modes under five policies
    (True, 20480)
    """
    formats = [as_format(one) for one in (fmt if isinstance(fmt, list) else [fmt])]
    tasks = list(_tasks(formats, ops, modes, overflows, level, samples, seed))
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs is {jobs!r}; allowed: 1 or more")
    rows: list[Row] = []
    total = sum(len(task.roundings) for task in tasks)
    try:
        with contextlib.closing(_run(tasks, jobs)) as compared:
            for done, found in enumerate(compared, 1):
                rows += found
                if progress is not None and found:
                    progress(done, total, found[-1])
    except KeyboardInterrupt:
        return Report(tuple(rows), complete=False)
    return Report(tuple(rows))


def _tasks(
    formats: list[Format],
    ops: Iterable[str] | None,
    modes: Iterable[Rounding | str] | None,
    overflows: Iterable[Overflow | str] | None,
    level: str | None,
    samples: int,
    seed: int,
) -> Iterator[_Task]:
    operations = list(OPERATIONS) if ops is None else list(ops)
    for operation in operations:
        if operation not in OPERATIONS:
            raise ValueError(f"ops holds {operation!r}; allowed: {', '.join(map(repr, OPERATIONS))}")
    roundings = list(Rounding) if modes is None else [as_rounding(mode, "modes") for mode in modes]
    if level is not None and level not in LEVELS:
        raise ValueError(f"level is {level!r}; allowed: {', '.join(map(repr, LEVELS))} or None")
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples is {samples!r}; allowed: 1 or more")
    for fmt in formats:
        if level == "exhaustive" and fmt.bits > _WIDEST[2]:
            raise ValueError(f"level is 'exhaustive' for {fmt} of {fmt.bits} bits; allowed: at most {_WIDEST[2]} bits")
        policies = (
            [as_overflow(policy, "overflows") for policy in overflows] if overflows is not None else list(Overflow)
        )
        allowed = tuple(policy for policy in policies if fmt.has_nan or policy != Overflow.TO_NAN)
        for operation in operations:
            complete = level != "sampled" and fmt.bits <= _WIDEST[OPERATIONS[operation]]
            chosen = tuple(roundings[:1] if operation == "decode" else roundings)
            yield _Task(fmt, operation, chosen, allowed, complete, samples, seed)


def _run(tasks: list[_Task], jobs: int) -> Generator[list[Row], None, None]:
    """Yield the rows of each operation in each mode, in the order of the tasks."""
    if jobs == 1:
        for task in tasks:
            yield from _compare(task)
        return
    with processes(jobs) as pool:
        for future in [pool.submit(_compare_all, task) for task in tasks]:
            yield from future.result()


def _compare_all(task: _Task) -> list[list[Row]]:
    return list(_compare(task))


def _compare(task: _Task) -> Iterator[list[Row]]:
    if task.operation == "decode":
        yield [_compare_decode(task)]
        return
    started = time.perf_counter()
    rng = np.random.default_rng([task.seed, *task.fmt.spec.encode(), *task.operation.encode()])
    operands = _operands(task, rng)
    exact_of = getattr(reference, f"exact_{'value' if task.operation in ('round', 'encode') else task.operation}")
    cases = zip(*(column.tolist() for column in operands), strict=True)
    placed = oracle.place((exact_of(*case) for case in cases), task.fmt)
    bits = rng.integers(0, 1 << oracle.RANDOM_BITS, operands[0].size)
    # The work on exact results serves all rows alike.
    rows = max(len(task.roundings) * len(task.overflows), 1)
    preparation = (time.perf_counter() - started) / rows
    given = _Given(task.fmt, task.operation, operands, _in_float32(operands), placed, bits, task.exhaustive)
    for mode in task.roundings:
        yield [_compare_row(given, mode, overflow, preparation) for overflow in task.overflows]


def _operands(task: _Task, rng: np.random.Generator) -> _Columns:
    arity = OPERATIONS[task.operation]
    takes_nan = task.operation != "encode" or task.fmt.has_nan
    if not task.exhaustive:
        # One in some hundred operands is a NaN, which not every format can encode.
        spare = 0 if takes_nan else 16 + task.samples // 50
        operands = sampled_operands(task.fmt, task.operation, arity, task.samples + spare, rng)
    elif task.operation in ("round", "encode"):
        operands = (unary_points(task.fmt),)
    else:
        operands = all_operands(task.fmt, arity)
    if not takes_nan:
        operands = (operands[0][~np.isnan(operands[0])],)
    return operands if task.exhaustive else tuple(column[: task.samples] for column in operands)


def _in_float32(operands: _Columns) -> npt.NDArray[np.intp]:
    """Return the indices of the cases of which float32 holds all operands: kernels treat these apart.

    To the bit: a signalling NaN is another operand than the quiet one that conversion makes of it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        exact = [
            column.astype(np.float32).astype(np.float64).view(np.uint64) == column.view(np.uint64)
            for column in operands
        ]
    return np.flatnonzero(np.logical_and.reduce(exact))


def _compare_row(given: _Given, rounding: Rounding, overflow: Overflow, seconds: float) -> Row:
    started = time.perf_counter()
    fmt, operation = given.fmt, given.operation
    bits = given.bits if rounding.is_stochastic else None
    wrong, example = np.zeros(given.bits.size, np.bool_), ""
    for tininess in TININESS:
        rounded = oracle.round_placed(given.placed, fmt, rounding, overflow, bits, tininess)
        expected: npt.NDArray[Any] = (oracle.codes_of if operation == "encode" else oracle.values_of)(rounded, fmt)
        for dtype, chosen in ((np.float64, slice(None)), (np.float32, given.narrow)):
            operands = tuple(column[chosen].astype(dtype) for column in given.operands)
            compute = functools.partial(
                _KERNELS[operation],
                *operands,
                fmt,
                rounding=rounding,
                overflow=overflow,
                bits=None if bits is None else bits[chosen],
                random_bits=oracle.RANDOM_BITS,
                tininess=tininess,
            )
            got, flags = compute(flags=True)
            want, raised = expected[chosen], rounded.flags[chosen]
            right = _same_codes if operation == "encode" else _same
            here = (flags != raised) | ~right(got, want)
            without = np.zeros_like(here)
            if tininess == TININESS[0]:
                # Without flags, a shorter way may be taken.
                plain = compute()
                without = ~right(plain, want) & ~here
                got, here = np.where(without, plain, got), here | without
            if here.any() and not example:
                i = _simplest(here, operands)
                example = (
                    f"{operation}({', '.join(float(column[i]).hex() for column in operands)}) "
                    f"gave {got[i]!r} with {_names(flags[i])}, not {want[i]!r} with {_names(raised[i])}"
                    f"{' (operands in float32)' * (dtype is np.float32)}"
                    f"{' (tininess before rounding)' * (tininess == 'before')}"
                    f"{' (computed without flags)' * bool(without[i])}"
                )
            wrong[chosen] |= here
    return Row(
        fmt.spec,
        operation,
        rounding.name.lower(),
        overflow.name.lower(),
        wrong.size,
        int(wrong.sum()),
        given.exhaustive,
        example,
        seconds + time.perf_counter() - started,
    )


def _simplest(wrong: npt.NDArray[np.bool_], operands: tuple[npt.NDArray[Any], ...]) -> int:
    """Return the index of a wrong case of finite operands if there is one, with the fewest digits and exponents."""
    indices = np.flatnonzero(wrong)

    def complexity(i: int) -> tuple[int, int, int]:
        numbers = [abs(float(column[i])) for column in operands]
        finite = [number for number in numbers if math.isfinite(number)]
        digits = sum(number.as_integer_ratio()[0].bit_length() for number in finite)
        return len(numbers) - len(finite), digits, sum(abs(math.frexp(number)[1]) for number in finite)

    # Operands come in a sensible order, so among very many there is no need to look at all.
    return int(min(indices[:10_000], key=complexity))


def _names(flags: Any) -> str:
    return "|".join(flag.name or "" for flag in Flag if int(flags) & flag) or "no flag"


def _same(got: npt.NDArray[Any], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    values = got.astype(np.float64)
    same: npt.NDArray[np.bool_] = values.view(np.uint64) == expected.view(np.uint64)
    return same | (np.isnan(values) & np.isnan(expected))


def _same_codes(got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = got == expected
    return same


def _compare_decode(task: _Task) -> Row:
    started = time.perf_counter()
    fmt = task.fmt
    if task.exhaustive:
        codes = np.arange(1 << fmt.bits, dtype=fmt.code_dtype)
    else:
        rng = np.random.default_rng([task.seed, *fmt.spec.encode()])
        codes = (rng.integers(0, 1 << 64, task.samples, dtype=np.uint64) >> np.uint64(64 - fmt.bits)).astype(
            fmt.code_dtype
        )
    expected = np.array([reference.decode(int(code), fmt) for code in codes])
    got = codec.decode(codes, fmt)
    wrong = np.flatnonzero(~_same(got, expected))
    example = ""
    if wrong.size:
        i = int(wrong[0])
        example = f"decode({int(codes[i]):#x}) gave {got[i]!r}, not {expected[i]!r}"
    seconds = time.perf_counter() - started
    return Row(fmt.spec, "decode", "", "", codes.size, int(wrong.size), task.exhaustive, example, seconds)
