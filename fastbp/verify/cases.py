"""Networks and their data: combinations of activation, loss, sample weights and dropout.

The numbers come from fixed seeds and are exact in float32, so that both dtypes get the same.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..kernels.activations import ACTIVATIONS
from ..kernels.losses import LOSSES
from ..model.evaluation import Gradient
from ..network import MLP
from ..program.parameters import Embedding
from ..program.tuning import Tuning
from ..reference.tables import Constants
from .objective import Objective
from .tally import Array

KINK = 1e-3  # rows nearer to a kink are left out: rounding, or the step of a difference, may cross it
DROPOUT = 0.3
DROPOUT_KEY = 2**40 + 7
SOFTMAX = "softmax_cross_entropy"
# Each loss with each form of its targets.
FORMS = tuple(
    (name, form)
    for name, loss in LOSSES.items()
    for form in (("labels", "probabilities") if loss.targets == "classes" else ("targets",))
)
WIDE = ((6, 5), (13, 35, 4), (9, 35, 12, 5), (7, 18, 23), (33, 90, 70, 10), (11, 20, 1))
SMALL = ((3, 4), (4, 9, 3), (3, 8, 5, 4), (3, 6, 1))


def eps_of(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps)


def described(way: Tuning) -> str:
    """Return what a tuning forces, in words."""
    return ", ".join(f"{name} {value}" for name, value in vars(way).items() if value is not None) or "nothing forced"


class Case(NamedTuple):
    """A network, its data, and the settings of a gradient or of training."""

    sizes: tuple[int, ...]
    n: int
    activation: str | tuple[str, ...] = "relu"
    loss: str = SOFTMAX
    form: str = "labels"
    l2: float = 0.0
    scaled: bool = False
    weighted: bool = False
    dropout: float = 0.0
    optimizer: str = "sgd"
    max_grad_norm: float | None = None
    embeddings: tuple[Embedding, ...] = ()

    def __str__(self) -> str:
        activation = self.activation if isinstance(self.activation, str) else ", ".join(self.activation)
        words = [f"{'-'.join(map(str, self.sizes))} {activation}", f"{self.n} rows", f"{self.loss} of {self.form}"]
        words += [f"{name} {getattr(self, name)}" for name in ("l2", "dropout", "max_grad_norm") if getattr(self, name)]
        words += [f"column {column}: {levels} vectors of {width}" for column, levels, width in self.embeddings]
        words += ["inputs scaled"] * self.scaled + ["rows weighted"] * self.weighted
        return ", ".join(words + [self.optimizer] * (self.optimizer != "sgd"))

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each hidden layer."""
        return (self.activation,) * (len(self.sizes) - 2) if isinstance(self.activation, str) else self.activation

    @property
    def constants(self) -> dict[str, Any]:
        """The constants of its activations and its loss: not the defaults, so that one that gets lost shows."""
        of_rows = [reference.ACTIVATIONS[name].constants for name in self.activations]
        of_rows.append(reference.LOSSES[self.loss].constants)
        return {name: value for row in of_rows for name, value in trial(row, self.n, self.sizes[-1]).items()}

    @property
    def terms(self) -> int:
        """The terms of all the sums that an entry of the gradient goes through, and some for activations and loss."""
        return self.n + 2 * (sum(self.sizes) + sum(each.width for each in self.embeddings)) + 16


def trial(constants: Constants, turn: int, outputs: int) -> dict[str, Any]:
    """Return the values of a row's constants to try in this turn."""
    return {name: constant.trial(turn, outputs) for name, constant in constants.items()}


def trials(constants: Constants) -> list[dict[str, Any]]:
    """Return every set of values to try of a row's constants, for one output; without constants one empty set."""
    turns = max((len(constant.tried) for constant in constants.values()), default=0)
    return [trial(constants, turn, outputs=1) for turn in range(max(1, turns))]


