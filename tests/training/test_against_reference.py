"""`MLP.fit` against the reference: every optimizer, learning rate schedule, clipping, dropout, weights and penalty."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest

from fastbp import MLP, reference
from fastbp.kernels.losses import LOSSES
from fastbp.learning_rates import Adaptive, Constant, Cosine, InverseScaling
from fastbp.optimizers import OPTIMIZERS, Adam, AdamW, Momentum, Nesterov, RMSprop
from fastbp.training import loop
from fastbp.training.optimizer_state import OptimizerState
from fastbp.training.plan import DivergenceError, Plan
from support.lanes import pairwise
from support.network_cases import network, targets_of

DTYPES = ("float64", "float32")
SIZES, N, BATCH, EPOCHS = (4, 7, 5, 3), 23, 6, 3  # the last minibatch has 5 rows
STEPS = EPOCHS * -(-N // BATCH)
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.05}  # the others': 0.01


def adaptive(rate: float) -> Adaptive:
    return Adaptive(rate, factor=0.5, patience=1, tol=1e3)  # no epoch is ever good enough: it sinks after each


def rates_by_hand(kind: str, rate: float, steps: int, epochs: int) -> Any:
    """Of each step; the schedules as their docstrings have them."""
    t = np.arange(steps)
    if kind == "inverse scaling":
        return [rate / (step + 1) ** 0.25 for step in t]
    if kind == "cosine":
        rising = round(0.25 * steps)
        return [rate * (step + 1) / rising if step < rising else
                rate * (0.1 + 0.9 * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2)
                for step in t]  # fmt: skip
    if kind == "adaptive":  # the first epoch is better than none
        return [rate * 0.5 ** max(0, step // (steps // epochs) - 1) for step in t]
    return [rate] * steps


SCHEDULES: dict[str, Any] = {
    "constant": Constant,
    "inverse scaling": lambda rate: InverseScaling(rate, 0.25),
    "cosine": lambda rate: Cosine(rate, warmup=0.25, final=0.1),
    "adaptive": adaptive,
}


def data(loss: str, dtype: str, n: int = N) -> tuple[Any, Any]:
    X = np.random.default_rng(8).normal(size=(n, SIZES[0])).astype(dtype)
    return X, targets_of(loss, n, SIZES[-1], dtype)


def sample_weights(n: int, dtype: str) -> Any:
    weight = np.random.default_rng(n).uniform(0.2, 2, n).astype(dtype)
    weight[::3] = 0
    return weight


def check_fit(net: MLP, X: Any, y: Any, optimizer: Any, rate: float, schedule: str = "constant", *,
              batch_size: int = BATCH, shuffle: bool = True, options: Any = None, l2: float = 0.0, dropout: float = 0.0,
              weight: Any = None, max_grad_norm: float | None = None, l2_per_weight: bool = False) -> None:  # fmt: skip
    """`fit`, or `train` where only a plan has it, against `reference.train`."""
    epochs = EPOCHS
    name = optimizer if isinstance(optimizer, str) else type(optimizer).__name__.lower()
    n, draws = len(X), copy.deepcopy(net.rng)
    key = int(draws.integers(2**63)) if dropout else 0
    order = [draws.permutation(n) if shuffle else np.arange(n) for _ in range(epochs)]
    steps = epochs * -(-n // batch_size)
    start = [part.astype(np.float64) for part in (*net.weights, *net.biases)]
    layers = len(net.weights)

    def by_hand(parts: list[Any]) -> list[Any]:
        Ws, bs, losses = reference.train(
            parts[:layers], parts[layers:], X, y, order, batch_size, rates_by_hand(schedule, rate, steps, epochs), l2,
            net.activation, net.input_shift, net.input_scale, sample_weight=weight, optimizer=name,
            optimizer_options=options, l2_per_weight=l2_per_weight, max_grad_norm=max_grad_norm, dropout=dropout,
            dropout_key=key, loss_name=net.loss_name, **net.constants,
        )  # fmt: skip
        counts = [min(batch_size, n - begin) for begin in range(0, n, batch_size)]
        return [*Ws, *bs, losses.reshape(epochs, -1) @ counts / n]

    expected = by_hand(start)
    if l2_per_weight:
        plan = Plan(epochs, batch_size, SCHEDULES[schedule](rate), l2, OPTIMIZERS[name](), net.rng.permutation,
                    l2_per_weight=True, dropout=dropout, max_grad_norm=max_grad_norm)  # fmt: skip
        history = net.train(X, y, plan, sample_weight=weight)
    else:
        history = net.fit(X, y, epochs, batch_size, SCHEDULES[schedule](rate), l2, optimizer, shuffle,
                          sample_weight=weight, dropout=dropout, max_grad_norm=max_grad_norm)  # fmt: skip
    # A step rounds each parameter as if it had started some eps away; where that leads to, the reference itself shows.
    eps = float(np.finfo(net.dtype).eps)
    signs = np.random.default_rng(1)
    moved = by_hand([part * (1 + eps * signs.choice([-1, 1], part.shape)) for part in start])
    terms = 2 * max(steps, 4) + min(batch_size, n) + sum(net.sizes)
    worst = 0.0
    for got, wanted, other in zip([*net.weights, *net.biases, history.loss], expected, moved, strict=True):
        bound = terms * (np.abs(other - wanted).max() + eps * np.abs(wanted).max())
        worst = max(worst, float(np.abs(np.asarray(got, np.float64) - wanted).max() / bound))
    assert worst <= 1, f"{worst:.3g} of the bound"
    assert np.abs(net.weights[0] - start[0]).max() > 0.001 * rate  # something was learnt


@pytest.mark.parametrize("optimizer, schedule", pairwise(OPTIMIZERS, SCHEDULES))
def test_fit_agrees_with_the_reference(optimizer: str, schedule: str) -> None:
    X_of, turn = {}, itertools.cycle(LOSSES)
    for dtype, clipped, dropout, weighted, l2 in itertools.product(
        ("float64",), (None, 0.2), (0.0, 0.3), (False, True), (0.0, 0.05)
    ):
        loss = next(turn)
        X, y = X_of.setdefault(loss, data(loss, dtype))
        net = network(SIZES, ("tanh", "gelu"), loss, dtype)
        check_fit(net, X, y, optimizer, RATES.get(optimizer, 0.01), schedule, l2=l2, dropout=dropout,
                  weight=sample_weights(N, dtype) if weighted else None, max_grad_norm=clipped)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_minibatches_of_any_size(optimizer: str, dtype: str) -> None:
    """Shuffled and not; a single row last, all rows at once, more than there are; with everything on and off."""
    for turn, (batch_size, shuffle) in enumerate(itertools.product((1, 11, 22, 23, 100), (False, True))):
        loss = ("softmax_cross_entropy", "huber", "half_poisson_deviance_sum")[turn % 3]
        X, y = data(loss, dtype)
        net = network(SIZES, ("silu", "logistic"), loss, dtype, scaled=shuffle)
        rest: dict[str, Any] = {"l2": 0.02, "dropout": 0.2, "max_grad_norm": 0.3} if turn % 2 else {}
        if turn % 4 > 1:
            rest["weight"] = np.random.default_rng(turn).uniform(0.2, 2, N).astype(dtype)
        check_fit(net, X, y, optimizer, RATES.get(optimizer, 0.01), batch_size=batch_size, shuffle=shuffle, **rest)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clipped", [None, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_wider_layers(optimizer: str, clipped: float | None, dtype: str) -> None:
    """Several tiles, and columns that fill no vector; a norm of many parts."""
    sizes = (5, 150, 130, 3)
    net = network(sizes, ("tanh", "silu"), "mean_squared_error", dtype)
    X, y = np.random.default_rng(8).normal(size=(40, 5)).astype(dtype), targets_of("huber", 40, 3, dtype)
    check_fit(net, X, y, optimizer, RATES.get(optimizer, 0.01) / 10, batch_size=16, l2=0.02, max_grad_norm=clipped)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (Momentum(0.5), {"momentum": 0.5}),
        (Momentum(0.0), {"momentum": 0.0}),
        (Nesterov(0.7), {"momentum": 0.7}),
        (Adam(0.5, 0.75, 1e-3), {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-3}),
        (Adam(0.0, 0.0, 0.1), {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 0.1}),
        (AdamW(weight_decay=0.5), {"weight_decay": 0.5}),
        (RMSprop(0.5, 1e-3), {"smoothing": 0.5, "epsilon": 1e-3}),
        (RMSprop(0.0, 0.01), {"smoothing": 0.0, "epsilon": 0.01}),
    ],
)
def test_hyper_parameters(optimizer: Any, options: dict[str, float]) -> None:
    X, y = data("huber", "float64")
    check_fit(network(SIZES, ("tanh", "gelu"), "huber", "float64"), X, y, optimizer, 0.02, options=options, l2=0.02)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_penalty_divided_by_the_weights(weighted: bool) -> None:
    X, y = data("half_squared_error", "float64")
    net = network(SIZES, ("tanh", "gelu"), "half_squared_error", "float64")
    check_fit(net, X, y, "adam", 0.02, l2=3.0, l2_per_weight=True,
              weight=sample_weights(N, "float64") if weighted else None)  # fmt: skip


def test_rows_that_all_weigh_nothing_teach_nothing() -> None:
    X, y = data("huber", "float64")
    weight = np.where(np.arange(N) < BATCH, 0.0, 1.0)
    net, other = (network(SIZES, "tanh", "huber", "float64") for _ in range(2))
    history = net.fit(X, y, 1, BATCH, 0.1, shuffle=False, sample_weight=weight)
    apart = other.fit(X[BATCH:], y[BATCH:], 1, BATCH, 0.1, shuffle=False)
    np.testing.assert_array_equal(net.parameters, other.parameters)  # a weight of 1 multiplies exactly
    assert history.loss[0] == pytest.approx(apart.loss[0] * (N - BATCH) / N, rel=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_count_by_their_shares_alone(dtype: str) -> None:
    """Also where they, or their sums, are at the ends of the dtype's range; by powers of two, the bits are the same."""
    X, y = data("huber", dtype)
    weight, limits = np.random.default_rng(2).uniform(0.5, 1, N).astype(dtype), np.finfo(dtype)
    results = []
    for factor in (1.0, float(limits.smallest_normal) * 2, 2.0 ** (limits.maxexp - 1)):
        net = network(SIZES, "tanh", "huber", dtype)
        g = net.gradient(X, y, sample_weight=factor * weight)
        history = net.fit(X, y, 2, BATCH, 0.1, optimizer="momentum", sample_weight=factor * weight)
        loss = net.loss(X, y, sample_weight=factor * weight)
        results.append((net.parameters.tobytes(), tuple(history.loss), g.loss, g.inputs.tobytes(), loss))
    assert results[0] == results[1] == results[2]


