"""Checks of whole runs of training against plain NumPy: every optimizer, and every option that changes a step."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..averaging import Equal
from ..kernels.activations import ACTIVATIONS
from ..learning_rates import Constant
from ..optimizers import OPTIMIZERS
from ..reference.optimizers import options_for
from ..training.orders import Permutations
from ..training.plan import Plan
from .cases import (
    DROPOUT,
    FORMS,
    SOFTMAX,
    Case,
    Drawn,
    draw,
    embedded_cases,
    eps_of,
    key_of_next_fit,
    masks_of,
    objective_of,
    softmax_cases,
)
from .tally import Array, Tally

TRAINING_KINK = 1e-5  # within a run, pre-activations of order 1 are off by about 1e-6 in float32
EPOCHS, BATCH, ROWS = 3, 8, 29  # the last minibatch of an epoch is short


def check_training(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check three shuffled epochs with a short last minibatch: the parameters, and the loss of each epoch."""
    compare_runs(tally, dtype, _runs())
    _check_options(tally, dtype)


def compare_runs(tally: Tally, dtype: np.dtype[Any], cases: Iterable[Case], batch: int = BATCH) -> None:
    """Compare training with the reference's, on whatever it runs here and now."""
    for case in cases:
        drawn = draw(case, dtype)
        run = _Run(drawn, batch)
        run.train()
        if dtype == np.float32 and run.nearest < TRAINING_KINK:  # rounding may take the other side of the kink
            tally.left_out += 1
            continue
        net = drawn.net
        history = net.train(drawn.X, drawn.y, run.plan(), sample_weight=drawn.weights)
        k = EPOCHS * -(-case.n // batch) * case.terms * eps_of(dtype)
        tally.within(f"{case}: losses", history.loss, run.losses, k * (1 + np.max(run.losses)))
        for i, (W, b) in enumerate(zip(*run.weights_and_biases, strict=True)):
            tally.within(f"{case}: weights[{i}]", net.weights[i], W, k * np.abs(W).max())
            tally.within(f"{case}: biases[{i}]", net.biases[i], b, k * np.abs(b).max())
        for (column, table), T in zip(net.embeddings.items(), run.tables.values(), strict=True):
            tally.within(f"{case}: embeddings[{column}]", table, T, k * np.abs(T).max())


# Arguments of `MLP.fit`, and the same of `reference.train`.
OPTIONS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"dropout": (0.2, 0.4), "input_dropout": DROPOUT}, {"dropout": (0.2, 0.4), "input_dropout": DROPOUT}),
    ({"layer_learning_rates": (0.0, 0.5, 2.0)}, {"layer_rates": (0.0, 0.5, 2.0)}),
    (
        {"layer_learning_rates": (1.5, 0.0, 1.0), "max_grad_norm": 0.1},
        {"layer_rates": (1.5, 0.0, 1.0), "max_grad_norm": 0.1},
    ),
    ({"label_smoothing": 0.2}, {"label_smoothing": 0.2}),
    ({"averaging": Equal(every="step")}, {}),
)


