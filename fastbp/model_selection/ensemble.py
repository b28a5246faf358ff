"""Many networks: trained side by side, one a thread; and their mean."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames, validation
from ..inputs.in_memory import rows_of
from ..learning_rates import LearningRate
from ..model import contents, npz_file, pickles
from ..model.scores import answers, score
from ..names import listed
from ..network import MLP
from ..optimizers import Optimizer
from ..training import arguments as fit_arguments
from ..training.history import History
from .pool import run_all

Array = NDArray[Any]
# What `MLP.fit` takes beside X and y, but for the progress bar, and of it what makes up a plan.
OF_FIT = {name: parameter.default for name, parameter in inspect.signature(MLP.fit).parameters.items()
          if name not in ("self", "X", "y", "progress")}  # fmt: skip
PLANNED = {name: OF_FIT[name] for name in inspect.signature(fit_arguments.make_plan).parameters if name in OF_FIT}


def fit_many(networks: Sequence[MLP], X: ArrayLike, y: ArrayLike, epochs: int | Sequence[int] = 10,
             batch_size: int | Sequence[int] = 128,
             learning_rate: float | LearningRate | None | Sequence[float | LearningRate | None] = None,
             l2: float | Sequence[float] = 0.0, optimizer: str | Optimizer | Sequence[str | Optimizer] = "sgd",
             shuffle: bool | Sequence[bool] = True,
             validation_data: tuple[ArrayLike, ArrayLike] | list[tuple[ArrayLike, ArrayLike] | None] | None = None,
             progress: bool | None = None, callbacks: Sequence[Any] = (), *, sample_weight: Any = None,
             dropout: float | Sequence[float] = 0.0, max_grad_norm: float | None | Sequence[float | None] = None,
             early_stopping: int | None | Sequence[int | None] = None, tol: float | Sequence[float] = 1e-4,
             time_budget: float | None | Sequence[float | None] = None, rows: Any = None) -> list[History]:  # fmt: skip
    """Train networks on the same data side by side: one a thread, each serial inside, none waits for another.

    The result of each is that of its own ``fit`` by every bit, whatever the number of threads. There are as many as
    `fastbp.threads` allows. Pays for networks too small to use two threads in a step.

    Parameters
    ----------
    networks : sequence of MLP
        Of any sizes and settings; each with a seed of its own, not with one `Generator` for several.
    X, y
        As for `MLP.fit`, for all networks.
    epochs, batch_size, learning_rate, l2, optimizer, shuffle, dropout, max_grad_norm, early_stopping, tol, time_budget
        As for `MLP.fit`: one for all networks, or a sequence of one for each. A `LearningRate` is copied for each.
    rows, sample_weight
        As for `MLP.fit`: an array for all, or a list of one array (or None) for each.
    validation_data
        A tuple (X, y) for all, or a list of one tuple (or None) for each.
    callbacks
        A sequence of callables for all, or a list of one such sequence for each; called in the network's thread.
    progress : bool or None
        A progress bar that counts networks; None: on a terminal only.

    Returns
    -------
    list of History
        One for each network, in their order.

    Raises
    ------
    ValueError, TypeError
        Arguments as for `MLP.fit`, most of them before anything is trained; a network, or a generator, given twice.
    DivergenceError, Exception
        What a `fit` raised, with a note that names its network: after all the others have ended, which are trained.
        Of several the first network's.
    KeyboardInterrupt
        Ctrl-C ends all, each at the first step boundary after 50 ms.

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
    nets = _networks(networks)
    distinct(nets)
    single = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "l2": l2, "optimizer": optimizer,
        "shuffle": shuffle, "dropout": dropout, "max_grad_norm": max_grad_norm, "early_stopping": early_stopping,
        "tol": tol, "time_budget": time_budget,
    }  # fmt: skip
    several = {
        "validation_data": isinstance(validation_data, list),
        "callbacks": not all(callable(callback) for callback in validation.as_list(callbacks) or ()),
        "sample_weight": _are_arrays(sample_weight), "rows": _are_arrays(rows),
    }  # fmt: skip
    given = {"validation_data": validation_data, "callbacks": callbacks, "sample_weight": sample_weight, "rows": rows}
    columns = {name: _each(name, value, _is_sequence(value), len(nets)) for name, value in single.items()}
    columns |= {name: _each(name, given[name], several[name], len(nets)) for name in given}
    X = frames.read("X", X)  # once for all
    jobs, costs = [], []
    for i, net in enumerate(nets):
        arguments = {name: column[i] for name, column in columns.items()}
        try:
            costs.append(check(net, X, y, arguments))
        except Exception as error:
            error.add_note(f"networks[{i}]")
            raise
        jobs.append(fit_job(net, X, y, arguments))
    return raised(run_all(jobs, costs, progress, "network"), "networks[{}]".format)


