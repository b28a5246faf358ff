"""Averages of the parameters: against sums over callbacks, the same bits however a step is cut, checkpoints, errors."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.averaging import Averaging, Equal, Exponential
from fastbp.optimizers import Custom
from fastbp.program.tuning import Tuning, forced
from fastbp.training import loop

SIZES, N, BATCH, EPOCHS = (5, 19, 8, 3), 53, 12, 5
SPE = -(-N // BATCH)  # steps of an epoch
KINDS: dict[str, Averaging] = {
    "steps": Equal(every="step"),
    "epochs": Equal(),
    "late steps": Equal(start=2, every="step"),
    "late epochs": Equal(start=2),
    "exponential": Exponential(0.8),
    "late exponential": Exponential(0.9, start=1),
    "exponential epochs": Exponential(0.5, every="epoch"),
}


def case(dtype: str = "float64", embedded: bool = False) -> tuple[MLP, Any, Any]:
    net = MLP(SIZES, ("tanh", "gelu"), dtype=dtype, seed=3, embeddings={1: (4, 3)} if embedded else None)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, SIZES[0])).astype(dtype)
    if embedded:
        X[:, 1] = rng.integers(0, 4, N)
    return net, X, rng.integers(0, SIZES[-1], N)


def path_of(net: MLP, X: Any, y: Any, **options: Any) -> list[Any]:
    """The parameters after each step, from steps that are fits of their own rows in `partial_fit`."""
    draws, found = copy.deepcopy(net.rng), []
    for _ in range(EPOCHS):
        order = draws.permutation(N)
        for begin in range(0, N, BATCH):
            rows = order[begin : begin + BATCH]
            net.partial_fit(X[rows], y[rows], BATCH, **options)
            found.append(net.parameters.astype(np.float64))
    return found


def averages(path: list[Any], kind: Averaging) -> list[Any]:
    """The average at the end of each epoch, None where there is none yet."""
    found: list[Any] = []
    average, count = None, 0
    for step, w in enumerate(path, 1):
        ends = step % SPE == 0
        if step > kind.start * SPE and (ends or kind.every == "step"):
            if average is None:
                average = w.copy()
            elif isinstance(kind, Exponential):
                average = kind.decay * average + (1 - kind.decay) * w
            else:
                average = (average * count + w) / (count + 1)
            count += 1
        if ends:
            found.append(None if average is None else average.copy())
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("options", [{}, {"optimizer": "adam", "l2": 0.1}, {"max_grad_norm": 0.1}], ids=str)
def test_the_network_gets_the_average(options: dict[str, Any], embedded: bool, kind: str) -> None:
    net, X, y = case(embedded=embedded)
    expected = averages(path_of(copy.deepcopy(net), X, y, **options), KINDS[kind])[-1]
    trained = copy.deepcopy(net)
    last: list[Any] = []
    history = net.fit(
        X, y, EPOCHS, BATCH, averaging=KINDS[kind],
        callbacks=[lambda net, history: last.append(net.parameters.copy())], **options,
    )  # fmt: skip
    np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=1e-13)
    plain = trained.fit(X, y, EPOCHS, BATCH, **options)
    np.testing.assert_array_equal(last[-1], trained.parameters)  # training itself is the same
    assert history.loss == plain.loss
    assert net.rng.bit_generator.state == trained.rng.bit_generator.state


@pytest.mark.parametrize("kind", KINDS)
def test_validation_and_early_stopping_look_at_the_average(kind: str) -> None:
    net, X, y = case()
    there = averages(path_of(copy.deepcopy(net), X, y), KINDS[kind])
    trained = copy.deepcopy(net)
    history = net.fit(X, y, EPOCHS, BATCH, validation_data=(X[::-1], y), averaging=KINDS[kind], early_stopping=9)
    other = trained.fit(X, y, EPOCHS, BATCH, validation_data=(X[::-1], y))
    losses, looked_at = [], copy.deepcopy(net)
    for average, plain in zip(there, other.validation_loss, strict=True):
        if average is None:
            losses.append(plain)
        else:
            looked_at.parameters = average
            losses.append(looked_at.loss(X[::-1], y))
    np.testing.assert_allclose(history.validation_loss, losses, rtol=1e-12)
    best = there[int(np.argmin(losses))]
    if best is not None:
        np.testing.assert_allclose(net.parameters, best, rtol=0, atol=1e-13)


@pytest.mark.parametrize("every", ["step", "epoch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_a_memory_it_is_the_last_parameters(dtype: str, every: str) -> None:
    """A share of 1 takes them bit by bit, and so does the first of an average."""
    net, X, y = case(dtype)
    for averaging in (Exponential(0.0, every=every), Equal(start=EPOCHS - 1)):
        averaged, plain = copy.deepcopy(net), copy.deepcopy(net)
        averaged.fit(X, y, EPOCHS, BATCH, averaging=averaging)
        plain.fit(X, y, EPOCHS, BATCH)
        np.testing.assert_array_equal(averaged.parameters, plain.parameters)


def test_nothing_is_averaged_where_training_ends_before() -> None:
    net, X, y = case()
    plain = copy.deepcopy(net)
    net.fit(X, y, EPOCHS, BATCH, averaging=Equal(start=2), callbacks=[lambda net, history: True])
    plain.fit(X, y, 1, BATCH)
    np.testing.assert_array_equal(net.parameters, plain.parameters)


@pytest.mark.parametrize("kind", ["steps", "epochs"])
def test_frozen_layers_keep_their_bits(kind: str) -> None:
    net, X, y = case("float32", embedded=True)
    before = copy.deepcopy(net)
    net.fit(X, y, EPOCHS, BATCH, optimizer="adam", averaging=KINDS[kind], layer_learning_rates=(0, 1, 0.5))
    np.testing.assert_array_equal(net.weights[0], before.weights[0])
    np.testing.assert_array_equal(net.biases[0], before.biases[0])
    assert (net.weights[1] != before.weights[1]).any()


WAYS = {
    "none": Tuning(), "2 x 2 parts": Tuning(row_parts=2, column_parts=2), "slabs": Tuning(slabs=True, row_parts=3),
    "specialised": Tuning(specialised=True), "shared": Tuning(specialised=True, parallel=True),
    "parallel": Tuning(parallel=True),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_however_a_step_is_cut(kind: str, optimizer: str, dtype: str) -> None:
    found = set()
    for way, threads in itertools.product(WAYS.values(), (1, 2)):
        with forced(way), fastbp.threads.limit(threads):
            net, X, y = case(dtype)
            net.fit(X, y, EPOCHS, BATCH + 28, optimizer=optimizer, averaging=KINDS[kind])
            found.add(net.parameters.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_step_by_step_and_with_epochs_ahead(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for seconds in (10.0, 0.0):
        monkeypatch.setattr(loop, "CONTROL_SECONDS", seconds)
        net, X, y = case("float32")
        net.fit(X, y, EPOCHS, BATCH, optimizer="momentum", averaging=KINDS[kind])
        found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_wide_layers() -> None:
    """Several tiles, and updates in several strands."""
    X = np.random.default_rng(8).normal(size=(150, 70)).astype("float32")
    y = np.arange(150) % 7
    found = set()
    for threads, way in itertools.product((1, 2), (Tuning(), Tuning(kc=16, nc=32), Tuning(row_parts=3))):
        with forced(way), fastbp.threads.limit(threads):
            net = MLP((70, 300, 130, 7), seed=0)
            net.fit(X, y, 2, 50, averaging=Exponential(0.5))
            found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_other_ways_to_train(tmp_path: Path) -> None:
    net, X, y = case()
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": False, "averaging": Exponential(0.5)}
    chunks, mapped, first, second = (copy.deepcopy(net) for _ in range(4))
    net.fit(X, y, epochs=2, **options)
    chunks.fit(lambda: iter([(X[:20], y[:20]), (X[20:], y[20:])]), epochs=2, **options)
    mapped.fit(X, y, epochs=2, memory_limit=4 * BATCH * X[0].nbytes, **options)
    for other in (chunks, mapped):
        np.testing.assert_array_equal(net.parameters, other.parameters)
    with pytest.raises(
        ValueError, match=r"^averaging: got Exponential\(.*start=1.*, which needs the number of steps, and"
    ):
        chunks.fit(lambda: iter([(X, y)]), epochs=2, averaging=Exponential(0.5, start=1))
    chunks.fit(lambda: iter([(X, y)]), epochs=2, averaging=Equal(start=1))
    alone = [copy.deepcopy(first), copy.deepcopy(second)]
    fastbp.fit_many([first, second], X, y, epochs=2, averaging=[None, Equal()])
    for one, other, averaging in zip((first, second), alone, (None, Equal()), strict=True):
        other.fit(X, y, epochs=2, averaging=averaging)
        np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_that_ends_goes_on_from_the_checkpoint(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call leaves an average, the next one goes on from what was trained; an epoch counts when it is whole."""
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)  # a step in each call
    net, X, y = case()
    whole = copy.deepcopy(net)
    whole.fit(X, y, EPOCHS, BATCH, averaging=KINDS[kind])
    options: dict[str, Any] = {"checkpoint": tmp_path / "run.npz", "averaging": KINDS[kind]}
    for _ in range(EPOCHS * SPE - 1):
        net.fit(X, y, EPOCHS, BATCH, time_budget=0.0, **options)
    net.fit(X, y, EPOCHS, BATCH, **options)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    net.parameters[...] = 0
    net.fit(X, y, EPOCHS, BATCH, **options)  # a finished run
    np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_an_epoch_that_the_budget_cuts_short_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)  # a step in each call
    net, X, y = case()
    whole = copy.deepcopy(net)
    whole.fit(X, y, 1, BATCH)
    for _ in range(SPE + 1):
        net.fit(X, y, EPOCHS, BATCH, time_budget=0.0, checkpoint=tmp_path / "run.npz", averaging=Equal())
    np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_an_error_leaves_the_trained_parameters() -> None:
    net, X, y = case()
    plain = copy.deepcopy(net)

    def fail(net: MLP, history: Any) -> None:
        if len(history.loss) == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        net.fit(X, y, EPOCHS, BATCH, averaging=Exponential(0.9), callbacks=[fail], validation_data=(X, y))
    plain.fit(X, y, 2, BATCH)
    np.testing.assert_array_equal(net.parameters, plain.parameters)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (0.999, TypeError, "averaging: got 0.999, expected an object of fastbp.averaging, or None"),
        ("epoch", TypeError, "averaging: got 'epoch', expected an object of fastbp.averaging, or None"),
        (
            Equal(start=5),
            ValueError,
            r"averaging: got Equal\(start=5, every='epoch'\) and 5 epochs, expected a start below",
        ),
    ],
)
def test_errors(given: Any, kind: Any, message: str) -> None:
    net, X, y = case()
    before = net.parameters.copy()
    with pytest.raises(kind, match=f"^{message}"):
        net.fit(X, y, EPOCHS, BATCH, averaging=given)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Equal(-1), ValueError, "start: got -1"),
        (lambda: Equal(0.5), TypeError, "start: got 0.5"),  # type: ignore[arg-type]
        (lambda: Exponential(1.0), ValueError, "decay: got 1.0"),
        (lambda: Exponential(0.9, every="batch"), ValueError, "every: got 'batch'"),
    ],
)
def test_rules_are_checked(make: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        make()


class Own(Custom):
    """Plain gradient descent with a state, which an average must not be taken for."""

    states = 1

    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        (seen,) = state
        seen += 1
        parameters -= step.learning_rate * gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"max_grad_norm": 0.1, "dropout": (0.2, 0.1), "label_smoothing": 0.1}], ids=str
)
def test_behind_updates_of_an_optimizer_of_your_own(options: dict[str, Any], kind: str) -> None:
    own, X, y = case()
    other = copy.deepcopy(own)
    own.fit(X, y, EPOCHS, BATCH, 0.1, optimizer=Own(), averaging=KINDS[kind], **options)
    other.fit(X, y, EPOCHS, BATCH, 0.1, averaging=KINDS[kind], **options)
    np.testing.assert_allclose(own.parameters, other.parameters, rtol=0, atol=1e-14)
