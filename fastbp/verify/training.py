"""Whole runs of training, of every optimizer with dropout, weights, l2 and clipping, against plain NumPy."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..learning_rates import Constant
from ..network import MLP
from ..optimizers import OPTIMIZERS
from ..training.plan import Plan
from .cases import DROPOUT, FORMS, SOFTMAX, Case, Drawn, draw, eps_of, key_of_next_fit, masks_of, softmax_cases
from .objective import ACTIVATIONS, nearest_kink
from .tally import Array, Tally

TRAINING_KINK = 1e-5  # float32's sums of order 1 are off by about 1e-6 within a run: one so near may cross
EPOCHS, BATCH, ROWS = 3, 8, 29  # the last minibatch of an epoch is short
# Hyper-parameters of whole runs: a small epsilon would make of a rounded gradient near 0 a step of any sign.
SMOOTH: dict[str, dict[str, float]] = {
    "adam": {"epsilon": 0.1},
    "adamw": {"epsilon": 0.1, "weight_decay": 0.1},
    "rmsprop": {"epsilon": 0.1},
    "adagrad": {"epsilon": 0.1},
}


def check_training(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Three shuffled epochs with a short last minibatch against the reference: parameters, the loss of each epoch."""
    for case in _runs():
        drawn = draw(case, dtype)
        run = _Run(drawn)
        run.train()
        if dtype == np.float32 and run.nearest < TRAINING_KINK:  # rounding may take the other side of the kink
            tally.left_out += 1
            continue
        net = drawn.net
        history = net.train(drawn.X, drawn.y, run.plan(), sample_weight=drawn.weights)
        k = EPOCHS * -(-ROWS // BATCH) * case.terms * eps_of(dtype)
        tally.within(f"{case}: losses", history.loss, run.losses, k * (1 + np.max(run.losses)))
        for i, (W, b) in enumerate(zip(run.parts[: len(net.weights)], run.parts[len(net.weights) :], strict=True)):
            tally.within(f"{case}: weights[{i}]", net.weights[i], W, k * np.abs(W).max())
            tally.within(f"{case}: biases[{i}]", net.biases[i], b, k * np.abs(b).max())


def _runs() -> Iterator[Case]:
    yield from softmax_cases(((6, 5), (7, 11, 4), (6, 9, 8, 3), (5, 7, 23)), (ROWS,))
    rng = np.random.default_rng(8)
    shapes = (7, 11, 4), (6, 9, 8, 3), (5, 7, 23)
    for number, (optimizer, activation) in enumerate(itertools.product(OPTIMIZERS, ACTIVATIONS)):
        loss, form = FORMS[number % len(FORMS)]
        for dropout, clip in ((0.0, None), (DROPOUT, 0.2)):
            yield Case(shapes[rng.integers(3)], ROWS, activation, loss, form, float(rng.choice([0.0, 0.02])),
                       bool(rng.integers(2)), bool(rng.integers(2)), dropout, optimizer, clip)  # fmt: skip


@dataclass
class _Run:
    """The reference's training: its parameters, the mean loss of each epoch, and how near to a kink it came."""

    drawn: Drawn
    losses: list[float] = field(default_factory=list)
    nearest: float = math.inf

    def __post_init__(self) -> None:
        case, net = self.drawn.case, self.drawn.net
        self.hyper = SMOOTH.get(case.optimizer, {})
        self.per_weight = case.optimizer != "sgd" and case.weighted
        self.rate = 0.25 if case.loss == SOFTMAX and case.optimizer == "sgd" else 0.05
        self.parts: list[Array] = [part.astype(np.float64) for part in (*net.weights, *net.biases)]
        self.states: list[tuple[Array, ...]] = [()] * len(self.parts)
        self.key = key_of_next_fit(net)
        self.draws = copy.deepcopy(net.rng)
        if case.dropout:
            self.draws.integers(2**63)  # the key, before the first order

    def plan(self) -> Plan:
        case = self.drawn.case
        return Plan(EPOCHS, BATCH, Constant(self.rate), case.l2, OPTIMIZERS[case.optimizer](**self.hyper),
                    self.drawn.net.rng.permutation, self.per_weight, case.dropout, case.max_grad_norm,
                    generator=self.drawn.net.rng)  # fmt: skip

    def train(self) -> None:
        case, net = self.drawn.case, self.drawn.net
        shadow = MLP(case.sizes, case.activation, case.loss, "float64", input_shift=net.input_shift,
                     input_scale=net.input_scale, leaky_slope=net.leaky_slope,
                     huber_delta=net.huber_delta)  # fmt: skip
        step = 0
        for _ in range(EPOCHS):
            total, order = 0.0, self.draws.permutation(case.n)
            for begin in range(0, case.n, BATCH):
                rows = order[begin : begin + BATCH]
                total += len(rows) * self._step(shadow, rows, step)
                step += 1
            self.losses.append(total / case.n)

    def _step(self, shadow: MLP, rows: NDArray[np.int64], step: int) -> float:
        drawn, case, layers = self.drawn, self.drawn.case, len(self.drawn.net.weights)
        count = len(rows)
        masks = masks_of(case, reference.step_key(self.key, step), count) if case.dropout else None
        for own, part in zip((*shadow.weights, *shadow.biases), self.parts, strict=True):
            own[...] = part
        near = nearest_kink(shadow, drawn.X[rows], drawn.t[rows], masks)
        w = None if drawn.weights is None else drawn.weights[rows]
        self.nearest = min(self.nearest, float(near.min()))
        l2 = case.l2 / (count if w is None else w.sum()) if self.per_weight else case.l2
        loss, dWs, dbs, _ = reference.gradient(
            self.parts[:layers], self.parts[layers:], drawn.X[rows], drawn.y[rows], l2, **drawn.of_reference,
            sample_weight=w, masks=masks,
        )  # fmt: skip
        gradients = [*dWs, *dbs]
        if case.max_grad_norm is not None:
            gradients, _ = reference.clip_gradients(gradients, case.max_grad_norm)
        for i, g in enumerate(gradients):
            hyper = hyper_of(case.optimizer, self.hyper, i < layers)
            self.parts[i], self.states[i] = reference.optimizer_step(
                case.optimizer, self.parts[i], g, self.states[i], step + 1, self.rate, **hyper
            )
        return loss


def hyper_of(optimizer: str, hyper: Mapping[str, float], weights: bool) -> dict[str, float]:
    """Biases do not decay."""
    return {**hyper} if weights or optimizer != "adamw" else {**hyper, "weight_decay": 0.0}
