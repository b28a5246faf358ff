"""Check the arguments of `MLP.fit`, and make of them what training takes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..averaging import Averaging
from ..inputs.in_memory import Rows, rows_of
from ..inputs.opening import limit_residency
from ..learning_rates import Constant, LearningRate
from ..model.model import Model
from ..optimizers import Custom, Optimizer, optimizer_of
from .early_stopping import EarlyStopping
from .history import History
from .orders import Permutations
from .plan import Plan

if TYPE_CHECKING:
    from .checkpoints import Checkpoints


def make_plan(
    model: Model,
    *,
    epochs: Any,
    batch_size: Any,
    learning_rate: Any,
    l2: Any,
    optimizer: Any,
    shuffle: Any,
    dropout: Any,
    max_grad_norm: Any,
    time_budget: Any,
    memory_limit: Any = None,
    input_dropout: Any = 0.0,
    layer_learning_rates: Any = None,
    embedding_learning_rates: Any = 1.0,
    label_smoothing: Any = 0.0,
    averaging: Any = None,
) -> Plan:
    """Return a plan of checked numbers; the order of rows is drawn from the network's generator."""
    optimizer = optimizer_of(optimizer)
    if isinstance(learning_rate, LearningRate):
        validation.rate("learning_rate", getattr(learning_rate, "learning_rate", None), model.dtype)
    else:
        given = optimizer.default_learning_rate if learning_rate is None else learning_rate
        learning_rate = Constant(validation.rate("learning_rate", given, model.dtype))
    shuffled = validation.truth("shuffle", shuffle)
    epochs = validation.whole_number("epochs", epochs)
    least, most = float(np.finfo(model.dtype).tiny), float(np.finfo(model.dtype).max)
    return Plan(
        epochs=epochs,
        batch_size=validation.whole_number("batch_size", batch_size),
        learning_rate=learning_rate,
        l2=validation.rate("l2", l2, model.dtype),
        optimizer=optimizer,
        order=Permutations(model.rng) if shuffled else lambda rows: None,
        dropout=validation.shares("dropout", dropout, len(model.sizes) - 2),
        max_grad_norm=None if max_grad_norm is None else validation.number("max_grad_norm", max_grad_norm, least, most),
        time_budget=None if time_budget is None else validation.number("time_budget", time_budget),
        memory_limit=None if memory_limit is None else validation.whole_number("memory_limit", memory_limit),
        generator=model.rng if shuffled else None,
        mapped_in_blocks=True,
        input_dropout=validation.number("input_dropout", input_dropout, 0.0, 1.0, below=True),
        rates=_rates(model, optimizer, layer_learning_rates, embedding_learning_rates),
        label_smoothing=_label_smoothing(model, label_smoothing),
        averaging=_averaging(averaging, epochs),
    )


def _averaging(given: Any, epochs: int) -> Averaging | None:
    if given is None:
        return None
    if not isinstance(given, Averaging):
        raise TypeError(f"averaging: got {given!r}, expected an object of fastbp.averaging, or None")
    if given.start >= epochs:
        raise ValueError(f"averaging: got {given} and {epochs} epochs, expected a start below {epochs}")
    return given


def _label_smoothing(model: Model, given: Any) -> float:
    share = validation.number("label_smoothing", given, 0.0, 1.0)
    if share and not model.loss.classifies:
        raise ValueError(f"label_smoothing: got {share} for {model.loss.name}, expected 0: its targets are no classes")
    return share


