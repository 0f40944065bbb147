"""``lpsim bench``, on tiny arrays, and what it measures with."""

import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from commands import run, run_json

import lpsim as lp
from lpsim.cli import headlines, machine, peers
from lpsim.cli.bench import rows
from lpsim.cli.headlines import Result
from lpsim.cli.timing import best_times, numbers, one_thread_environment, ratio

SHRINK = ("--shrink", "64")


@pytest.fixture(autouse=True)
def only_numpy(monkeypatch):
    monkeypatch.setattr(headlines, "installed_peers", lambda: [peers.PEERS[0]])


@pytest.fixture
def short(monkeypatch):
    """The first comparison of each group only, measured in this process."""

    def measured(quick, seconds, shrink, one_thread):
        for group in ("round", "arithmetic", "matmul", "peers"):
            first = next(one for one in headlines.headlines(quick) if one.group == group)
            yield headlines.measure(first, 0.0, shrink)

    monkeypatch.setattr(headlines, "run", measured)


def test_it_prints_every_headline_on_one_thread_and_on_all(short, monkeypatch):
    monkeypatch.setattr(machine.numba.config, "NUMBA_NUM_THREADS", 3)
    text = run("bench", "--quick", *SHRINK).stdout
    assert f"lpsim {lp.__version__}" in text
    assert "1 thread" in text
    assert "3 threads" in text
    lines = [line.split("  ")[0] for line in text.splitlines()]
    for name in ("round to half, 10^6", "add in half, 10^6", "tf32, n = 1024", "round to float16, 10^6"):
        assert name in lines


def test_json_has_the_machine_and_every_ratio(short):
    found = run_json("bench", *SHRINK)
    assert found["versions"]["NumPy"] == np.__version__
    assert found["processor"]
    assert {one["threads"] for one in found["results"]} == {1, found["threads"]}
    for one in found["results"]:
        assert one["ratio"] == one["lpsim"] / one["other"] > 0
        assert (one["gflops"] is not None) == ("n = " in one["name"])


def test_the_process_that_measures_takes_all_of_the_short_list(monkeypatch):
    monkeypatch.undo()  # the process knows the peers that are installed
    expected = headlines.headlines(quick=True)
    found = list(headlines.run(True, 0.0, 64, one_thread=True))
    assert [(one.name, one.against) for one in found] == [(one.name, one.against) for one in expected]
    assert all(one.lpsim > 0 and one.other > 0 for one in found)


def test_a_process_that_fails_is_no_result(monkeypatch):
    monkeypatch.setattr(headlines.sys, "executable", "false")
    with pytest.raises(RuntimeError, match="ended with 1"):
        list(headlines.run(True, 0.0, 64, one_thread=True))


def test_headlines_are_what_they_should_be():
    quick, all_ = headlines.headlines(True), headlines.headlines(False)
    names = [(one.name, one.against) for one in all_]
    assert len(set(names)) == len(names)
    assert [name for name in ((one.name, one.against) for one in quick) if name not in names] == []
    assert {one.against for one in quick} == {
        "memcpy", "np.add, float32", "sgemm", "NumPy's float16 product", "NumPy"
    }  # fmt: skip


def test_rows_join_results_and_drop_those_of_one_side():
    one, two = (Result("round", name, "memcpy", 2.0, 1.0, None) for name in "ab")
    assert list(rows({1: [one, two], 2: [one]})) == [(one, one)]


# Measuring


def test_the_shortest_time_counts_and_the_first_call_does_not(monkeypatch):
    clock, durations = [0.0], {"a": iter([9, 3, 1, 2]), "b": iter([9, 4, 8, 5])}
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def call(name):
        clock[0] += next(durations[name])

    assert best_times([lambda: call("a"), lambda: call("b")], rounds=2) == [1, 4]


def test_time_is_bounded():
    calls = []
    best_times([lambda: calls.append(1)], rounds=10**9, seconds=0.0)
    assert len(calls) == 2
    assert math.isfinite(ratio(lambda: None, lambda: None, rounds=1))


def test_numbers_are_alike_at_every_size():
    x = numbers(1_500_000)
    assert x.dtype == np.float32
    assert np.array_equal(x[:500_000], x[1_000_000:])
    assert 100 > np.abs(x).max() > 16
    assert numbers(3, np.float64).shape == (3,)


def test_one_thread_is_one_thread():
    code = "import lpsim, numba; print(numba.get_num_threads())"
    result = subprocess.run(
        [sys.executable, "-c", code], env=one_thread_environment(), capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "1"


def test_the_machine_in_a_sentence():
    found = {"date": "2026-01-02", "processor": "a chip", "threads": 2, "load": None}
    found |= {"versions": {"lpsim": "1"}, "peers": {"gfloat": "2"}}
    assert machine.sentence(found) == "2026-01-02, a chip, 2 threads; lpsim 1, gfloat 2"
    assert json.dumps(machine.facts())
    assert not machine.is_busy(found)
    assert not machine.is_busy({**found, "load": 1.0})
    assert machine.is_busy({**found, "load": 1.1})


# Peers


CASES = [
    pytest.param(peer, operation, fmt, id=f"{peer.name}-{operation}-{fmt}")
    for peer in peers.PEERS
    for operation in ("round", *peer.operations)
    for fmt in peer.formats
    if peer.can(operation, fmt)
]


@pytest.mark.parametrize(("peer", "operation", "fmt"), CASES)
def test_a_peer_computes_the_same_as_lpsim(peer, operation, fmt):
    if not peer.is_installed:
        pytest.skip(f"{peer.name} is not installed")
    x = numbers(400)
    if operation == "round":
        operands, expected = [x], lp.round(x, fmt)
    elif operation == "matmul":  # exact in any order
        operands = [np.rint(x[:16]).reshape(4, 4) % 2] * 2
        expected = operands[0] @ operands[1]
    else:
        operands = [lp.round(x, fmt), lp.round(np.roll(x, 1), fmt)]
        expected = getattr(lp, operation)(*operands, fmt)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = np.asarray(peer.values(peer.call(operation, fmt, *operands)()), np.float32)
    np.testing.assert_array_equal(found, expected)
    assert peer.version


def test_peers_have_no_arithmetic_in_formats_for_storage():
    by_name = {peer.name: peer for peer in peers.PEERS}
    assert not by_name["ml_dtypes"].can("add", "float8_e5m2")
    assert not by_name["gfloat"].can("matmul", "float16")
    assert by_name["gfloat"].can("add", "float8_e5m2")
    assert not by_name["NumPy"].can("round", "bfloat16")
