"""Sweeps: the same table whatever does the calls, nothing lost by an interrupt, and clear messages."""

import concurrent.futures
import functools
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from clusters import local_cluster

import lpsim as lp
from lpsim.sweeps import SweepError, matmul_error

GRID = {"unit": ["fp16_fp16acc", lp.units.tf32, "h100.e4m3"], "n": [8, np.int64(33)]}


def measure(fmt, scale, rounding):
    """Return one result of each kind, and some that only some calls have."""
    x = lp.round(scale / 3, fmt, rounding)
    results = {"value": x, "exact": bool(x == scale), "name": f"{fmt}", "codes": int(lp.encode(x, fmt)), "none": None}
    return results | ({"large": np.float32(scale)} if scale > 1 else {})


MEASURED = {"fmt": [lp.bfloat16, "half"], "scale": [0.1, 3, np.inf], "rounding": [lp.Rounding.TO_ODD, "toward_zero"]}


def fail_at(n, bad=()):
    if n in bad:
        raise ValueError(f"{n} is bad")
    return n * 0.1


def test_the_table_is_in_the_order_of_the_grid():
    table = lp.sweep(matmul_error, GRID, seeds=range(3))
    assert list(table.columns) == ["unit", "n", "seed", "normwise_error"]
    assert table["unit"].tolist() == ["fp16_fp16acc"] * 6 + ["tf32"] * 6 + ["h100.e4m3"] * 6
    assert table["n"].tolist() == ([8] * 3 + [33] * 3) * 3
    assert table["seed"].tolist() == [0, 1, 2] * 6
    for row in table.to_dict("records"):
        error = row.pop("normwise_error")
        assert error == matmul_error(**row)["normwise_error"]
    assert table["normwise_error"].nunique() == len(table)


def test_the_helper_measures_against_float64():
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((20, 20)), rng.standard_normal((20, 20))
    exact = a @ b
    expected = np.linalg.norm(lp.matmul(a, b, "bf16") - exact) / np.linalg.norm(exact)
    assert matmul_error("bf16", 20, 5)["normwise_error"] == pytest.approx(expected, rel=1e-9)
    stochastic = lp.MatrixUnit("bf16", rounding="stochastic", name="sr")
    assert matmul_error(stochastic, 20, 5) == matmul_error(stochastic, 20, 5) != matmul_error(stochastic, 20, 6)


@pytest.mark.parametrize("function_and_grid", [(measure, MEASURED), (matmul_error, GRID)])
def test_executors_give_the_same_table(function_and_grid):
    function, grid = function_and_grid
    expected = lp.sweep(function, grid, workers=1)
    pd.testing.assert_frame_equal(lp.sweep(function, grid, workers=3), expected, check_exact=True)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        pd.testing.assert_frame_equal(lp.sweep(function, grid, executor=executor), expected, check_exact=True)
        assert executor.submit(abs, -1).result() == 1  # it is not shut down
    processes = lp.sweep(function, grid, executor="processes", workers=2)
    pd.testing.assert_frame_equal(processes, expected, check_exact=True)


def test_a_cluster_gives_the_same_table():
    with local_cluster() as client:
        for function, grid in ((measure, MEASURED), (matmul_error, GRID)):
            got = lp.sweep(function, grid, executor=client)
            pd.testing.assert_frame_equal(got, lp.sweep(function, grid), check_exact=True)
        with pytest.raises(SweepError, match=r"fail_at\(bad=\(2,\)\) failed at n=2: ValueError: 2 is bad"):
            lp.sweep(functools.partial(fail_at, bad=(2,)), {"n": [1, 2]}, executor=client)


def test_lone_numbers_are_in_one_column():
    table = lp.sweep(lambda x: lp.round(x, "half"), {"x": [0.1, 0.2]})
    assert table.to_dict("list") == {"x": [0.1, 0.2], "result": [0.0999755859375, 0.199951171875]}


def test_a_result_may_be_an_error():
    assert lp.sweep(lambda n: {"error": n / 4}, {"n": [1, 2]})["error"].tolist() == [0.25, 0.5]


def test_results_that_only_some_calls_have():
    table = lp.sweep(measure, MEASURED)
    assert list(table.columns) == ["fmt", "scale", "rounding", "value", "exact", "name", "codes", "none", "large"]
    assert table["fmt"].unique().tolist() == ["bfloat16", "half"]
    assert table["rounding"].unique().tolist() == ["to_odd", "toward_zero"]
    assert table["large"].isna().tolist() == ([True, True] + [False] * 4) * 2