def fit_job(net: MLP, X: Any, y: Any, arguments: dict[str, Any]) -> Callable[[], History]:
    """A `fit`, to be called from a thread of its own: with a learning rate of its own, for it may remember."""
    own = {**arguments, "learning_rate": copy.deepcopy(arguments.get("learning_rate"))}
    return lambda: net.fit(X, y, progress=False, **own)


def check(net: MLP, X: Any, y: Any, arguments: dict[str, Any]) -> float:
    """Refuse what `fit` would refuse, as far as that takes no look at all of X; about how much work the fit is."""
    told = OF_FIT | arguments
    plan = fit_arguments.make_plan(net.model, **{name: told[name] for name in PLANNED})
    fit_arguments.check_callbacks(told["callbacks"])
    fit_arguments.make_early_stopping(net.model, told["early_stopping"], told["tol"])
    rows = rows_of(net.model, "X", X).count
    net.model.targets("y", y, rows)
    if told["rows"] is not None:
        rows = len(validation.row_indices("rows", told["rows"], rows))
    return float(plan.epochs * rows * net.parameters.size)


def raised(outcomes: list[Any], name: Callable[[int], str]) -> list[Any]:
    """The outcomes; the first that is an exception is raised, with a note of which it is and how many others are."""
    failed = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)]
    if failed:
        others = "" if len(failed) == 1 else f"; and {', '.join(map(name, failed[1:]))} failed as well"
        outcomes[failed[0]].add_note(name(failed[0]) + others)
        raise outcomes[failed[0]]
    return outcomes


def _networks(networks: Any) -> list[MLP]:
    nets = validation.as_list(networks)
    if nets is None or not all(isinstance(net, MLP) for net in nets):
        raise TypeError(f"networks: got {type(networks).__name__}, expected a sequence of MLP")
    if not nets:
        raise ValueError("networks: got none, expected at least one")
    return nets


def distinct(nets: Sequence[MLP]) -> None:
    """Refuse networks that cannot be trained side by side, for they are one, or draw from one generator."""
    seen: dict[int, int] = {}
    for i, net in enumerate(nets):
        for part, what in ((net, "the same network"), (net.rng, "one Generator, whose draws would mingle,")):
            if (first := seen.setdefault(id(part), i)) != i:
                raise ValueError(f"networks: got {what} at [{first}] and [{i}], expected one each")


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _are_arrays(value: Any) -> bool:
    """Whether it is a list of arrays, or of None, rather than one array."""
    return isinstance(value, (list, tuple)) and any(item is None or np.ndim(item) > 0 for item in value)


def _each(name: str, value: Any, several: bool, count: int) -> list[Any]:
    if not several:
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise ValueError(f"{name}: got {len(values)}, expected one, or {count}: one for each network")
    return values


