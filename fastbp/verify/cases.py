"""Networks and what they are asked for: the combinations of activation, loss, sample weights and dropout, with numbers
from fixed seeds that float32 holds exactly, so that both dtypes get the same."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..model.evaluation import Gradient
from ..network import MLP
from ..program.tuning import Tuning
from .objective import ACTIVATIONS, LOSSES, nearest_kink
from .tally import Array

KINK = 1e-3  # rows that come so near to one are left out: rounding, or the step of a difference, may cross it
SLOPE, DELTA, DROPOUT = 0.125, 0.75, 0.3  # not the defaults: a slope or delta that does not arrive shows
DROPOUT_KEY = 2**40 + 7
SOFTMAX = "softmax_cross_entropy"
# A loss and the form of its targets.
FORMS = ((SOFTMAX, "labels"), (SOFTMAX, "probabilities"), *((name, "targets") for name in LOSSES if name != SOFTMAX))
WIDE = ((6, 5), (13, 35, 4), (9, 35, 12, 5), (7, 18, 23), (33, 90, 70, 10), (11, 20, 1))
SMALL = ((3, 4), (4, 9, 3), (3, 8, 5, 4), (3, 6, 1))


def eps_of(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps)


def told(way: Tuning) -> str:
    return ", ".join(f"{name} {value}" for name, value in vars(way).items() if value is not None) or "nothing forced"


class Case(NamedTuple):
    """A network and what it is asked for."""

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

    def __str__(self) -> str:
        activation = self.activation if isinstance(self.activation, str) else ", ".join(self.activation)
        words = [f"{'-'.join(map(str, self.sizes))} {activation}", f"{self.n} rows", f"{self.loss} of {self.form}"]
        words += [f"{name} {getattr(self, name)}" for name in ("l2", "dropout", "max_grad_norm") if getattr(self, name)]
        words += ["inputs scaled"] * self.scaled + ["rows weighted"] * self.weighted
        return ", ".join(words + [self.optimizer] * (self.optimizer != "sgd"))

    @property
    def terms(self) -> int:
        """Of all the sums that an entry of the gradient goes through, with some for activations and loss."""
        return self.n + 2 * sum(self.sizes) + 16


class Drawn(NamedTuple):
    """A case with its numbers."""

    case: Case
    net: MLP
    X: Array
    y: Array
    weights: Array | None  # of the rows
    masks: list[Array] | None  # of `DROPOUT_KEY`
    left_out: int

    @property
    def options(self) -> dict[str, Any]:
        """Further arguments of `MLP.gradient`."""
        return {"sample_weight": self.weights, "dropout": self.case.dropout, "dropout_key": DROPOUT_KEY}

    @property
    def of_reference(self) -> dict[str, Any]:
        """Further arguments of `reference.loss`, without the masks."""
        net = self.net
        return {"activation": net.activation, "input_shift": net.input_shift, "input_scale": net.input_scale,
                "loss_name": net.loss_name, "leaky_slope": net.leaky_slope,
                "huber_delta": net.huber_delta}  # fmt: skip

    @property
    def t(self) -> Array:
        """Targets as (n, outputs), one-hot rows for labels."""
        return _as_rows(self.y, self.case)

    def logits(self, masks: list[Array] | None = None) -> Array:
        """By the reference."""
        net = self.net
        scaled = reference.scale_inputs(self.X, net.input_shift, net.input_scale)
        return reference.forward(net.weights, net.biases, scaled, net.activation, leaky_slope=net.leaky_slope,
                                 masks=masks)[-1]  # fmt: skip

    def gradient(self) -> Gradient:
        """By the reference."""
        net = self.net
        found = reference.gradient(net.weights, net.biases, self.X, self.y, self.case.l2, **self.of_reference,
                                   sample_weight=self.weights, masks=self.masks)  # fmt: skip
        return Gradient(*found)


def draw(case: Case, dtype: np.dtype[Any], seed: int = 0) -> Drawn:
    rng = np.random.default_rng([seed, len(case.sizes), case.n])
    features, outputs = case.sizes[0], case.sizes[-1]
    scaling: dict[str, Any] = {"input_shift": np.arange(features) / 8, "input_scale": 0.5} if case.scaled else {}
    net = MLP(case.sizes, case.activation, case.loss, dtype, seed, leaky_slope=SLOPE, huber_delta=DELTA, **scaling)
    parameters = np.concatenate([part.ravel() for pair in _started(case, rng) for part in pair])
    net.parameters = parameters.astype(np.float32)
    X = rng.normal(size=(4 * case.n + 50, features)).astype(np.float32).astype(dtype)
    y = _targets(rng, case, len(X), outputs)
    y = y if case.form == "labels" else y.astype(np.float32).astype(dtype)
    weights = (rng.permutation(case.n) % 9 / 4 + (case.n == 1)).astype(dtype) if case.weighted else None
    masks = masks_of(case, DROPOUT_KEY, case.n) if case.dropout else None
    t, rows, taken = _as_rows(y, case), np.arange(case.n), case.n
    while True:  # a row near a kink gives its place, which its mask belongs to, to the next one
        near = nearest_kink(net, X[rows], t[rows], masks) < KINK
        if not near.any():
            break
        rows[near] = np.arange(taken, taken + near.sum())
        taken += int(near.sum())
    return Drawn(case, net, X[rows], y[rows], weights, masks, taken - case.n)


def _started(case: Case, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Weights that keep sums of order 1, and biases that are not 0, so that they can be missed."""
    for fan_in, fan_out in itertools.pairwise(case.sizes):
        yield rng.normal(0.0, fan_in**-0.5, (fan_in, fan_out)), rng.normal(0.0, 0.5, fan_out)


