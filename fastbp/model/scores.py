"""Predictions from outputs, and their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.losses import Loss

Array = NDArray[Any]


def predictions(loss: Loss, outputs: Array) -> Array:
    """Return what `MLP.predict` returns, from outputs (n, outputs): class indices, 0 or 1, or the outputs."""
    if loss.targets == "classes":
        labels: Array = outputs.argmax(axis=1).astype(np.int64, copy=False)
        return labels
    predicted: Array = (outputs > 0.5).astype(np.int64) if loss.classifies else outputs
    return predicted[:, 0] if predicted.shape[1] == 1 else predicted


def score(loss: Loss, predicted: Array, targets: Array) -> float:
    """Return the accuracy: the share of rows whose outputs are all right; for regression R^2, the mean over outputs."""
    if loss.targets == "classes":
        return float(np.mean(predicted == (targets if targets.ndim == 1 else targets.argmax(axis=1))))
    predicted = predicted.reshape(targets.shape)
    if loss.classifies:
        return float(np.mean((predicted == (targets > 0.5)).all(axis=1)))
    wanted = targets.astype(np.float64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        residual = np.square(wanted - predicted).sum(axis=0)
        spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
        return float(np.where(spread > 0, 1 - residual / spread, residual == 0).mean())
