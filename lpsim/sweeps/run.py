"""Calls of a function for each combination of a grid, and their table."""

from __future__ import annotations

import functools
import inspect
import itertools
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, Future, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lpsim import units
from lpsim.errors import normwise_error
from lpsim.files import replacing
from lpsim.linalg import matmul
from lpsim.sweeps.journal import Journal
from lpsim.sweeps.labels import definitions_digest, is_mixed, label_of
from lpsim.sweeps.pools import pool
from lpsim.units import MatrixUnit

__all__ = ["SweepError", "matmul_error", "sweep"]

Row = dict[str, Any]

_SUFFIXES = (".csv", ".parquet")
_DOUBLE = MatrixUnit("float64", accumulator_format="float64")


class SweepError(RuntimeError):
    """A call of a sweep failed; the message names the combination, and ``parameters`` holds it.

    Examples
    --------
    >>> import lpsim as lp
    >>> try:
    ...     lp.sweep(lambda n: 1 / n, {"n": [0]})
    ... except lp.sweeps.SweepError as error:
    ...     print(error)
    function <lambda> failed at n=0: ZeroDivisionError: division by zero
    """

    def __init__(self, message: str, parameters: Row | None = None) -> None:
        super().__init__(message)
        self.parameters = parameters


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Iterable[Any]],
    *,
    seeds: Iterable[int] | None = None,
    executor: Any = "threads",
    workers: int | None = None,
    path: str | os.PathLike[str] | None = None,
    resume: bool = True,
    errors: str = "raise",
    progress: bool = False,
) -> Any:
    """Call a function for each combination of values, and return the results as a table.

    Parameters
    ----------
    function : callable
        It is called with the values by name, and returns a number, or a mapping of names to numbers, strings, booleans
        and None.
    grid : mapping
        Names of parameters, each with its values: numbers, strings, booleans, None, formats, units, roundings, dtypes.
    seeds : iterable of int, optional
        Values of one more parameter, ``seed``, which varies fastest.
    executor : str, Executor or distributed.Client
        What does the calls: ``"threads"`` of this process; ``"processes"``, for functions that hold the interpreter's
        lock, which a module has to define; an executor of `concurrent.futures`; or the client of a dask cluster.
    workers : int, optional
        Number of threads or processes. Default: that of processors.
    path : str or path, optional
        A file that ends in ``.csv`` or ``.parquet``, to which the table is written once it is complete. Beside it, with
        ``.journal.jsonl`` appended to its name, is a journal of the rows that are finished.
    resume : bool
        Whether to take the rows that a journal has from there. Otherwise it is replaced.
    errors : str
        What becomes of a call that fails: ``"raise"`` ends the sweep with a `SweepError`; ``"record"`` leaves its
        results empty and says why in a column ``error``. Failed rows are no finished ones.
    progress : bool
        Whether to show a bar on the standard error stream.

    Returns
    -------
    pandas.DataFrame
        One row for each call, in the order of the grid (the last parameter varies fastest), whatever did the calls. Its
        columns are the parameters, formats and units by name, and the results; a lone number is in ``result``.

    Raises
    ------
    SweepError
        If a call fails, with ``errors="raise"``.
    BrokenExecutor
        If a process of a pool ended by itself, as the system's killer makes it.
    ValueError, TypeError
        If an argument is none of those allowed, or there is a journal of another function or grid.
    ImportError
        If pandas, or what else is needed, is not installed.

    Notes
    -----
    A sweep that an interrupt, an error or the end of the process has stopped goes on where it was when it is called
    again. A function is known by its name: after changes to its code, use ``resume=False``.

    Examples
    --------
    >>> import lpsim as lp
    >>> table = lp.sweep(lp.sweeps.matmul_error, {"unit": ["fp16_fp16acc", lp.units.tf32], "n": [64]}, seeds=range(2))
    >>> list(table.columns), table["unit"].tolist()
    (['unit', 'n', 'seed', 'normwise_error'], ['fp16_fp16acc', 'fp16_fp16acc', 'tf32', 'tf32'])
    >>> bool(table["normwise_error"][0] > table["normwise_error"][2])
    True
    """
    parameters = _parameters(grid, seeds)
    name = _name_of(function)
    _check_call(function, name, parameters)
    if errors not in ("raise", "record"):
        raise ValueError(f"errors is {errors!r}; allowed: 'raise' and 'record'")
    for argument, value in (("resume", resume), ("progress", progress)):
        if not isinstance(value, bool):
            raise TypeError(f"{argument} is {value!r}; allowed: True or False")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers is {workers!r}; allowed: an integer from 1 on, or None")
    labels = {key: [label_of(value, key) for value in values] for key, values in parameters.items()}
    _check_labels(labels)
    target = None if path is None else _check_path(path, labels)
    pandas = _extra("pandas")
    calls = [dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())]
    rows = [dict(zip(labels, values, strict=True)) for values in itertools.product(*labels.values())]

    finished: dict[int, Row] = {}
    failed: dict[int, str] = {}
    with ExitStack() as stack:
        journal = None
        if target is not None:
            header = {"function": name, "parameters": labels, "definitions": definitions_digest(parameters)}
            beside = target.with_name(f"{target.name}.journal.jsonl")
            journal = stack.enter_context(Journal(beside, header, resume=resume))
            finished.update(journal.rows)
        advance = stack.enter_context(_bar(len(calls), len(finished))) if progress else None

        def finish(row: int, results: Row) -> None:
            if errors == "record" and "error" in {*results, *labels}:
                raise ValueError(
                    f"errors is 'record', whose column 'error' function {name} has too; allowed: results and "
                    "parameters of other names, or errors='raise'"
                )
            finished[row] = results
            if journal is not None:
                journal.add(row, results)

        def done(row: int, future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                finish(row, future.result())
            elif isinstance(error, BrokenExecutor) or not isinstance(error, Exception):
                raise error
            else:
                failed[row] = f"{type(error).__name__}: {error}"
                if errors == "raise":
                    where = ", ".join(f"{key}={value!r}" for key, value in rows[row].items())
                    raise SweepError(f"function {name} failed at {where}: {failed[row]}", rows[row]) from error
            if advance is not None:
                advance()

        left = {row: call for row, call in enumerate(calls) if row not in finished}
        try:
            _run(function, left, executor, workers, done)
        except BrokenExecutor as error:
            if journal is None:
                raise
            kept = f"{len(finished)} of {len(calls)} rows are kept in {beside}, and the same call goes on from there"
            raise BrokenExecutor(f"{error}; {kept}") from error
    table = _table(pandas, rows, finished, failed if errors == "record" else None)
    if target is not None:
        _write(table, target)
    return table


def matmul_error(unit: MatrixUnit | str, n: int, seed: int = 0) -> dict[str, float]:
    """Return the normwise relative error of a product of two matrices of normal numbers, for `lpsim.sweep`.

    Parameters
    ----------
    unit : MatrixUnit or str
        The unit, or the name of one in `lpsim.units`.
    n : int
        Rows and columns of the factors, float64 matrices of standard normal numbers.
    seed : int
        Of these numbers, and of the random bits of stochastic units.

    Returns
    -------
    dict
        ``normwise_error``: that of `lpsim.errors.normwise_error`, against the product in float64 (k ascending, fused).

    Examples
    --------
    >>> from lpsim.sweeps import matmul_error
    >>> 1e-4 < matmul_error("tf32", 32, seed=1)["normwise_error"] < 1e-3
    True
    """
    unit = units.get(unit)
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, n)), rng.standard_normal((n, n))
    product = matmul(a, b, unit, seed=seed if unit.is_stochastic else None)
    return {"normwise_error": normwise_error(product, matmul(a, b, _DOUBLE))}