# Files.


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_come_back_from_files(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    table = lp.sweep(matmul_error, GRID, seeds=[0, 2**40], path=path)
    # Of its own, pandas does not read all digits of a number.
    read = pd.read_csv(path, converters={"normwise_error": float}) if suffix == ".csv" else pd.read_parquet(path)
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    again = lp.sweep(matmul_error, GRID, seeds=[0, 2**40], path=str(path))
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, f"{path.name}.journal.jsonl"]


def test_a_table_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def half(self, file, index):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    with pytest.raises(OSError, match="disk full"):
        lp.sweep(fail_at, {"n": [1]}, path=path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


class Counted:
    """A function that knows its calls."""

    def __init__(self, bad=()):
        self.calls, self.bad, self.lock = [], bad, threading.Lock()

    def __call__(self, n):
        with self.lock:
            self.calls.append(n)
        return {"result": fail_at(n, self.bad), "nan": np.nan, "inf": -np.inf, "flag": n > 2}


def test_finished_rows_are_not_computed_again(tmp_path):
    path, grid = tmp_path / "table.csv", {"n": [1, 2, 3, 4]}
    first = Counted(bad=(3,))
    with pytest.raises(SweepError, match="failed at n=3: ValueError: 3 is bad") as caught:
        lp.sweep(first, grid, path=path, workers=1)
    assert caught.value.parameters == {"n": 3}
    assert isinstance(caught.value.__cause__, ValueError)
    assert not path.exists()
    second = Counted()
    table = lp.sweep(second, grid, path=path, workers=1)
    assert second.calls[0] == 3
    assert sorted(first.calls + second.calls)[:4] in ([1, 2, 3, 3], [1, 2, 3, 3, 4])
    pd.testing.assert_frame_equal(table, lp.sweep(Counted(), grid), check_exact=True)
    third = Counted()
    lp.sweep(third, grid, path=path)
    assert third.calls == []
    lp.sweep(third, grid, path=path, resume=False)
    assert sorted(third.calls) == [1, 2, 3, 4]


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_line_that_was_cut_off_is_computed_again(tmp_path, cut):
    path, grid = tmp_path / "table.csv", {"n": [1, 2, 3]}
    table = lp.sweep(Counted(), grid, path=path, workers=1)
    journal = tmp_path / "table.csv.journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    counted = Counted()
    again = lp.sweep(counted, grid, path=path)
    assert counted.calls == [3]
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert journal.read_bytes() == whole


def test_a_line_that_was_cut_off_leaves_nothing(tmp_path):
    path, journal = tmp_path / "table.csv", tmp_path / "table.csv.journal.jsonl"
    lp.sweep(Counted(bad=(2,)), {"n": [1, 2]}, path=path, errors="record")
    journal.write_bytes(journal.read_bytes() + b'{"row": 1, "results": {"result": "' + b"x" * 1000)
    lp.sweep(Counted(), {"n": [1, 2]}, path=path)
    assert [json.loads(line)["row"] for line in journal.read_text().splitlines()[1:]] == [0, 1]


class AtOnce(concurrent.futures.Executor):
    """Does calls when they are submitted."""

    def submit(self, function, /, *args, **kwargs):
        future = concurrent.futures.Future()
        try:
            future.set_result(function(*args, **kwargs))
        except ValueError as error:
            future.set_exception(error)
        return future


def test_what_is_finished_when_a_call_fails_is_kept(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(SweepError, match="failed at n=50"):
        lp.sweep(Counted(bad=(50,)), {"n": range(100)}, path=path, executor=AtOnce())
    counted = Counted()
    lp.sweep(counted, {"n": range(100)}, path=path)
    assert counted.calls == [50]


def test_what_has_not_begun_when_a_call_fails_does_not_begin():
    called, go_on = [], threading.Event()

    def wait(n):
        called.append(n)
        if n == 0:
            raise ValueError("first")
        go_on.wait(60)
        return n

    with pytest.raises(SweepError, match="failed at n=0"):
        lp.sweep(wait, {"n": range(10)}, workers=1)
    before = len(called)
    go_on.set()
    time.sleep(0.2)
    assert before <= 2
    assert len(called) <= 2


def test_a_journal_without_a_whole_line_is_begun_anew(tmp_path):
    (tmp_path / "table.csv.journal.jsonl").write_bytes(b'{"functi')
    counted = Counted()
    lp.sweep(counted, {"n": [1, 2]}, path=tmp_path / "table.csv")
    assert sorted(counted.calls) == [1, 2]


def of_unit(unit):
    return 1.0


def other(unit):
    return 1.0


@pytest.mark.parametrize(
    ("function", "values", "named"),
    [
        (other, [lp.units.tf32], 'function is "of_unit"; allowed: "other"'),
        (functools.partial(of_unit), [lp.units.tf32], 'function is "of_unit"; allowed: "of_unit()"'),
        (of_unit, [lp.units.bf16], 'parameters is {"unit": ["tf32"]}; allowed: {"unit": ["bf16"]}'),
        (of_unit, [lp.units.tf32, "bf16"], "parameters is"),
        (of_unit, [lp.MatrixUnit("half", name="tf32")], "definitions is"),
    ],
)
def test_the_journal_of_another_sweep_is_refused(tmp_path, function, values, named):
    path = tmp_path / "table.csv"
    lp.sweep(of_unit, {"unit": [lp.units.tf32]}, path=path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"is that of another sweep, whose .*resume=False") as caught:
        lp.sweep(function, {"unit": values}, path=path)
    assert named in str(caught.value)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


@pytest.mark.parametrize("line", [b"nonsense", b'{"row": "x"}', b"[1]", b'{"row": 1, "results": 3}', b"\xff"])
def test_a_damaged_journal_is_refused(tmp_path, line):
    path = tmp_path / "table.csv"
    lp.sweep(fail_at, {"n": [1, 2]}, path=path)
    journal = tmp_path / "table.csv.journal.jsonl"
    lines = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([lines[0], line, *lines[1:], b""]))
    with pytest.raises(ValueError, match=r"^line 2 of the journal .* is no row of a sweep"):
        lp.sweep(fail_at, {"n": [1, 2]}, path=path)


INTERRUPTED = """
import sys, time
import lpsim as lp
sys.path.insert(0, {folder!r})
from slowly import slowly
try:
    lp.sweep(slowly, {{"n": range(60)}}, path={path!r}, executor={executor!r}, workers=2)
except KeyboardInterrupt:
    print("interrupted")
"""

SLOWLY = """
import time
def slowly(n):
    time.sleep(30.0 if n >= 12 else 0.01)
    return n * 0.1
"""


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_an_interrupt_stops_promptly_and_loses_nothing(tmp_path, monkeypatch, executor):
    path = tmp_path / "table.csv"
    (tmp_path / "slowly.py").write_text(SLOWLY)
    script = tmp_path / "script.py"
    body = INTERRUPTED.format(folder=str(tmp_path), path=str(path), executor=executor)
    script.write_text("if __name__ == '__main__':\n" + "\n".join(f"    {line}" for line in body.splitlines()))
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "table.csv.journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") == 13):  # all calls that are not slow
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - start < 10
    assert process.returncode == 0, err
    assert out == "interrupted\n"
    assert err == ""
    assert not path.exists()
    assert journal.read_bytes().endswith(b"\n")
    assert sorted(json.loads(line)["row"] for line in journal.read_text().splitlines()[1:]) == [*range(12)]

    called = []

    def slowly(n):
        called.append(n)
        return n * 0.1

    slowly.__qualname__ = "slowly"
    table = lp.sweep(slowly, {"n": range(60)}, path=path)
    assert sorted(called) == [*range(12, 60)]
    assert table["result"].tolist() == [n * 0.1 for n in range(60)]