def _targets(rng: np.random.Generator, case: Case, n: int, outputs: int) -> Array:
    """As y; of one output 1-D, as most people have it."""
    if case.form == "labels":
        return rng.integers(0, outputs, n)
    if case.form == "probabilities":
        return probabilities(rng, n, outputs)
    found: Array = rng.normal(size=(n, outputs))
    if "binary" in case.loss:
        found = rng.integers(0, 65, (n, outputs)) / 64
    elif "poisson" in case.loss:
        found = rng.poisson(1.5, (n, outputs)) * 1.0
    return found[:, 0] if outputs == 1 else found


def probabilities(rng: np.random.Generator, n: int, classes: int) -> Array:
    """Rows of multiples of 1/64, so that they sum to 1 exactly in either dtype."""
    return rng.multinomial(64, np.full(classes, 1 / classes), n) / 64


def _as_rows(y: Array, case: Case) -> Array:
    rows: Array = np.eye(case.sizes[-1])[y] if case.form == "labels" else y.reshape(len(y), -1).astype(np.float64)
    return rows


def masks_of(case: Case, key: int, rows: int) -> list[Array]:
    return reference.dropout_masks(key, case.sizes[1:-1], rows, case.dropout)


def key_of_next_fit(net: MLP) -> int:
    """What the next training with dropout derives its masks from: it draws it first of all."""
    return int(copy.deepcopy(net.rng).integers(2**63))


def softmax_cases(sizes: Iterable[tuple[int, ...]], rows: Iterable[int]) -> Iterator[Case]:
    """What classifiers mostly are, in full: fused activations, both forms of labels, l2, every size and row count."""
    forms = "labels", "probabilities"
    several = [shape for shape in sizes if shape[-1] > 1]
    for shape, n, activation, form, l2 in itertools.product(several, rows, ("identity", "relu"), forms, (0.0, 0.02)):
        yield Case(shape, n, activation, SOFTMAX, form, l2, scaled=(l2 > 0) == (form == "labels"))


def combinations(sizes: Sequence[tuple[int, ...]], rows: Sequence[int]) -> Iterator[Case]:
    """Every activation with every loss, with and without weights, with and without dropout; the rest is drawn."""
    rng = np.random.default_rng(6)
    for activation, (loss, form), weighted, dropout in itertools.product(
        ACTIVATIONS, FORMS, (False, True), (0.0, DROPOUT)
    ):
        hidden = [shape for shape in sizes if len(shape) > 2 and (shape[-1] > 1 or loss != SOFTMAX)]
        shape = hidden[rng.integers(len(hidden))]
        yield Case(shape, int(rng.choice(rows)), activation, loss, form, float(rng.choice([0.0, 0.02])),
                   bool(rng.integers(2)), weighted, dropout)  # fmt: skip
    for shape in (shape for shape in sizes if len(shape) > 3):  # each layer its own
        for first, second in itertools.permutations(("tanh", "relu", "silu", "identity"), 2):
            yield Case(shape, int(rng.choice(rows)), (first, second), "huber", "targets", 0.02, dropout=DROPOUT)