def _check_options(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check the options of layers, label smoothing and an average, step by step with plain gradient descent."""
    case = Case((6, 9, 8, 3), ROWS, "tanh", l2=0.02)
    for ours, theirs in OPTIONS:
        drawn = draw(case, dtype)
        net, key = drawn.net, key_of_next_fit(drawn.net) if "dropout" in ours else 0
        weights, biases = ([part.astype(np.float64) for part in kind] for kind in (net.weights, net.biases))
        path, losses, steps = [], 0.0, range(0, case.n, BATCH)
        for step, begin in enumerate(steps):
            rows = np.arange(begin, min(begin + BATCH, case.n))
            weights, biases, loss = reference.train(
                weights, biases, drawn.X, drawn.y, rows, BATCH, 0.25, case.l2, case.activation,
                dropout_key=reference.step_key(key, step), **theirs,
            )  # fmt: skip
            path.append([*weights, *biases])
            losses += len(rows) * loss[0] / case.n
        expected = [np.mean(each, axis=0) for each in zip(*path, strict=True)] if "averaging" in ours else path[-1]
        history = net.fit(drawn.X, drawn.y, 1, BATCH, 0.25, case.l2, shuffle=False, **ours)
        k, words = len(steps) * case.terms * eps_of(dtype), ", ".join(f"{name} {value}" for name, value in ours.items())
        tally.within(f"{case}, {words}: loss", history.loss, [losses], k * (1 + losses))
        for i, (found, wanted) in enumerate(zip([*net.weights, *net.biases], expected, strict=True)):
            tally.within(f"{case}, {words}: parameters[{i}]", found, wanted, k * np.abs(wanted).max())


def _runs() -> Iterator[Case]:
    yield from softmax_cases(((6, 5), (7, 11, 4), (6, 9, 8, 3), (5, 7, 23)), (ROWS,))
    yield from embedded_cases((ROWS,))
    rng = np.random.default_rng(8)
    shapes = (7, 11, 4), (6, 9, 8, 3), (5, 7, 23)
    smooth = [name for name in OPTIMIZERS if reference.OPTIMIZERS[name].smooth is not None]
    for number, (optimizer, activation) in enumerate(itertools.product(smooth, ACTIVATIONS)):
        loss, form = FORMS[number % len(FORMS)]
        for dropout, clip in ((0.0, None), (DROPOUT, 0.2)):
            shape, l2 = shapes[rng.integers(3)], float(rng.choice([0.0, 0.02]))
            scaled, weighted = bool(rng.integers(2)), bool(rng.integers(2))
            yield Case(shape, ROWS, activation, loss, form, l2, scaled, weighted, dropout, optimizer, clip)


@dataclass
class _Run:
    """Training by the reference: its parameters, the mean loss of each epoch, and how near it came to a kink."""

    drawn: Drawn
    batch: int
    losses: list[float] = field(default_factory=list)
    nearest: float = math.inf

    def __post_init__(self) -> None:
        case, net = self.drawn.case, self.drawn.net
        self.hyper = dict(reference.OPTIMIZERS[case.optimizer].smooth or {})
        self.per_weight = case.optimizer != "sgd" and case.weighted
        self.rate = 0.25 if case.loss == SOFTMAX and case.optimizer == "sgd" else 0.05
        parameters = *net.weights, *net.biases, *net.embeddings.values()
        self.parts: list[Array] = [part.astype(np.float64) for part in parameters]
        self.layers = len(net.weights)
        self.states: list[tuple[Array, ...]] = [()] * len(self.parts)
        self.objective = objective_of(case, net)
        self.key = key_of_next_fit(net)
        self.draws = copy.deepcopy(net.rng)
        if case.dropout:
            self.draws.integers(2**63)  # the key, before the first order

    @property
    def weights_and_biases(self) -> tuple[list[Array], list[Array]]:
        return self.parts[: self.layers], self.parts[self.layers : 2 * self.layers]

    @property
    def tables(self) -> dict[int, Array]:
        return dict(zip(self.drawn.net.embeddings, self.parts[2 * self.layers :], strict=True))

    def plan(self) -> Plan:
        case, rng = self.drawn.case, self.drawn.net.rng
        return Plan(
            epochs=EPOCHS,
            batch_size=self.batch,
            learning_rate=Constant(self.rate),
            l2=case.l2,
            optimizer=OPTIMIZERS[case.optimizer](**self.hyper),
            order=Permutations(rng),
            l2_per_weight=self.per_weight,
            dropout=case.dropout,
            max_grad_norm=case.max_grad_norm,
            generator=rng,
            losses_decide=True,
        )

    def train(self) -> None:
        n, step = self.drawn.case.n, 0
        for _ in range(EPOCHS):
            total, order = 0.0, self.draws.permutation(n)
            for begin in range(0, n, self.batch):
                rows = order[begin : begin + self.batch]
                total += len(rows) * self._step(rows, step)
                step += 1
            self.losses.append(total / n)

    def _step(self, rows: NDArray[np.int64], step: int) -> float:
        drawn, case, layers = self.drawn, self.drawn.case, self.layers
        count = len(rows)
        masks = masks_of(case, reference.step_key(self.key, step), count) if case.dropout else None
        X, tables = drawn.X[rows], self.tables
        near = self.objective.nearest_kink(*self.weights_and_biases, X, drawn.t[rows], masks, tables)
        self.nearest = min(self.nearest, float(near.min()))
        w = None if drawn.weights is None else drawn.weights[rows]
        l2 = case.l2 / (count if w is None else w.sum()) if self.per_weight else case.l2
        more = {**drawn.of_reference, "sample_weight": w, "masks": masks}
        parameters = tables, *self.weights_and_biases
        loss, dWs, dbs, _, d_tables = reference.embedded_gradient(*parameters, X, drawn.y[rows], l2, **more)
        gradients = [*dWs, *dbs, *d_tables.values()]
        if case.max_grad_norm is not None:
            gradients, _ = reference.clip_gradients(gradients, case.max_grad_norm)
        for i, g in enumerate(gradients):
            hyper = options_for(case.optimizer, self.hyper, is_bias=layers <= i < 2 * layers)
            self.parts[i], self.states[i] = reference.optimizer_step(
                case.optimizer, self.parts[i], g, self.states[i], step + 1, self.rate, **hyper
            )
        return loss