def _rates(model: Model, optimizer: Optimizer, layers: Any, tables: Any) -> tuple[float, ...]:
    """Return the factors of each layer's learning rate, then of each table's; none where all are 1."""
    count, columns = model.network.layers, [each.column for each in model.embeddings]
    given = [1.0] * count if layers is None else validation.as_list(layers)
    if given is None or isinstance(layers, (str, bytes, Mapping)):
        raise TypeError(
            f"layer_learning_rates: got {layers!r}, expected a sequence of {count} numbers, one for each layer"
        )
    if len(given) != count:
        raise ValueError(f"layer_learning_rates: got {len(given)} factors, expected {count}: one for each layer")
    of_layers = [validation.rate(f"layer_learning_rates[{i}]", each, model.dtype) for i, each in enumerate(given)]
    name = "embedding_learning_rates"
    if isinstance(tables, Mapping):
        if unknown := [column for column in tables if column not in columns]:
            raise ValueError(
                f"{name}: got column {unknown[0]!r}, expected embedded ones: {columns or 'there are none'}"
            )
        of_tables = [validation.rate(f"{name}[{column}]", tables.get(column, 1.0), model.dtype) for column in columns]
    else:
        of_tables = [validation.rate(name, tables, model.dtype)] * len(columns)
        if tables != 1 and not columns:
            raise ValueError(f"{name}: got {tables!r}, but the network has no embeddings")
    rates = (*of_layers, *of_tables)
    if not any(rates):
        raise ValueError("layer_learning_rates: got 0 for all that is trained, expected a factor above 0")
    if all(rate == 1 for rate in rates):
        return ()
    if isinstance(optimizer, Custom):
        name = name if all(rate == 1 for rate in of_layers) else "layer_learning_rates"
        raise ValueError(
            f"{name}: got factors other than 1 and {type(optimizer).__name__}, an optimizer of your own, "
            "expected none; its update may treat each layer differently"
        )
    return rates


def check_callbacks(given: Any) -> list[Callable[[Any, History], object]]:
    """Return the callbacks as a list; TypeError unless all of them are callable."""
    calls = validation.as_list(given)
    if calls is None or not all(callable(callback) for callback in calls):
        raise TypeError(f"callbacks: got {given!r}, expected a sequence of callables")
    return calls


def make_early_stopping(model: Model, patience: Any, tol: Any) -> EarlyStopping:
    """Return what stops training early; with a patience of None it never does."""
    epochs = math.inf if patience is None else validation.whole_number("early_stopping", patience)
    return EarlyStopping(model, epochs, validation.number("tol", tol))


def make_checkpoints(
    model: Model,
    path: Any,
    seconds: Any,
    stop: EarlyStopping,
    shuffle: Any,
    held_out: tuple[NDArray[Any], NDArray[Any]] | None,
) -> Checkpoints | None:
    """Return what writes the fit's state, or None without a path.

    All arguments but the first three must be the same in the call that goes on from the file.
    """
    seconds = validation.number("checkpoint_seconds", seconds)
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint: got {type(path).__name__}, expected the path of a file, or None")
    from .checkpoints import Checkpoints  # and with it zipfile and json: 7 ms
    from .fingerprint import digest, digest_of_rows

    rows, targets = (None, None) if held_out is None else held_out
    settings = {
        "seed": model.seed,
        "shuffle": bool(shuffle),
        "early_stopping": stop.patience,
        "tol": stop.tol,
        "validation_data[0]": None if rows is None else digest_of_rows(rows_of(model, "validation_data[0]", rows)),
        "validation_data[1]": digest(targets),
    }
    return Checkpoints(path, seconds, model, stop, settings)


def check_validation_data(
    model: Model, pair: Any, memory_limit: int | None, known: tuple[str, ...] | None = None
) -> tuple[Rows, NDArray[Any]]:
    """Return the rows and targets of a pair (X, y), all checked now rather than after the first epoch."""
    if not isinstance(pair, (tuple, list)):
        raise TypeError(f"validation_data: got {type(pair).__name__}, expected a pair (X, y)")
    if len(pair) != 2:
        raise ValueError(f"validation_data: got {len(pair)} items, expected a pair (X, y) without weights")
    name = "validation_data[0]"
    rows = rows_of(model, name, limit_residency(name, pair[0], memory_limit), known)
    targets = model.targets("validation_data[1]", pair[1], rows.count)
    rows.check()
    return rows, targets
