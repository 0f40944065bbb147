"""The figures of ``make_performance.py``. Needs the extra ``plot``."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lpsim.cli.figures import FAINT, INK, STYLE, add_title, layout, write_figure

__all__ = ["matmul_figure", "round_figure", "save"]

Curves = dict[str, list[list[float]]]

# Paul Tol's "bright" scheme, for peers and units in the order they come in.
_COLOURS = ("#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733", "#009988")
_LPSIM = "#0077BB"


def save(figure: Figure, path: Path) -> None:
    """Write a figure."""
    with rc_context(STYLE):
        write_figure(figure, path)


def round_figure(curves: Curves) -> Figure:
    """Return the figure of rounding: time for an element over the number of elements."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 5.6), layout=layout())
        axes = figure.subplots()
        subtitle = "float32 to float16 (ml_dtypes: to bfloat16) and back, one thread; lower is better"
        add_title(figure, "Time to round an element", subtitle)
        _draw(axes, curves, "memcpy", ("lpsim",))
        axes.set_xlabel("elements")
        axes.set_ylabel("nanoseconds an element")
    return figure


def matmul_figure(curves: Curves) -> Figure:
    """Return the figure of products: their rate over n."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 5.6), layout=layout())
        axes = figure.subplots()
        add_title(
            figure,
            "Products of matrices, bit by bit",
            "2n³ operations over run time, n × n matrices, one thread; higher is better",
        )
        _draw(axes, curves, "sgemm", tuple(name for name in curves if name not in ("sgemm", "NumPy float16")))
        axes.set_xscale("log", base=2)
        ticks = [n for n, _ in curves["sgemm"]]
        axes.set_xticks(ticks, [f"{n:.0f}" for n in ticks])
        axes.set_xlabel("n")
        axes.set_ylabel("GFLOP/s")
    return figure


def _draw(axes: Axes, curves: Curves, limit: str, own: tuple[str, ...]) -> None:
    """Draw curves, each with its name at its right end: the limit dashed, those of lpsim solid and wide."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    colours = iter(_COLOURS)
    ends = []
    for name, points in curves.items():
        xs, ys = zip(*points, strict=True)
        colour = INK if name == limit else _LPSIM if name == "lpsim" else next(colours)
        style = "--" if name == limit else "-"
        axes.plot(xs, ys, style, color=colour, linewidth=2.6 if name in own else 1.5, zorder=3 if name in own else 2)
        ends.append((ys[-1], xs[-1], name, colour))
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_color(FAINT)
    last = max(x for _, x, *_ in ends)
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    # Names that would overlap move up.
    above = -1e9
    for y, x, name, colour in sorted(ends):
        pixel = float(axes.transData.transform((x, y))[1])
        shifted = max(pixel, above + 17) if x == last else pixel
        above = shifted if x == last else above
        axes.annotate(
            name, (x, y), xytext=(8, (shifted - pixel) * 72 / figure.dpi), textcoords="offset points",
            color=colour, va="center", fontweight="bold" if name in own else "normal", annotation_clip=False,
        )  # fmt: skip
