"""`fit_many`: networks trained side by side, one per thread; and the checks and errors that all such calls share."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import frames, validation
from ..averaging import Averaging
from ..inputs.in_memory import rows_of
from ..learning_rates import LearningRate
from ..network import MLP
from ..optimizers import Optimizer
from ..training import arguments as fit_arguments
from ..training.history import History
from .pool import run_all

_PARAMETERS = inspect.signature(MLP.fit).parameters
# The arguments of `MLP.fit` with their defaults, without X, y and the progress bar; and those that make up a plan.
FIT_ARGUMENTS = {name: _PARAMETERS[name].default for name in _PARAMETERS if name not in ("self", "X", "y", "progress")}
PLAN_ARGUMENTS = [name for name in inspect.signature(fit_arguments.make_plan).parameters if name in FIT_ARGUMENTS]


def fit_many(
    networks: Sequence[MLP],
    X: ArrayLike,
    y: ArrayLike,
    epochs: int | Sequence[int] = 10,
    batch_size: int | Sequence[int] = 128,
    learning_rate: float | LearningRate | None | Sequence[float | LearningRate | None] = None,
    l2: float | Sequence[float] = 0.0,
    optimizer: str | Optimizer | Sequence[str | Optimizer] = "sgd",
    shuffle: bool | Sequence[bool] = True,
    validation_data: tuple[ArrayLike, ArrayLike] | list[tuple[ArrayLike, ArrayLike] | None] | None = None,
    progress: bool | None = None,
    callbacks: Sequence[Any] = (),
    *,
    sample_weight: Any = None,
    dropout: float | Sequence[float | Sequence[float]] = 0.0,
    input_dropout: float | Sequence[float] = 0.0,
    layer_learning_rates: Any = None,
    embedding_learning_rates: Any = 1.0,
    label_smoothing: float | Sequence[float] = 0.0,
    averaging: Averaging | None | Sequence[Averaging | None] = None,
    max_grad_norm: float | None | Sequence[float | None] = None,
    early_stopping: int | None | Sequence[int | None] = None,
    tol: float | Sequence[float] = 1e-4,
    time_budget: float | None | Sequence[float | None] = None,
    rows: Any = None,
) -> list[History]:
    """Train networks on the same data side by side, each on a single thread.

    Each network ends with the same bits as from its own ``fit``, whatever the number of threads. `fastbp.threads` sets
    that number. This is faster for networks that are too small to use two threads in a step.

    Parameters
    ----------
    networks : sequence of MLP
        Of any sizes and settings, no network twice; none may share a `Generator` with another.
    X, y
        As for `MLP.fit`, for all networks.
    epochs, batch_size, learning_rate, l2, optimizer, shuffle, dropout, input_dropout, label_smoothing, averaging,
    max_grad_norm, early_stopping, tol, time_budget
        As for `MLP.fit`: one value for all networks, or a sequence with one for each, such as ``dropout=[(0.1, 0.3)] *
        len(networks)`` for a share of each layer. A `LearningRate` is copied for each network.
    rows, sample_weight, layer_learning_rates
        As for `MLP.fit`: an array for all, or a list of one array (or None) for each.
    embedding_learning_rates
        As for `MLP.fit`: a number or a mapping for all, or a list of one for each.
    validation_data
        A tuple (X, y) for all, or a list of one tuple (or None) for each.
    callbacks
        A sequence of callables for all, or a list of one such sequence for each. They are called in the network's
        thread.
    progress : bool or None
        A progress bar that counts networks; None: on a terminal and in notebooks only.

    Returns
    -------
    list of History
        One for each network, in their order.

    Raises
    ------
    ValueError, TypeError
        As for `MLP.fit`, in most cases before anything is trained; or a network or a generator is given twice.
    DivergenceError, Exception
        Raised by a `fit`, with a note that names its network, after all the other networks have been trained. If
        several fail, the error of the first network is raised.
    KeyboardInterrupt
        Ctrl-C ends all fits, each at the first step boundary after 50 ms.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> networks = [fastbp.MLP((2, 20, 4), seed=seed) for seed in range(3)]
    >>> histories = fastbp.fit_many(networks, X, y, epochs=20, batch_size=20, learning_rate=[0.1, 0.3, 0.5])
    >>> [len(history.loss) for history in histories]
    [20, 20, 20]
    >>> fastbp.Ensemble(networks).score(X, y) > 0.95
    True
    """
    nets = check_networks(networks)
    check_distinct(nets)
    columns = {
        "epochs": _each("epochs", epochs, nets),
        "batch_size": _each("batch_size", batch_size, nets),
        "learning_rate": _each("learning_rate", learning_rate, nets),
        "l2": _each("l2", l2, nets),
        "optimizer": _each("optimizer", optimizer, nets),
        "shuffle": _each("shuffle", shuffle, nets),
        "dropout": _each("dropout", dropout, nets),
        "input_dropout": _each("input_dropout", input_dropout, nets),
        "layer_learning_rates": _each(
            "layer_learning_rates", layer_learning_rates, nets, _are_arrays(layer_learning_rates)
        ),
        "label_smoothing": _each("label_smoothing", label_smoothing, nets),
        "averaging": _each("averaging", averaging, nets),
        "embedding_learning_rates": _each("embedding_learning_rates", embedding_learning_rates, nets),
        "max_grad_norm": _each("max_grad_norm", max_grad_norm, nets),
        "early_stopping": _each("early_stopping", early_stopping, nets),
        "tol": _each("tol", tol, nets),
        "time_budget": _each("time_budget", time_budget, nets),
        "validation_data": _each("validation_data", validation_data, nets, isinstance(validation_data, list)),
        "callbacks": _each("callbacks", callbacks, nets, not _are_callables(callbacks)),
        "sample_weight": _each("sample_weight", sample_weight, nets, _are_arrays(sample_weight)),
        "rows": _each("rows", rows, nets, _are_arrays(rows)),
    }
    X = frames.read("X", X)  # once for all
    tasks, costs = [], []
    for i, net in enumerate(nets):
        arguments = {name: column[i] for name, column in columns.items()}
        try:
            costs.append(check_fit(net, X, y, arguments))
        except Exception as error:
            error.add_note(f"networks[{i}]")
            raise
        tasks.append(fit_task(net, X, y, arguments))
    return raise_first_error(run_all(tasks, costs, progress, "network"), "networks[{}]".format)


def fit_task(net: MLP, X: Any, y: Any, arguments: dict[str, Any]) -> Callable[[], History]:
    """Return a function that calls `fit`, in any thread. A learning rate may hold state, so the fit gets a copy."""
    own = {**arguments, "learning_rate": copy.deepcopy(arguments.get("learning_rate"))}
    return lambda: net.fit(X, y, progress=False, **own)


def check_fit(net: MLP, X: Any, y: Any, arguments: dict[str, Any]) -> float:
    """Raise what `fit` would raise for these arguments, without reading all of X; return an estimate of its work."""
    settings = FIT_ARGUMENTS | arguments
    plan = fit_arguments.make_plan(net.model, **{name: settings[name] for name in PLAN_ARGUMENTS})
    fit_arguments.check_callbacks(settings["callbacks"])
    fit_arguments.make_early_stopping(net.model, settings["early_stopping"], settings["tol"])
    rows = rows_of(net.model, "X", X).count
    net.model.targets("y", y, rows)
    if settings["rows"] is not None:
        rows = len(validation.row_indices("rows", settings["rows"], rows))
    return float(plan.epochs * rows * net.parameters.size)


def raise_first_error(outcomes: list[Any], name: Callable[[int], str]) -> list[Any]:
    """Raise the first exception among the outcomes, with a note that names all that failed; else return them."""
    failed = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)]
    if failed:
        others = "" if len(failed) == 1 else f"; and {', '.join(map(name, failed[1:]))} failed as well"
        outcomes[failed[0]].add_note(name(failed[0]) + others)
        raise outcomes[failed[0]]
    return outcomes


def check_networks(networks: Any) -> list[MLP]:
    """Return a list of networks, at least one."""
    nets = validation.as_list(networks)
    if nets is None or not all(isinstance(net, MLP) for net in nets):
        raise TypeError(f"networks: got {type(networks).__name__}, expected a sequence of MLP")
    if not nets:
        raise ValueError("networks: got none, expected at least one")
    return nets


def check_distinct(nets: Sequence[MLP]) -> None:
    """Refuse networks that cannot be trained side by side: the same network twice, or two with the same generator."""
    seen: dict[int, int] = {}
    for i, net in enumerate(nets):
        for part, what in ((net, "the same network"), (net.rng, "one Generator, whose draws would mingle,")):
            if (first := seen.setdefault(id(part), i)) != i:
                raise ValueError(f"networks: got {what} at [{first}] and [{i}], expected one each")


def _are_callables(value: Any) -> bool:
    return all(callable(item) for item in validation.as_list(value) or ())


def _are_arrays(value: Any) -> bool:
    """Return True for a list of arrays, or of None, rather than one array."""
    return isinstance(value, (list, tuple)) and any(item is None or np.ndim(item) > 0 for item in value)


def _each(name: str, value: Any, nets: list[MLP], several: bool | None = None) -> list[Any]:
    """Return one value for each network, from one for all, or from one for each if `several` (None: if a sequence)."""
    if several is None:
        several = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)
    if not several:
        return [value] * len(nets)
    values = list(value)
    if len(values) != len(nets):
        raise ValueError(f"{name}: got {len(values)} values, expected one for all networks, or {len(nets)}: one each")
    return values
