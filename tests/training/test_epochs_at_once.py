"""Several epochs in one compiled call, where only losses decide what comes next: the bits of one after another."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, DivergenceError
from fastbp.learning_rates import Adaptive, Constant, Cosine, InverseScaling, LearningRate
from fastbp.optimizers import OPTIMIZERS
from fastbp.program.tuning import Tuning, forced
from fastbp.training import loop
from fastbp.training.optimizer_state import OptimizerState
from fastbp.training.orders import Permutations
from support.training_cases import watch_calls

N = 103
Array = np.ndarray[Any, Any]


def data(dtype: str = "float64") -> tuple[Array, Array]:
    rng = np.random.default_rng(8)
    X = rng.normal(size=(N, 7)).astype(dtype)
    return X, np.argmax(X[:, :3] + rng.normal(size=(N, 3)), axis=1)


def look(net: MLP, history: Any) -> None:
    """A callback is asked after each epoch."""


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many epochs each call takes; as many as there are, whatever the clock says."""
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 1e9)
    return watch_calls(monkeypatch)


def trained(calls: list[int], epochs: int = 5, dtype: str = "float64", **options: Any) -> tuple[Any, ...]:
    calls.clear()
    net = MLP((7, 9, 3), seed=2, dtype=dtype)
    history = net.fit(*data(dtype), epochs=epochs, **options)
    assert len(history.loss) == len(history.seconds) == len(history.samples_per_second) == epochs
    return net.parameters.tobytes(), history.loss, net.rng.bit_generator.state


@pytest.mark.parametrize("batch_size", [1, 10, 103, 60, 1000], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.01, "learning_rate": 0.1},
        {"optimizer": "adam", "dropout": 0.3, "max_grad_norm": 0.5},
        {"optimizer": "momentum", "learning_rate": Cosine(0.1, warmup=0.3)},
        {"learning_rate": InverseScaling(0.2)},
    ],
    ids=["sgd", "adam", "cosine", "inverse scaling"],
)
def test_the_bits_of_one_after_another(options: dict[str, Any], dtype: str, batch_size: int, calls: list[int]) -> None:
    options = {**options, "batch_size": batch_size, "dtype": dtype}
    one_by_one = trained(calls, callbacks=[look], **options)
    assert calls == [1] * 5
    assert trained(calls, **options) == one_by_one
    assert calls == [5]
    for way in (Tuning(parallel=True), Tuning(parallel=True, row_parts=2)):
        with forced(way), fastbp.threads.limit(2):
            assert trained(calls, **options) == one_by_one


def test_chosen_rows(calls: list[int]) -> None:
    rows = np.arange(3, N, 2)
    X, y = data()
    twin = MLP((7, 9, 3), seed=2, dtype="float64")
    twin.fit(X[rows], y[rows], epochs=4, batch_size=8, callbacks=[look])
    calls.clear()
    net = MLP((7, 9, 3), seed=2, dtype="float64")
    net.fit(X, y, epochs=4, batch_size=8, rows=rows)
    assert calls == [4]
    np.testing.assert_array_equal(net.parameters, twin.parameters)


class Own(LearningRate):
    learning_rate = 0.1

    def at(self, steps: Any, total: int) -> Any:
        return np.full(len(steps), 0.1)


