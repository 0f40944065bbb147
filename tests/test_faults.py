"""Interrupts, ends from outside, killed workers, full disks and readers that leave: injected into real processes.

Each ends the process with its exit code and one line, leaves no process and no part of a file, and the old file as it
was.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from encoders import write_encoder

import lpsim as lp
from lpsim.workers import processes

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's list of processes")

HERE = Path(__file__).parent

#: Seconds after which something hangs.
PATIENCE = 60


def environment(**more):
    own = {"PYTHONPATH": str(Path(lp.__file__).parents[1]), "NUMBA_NUM_THREADS": "2"}
    # With buffers, as usual, of which something is left at the end.
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}, **own, **more}


@pytest.fixture
def folder(tmp_path):
    """A folder with inputs, and an old file for every output."""
    for name in ("in.npy", "a.npy"):
        np.save(tmp_path / name, np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64))
    for name in ("out.npz", "out.safetensors", "out.npy", "out.json", "out.png", "out.html"):
        (tmp_path / name).write_text("old")
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class Command:
    """``tests/faulty.py`` in a process, in the folder ``work`` beside the one where its marks are."""

    def __init__(self, folder, *arguments, work=None, compiled=False, marks=None):
        self.marks = marks or folder.parent / f"{folder.name}-marks"
        self.marks.mkdir()
        self.before = contents(folder)
        self.folder = folder
        more = {"LPSIM_MARK": str(self.marks / "mark")}
        more |= {"LPSIM_WORK": work} if work else {}
        more |= {"LPSIM_COMPILED": "1"} if compiled else {}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "faulty.py"), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment(**more),
            start_new_session=True,  # a group of its own, to which Ctrl-C goes
        )

    def workers(self):
        """Processes that have come to the work."""
        return [int(path.suffix[1:]) for path in self.marks.iterdir()]

    def wait_for(self, reached):
        until = time.monotonic() + PATIENCE
        while not reached():
            if self.process.poll() is not None:
                pytest.fail(f"it ended with {self.process.returncode}: {self.process.communicate()}")
            assert time.monotonic() < until
            time.sleep(0.02)

    def end(self, number, whom=None):
        """Send a signal: Ctrl-C to all processes, others to one. Return the code, and what was printed."""
        self.wait_for(self.workers)
        everyone = [self.process.pid, *descendants(self.process.pid)]
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            os.kill(whom or self.process.pid, number)
        out, err = self.process.communicate(timeout=PATIENCE)
        until = time.monotonic() + PATIENCE
        while left := [pid for pid in everyone if lives(pid)]:
            assert time.monotonic() < until, left
            time.sleep(0.02)
        return self.process.returncode, out, err

    def left_as_it_was(self):
        return contents(self.folder) == self.before


def stat(pid):
    """Return the state and the parent of a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "X", "0"


def lives(pid):
    return stat(pid)[0] not in "XZ"


def descendants(pid):
    parents = {int(path.name): int(stat(path.name)[1]) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


QUANTIZE = ("quantize", "in.npy", "--scheme", "nf4", "--out", "out.npz")
MATMUL = ("matmul", "in.npy", "a.npy", "--out", "out.npy")
VERIFY = ("verify", "e2m1fn", "--op", "add", "--json", "out.json")
CODES = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated"),
         signal.SIGHUP: (129, "the terminal is closed")}  # fmt: skip

#: Commands, and the function in which the signal finds them: at work, or with the new file written and not yet named.
AT_WORK = {
    "quantize at work": (QUANTIZE, "lpsim.cli.quantize._quantized"),
    "quantize writing": ((*QUANTIZE[:-1], "out.safetensors"), "lpsim.files._sync"),
    "matmul at work": (MATMUL, "lpsim.cli.multiply.multiply"),
    "matmul writing": (MATMUL, "lpsim.files._sync"),
    "quantize-model": (
        ("quantize-model", "--model", "model", "--scheme", "int8", "--unit", "bf16", "--plot", "out.png"),
        "lpsim.cli.quantize_model._outcome",
    ),
    "explore writing": (("explore", "--output", "out.html"), "lpsim.files._sync"),
    "bench": (("bench", "--quick", "--shrink", "1000"), "lpsim.cli.headlines.Result"),
}


