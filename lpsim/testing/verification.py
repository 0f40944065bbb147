"""Verification of the kernels for a format, against the exact reference, bit for bit."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lpsim import arithmetic, codec, reference
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.rounding import Overflow, Rounding, as_overflow, as_rounding
from lpsim.testing.operands import all_operands, sampled_operands, unary_points
from lpsim.testing.report import Report, Row

__all__ = ["LEVELS", "OPERATIONS", "verify"]

Level = Literal["exhaustive", "sampled"]

#: Allowed values of ``level``.
LEVELS: tuple[str, ...] = get_args(Level)

#: Operations that can be verified, with their numbers of operands.
OPERATIONS = {"round": 1, "encode": 1, "decode": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}

#: Widest formats of which all pairs, and all triples, are compared.
_ALL_PAIRS, _ALL_TRIPLES = 8, 6

#: Random bits of the stochastic modes.
_RANDOM_BITS = 16

_KERNELS = {name: getattr(arithmetic if hasattr(arithmetic, name) else codec, name) for name in OPERATIONS}


@dataclass(frozen=True)
class _Task:
    """One operation in one mode, under some policies."""

    fmt: Format
    operation: str
    rounding: Rounding
    overflows: tuple[Overflow, ...]
    exhaustive: bool
    samples: int
    seed: int


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
        ``"exhaustive"``: all operands and pairs of formats up to 8 bits and all triples of formats up to 6 bits, with
        ``samples`` triples above; for ``round`` and ``encode`` also the middles between neighbours and the float64
        numbers beside these. ``"sampled"``: ``samples`` operands aimed at ties, subnormals, the end of the range,
        cancellation and far exponents. Default: exhaustive for formats up to 8 bits.
    samples : int
        Number of cases where they are sampled.
    seed : int
        Seed of the sampling.
    jobs : int
        Number of processes.
    progress : callable, optional
        Called with (tasks done, tasks in all, last row) from time to time.

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
    >>> report.ok, report.cases  # all pairs, in two modes under four policies
    (True, 16384)
    """
    formats = [as_format(one) for one in (fmt if isinstance(fmt, list) else [fmt])]
    tasks = list(_tasks(formats, ops, modes, overflows, level, samples, seed))
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs is {jobs!r}; allowed: 1 or more")
    rows: list[Row] = []
    try:
        for done, found in enumerate(_run(tasks, jobs), 1):
            rows += found
            if progress is not None:
                progress(done, len(tasks), found[-1])
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
        if level == "exhaustive" and fmt.bits > _ALL_PAIRS:
            raise ValueError(f"level is 'exhaustive' for {fmt} of {fmt.bits} bits; allowed: at most {_ALL_PAIRS} bits")
        exhaustive = fmt.bits <= _ALL_PAIRS and level != "sampled"
        policies = (
            [as_overflow(policy, "overflows") for policy in overflows] if overflows is not None else list(Overflow)
        )
        allowed = tuple(policy for policy in policies if fmt.has_nan or policy != Overflow.TO_NAN)
        for operation in operations:
            complete = exhaustive and (OPERATIONS[operation] < 3 or fmt.bits <= _ALL_TRIPLES)
            for mode in roundings if operation != "decode" else roundings[:1]:
                yield _Task(fmt, operation, mode, allowed, complete, samples, seed)


def _run(tasks: list[_Task], jobs: int) -> Iterator[list[Row]]:
    if jobs == 1:
        yield from map(_compare, tasks)
        return
    # Fresh interpreters: a fork would copy the threads' locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_compare, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _compare(task: _Task) -> list[Row]:
    if task.operation == "decode":
        return [_compare_decode(task)]
    arity = OPERATIONS[task.operation]
    rng = np.random.default_rng([task.seed, *task.fmt.spec.encode(), *task.operation.encode()])
    if not task.exhaustive:
        operands = sampled_operands(task.fmt, task.operation, arity, task.samples, rng)
    elif task.operation in ("round", "encode"):
        operands = (unary_points(task.fmt),)
    else:
        operands = all_operands(task.fmt, arity)
    if task.operation == "encode" and not task.fmt.has_nan:
        operands = (operands[0][~np.isnan(operands[0])],)
    bits = rng.integers(0, 1 << _RANDOM_BITS, operands[0].size) if task.rounding.is_stochastic else None
    started = time.perf_counter()
    exact_of = getattr(reference, f"exact_{'value' if task.operation in ('round', 'encode') else task.operation}")
    exact = [exact_of(*case) for case in zip(*(column.tolist() for column in operands), strict=True)]
    preparation = (time.perf_counter() - started) / len(task.overflows) if task.overflows else 0.0
    return [_compare_policy(task, overflow, operands, exact, bits, preparation) for overflow in task.overflows]


def _compare_policy(
    task: _Task,
    overflow: Overflow,
    operands: tuple[npt.NDArray[np.float64], ...],
    exact: list[reference.Exact],
    bits: npt.NDArray[np.int64] | None,
    seconds: float,
) -> Row:
    started = time.perf_counter()
    mode: dict[str, Any] = {"rounding": task.rounding, "overflow": overflow, "random_bits": _RANDOM_BITS}
    words = [0] * len(exact) if bits is None else bits.tolist()
    results = [
        reference.round_exact(result, task.fmt, **mode, bits=word, flags=True)
        for result, word in zip(exact, words, strict=True)
    ]
    expected = np.array([value for value, _ in results], np.float64)  # type: ignore[misc]
    flags = np.array([int(raised) for _, raised in results], np.uint8)  # type: ignore[misc]
    got, raised = _KERNELS[task.operation](*operands, task.fmt, **mode, bits=bits, flags=True)
    if task.operation == "encode":
        codes = np.array([reference.encode(value, task.fmt) for value in expected.tolist()], np.uint64)
        same, shown = got == codes, codes
    else:
        same, shown = _same(got, expected), expected  # type: ignore[assignment]
    wrong = np.flatnonzero(~same | (raised != flags))
    example = ""
    if wrong.size:
        i = int(wrong[0])
        case = ", ".join(float(column[i]).hex() for column in operands)
        example = f"{task.operation}({case}) gave {got[i]!r} with flags {raised[i]}, not {shown[i]!r} with {flags[i]}"
    return Row(
        task.fmt.spec,
        task.operation,
        task.rounding.name.lower(),
        overflow.name.lower(),
        len(exact),
        int(wrong.size),
        example,
        seconds + time.perf_counter() - started,
    )


def _same(got: npt.NDArray[Any], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    values = got.astype(np.float64)
    same: npt.NDArray[np.bool_] = values.view(np.uint64) == expected.view(np.uint64)
    return same | (np.isnan(values) & np.isnan(expected))


def _compare_decode(task: _Task) -> Row:
    started = time.perf_counter()
    fmt = task.fmt
    if fmt.bits <= 16:
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
    return Row(fmt.spec, "decode", "", "", codes.size, int(wrong.size), example, time.perf_counter() - started)
