"""Checks of every optimizer: its steps one by one against plain NumPy, and a fit at once against these steps."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import reference
from ..kernels.activations import ACTIVATIONS
from ..learning_rates import Adaptive, Constant, Cosine, InverseScaling, LearningRate
from ..optimizers import OPTIMIZERS
from ..program.parameters import Embedding
from ..reference.optimizers import options_for
from .cases import FORMS, Case, Drawn, draw, eps_of
from .tally import Array, Tally
from .training import BATCH, EPOCHS, ROWS

STEPS = EPOCHS * -(-ROWS // BATCH)
IN_EPOCH = STEPS // EPOCHS
EPS64 = eps_of(np.dtype(np.float64))
NEVER = 1e6  # a norm that no gradient here reaches


def check_optimizers(tally: Tally, dtype: np.dtype[Any]) -> None:
    """Check every optimizer with and without l2 and clipping, under every schedule of the learning rate."""
    combined = itertools.product(OPTIMIZERS, (0.0, 0.02), _schedules(1.0), (None, 0.1, NEVER))
    for number, (optimizer, l2, schedule, clip) in enumerate(combined):
        loss, form = FORMS[number % len(FORMS)]
        activation, weighted = list(ACTIVATIONS)[number % len(ACTIVATIONS)], number % 4 < 2
        settings: dict[str, Any] = {"weighted": weighted, "optimizer": optimizer, "max_grad_norm": clip}
        embeddings = (Embedding(1, 6, 3), Embedding(4, 50, 9)) if number % 5 == 0 else ()
        case = Case((5, 9, 7, 3), ROWS, activation, loss, form, l2, **settings, embeddings=embeddings)
        _check_steps(tally, case, schedule, dtype)


def _schedules(rate: float) -> dict[str, tuple[LearningRate, list[float]]]:
    """Return each learning rate, and its values in all steps, written out."""
    down = [rate * (0.1 + 0.9 * (1 + math.cos(math.pi * s / (STEPS - 2))) / 2) for s in range(STEPS - 2)]
    return {
        "constant": (Constant(rate), [rate] * STEPS),
        "inverse scaling": (InverseScaling(rate, 0.75), [rate / t**0.75 for t in range(1, STEPS + 1)]),
        "cosine": (Cosine(rate, warmup=2 / STEPS, final=0.1), [rate / 2, rate, *down]),
        # No loss is lower by 10^9 than the one before: every epoch except the first fails, and halves the rate.
        "adaptive": (
            Adaptive(rate, factor=0.5, patience=1, tol=1e9),
            [rate] * (2 * IN_EPOCH) + [rate / 2] * IN_EPOCH,
        ),
    }


def _check_steps(tally: Tally, case: Case, schedule: str, dtype: np.dtype[Any]) -> None:
    """Compare each step that a network takes alone, and then a fit at once, which must have the same bits."""
    drawn, whole = draw(case, dtype), draw(case, dtype).net
    kind, tried = OPTIMIZERS[case.optimizer], reference.OPTIMIZERS[case.optimizer].tried
    learning_rate, textbook = _schedules(min(0.05, 10 * kind.default_learning_rate))[schedule]
    rates = _of_each_step(learning_rate)
    what = f"{case}, {schedule} learning rate"
    tally.within(f"{what}: rates", rates, textbook, 8 * EPS64 * max(rates))
    _one_by_one(tally, what, drawn, rates)
    given: dict[str, Any] = {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "learning_rate": learning_rate,
        "l2": case.l2,
        "optimizer": kind(**tried),
        "shuffle": False,
        "progress": False,
        "sample_weight": drawn.weights,
    }
    whole.fit(drawn.X, drawn.y, max_grad_norm=case.max_grad_norm, **given)
    tally.same(f"{what}: a fit at once", whole.parameters, drawn.net.parameters)
    if case.max_grad_norm == NEVER:
        free = draw(case, dtype).net
        free.fit(drawn.X, drawn.y, **given)
        tally.same(f"{what}: without clipping", free.parameters, whole.parameters)


def _of_each_step(learning_rate: LearningRate) -> list[float]:
    """Return the learning rates of all steps."""
    learning_rate.start()
    rates: list[float] = []
    for epoch in range(EPOCHS):
        rates += learning_rate.at(epoch * IN_EPOCH + np.arange(IN_EPOCH), STEPS).tolist()
        learning_rate.epoch_ended(1.0)
    return rates


def _one_by_one(tally: Tally, what: str, drawn: Drawn, rates: list[float]) -> None:
    """Compare each step, from the network's own parameters and gradient, so that only the state carries errors on."""
    case, net = drawn.case, drawn.net
    hyper, jumps = reference.OPTIMIZERS[case.optimizer].tried, reference.OPTIMIZERS[case.optimizer].smooth is None
    parts, layers = [*net.weights, *net.biases, *net.embeddings.values()], len(net.weights)
    states: list[tuple[Array, ...]] = [()] * len(parts)
    sizes = list(states)
    optimizer = OPTIMIZERS[case.optimizer](**hyper)
    clipped = case.max_grad_norm is not None
    for step, rate in enumerate(rates):
        begin = step % IN_EPOCH * BATCH
        rows = slice(begin, min(begin + BATCH, case.n))
        w = None if drawn.weights is None else drawn.weights[rows]
        g = net.gradient(drawn.X[rows], drawn.y[rows], case.l2, sample_weight=w)
        gradients: list[Array] = [*g.weights, *g.biases, *g.embeddings.values()]
        if case.max_grad_norm is not None:
            gradients, _ = reference.clip_gradients(gradients, case.max_grad_norm)
        before = [part.copy() for part in parts]
        more: dict[str, Any] = {"sample_weight": w, "max_grad_norm": case.max_grad_norm}
        net.partial_fit(drawn.X[rows], drawn.y[rows], BATCH, rate, case.l2, optimizer, **more)
        # A few roundings, two more in the state with each step, and those of the norm's sum.
        k = 8 + 2 * (step + 1) + (net.parameters.size if clipped else 0)
        relative = k * eps_of(net.dtype) + 2 * EPS64 / (1 - getattr(optimizer, "beta_2", 0.0))  # 1 - beta_2^t cancels
        for i, (old, slope) in enumerate(zip(before, gradients, strict=True)):
            own = options_for(case.optimizer, hyper, is_bias=layers <= i < 2 * layers)

            def stepped(w: Array, g: Array, state: Any, own: Any = own, t: int = step + 1, rate: float = rate) -> Any:
                return reference.optimizer_step(case.optimizer, w, g, state, t, rate, **own)

            wanted, state = stepped(old, slope, states[i])
            # The magnitude of what a step is computed from, without cancellation: the step of all magnitudes.
            moved, size = stepped(np.zeros(old.shape), np.abs(slope), sizes[i])
            bound = relative * (np.abs(old) + np.abs(moved))
            if jumps:  # rounding may take a number across the jump
                for side in (-relative, relative):
                    shifted = tuple(s + side * m for s, m in zip(states[i], sizes[i], strict=True))
                    aside, _ = stepped(old, slope * (1 + side), shifted)
                    bound = np.maximum(bound, 2 * np.abs(aside - wanted))
            states[i], sizes[i] = state, size
            tally.within(f"{what}, step {step + 1}: parameters[{i}]", parts[i], wanted, bound)
