"""Plant faults in a copy of lpsim, one at a time, and see that the tests catch each.

``python tools/mutation_check.py`` copies the checkout to a temporary folder, runs the chosen tests on the
unchanged copy, which must pass, and then on a copy with each fault, up to the first test that fails. A fault is a
replacement of a text that occurs exactly once in its file, so that it cannot rot unnoticed. A faulty copy must
import, compile and compute: one that does not is broken rather than caught. Exits with 0 only if every fault is caught.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: What is run against every fault, fastest first: a part of the suite, for the time that the whole takes.
TESTS = (
    "tests/test_formats.py",
    "tests/test_codec.py",
    "tests/test_core.py",
    "tests/test_peer_defects.py",
    "tests/test_random.py",
    "tests/test_arrays.py",
    "tests/test_shortcuts.py",
    "tests/test_matmul.py",
    "tests/test_flags.py",
    "tests/test_exhaustive.py::test_every_code_of_every_small_format",
    "tests/test_exhaustive.py::test_all_pairs_of_tiny_formats",
    "tests/test_exhaustive.py::test_rounding_between_all_codes_of_every_small_format",
    "tests/test_kernels.py",
    "tests/test_units.py",
    "tests/test_steps.py",
)

#: Seconds for the tests on one copy; many times what they need.
_TIMEOUT = 1800

#: Errors of a faulty copy that is no program any more, as pytest shows them.
_BROKEN = re.compile(
    r"^E\s.*(numba\.core\.errors\.|(Syntax|Indentation|Import|ModuleNotFound|Name|UnboundLocal)Error\b)", re.MULTILINE
)


@dataclass(frozen=True)
class Fault:
    """A replacement of one text in one file; ``first`` names tests to run before the others."""

    name: str
    file: str
    old: str
    new: str
    first: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of the tests on one copy: ``"passed"``, ``"failed"`` or ``"broken"``, and where or why."""

    status: str
    detail: str = ""
    seconds: float = 0.0


