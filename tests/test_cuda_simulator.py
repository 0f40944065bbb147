"""lpsim.cuda in Numba's simulator gives the bits of the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lpsim as lp

PROGRAM = Path(__file__).with_name("cuda_simulated.py")

#: What each part of the program compares, and at least how often.
PARTS = {
    "elementwise": {**dict.fromkeys(("round", "sqrt", "neg", "abs", "add", "sub", "mul", "div", "fma"), 30),
                    "encode": 10, "modes": 10, "decode": 6, "bits": 1},
    "arrays": {"broadcast": 3, "mixed": 1, "integers": 1, "halves": 1, "empty": 1, "strided": 1, "out": 1,
               "backend": 1, "errors": 9},
    "products": {"sequential": 4, "special": 4, "batches": 1, "vectors": 2, "float64": 1, "steps": 9, "orders": 12,
                 "blocks": 2, "flushes": 3, "dots": 18, "scales": 2},
}  # fmt: skip


def simulate(*arguments, code=None):
    given = [PROGRAM, *arguments] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *given],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
    )


@pytest.mark.parametrize("part", PARTS)
def test_same_bits(part):
    result = simulate(part)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert {kind: wrong for kind, (_, wrong) in found.items() if wrong} == {}
    assert set(found) == set(PARTS[part])
    assert [kind for kind, least in PARTS[part].items() if found[kind][0] < least] == []


def test_a_wrong_bit_is_found():
    """The comparison fails where a kernel is wrong."""
    code = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
        "import cuda_simulated as program, numpy as np, lpsim as lp\n"
        "from lpsim.cuda import elementwise\n"
        "elementwise.rounded_number = lambda x, word, kind, f, lane: (x, x + np.float32(1), False)\n"
        "program.compare('round', lp.round, np.ones(3, np.float32), 'fp16')\n"
        "print(len(program.counts['round'][1]))"
    )
    result = simulate(code=code)
    assert result.stdout.strip() == "1", result.stderr[-2000:]


def test_without_a_gpu_the_extra_is_named():
    code = (
        "import sys; sys.modules['numba.cuda'] = None\n"
        "import lpsim as lp\n"
        "try:\n"
        "    lp.round(0.1, 'bf16', backend='cuda')\n"
        "except RuntimeError as error:\n"
        "    print(error)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert result.stdout.startswith("backend 'cuda' needs a GPU by NVIDIA"), result.stderr
    assert "pip install 'lpsim[cuda]'" in result.stdout


@pytest.mark.parametrize("backend", [None, "cpu"])
def test_the_cpu_is_a_backend(backend):
    assert lp.add(1, 2, "bf16", backend=backend) == 3


def test_other_backends_are_refused():
    with pytest.raises(ValueError, match=r"backend is 'tpu'; allowed: 'cpu', 'cuda' or None"):
        lp.add(1, 2, "bf16", backend="tpu")
