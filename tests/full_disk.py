"""Write every kind of file to a disk with room, then to a full one, and print as JSON what came of it.

``full_disk.py FOLDER limit`` has a system that lets no file grow beyond 64 bytes; ``full_disk.py FOLDER fill`` fills
the disk that the folder is on.
"""

import contextlib
import json
import resource
import sys
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

import lpsim as lp
from lpsim.cli.app import app
from lpsim.files import replacing

LIMIT = 64


def command(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def text(path):
    with replacing(path, "w") as file:
        file.write("x" * 1000)


def fail(n):
    if n == 5 and not full:
        raise ValueError("not yet")
    return "x" * (10_000 if n == 5 else 10)


def journal(path):
    """Add a row to a journal of five, of which some has room where the last line ends."""
    with contextlib.suppress(lp.sweeps.SweepError):
        lp.sweep(fail, {"n": range(6)}, path=path.with_name("of_journal.csv"), workers=1)


def table(path):
    lp.sweep(abs_of, {"n": range(50)}, path=path)


def abs_of(n):
    return abs(n) * 0.1


def quantized(path):
    lp.quantize(np.ones((8, 64), np.float32), "nf4").save(path)


#: What writes each kind of file, commands first.
WRITERS = {
    "product.npy": lambda path: command("matmul", "a.npy", "a.npy", "--unit", "tf32", "--out", path),
    "figure.png": lambda path: command("matmul", "a.npy", "a.npy", "--unit", "tf32", "--plot", path),
    "figure.svg": lambda path: command("matmul", "a.npy", "a.npy", "--unit", "tf32", "--plot", path),
    "arrays.npz": lambda path: command("quantize", "a.npy", "--scheme", "nf4", "--out", path),
    "arrays.safetensors": lambda path: command("quantize", "a.npy", "--scheme", "nf4", "--out", path),
    "report.json": lambda path: command(
        "verify", "e2m1fn", "--op", "decode", "--mode", "to_odd", "--jobs", 1, "--json", path
    ),
    "page.html": lambda path: command("explore", "--output", path),
    "text.txt": text,
    "quantized.npz": quantized,
    "quantized.safetensors": quantized,
    "table.csv": table,
    "table.parquet": table,
    "of_journal.csv.journal.jsonl": journal,
}


@contextlib.contextmanager
def limited(size):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def fill():
    with contextlib.suppress(OSError), open("filler", "wb", buffering=0) as file:
        while file.write(bytes(1 << 12)):
            pass


def outcome(path, write):
    before = path.read_bytes()
    files = sorted(Path().iterdir())
    # Of a journal, a part of the next line has room.
    limit = len(before) + 5 if path.suffix == ".jsonl" else LIMIT
    said = ""
    with limited(limit) if kind == "limit" else contextlib.nullcontext():
        try:
            code, said = write(path)
        except OSError as error:
            code, said = error.errno, str(error)
    return {
        "code": code,
        "said": said,
        "large": len(before) > LIMIT,
        "same": path.read_bytes() == before,
        "left": [str(one) for one in Path().iterdir() if one not in files],
    }


if __name__ == "__main__":
    import os

    os.chdir(sys.argv[1])
    kind, full = sys.argv[2], False
    np.save("a.npy", np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64))
    for name, write in WRITERS.items():
        write(Path(name))
    if kind == "fill":
        fill()
    full = True
    print(json.dumps({name: outcome(Path(name), write) for name, write in WRITERS.items()}))