FAULTS = (
    Fault(
        "ties go to the odd neighbour",
        "lpsim/core/rounding.py",
        "(f.tie_even & odd) + f.tie_away",
        "(f.tie_even & (odd ^ np.int64(1))) + f.tie_away",
    ),
    Fault(
        "ties away are ties to even",
        "lpsim/parameters.py",
        "tie_even=int(rounding == Rounding.TIES_TO_EVEN),\n        tie_away=int(rounding == Rounding.TIES_TO_AWAY),",
        "tie_even=int(rounding in (Rounding.TIES_TO_EVEN, Rounding.TIES_TO_AWAY)),\n        tie_away=0,",
    ),
    Fault(
        "sums are rounded to binary64 first",
        "lpsim/core/exact.py",
        "return head, rest, _ONE, _ZERO, _ZERO, e, special",
        "return head, _ZERO, _ONE, _ZERO, _ZERO, e, special",
    ),
    Fault(
        "products are rounded to binary64 first",
        "lpsim/core/exact.py",
        "rest = fma(mx, my, -head)",
        "rest = _ZERO",
    ),
    Fault(
        "quotients are rounded to binary64 first",
        "lpsim/core/exact.py",
        "rest = fma(-head, divisor, numerator)",
        "rest = _ZERO",
    ),
    Fault(
        "square roots are rounded to binary64 first",
        "lpsim/core/exact.py",
        "rest = fma(-head, head, m)",
        "rest = _ZERO",
    ),
    Fault(
        "fused multiply-adds are rounded to binary64 first",
        "lpsim/core/exact.py",
        "return head, rest, _ONE, tail,",
        "return head, _ZERO, _ONE, _ZERO,",
    ),
    Fault(
        "the tail of a fused multiply-add is lost",
        "lpsim/core/rounding.py",
        "(tail == _ZERO) & (root == _ZERO)",
        "(root == _ZERO)",
    ),
    Fault(
        "the sign of the residual is ignored",
        "lpsim/core/rounding.py",
        "beyond = -remainder if negative else remainder",
        "beyond = abs(remainder)",
    ),
    Fault(
        "the spacing of subnormals is off by one binade",
        "lpsim/parameters.py",
        "tiny_quantum=fmt.quantum_exponent if",
        "tiny_quantum=fmt.quantum_exponent + 1 if",
    ),
    Fault(
        "overflow begins half a unit in the last place early",
        "lpsim/core/rounding.py",
        "over = magnitude > (",
        "over = max(magnitude, abs(plain)) > (",
    ),
    Fault(
        "overflow begins a unit in the last place late",
        "lpsim/parameters.py",
        "max_positive=fmt.max,",
        "max_positive=fmt.max * (1 + fmt.eps),",
    ),
    Fault(
        "finite saturation takes infinities as well",
        "lpsim/parameters.py",
        "infinite = fmt.max if overflow == Overflow.SATURATE else",
        "infinite = fmt.max if saturates else",
    ),
    Fault(
        "the sign of a result that rounds to zero is lost",
        "lpsim/core/rounding.py",
        "signed = zero if magnitude",
        "signed = f.zero_positive if magnitude",
    ),
    Fault(
        "a sum that cancels is +0 in every mode",
        "lpsim/core/exact.py",
        "return (negative_x | negative_y) if f.toward_negative else (negative_x & negative_y)",
        "return negative_x & negative_y",
        "tests/test_matmul.py",
    ),
    Fault(
        "the sign of zero is not encoded",
        "lpsim/core/codes.py",
        "code |= (is_negative(value) & f.signed)",
        "code |= (np.int64(value < _ZERO) & f.signed)",
        "tests/test_exhaustive.py::test_every_code_of_every_small_format",
    ),
    Fault(
        "a NaN code is taken for a number",
        "lpsim/core/codes.py",
        "return np.float64(np.nan) if nan else value",
        "return value",
        "tests/test_exhaustive.py::test_every_code_of_every_small_format",
    ),
    Fault(
        "directed modes go by magnitude",
        "lpsim/parameters.py",
        "up_negative=int(up_negative)",
        "up_negative=int(up_positive)",
    ),
    Fault(
        "stochastic rounding goes up one integer too early",
        "lpsim/core/rounding.py",
        "up = (threshold + word) >> f.random_bits",
        "up = (threshold + word + np.int64(1)) >> f.random_bits",
    ),
    Fault(
        "the discarded fraction of a quotient is rounded, not cut",
        "lpsim/core/rounding.py",
        "np.int64((whole == scaled) & (missed < _ZERO))",
        "np.int64(0)",
    ),
    Fault(
        "INEXACT is raised for values of the format",
        "lpsim/core/rounding.py",
        "inexact = (extended & below_one) != 0",
        "inexact = extended != 0",
    ),
    Fault(
        "INEXACT is lost where little is discarded",
        "lpsim/core/rounding.py",
        "inexact = (extended & below_one) != 0",
        "inexact = (extended & below_one) > 1",
    ),
    Fault(
        "INEXACT is lost beyond the carrier in stochastic modes",
        "lpsim/core/rounding.py",
        "inexact = (discarded != 0) | (beyond != _ZERO)",
        "inexact = discarded != 0",
    ),
    Fault(
        "0 / 0 raises DIVIDE_BY_ZERO",
        "lpsim/core/exact.py",
        "by_zero & is_finite(x) & (x != _ZERO)",
        "by_zero & is_finite(x)",
    ),
    Fault(
        "tininess is always detected before rounding",
        "lpsim/core/rounding.py",
        "(reaches_normal & (f.tiny_before == 0))",
        "(reaches_normal & (f.tiny_before > 1))",
    ),
    Fault(
        "formats without significand bits break ties by the significand",
        "lpsim/core/rounding.py",
        "return (field_parity if f.mantissa_bits == 0 else truncated) & np.int64(1)",
        "return truncated & np.int64(1)",
    ),
    Fault(
        "E4M3FN's last value is taken for its NaN",
        "lpsim/formats.py",
        'reserved = int(self.specials == "fn")',
        'reserved = 2 * int(self.specials == "fn")',
    ),
    Fault(
        "E4M3FN's NaN is taken for its last value",
        "lpsim/formats.py",
        'reserved = int(self.specials == "fn")',
        "reserved = 0",
    ),
    Fault(
        "every chunk of an array has the same random words",
        "lpsim/cpu/elementwise.py",
        "word_at(key, start + i)",
        "word_at(key, i)",
        "tests/test_arrays.py",
    ),
    Fault(
        "a matrix product forgets its start values",
        "lpsim/operands.py",
        'self._rounded(c, fmt, "c", unit.total_rounding,',
        'self._rounded(0 * c, fmt, "c", unit.total_rounding,',
        "tests/test_units.py tests/test_matmul.py",
    ),
    Fault(
        "a matrix product runs over k backwards",
        "lpsim/core/sums.py",
        "_chain(row, b, (first, last, 1), acc,",
        "_chain(row, b, (last - 1, first - 1, -1), acc,",
        "tests/test_units.py",
    ),
    Fault(
        "a matrix product in binary64 runs over k backwards",
        "lpsim/cpu/matmul.py",
        "for k in range(a.shape[1]):",
        "for k in range(a.shape[1] - 1, -1, -1):",
        "tests/test_matmul.py",
    ),
    Fault(
        "a step's sum has the random word of its product",
        "lpsim/core/sums.py",
        "_fma_to(acc, factor, terms, keys, 2 * k + 1,",
        "_fma_to(acc, factor, terms, keys, 2 * k,",
        "tests/test_units.py",
    ),
    Fault(
        "a tile of the FP32 product multiplies, then adds",
        "lpsim/cpu/tile.py",
        "added = [builder.call(fma, [factors[i], terms[j], total]) for",
        "added = [builder.fadd(builder.fmul(factors[i], terms[j]), total) for",
        "tests/test_gemm.py tests/test_matmul.py",
    ),
    Fault(
        "vectors of steps do not see what overflows",
        "lpsim/cpu/steps.py",
        "done &= sums[r, j] - sums[r, j] == 0",
        "done &= sums[r, j] == sums[r, j]",
        "tests/test_steps.py",
    ),
    Fault(
        "an accumulator lost beside a tie is not missed",
        "lpsim/core/steps.py",
        "return nudged if (x - term == 0) & (accumulator != 0) else x",
        "return x",
        "tests/test_steps.py",
    ),
    Fault(
        "fused dots keep one bit more",
        "lpsim/dots.py",
        "        fraction_bits=dot.fraction_bits or 0,\n        zero_exponent=dot.zero_exponent,\n        chunk=",
        "        fraction_bits=(dot.fraction_bits or 0) + 1,\n        zero_exponent=dot.zero_exponent,\n        chunk=",
        "tests/test_units.py",
    ),
    Fault(
        "aligned terms are rounded down, not toward zero",
        "lpsim/core/dot.py",
        "    right = -right if n < 0 else right\n",
        "    right = -right - 1 if n < 0 else right\n",
        "tests/test_units.py",
    ),
    Fault(
        "subnormal inputs are normalised before alignment",
        "lpsim/core/dot.py",
        "exponent = max(e, np.int64(emin))",
        "exponent = e",
        "tests/test_units.py",
    ),
    Fault(
        "truncating units saturate",
        "lpsim/cpu/fused.py",
        "return np.copysign(np.inf, value) if abs(rounded) > f.c_max else rounded",
        "return np.copysign(f.c_max, value) if abs(rounded) > f.c_max else rounded",
        "tests/test_units.py",
    ),
    Fault(
        "dealt terms go to consecutive dots",
        "lpsim/dots.py",
        "places = d * run + t // run * (dots * run) + t % run",
        "places = d * dot.terms + t",
        "tests/test_units.py",
    ),
    Fault(
        "results below 2**emin are not flushed before rounding",
        "lpsim/core/sums.py",
        "tiny = subnormal | ((flush > 0) & ((flags & _UNDERFLOW) != 0))",
        "tiny = subnormal",
        "tests/test_units.py",
    ),
    Fault(
        "sums in the short way are truncated, not rounded to odd",
        "lpsim/core/results.py",
        "np.int64(truncated | np.int64(1) if abs(error) > 0 else bits)",
        "np.int64(truncated if abs(error) > 0 else bits)",
        "tests/test_shortcuts.py",
    ),
    Fault(
        "directed modes in the short way move values of the format",
        "lpsim/core/short.py",
        "difference < -(down * place)",
        "difference <= -(down * place)",
        "tests/test_shortcuts.py",
    ),
    Fault(
        "stochastic rounding in the short way goes up one integer too late",
        "lpsim/core/short.py",
        "(discarded >= needed * place)",
        "(discarded > needed * place)",
        "tests/test_shortcuts.py",
    ),
    Fault(
        "the short way encodes no negative zero",
        "lpsim/core/short.py",
        "code = integer(code | f.sign_code) if negative else code",
        "code = integer(code | f.sign_code) if negative & (magnitude > 0) else code",
        "tests/test_shortcuts.py",
    ),
)