def _run(
    function: Callable[..., Any],
    calls: Mapping[int, Row],
    executor: Any,
    workers: int | None,
    done: Callable[[int, Future[Any]], None],
) -> None:
    """Call the function for all rows, and ``done`` with each that is."""
    with pool(executor, workers, function) as chosen:
        waiting: dict[Future[Any], int] = {}
        try:
            for row, call in calls.items():
                waiting[chosen.submit(_call, function, call)] = row
            for future in as_completed([*waiting]):
                done(waiting[future], future)
                del waiting[future]
        except BaseException:
            # What is finished already is not to be lost, and the rest is not to begin.
            if executor != "processes":  # these end, and older Pythons would complain of cancelled calls then
                for future in waiting:
                    future.cancel()
            for future, row in waiting.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    done(row, future)
            raise


def _call(function: Callable[..., Any], call: Row) -> Row:
    """Return a call's results as names and plain scalars."""
    returned = function(**call)
    if not isinstance(returned, Mapping):
        returned = {"result": returned}
    results = {}
    for name, value in returned.items():
        if not isinstance(name, str) or name in call:
            raise ValueError(f"a result is named {name!r}; allowed: strings that name no parameter")
        scalar = value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value
        if scalar is not None and not isinstance(scalar, (bool, int, float, str)):
            raise TypeError(f"{name} is {value!r:.60}; allowed: a number, a string, a boolean or None")
        results[name] = scalar
    return results


