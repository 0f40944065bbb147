"""A small random sentence encoder in the files of a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "rain", "##s", "##ing", "bank", ",", ".", "a", "e", "'"]
PARTS = {
    "attention.self.query": (8, 8), "attention.self.key": (8, 8), "attention.self.value": (8, 8),
    "attention.output.dense": (8, 8), "intermediate.dense": (32, 8), "output.dense": (8, 32),
}  # fmt: skip


def write_encoder(folder: Path) -> None:
    """Write the files of an encoder to a folder."""
    rng = np.random.default_rng(0)
    weights: dict[str, npt.NDArray[Any]] = {
        "embeddings.word_embeddings.weight": rng.normal(size=(len(WORDS), 8)),
        "embeddings.position_embeddings.weight": rng.normal(size=(16, 8)),
        "embeddings.token_type_embeddings.weight": rng.normal(size=(2, 8)),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        norms += [f"encoder.layer.{i}.attention.output.LayerNorm", f"encoder.layer.{i}.output.LayerNorm"]
        for part, shape in PARTS.items():
            weights[f"encoder.layer.{i}.{part}.weight"] = rng.normal(size=shape) / 3
            weights[f"encoder.layer.{i}.{part}.bias"] = rng.normal(size=shape[:1]) / 3
    for norm in norms:
        weights[f"{norm}.weight"], weights[f"{norm}.bias"] = 1 + rng.normal(size=8) / 9, rng.normal(size=8) / 9
    arrays = {name: array.astype(np.float32) for name, array in weights.items()}
    save_file({**arrays, "embeddings.position_ids": np.arange(16)[None]}, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    config = {
        "model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": 2, "num_attention_heads": 2,
        "layer_norm_eps": 1e-12,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
