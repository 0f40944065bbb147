"""The figure of ``lpsim quantize-model``. Needs the extra ``plot``."""

from __future__ import annotations

import math

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lpsim.cli.figures import FAINT, INK, MEASURED, STYLE, add_title, layout
from lpsim.cli.quantize_model import Outcome

__all__ = ["quantize_model_figure"]


def quantize_model_figure(outcomes: list[Outcome]) -> Figure:
    """Return a figure of the embeddings' distances: by scheme, with bits for each weight, and by unit."""
    kinds = [(kind, [one for one in outcomes if one.kind == kind]) for kind in ("weights", "products")]
    kinds = [(kind, some) for kind, some in kinds if some]
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 1.6 + 0.36 * max((len(some) for _, some in kinds), default=1)), layout=layout())
        add_title(
            figure, "What number formats do to a sentence encoder", "one less the cosine with the model's embeddings"
        )
        if not kinds:
            return figure
        axes = figure.subplots(1, len(kinds), squeeze=False)[0]
        for one, (kind, some) in zip(axes, kinds, strict=True):
            _bars(one, kind, some)
    return figure


def _bars(axes: Axes, kind: str, outcomes: list[Outcome]) -> None:
    shown = sorted(outcomes, key=lambda one: (math.isnan(one.mean_distance), one.mean_distance))
    positive = [one.mean_distance for one in shown if one.mean_distance > 0]
    least = min(positive, default=1e-9) / 4
    for place, one in enumerate(shown):
        value = one.mean_distance
        bits = f"{one.bits_per_weight:.3g} bits, " if kind == "weights" else ""
        note = f"{bits}task error {100 * one.task_error:.1f}%"
        if math.isnan(value):
            axes.text(least, place, f" not finite, {note}", va="center", fontsize=8.5, color=FAINT)
            continue
        axes.barh(place, max(value, least) - least, left=least, height=0.62, color=MEASURED)
        axes.text(max(value, least) * 1.2, place, note, va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(shown)), [one.name for one in shown])
    axes.set_xscale("log")
    axes.set_xlim(least, max(positive, default=1e-8) * 100)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_title({"weights": "weights under a scheme", "products": "products under a unit"}[kind], loc="left")
    axes.set_xlabel("mean distance")
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
