"""The sentence encoder, on a small random model and on the real one where it is installed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from encoders import WORDS, write_encoder

import lpsim as lp
from lpsim import minilm
from lpsim.minilm.model import PACKAGE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_encoder(tmp_path)
    return tmp_path


def plain_embedding(model: minilm.MiniLM, sentence: str) -> npt.NDArray[Any]:
    """One sentence in float64, token by token and head by head."""
    w = {name: array.astype(np.float64) for name, array in model.weights.items()}
    tokens = model.tokens.encode(sentence)

    def normal(v: Any, name: str) -> Any:
        return (v - v.mean()) / math.sqrt(v.var() + model.epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(v: Any, name: str) -> Any:
        return w[f"{name}.weight"] @ v + w[f"{name}.bias"]

    embeddings = w["embeddings.word_embeddings.weight"], w["embeddings.position_embeddings.weight"]
    kind = w["embeddings.token_type_embeddings.weight"][0]
    rows = [normal(embeddings[0][t] + embeddings[1][i] + kind, "embeddings.LayerNorm") for i, t in enumerate(tokens)]
    for layer in range(model.layers):
        name = f"encoder.layer.{layer}"
        q, k, v = ([linear(r, f"{name}.attention.self.{p}") for r in rows] for p in ("query", "key", "value"))
        size = len(rows[0]) // model.heads
        mixed = []
        for i in range(len(rows)):
            heads = []
            for h in range(model.heads):
                part = slice(h * size, (h + 1) * size)
                scores = np.array([q[i][part] @ k[j][part] / math.sqrt(size) for j in range(len(rows))])
                share = np.exp(scores) / np.exp(scores).sum()
                heads.append(sum(share[j] * v[j][part] for j in range(len(rows))))
            mixed.append(linear(np.concatenate(heads), f"{name}.attention.output.dense"))
        rows = [normal(r + m, f"{name}.attention.output.LayerNorm") for r, m in zip(rows, mixed, strict=True)]
        for i, row in enumerate(rows):
            inner = linear(row, f"{name}.intermediate.dense")
            inner = np.array([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in inner])
            rows[i] = normal(row + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = sum(rows) / len(rows)
    return np.asarray(mean / np.linalg.norm(mean))


def test_tokens() -> None:
    tokens = minilm.WordPiece(WORDS)
    assert tokens.encode("The RAINS, raining.") == [2, 4, 5, 6, 9, 5, 7, 10, 3]
    assert tokens.encode("é bank's x rainx") == [2, 12, 8, 13, 1, 1, 1, 3]
    with pytest.raises(ValueError, match=r"vocabulary lacks \[CLS\]"):
        minilm.WordPiece(["[UNK]"])


def test_forward_pass(folder: Path) -> None:
    model = minilm.load(folder)
    sentences = ["the rain", "a bank, raining.", "the"]
    embedded = model.embed(sentences)
    expected = np.array([plain_embedding(model, sentence) for sentence in sentences])
    assert np.abs(embedded - expected).max() < 1e-5  # float32 against float64
    assert len(model.linear_weights) == 12
    seen: dict[str, Any] = {}
    model.embed(sentences, watch=seen.__setitem__)
    assert list(seen) == model.linear_weights
    assert seen["encoder.layer.1.output.dense.weight"].shape == (
        sum(len(model.tokens.encode(s)) for s in sentences),
        32,
    )
    coarse = {name: lp.fake_quantize(model.weights[name], "mxfp4(block=8)") for name in model.linear_weights}
    assert np.abs(model.embed(sentences, weights=coarse) - embedded).max() > 1e-3


def test_bad_models(folder: Path) -> None:
    model = minilm.load(folder)
    with pytest.raises(ValueError, match="sentences has one of 22 tokens; allowed: up to 16"):
        model.embed(["a " * 20])
    with pytest.raises(ValueError, match="sentences is empty"):
        model.embed([])
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="holds a model of type 'gpt2'; allowed: 'bert'"):
        minilm.load(folder)
    (folder / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no vocab\.txt"):
        minilm.load(folder)


def test_the_sentences() -> None:
    assert len(minilm.SENTENCES) == len(minilm.TOPICS) == len(set(minilm.SENTENCES)) == 64
    assert len(set(minilm.TOPICS)) == 8


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lpsim", "quantize-model", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_command(folder: Path, tmp_path: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join([*WORDS[:4], *"abcdefghij"]))  # other letters are unknown words
    done = run("--model", str(folder), "--scheme", "int8,affine(bits=4, group=8),gptq(group_size=8)", "--unit", "tf32",
               "--plot", str(tmp_path / "figure.png"), "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)["outcomes"]
    assert [one["name"] for one in outcomes[1:]] == ["int8", "affine(bits=4, group=8)", "gptq(group_size=8)", "tf32"]
    assert outcomes[0]["max_distance"] < 1e-12
    assert 0 < outcomes[1]["mean_distance"] < outcomes[2]["mean_distance"] < 1
    assert outcomes[4]["mean_distance"] < outcomes[1]["mean_distance"]
    assert 8 < outcomes[1]["bits_per_weight"] < 13
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    table = run("--model", str(folder), "--scheme", "nvfp4", "--unit", "none").stdout
    assert "nvfp4*" in table
    assert "some weights are left as they are" in table


def test_command_with_bad_input(folder: Path) -> None:
    for arguments, message in (
        (["--scheme", "nf5"], "--scheme: scheme is 'nf5'; allowed:"),
        (["--unit", "h200.e9m9"], "--unit: "),
        (["--unit", "b200.mxfp8_e4m3"], "which multiplies blocks with scales"),
        (["--model", str(folder / "none")], "--model: "),
        (["--model", str(folder), "--scheme", "mxfp4(block=64)"], "has no rule for any weight"),
    ):
        done = run(*arguments)
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(minilm.find_model() is None, reason=f"the package {PACKAGE} is not installed")
def test_the_real_model() -> None:
    model = minilm.load()
    embedded = model.embed(
        ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    )
    assert [round(float(embedded[0] @ other), 4) for other in embedded[1:]] == [0.6946, 0.9429, 0.2569]
