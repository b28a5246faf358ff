"""Early stopping, time budgets, callbacks and learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.learning_rates import Adaptive, Constant, Cosine, InverseScaling, LearningRate
from fastbp.model.one_at_a_time import OneThreadAtATime
from fastbp.training import loop
from fastbp.training.early_stopping import EarlyStopping
from support.fitting_cases import network, rows, same, trained, undone

# ---- early stopping ----


def told(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Epoch after epoch the validation loss is the next of these."""
    remaining = iter(losses)
    monkeypatch.setattr(MLP, "loss", lambda *arguments, **options: next(remaining))


@pytest.mark.parametrize(
    ("losses", "patience", "tol", "epochs", "best"),
    [
        ([3, 2, 1, 2, 2, 0], 2, 0.0, 5, 3),  # stops after two that did not fall
        ([3, 2, 1, 2, 0, 1, 1], 2, 0.0, 7, 5),  # one does not yet stop
        ([3, 2, 1, 2, 0], 9, 0.0, 5, 5),  # all epochs needed: the last is the best
        ([3, 2, 1, 2, 3], 9, 0.0, 5, 3),  # all epochs needed, and an earlier one is the best
        ([3, 3, 3], 1, 0.0, 2, 1),  # as high is not lower; the first of equals is kept
        ([3, 2.75, 2.25, 0], 1, 0.5, 2, 2),  # lower, by less than tol: no progress, and yet the best
        ([3, 2.5, 1.75, 1.5], 1, 0.5, 2, 2),  # by tol itself
        ([3, 2.25, 1.5, 1.25, 9], 2, 0.5, 5, 4),
        (
            [3, 2.75, 2.25, 0],
            2,
            0.5,
            3,
            3,
        ),  # each fall is counted from the lowest before it, not from the last progress
        ([math.inf, 2, 3], 2, 0.0, 3, 2),
        ([math.nan, 2, 3], 2, 0.0, 3, 2),
        ([2, math.nan, math.nan, 0], 2, 0.0, 3, 1),
    ],
)
def test_early_stopping_keeps_the_best(
    losses: list[float], patience: int, tol: float, epochs: int, best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rows()
    expected = trained(best)
    told(monkeypatch, losses)
    net = network()
    history = net.fit(X, y, epochs=len(losses), validation_data=rows(9), early_stopping=patience, tol=tol)
    assert len(history.loss) == len(history.validation_score) == epochs
    np.testing.assert_array_equal(history.validation_loss, losses[:epochs])
    np.testing.assert_array_equal(net.parameters, expected.parameters)
    monkeypatch.undo()
    assert net.rng.bit_generator.state == trained(epochs).rng.bit_generator.state  # rows were drawn for all epochs


def test_early_stopping_by_a_real_validation_loss() -> None:
    X, y = rows()
    Xv, yv = rows(40, seed=8)  # random labels: what is learnt is learnt by heart
    net = network()
    history = net.fit(X, y, epochs=200, batch_size=10, validation_data=(Xv, yv), early_stopping=3, tol=0.0)
    best = int(np.argmin(history.validation_loss))
    assert len(history.loss) == best + 4 < 200
    assert net.loss(Xv, yv) == history.validation_loss[best]
    np.testing.assert_array_equal(net.parameters, trained(best + 1, batch_size=10).parameters)


def test_early_stopping_by_the_training_loss() -> None:
    X, y = rows()
    losses = network().fit(X, y, epochs=9, learning_rate=6.0).loss  # so high that it does not fall in each epoch
    best = int(np.argmin(losses))
    assert 0 < best < 8
    net = network()
    assert net.fit(X, y, epochs=9, learning_rate=6.0, early_stopping=9).loss == losses
    np.testing.assert_array_equal(net.parameters, trained(best + 1, learning_rate=6.0).parameters)
    still = network()
    assert len(still.fit(X, y, epochs=9, learning_rate=0.0, shuffle=False, early_stopping=2).loss) == 3
    assert len(still.fit(X, y, epochs=9, learning_rate=0.1, early_stopping=2, tol=1e9).loss) == 3


def test_without_early_stopping_the_last_parameters_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(3)
    told(monkeypatch, [1, 2, 3])
    net = network()
    net.fit(*rows(), epochs=3, validation_data=rows(9))
    np.testing.assert_array_equal(net.parameters, expected.parameters)


def test_early_stopping_beside_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that ends the training does not keep the best from coming back; it sees each epoch's own."""
    expected = [trained(epochs).parameters for epochs in (1, 2, 3)]
    told(monkeypatch, [3, 1, 2, 0])
    seen: list[Any] = []

    def third(net: MLP, history: Any) -> bool:
        seen.append(net.parameters.copy())
        return len(history.loss) == 3

    net = network()
    history = net.fit(*rows(), epochs=4, validation_data=rows(9), early_stopping=5, callbacks=[third])
    assert len(history.loss) == 3
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(net.parameters, expected[1])


def test_what_ends_by_an_error_keeps_its_last_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(3)
    told(monkeypatch, [1, 2, 3])

    def fail(net: MLP, history: Any) -> None:
        if len(history.loss) == 3:
            raise ValueError("enough")

    net = network()
    with pytest.raises(ValueError, match="enough"):
        net.fit(*rows(), epochs=9, validation_data=rows(9), early_stopping=5, callbacks=[fail])
    same(net, expected)  # the generator neither goes back


def test_the_best_comes_back_before_another_thread_may_train(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = []
    call, restore = OneThreadAtATime.call, EarlyStopping.restore_best

    def counted(self: Any, train: Callable[[], Any]) -> Any:
        depth.append("in")
        try:
            return call(self, train)
        finally:
            depth.pop()

    def restored(self: Any) -> None:
        assert depth
        restore(self)
        kept.append(self.best)

    kept: list[Any] = []
    monkeypatch.setattr(OneThreadAtATime, "call", counted)
    monkeypatch.setattr(EarlyStopping, "restore_best", restored)
    network().fit(*rows(), epochs=2, early_stopping=2)
    assert kept[0] is not None


# ---- time budgets ----


def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training's clock goes on by a second with each look at it, and Python gets its turn after each step."""
    now = iter(range(10**9))
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(now))))
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)