def plant(fault: Fault, root: Path) -> None:
    """Write a fault into a copy; a ValueError if its text does not occur exactly once."""
    path = root / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise ValueError(
            f"{fault.name!r}: its text occurs {text.count(fault.old)} times in {fault.file}; allowed: once"
        )
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")


def copy_checkout(target: Path) -> None:
    """Copy what the tests need."""
    for name in ("lpsim", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)


def judge(returncode: int, output: str) -> Outcome:
    """Return the outcome of a run of pytest."""
    if returncode == 0:
        return Outcome("passed")
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", output, re.MULTILINE)
    broken = _BROKEN.search(output)
    if returncode != 1 or broken or not failed:
        lines = output.strip().splitlines() or ["no output"]
        return Outcome(
            "broken", broken.group().lstrip("E ") if broken else f"pytest ended with {returncode}: {lines[-1]}"
        )
    return Outcome("failed", failed.group(1))


def run_tests(root: Path, tests: Iterable[str], workers: int = 0) -> Outcome:
    """Run tests on a copy, up to the first failure."""
    started = time.perf_counter()
    # Kernels are cached by the path and the content of their sources, and with the copy they go.
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(root / "numba"),
    }
    alive = "import lpsim; print(lpsim.__file__); lpsim.round(1.5, 'half')"
    options = ["-x", "-n", str(workers), "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    options += ["--hypothesis-profile=first-failure"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=root,
            env=environment,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=_TIMEOUT,
        )

    try:
        trial = run("-c", alive)
        if trial.returncode != 0:
            outcome = Outcome("broken", trial.stdout.strip().splitlines()[-1])
        elif not Path(trial.stdout.splitlines()[0]).is_relative_to(root):
            outcome = Outcome("broken", f"another lpsim is imported: {trial.stdout.strip()}")
        else:
            result = run("-m", "pytest", *options, *dict.fromkeys(tests))
            outcome = judge(result.returncode, result.stdout)
    except subprocess.TimeoutExpired:
        outcome = Outcome("broken", f"no end within {_TIMEOUT} s")
    return Outcome(outcome.status, outcome.detail, time.perf_counter() - started)


