"""What outputs answer, and how well answers agree with targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.losses import Loss

Array = NDArray[Any]


def answers(loss: Loss, outputs: Array) -> Array:
    """What `MLP.predict` gives, from outputs (n, outputs): class indices, 0 or 1, or the outputs themselves."""
    if loss.targets == "classes":
        labels: Array = outputs.argmax(axis=1).astype(np.int64, copy=False)
        return labels
    found: Array = (outputs > 0.5).astype(np.int64) if loss.classifies else outputs
    return found[:, 0] if found.shape[1] == 1 else found


def score(loss: Loss, found: Array, targets: Array) -> float:
    """The share of rows whose answers are right, in all outputs; of numbers R^2, the mean over outputs."""
    if loss.targets == "classes":
        return float(np.mean(found == (targets if targets.ndim == 1 else targets.argmax(axis=1))))
    found = found.reshape(targets.shape)
    if loss.classifies:
        return float(np.mean((found == (targets > 0.5)).all(axis=1)))
    wanted = targets.astype(np.float64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        missed = np.square(wanted - found).sum(axis=0)
        spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
        return float(np.where(spread > 0, 1 - missed / spread, missed == 0).mean())