class Ensemble:
    """The mean of some networks' outputs.

    Parameters
    ----------
    networks : sequence of MLP
        Of one loss, with as many inputs and outputs each; hidden layers, dtypes and input scaling may differ.

    Attributes
    ----------
    networks : tuple of MLP

    Examples
    --------
    >>> import fastbp, os, tempfile
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> networks = [fastbp.MLP((2, 20, 4), seed=seed) for seed in range(3)]
    >>> histories = fastbp.fit_many(networks, X, y, epochs=20, batch_size=20, learning_rate=0.5)
    >>> ensemble = fastbp.Ensemble(networks)
    >>> ensemble.predict_proba([[0.5, 0.5]]).shape
    (1, 4)
    >>> path = os.path.join(tempfile.mkdtemp(), "ensemble.npz")
    >>> ensemble.save(path)
    >>> fastbp.Ensemble.load(path).score(X, y) == ensemble.score(X, y)
    True
    """

    def __init__(self, networks: Sequence[MLP]):
        nets = _networks(networks)
        first = nets[0]
        for i, net in enumerate(nets):
            for what, mine, wanted in (
                ("loss", net.loss_name, first.loss_name), ("inputs", net.sizes[0], first.sizes[0]),
                ("outputs", net.sizes[-1], first.sizes[-1]), ("class names", net.class_names, first.class_names),
            ):  # fmt: skip
                if mine != wanted:
                    raise ValueError(f"networks[{i}]: got {what} {mine!r}, expected {wanted!r} as of networks[0]")
            if net.feature_names != first.feature_names:
                mine, wanted = (listed(names or ()) or "none" for names in (net.feature_names, first.feature_names))
                raise ValueError(f"networks[{i}]: got feature names {mine}, expected {wanted} as of networks[0]")
        self.networks: tuple[MLP, ...] = tuple(nets)
        self._loss = first.model.loss

    def __repr__(self) -> str:
        return f"Ensemble of {len(self.networks)}: {self.networks[0]!r}{', ...' if len(self.networks) > 1 else ''}"

    def __len__(self) -> int:
        return len(self.networks)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        more = {name: value for name, value in vars(self).items() if name not in ("networks", "_loss")}
        return pickles.stamped(networks=self.networks, more=more)

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check("Ensemble", state)
        self.networks = state["networks"]
        self._loss = self.networks[0].model.loss
        self.__dict__.update(state["more"])

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self.networks[0].class_names

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self.networks[0].feature_names

    def outputs(self, X: ArrayLike) -> Array:
        """The mean of the networks' `outputs`, (n, outputs): added in float64 in their order, then rounded."""
        X = frames.read("X", X)  # once for all
        total = np.zeros((), np.float64)
        for net in self.networks:
            total = total + net.outputs(X)
        mean: Array = (total / len(self.networks)).astype(np.result_type(*(net.dtype for net in self.networks)))
        return mean

    def predict_proba(self, X: ArrayLike) -> Array:
        """Mean probabilities, (n, outputs); of networks that tell no classes apart ValueError."""
        if not self._loss.classifies:
            raise ValueError(f"predict_proba: got networks whose loss is {self._loss.name}, expected one of classes")
        return self.outputs(X)

    def predict(self, X: ArrayLike) -> Array:
        """The answer of the mean outputs for each row: of what kind, `MLP.predict` says."""
        return answers(self._loss, self.outputs(X))

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """How well the predictions agree with y: as `MLP.score`."""
        found = self.predict(X)
        return score(self._loss, found, self.networks[0].model.targets("y", y, len(found)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all networks to one ``.npz`` file, whole or not at all: of each what `MLP.save` keeps."""
        arrays: dict[str, Array] = {}
        metadata = []
        for i, net in enumerate(self.networks):
            own, described = contents.contents(net.model)
            arrays |= {f"{i}.{name}": array for name, array in own.items()}
            metadata.append(described)
        npz_file.write(path, arrays, {"networks": metadata})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Ensemble:
        """Read what `save` wrote; FileNotFoundError, or CheckpointError of a file that is another one or damaged."""
        arrays, metadata = npz_file.read(path)
        try:
            if "networks" not in metadata:
                raise ValueError("it holds one network, or none, which fastbp.load reads")
            networks = []
            for i, described in enumerate(metadata["networks"]):
                own = {name.removeprefix(f"{i}."): array for name, array in arrays.items()
                                  if name.startswith(f"{i}.")}  # fmt: skip
                networks.append(MLP.of(contents.model_of(own, described)))
            return cls(networks)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise npz_file.CheckpointError(f"{os.fspath(path)}: not an ensemble that fastbp can read: "
                                             f"{error}") from error  # fmt: skip