def check(fault: Fault, folder: Path) -> Outcome:
    """Plant a fault in a new copy in ``folder`` and run the tests on it."""
    root = Path(tempfile.mkdtemp(dir=folder)).resolve()
    copy_checkout(root)
    plant(fault, root)
    outcome = run_tests(root, [*fault.first.split(), *TESTS])
    shutil.rmtree(root)
    return outcome


def report(fault: Fault, outcome: Outcome) -> str:
    """Return the row of a fault in the table."""
    caught = {"passed": "SURVIVES", "broken": f"BROKEN: {outcome.detail}", "failed": outcome.detail}[outcome.status]
    width = max(len(fault.name) for fault in FAULTS)
    return f"{fault.name:{width}}  {outcome.seconds:5.0f} s  {caught}"


def main(arguments: list[str] | None = None) -> int:
    """Run the check and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", default="", help="only faults whose name contains NAME")
    parser.add_argument("--list", action="store_true", help="name the faults and stop")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="run so many copies at a time (default: 1)")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only in fault.name]
    if not faults:
        parser.error(f"--only is {options.only!r}; allowed: a part of a name that --list shows")
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}; allowed: at least 1")
    if options.list:
        print(*(fault.name for fault in faults), sep="\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="lpsim-faults-") as name:
        folder = Path(name).resolve()
        unchanged = folder / "unchanged"
        unchanged.mkdir()
        copy_checkout(unchanged)
        outcome = run_tests(unchanged, TESTS, workers=options.jobs if options.jobs > 1 else 0)
        print(f"The unchanged copy {outcome.status} in {outcome.seconds:.0f} s. {outcome.detail}".rstrip(), flush=True)
        if outcome.status != "passed":
            return 1
        caught = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            pending = {pool.submit(check, fault, folder): fault for fault in faults}
            for future in as_completed(pending):
                outcome = future.result()
                caught += outcome.status == "failed"
                print(report(pending[future], outcome), flush=True)
    print(f"{caught} of {len(faults)} caught")
    return 0 if caught == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