@pytest.mark.parametrize("case", AT_WORK)
def test_ctrl_c_ends_a_command(folder, case):
    arguments, work = AT_WORK[case]
    if "model" in arguments:
        (folder / "model").mkdir()
        write_encoder(folder / "model")
    command = Command(folder, *arguments, work=work)
    code, out, err = command.end(signal.SIGINT)
    assert (code, out, err) == (130, "", "lpsim: interrupted\n")
    assert command.left_as_it_was()


@pytest.mark.parametrize(
    ("work", "number"),
    [("lpsim.cli.quantize._quantized", signal.SIGINT), ("lpsim.files._sync", signal.SIGTERM)],
)
def test_a_command_ends_while_compiled_code_is_at_work(folder, work, number):
    # Its main thread does not return to Python, so that no handler of it is called.
    command = Command(folder, *QUANTIZE, work=work, compiled=True)
    code, said = CODES[number]
    assert command.end(number) == (code, "", f"lpsim: {said}\n")
    assert command.left_as_it_was()


@pytest.mark.parametrize(
    ("number", "work"), [(signal.SIGTERM, "lpsim.files._sync"), (signal.SIGHUP, "lpsim.cli.quantize._quantized")]
)
def test_an_end_from_outside_leaves_nothing(folder, number, work):
    command = Command(folder, *QUANTIZE, work=work)
    code, said = CODES[number]
    assert command.end(number) == (code, "", f"lpsim: {said}\n")
    assert command.left_as_it_was()


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)])
def test_verify_ends_with_its_processes(folder, number, jobs):
    command = Command(folder, *VERIFY, "--jobs", jobs, work="lpsim.testing.verification._compare_row")
    code, out, err = command.end(number)
    assert code == CODES[number][0]
    # What was compared until an interrupt is printed, and not written: it is no proof.
    assert (out + err).count(CODES[number][1]) == 1
    assert out == "" if number == signal.SIGTERM else err in ("", "lpsim: interrupted\n")
    assert command.left_as_it_was()


def rows(folder):
    journal = folder / "table.csv.journal.jsonl"
    return [json.loads(line) for line in journal.read_bytes().splitlines()[1:]] if journal.exists() else []


def sweep(folder, executor):
    """Start a sweep, of which the first two rows are done and two are at work."""
    (folder / "table.csv").write_text("old")
    command = Command(folder, "sweep", executor, "table.csv")
    command.wait_for(lambda: len(rows(folder)) == 2 and len(command.workers()) == (2 if executor == "processes" else 1))
    return command


def goes_on(folder):
    """Whether a sweep has what was finished, and nothing else, and goes on from there."""
    names = {path.name for path in folder.iterdir()} - {"table.csv", "table.csv.journal.jsonl"}
    old = (folder / "table.csv").read_text() == "old" and not any(name.startswith(".") for name in names)
    called = []

    def slowly(n):
        called.append(n)
        return n

    slowly.__qualname__ = "slowly"
    table = lp.sweep(slowly, {"n": range(4)}, path=folder / "table.csv")
    return old and sorted(called) == [2, 3] and table["result"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("executor", "number"), [("threads", signal.SIGINT), ("processes", signal.SIGINT), ("processes", signal.SIGTERM)]
)
def test_a_sweep_ends_with_its_workers_and_goes_on_later(folder, executor, number):
    command = sweep(folder, executor)
    code, said = CODES[number]
    assert command.end(number) == (code, "", f"sweep: {said}\n")
    assert goes_on(folder)


def test_a_killed_worker_ends_a_sweep_which_goes_on_later(folder):
    command = sweep(folder, "processes")
    code, out, err = command.end(signal.SIGKILL, command.workers()[0])
    assert (code, out) == (1, "")
    assert err == (
        "sweep: one of 2 processes ended before its work was done: it was killed, perhaps for want of memory; "
        "2 of 4 rows are kept in table.csv.journal.jsonl, and the same call goes on from there\n"
    )
    assert goes_on(folder)


