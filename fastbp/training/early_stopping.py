"""Early stopping, and the best parameters so far."""

from __future__ import annotations

import math
from typing import Any

from ..model.model import Model
from .history import History


class EarlyStopping:
    """Watches the validation loss, or the training loss without validation data, and keeps the best parameters.

    Parameters
    ----------
    model : Model
    patience : float
        Epochs without an improvement after which training stops; infinity for never.
    tol : float
        By how much the loss must fall below the lowest one to count as an improvement.
    """

    def __init__(self, model: Model, patience: float, tol: float):
        self.model, self.patience, self.tol = model, patience, tol
        self.lowest, self.waited = math.inf, 0
        self.best: Any = None

    def after_epoch(self, history: History) -> bool:
        """Take note of an epoch's loss; return whether to stop."""
        if self.patience == math.inf:
            return False
        loss = (history.validation_loss or history.loss)[-1]
        self.waited = 0 if loss < self.lowest - self.tol else self.waited + 1
        if loss < self.lowest:
            self.lowest, self.best = loss, self.model.parameters.copy()
        return self.waited >= self.patience

    def restore_best(self) -> None:
        """Write the parameters of the epoch with the lowest loss back into the model."""
        if self.best is not None:
            self.model.parameters[...] = self.best
