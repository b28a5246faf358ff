"""Every optimizer's steps, one by one, against plain NumPy; and many steps in one compiled call against them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import reference
from ..learning_rates import Adaptive, Constant, Cosine, InverseScaling, LearningRate
from ..optimizers import OPTIMIZERS
from .cases import FORMS, Case, Drawn, draw, eps_of
from .objective import ACTIVATIONS
from .tally import Array, Tally
from .training import BATCH, EPOCHS, ROWS, hyper_of

STEPS = EPOCHS * -(-ROWS // BATCH)
IN_EPOCH = STEPS // EPOCHS
EPS64 = eps_of(np.dtype(np.float64))
NEVER = 1e6  # a norm that no gradient here reaches
# Not the defaults, so that what does not arrive shows; epsilon is, for a step may here be as steep as it likes.
HYPER: dict[str, dict[str, float]] = {
    "momentum": {"momentum": 0.8},
    "nesterov": {"momentum": 0.8},
    "adam": {"beta_1": 0.8, "beta_2": 0.99},
    "adamw": {"beta_2": 0.999, "weight_decay": 0.1},
    "rmsprop": {"smoothing": 0.9},
}


def check_optimizers(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Every optimizer with and without l2 and clipping, under every schedule of the learning rate."""
    combined = itertools.product(OPTIMIZERS, (0.0, 0.02), _schedules(1.0), (None, 0.1, NEVER))
    for number, (optimizer, l2, schedule, clip) in enumerate(combined):
        loss, form = FORMS[number % len(FORMS)]
        case = Case((5, 9, 7, 3), ROWS, list(ACTIVATIONS)[number % len(ACTIVATIONS)], loss, form, l2,
                    weighted=number % 4 < 2, optimizer=optimizer, max_grad_norm=clip)  # fmt: skip
        _check_steps(tally, case, schedule, dtype)


def _schedules(rate: float) -> dict[str, tuple[LearningRate, list[float]]]:
    """Each learning rate, and what it is in each step, written out."""
    down = [rate * (0.1 + 0.9 * (1 + math.cos(math.pi * s / (STEPS - 2))) / 2) for s in range(STEPS - 2)]
    return {
        "constant": (Constant(rate), [rate] * STEPS),
        "inverse scaling": (InverseScaling(rate, 0.75), [rate / t**0.75 for t in range(1, STEPS + 1)]),
        "cosine": (Cosine(rate, warmup=2 / STEPS, final=0.1), [rate / 2, rate, *down]),
        # No loss is lower by 10^9 than the one before: every epoch fails but the first, and halves the rate.
        "adaptive": (Adaptive(rate, factor=0.5, patience=1, tol=1e9),
                     [rate] * (2 * IN_EPOCH) + [rate / 2] * IN_EPOCH),
    }  # fmt: skip


def _check_steps(tally: Tally, case: Case, schedule: str, dtype: np.dtype[Any]) -> None:
    """One network takes steps of its own, each compared; another all in one fit, which has the same bits."""
    drawn, whole = draw(case, dtype), draw(case, dtype).net
    learning_rate, textbook = _schedules(0.05 if OPTIMIZERS[case.optimizer].form != "adaptive" else 0.01)[schedule]
    rates = _of_each_step(learning_rate)
    what = f"{case}, {schedule} learning rate"
    tally.within(f"{what}: rates", rates, textbook, 8 * EPS64 * max(rates))
    _one_by_one(tally, what, drawn, rates)
    optimizer = OPTIMIZERS[case.optimizer](**HYPER.get(case.optimizer, {}))
    given: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": learning_rate, "l2": case.l2,
                             "optimizer": optimizer, "shuffle": False, "progress": False,
                             "sample_weight": drawn.weights}  # fmt: skip
    whole.fit(drawn.X, drawn.y, max_grad_norm=case.max_grad_norm, **given)
    tally.same(f"{what}: a fit at once", whole.parameters, drawn.net.parameters)
    if case.max_grad_norm == NEVER:
        free = draw(case, dtype).net
        free.fit(drawn.X, drawn.y, **given)
        tally.same(f"{what}: without clipping", free.parameters, whole.parameters)


def _of_each_step(learning_rate: LearningRate) -> list[float]:
    learning_rate.start()
    rates: list[float] = []
    for epoch in range(EPOCHS):
        rates += learning_rate.at(epoch * IN_EPOCH + np.arange(IN_EPOCH), STEPS).tolist()
        learning_rate.epoch_ended(1.0)
    return rates


def _one_by_one(tally: Tally, what: str, drawn: Drawn, rates: list[float]) -> None:
    """Each step from the network's own parameters and gradient, so that no error is carried on; state apart."""
    case, net = drawn.case, drawn.net
    hyper = HYPER.get(case.optimizer, {})
    parts = [*net.weights, *net.biases]
    states: list[tuple[Array, ...]] = [()] * len(parts)
    sizes = list(states)
    optimizer = OPTIMIZERS[case.optimizer](**hyper)
    clipped = case.max_grad_norm is not None
    for step, rate in enumerate(rates):
        begin = step % IN_EPOCH * BATCH
        rows = slice(begin, min(begin + BATCH, case.n))
        w = None if drawn.weights is None else drawn.weights[rows]
        g = net.gradient(drawn.X[rows], drawn.y[rows], case.l2, sample_weight=w)
        gradients: list[Array] = [*g.weights, *g.biases]
        if case.max_grad_norm is not None:
            gradients, _ = reference.clip_gradients(gradients, case.max_grad_norm)
        before = [part.copy() for part in parts]
        net.partial_fit(drawn.X[rows], drawn.y[rows], BATCH, rate, case.l2, optimizer, sample_weight=w,
                        max_grad_norm=case.max_grad_norm)  # fmt: skip
        # A few roundings, two more in the state with each step; and of the norm's sum.
        k = 8 + 2 * (step + 1) + (net.parameters.size if clipped else 0)
        relative = k * eps_of(net.dtype) + 2 * EPS64 / (1 - hyper.get("beta_2", 0.0))  # 1 - beta_2^t cancels
        for i, (old, slope) in enumerate(zip(before, gradients, strict=True)):
            own = hyper_of(case.optimizer, hyper, i < len(g.weights))
            wanted, states[i] = reference.optimizer_step(case.optimizer, old, slope, states[i], step + 1, rate, **own)
            # What the step is made of, without cancellation: that of all gradients' magnitudes.
            moved, sizes[i] = reference.optimizer_step(
                case.optimizer, np.zeros(old.shape), np.abs(slope), sizes[i], step + 1, rate, **own
            )
            bound = relative * (np.abs(old) + np.abs(moved))
            tally.within(f"{what}, step {step + 1}: parameters[{i}]", parts[i], wanted, bound)