def test_a_killed_worker_ends_a_verification(folder):
    command = Command(folder, *VERIFY, "--jobs", 2, work="lpsim.testing.verification._compare_row")
    command.wait_for(command.workers)
    code, out, err = command.end(signal.SIGKILL, command.workers()[0])
    assert (code, out) == (1, "")
    assert err == (
        "lpsim: one of 2 processes ended before its work was done: it was killed, perhaps for want of memory\n"
    )
    assert command.left_as_it_was()


def test_ctrl_c_does_not_reach_workers():
    # From the very start, when the interpreter would print where it was.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with processes(1) as pool:
        assert signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result(PATIENCE)
        assert pool.submit(signal.getsignal, signal.SIGINT).result(PATIENCE) == signal.SIG_IGN
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_the_end_of_one_pool_is_not_that_of_another():
    def failing():
        with processes(1) as pool:
            assert pool.submit(abs, -1).result(PATIENCE) == 1
            raise ZeroDivisionError

    with processes(1) as other:
        assert other.submit(abs, -2).result(PATIENCE) == 2
        with pytest.raises(ZeroDivisionError):
            failing()
        assert other.submit(abs, -3).result(PATIENCE) == 3


def test_workers_end_with_a_process_that_is_killed(folder):
    command = sweep(folder, "processes")
    assert command.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert goes_on(folder)


# A full disk.


def written_to(folder, kind):
    result = subprocess.run(
        [sys.executable, str(HERE / "full_disk.py"), str(folder), kind],
        capture_output=True, text=True, check=False, timeout=2 * PATIENCE, env=environment(),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    return written_to(tmp_path_factory.mktemp("limited"), "limit")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "lpsim-test", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield written_to(folder, "fill")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


COMMANDS = {
    "product.npy": "--out", "figure.png": "--plot", "figure.svg": "--plot", "arrays.npz": "--out",
    "arrays.safetensors": "--out", "report.json": "--json", "page.html": "--output",
}  # fmt: skip
LIBRARY = (
    "text.txt", "quantized.npz", "quantized.safetensors", "table.csv", "table.parquet", "of_journal.csv.journal.jsonl",
)  # fmt: skip


@pytest.mark.parametrize(("disk", "reason"), [("limited", errno.EFBIG), ("filled", errno.ENOSPC)])
@pytest.mark.parametrize("name", [*COMMANDS, *LIBRARY])
def test_a_full_disk(request, disk, reason, name):
    found = request.getfixturevalue(disk)[name]
    assert found["large"]
    assert found["same"]
    assert found["left"] == []
    if name in COMMANDS:
        assert found["code"] == 1
        said = f"lpsim: {COMMANDS[name]} is {name!r}, which cannot be written: {os.strerror(reason)}\n"
        assert found["said"] == said
    else:
        assert found["code"] == reason
        assert found["said"] == f"[Errno {reason}] {os.strerror(reason)}: {name!r}"


# The standard output.


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "lpsim", *arguments],
        stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE, env=environment(), **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["formats"], 141), (["formats", "--json"], 141), (["--help"], 1)],  # help is printed by Typer
)
def test_a_reader_that_leaves_is_no_error(arguments, code):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as file:
        result = run(*arguments, stdout=file)
    assert (result.returncode, result.stderr) == (code, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_does_not_fit():
    with open("/dev/full", "wb") as file:
        result = run("formats", stdout=file)
    assert (result.returncode, result.stderr) == (1, "lpsim: [Errno 28] No space left on device\n")


def test_a_signal_that_comes_in_a_callback_of_the_compiler_comes_again():
    """Exceptions there vanish, with a complaint."""
    code = (
        "import os, signal\n"
        "from lpsim.cli.ending import run\n"
        "def main():\n"
        "    names = {'os': os, 'signal': signal}\n"
        "    source = 'def _raw_object_cache_notify():\\n os.kill(os.getpid(), signal.SIGTERM)\\n return 1'\n"
        "    exec(compile(source, 'llvmlite/binding/executionengine.py', 'exec'), names)\n"
        "    print(names['_raw_object_cache_notify'](), flush=True)\n"
        "    while True:\n"
        "        pass\n"
        "run(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment(), timeout=PATIENCE
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "1\n", "lpsim: terminated\n")
