"""Training of embeddings: against the reference, with every optimizer, and in the same bits however it is done."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.optimizers import OPTIMIZERS, AdamW, Momentum
from support.comparisons import assert_same_bits
from support.embedded import N, embedded, rows_for

BATCH, EPOCHS = 16, 3
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.05}  # the others': 0.01


def check_fit(net: MLP, X: Any, y: Any, optimizer: str, **settings: Any) -> None:
    """`fit` against `reference.embedded_train`."""
    draws, rate = copy.deepcopy(net.rng), RATES.get(optimizer, 0.01)
    key = int(draws.integers(2**63)) if settings.get("dropout") else 0
    order = [draws.permutation(len(X)) for _ in range(EPOCHS)]
    start = dict(net.embeddings), [W.copy() for W in net.weights], [b.copy() for b in net.biases]
    tables, weights, biases, losses = reference.embedded_train(
        *start, X, y, order, BATCH, rate, activation=net.activation, input_scale=net.input_scale, optimizer=optimizer,
        dropout_key=key, **settings,
    )  # fmt: skip
    history = net.fit(X, y, EPOCHS, BATCH, rate, optimizer=optimizer, **settings)
    counts = [min(BATCH, len(X) - begin) for begin in range(0, len(X), BATCH)]
    np.testing.assert_allclose(history.loss, losses.reshape(EPOCHS, -1) @ counts / len(X), rtol=1e-10)
    for got, wanted in zip(
        (*net.embeddings.values(), *net.weights, *net.biases), (*tables.values(), *weights, *biases), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("settings", [{}, {"l2": 0.05}, {"l2": 0.05, "max_grad_norm": 0.2}, {"dropout": 0.3}], ids=str)
def test_fit_agrees_with_the_reference(optimizer: str, settings: dict[str, Any]) -> None:
    net = embedded("float64", input_scale=0.5)
    X, y = rows_for(net)
    weight = np.random.default_rng(1).uniform(0.2, 2, N)
    before = net.embeddings[1].copy()
    check_fit(net, X, y, optimizer, sample_weight=weight, **settings)
    assert np.abs(net.embeddings[1] - before).mean(axis=1).min() > 0.001  # every level was learnt


def test_rows_of_a_table_that_are_not_used_move_as_others_with_a_gradient_of_0() -> None:
    """By momentum, decay and penalty; without these not at all."""
    net = embedded("float64")
    X, y = rows_for(net)
    few = X.copy()
    few[:, 4] = 3
    start = net.embeddings[4].copy()
    net.partial_fit(few, y, N, 0.1, optimizer="sgd")
    assert_same_bits(np.delete(net.embeddings[4], 3, axis=0), np.delete(start, 3, axis=0))
    assert (net.embeddings[4][3] != start[3]).all()
    decay = AdamW(weight_decay=0.5)
    unused = net.embeddings[4][5].copy()
    net.partial_fit(few, y, N, 0.1, optimizer=decay)
    np.testing.assert_allclose(net.embeddings[4][5], unused * (1 - 0.1 * 0.5), rtol=1e-14)
    unused = net.embeddings[4][5].copy()
    net.partial_fit(few, y, N, 0.1, 0.2, "sgd")
    np.testing.assert_allclose(net.embeddings[4][5], unused * (1 - 0.1 * 0.2), rtol=1e-14)
    used, momentum = int(X[0, 4]), Momentum(momentum=0.5)
    assert used != 3
    net.partial_fit(X[:1], y[:1], 1, 0.1, optimizer=momentum)
    before = net.embeddings[4][used].copy()
    net.partial_fit(few[:1], y[:1], 1, 0.1, optimizer=momentum)
    first = net.embeddings[4][used] - before
    net.partial_fit(few[:1], y[:1], 1, 0.1, optimizer=momentum)
    np.testing.assert_allclose(net.embeddings[4][used] - before, 1.5 * first, rtol=1e-9)


SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "optimizer": "adamw", "dropout": 0.1, "l2": 1e-3}


def fitted(X: Any, y: Any, **more: Any) -> Any:
    net = embedded()
    net.fit(X, y, **{**SETTINGS, **more})
    return net.parameters


def test_ways_of_training_give_the_same_bits(tmp_path: Path) -> None:
    X, y = rows_for(embedded(), 160)
    wanted = fitted(X, y)
    twice, labels = np.concatenate([X, -X]), np.concatenate([y, y])  # no levels behind, except 0
    assert_same_bits(fitted(twice, labels, rows=np.arange(160)), wanted)
    assert_same_bits(fitted(X, y, checkpoint=tmp_path / "run.npz"), wanted)
    assert_same_bits(fitted(X, y, checkpoint=tmp_path / "run.npz"), wanted)  # of a finished run
    networks = [embedded() for _ in range(3)]
    fastbp.fit_many(networks, X, y, **SETTINGS)
    for net in networks:
        assert_same_bits(net.parameters, wanted)
    stopped = embedded()
    history = stopped.fit(X, y, validation_data=(X, y), early_stopping=1, **{**SETTINGS, "epochs": 40})
    assert history.validation_loss[-1] >= min(history.validation_loss)
    assert stopped.loss(X, y) == min(history.validation_loss)


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    X, y = rows_for(embedded(), 160)
    wanted = fitted(X, y, epochs=4)

    class Killed(Exception):
        pass

    def kill(net: Any, history: Any) -> None:
        if len(history.loss) == 2:
            raise Killed

    with pytest.raises(Killed):
        fitted(X, y, epochs=4, checkpoint=tmp_path / "run.npz", checkpoint_seconds=0, callbacks=[kill])
    assert_same_bits(fitted(X, y, epochs=4, checkpoint=tmp_path / "run.npz"), wanted)


def test_a_checkpoint_of_other_embeddings_is_refused(tmp_path: Path) -> None:
    X, y = rows_for(embedded(), 160)
    fitted(X, y, checkpoint=tmp_path / "run.npz")
    other = embedded(embeddings={1: (8, 3), 4: (90, 19)})
    with pytest.raises(fastbp.CheckpointError, match=r"embeddings is \[\[1, 7, 3\], .*, here \[\[1, 8, 3\], "):
        other.fit(X, y, checkpoint=tmp_path / "run.npz", **SETTINGS)


def test_advice_on_inputs_says_nothing_of_levels() -> None:
    net = MLP((2, 3, 1), "identity", "mean_squared_error", embeddings={1: (1000, 2)}, seed=0)
    X = np.column_stack([np.ones(64), np.full(64, 999)])
    with pytest.raises(fastbp.DivergenceError) as refused:
        net.fit(X, np.ones(64), learning_rate=1e20)
    assert "inputs" not in str(refused.value)


def test_it_learns_what_no_single_number_tells() -> None:
    """Which of two classes a level belongs to is drawn at random."""
    rng = np.random.default_rng(0)
    of_level = rng.integers(0, 2, 200)
    X = rng.integers(0, 200, (4000, 1))
    net = MLP((1, 2), embeddings={0: (200, 4)}, seed=0)
    net.fit(X, of_level[X[:, 0]], 30, 32, optimizer="adam", learning_rate=0.01)
    assert net.score(X, of_level[X[:, 0]]) == 1.0
