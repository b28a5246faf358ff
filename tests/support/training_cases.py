"""Rows and networks for the tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastbp import reference
from fastbp.training import loop

DTYPES = ("float32", "float64")


def rows(n: int, sizes: tuple[int, ...], dtype: str = "float32", seed: int = 7) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)


def watch_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many epochs each compiled call of a training takes, from now on."""
    seen: list[int] = []
    call = loop.Training._call

    def watched(self: Any, stage: Any, *arguments: Any) -> Any:
        seen.append(stage.rounds)
        return call(self, stage, *arguments)

    monkeypatch.setattr(loop.Training, "_call", watched)
    return seen


# ---- against the reference ----


def replay(sizes: tuple[int, ...], seed: int, X: Any, y: Any, epochs: int, batch_size: int, shuffle: bool, *,
           activation: str = "relu", **options: Any) -> tuple[list[Any], list[Any], list[float]]:  # fmt: skip
    """The same training in NumPy: weights, biases, and the mean loss of every epoch."""
    rng = np.random.default_rng(seed)
    fans = list(zip(sizes[:-1], sizes[1:], strict=True))
    variances = [2 / i if activation == "relu" else 2 / (i + o) for i, o in fans]
    weights: Any = [rng.normal(0.0, np.sqrt(v), fan) for v, fan in zip(variances, fans, strict=True)]
    biases: Any = [np.zeros(o) for _, o in fans]
    history = []
    for _ in range(epochs):
        order = rng.permutation(len(X)) if shuffle else np.arange(len(X))
        weights, biases, losses = reference.train(
            weights, biases, X, y, order, batch_size, activation=activation, **options
        )
        counts = np.minimum(batch_size, len(X) - np.arange(0, len(X), batch_size))
        history.append(float(losses @ counts) / len(X))
    return weights, biases, history
