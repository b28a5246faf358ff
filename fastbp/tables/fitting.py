"""Train networks on a table by a recipe: some with each encoding, and then others with that which did best."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import threads
from ..model_selection.ensemble import Ensemble
from ..model_selection.fitting import fit_task, raise_first_error
from ..model_selection.pool import run_all
from ..network import MLP
from ..training.history import History
from .columns import Columns
from .encoder import Encoder
from .recipe import Encoding, Recipe

Array = NDArray[Any]
Score = Callable[[MLP, Array, Array, Array | None], float]
AfterEpoch = Callable[[Encoder, MLP], bool]

PARTS = 5  # of the rows, of which each network leaves out one
SPENT_ON_EPOCHS = 0.8  # of the time budget that is left once an epoch was measured: epochs differ


class Objective(NamedTuple):
    """What is predicted.

    Attributes
    ----------
    loss : str
    outputs : int
    constants : mapping of str to float or tuple
        Of the loss.
    class_names : sequence of str, optional
    target_name : str, optional
    """

    loss: str
    outputs: int
    constants: Mapping[str, Any] = {}
    class_names: Sequence[Any] | None = None
    target_name: str | None = None


class Rows(NamedTuple):
    """Rows with what is to be predicted of them.

    Attributes
    ----------
    columns : Columns
    targets : array (n,) or (n, outputs)
        Numbers of classes, or numbers of order one.
    weights : array (n,) or None
    """

    columns: Columns
    targets: Array
    weights: Array | None = None


class Fitted(NamedTuple):
    """What a training on a table ends with.

    Attributes
    ----------
    encoder : Encoder
    networks : Ensemble
    epochs : int
        That each network was trained for.
    loss : float
        The mean of the networks' lowest held-out losses (or, by a score, of its negatives).
    """

    encoder: Encoder
    networks: Ensemble
    epochs: int
    loss: float


class BestEpoch:
    """A callback of `MLP.fit` that keeps the parameters of the epoch with the lowest loss of held-out rows.

    It ends the training when that loss has not fallen for `patience` epochs.
    """

    def __init__(self, X: Array, y: Array, weights: Array | None, score: Score | None, then: Callable[[MLP], bool],
                 patience: int):  # fmt: skip
        self.held_out, self._score, self._then, self._patience = (X, y, weights), score, then, patience
        self.loss, self._waited = math.inf, 0
        self._parameters: Array | None = None

    def __call__(self, net: MLP, history: History) -> bool:
        X, y, weights = self.held_out
        loss = net.loss(X, y, sample_weight=weights) if self._score is None else -self._score(net, X, y, weights)
        self._waited += 1
        if loss < self.loss:
            self._waited = 0
            self.loss, self._parameters = loss, net.parameters.copy()
        return self._then(net) or self._waited >= self._patience

    def restore(self, net: MLP) -> None:
        """Give the network the parameters of that epoch."""
        if self._parameters is not None:
            net.parameters = self._parameters


def fit(
    rows: Rows,
    objective: Objective,
    recipe: Recipe,
    rng: np.random.Generator,
    *,
    held_out: Rows | None = None,
    score: Score | None = None,
    time_budget: float | None = None,
    after_epoch: AfterEpoch = lambda encoder, net: False,
) -> Fitted:
    """Train networks on a table.

    Parameters
    ----------
    rows : Rows
        At least 2.
    objective : Objective
    recipe : Recipe
    rng : Generator
        From which parts of rows, parameters and orders are drawn.
    held_out : Rows, optional
        Rows by which all networks are validated; by default each leaves out a part of its own of `rows`.
    score : callable, optional
        Called with a network, encoded rows, targets and weights; what it returns is made large instead of the loss made
        small, where epochs and encodings are compared.
    time_budget : float, optional
        Seconds: as many epochs are planned as an epoch's time, measured first, allows.
    after_epoch : callable
        Called with encoder and network after each epoch, from the network's thread; True ends its training.
    """
    started = time.perf_counter()
    parts = _parts(rows.targets, rng)
    trainings = [
        _Training(rows, objective, recipe, encoding, parts, rng, held_out, score, after_epoch)
        for encoding in recipe.encodings
    ]
    epochs, probes = recipe.epochs_of(rows.columns.rows), recipe.probes(rows.columns.rows)
    if time_budget is not None:
        epochs = _epochs_within(trainings, recipe, epochs, probes, time_budget, started)
    _run([task for training in trainings for task in training.tasks(epochs)[:probes]])
    best = min(trainings, key=lambda training: training.loss)
    _run(best.tasks(epochs)[probes:])
    for net, watch in zip(best.nets, best.watches, strict=True):
        watch.restore(net)
    return Fitted(best.encoder, Ensemble(best.nets), epochs, best.loss)


def _run(tasks: list[Callable[[], History]]) -> None:
    if tasks:
        raise_first_error(run_all(tasks, [1.0] * len(tasks), False, "network"), "networks[{}]".format)


class _Training:
    """The networks of one encoding."""

    def __init__(
        self,
        rows: Rows,
        objective: Objective,
        recipe: Recipe,
        encoding: Encoding,
        parts: Array,
        rng: np.random.Generator,
        held_out: Rows | None,
        score: Score | None,
        after_epoch: AfterEpoch,
    ):
        self.rows, self.recipe, self.encoding = rows, recipe, encoding
        self.encoder = Encoder.fit(rows.columns, encoding.bins)
        self.X = self.encoder.encode(rows.columns, np.dtype(np.float32))
        shape = (self.encoder.width, *recipe.hidden, objective.outputs)
        seeds = rng.integers(2**63, size=recipe.networks)
        self.nets = [
            MLP(
                shape,
                recipe.activation,
                objective.loss,
                seed=int(seed),
                embeddings=self.encoder.embeddings,
                **objective.constants,
            )
            for seed in seeds
        ]
        for net in self.nets:
            net.class_names, net.target_name = objective.class_names, objective.target_name
            for table in net.embeddings.values():
                table[0] = 0  # what no row of the training shows, such as a level that only comes later, adds nothing
        self.subsets: list[Array | None] = [None] * recipe.networks
        if held_out is None:
            self.subsets = [np.flatnonzero(parts != k % (parts.max() + 1)) for k in range(recipe.networks)]
            others = [np.flatnonzero(parts == k % (parts.max() + 1)) for k in range(recipe.networks)]
            validation = [(self.X[i], rows.targets[i], _at(rows.weights, i)) for i in others]
        else:
            encoded = self.encoder.encode(held_out.columns, np.dtype(np.float32))
            validation = [(encoded, held_out.targets, held_out.weights)] * recipe.networks
        self.watches = [
            BestEpoch(*each, score, partial(after_epoch, self.encoder), recipe.patience) for each in validation
        ]

    @property
    def loss(self) -> float:
        """The mean of the lowest losses of the networks that have been trained."""
        return float(np.mean([watch.loss for watch in self.watches if watch.loss < math.inf] or [math.inf]))

    def tasks(self, epochs: int) -> list[Callable[[], History]]:
        """Return functions that train the networks."""
        return [
            fit_task(net, self.X, self.rows.targets, self.arguments(epochs, subset) | {"callbacks": [watch]})
            for net, subset, watch in zip(self.nets, self.subsets, self.watches, strict=True)
        ]

    def arguments(self, epochs: int, subset: Array | None) -> dict[str, Any]:
        """Return the arguments of a network's fit."""
        return {
            "epochs": epochs,
            "batch_size": self.recipe.batch_size(len(self.X)),
            "learning_rate": self.recipe.schedule(self.encoding),
            "optimizer": self.recipe.optimizer,
            "dropout": self.encoding.dropout,
            "sample_weight": self.rows.weights,
            "rows": subset,
        }

    def seconds_per_epoch(self) -> float:
        """Measure an epoch of one network on one thread, on a copy: the first one may compile."""
        net, watch = copy.deepcopy(self.nets[0]), self.watches[0]
        with threads.limit(1):
            for _ in range(2):
                begun = time.perf_counter()
                fit_task(net, self.X, self.rows.targets, self.arguments(1, self.subsets[0]))()
                net.loss(*watch.held_out[:2])
        return time.perf_counter() - begun


def _epochs_within(
    trainings: list[_Training], recipe: Recipe, most: int, probes: int, budget: float, started: float
) -> int:
    """Return how many epochs of all networks the time budget allows, at least 1 and so many at most."""
    seconds = [training.seconds_per_epoch() for training in trainings]
    first, others = (math.ceil(count / threads.count()) for count in (probes * len(seconds), recipe.networks - probes))
    left = SPENT_ON_EPOCHS * (budget - (time.perf_counter() - started))
    return int(np.clip(left / (max(seconds) * (first + others)), 1, most))


def _parts(targets: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the number of the part of each row: parts of equal size, which share out each class."""
    order = rng.permutation(len(targets))
    if targets.ndim == 1:
        order = order[np.argsort(targets[order], kind="stable")]
    parts = np.empty(len(targets), np.int64)
    parts[order] = np.arange(len(targets)) % min(PARTS, len(targets))
    return parts


def _at(weights: Array | None, rows: Array) -> Array | None:
    return None if weights is None else weights[rows]
