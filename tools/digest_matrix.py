"""Check the digest of `tools/digest.py` under every circumstance that it must not depend on.

    python tools/digest_matrix.py                    # threads, code generation, no compiler, all Pythons found
    python tools/digest_matrix.py --only baseline python3.13
    python tools/digest_matrix.py --python /opt/python3.14/bin/python3

Other Pythons, those on the PATH and pyenv's, get a virtual environment with NumPy and Numba of their own: the oldest
that lpsim supports for some of those that are old enough, else the newest. The exit status is 1 if any digest differs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

TOOL = Path(__file__).resolve().parent / "digest.py"

#: Versions of Python, and what is installed for them.
OLDEST, NEWEST = ("numba==0.60.0", "numpy==1.26.4"), ("numba", "numpy")
PYTHONS = {"3.10": OLDEST, "3.11": NEWEST, "3.12": OLDEST, "3.13": NEWEST, "3.14": NEWEST}


@dataclass(frozen=True)
class Circumstance:
    """What is different from an ordinary run."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    python: str | None = None
    requirements: tuple[str, ...] = ()


#: The processor's own instructions, those of 2013 (AVX2 and FMA), and those that all of its kind have.
HERE = [
    Circumstance("1 thread", {"NUMBA_NUM_THREADS": "1"}),
    Circumstance("2 threads", {"NUMBA_NUM_THREADS": "2"}),
    Circumstance(
        "AVX2", {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+f16c"}
    ),
    Circumstance("baseline", {"NUMBA_CPU_NAME": "generic"}),
    Circumstance("no compiler", {"NUMBA_DISABLE_JIT": "1"}),
]


def runs(command: str) -> bool:
    """Whether there is such a Python; a shim may be there and not."""
    try:
        return subprocess.run([command, "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def pythons(given: list[str]) -> list[Circumstance]:
    """Return the other Pythons."""
    here = ".".join(map(str, sys.version_info[:2]))
    found = {}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in PYTHONS:
        places = [
            shutil.which(f"python{version}"),
            *map(str, sorted(versions.glob(f"{version}.*/bin/python{version}"))),
        ]
        command = next((place for place in places if place is not None and runs(place)), None)
        if version != here and command is not None:
            found[version] = command
    for command in given:
        ask = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
        found[subprocess.run([command, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()] = command
    return [
        Circumstance(f"python{version}", {}, command, PYTHONS.get(version, NEWEST))
        for version, command in sorted(found.items())
    ]


def check(circumstance: Circumstance, folder: Path, areas: list[str]) -> tuple[int, str]:
    """Return the exit status of a run of the tool, and what it said."""
    python = sys.executable
    if circumstance.python is not None:
        place = folder / circumstance.name
        subprocess.run([circumstance.python, "-m", "venv", str(place)], check=True)
        python = str(place / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", *circumstance.requirements], check=True)
    environment = {**os.environ, **circumstance.variables, "PYTHONPATH": str(TOOL.parents[1])}
    if circumstance.python is not None:
        environment["NUMBA_CACHE_DIR"] = str(folder / "numba")
    command = [python, str(TOOL), "--check", "--areas", *areas]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    return done.returncode, (done.stdout + done.stderr[-3000:]).strip()


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of circumstances, such as AVX2 or python3.13")
    parser.add_argument("--python", nargs="*", default=[], help="other interpreters, beside those on the PATH")
    parser.add_argument("--areas", nargs="*", default=[""], help="as for digest.py")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    given = parser.parse_args()
    circumstances = [*HERE, *pythons(given.python)]
    if given.only is not None:
        unknown = set(given.only) - {one.name for one in circumstances}
        if unknown:
            parser.error(
                f"--only names {', '.join(sorted(unknown))}; here are {', '.join(one.name for one in circumstances)}"
            )
        circumstances = [one for one in circumstances if one.name in given.only]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:

        def timed(one: Circumstance) -> tuple[int, str, float]:
            start = time.monotonic()
            return *check(one, Path(folder), given.areas), time.monotonic() - start

        for one, (status, text, seconds) in zip(circumstances, pool.map(timed, circumstances), strict=True):
            failed |= status
            print(f"{one.name:12} {seconds:4.0f} s  {text}", flush=True)
    here = ".".join(map(str, sys.version_info[:2]))
    missing = [version for version in PYTHONS if version not in {here, *(one.name[6:] for one in circumstances)}]
    print(f"{len(circumstances)} circumstances, {'no difference' if not failed else 'THERE ARE DIFFERENCES'}")
    if given.only is None and missing:
        print(f"not found: Python {', '.join(missing)}")
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
