"""Figures of the commands. Needs the extra ``plot``."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation

from lpsim.cli.digits import Projection, UnitResult
from lpsim.cli.output import writing
from lpsim.errors import ProductError
from lpsim.files import replacing

__all__ = [
    "FAINT", "INK", "MEASURED", "STYLE", "add_title", "demo_figure", "error_figure", "layout", "save_figure",
    "write_figure",
]  # fmt: skip

# Paul Tol's "muted" scheme, safe for colour-blind readers; its grey serves as the tenth colour.
_DIGIT_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#9A9A9A",
)  # fmt: skip
INK = "#222222"
FAINT = "#8C8C8C"
MEASURED = "#0077BB"
_BOUND = "#EE7733"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 130,
}

#: Units whose projections the demo's figure shows beside float64's.
_PROJECTED = ("fp8_e5m2", "fp16_fp16acc", "bf16_bf16acc")


def save_figure(figure: Figure, path: Path, argument: str) -> None:
    """Write a figure, or exit with a sentence if the file cannot be written."""
    with writing(path, argument), rc_context(STYLE):
        write_figure(figure, path)


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure as its ``savefig`` does with these options, so that the file is there once it is whole."""
    # Some kinds of figures go back in the file, which a pipe cannot.
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip(".").lower(), **options)
    with replacing(path) as file:
        file.write(drawn.getbuffer())


def error_figure(errors: dict[str, ProductError], subtitle: str) -> Figure:
    """Return a figure of relative Frobenius errors and bounds, one row a unit."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.1 + 0.5 * len(errors)), layout=layout())
        axes = figure.subplots()
        add_title(figure, "Error of the matrix product", subtitle)
        _draw_errors(axes, errors, dict.fromkeys(errors, ""))
    return figure


def demo_figure(results: dict[str, UnitResult], exact: Projection, labels: npt.NDArray[np.int64]) -> Figure:
    """Return the demo's figure: errors of the Gram matrix, and projections of the images."""
    with rc_context(STYLE):
        figure = Figure(figsize=(14, 7), layout=layout())
        halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.12))
        left, right = halves
        add_title(left, "Gram matrix of 1797 handwritten digits", "64 × 64, inner products of length 1797")
        _draw_errors(
            left.subplots(),
            {name: result.gram for name, result in results.items()},
            {name: _ingredients(result) for name, result in results.items()},
        )
        add_title(
            right,
            "Their two principal components",
            "lines lead from where float64 puts an image to where the unit puts it",
        )
        _draw_projections(right.subplots(2, 2, sharex=True, sharey=True).ravel(), results, exact, labels)
    return figure


def layout() -> ConstrainedLayoutEngine:
    """Return the margins of all figures."""
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)


def add_title(figure: Figure | SubFigure, title: str, subtitle: str) -> None:
    """Put title and subtitle at the upper left."""
    # The blank second line of the title keeps room for the subtitle, which has a style of its own.
    figure.suptitle(f"{title}\n", x=0.02, ha="left", fontsize=15, fontweight="bold")
    below = figure.transSubfigure + ScaledTranslation(0, -30 / 72, figure.dpi_scale_trans)
    figure.text(0.02, 1, subtitle, transform=below, ha="left", va="top", fontsize=11, color="#555555")


def _ingredients(result: UnitResult) -> str:
    short = {"float8_e4m3fn": "E4M3", "float8_e5m2": "E5M2", "float16": "FP16", "float32": "FP32"}
    short |= {"bfloat16": "BF16", "tf32": "TF32"}
    inputs, accumulator = (
        short.get(str(fmt), str(fmt)) for fmt in (result.unit.a_format, result.unit.accumulator_format)
    )
    return f"{inputs} in, {accumulator} sum"


