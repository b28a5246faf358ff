"""When to stop early, and the best parameters so far."""

from __future__ import annotations

import math
from typing import Any

from ..model.model import Model
from .history import History


class EarlyStopping:
    """Watches the validation loss, or the training loss without validation data, and keeps the best parameters."""

    def __init__(self, model: Model, patience: float, tol: float):
        self.model, self.patience, self.tol = model, patience, tol
        self.lowest, self.waited = math.inf, 0
        self.best: Any = None

    def after_epoch(self, history: History) -> bool:
        """Whether to stop."""
        if self.patience == math.inf:
            return False
        loss = (history.validation_loss or history.loss)[-1]
        self.waited = 0 if loss < self.lowest - self.tol else self.waited + 1
        if loss < self.lowest:
            self.lowest, self.best = loss, self.model.parameters.copy()
        return self.waited >= self.patience

    def restore_best(self) -> None:
        if self.best is not None:
            self.model.parameters[...] = self.best
