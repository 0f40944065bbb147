"""Train four small models in seven precisions, and write ``docs/training.md`` and its figure.

``python tools/make_training.py`` trains with five seeds, which takes some minutes; finished trainings are kept in
``docs/training.csv``, whose figures a second call takes as they are if the code has not changed.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import lpsim as lp
from lpsim.cli import ending
from lpsim.cli.figures import write_figure
from lpsim.examples.training import PRECISIONS, WORKLOADS, train
from lpsim.files import replacing

DOCS = Path(__file__).resolve().parents[1] / "docs"

#: After Okabe and Ito, "Color universal design", 2008: told apart by all.
COLOURS = ("#000000", "#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#E69F00")


def train_on_one_thread(workload: str, precision: str, seed: int) -> dict[str, float]:
    """Train, on one thread."""
    torch.set_num_threads(1)
    return train(workload, precision, seed)


def within_band(rows: pd.DataFrame, precision: str) -> bool:
    """Return whether the mean final loss lies between those of the seeds of FP32."""
    band = rows[rows.precision == "FP32"].loss
    return bool(band.min() <= rows[rows.precision == precision].loss.mean() <= band.max())


def table(results: pd.DataFrame) -> str:
    """Return the final figures as Markdown."""
    lines = ["| workload | precision | final loss (range) | test error | in FP32's band |", "|---|---|---:|---:|---|"]
    for workload in WORKLOADS:
        rows = results[results.workload == workload]
        for precision in PRECISIONS:
            one = rows[rows.precision == precision]
            loss = f"{one.loss.mean():.4f} ({one.loss.min():.4f} to {one.loss.max():.4f})"
            inside = "yes" if within_band(rows, precision) else "no"
            lines.append(f"| {workload} | {precision} | {loss} | {one.test_error.mean():.1f} % | {inside} |")
    return "\n".join(lines)


def figure(results: pd.DataFrame, path: Path) -> None:
    """Draw the training losses: mean over seeds, with the band of FP32's seeds."""
    chart, axes = plt.subplots(1, len(WORKLOADS), figsize=(13, 3.6), layout="constrained")
    for axis, workload in zip(axes, WORKLOADS, strict=True):
        rows = results[results.workload == workload]
        for precision, colour in zip(PRECISIONS, COLOURS, strict=True):
            one = rows[rows.precision == precision]
            steps, losses = curves(one)
            if precision == "FP32":
                axis.fill_between(steps, losses.min(0), losses.max(0), color="0.85", lw=0)
            dashes = "--" if precision == "FP32" else "-"
            axis.plot(steps, losses.mean(0), dashes, color=colour, lw=1.6, label=precision, zorder=3)
        axis.set(title=workload, xlabel="step", yscale="log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("training loss (nats)")
    handles, labels = axes[0].get_legend_handles_labels()
    chart.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    write_figure(chart, path, dpi=110)


def curves(rows: pd.DataFrame) -> tuple[list[int], Any]:
    """Return steps, and the losses at them, a row for each seed."""
    names = [name for name in rows.columns if name.startswith("step ") and rows[name].notna().any()]
    order = sorted(names, key=lambda name: int(name.split()[1]))
    return [int(name.split()[1]) for name in order], np.array(rows[order])


def main() -> None:
    """Train, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    results = lp.sweep(
        train_on_one_thread,
        {"workload": list(WORKLOADS), "precision": list(PRECISIONS)},
        seeds=range(arguments.seeds),
        executor="processes",
        path=DOCS / "training.csv",
        progress=True,
    )
    figure(results, DOCS / "training.png")
    page = DOCS / "training.md"
    text = page.read_text(encoding="utf-8")
    with replacing(page, "w") as file:
        file.write(
            re.sub(r"(?<=<!-- table -->\n).*?(?=\n<!-- end -->)", lambda _: table(results), text, flags=re.DOTALL)
        )


if __name__ == "__main__":
    ending.run(main, "make_training")
