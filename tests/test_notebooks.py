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
LAST_LINE = {"first_matmul": "1000 256.0", "tensor_cores": "FP32                 8.4e-07"}


def cells(notebook):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebooks_are_those_known_here():
    assert {notebook.stem for notebook in NOTEBOOKS} == set(LAST_LINE)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook):
    code = "\n\n".join("".join(cell["source"]) for cell in cells(notebook))
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
    assert result.stdout.splitlines()[-1] == LAST_LINE[notebook.stem]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(notebook):
    for cell in cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
