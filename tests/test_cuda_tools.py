"""The tools that need a GPU: their parts that do not, with a simulated chip in the place of one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lpsim as lp
import lpsim.cuda

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(scope="module")
def witness():
    spec = importlib.util.spec_from_file_location("tensor_core_witness", TOOLS / "tensor_core_witness.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chip(a, b, kind):
    return lp.matmul(a, b, lp.units.h100[kind])


def test_a_chip_agrees_and_is_recorded(witness, tmp_path):
    found = witness.witness(chip, "h100", 400, tmp_path)
    assert len(found) == 5 * len(witness.CASES)
    assert [row for row in found if row[2] != row[3] or row[3] != 100] == []
    with np.load(tmp_path / "h100_fp16.npz") as rows:
        a, b, c, d = (rows[name] for name in ("a", "b", "c", "d_fp32"))
    assert a.shape == b.shape == (400, lp.units.h100.fp16.dot.terms)
    assert all(one.dtype == np.uint32 for one in (a, b, c, d))
    a, b, c = (one.view(np.float32) for one in (a, b, c))
    got = lp.matmul(a[:, None, :], b[:, :, None], "h100.fp16", c=c[:, None, None])[:, 0, 0]
    np.testing.assert_array_equal(got.view(np.uint32), d)


def test_another_chip_does_not_agree(witness):
    """The cases tell the truncation of tensor cores from a product in float64."""

    def other(a, b, kind):
        with np.errstate(all="ignore"):
            return np.matmul(a.astype(float), b).astype(np.float32)

    found = witness.witness(other, "h100", 400, None)
    differing = {unit for unit, _, agree, total, _ in found if agree < total}
    assert differing == {f"h100.{kind}" for kind in witness.INPUTS}
    assert all(note.startswith("row ") for _, _, agree, total, note in found if agree < total)


def test_what_a_library_lacks_is_said(witness):
    def lacking(a, b, kind):
        raise NotImplementedError("no such product")

    found = witness.witness(lacking, "h100", 400, None)
    assert {row[4] for row in found} == {"not run: no such product"}


@pytest.mark.parametrize(
    ("name", "hardware"), [("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA A100-SXM4-40GB", "a100"), ("Quadro", None)]
)
def test_hardware_by_name(witness, name, hardware):
    assert witness.hardware_of(name) == hardware


@pytest.mark.skipif(lpsim.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("tool", "code"), [("check_gpu", 2), ("tensor_core_witness", 0)])
def test_without_a_gpu_a_tool_says_so(tool, code):
    result = subprocess.run(
        [sys.executable, TOOLS / f"{tool}.py"], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == code, result.stderr
    assert result.stdout.startswith("no GPU that ")
