"""Epochs that run ahead in one call: estimators are left as by epochs one by one, which a callback asks for."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.utils

import fastbp
from fastbp.estimators.base import ShuffledOrders
from fastbp.training import loop
from support.estimator_cases import TARGETS, X, Y
from support.training_cases import watch_calls

SOLVERS: dict[str, dict[str, Any]] = {
    "plain": {"solver": "sgd", "momentum": 0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0, "power_t": 0.3},
    "invscaling, momentum": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive"},
    "adam": {"solver": "adam"},
}
ENDS: dict[str, dict[str, Any]] = {
    "max_iter": {"max_iter": 23, "n_iter_no_change": 99},
    "tol": {"max_iter": 60, "tol": 0.02, "n_iter_no_change": 2},
    "at once": {"max_iter": 60, "tol": 100.0, "n_iter_no_change": 1},
}


def look(estimator: Any, history: Any) -> None:
    """A callback sees each epoch."""


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many epochs each call takes."""
    return watch_calls(monkeypatch)


@pytest.fixture(params=[2, 5, 100], ids="blocks of {}".format)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """As many epochs are taken ahead in each call."""

    def length(self: Any) -> int:
        return 1 if self._orders is None else min(request.param, self.plan.epochs - self.position.epoch)

    monkeypatch.setattr(loop.Training, "_epochs_at_once", length)
    return int(request.param)


def left(estimator: Any) -> Any:
    """All that a fit leaves."""
    names = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "_no_improvement_count", "validation_scores_")
    memory = estimator._optimizer_state
    return (
        estimator.network_.parameters.tobytes(),
        copy.deepcopy({name: getattr(estimator, name) for name in names}),
        dict(vars(estimator._optimizer)),
        memory.steps,
        memory.moments(estimator.network_.parameters).tobytes(),
        pickle.dumps(estimator._random_state.get_state(legacy=False)),
    )


def both(calls: list[int], **options: Any) -> tuple[Any, Any]:
    """A classifier whose epochs are taken one by one, and one whose epochs run ahead, not yet fitted."""
    given = {"batch_size": 50, "learning_rate_init": 0.05, "random_state": np.random.RandomState(3), **options}
    calls.clear()
    return tuple(
        fastbp.MLPClassifier((9, 5), callbacks=callbacks, **copy.deepcopy(given)) for callbacks in ([look], [])
    )  # type: ignore[return-value]