# ---- the same bits, in pieces and by other ways ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_partial_fit_in_pieces_is_fit(optimizer: str, dtype: str) -> None:
    for clipped, weighted in ((None, False), (0.2, True)):
        X, y = data("softmax_cross_entropy", dtype)
        weight = sample_weights(N, dtype) if weighted else None
        whole, parts = (network(SIZES, ("leaky_relu", "gelu"), "softmax_cross_entropy", dtype) for _ in range(2))
        rest: dict[str, Any] = {"learning_rate": 0.03, "l2": 0.02, "optimizer": optimizer, "max_grad_norm": clipped}
        history = whole.fit(X, y, 1, 4, shuffle=False, sample_weight=weight, **rest)
        total = 0.0
        for begin, end in ((0, 4), (4, 16), (16, 23)):
            part = slice(begin, end)
            seen = parts.partial_fit(
                X[part], y[part], 4, sample_weight=None if weight is None else weight[part], **rest
            )
            total += seen.loss[0] * (end - begin)
        np.testing.assert_array_equal(whole.parameters, parts.parameters)
        assert history.loss[0] == pytest.approx(total / N, rel=1e-14)


@pytest.mark.parametrize("between", ["sgd", "momentum", "adamw"])
def test_partial_fit_starts_anew_after_another_optimizer(between: str) -> None:
    X, y = data("huber", "float64")
    net = network(SIZES, "tanh", "huber", "float64")
    for optimizer in ("adam", between):
        net.partial_fit(X, y, BATCH, 0.03, optimizer=optimizer)
    fresh = network(SIZES, "tanh", "huber", "float64")
    fresh.parameters = net.parameters
    net.partial_fit(X, y, BATCH, 0.03, optimizer="adam")
    fresh.partial_fit(X, y, BATCH, 0.03, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, fresh.parameters)


