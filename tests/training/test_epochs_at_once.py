"""Several epochs in one compiled call, where nothing is asked between them: the bits of one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, DivergenceError
from fastbp.learning_rates import Adaptive, Cosine, InverseScaling, LearningRate
from fastbp.program.split import Tuning, forced
from fastbp.training import loop

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
    seen: list[int] = []
    call = loop.Training._call

    def watched(self: Any, stage: Any, *arguments: Any) -> Any:
        seen.append(stage.rounds)
        return call(self, stage, *arguments)

    monkeypatch.setattr(loop.Training, "_call", watched)
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 1e9)
    return seen


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
     {"learning_rate": Adaptive(0.1)}, {"sample_weight": np.ones(N)}, {"shuffle": False}],
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
    monkeypatch.setattr(loop, "MOST_AT_ONCE", 2 * N)
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
