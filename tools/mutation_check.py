"""Plant faults in a copy of lpsim, one at a time, and see that the tests catch each.

``python tools/mutation_check.py`` copies the checkout to a temporary folder, runs the chosen tests on the
unchanged copy, which must pass, and then on the copy with each fault, which must fail. A fault is a replacement of
a text that occurs exactly once in its file, so that it cannot rot unnoticed; and a faulty copy must still import,
compile and round a number, so that a mere syntax error does not count. Exits with 1 if a fault survives.
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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """A replacement of one text in one file, and the tests that are run on it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ("tests/test_core.py", "tests/test_kernels.py", "tests/test_peer_defects.py")


FAULTS = (
    Fault(
        "ties go to the odd neighbour",
        "lpsim/core/rounding.py",
        "(f.tie_even & odd) + f.tie_away",
        "(f.tie_even & (odd ^ np.int64(1))) + f.tie_away",
    ),
    Fault(
        "ties away are ties to zero",
        "lpsim/core/rounding.py",
        "(f.tie_even & odd) + f.tie_away",
        "(f.tie_even & odd)",
    ),
    Fault(
        "sums are rounded to binary64 first",
        "lpsim/core/exact.py",
        "return head, rest, _ONE, _ZERO, _ZERO, e, special, plain, sign, flags\n\n\n@core_function\ndef exact_sub",
        "return head, _ZERO, _ONE, _ZERO, _ZERO, e, special, plain, sign, flags\n\n\n@core_function\ndef exact_sub",
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
        "overflow begins one value late",
        "lpsim/core/rounding.py",
        "over = magnitude > (f.max_negative if negative else f.max_positive)",
        "over = magnitude > np.float64(2.0) * (f.max_negative if negative else f.max_positive)",
    ),
    Fault(
        "the sign of zero is lost",
        "lpsim/parameters.py",
        "zero_negative=-0.0 if",
        "zero_negative=0.0 if",
    ),
    Fault(
        "a NaN code is taken for a number",
        "lpsim/core/codes.py",
        "return np.float64(np.nan) if nan else value",
        "return value",
        ("tests/test_exhaustive.py",),
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
        ("tests/test_kernels.py",),
    ),
    Fault(
        "INEXACT is raised for values of the format",
        "lpsim/core/rounding.py",
        "inexact = (extended & below_one) != 0",
        "inexact = extended != 0",
    ),
    Fault(
        "tininess is always detected before rounding",
        "lpsim/core/rounding.py",
        "(reaches_normal & (f.tiny_before == 0))",
        "(reaches_normal & (f.tiny_before > 1))",
        ("tests/test_softfloat.py", "tests/test_flags.py", "tests/test_kernels.py"),
    ),
    Fault(
        "formats without significand bits break ties by the significand",
        "lpsim/core/rounding.py",
        "return (field_parity if f.mantissa_bits == 0 else truncated) & np.int64(1)",
        "return truncated & np.int64(1)",
        ("tests/test_exhaustive.py", "tests/test_kernels.py"),
    ),
    Fault(
        "E4M3FN's last value is taken for its NaN",
        "lpsim/formats.py",
        'reserved = int(self.specials == "fn")',
        'reserved = 2 * int(self.specials == "fn")',
        ("tests/test_formats.py", "tests/test_peer_defects.py"),
    ),
    Fault(
        "every chunk of an array has the same random words",
        "lpsim/cpu/elementwise.py",
        "word_at(key, start + i)",
        "word_at(key, i)",
        ("tests/test_arrays.py", "tests/test_random.py"),
    ),
    Fault(
        "a matrix product forgets its start values",
        "lpsim/cpu/matmul.py",
        "parts = exact_fma(factor, terms[j], accumulators[j], accumulator)",
        "parts = exact_fma(factor, terms[j], accumulators[j] if k > 0 else accumulators[j] * 0, accumulator)",
        ("tests/test_matmul.py",),
    ),
    Fault(
        "a matrix product runs over k backwards",
        "lpsim/cpu/matmul.py",
        "for k in range(a.shape[1]):\n                factor = a[i, k]\n"
        "                terms = b[k, columns[0] : columns[1]]\n                for j in range(width):",
        "for k in range(a.shape[1] - 1, -1, -1):\n                factor = a[i, k]\n"
        "                terms = b[k, columns[0] : columns[1]]\n                for j in range(width):",
        ("tests/test_matmul.py",),
    ),
)


def plant(fault: Fault, root: Path) -> None:
    """Write a fault into a copy.

    Raises
    ------
    ValueError
        If its text does not occur exactly once.
    """
    path = root / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(
            f"{fault.name!r}: its text occurs {text.count(fault.old)} times in {fault.file}; allowed: once"
        )
    path.write_text(text.replace(fault.old, fault.new))


def copy_checkout(target: Path) -> None:
    """Copy what the tests need."""
    for name in ("lpsim", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)
    for name in ("README.md", "docs", "benchmarks", "notebooks"):
        if (ROOT / name).exists():
            (target / name).symlink_to(ROOT / name)


def run_tests(root: Path, tests: tuple[str, ...], cache: Path) -> tuple[bool, str]:
    """Return whether the tests pass, and the first that failed."""
    environment = {**os.environ, "PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    alive = [sys.executable, "-c", "import lpsim; lpsim.round(1.5, 'half')"]
    subprocess.run(alive, cwd=root, env=environment, check=True, capture_output=True)
    command = [sys.executable, "-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=0", *tests]
    result = subprocess.run(command, cwd=root, env=environment, check=False, capture_output=True, text=True)
    if result.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    found = re.search(r"^FAILED (\S+)", result.stdout, re.MULTILINE)
    return result.returncode == 0, found.group(1) if found else ""


def check(fault: Fault, folder: Path) -> str:
    """Return the test that catches a fault; an empty string if none does."""
    root = folder / re.sub(r"\W+", "_", fault.name)
    root.mkdir()
    copy_checkout(root)
    plant(fault, root)
    passed, test = run_tests(root, fault.tests, folder / "cache")
    shutil.rmtree(root)
    return "" if passed else test or "unknown"


def main() -> int:
    """Run the check and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", default="", help="faults whose name contains TEXT")
    parser.add_argument("--list", action="store_true", help="name the faults and stop")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if options.only in fault.name]
    if options.list:
        print(*(fault.name for fault in faults), sep="\n")
        return 0
    survivors = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "unchanged").mkdir()
        copy_checkout(folder / "unchanged")
        tests = tuple(dict.fromkeys(test for fault in faults for test in fault.tests))
        passed, test = run_tests(folder / "unchanged", tests, folder / "cache")
        print(f"unchanged: {'passes' if passed else 'FAILS at ' + test}", flush=True)
        if not passed:
            return 1
        for fault in faults:
            started = time.perf_counter()
            test = check(fault, folder)
            survivors += not test
            print(f"{fault.name}: {test or 'SURVIVES'} ({time.perf_counter() - started:.0f} s)", flush=True)
    print(f"{len(faults) - survivors} of {len(faults)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