def test_fit_starts_the_optimizer_anew_and_leaves_that_of_partial_fit_alone() -> None:
    X, y = data("huber", "float64")
    one, other = (network(SIZES, "tanh", "huber", "float64") for _ in range(2))
    for net in (one, other):
        net.partial_fit(X, y, BATCH, optimizer="adam")
    kept = one.parameters.copy()
    one.fit(X, y, 2, BATCH, optimizer="adam")
    one.parameters = kept
    for net in (one, other):
        net.partial_fit(X, y, BATCH, optimizer="adam")
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_a_memory_goes_on_where_it_is_given_again() -> None:
    X, y = data("huber", "float64")
    whole, parts = (network(SIZES, "tanh", "huber", "float64") for _ in range(2))
    memory = OptimizerState()
    for net, epochs, given in ((whole, 4, None), (parts, 1, memory), (parts, 3, memory)):
        plan = Plan(epochs, BATCH, Constant(0.03), 0.02, Adam(), lambda rows: None)
        net.train(X, y, plan, memory=given)
    np.testing.assert_array_equal(whole.parameters, parts.parameters)
    assert memory.steps == 4 * -(-N // BATCH)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("l2", [0.0, 0.02])
def test_a_fused_update_has_the_bits_of_one_through_the_gradient_buffer(l2: float, dtype: str) -> None:
    """Where nothing is long enough to be clipped."""
    for sizes in ((4, 7, 5, 3), (30, 150, 130, 23)):
        X = np.random.default_rng(8).normal(size=(41, sizes[0])).astype(dtype)
        y = np.arange(41) % sizes[-1]
        fused, apart = (network(sizes, ("relu", "gelu"), "softmax_cross_entropy", dtype) for _ in range(2))
        history = fused.fit(X, y, 2, 12, 0.1, l2)
        other = apart.fit(X, y, 2, 12, 0.1, l2, max_grad_norm=1e30)
        np.testing.assert_array_equal(fused.parameters, apart.parameters)
        assert history.loss == other.loss


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_return_to_python_after_each_step_changes_nothing(
    optimizer: str, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of steps, keys of masks and rates go on across calls."""
    results = []
    for seconds in (10.0, 0.0):
        monkeypatch.setattr(loop, "CONTROL_SECONDS", seconds)
        X, y = data("huber", "float32", n=53)
        net = network(SIZES, ("gelu", "relu"), "huber", "float32")
        for weight in (None, sample_weights(53, "float32")):
            history = net.fit(X, y, 2, 8, SCHEDULES[schedule](0.02), 0.02, optimizer, sample_weight=weight,
                              dropout=0.3, max_grad_norm=0.5)  # fmt: skip
        results.append((net.parameters.tobytes(), tuple(history.loss)))
    assert results[0] == results[1]


# ---- numbers at the edge of the dtype ----


def test_numbers_beyond_float32_are_refused_or_do_nothing() -> None:
    X, y = data("huber", "float32")
    plain, clipped = (network(SIZES, "tanh", "huber", "float32") for _ in range(2))
    plain.fit(X, y, 1, BATCH)
    with pytest.raises(ValueError, match="max_grad_norm: got 1e\\+300"):
        clipped.fit(X, y, 1, BATCH, max_grad_norm=1e300)
    clipped.fit(X, y, 1, BATCH, max_grad_norm=1e38)  # longer than any gradient
    np.testing.assert_array_equal(plain.parameters, clipped.parameters)
    for name in ("huber_delta", "leaky_slope"):
        with pytest.raises(ValueError, match=f"{name}: got 1e\\+300"):
            MLP(SIZES, **{name: 1e300})  # type: ignore[arg-type]
    before = plain.parameters.copy()
    plain.fit(X, y, 1, BATCH, optimizer=Adam(epsilon=1e300))  # its steps are nothing
    np.testing.assert_array_equal(plain.parameters, before)
    with pytest.raises(DivergenceError):
        plain.fit(X, y, 1, BATCH, optimizer=AdamW(weight_decay=1e300))
    np.testing.assert_array_equal(plain.parameters, before)