class Drawn(NamedTuple):
    """A case with its numbers."""

    case: Case
    net: MLP
    X: Array
    y: Array
    weights: Array | None  # of the rows
    masks: list[Array] | None  # those of `DROPOUT_KEY`
    left_out: int

    @property
    def options(self) -> dict[str, Any]:
        """Further arguments of `MLP.gradient`."""
        return {"sample_weight": self.weights, "dropout": self.case.dropout, "dropout_key": DROPOUT_KEY}

    @property
    def of_reference(self) -> dict[str, Any]:
        """Further arguments of `reference.loss`, without the masks."""
        case, scaling = self.case, {"input_shift": self.net.input_shift, "input_scale": self.net.input_scale}
        return {"activation": case.activation, "loss_name": case.loss, **scaling, **case.constants}

    @property
    def t(self) -> Array:
        """Targets as (n, outputs); labels become one-hot rows."""
        return _as_rows(self.y, self.case)

    def logits(self, masks: list[Array] | None = None) -> Array:
        """Return the reference's logits."""
        case, net = self.case, self.net
        inputs = reference.embed(reference.scale_inputs(self.X, net.input_shift, net.input_scale), net.embeddings)
        more = {"masks": masks, **case.constants}
        return reference.forward(net.weights, net.biases, inputs, case.activation, **more)[-1]

    def gradient(self) -> Gradient:
        """Return the reference's gradient."""
        more = {**self.of_reference, "sample_weight": self.weights, "masks": self.masks}
        parameters = self.net.embeddings, self.net.weights, self.net.biases
        return Gradient(*reference.embedded_gradient(*parameters, self.X, self.y, self.case.l2, **more))


def objective_of(case: Case, net: MLP) -> Objective:
    return Objective(case.activations, case.loss, case.constants, net.input_shift, net.input_scale)


def draw(case: Case, dtype: np.dtype[Any], seed: int = 0) -> Drawn:
    """Return the case with numbers of which no row comes near a kink."""
    rng = np.random.default_rng([seed, len(case.sizes), case.n])
    features, outputs = case.sizes[0], case.sizes[-1]
    more: dict[str, Any] = dict(case.constants)
    if case.scaled:
        more |= {"input_shift": np.arange(features) / 8, "input_scale": 0.5}
    if case.embeddings:
        more["embeddings"] = {column: (levels, width) for column, levels, width in case.embeddings}
    for column, *_ in case.embeddings if case.scaled else ():
        more["input_shift"][column] = 0.0
    net = MLP(case.sizes, case.activation, case.loss, dtype, seed, **more)
    parts = [part for pair in _initial(net, rng) for part in pair]
    parts += [rng.normal(size=table.shape) for table in net.embeddings.values()]
    net.parameters = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
    X = rng.normal(size=(4 * case.n + 50, features)).astype(np.float32).astype(dtype)
    for column, levels, _ in case.embeddings:
        X[:, column] = rng.integers(0, levels, len(X))
    y = _targets(rng, case, len(X), outputs)
    y = y if case.form == "labels" else y.astype(np.float32).astype(dtype)
    weights = (rng.permutation(case.n) % 9 / 4 + (case.n == 1)).astype(dtype) if case.weighted else None
    masks = masks_of(case, DROPOUT_KEY, case.n) if case.dropout else None
    objective, t = objective_of(case, net), _as_rows(y, case)
    rows, taken = np.arange(case.n), case.n
    while True:  # the next row takes the place of one near a kink, since a mask belongs to a place
        near = objective.nearest_kink(net.weights, net.biases, X[rows], t[rows], masks, net.embeddings) < KINK
        if not near.any():
            break
        rows[near] = np.arange(taken, taken + near.sum())
        taken += int(near.sum())
    return Drawn(case, net, X[rows], y[rows], weights, masks, taken - case.n)