def test_a_failure_ends_a_sweep_and_its_processes():
    start = time.monotonic()
    with pytest.raises(SweepError, match="failed at n=1"):
        lp.sweep(fail_or_sleep, {"n": [0, 1]}, executor="processes", workers=2)
    assert time.monotonic() - start < 25


def fail_or_sleep(n):
    if n == 0:
        time.sleep(30)
    raise ValueError("now")


def test_failures_can_be_recorded(tmp_path):
    path, grid = tmp_path / "table.csv", {"n": [1, 2, 3]}
    table = lp.sweep(Counted(bad=(2,)), grid, path=path, errors="record")
    assert table["error"].isna().tolist() == [True, False, True]
    assert table["error"][1] == "ValueError: 2 is bad"
    assert table["result"].isna().tolist() == [False, True, False]
    counted = Counted()
    table = lp.sweep(counted, grid, path=path, errors="record")
    assert counted.calls == [2]  # a row that failed is not finished
    assert table["error"].isna().all()


def dying(n):
    import os

    os._exit(3)


def test_processes_that_die_are_no_results():
    with pytest.raises(concurrent.futures.BrokenExecutor):
        lp.sweep(dying, {"n": [1, 2]}, executor="processes", workers=1, errors="record")


def test_progress_goes_to_standard_error(capsys):
    lp.sweep(fail_at, {"n": [1, 2]}, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "100%" in captured.err


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"function": 3}, TypeError, "^function is 3; allowed: something to call"),
        ({"grid": [1]}, TypeError, "^grid is .1.; allowed: a mapping"),
        ({"grid": {}}, ValueError, "^grid is empty; allowed"),
        ({"grid": {1: [1]}}, ValueError, "^grid has a parameter 1; allowed: strings"),
        ({"grid": {"n": "tf32"}}, TypeError, r"^grid\['n'\] is 'tf32'; allowed: a list of values"),
        ({"grid": {"n": 3}}, TypeError, r"^grid\['n'\] is 3; allowed: a list of values"),
        ({"grid": {"n": []}}, ValueError, r"^grid\['n'\] is empty; allowed: a list"),
        ({"grid": {"n": [[1]]}}, TypeError, r"^n has the value \[1\]; allowed: numbers, strings"),
        ({"grid": {"n": [1, np.int8(1)]}}, ValueError, "^n has two values that are 1 in the table"),
        ({"grid": {"m": [1]}}, TypeError, r"^function is fail_at\(n, bad=\(\)\), which does not take the parameters m"),
        ({"seeds": [1]}, TypeError, "does not take the parameters n, seed"),
        ({"seeds": 5}, TypeError, r"^seeds is 5; allowed: a list of integers, such as range\(5\)"),
        ({"seeds": [0.5]}, TypeError, "^seeds holds 0.5; allowed: integers"),
        ({"seeds": [1], "grid": {"seed": [1]}}, ValueError, "^seeds is given, and grid has 'seed'"),
        ({"executor": "gpu"}, TypeError, "^executor is 'gpu'; allowed: 'threads', 'processes', an executor"),
        ({"executor": "processes", "function": lambda n: n}, TypeError, "cannot be sent to processes"),
        ({"workers": 0}, ValueError, "^workers is 0; allowed: an integer from 1 on"),
        ({"errors": "ignore"}, ValueError, "^errors is 'ignore'; allowed: 'raise' and 'record'"),
        ({"resume": 1}, TypeError, "^resume is 1; allowed: True or False"),
        ({"progress": "bar"}, TypeError, "^progress is 'bar'; allowed: True or False"),
        ({"path": 3}, TypeError, "^path is 3; allowed: a string, a path or None"),
        ({"path": "table.xlsx"}, ValueError, "^path is 'table.xlsx'; allowed: names that end in .csv or .parquet"),
        ({"path": "nowhere/x.csv"}, ValueError, "^path is 'nowhere/x.csv'; allowed: a file in a folder that exists"),
        ({"path": "x.parquet", "grid": {"n": [1, "a"]}}, ValueError, "^n has values of several kinds"),
        ({"function": lambda n: [1]}, SweepError, r"failed at n=1: TypeError: result is \[1\]; allowed: a number"),
        ({"function": lambda n: {"error": 1}, "errors": "record"}, ValueError, "^errors is 'record', whose column"),
        ({"function": lambda n: {"n": 1}}, SweepError, "failed at n=1: ValueError: a result is named 'n'; allowed"),
    ],
)
def test_bad_arguments_are_named(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    given = {"function": fail_at, "grid": {"n": [1, 2]}, "workers": 1} | arguments
    with pytest.raises(error, match=message):
        lp.sweep(given.pop("function"), given.pop("grid"), **given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_the_extra_is_named(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"install it with: pip install 'lpsim\[sweep\]'"):
        lp.sweep(fail_at, {"n": [1]}, path=tmp_path / "x.parquet")
