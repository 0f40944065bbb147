"""Four small trainings, to compare precisions: needs the extra ``torch``.

Their data come with lpsim and with Python's standard library; none takes more than seconds on one core.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lpsim.data import load_digits
from lpsim.torch import Cast, simulate
from lpsim.torch.rules import ROLES

__all__ = ["PRECISIONS", "WORKLOADS", "train"]

#: Arguments of `lpsim.torch.simulate` by the name of a precision. Accumulation is in FP32, k ascending, throughout.
PRECISIONS: dict[str, dict[str, Any]] = {
    "FP32": {"matmul": "fp32"},
    "TF32": {"matmul": "tf32"},
    "BF16": {"matmul": "bf16"},
    "FP16": {"matmul": "fp16"},
    "E4M3": {"matmul": "fp8_e4m3"},
    "E4M3 scaled": {"matmul": "fp8_e4m3", **dict.fromkeys(ROLES, Cast(scaling="tensor"))},
    "E4M3, E5M2 gradients": {"matmul": "fp8_e4m3", "backward": "fp8_e5m2"},
}

#: Names of the workloads.
WORKLOADS = ("digits MLP", "digits CNN", "characters", "transformer")

#: How many of the training data the loss is taken of.
_SAMPLE = 1024

_Batch = tuple[torch.Tensor, torch.Tensor]


class _Task:
    """A model, its data and how it is trained."""

    def __init__(self, model: torch.nn.Module, training: _Batch, test: _Batch, steps: int, rate: float, batch: int):
        self.model, self.training, self.test = model, training, test
        self.steps, self.rate, self.batch = steps, rate, batch

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.model(x), y)

    def training_loss(self) -> float:
        """Return the mean cross entropy of a fixed part of the training data, in nats."""
        x, y = self.training
        with torch.no_grad():
            return float(self.loss(x[:_SAMPLE], y[:_SAMPLE]))

    def test_error(self) -> float:
        """Return the percentage of the test data that is classified wrongly."""
        x, y = self.test
        with torch.no_grad():
            return 100 * float((self.model(x).argmax(-1) != y).float().mean())


def _digits() -> tuple[_Batch, _Batch]:
    images, labels = load_digits()
    x = torch.tensor(np.asarray(images, np.float32).reshape(-1, 64) / 16 - 0.5)
    y = torch.tensor(np.asarray(labels, np.int64))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    first, last = order[:1297], order[1297:]
    return (x[first], y[first]), (x[last], y[last])


def _digits_mlp() -> _Task:
    training, test = _digits()
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return _Task(model, training, test, steps=400, rate=0.1, batch=128)


def _digits_cnn() -> _Task:
    training, test = _digits()
    nn = torch.nn
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    return _Task(model, training, test, steps=300, rate=0.1, batch=128)


#: Modules of the standard library whose source the sequence models read.
_SOURCES = ("argparse", "tarfile", "turtle", "_pydecimal")


def _text(module: str) -> str:
    return Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8")


def _as_codes(text: str) -> np.ndarray[Any, Any]:
    """Return characters as 0 to 95: ASCII from the space on, and one for all else."""
    codes = np.frombuffer(text.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 32
    return np.where((codes >= 0) & (codes < 95), codes, 95)


class _Characters(torch.nn.Module):
    """Predicts each next character from the last eight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(96, 16)
        self.hidden = torch.nn.Linear(8 * 16, 96)
        self.output = torch.nn.Linear(96, 96)

    def forward(self, x: torch.Tensor) -> Any:
        return self.output(torch.tanh(self.hidden(self.embedding(x).flatten(-2))))


def _characters() -> _Task:
    codes = _as_codes(_text(_SOURCES[0]))
    windows = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(codes, 9).copy())
    cut = int(0.9 * len(windows))
    training, test = windows[:cut], windows[cut::4]
    return _Task(
        _Characters(), (training[:, :8], training[:, 8]), (test[:, :8], test[:, 8]), steps=600, rate=0.2, batch=128
    )


class _Transformer(torch.nn.Module):
    """Tells which module a line of source is from."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(97, 32, padding_idx=96)
        self.position = torch.nn.Parameter(0.1 * torch.randn(48, 32))
        layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.output = torch.nn.Linear(32, len(_SOURCES))

    def forward(self, x: torch.Tensor) -> Any:
        return self.output(self.encoder(self.embedding(x) + self.position).mean(1))


def _transformer() -> _Task:
    rows, labels = [], []
    for label, module in enumerate(_SOURCES):
        for line in _text(module).splitlines():
            stripped = line.strip()
            if len(stripped) >= 24:
                codes = _as_codes(stripped[:48])
                rows.append(np.pad(codes, (0, 48 - len(codes)), constant_values=96))
                labels.append(label)
    order = np.random.default_rng(1).permutation(len(rows))
    x, y = torch.from_numpy(np.array(rows)[order]), torch.from_numpy(np.array(labels)[order])
    return _Task(_Transformer(), (x[600:], y[600:]), (x[:600], y[:600]), steps=400, rate=0.1, batch=32)


_MAKERS: dict[str, Callable[[], _Task]] = {
    "digits MLP": _digits_mlp, "digits CNN": _digits_cnn, "characters": _characters, "transformer": _transformer,
}  # fmt: skip


def train(workload: str, precision: str, seed: int, points: int = 10, fraction: float = 1.0) -> dict[str, float]:
    """Train a model under a simulated precision, and return its loss along the way.

    Parameters
    ----------
    workload : str
        A name in `WORKLOADS`.
    precision : str
        A name in `PRECISIONS`.
    seed : int
        Of the initial weights and the order of the data.
    points : int
        How often the loss is taken.
    fraction : float
        Part of the steps to make.

    Returns
    -------
    dict of str to float
        The loss on training data in nats by ``"step 40"``, ``"step 80"``, ..., the last one as ``"loss"``, and the
        final error rate on test data in percent as ``"test_error"``.

    Raises
    ------
    ValueError
        If a name is unknown.

    Notes
    -----
    Weights stay in float32, and stochastic gradient descent with momentum 0.9 and a rate that falls linearly to zero
    updates them there; what is simulated is every product, of both passes and of the evaluation.

    Examples
    --------
    >>> from lpsim.examples.training import train
    >>> curve = train("digits MLP", "TF32", seed=0, points=2, fraction=0.1)
    >>> list(curve)
    ['step 20', 'step 40', 'loss', 'test_error']
    """
    for argument, given, allowed in (("workload", workload, WORKLOADS), ("precision", precision, PRECISIONS)):
        if given not in allowed:
            raise ValueError(f"{argument} is {given!r}; allowed: {', '.join(map(repr, allowed))}")
    torch.manual_seed(seed)
    task = _MAKERS[workload]()
    steps = max(points, round(task.steps * fraction))
    optimizer = torch.optim.SGD(task.model.parameters(), task.rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = torch.Generator().manual_seed(seed)
    x, y = task.training
    curve: dict[str, float] = {}
    with simulate(**PRECISIONS[precision]):
        for step in range(1, steps + 1):
            chosen = torch.randint(len(x), (task.batch,), generator=generator)
            optimizer.zero_grad()
            task.loss(x[chosen], y[chosen]).backward()
            optimizer.step()
            schedule.step()
            if step % (steps // points) == 0:
                curve[f"step {step}"] = task.training_loss()
        return {**curve, "loss": task.training_loss(), "test_error": task.test_error()}
