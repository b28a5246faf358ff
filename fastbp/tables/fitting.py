"""Train networks on a table by a recipe: several with each encoding, and shares by which their answers are mixed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model_selection.ensemble import Ensemble
from ..model_selection.fitting import fit_task, raise_first_error
from ..model_selection.pool import run_all
from ..network import MLP
from ..reference import losses
from ..training.early_stopping import EarlyStopping
from ..training.history import History
from .columns import Columns
from .encoder import Encoder
from .model import Member
from .recipe import Encoding, Recipe

Array = NDArray[Any]
Score = Callable[[Array, Array, Array | None], float]
AfterEpoch = Callable[[Encoder, MLP], bool]

PARTS = 5  # of the rows, of which each network leaves out one
SPENT_ON_EPOCHS = 0.8  # of the time budget that is left once an epoch of all was measured: epochs differ
STEPS = 10  # the shares of the answers are multiples of 1 / STEPS


class Objective(NamedTuple):
    """Says what is predicted.

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

    @property
    def classes(self) -> int:
        """The number of classes, 0 where numbers are predicted."""
        return self.outputs if self.loss == "softmax_cross_entropy" else 0

    def loss_of(self, outputs: Array, targets: Array, weights: Array | None) -> float:
        """Return the mean loss of rows by their outputs."""
        logits = np.log(np.maximum(outputs, np.finfo(np.float32).tiny)) if self.classes else outputs
        of_rows = losses.losses_of(self.loss, logits, targets, **self.constants)
        return float(np.average(of_rows, weights=weights)) if weights is None or weights.any() else 0.0


class Rows(NamedTuple):
    """Holds rows with what is to be predicted of them.

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
    """Holds what a training on a table ends with.

    Attributes
    ----------
    members : tuple of Member
    epochs : int
        That were planned for each network.
    """

    members: tuple[Member, ...]
    epochs: int


class Validation:
    """A callback of `MLP.fit` that validates a network by held-out rows after each epoch.

    It ends the training when their loss has not fallen for `patience` epochs.
    """

    def __init__(
        self,
        net: MLP,
        X: Array,
        y: Array,
        weights: Array | None,
        score: Score | None,
        then: Callable[[MLP], bool],
        patience: int,
    ):
        self.X, self.y, self.weights = X, y, weights
        self._score, self._then = score, then
        self._stopping = EarlyStopping(net.model, patience, tol=0.0)

    def loss(self, net: MLP) -> float:
        """Return the loss of the held-out rows, or the negative of their score."""
        if self._score is None:
            return net.loss(self.X, self.y, sample_weight=self.weights)
        return -self._score(net.outputs(self.X), self.y, self.weights)

    def __call__(self, net: MLP, history: History) -> bool:
        history.validation_loss.append(self.loss(net))
        stops = self._stopping.after_epoch(history)
        return self._then(net) or stops

    def restore_best(self) -> None:
        """Give the network the parameters of the epoch with the lowest loss."""
        self._stopping.restore_best()


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
        Called with outputs, targets and weights; what it returns is made large instead of the loss made small, where
        epochs and encodings are compared.
    time_budget : float, optional
        Seconds: as many epochs are planned, at least 1, as an epoch's time, measured first, allows.
    after_epoch : callable
        Called with encoder and network after each epoch, from the network's thread; True ends its training.
    """
    started = time.perf_counter()
    parts = _parts(rows.targets, rng)
    trainings = [
        _Training(rows, objective, recipe, encoding, parts, rng, held_out, score, after_epoch)
        for encoding in recipe.encodings
    ]
    epochs = recipe.epochs_of(rows.columns.rows, objective.classes)
    if time_budget is not None:
        epochs = _epochs_within(trainings, epochs, time_budget, started)
    _run([task for training in trainings for task in training.tasks(epochs)])
    for training in trainings:
        training.restore_best()
    shares = _shares(trainings, objective, score)
    members = [
        Member(training.encoder, Ensemble(training.nets), share)
        for training, share in zip(trainings, shares, strict=True)
        if share > 0
    ]
    return Fitted(tuple(members), epochs)


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
        self.rows, self.recipe, self.encoding, self.shared = rows, recipe, encoding, held_out is not None
        count = recipe.networks_of(rows.columns.rows)
        self.encoder = Encoder.fit(rows.columns, encoding.bins(rows.columns.numeric))
        self.X = self.encoder.encode(rows.columns, np.dtype(np.float32))
        self.nets = self._networks(objective, rng.integers(2**63, size=count).tolist())
        self.subsets: list[Array | None] = [None] * count
        if held_out is None:
            of_network = [parts == k % (parts.max() + 1) for k in range(count)]
            self.subsets = [np.flatnonzero(~part) for part in of_network]
            others = [np.flatnonzero(part) for part in of_network]
            parts_of_rows = [(self.X[i], rows.targets[i], _at(rows.weights, i)) for i in others]
        else:
            encoded = self.encoder.encode(held_out.columns, np.dtype(np.float32))
            parts_of_rows = [(encoded, held_out.targets, held_out.weights)] * count
        then = partial(after_epoch, self.encoder)
        self.validations = [
            Validation(net, *each, score, then, recipe.patience)
            for net, each in zip(self.nets, parts_of_rows, strict=True)
        ]

    def _networks(self, objective: Objective, seeds: list[int]) -> list[MLP]:
        shape = (self.encoder.width, *self.recipe.hidden_of(objective.classes), objective.outputs)
        nets = []
        for seed in seeds:
            net = MLP(
                shape,
                self.recipe.activation,
                objective.loss,
                seed=seed,
                embeddings=self.encoder.embeddings,
                **objective.constants,
            )
            net.class_names, net.target_name = objective.class_names, objective.target_name
            for table in net.embeddings.values():
                table[0] = 0  # what no row of the training shows, such as a level that only comes later, adds nothing
            nets.append(net)
        return nets

    def tasks(self, epochs: int) -> list[Callable[[], History]]:
        """Return functions that train the networks."""
        return [
            fit_task(net, self.X, self.rows.targets, self.arguments(epochs, subset) | {"callbacks": [validation]})
            for net, subset, validation in zip(self.nets, self.subsets, self.validations, strict=True)
        ]

    def arguments(self, epochs: int, subset: Array | None) -> dict[str, Any]:
        """Return the arguments of a network's fit."""
        return {
            "epochs": epochs,
            "batch_size": self.recipe.batch_size(len(self.X)),
            "learning_rate": self.recipe.schedule(self.encoding),
            "optimizer": self.recipe.optimizer,
            "dropout": self.recipe.dropout_of(self.encoding, len(self.X)),
            "sample_weight": self.rows.weights,
            "rows": subset,
        }

    def restore_best(self) -> None:
        """Give each network the parameters of its best epoch."""
        for validation in self.validations:
            validation.restore_best()

    def held_out(self) -> tuple[Array, Array, Array | None]:
        """Return outputs, targets and weights of held-out rows; where all networks share them, mean outputs."""
        found = [
            (net.outputs(each.X).astype(np.float64), each.y, each.weights)
            for net, each in zip(self.nets, self.validations, strict=True)
        ]
        outputs, targets, weights = zip(*found, strict=True)
        if self.shared:
            return np.mean(outputs, axis=0), targets[0], weights[0]
        together = None if weights[0] is None else np.concatenate(weights)
        return np.concatenate(outputs), np.concatenate(targets), together

    def rehearsal(self, networks: int) -> list[Callable[[], Any]]:
        """Return functions that train copies of so many networks for an epoch, and validate them."""

        def task(net: MLP, subset: Array | None, validation: Validation) -> Callable[[], Any]:
            fit = fit_task(net, self.X, self.rows.targets, self.arguments(1, subset))
            return lambda: (fit(), validation.loss(net))

        copies = [copy.deepcopy(net) for net in self.nets[:networks]]
        return [task(*each) for each in zip(copies, self.subsets, self.validations, strict=False)]