def _initial(net: MLP, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Give weights that keep pre-activations of order 1, and biases other than 0, so that a missing one shows."""
    for fan_in, fan_out in net.model.network.layout.fans:
        yield rng.normal(0.0, fan_in**-0.5, (fan_in, fan_out)), rng.normal(0.0, 0.5, fan_out)


def _targets(rng: np.random.Generator, case: Case, n: int, outputs: int) -> Array:
    """Draw y; with one output 1-D, the usual form."""
    if case.form == "labels":
        return rng.integers(0, outputs, n)
    if case.form == "probabilities":
        return probabilities(rng, n, outputs)
    found: Array = TARGETS[LOSSES[case.loss].targets](rng, (n, outputs))
    return found[:, 0] if outputs == 1 else found


# How targets of each kind are drawn, except classes.
TARGETS: Mapping[str, Any] = {
    "shares": lambda rng, shape: rng.integers(0, 65, shape) / 64,
    "counts": lambda rng, shape: rng.poisson(1.5, shape) * 1.0,
    "numbers": lambda rng, shape: rng.normal(size=shape),
}


def probabilities(rng: np.random.Generator, n: int, classes: int) -> Array:
    """Draw rows of multiples of 1/64, so that they sum to 1 exactly in either dtype."""
    rows: Array = rng.multinomial(64, np.full(classes, 1 / classes), n) / 64
    return rows


def _as_rows(y: Array, case: Case) -> Array:
    rows: Array = np.eye(case.sizes[-1])[y] if case.form == "labels" else y.reshape(len(y), -1).astype(np.float64)
    return rows


def masks_of(case: Case, key: int, rows: int) -> list[Array]:
    return reference.dropout_masks(key, case.sizes[1:-1], rows, case.dropout)


def key_of_next_fit(net: MLP) -> int:
    """Return the key of the next fit's dropout masks, which is the first number that a fit draws."""
    return int(copy.deepcopy(net.rng).integers(2**63))


def softmax_cases(sizes: Iterable[tuple[int, ...]], rows: Iterable[int]) -> Iterator[Case]:
    """Give classifiers in full: activations that are fused, both forms of labels, l2, every size and row count."""
    forms = "labels", "probabilities"
    several = [shape for shape in sizes if shape[-1] > 1]
    for shape, n, activation, form, l2 in itertools.product(several, rows, ("identity", "relu"), forms, (0.0, 0.02)):
        yield Case(shape, n, activation, SOFTMAX, form, l2, scaled=(l2 > 0) == (form == "labels"))


def combinations(sizes: Sequence[tuple[int, ...]], rows: Sequence[int]) -> Iterator[Case]:
    """Give every activation with every loss, with and without weights and dropout; the other settings are drawn."""
    rng = np.random.default_rng(6)
    either = False, True
    for activation, (loss, form), weighted, dropped in itertools.product(ACTIVATIONS, FORMS, either, either):
        hidden = [shape for shape in sizes if len(shape) > 2 and (shape[-1] > 1 or form == "targets")]
        shape = hidden[rng.integers(len(hidden))]
        n, l2, scaled = int(rng.choice(rows)), float(rng.choice([0.0, 0.02])), bool(rng.integers(2))
        yield Case(shape, n, activation, loss, form, l2, scaled, weighted, DROPOUT if dropped else 0.0)
    for shape in (shape for shape in sizes if len(shape) > 3):  # another activation in each layer
        for first, second in itertools.permutations(("tanh", "relu", "silu", "identity"), 2):
            yield Case(shape, int(rng.choice(rows)), (first, second), "huber", "targets", 0.02, dropout=DROPOUT)


def embedded_cases(rows: Iterable[int]) -> Iterator[Case]:
    """Give networks with embeddings: first, last and all columns, narrow and wide vectors, levels that no row has."""
    first_and_last = (Embedding(0, 5, 3), Embedding(4, 70, 19))
    settings: tuple[dict[str, Any], ...] = (
        {"embeddings": first_and_last, "activation": "silu", "l2": 0.02, "optimizer": "adam"},
        {"embeddings": first_and_last, "scaled": True, "weighted": True, "dropout": DROPOUT, "max_grad_norm": 0.2},
        {"embeddings": (Embedding(2, 3, 8),), "activation": "tanh", "l2": 0.02, "scaled": True, "max_grad_norm": 0.2},
        {"embeddings": (Embedding(1, 2, 1), Embedding(2, 4, 2)), "optimizer": "adamw", "weighted": True},
        {"embeddings": tuple(Embedding(column, 4, 5) for column in range(5)), "optimizer": "momentum"},
    )
    for n in rows:
        yield Case((5, 3), n, embeddings=first_and_last, scaled=True)
        for more in settings:
            yield Case((5, 18, 7, 4) if n % 2 else (5, 12, 3), n, **more)
