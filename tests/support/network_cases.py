"""Networks of any activation and loss, and targets for them, that several test files ask the same of."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp import MLP, reference
from fastbp.kernels.losses import LOSSES


def tried_constants(outputs: int) -> dict[str, Any]:
    """Values of all constants other than the defaults; where each output may have its own, so it has of odd ones."""
    rows = (*reference.ACTIVATIONS.values(), *reference.LOSSES.values())
    return {name: constant.trial(outputs, outputs) for row in rows for name, constant in row.constants.items()}


def network(sizes: tuple[int, ...], activation: Any, loss: str, dtype: str, scaled: bool = False) -> MLP:
    """Sums of order 1, and biases that can be missed."""
    scaling: dict[str, Any] = {}
    if scaled:
        scaling = {"input_shift": np.linspace(-1, 1, sizes[0]), "input_scale": np.linspace(0.5, 1.5, sizes[0])}
    net = MLP(sizes, activation, loss, dtype, seed=1, **tried_constants(sizes[-1]), **scaling)
    rng = np.random.default_rng(sizes)
    for W, b in zip(net.weights, net.biases, strict=True):
        W[...] = rng.normal(0, len(W) ** -0.5, W.shape)
        b[...] = rng.normal(0, 0.5, b.shape)
    return net


def targets_of(loss: str, n: int, outputs: int, dtype: str, soft: bool = False) -> Any:
    """Numbers of the dtype: of one output flat. Softmax takes labels, or `soft` ones."""
    rng = np.random.default_rng([n, outputs])
    kind = LOSSES[loss].targets
    if kind == "classes":
        return (rng.multinomial(64, np.full(outputs, 1 / outputs), n) / 64).astype(dtype) if soft else (
            rng.integers(0, outputs, n))  # fmt: skip
    t = {"shares": rng.uniform(0, 1, (n, outputs)).round(1), "counts": rng.poisson(1.5, (n, outputs)) * 1.0}.get(
        kind, rng.normal(size=(n, outputs))
    )
    t = t.astype(dtype)
    return t[:, 0] if outputs == 1 else t
