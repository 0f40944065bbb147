"""The notebooks run from top to bottom and are stored without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lpsim

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))

#: The last line that each notebook prints.
LAST_LINE = {
    "first_matmul": "1000 256.0",
    "formats_and_rounding": "rounded up: 6 of 8",
    "iterative_refinement": "converge below 0.1: True above 100: False",
    "order_and_stochastic_rounding": "256.0 1000.0",
    "quantize_a_model": "int8 moves embeddings least: True",
    "tensor_cores": "FP32                 8.4e-07",
    "test_your_own_format": "0 mismatches in 2,509,128 cases",
    "tf32_matmul": "errors within the bounds: True",
}


def cells(notebook):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebooks_are_those_known_here():
    assert {notebook.stem for notebook in NOTEBOOKS} == set(LAST_LINE)


def run(code):
    """Run code as a script; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"},
        cwd=Path(lpsim.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook):
    code = "\n\n".join("".join(cell["source"]) for cell in cells(notebook))
    assert run(code).splitlines()[-1] == LAST_LINE[notebook.stem]


def test_a_notebook_runs_in_a_kernel(monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    root = Path(lpsim.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", str(root), prepend=os.pathsep)
    notebook = nbformat.read(NOTEBOOKS[0].with_stem("formats_and_rounding"), as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(root)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5
    assert outputs[-1].text.splitlines()[-1] == LAST_LINE["formats_and_rounding"]


def test_the_model_of_the_quantisation_notebook_need_not_be_installed():
    code = "\n\n".join("".join(cell["source"]) for cell in cells(NOTEBOOKS[0].with_stem("quantize_a_model")))
    result = run("import lpsim.minilm\nlpsim.minilm.find_model = lambda: None\n" + code)
    assert "model: a generated network" in result.splitlines()[0]
    assert result.splitlines()[-1] == LAST_LINE["quantize_a_model"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(notebook):
    for cell in cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