def told(estimator: Any, method: str, *arguments: Any, **options: Any) -> list[str]:
    """The warnings of a call, and its error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            getattr(estimator, method)(*arguments, **options)
        except Exception as error:
            return [str(warning.message) for warning in caught] + [repr(error)]
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_what_a_fit_leaves(
    solver: str, end: str, blocks: int, calls: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    one_by_one, ahead = both(calls, verbose=True, **SOLVERS[solver], **ENDS[end])
    expected = told(one_by_one, "fit", X, Y)
    printed = capsys.readouterr().out
    assert set(calls) == {1}
    calls.clear()
    assert told(ahead, "fit", X, Y) == expected
    assert capsys.readouterr().out == printed
    assert max(calls) > 1
    assert left(ahead) == left(one_by_one)
    assert (ahead.n_iter_ < ahead.max_iter) == (end != "max_iter") or solver == "adaptive"
    if blocks == 100 and ahead.n_iter_ < ahead.max_iter and solver != "adaptive":
        assert calls == [ahead.max_iter, ahead.n_iter_]


def test_a_rate_falls_within_a_block(blocks: int, calls: list[int]) -> None:
    one_by_one, ahead = both(calls, **SOLVERS["adaptive"], max_iter=40, tol=1.0, n_iter_no_change=3)
    assert told(ahead, "fit", X, Y) == told(one_by_one, "fit", X, Y)
    assert left(ahead) == left(one_by_one)
    assert ahead._optimizer.learning_rate < 0.05 / 5**4


@pytest.mark.parametrize("solver", ["plain", "adaptive", "adam"])
def test_a_regressor_of_float32(solver: str, blocks: int) -> None:
    fitted = [
        fastbp.MLPRegressor(hidden_layer_sizes=(9, 5), batch_size=120, callbacks=callbacks, random_state=0, tol=0.01,
                            n_iter_no_change=3, max_iter=150, dropout=0.2, max_grad_norm=0.5, dtype="float32",
                            learning_rate_init=0.05, **SOLVERS[solver]).fit(X, TARGETS[:, 0])
        for callbacks in ([look], [])
    ]  # fmt: skip
    assert left(fitted[0]) == left(fitted[1])
    assert fitted[0].n_iter_ < 150


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_warm_start_goes_on(solver: str, blocks: int, calls: list[int]) -> None:
    one_by_one, ahead = both(calls, warm_start=True, max_iter=17, tol=0.02, n_iter_no_change=2, **SOLVERS[solver])
    for _ in range(3):
        assert told(ahead, "fit", X, Y) == told(one_by_one, "fit", X, Y)
        assert left(ahead) == left(one_by_one)
    for part in (slice(60), slice(60, 120)):
        for estimator in (one_by_one, ahead):
            estimator.partial_fit(X[part], Y[part])
        assert left(ahead) == left(one_by_one)


@pytest.mark.parametrize("solver", ["plain", "nesterov"])
def test_the_epoch_that_diverges(solver: str, blocks: int, calls: list[int]) -> None:
    one_by_one, ahead = both(calls, warm_start=True, max_iter=4, tol=0.0, **SOLVERS[solver])
    for estimator in (one_by_one, ahead):
        told(estimator, "fit", X, Y)
        estimator.set_params(max_iter=60, learning_rate_init=1e3, alpha=1.0)
    before = left(ahead)
    expected = told(one_by_one, "fit", X, Y)
    assert "Solver produced non-finite parameter weights" in expected[-1]
    assert told(ahead, "fit", X, Y) == expected
    assert left(ahead)[:-1] == left(one_by_one)[:-1] == before[:-1]
    assert left(ahead) == left(one_by_one)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_a_whole_epoch(blocks: int, calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one, ahead = both(calls, max_iter=23, tol=0.0)
    count = type(ahead)._update_no_improvement_count

    def interrupted(self: Any, *arguments: Any) -> None:
        count(self, *arguments)
        if self.n_iter_ == 6:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(type(ahead), "_update_no_improvement_count", interrupted)
        assert told(ahead, "fit", X, Y)[0] == "Training interrupted by user."
    assert ahead.n_iter_ >= 6
    told(one_by_one.set_params(max_iter=ahead.n_iter_), "fit", X, Y)
    assert left(ahead) == left(one_by_one)


@pytest.mark.parametrize("options", [
    {"early_stopping": True}, {"X_val": X, "y_val": Y}, {"time_budget": 1e9}, {"class_weight": "balanced"},
    {"shuffle": False},
], ids=lambda options: ", ".join(options))  # fmt: skip
@pytest.mark.usefixtures("blocks")
def test_one_by_one_where_more_is_asked(options: dict[str, Any], calls: list[int]) -> None:
    of_fit = {name: value for name, value in options.items() if name in ("X_val", "y_val")}
    settings = {name: value for name, value in options.items() if name not in of_fit}
    told(both(calls, max_iter=6, **settings)[1], "fit", X, Y, **of_fit)
    assert set(calls) == {1}


def test_the_global_generator_after_a_fit(blocks: int, calls: list[int]) -> None:
    shared, draws = sklearn.utils.check_random_state(None), []
    before = shared.get_state()
    try:
        for estimator in both(calls, random_state=None, **ENDS["tol"]):
            shared.seed(5)
            told(estimator, "fit", X, Y)
            draws.append((estimator.n_iter_, shared.random_sample()))
    finally:
        shared.set_state(before)
    assert draws[0] == draws[1]


# ---- orders ----


@pytest.mark.parametrize("generator", [
    lambda: np.random.RandomState(3), lambda: np.random.RandomState(np.random.PCG64(3)),
], ids=["MT19937", "PCG64"])  # fmt: skip
def test_orders_are_scikit_learns_shuffles(generator: Any) -> None:
    twin, orders, expected = generator(), ShuffledOrders(generator()), np.arange(30)
    for epochs in (1, 40, 1, 35, 7, 90):
        wanted = []
        for _ in range(epochs):
            expected = sklearn.utils.shuffle(expected, random_state=twin)
            wanted.append(expected)
        found = orders.several(30, epochs + 5) if epochs > 1 else orders(30)[np.newaxis]
        np.testing.assert_array_equal(found[:epochs], wanted)
        if epochs > 1:
            orders.put_back(5)
        assert pickle.dumps(orders.generator.get_state(legacy=False)) == pickle.dumps(twin.get_state(legacy=False))


def test_what_another_thread_has_drawn_is_not_drawn_again() -> None:
    """NumPy's global generator is every thread's."""
    orders, twin = ShuffledOrders(np.random.RandomState(3)), ShuffledOrders(np.random.RandomState(3))
    drawn = orders.several(30, 9)
    other = threading.Thread(target=orders.generator.random_sample)
    other.start()
    other.join()
    state = pickle.dumps(orders.generator.get_state(legacy=False))
    orders.put_back(4)
    assert pickle.dumps(orders.generator.get_state(legacy=False)) == state
    twin.several(30, 5)
    np.testing.assert_array_equal(drawn[4], twin._last)
    np.testing.assert_array_equal(orders._last, drawn[4])
