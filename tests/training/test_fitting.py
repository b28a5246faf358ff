"""Around training: early stopping, time budgets, callbacks, learning rates, `partial_fit`, and what is undone."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.learning_rates import Adaptive, Constant, Cosine, InverseScaling, LearningRate
from fastbp.model.one_at_a_time import OneThreadAtATime
from fastbp.optimizers import SGD, Adam, AdamW, Momentum, Optimizer
from fastbp.training import loop
from fastbp.training.early_stopping import EarlyStopping

SIZES = (6, 12, 5)


def rows(n: int = 60, seed: int = 7) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, SIZES[0])).astype("float32"), rng.integers(0, SIZES[-1], n)


def network(**options: Any) -> MLP:
    return MLP(SIZES, **{"seed": 3, **options})


def trained(epochs: int, **options: Any) -> MLP:
    net = network()
    net.fit(*rows(), epochs=epochs, **options)
    return net


def same(net: MLP, twin: MLP) -> None:
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    assert net.rng.bit_generator.state == twin.rng.bit_generator.state


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


def undone(error: Any, message: str, call: Callable[[MLP], object], net: MLP | None = None) -> None:
    """The call fails and leaves parameters, generator and what partial_fit remembers as they were."""
    net = network() if net is None else net
    twin = copy.deepcopy(net)
    with pytest.raises(error, match=message):
        call(net)
    same(net, twin)
    X, y = rows(20, seed=9)
    for each in (net, twin):  # and goes on as if nothing had been
        each.partial_fit(X, y, 5, optimizer="adam")
        each.fit(X, y, epochs=1, dropout=0.5)
    same(net, twin)


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


# ---- partial_fit ----


def pieces() -> list[tuple[Any, Any]]:
    X, y = rows(60)
    return [(X[begin : begin + 15], y[begin : begin + 15]) for begin in range(0, 60, 15)]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"])
def test_partial_fit_goes_on(optimizer: str) -> None:
    """Calls on parts are the one call on all rows, in order, with as many steps."""
    X, y = rows(60)
    net, twin = network(), network()
    for part in pieces():
        history = net.partial_fit(*part, 5, optimizer=optimizer, l2=0.01)
        assert len(history.loss) == 1
    twin.fit(X, y, epochs=1, batch_size=5, optimizer=optimizer, l2=0.01, shuffle=False)
    same(net, twin)
    anew = network()
    for part in pieces():
        anew.fit(*part, epochs=1, batch_size=5, optimizer=optimizer, l2=0.01, shuffle=False)
    assert (anew.parameters == net.parameters).all() == (optimizer == "sgd")  # fit starts anew each time


def test_fit_between_does_not_touch_what_partial_fit_remembers() -> None:
    first, second, other, _ = pieces()
    net, twin = network(), network()
    for each in (net, twin):
        each.partial_fit(*first, optimizer="adam")
    kept = net.parameters.copy()
    net.fit(*other, epochs=2, optimizer="adam")
    net.parameters[...] = kept
    for each in (net, twin):
        each.partial_fit(*second, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)


@pytest.mark.parametrize("between", ["sgd", "momentum", AdamW(), "rmsprop"])
@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_another_optimizer_starts_anew(between: str | Optimizer, max_grad_norm: float | None) -> None:
    first, second, third, _ = pieces()
    net = network()
    net.partial_fit(*first, 5, optimizer="adam")
    net.partial_fit(*second, 5, optimizer=between, max_grad_norm=max_grad_norm)
    twin = network()
    twin.parameters = net.parameters
    for each in (net, twin):
        each.partial_fit(*third, 5, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_other_settings_of_the_same_optimizer_go_on() -> None:
    first, second, *_ = pieces()
    net, anew = network(), network()
    net.partial_fit(*first, optimizer=Adam(), learning_rate=0.01)
    anew.parameters = net.parameters
    for each in (net, anew):
        each.partial_fit(*second, optimizer=Adam(beta_2=0.9), learning_rate=0.02)
    assert (net.parameters != anew.parameters).any()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_goes_on_by_itself(duplicate: Callable[[MLP], MLP]) -> None:
    first, second, third, _ = pieces()
    net = network()
    net.partial_fit(*first, 5, optimizer="adam")
    twin, straight = duplicate(net), duplicate(net)
    anew = network()
    anew.parameters = net.parameters
    twin.partial_fit(*third, 5, optimizer="adam")  # its own memory: the first's stays
    for each in (net, straight, anew):
        each.partial_fit(*second, 5, optimizer="adam")
    same(net, straight)
    assert (net.parameters != twin.parameters).any()
    assert (net.parameters != anew.parameters).any()


def test_an_optimizer_that_asks_for_too_little_memory_is_refused() -> None:
    """Compiled code would write behind it."""

    class Small(Adam):
        states = 1

    class SmallMomentum(Momentum):
        states = 0

    class Named(SGD):
        kernel = "adaptive"

    for optimizer in (Small(), SmallMomentum(), Named()):
        undone(ValueError, "^optimizer: got .*expected", lambda net, it=optimizer: net.fit(*rows(), optimizer=it))


# ---- what is undone ----


def test_divergence_with_adam_forgets_what_it_remembered() -> None:
    X, y = rows()
    net = network()
    net.partial_fit(X, y, 10, optimizer="adam")
    before = net.parameters.copy()
    with pytest.raises(fastbp.DivergenceError, match="epoch 1 of 1"):
        net.partial_fit(X * np.float32(1e30), y, 10, 1e30, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, before)
    twin = network()
    twin.parameters = before
    for each in (net, twin):
        each.partial_fit(X, y, 10, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    assert np.isfinite(net.parameters).all()


def test_divergence_of_fit_with_adam_in_a_later_epoch() -> None:
    X, y = rows()

    def grow(net: MLP, history: Any) -> None:
        if len(history.loss) == 2:
            net.parameters[...] *= np.float32(1e30)
            kept.append(net.parameters.copy())

    kept: list[Any] = []
    net = network()
    with pytest.raises(fastbp.DivergenceError, match="epoch 3 of 5"):
        net.fit(X, y, epochs=5, optimizer="adam", learning_rate=0.01, callbacks=[grow])
    np.testing.assert_array_equal(net.parameters, kept[0])


def spoiled(X: Any) -> Any:
    X = X.copy()
    X[-1, 2] = np.nan  # all minibatches but the last are trained before it is seen
    return X


FORMS: dict[str, Callable[[Any], Any]] = {
    "in place": lambda X: X, "float64": lambda X: X.astype("f8"), "Fortran": np.asfortranarray,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_nan_in_X_undoes_fit(form: str) -> None:
    X, y = rows()
    X = FORMS[form](spoiled(X))
    for options in ({}, {"optimizer": "adam", "dropout": 0.25}, {"shuffle": False, "max_grad_norm": 1.0}):
        undone(ValueError, r"^X: .*row 59\b", lambda net, o=options: net.fit(X, y, epochs=2, batch_size=7, **o))


@pytest.mark.parametrize("remembered", [None, "sgd", "momentum", "adam"])
@pytest.mark.parametrize("form", FORMS)
def test_nan_in_X_undoes_partial_fit(form: str, remembered: str | None) -> None:
    """The optimizer's memory too, were it of that optimizer or of another."""
    X, y = rows()
    X = FORMS[form](spoiled(X))
    for optimizer in ("sgd", "adam"):
        net = network()
        if remembered:
            net.partial_fit(*rows(20), 5, optimizer=remembered)
        call: Callable[[MLP], object] = lambda net, o=optimizer: net.partial_fit(X, y, 7, optimizer=o, dropout=0.25)  # noqa: E731
        undone(ValueError, r"^X: .*row 59\b", call, net)