def _run(tasks: list[Callable[[], Any]]) -> None:
    raise_first_error(run_all(tasks, [1.0] * len(tasks), False, "network"), "networks[{}]".format)


def _epochs_within(trainings: list[_Training], most: int, budget: float, started: float) -> int:
    """Return how many epochs of all networks the time budget allows, at least 1 and so many at most."""
    _run([task for training in trainings for task in training.rehearsal(1)])  # may compile
    begun = time.perf_counter()
    _run([task for training in trainings for task in training.rehearsal(len(training.nets))])
    now = time.perf_counter()
    return int(np.clip(SPENT_ON_EPOCHS * (budget - (now - started)) / (now - begun), 1, most))


def _shares(trainings: list[_Training], objective: Objective, score: Score | None) -> list[float]:
    """Return the shares with which the encodings' answers are best mixed, by their held-out rows.

    Each step adds one of them to those chosen so far: whichever brings the loss of the mean lowest (Caruana,
    Niculescu-Mizil, Crew and Ksikes: Ensemble selection from libraries of models. ICML 2004).
    """
    if len(trainings) == 1:
        return [1.0]
    found = [training.held_out() for training in trainings]
    _, targets, weights = found[0]
    counts, total = [0] * len(found), np.zeros_like(found[0][0])
    for step in range(1, STEPS + 1):
        means = [(total + outputs) / step for outputs, _, _ in found]
        if score is None:
            of_means = [objective.loss_of(mean, targets, weights) for mean in means]
        else:
            of_means = [-score(mean, targets, weights) for mean in means]
        best = int(np.argmin(of_means))
        counts[best] += 1
        total += found[best][0]
    return [count / STEPS for count in counts]


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
