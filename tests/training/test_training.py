"""Training: against the reference step by step, and its history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from support.training_cases import DTYPES, replay, rows


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("sizes", "n", "batch_size", "epochs", "options"),
    [
        ((2, 50, 4), 160, 32, 20, {"l2": 0.01}),  # 100 steps each
        ((13, 57, 29, 7), 98, 20, 20, {"l2": 0.0}),  # a last minibatch of 18 rows
        ((6, 5), 41, 9, 20, {"l2": 0.1}),  # of 5 rows
        ((6, 12, 5), 10, 10, 100, {"l2": 0.02}),
        ((6, 12, 23), 98, 20, 20, {"l2": 0.02}),  # more classes than a vector holds
        ((6, 12, 9, 5), 31, 1, 4, {"l2": 0.02}),
        ((9, 8, 7, 6, 5), 45, 9, 20, {"l2": 0.01, "activation": "identity"}),
        ((6, 12, 5), 50, 10, 20, {"l2": 0.01, "input_shift": np.linspace(-1, 1, 6), "input_scale": 0.5}),
    ],
)
def test_a_hundred_steps_agree_with_the_reference(
    sizes: tuple[int, ...], n: int, batch_size: int, epochs: int, options: dict[str, Any], shuffle: bool
) -> None:
    X, y = rows(n, sizes, "float64")
    shape = {name: value for name, value in options.items() if name != "l2"}
    net = MLP(sizes, dtype="float64", seed=5, **shape)
    history = net.fit(X, y, epochs=epochs, batch_size=batch_size, learning_rate=0.1, l2=options["l2"], shuffle=shuffle)
    assert epochs * -(-n // batch_size) >= 100
    weights, biases, losses = replay(sizes, 5, X, y, epochs, batch_size, shuffle, learning_rate=0.1, **options)
    for got, want in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
        assert np.abs(got - want).max() <= 1e-12 * np.abs(want).max()
    np.testing.assert_allclose(history.loss, losses, rtol=1e-12, atol=0)
    assert history.loss[-1] < history.loss[0]


def test_one_step_in_float32_agrees_with_the_reference() -> None:
    sizes = (13, 57, 29, 7)
    X, y = rows(40, sizes)
    net = MLP(sizes, seed=5)
    weights, biases = [W.copy() for W in net.weights], [b.copy() for b in net.biases]
    expected = reference.train(weights, biases, X, y, np.arange(40), 20, 0.1, 0.01)
    net.fit(X, y, epochs=1, batch_size=20, learning_rate=0.1, l2=0.01, shuffle=False)
    for got, want in zip([*net.weights, *net.biases], [*expected[0], *expected[1]], strict=True):
        assert np.abs(got - want).max() <= 100 * np.finfo(np.float32).eps * np.abs(want).max()


def test_it_learns() -> None:
    X, y = fastbp.datasets.quadrants(1500, seed=1)
    net = MLP((2, 50, 4), seed=0)
    assert net.score(X, y) < 0.7
    net.fit(X[:1000], y[:1000], epochs=40, batch_size=32, learning_rate=0.5)
    assert net.score(X[1000:], y[1000:]) > 0.97


# ---- history ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_history_holds_the_mean_loss_before_each_update(dtype: str) -> None:
    X, y = rows(50, (6, 12, 5), dtype)
    net, twin = MLP((6, 12, 5), seed=1, dtype=dtype), MLP((6, 12, 5), seed=1, dtype=dtype)
    history = net.fit(X, y, epochs=1, batch_size=20, learning_rate=0.2, l2=0.3, shuffle=False)
    expected = 0.0
    for begin, end in ((0, 20), (20, 40), (40, 50)):  # the short minibatch's mean is taken over its own rows
        expected += (end - begin) * twin.loss(X[begin:end], y[begin:end], l2=0.3)
        twin.fit(X[begin:end], y[begin:end], epochs=1, batch_size=20, learning_rate=0.2, l2=0.3, shuffle=False)
    assert history.loss == pytest.approx([expected / 50], rel=float(100 * np.finfo(dtype).eps))
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_history_has_an_entry_an_epoch() -> None:
    X, y = rows(50, (6, 12, 5))
    net = MLP((6, 12, 5), seed=1)
    history = net.fit(X, y, epochs=3)
    assert isinstance(history, fastbp.History)
    assert [len(part) for part in (history.loss, history.seconds, history.samples_per_second)] == [3, 3, 3]
    assert history.validation_loss == history.validation_score == []
    assert all(type(value) is float and value > 0 for value in (*history.loss, *history.seconds))
    for seconds, speed in zip(history.seconds, history.samples_per_second, strict=True):
        assert speed == pytest.approx(50 / seconds)
    assert history.compile_seconds >= 0
    assert len(net.fit(X, y, epochs=2).loss) == 2  # each call has a history of its own


def test_validation_data_are_judged_after_each_epoch() -> None:
    X, y = rows(50, (6, 12, 5))
    Xv, yv = rows(33, (6, 12, 5), seed=8)
    seen = []

    def record(net: MLP, history: Any) -> None:
        seen.append((net.loss(Xv, yv), net.score(Xv, yv)))
        assert len(history.validation_loss) == len(history.validation_score) == len(history.loss) == len(seen)

    for pair in ((Xv, yv), [Xv.tolist(), yv.tolist()], (Xv, np.eye(5)[yv])):
        seen.clear()
        history = MLP((6, 12, 5), seed=1).fit(X, y, epochs=3, l2=0.5, validation_data=pair, callbacks=[record])
        assert [*zip(history.validation_loss, history.validation_score, strict=True)] == seen
        assert len(set(history.validation_loss)) == 3
    without = MLP((6, 12, 5), seed=1).fit(X, y, epochs=3, l2=0.5)
    assert without.loss == history.loss  # validation takes no part in training