def _parameters(grid: Mapping[str, Iterable[Any]], seeds: Iterable[int] | None) -> dict[str, list[Any]]:
    """Return the values of each parameter, checked."""
    if not isinstance(grid, Mapping):
        raise TypeError(f"grid is {grid!r:.60}; allowed: a mapping of parameters to lists of their values")
    parameters = {}
    for name, values in grid.items():
        if not isinstance(name, str):
            raise ValueError(f"grid has a parameter {name!r}; allowed: strings")
        parameters[name] = _listed(values, f"grid[{name!r}]", "values")
    if seeds is not None:
        if "seed" in parameters:
            raise ValueError("seeds is given, and grid has 'seed'; allowed: one of them")
        parameters["seed"] = _listed(seeds, "seeds", "integers, such as range(5)")
        for seed in parameters["seed"]:
            if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, numbers.Integral):
                raise TypeError(f"seeds holds {seed!r:.60}; allowed: integers")
    if not parameters:
        raise ValueError("grid is empty; allowed: at least one parameter")
    return parameters


def _listed(values: Any, argument: str, allowed: str) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{argument} is {values!r:.60}; allowed: a list of {allowed}")
    listed = list(values)
    if not listed:
        raise ValueError(f"{argument} is empty; allowed: a list of {allowed}")
    return listed


def _check_labels(labels: Mapping[str, list[Any]]) -> None:
    for name, listed in labels.items():
        for number, label in enumerate(listed):
            if any(type(label) is type(other) and label == other for other in listed[:number]):
                raise ValueError(
                    f"{name} has two values that are {label!r} in the table; allowed: each once (units and formats "
                    "take a name=)"
                )


def _name_of(function: Any) -> str:
    if not callable(function):
        raise TypeError(f"function is {function!r:.60}; allowed: something to call")
    if isinstance(function, functools.partial):
        given = [*map(repr, function.args), *(f"{key}={value!r}" for key, value in function.keywords.items())]
        return f"{_name_of(function.func)}({', '.join(given)})"
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name


def _check_call(function: Callable[..., Any], name: str, parameters: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**parameters)
    except TypeError as error:
        raise TypeError(
            f"function is {name}{signature}, which does not take the parameters {', '.join(parameters)} ({error}); "
            "allowed: a function of the names in grid, and of seed if there are seeds"
        ) from None


def _check_path(path: Any, labels: Mapping[str, list[Any]]) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path is {path!r:.60}; allowed: a string, a path or None")
    target = Path(path)
    if target.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"path is {str(path)!r}; allowed: names that end in {' or '.join(_SUFFIXES)}")
    if not target.parent.is_dir():
        raise ValueError(f"path is {str(path)!r}; allowed: a file in a folder that exists")
    if target.suffix.lower() == ".parquet":
        _extra("pyarrow")
        for name, listed in labels.items():
            if is_mixed(listed):
                raise ValueError(
                    f"{name} has values of several kinds, {listed!r:.60}, and path is {str(path)!r}; allowed: one kind "
                    "in a column of Parquet, or a path that ends in .csv"
                )
    return target


def _extra(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"sweeps need the extra 'sweep' ({error}); install it with: pip install 'lpsim[sweep]'"
        ) from error


class _bar:
    """A bar of finished rows; entering it returns what moves it on by one."""

    def __init__(self, total: int, finished: int) -> None:
        progress = _extra("rich.progress")
        self._progress = progress.Progress(console=_extra("rich.console").Console(stderr=True))
        self._task = self._progress.add_task("sweep", total=total, completed=finished)

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        return lambda: self._progress.advance(self._task)

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


def _table(pandas: Any, rows: list[Row], finished: Mapping[int, Row], failed: Mapping[int, str] | None) -> Any:
    """Return the table, its results in the order in which rows have them first."""
    results = dict.fromkeys(name for row in range(len(rows)) for name in finished.get(row, ()))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns |= {name: [finished.get(row, {}).get(name) for row in range(len(rows))] for name in results}
    if failed is not None:
        columns["error"] = [failed.get(row) for row in range(len(rows))]
    return pandas.DataFrame(columns)


def _write(table: Any, path: Path) -> None:
    with replacing(path) as file:
        if path.suffix.lower() == ".csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file, index=False)