@pytest.mark.parametrize(
    "options",
    [{"time_budget": 1e9}, {"early_stopping": 9}, {"validation_data": data()}, {"learning_rate": Own()},
     {"sample_weight": np.ones(N)}, {"shuffle": False}],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_one_at_a_time_where_something_is_asked_between_them(options: dict[str, Any], calls: list[int]) -> None:
    trained(calls, **options)
    assert set(calls) == {1}


def test_as_many_as_the_clock_allows(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)
    trained(calls)
    assert set(calls) == {1}
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 1e9)
    monkeypatch.setattr(loop, "FETCHED_ROWS", 2 * N)
    trained(calls)
    assert calls == [2, 2, 1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_epoch_that_diverges_is_found(optimizer: str, calls: list[int]) -> None:
    """With its number, and the parameters from before it."""
    X, y = data("float32")
    found = []
    for callbacks in ([look], []):
        net = MLP((7, 9, 3), seed=2)
        calls.clear()
        rate = Cosine(3e38, warmup=0.9)  # it rises from epoch to epoch
        with pytest.raises(DivergenceError) as error:
            net.fit(X, y, epochs=6, batch_size=10, learning_rate=rate, optimizer=optimizer, callbacks=callbacks)
        found.append((str(error.value), net.parameters.tobytes(), net.rng.bit_generator.state))
    assert found[0] == found[1]
    assert calls[:2] == [6, 1]


def test_nan_is_named_by_its_row(calls: list[int]) -> None:
    X, y = data()
    X[17, 2] = np.nan
    net = MLP((7, 9, 3), seed=2, dtype="float64")
    before = net.parameters.copy(), net.rng.bit_generator.state
    with pytest.raises(ValueError, match="X: got NaN or infinity in row 17"):
        net.fit(X, y, epochs=5)
    np.testing.assert_array_equal(net.parameters, before[0])
    assert net.rng.bit_generator.state == before[1]


# ---- epochs that run ahead of what their losses decide ----


@pytest.fixture(params=[2, 3, 7, 100], ids="blocks of {}".format)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many epochs are taken ahead in each call."""

    def length(self: Any) -> int:
        return 1 if self._orders is None else min(request.param, self.plan.epochs - self.position.epoch)

    monkeypatch.setattr(loop.Training, "_epochs_at_once", length)


def falling() -> Adaptive:
    """It falls after epochs 4, 8, 12, ..., then ends the training."""
    return Adaptive(0.1, factor=0.5, patience=3, tol=10.0, least=0.02)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("options", [{}, {"optimizer": "adam", "dropout": 0.3}, {"optimizer": "nesterov"}], ids=str)
def test_a_rate_that_falls_with_the_loss(options: dict[str, Any], calls: list[int]) -> None:
    found = []
    for callbacks in ([look], []):
        calls.clear()
        net, rate = MLP((7, 9, 3), seed=2, dtype="float64"), falling()
        history = net.fit(*data(), epochs=50, batch_size=10, learning_rate=rate, callbacks=callbacks, **options)
        found.append((net.parameters.tobytes(), history.loss, net.rng.bit_generator.state, vars(rate)))
        assert len(history.loss) == len(history.seconds) == len(history.samples_per_second) == 10
        assert (set(calls) == {1}) == bool(callbacks)
    assert found[0] == found[1]


class Watched:
    """A training by a plan, which ends after the epoch `last`."""

    def __init__(self, last: int, ahead: bool, optimizer: str = "sgd", rate: LearningRate | None = None,
                 **options: Any):  # fmt: skip
        self.net, self.memory, self.last = MLP((7, 9, 3), seed=2, dtype="float64"), OptimizerState(), last
        self.losses: list[float] = []
        rate, rng, update = rate or Constant(0.05), self.net.rng, OPTIMIZERS[optimizer]()
        self.plan = loop.Plan(epochs=20, batch_size=10, learning_rate=rate, l2=0.01, order=Permutations(rng),
                              optimizer=update, losses_decide=ahead, generator=rng, **options)  # fmt: skip

    def after_epoch(self, history: Any) -> bool:
        self.losses = list(history.loss)
        return len(history.loss) == self.last

    def train(self) -> Any:
        self.net.train(*data(), self.plan, memory=self.memory, after_epoch=self.after_epoch)
        return self.state()

    def state(self) -> Any:
        moments = self.memory.moments(self.net.parameters).tobytes()
        return (self.net.parameters.tobytes(), self.net.rng.bit_generator.state, self.losses, self.memory.steps,
                moments)  # fmt: skip


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("last", [1, 2, 5, 14, 20])
@pytest.mark.parametrize("optimizer, options", [
    ("sgd", {}), ("adam", {"dropout": 0.3}), ("momentum", {"max_grad_norm": 0.1}),
    ("lion", {"rate": InverseScaling(0.01)}), ("nesterov", {"rate": Cosine(0.1, warmup=0.3)}),
])  # fmt: skip
def test_the_epoch_that_ends_the_training(last: int, optimizer: str, options: dict[str, Any], calls: list[int]) -> None:
    expected = Watched(last, False, optimizer, **options).train()
    assert set(calls) == {1}
    calls.clear()
    assert Watched(last, True, optimizer, **options).train() == expected
    assert len(expected[2]) == last
    assert max(calls) > 1


class Jump(LearningRate):
    """Far too large from the fifth epoch on."""

    learning_rate, steady, by_steps = 0.05, False, True

    def at(self, steps: Any, total: int) -> Any:
        return np.where(steps < 4 * 11, 0.05, 1e300)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("last", [1, 3, 4])
def test_an_epoch_that_is_taken_back_may_diverge(last: int) -> None:
    """Nobody has asked for it."""
    assert Watched(last, True, rate=Jump()).train() == Watched(last, False, rate=Jump()).train()


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_the_epoch_that_diverges_is_found_behind_questions(optimizer: str) -> None:
    found = []
    for ahead in (False, True):
        run = Watched(99, ahead, optimizer, rate=Jump())
        with pytest.raises(DivergenceError, match="in epoch 5 of 20") as error:
            run.train()
        found.append((str(error.value), run.state()))
    assert found[0] == found[1]
    assert len(found[0][1][2]) == 4


@pytest.mark.usefixtures("blocks", "ctrl_c")
def test_ctrl_c_comes_between_two_epochs() -> None:
    """Parameters, losses and draws are those after the same epoch, though it comes while others have run ahead."""
    run = Watched(9, True, "adam")
    answer = run.after_epoch

    def interrupted(history: Any) -> bool:
        if len(history.loss) == 4:
            signal.raise_signal(signal.SIGINT)
        return answer(history)

    run.after_epoch = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert len(run.losses) >= 4
    assert run.state() == Watched(len(run.losses), False, "adam").train()


@pytest.mark.usefixtures("blocks")
def test_the_progress_bar_counts_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bar:
        rows = 0

        def update(self, rows: int) -> None:
            self.rows += rows

        def set_postfix(self, refresh: bool, **values: str) -> None: ...

    bar = Bar()
    monkeypatch.setattr(loop, "progress_bar", lambda *arguments, **options: contextlib.nullcontext(bar))
    Watched(9, True).train()
    assert bar.rows == 9 * N


def test_how_far_epochs_run_ahead(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Further and further until some are taken back; never where calls cost nothing."""
    monkeypatch.setattr(loop, "CALL_SECONDS", 1e9)
    monkeypatch.setattr(loop, "FETCHED_ROWS", 8 * N)
    Watched(11, True).train()
    assert calls == [1, 8, 8, 2]  # the last two of them again
    calls.clear()
    rate = Adaptive(0.1, factor=0.5, patience=5, tol=10.0, least=0.0)
    Watched(99, True, rate=rate).train()
    assert calls == [1, 8, 5, 1, 8, 4, 1, 8, 4, 1, 3]
    calls.clear()
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)
    Watched(11, True).train()
    assert calls == [1] * 11


# ---- orders ----


@pytest.mark.parametrize("epochs", [1, 2, 6])
def test_orders_that_are_put_back(epochs: int) -> None:
    expected, generator = np.random.default_rng(4), np.random.default_rng(4)
    states, permutations = [expected.bit_generator.state], []
    for _ in range(epochs):
        permutations.append(expected.permutation(N))
        states.append(expected.bit_generator.state)
    for back in range(epochs + 1):
        orders = Permutations(generator)
        np.testing.assert_array_equal(orders.several(N, epochs), permutations)
        orders.put_back(back)
        assert generator.bit_generator.state == states[epochs - back]
        generator.bit_generator.state = states[0]