def test_other_refusals_undo_partial_fit() -> None:
    X, y = rows()
    for name, wrong in {"X": X[:, :5], "y": y[:-1], "sample_weight": np.full(60, -1.0), "batch_size": 0, "l2": -1.0,
                        "dropout": 1.0, "max_grad_norm": 0.0, "learning_rate": Constant(1e300),
                        "optimizer": "newton"}.items():  # fmt: skip
        net = network()
        net.partial_fit(*rows(20), 5, optimizer="adam")
        arguments = {"X": X, "y": y, "optimizer": "momentum", name: wrong}
        undone((ValueError, TypeError), f"^{name}: got .*expected", lambda net, a=arguments: net.partial_fit(**a), net)


def test_ctrl_c_leaves_the_network_as_after_the_steps_that_were_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes as soon as a compiled call is over: the optimizer has then counted that call's steps."""
    first, second, *_ = pieces()
    net, twin = network(), network()
    run = loop.execution.run
    calls = []

    def interrupted(*arguments: Any, **options: Any) -> None:
        run(*arguments, **options)
        if options.get("repeats", 1):
            calls.append(options["repeats"])
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop.execution, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net.partial_fit(*first, 5, optimizer="adam")
    assert calls == [3]
    twin.partial_fit(*first, 5, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    for each in (net, twin):
        each.partial_fit(*second, 5, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_ctrl_c_within_a_callback_frees_the_network() -> None:
    def interrupt(net: MLP, history: Any) -> None:
        raise KeyboardInterrupt

    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(*rows(), epochs=3, callbacks=[interrupt], early_stopping=1)
    same(net, trained(1))
    assert len(net.fit(*rows(), epochs=2).loss) == 2


@pytest.mark.parametrize("order", [np.arange(9), np.arange(10) + 1, np.arange(10.0), np.arange(10) - 11],
                         ids=["short", "beyond", "floats", "before"])  # fmt: skip
def test_an_order_that_is_none_of_the_rows_is_refused(order: np.ndarray[Any, Any]) -> None:
    """Compiled code gathers rows by it, without asking where they lie."""
    net = MLP((4, 5, 3), seed=0)
    plan = loop.Plan(epochs=1, batch_size=4, learning_rate=Constant(0.1), l2=0.0, optimizer=SGD(),
                         order=lambda rows: order)  # fmt: skip
    with pytest.raises((TypeError, ValueError), match=r"order: got"):
        net.train(np.ones((10, 4)), np.arange(10) % 3, plan)