@pytest.mark.parametrize("budget", [0, 1, 10, 50.5])
def test_a_time_budget_ends_within_an_epoch(budget: float, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows(800)
    ticking(monkeypatch)
    net = network()
    history = net.fit(X, y, epochs=3, batch_size=8, shuffle=False, time_budget=budget, validation_data=rows(9))
    assert [len(part) for part in (history.loss, history.seconds, history.samples_per_second)] == [1, 1, 1]
    assert len(history.validation_loss) == len(history.validation_score) == 1
    count = round(history.samples_per_second[0] * history.seconds[0])  # of rows: what was trained, no more
    assert count % 8 == 0
    assert 8 <= count <= 8 * max(1, math.ceil(budget / 2))  # a step takes two looks at the clock or more
    assert count >= 8 * (budget // 4)
    monkeypatch.undo()
    twin = network()
    part = twin.fit(X[:count], y[:count], epochs=1, batch_size=8, shuffle=False)
    assert history.loss == part.loss
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_a_time_budget_of_no_seconds_is_one_call() -> None:
    X, y = rows()
    net = network()
    before = net.parameters.copy()
    history = net.fit(X, y, epochs=9, time_budget=0)
    assert len(history.loss) == 1
    assert (net.parameters != before).any()
    assert np.isfinite(history.loss).all()


def test_a_time_budget_ends_between_epochs_and_counts_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now.__setitem__(0, now[0] + 1e-6) or now[0]))

    def slow(net: MLP, history: Any) -> None:
        now[0] += 10.0

    net = network()
    assert len(net.fit(*rows(), epochs=9, time_budget=25.0, callbacks=[slow]).loss) == 3
    np.testing.assert_array_equal(net.parameters, trained(3).parameters)


def test_a_time_budget_that_suffices_changes_nothing() -> None:
    same(trained(3, time_budget=1e9), trained(3))


def test_early_stopping_and_a_time_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(1)
    now = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now.__setitem__(0, now[0] + 1.0) or now[0]))
    told(monkeypatch, [1, 2, 3, 4, 5, 6])
    net = network()
    history = net.fit(*rows(), epochs=6, validation_data=rows(9), early_stopping=9, time_budget=10)
    assert 1 < len(history.loss) < 6
    np.testing.assert_array_equal(net.parameters, expected.parameters)


# ---- callbacks ----


def test_callbacks_get_the_network_and_its_history_and_only_True_ends() -> None:
    seen = []

    def watch(*arguments: Any) -> Any:
        net, history = arguments
        seen.append((net, history, len(history.loss), len(history.validation_loss)))
        return (1, "stop", np.True_, None, [True])[len(history.loss) - 1]  # true in a way, and not True

    net = network()
    history = net.fit(*rows(), epochs=5, validation_data=rows(9), callbacks=(watch,))
    assert [(each[2], each[3]) for each in seen] == [(epoch, epoch) for epoch in range(1, 6)]
    assert all(each[0] is net and each[1] is history for each in seen)
    assert len(network().fit(*rows(), epochs=5, callbacks=[watch, lambda net, history: True]).loss) == 1
    assert len(seen) == 6  # all are called, though a later one ends


