"""The trainings of the documentation: they train, they repeat, and the committed figures are what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from lpsim.examples.training import PRECISIONS, WORKLOADS, train

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_each_workload_trains_the_same_way_each_time(workload):
    first, again = (train(workload, "TF32", seed=1, points=2, fraction=0.05) for _ in range(2))
    assert first == again
    assert first != train(workload, "TF32", seed=2, points=2, fraction=0.05)
    assert first != train(workload, "E4M3", seed=1, points=2, fraction=0.05)


def test_fp32_learns_and_unscaled_e4m3_does_not():
    losses = {name: train("characters", name, seed=0, fraction=0.3)["loss"] for name in ("FP32", "E4M3", "E4M3 scaled")}
    assert losses["FP32"] < 3
    assert losses["E4M3 scaled"] == pytest.approx(losses["FP32"], rel=0.05)
    assert not losses["E4M3"] < 2 * losses["FP32"]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="workload is 'mnist'; allowed: 'digits MLP'"):
        train("mnist", "FP32", 0)
    with pytest.raises(ValueError, match="precision is 'FP4'"):
        train("characters", "FP4", 0)


def test_the_committed_table_is_that_of_the_committed_runs():
    pandas = pytest.importorskip("pandas")
    results = pandas.read_csv(ROOT / "docs" / "training.csv")
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (\d+\.\d+) \(.*\) \| (\S+) % \| (yes|no) \|$", text, re.MULTILINE)
    assert [row[:2] for row in rows] == [(w, p) for w in WORKLOADS for p in PRECISIONS]
    for workload, precision, loss, error, inside in rows:
        runs = results[(results.workload == workload) & (results.precision == precision)]
        band = results[(results.workload == workload) & (results.precision == "FP32")].loss
        assert len(runs) >= 5
        assert loss == f"{runs.loss.mean():.4f}"
        assert error == f"{runs.test_error.mean():.1f}"
        assert (inside == "yes") == (band.min() <= runs.loss.mean() <= band.max())
        if precision in ("FP32", "TF32"):
            assert inside == "yes"
        if precision == "E4M3":
            assert inside == "no"
        if precision == "E4M3 scaled":
            assert runs.loss.mean() == pytest.approx(band.mean(), rel=0.1)
    assert np.isfinite(results.test_error).all()
