"""What `MLP.fit` is told, checked and made a plan; when to stop early; one thread at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import validation
from .learning_rates import Constant, LearningRate
from .optimizers import optimizer_of
from .resume import Checkpoints, digest, digest_of_rows
from .training import History, Plan


def plan(model: Model, *, epochs: Any, batch_size: Any, learning_rate: Any, l2: Any, optimizer: Any, shuffle: Any,
         dropout: Any, max_grad_norm: Any, time_budget: Any, memory_limit: Any = None) -> Plan:  # fmt: skip
    """The arguments of `MLP.fit`, checked; the order of rows is drawn from the network's generator."""
    optimizer = optimizer_of(optimizer)
    if isinstance(learning_rate, LearningRate):
        validation.rate("learning_rate", getattr(learning_rate, "learning_rate", None), model.dtype)
    else:
        given = optimizer.default_learning_rate if learning_rate is None else learning_rate
        learning_rate = Constant(validation.rate("learning_rate", given, model.dtype))
    shuffled = validation.truth("shuffle", shuffle)
    least, most = float(np.finfo(model.dtype).tiny), float(np.finfo(model.dtype).max)
    return Plan(
        epochs=validation.whole_number("epochs", epochs),
        batch_size=validation.whole_number("batch_size", batch_size),
        learning_rate=learning_rate,
        l2=validation.rate("l2", l2, model.dtype),
        optimizer=optimizer,
        order=model.rng.permutation if shuffled else lambda rows: None,
        dropout=validation.number("dropout", dropout, 0.0, 1.0, below=True),
        max_grad_norm=None if max_grad_norm is None else validation.number("max_grad_norm", max_grad_norm, least, most),
        time_budget=None if time_budget is None else validation.number("time_budget", time_budget),
        memory_limit=None if memory_limit is None else validation.whole_number("memory_limit", memory_limit),
        generator=model.rng if shuffled else None,
        streams=True,
    )


def callbacks(given: Any) -> list[Callable[[Any, History], object]]:
    calls = validation.as_list(given)
    if calls is None or not all(callable(callback) for callback in calls):
        raise TypeError(f"callbacks: got {given!r}, expected a sequence of callables")
    return calls


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


def early_stopping(model: Model, patience: Any, tol: Any) -> EarlyStopping:
    epochs = math.inf if patience is None else validation.whole_number("early_stopping", patience)
    return EarlyStopping(model, epochs, validation.number("tol", tol))


def checkpoints(model: Model, path: Any, seconds: Any, stop: EarlyStopping, shuffle: Any,
                held_out: tuple[NDArray[Any], NDArray[Any]] | None) -> Checkpoints | None:  # fmt: skip
    """Where the fit's state is written, or None; and what must be the same when it goes on from there."""
    seconds = validation.number("checkpoint_seconds", seconds)
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint: got {type(path).__name__}, expected the path of a file, or None")
    rows, targets = (None, None) if held_out is None else held_out
    return Checkpoints(path, seconds, model, stop, {
        "seed": model.seed, "shuffle": bool(shuffle), "early_stopping": stop.patience, "tol": stop.tol,
        "validation_data[0]": None if rows is None else digest_of_rows(rows_of(model, "validation_data[0]", rows)),
        "validation_data[1]": digest(targets),
    })  # fmt: skip
