"""Every kernel of lpsim.cuda compiles for a GPU, without one, and nothing is fused that the core does not fuse."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install 'lpsim[cuda]'"
)

PROGRAM = Path(__file__).with_name("cuda_kernels.py")


@pytest.fixture(scope="module")
def kernels():
    result = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False, timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def where(kernels, condition):
    return [name for name, found in kernels.items() if condition(found)]


def test_all_kinds_of_kernels_are_there(kernels):
    kinds = {name.split()[0] for name in kernels}
    assert {"operation", "short", "decode", "gemm", "native", "steps", "order", "dot", "strided"} <= kinds
    assert len(kernels) > 120


def test_no_compiler_fuses(kernels):
    """The compiler fuses no more than a compiler that is told to fuse nothing."""
    assert where(kernels, lambda found: found["fma"] != found["fma where nothing is fused"]) == []


def test_no_assembler_fuses(kernels):
    assert where(kernels, lambda found: found["fusible"]) == []


def test_nothing_is_approximate(kernels):
    assert where(kernels, lambda found: found["approximate"]) == []


def test_tiles_are_in_registers(kernels):
    in_memory = where(kernels, lambda found: found["local memory"])
    assert {name.split()[0] for name in in_memory} <= {"order", "dot"}
    assert kernels["gemm"]["vectors"] >= 4


def test_no_kernel_calls(kernels):
    assert where(kernels, lambda found: found["calls"]) == []


def test_fused_operations_are_where_the_core_has_them(kernels):
    assert kernels["gemm"]["fma"] >= 64
    assert kernels["operation 1 single=False randomness=0"]["fma"] == 0  # a sum
    assert kernels["operation 6 single=False randomness=0"]["fma"] == 3
