"""``lpsim demo``: handwritten digits under eight matrix units, as a table and a figure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lpsim.cli.digits import UNITS, Projection, UnitResult, centred_digits, exact_projection, run_unit
from lpsim.cli.inputs import prepare_figure
from lpsim.cli.output import number, print_json, progress, show

__all__ = ["demo"]


def demo(
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="The figure; its suffix chooses the file format.")
    ] = Path("lpsim-demo.png"),
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Compute a Gram matrix and a PCA of handwritten digits under eight matrix units.

    1797 images of 64 pixels, scaled to 0..1 and centred. Each unit computes the 64 x 64 Gram matrix
    (inner products of length 1797) and projects the images on its two leading eigenvectors; errors are
    against float64. Prints a table and saves a figure.
    """
    prepare_figure(output, "--output")
    images, labels = centred_digits()
    exact = exact_projection(images)
    results: dict[str, UnitResult] = {}
    with progress() as bar:
        task = bar.add_task("digits", total=2 * len(UNITS))
        for name in UNITS:
            bar.update(task, description=name)
            results[name] = run_unit(images, exact, name, lambda: bar.advance(task))

    from lpsim.cli.figures import demo_figure, save_figure

    save_figure(demo_figure(results, exact, labels), output, "--output")
    if json:
        print_json(
            {
                "data": {"images": images.shape[0], "pixels": images.shape[1]},
                "float64": _projection_dict(exact),
                "units": [_as_dict(name, result) for name, result in results.items()],
                "plot": str(output),
            }
        )
    else:
        show(_table(results, exact))
        print(f"plot: {output}")


def _table(results: dict[str, UnitResult], exact: Projection) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        title="Handwritten digits: errors against float64",
        title_justify="left",
        caption="Gram: 64 x 64, inner dimension 1797. Variance: share in the PCA plane. Shift: largest "
        "move of an image in the plane, relative to the root mean square distance from the centre.",
        caption_justify="left",
    )
    table.add_column("Unit", no_wrap=True)
    for heading in ("Gram max", "rel. Frob.", "bound", "PCA variance", "PCA shift"):
        table.add_column(heading, justify="right", style="dim" if heading == "bound" else "")
    for name, result in results.items():
        gram, plane = result.gram, result.projection
        table.add_row(
            name,
            number(gram.max_absolute),
            number(gram.relative_frobenius),
            number(gram.relative_frobenius_bound),
            "none" if plane is None else f"{plane.variance:.3%}",
            "none" if plane is None else f"{result.shift:.2g}",
        )
    table.add_row("float64", "", "", "", f"{exact.variance:.3%}", "", style="dim")
    return table


def _as_dict(name: str, result: UnitResult) -> dict[str, Any]:
    plane = result.projection
    return {
        "unit": name,
        "input_format": str(result.unit.a_format),
        "accumulator_format": str(result.unit.accumulator_format),
        "gram": dataclasses.asdict(result.gram),
        "pca": None if plane is None else _projection_dict(plane) | {"largest_shift": result.shift},
    }


def _projection_dict(plane: Projection) -> dict[str, float]:
    return {"variance": plane.variance, "smallest_eigenvalue": plane.smallest_eigenvalue}