def _draw_errors(axes: Axes, errors: dict[str, ProductError], notes: dict[str, str]) -> None:
    values = [
        value
        for error in errors.values()
        for value in (error.relative_frobenius, error.relative_frobenius_bound)
        if math.isfinite(value) and value > 0
    ]
    low, high = (min(values), max(values)) if values else (1e-8, 1.0)
    for row, (name, error) in enumerate(errors.items()):
        measured, bound = error.relative_frobenius, error.relative_frobenius_bound
        axes.annotate(
            name, (0, row), xycoords=("axes fraction", "data"), xytext=(-8, 7 if notes[name] else 0),
            textcoords="offset points", ha="right", va="center", fontweight="bold",
        )  # fmt: skip
        axes.annotate(
            notes[name], (0, row), xycoords=("axes fraction", "data"), xytext=(-8, -8),
            textcoords="offset points", ha="right", va="center", fontsize=9, color="#555555",
        )  # fmt: skip
        if not math.isfinite(measured) or measured == 0:
            text = "exact" if measured == 0 else f"{error.not_finite} elements infinite or NaN"
            axes.text(low, row, text, va="center", color=MEASURED, fontweight="bold")
            continue
        if math.isfinite(bound):
            axes.plot((measured, bound), (row, row), color="#CFCFCF", linewidth=2.5, zorder=1)
            axes.plot(bound, row, "|", color=_BOUND, markersize=15, markeredgewidth=3)
        axes.plot(measured, row, "o", color=MEASURED, markersize=10)
        axes.annotate(
            _power_of_ten(measured), (measured, row), xytext=(0, 9), textcoords="offset points",
            ha="center", va="bottom", fontsize=9, color=MEASURED,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(low / 4, high * 4)
    axes.set_ylim(len(errors) - 0.5, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("relative error in the Frobenius norm")
    axes.plot([], [], "o", color=MEASURED, markersize=9, label="measured against float64")
    axes.plot([], [], "|", color=_BOUND, markersize=13, markeredgewidth=3, label="a-priori bound")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=2,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.2,
    )


def _power_of_ten(x: float) -> str:
    digits, exponent = f"{x:.1e}".split("e")
    return rf"${digits}\times 10^{{{int(exponent)}}}$"


def _draw_projections(
    panels: npt.NDArray[np.object_],
    results: dict[str, UnitResult],
    exact: Projection,
    labels: npt.NDArray[np.int64],
) -> None:
    shown = [("float64", exact, "the reference")]
    for name in _PROJECTED:
        result = results[name]
        note = "" if result.projection is None else f"shift ≤ {math.ceil(100 * result.shift)}% of spread"
        shown.append((name, result.projection or exact, note))
    for axes, (name, plane, note) in zip(panels, shown, strict=True):
        axes.set_title(name, loc="left", fontsize=11, fontweight="bold")
        axes.set_title(note, loc="right", fontsize=10, color="#555555")
        _draw_plane(axes, plane, exact, labels)
    for axes in panels[2:]:
        axes.set_xlabel("component 1", fontsize=10)
    for axes in panels[::2]:
        axes.set_ylabel("component 2", fontsize=10)
    panels[0].set_xlim(*_limits(exact.points[:, 0]))
    panels[0].set_ylim(*_limits(exact.points[:, 1]))


def _limits(x: npt.NDArray[np.float64]) -> tuple[float, float]:
    margin = 0.08 * float(np.ptp(x))
    return float(x.min()) - margin, float(x.max()) + margin


def _draw_plane(axes: Axes, plane: Projection, exact: Projection, labels: npt.NDArray[np.int64]) -> None:
    segments = np.stack((exact.points, plane.points))
    axes.plot(segments[:, :, 0], segments[:, :, 1], color="#666666", linewidth=0.6, zorder=1)
    for digit, colour in enumerate(_DIGIT_COLOURS):
        points = plane.points[labels == digit]
        axes.scatter(points[:, 0], points[:, 1], s=6, color=colour, linewidths=0, zorder=2)
    for digit, colour in enumerate(_DIGIT_COLOURS):
        x, y = np.median(plane.points[labels == digit], axis=0)
        axes.text(
            x, y, str(digit), color=colour, fontsize=15, fontweight="bold", ha="center", va="center",
            zorder=3, path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
