"""What `MLP.fit` is told, checked and made a plan; and the plan carried out."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import frames, validation
from ..inputs import blocks
from ..inputs.in_memory import Rows, StreamError, rows_of
from ..learning_rates import Constant, LearningRate
from ..model.model import NAMES, Model
from ..optimizers import optimizer_of
from .checkpoints import Checkpoints, digest, digest_of_rows
from .early_stopping import EarlyStopping
from .history import History
from .loop import Training
from .optimizer_state import OptimizerState
from .plan import Plan


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


def validation_data(model: Model, pair: Any, memory_limit: int | None,
                    known: tuple[str, ...] | None = None) -> tuple[Rows, NDArray[Any]]:  # fmt: skip
    """Return the rows and targets of a pair (X, y), all of them checked now, not after the first epoch."""
    if not isinstance(pair, (tuple, list)):
        raise TypeError(f"validation_data: got {type(pair).__name__}, expected a pair (X, y)")
    if len(pair) != 2:
        raise ValueError(f"validation_data: got {len(pair)} items, expected a pair (X, y) without weights")
    rows = rows_of(model, "validation_data[0]", blocks.held_out(pair[0], memory_limit), known)
    targets = model.targets("validation_data[1]", pair[1], rows.count)
    rows.check()
    return rows, targets


def carry_out(plan: Plan, model: Model, X: Any, y: Any, *, sample_weight: Any = None,
              memory: OptimizerState | None = None, after_epoch: Callable[[History], bool] | None = None,
              progress: bool | None = False, checkpoints: Checkpoints | None = None, rows: Any = None,
              known: tuple[str, ...] | None = None) -> History:  # fmt: skip
    """Train a model by a plan, whose numbers are checked; the arguments are those of `MLP.train`."""
    source, targets, weights = blocks.taken(model, X, y, sample_weight, plan.terms, known)
    target_name = source.target_name if isinstance(source, blocks.Stream) else frames.name_of(y)
    columns = frames.outputs_of("y", y, model.sizes[-1])
    if isinstance(source, blocks.Stream):
        if rows is not None:
            raise ValueError("rows: got some and rows that are read block by block, expected None")
        plan = replace(plan, order=source.order(plan.generator))
    elif rows is not None:
        index = validation.row_indices("rows", rows, source.count)
        source, targets = source.of(index), targets[index]
        weights = None if weights is None else weights[index]
    memory = OptimizerState() if memory is None else memory
    if memory.filled:  # which could not be taken back
        source.check()
    state = model.rng.bit_generator.state
    key = int(model.rng.integers(2**63)) if plan.dropout else 0
    training = Training(model, source, targets, weights, plan, memory, key, checkpoints)
    try:
        with named(model, training.history, source.names, target_name, None if columns is None else columns.names):
            return training.run(after_epoch, progress)
    except (TypeError, ValueError, OSError, StreamError):
        if not training.history.loss:  # X, rates or the checkpoint; later it is a callback's
            model.rng.bit_generator.state = state
        raise
    finally:
        source.close()


@contextlib.contextmanager
def named(model: Model, history: History, features: tuple[str, ...] | None, target: str | None,
          outputs: tuple[str, ...] | None = None) -> Iterator[None]:  # fmt: skip
    """Give a model the names of the columns that it is trained on, and those of targets if it has none yet: for good,
    unless the training within is refused."""
    before = {name: getattr(model, name) for name in NAMES}
    taken = {"feature_names": features, "target_name": model.target_name or target,
             "class_names": model.class_names or outputs}  # fmt: skip
    for name, value in taken.items():
        if value != before[name] and value is not None:  # to check hundreds of names takes longer than a small step
            setattr(model, name, value)
    try:
        yield
    except (TypeError, ValueError, OSError, StreamError):
        if not history.loss:
            for name, value in before.items():
                setattr(model, name, value)
        raise