def test_a_callback_may_train_its_own_network() -> None:
    X, y = rows()

    def nested(net: MLP, history: Any) -> None:
        net.partial_fit(X, y, optimizer="adam")

    net, twin = network(), network()
    net.fit(X, y, epochs=2, callbacks=[nested])
    for _ in range(2):
        twin.fit(X, y, epochs=1)
        twin.partial_fit(X, y, optimizer="adam")
    same(net, twin)


# ---- learning rates ----


def test_a_rate_object_of_one_rate_is_that_rate() -> None:
    same(trained(3, learning_rate=Constant(0.3)), trained(3, learning_rate=0.3))
    same(trained(3, learning_rate=Cosine(0.3, final=1.0)), trained(3, learning_rate=0.3))
    same(trained(3, learning_rate=InverseScaling(0.3, power=0)), trained(3, learning_rate=0.3))
    assert (trained(3, learning_rate=0.3).parameters != trained(3).parameters).any()


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam"])
def test_each_step_takes_its_own_rate(optimizer: str) -> None:
    """The counts that a rate is asked for are those of the whole fit, a short last minibatch included."""
    X, y = rows(50)
    asked: list[tuple[list[int], int]] = []

    class Counted(LearningRate):
        learning_rate = 0.1
        steady = False

        def at(self, steps: Any, total: int) -> Any:
            asked.append((steps.tolist(), total))
            return 0.1 / (1.0 + steps)

    net, twin = network(), network()
    net.fit(X, y, epochs=2, batch_size=20, shuffle=False, learning_rate=Counted(), optimizer=optimizer)
    assert sorted(step for steps, _ in asked for step in steps) == list(range(6))
    assert {total for _, total in asked} == {6}
    steps = [(0, 20), (20, 40), (40, 50)] * 2
    for number, (begin, end) in enumerate(steps):
        twin.partial_fit(X[begin:end], y[begin:end], 20, 0.1 / (1.0 + number), optimizer=optimizer)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_an_adaptive_rate_sinks_ends_the_training_and_starts_anew() -> None:
    X, y = rows()
    rate = Adaptive(0.1, factor=0.5, patience=2, tol=1e9, least=0.02)  # no epoch is good enough: every two it sinks
    used = []

    def watch(net: MLP, history: Any) -> None:
        used.append(float(rate.at(np.arange(1), 1)[0]))

    for _ in range(2):  # the same object serves the next fit
        used.clear()
        net = network()
        history = net.fit(X, y, epochs=50, learning_rate=rate, shuffle=False, callbacks=[watch])
        # 0.1 for three epochs, the first being better than none; then two each; 0.0125 would be below the least
        assert len(history.loss) == 7
        assert used == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.025]
        twin = network()
        for learning_rate, epochs in ((0.1, 3), (0.05, 2), (0.025, 2)):
            twin.fit(X, y, epochs=epochs, learning_rate=learning_rate, shuffle=False)
        np.testing.assert_array_equal(net.parameters, twin.parameters)


class Odd(LearningRate):
    """A user's own, that gives what it likes."""

    learning_rate = 0.1

    def __init__(self, value: Callable[[int], Any], from_step: int = 0):
        self.value, self.from_step = value, from_step

    def at(self, steps: Any, total: int) -> Any:
        return self.value(len(steps)) if steps[-1] >= self.from_step else np.full(len(steps), 0.1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300], ids=str)
def test_a_rate_that_is_not_finite_is_divergence(value: float, optimizer: str) -> None:
    net = network()
    before = net.parameters.copy()
    with pytest.raises(fastbp.DivergenceError, match="epoch 2 of 3"):
        net.fit(
            *rows(), epochs=3, batch_size=20, learning_rate=Odd(lambda n: np.full(n, value), 3), optimizer=optimizer
        )
    assert np.isfinite(net.parameters).all()
    assert (net.parameters != before).any()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "value", [lambda n: 0.1, lambda n: np.zeros(n + 1), lambda n: np.zeros((n, 1)), lambda n: None,
              lambda n: np.full(n, 1j), lambda n: ["0.1"] * n, lambda n: np.zeros(0)],
)  # fmt: skip
def test_rates_that_are_none_are_refused(value: Callable[[int], Any], optimizer: str) -> None:
    options: dict[str, Any] = {"learning_rate": Odd(value), "optimizer": optimizer}
    undone((ValueError, TypeError), "^learning_rate: got .*expected", lambda net: net.fit(*rows(), **options))
    undone(
        (ValueError, TypeError), "^learning_rate: got .*expected", lambda net: net.fit(*rows(), **options, dropout=0.5)
    )
