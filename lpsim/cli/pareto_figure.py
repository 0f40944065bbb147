"""The figure of ``lpsim units pareto``. Needs the extra ``plot``."""

from __future__ import annotations

import math

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullLocator

from lpsim.cli.figures import FAINT, INK, MEASURED, STYLE, add_title, layout
from lpsim.cli.pareto import Point

__all__ = ["pareto_figure"]

#: Height of a label and width of one of its characters, in points.
_LINE, _CHARACTER = 10.5, 5.2


def pareto_figure(points: list[Point], subtitle: str) -> Figure:
    """Return a figure of errors against speed, with the Pareto front as a line."""
    shown = [point for point in points if 0 < point.relative_frobenius < math.inf]
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 7.5), layout=layout())
        axes = figure.subplots()
        add_title(figure, "Accuracy and published speed of matrix units", subtitle)
        axes.set_xlabel("speed relative to FP32 arithmetic of the same chip")
        axes.set_ylabel("relative error in the Frobenius norm")
        axes.grid(color="#E6E6E6", linewidth=0.8)
        axes.set_axisbelow(True)
        if not shown:
            axes.text(0.5, 0.5, "no finite errors above zero", transform=axes.transAxes, ha="center", color=FAINT)
            return figure
        _set_scales(axes, shown)
        front = sorted((p.speed, p.relative_frobenius) for p in shown if p.pareto)
        axes.plot(*zip(*front, strict=True), color=MEASURED, linewidth=1.8, zorder=2,
                  drawstyle="steps-pre", label="Pareto front: no unit is as fast and more accurate")  # fmt: skip
        for point in shown:
            colour = MEASURED if point.pareto else FAINT
            axes.plot(point.speed, point.relative_frobenius, "o", color=colour, markersize=8, zorder=3 + point.pareto)
        axes.legend(loc="upper left", frameon=False)
        _label(figure, axes, shown)
        lost = len(points) - len(shown)
        if lost:
            axes.set_title(f"not shown: {lost} exact or not finite", loc="right", fontsize=9)
    return figure


def _set_scales(axes: Axes, points: list[Point]) -> None:
    speeds, errors = [p.speed for p in points], [p.relative_frobenius for p in points]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(min(speeds) / 1.25, max(speeds) * 1.8)  # room for labels, which are right of their points
    axes.set_ylim(min(errors) / 3, max(errors) * 5)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.xaxis.set_minor_locator(NullLocator())


def _label(figure: Figure, axes: Axes, points: list[Point]) -> None:
    """Put each name right of its point, moved up as far as others are in the way."""
    # The layout engine moves the axes when it draws; labels are placed for the axes that there are then.
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    places = [scale * axes.transData.transform((p.speed, p.relative_frobenius)) for p in points]
    taken: list[tuple[float, float, float]] = [(x - 5, x + 5, y) for x, y in places]
    for point, (x, y) in sorted(zip(points, places, strict=True), key=lambda pair: pair[0].relative_frobenius):
        left, right, height = x + 8, x + 8 + _CHARACTER * len(point.unit), y
        while clash := [top for a, b, top in taken if a < right and left < b and abs(top - height) < _LINE - 1e-6]:
            height = max(clash) + _LINE
        taken.append((left, right, height))
        axes.annotate(
            point.unit, (point.speed, point.relative_frobenius), xytext=(8, height - y), textcoords="offset points",
            va="center", fontsize=8.5, color=INK if point.pareto else "#666666",
            fontweight="bold" if point.pareto else "normal",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
