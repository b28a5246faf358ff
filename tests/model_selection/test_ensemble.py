"""Many networks at once: each ends in the bits that it ends in alone; what stops them; their mean; rows of a fit."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, Ensemble, fit_many, learning_rates, optimizers, threads
from fastbp.model.npz_file import CheckpointError
from support.comparisons import assert_same_bits, bits_of
from support.processes import python

N, FEATURES, CLASSES = 90, 6, 3
EACH: dict[str, list[Any]] = {  # one for each of four networks
    "epochs": [3, 7, 5, 12],
    "batch_size": [10, 7, 90, 32],
    "learning_rate": [0.1, learning_rates.Adaptive(0.2, patience=1, tol=10.0), None, learning_rates.Cosine(0.05, 0.2)],
    "l2": [0.0, 0.01, 0.1, 0.0],
    "optimizer": ["sgd", "momentum", "adam", optimizers.AdamW(weight_decay=0.1)],
    "shuffle": [True, True, False, True],
    "dropout": [0.0, 0.3, 0.0, 0.5],
    "max_grad_norm": [None, 0.5, 1.0, None],
    "early_stopping": [None, 2, 1, 3],
    "tol": [0.0, 0.05, 0.5, 1e-4],
}


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, N)
    return rng.normal(size=(N, FEATURES)) + y[:, None], y


def networks() -> list[MLP]:
    return [
        MLP((FEATURES, 9, CLASSES), seed=1), MLP((FEATURES, 4, 5, CLASSES), "tanh", seed=2, dtype="float64"),
        MLP((FEATURES, CLASSES), seed=3, input_shift=0.5), MLP((FEATURES, 20, CLASSES), ("gelu",), seed=4),
    ]  # fmt: skip


def assert_same(networks: list[MLP], expected: list[MLP]) -> None:
    for net, other in zip(networks, expected, strict=True):
        assert_same_bits(net.parameters, other.parameters)
        assert net.rng.bit_generator.state == other.rng.bit_generator.state


@pytest.mark.parametrize("count", [1, 2])
def test_each_ends_in_the_bits_that_it_ends_in_alone(count: int) -> None:
    X, y = data()
    rng = np.random.default_rng(1)
    rows = [None, rng.permutation(N)[:50], np.arange(N) % 3 > 0, rng.integers(0, N, 120)]
    weights = [None, rng.uniform(0, 2, N), None, rng.uniform(0, 2, N)]
    held_out = [None, (X[:30], y[:30]), None, (X[60:], y[60:])]
    many, alone = networks(), networks()
    with threads.limit(count):
        histories = fit_many(many, X, y, **EACH, rows=rows, sample_weight=weights, validation_data=held_out)
    for i, (net, history) in enumerate(zip(alone, histories, strict=True)):
        expected = net.fit(X, y, **{name: values[i] for name, values in EACH.items()}, rows=rows[i],
                           sample_weight=weights[i], validation_data=held_out[i])  # fmt: skip
        assert history.loss == expected.loss
        assert history.validation_loss == expected.validation_loss
        assert history.validation_score == expected.validation_score
    assert_same(many, alone)
    assert len({len(history.loss) for history in histories}) > 2  # early stopping did stop some


def test_one_argument_for_all() -> None:
    X, y = data()
    rate = learning_rates.Adaptive(0.2, patience=1, tol=10.0)  # remembers: each needs its own
    told: Any = {"epochs": 6, "batch_size": 20, "learning_rate": rate, "optimizer": "momentum", "rows": np.arange(80),
                 "sample_weight": np.linspace(0, 1, N), "validation_data": (X, y), "early_stopping": 4}  # fmt: skip
    many, alone = networks(), networks()
    seen: list[MLP] = []
    histories = fit_many(many, X, y, **told, callbacks=[lambda net, history: seen.append(net)])
    assert vars(rate) == vars(learning_rates.Adaptive(0.2, patience=1, tol=10.0))  # none of them used this one
    for net in alone:
        net.fit(X, y, **told)
    assert_same(many, alone)
    assert sorted(map(id, seen)) == sorted(id(net) for net, history in zip(many, histories, strict=True)
                                           for _ in history.loss)  # fmt: skip


def test_callbacks_of_each() -> None:
    X, y = data()
    stop = lambda net, history: len(history.loss) == 2  # noqa: E731
    histories = fit_many(networks(), X, y, epochs=4, callbacks=[[], [stop], (stop,), []])
    assert [len(history.loss) for history in histories] == [4, 2, 2, 4]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("kind", ["f4", "f8", "u1", "fortran", "csr"])
@pytest.mark.parametrize("scaled", [True, False])
def test_rows_are_those_of_a_copy(kind: str, shuffle: bool, scaled: bool) -> None:
    X, y = data()
    X = np.abs(X * 10).astype("f4" if kind in ("fortran", "csr") else kind)
    if kind == "fortran":
        X = np.asfortranarray(X)
    if kind == "csr":
        X = pytest.importorskip("scipy.sparse").csr_array(X)
    rows = np.random.default_rng(2).integers(0, N, 70)
    scaling = {"input_shift": 1.0, "input_scale": 0.1} if scaled else {"input_scale": None}
    one, other = (MLP((FEATURES, 9, CLASSES), seed=1, **scaling) for _ in range(2))
    told: Any = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "shuffle": shuffle, "optimizer": "adam"}
    one.fit(X, y, rows=rows, **told)
    other.fit(X[rows], y[rows], **told)
    assert_same_bits(one.parameters, other.parameters)


@pytest.mark.parametrize(
    "rows, error, words",
    [
        ([], ValueError, "rows: got none"), ([0.0], TypeError, "rows: got dtype float64"),
        ([0, N], ValueError, rf"rows: got {N} at \[1\], expected indices from 0 to {N - 1}"),
        ([0, -1], ValueError, r"rows: got -1 at \[1\]"), ([[0]], ValueError, "rows: got 2 dimensions"),
        ([True], ValueError, "rows: got shape"), (np.zeros(N, bool), ValueError, "rows: got none"),
    ],
)  # fmt: skip
def test_wrong_rows(rows: Any, error: type[Exception], words: str) -> None:
    X, y = data()
    net = networks()[0]
    before = net.parameters.copy()
    with pytest.raises(error, match=words):
        net.fit(X, y, rows=rows)
    assert_same_bits(net.parameters, before)


def test_nan_in_a_row_is_told_by_its_place_in_x() -> None:
    X, y = data()
    X[40, 2] = np.nan
    networks()[0].fit(X, y, rows=np.arange(40))
    with pytest.raises(ValueError, match="row 40"):
        networks()[0].fit(X, y, rows=np.arange(30, 50))


# ---- errors, and ends ----


def test_the_others_end_well_where_one_fails() -> None:
    X, y = data()
    many, alone = networks(), networks()
    rates = [1e30, 0.1, 0.1, 1e30]
    with pytest.raises(fastbp.DivergenceError) as caught:
        fit_many(many, X, y, learning_rate=rates, batch_size=10)
    assert caught.value.__notes__ == ["networks[0]; and networks[3] failed as well"]
    for i in (1, 2):
        alone[i].fit(X, y, learning_rate=0.1, batch_size=10)
        assert_same_bits(many[i].parameters, alone[i].parameters)


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"epochs": [1, 2, 3, 0]}, ValueError, "epochs: got 0"), ({"epochs": [1, 2]}, ValueError, "epochs: got 2 val"),
        ({"rows": [[1], [2]]}, ValueError, "rows: got 2 values"), ({"early_stopping": 0}, ValueError, "early_stopping"),
        ({"rows": [None, None, None, [N]]}, ValueError, "rows: got 90"), ({"l2": [0, 0, 0, -1]}, ValueError, "l2"),
        ({"y": np.full(N, CLASSES)}, ValueError, "y: got 3"), ({"X": np.zeros((N, 2))}, ValueError, "X: got shape"),
        ({"callbacks": [1]}, ValueError, "callbacks"), ({"networks": []}, ValueError, "networks: got none"),
        ({"networks": 1}, TypeError, "networks: got int"), ({"networks": [1]}, TypeError, "networks: got list"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_before_anything_is_trained(
    wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    X, y = data()
    many, before = networks(), networks()
    with pytest.raises(error, match=words):
        fit_many(**{"networks": many, "X": X, "y": y, **wrong})
    assert_same(many, before)


def test_twice_the_same_is_refused() -> None:
    X, y = data()
    net, rng = networks()[0], np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"the same network at \[0\] and \[1\]"):
        fit_many([net, net], X, y)
    with pytest.raises(ValueError, match=r"one Generator, .* at \[0\] and \[2\]"):
        fit_many([MLP((FEATURES, CLASSES), seed=seed) for seed in (rng, 1, rng)], X, y)


CTRL_C = """
import signal, threading, time
import numpy as np
import fastbp

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a script ignores it

rng = np.random.default_rng(0)
X, y = rng.normal(size=(20_000, 200)), rng.integers(0, 10, 20_000)
networks = [fastbp.MLP((200, 300, 10), seed=seed) for seed in range(6)]
fastbp.fit_many(networks, X, y, rows=np.arange(10), epochs=1)
before = [net.parameters.copy() for net in networks]
pressed = []

def press(net, history):
    if not pressed:
        pressed.append(time.monotonic())
        signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else (
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))

try:
    fastbp.fit_many(networks, X, y, epochs=10_000, callbacks=[press])
except KeyboardInterrupt:
    assert threading.active_count() == 1 and time.monotonic() - pressed[0] < 30
    changed = [bool((net.parameters != old).any()) for net, old in zip(networks, before)]
    finite = all(np.isfinite(net.parameters).all() for net in networks)
    print(sum(changed) < 6, any(changed), finite)
"""


def test_ctrl_c_ends_all() -> None:
    """Those in training within their epoch, the others before they begin."""
    done = python(CTRL_C)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True", "True"]), done.stderr


def test_an_interrupt_of_a_callback_ends_all() -> None:
    X, y = data()

    def interrupt(net: MLP, history: Any) -> None:
        raise KeyboardInterrupt

    alive = threading.active_count()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fit_many(networks(), X, y, epochs=10**9, callbacks=[[], [], [], [interrupt]])  # the costliest is begun first
    assert time.monotonic() - start < 60 and threading.active_count() == alive


def test_many_within_a_callback_of_many() -> None:
    X, y = data()
    inner = [networks(), networks(), networks()]

    def more(k: int) -> Any:
        return lambda net, history: fit_many(inner[k], X, y, epochs=2) and None

    outer = [MLP((FEATURES, CLASSES), seed=k) for k in range(3)]
    fit_many(outer, X, y, epochs=1, callbacks=[[more(k)] for k in range(3)])
    expected = networks()
    fit_many(expected, X, y, epochs=2)
    for each in inner:
        assert_same(each, expected)


# ---- the mean ----


def trained(count: int = 3, **options: Any) -> list[MLP]:
    X, y = data()
    nets = [MLP((FEATURES, 4 + seed, CLASSES), seed=seed, **options) for seed in range(count)]
    fit_many(nets, X, y, epochs=5, batch_size=10)
    return nets


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_mean_of_outputs(dtype: str) -> None:
    X, y = data()
    nets = trained(dtype=dtype)
    ensemble = Ensemble(nets)
    expected = sum(net.predict_proba(X).astype("f8") for net in nets) / 3
    assert_same_bits(ensemble.predict_proba(X), expected.astype(dtype))
    assert_same_bits(ensemble.predict(X), ensemble.predict_proba(X).argmax(axis=1))
    assert ensemble.score(X, y) == np.mean(ensemble.predict(X) == y)
    assert len(ensemble) == 3 and "Ensemble of 3" in repr(ensemble)


@pytest.mark.parametrize("loss, outputs", [("binary_cross_entropy", 1), ("binary_cross_entropy", 3),
                                           ("mean_squared_error", 2), ("poisson_deviance", 1)])  # fmt: skip
def test_one_network_is_its_own_mean(loss: str, outputs: int) -> None:
    X, y = data()
    targets = np.eye(CLASSES)[y][:, :outputs]
    net = MLP((FEATURES, 5, outputs), loss=loss, seed=0, dtype="float64")
    net.fit(X, targets, learning_rate=0.01)
    ensemble = Ensemble([net])
    assert_same_bits(ensemble.predict(X), net.predict(X))
    assert_same_bits(ensemble.outputs(X), net.outputs(X))
    assert ensemble.score(X, targets) == net.score(X, targets)
    if not loss.startswith("binary"):
        with pytest.raises(ValueError, match="predict_proba: got networks whose loss is"):
            ensemble.predict_proba(X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_networks_disagreement(dtype: str, outputs: int) -> None:
    X, y = data()
    targets = np.eye(CLASSES)[y][:, :outputs]
    nets = [MLP((FEATURES, 4 + seed, outputs), loss="huber", seed=seed, dtype=dtype) for seed in range(3)]
    fit_many(nets, X, targets, epochs=5, batch_size=10, learning_rate=0.01)
    ensemble = Ensemble(nets)
    predicted, deviation = ensemble.predict(X, return_std=True)
    assert_same_bits(predicted, ensemble.predict(X))
    expected = np.std([net.predict(X) for net in nets], axis=0, dtype="f8")
    assert deviation.dtype == dtype and deviation.shape == predicted.shape
    assert np.abs(deviation - expected).max() <= 4 * np.finfo(dtype).eps * np.abs(predicted).max()
    assert not Ensemble(nets[:1]).predict(X, return_std=True)[1].any()


def test_a_deviation_beyond_the_dtype_is_infinite() -> None:
    nets = [MLP((1, 1), loss="huber", dtype="float64", initializer=[[[slope]], [0.0]]) for slope in (1e300, -1e300)]
    assert Ensemble(nets).predict([[1.0]], return_std=True) == (0.0, np.inf)


def test_classes_have_no_deviation() -> None:
    with pytest.raises(ValueError, match="return_std: got networks whose loss is softmax_cross_entropy"):
        Ensemble(trained(1)).predict(data()[0], return_std=True)


def test_networks_that_have_no_mean() -> None:
    net = MLP((FEATURES, CLASSES), seed=0)
    for other, words in ((MLP((FEATURES, 2)), "outputs 2, expected 3"), (MLP((2, CLASSES)), "inputs 2, expected 6"),
                         (MLP((FEATURES, CLASSES), loss="huber"), "loss 'huber'")):  # fmt: skip
        with pytest.raises(ValueError, match=rf"networks\[1\]: got {words}"):
            Ensemble([net, other])
    with pytest.raises(TypeError, match="networks: got MLP"):
        Ensemble(net)
    with pytest.raises(ValueError, match="networks: got none"):
        Ensemble([])


def test_a_file_and_back(tmp_path: Path) -> None:
    X, y = data()
    nets = [*trained(12), MLP((FEATURES, 3, CLASSES), "tanh", dtype="float64", seed=5, input_shift=np.arange(6.0))]
    for net in nets:
        net.class_names = ("a", "b", "c")
    ensemble, path = Ensemble(nets), tmp_path / "ensemble.npz"
    ensemble.save(path)
    again = Ensemble.load(path)
    assert_same_bits(again.predict_proba(X), ensemble.predict_proba(X))
    assert again.class_names == ("a", "b", "c")
    assert [net.sizes for net in again.networks] == [net.sizes for net in nets]
    fit_many(again.networks, X, y, epochs=1)
    fit_many(nets, X, y, epochs=1)
    for net, other in zip(again.networks, nets, strict=True):  # also their generators' states were kept
        assert (bits_of(net.parameters) == bits_of(other.parameters)).all()


def test_files_of_the_other_kind(tmp_path: Path) -> None:
    nets, one, many = trained(2), tmp_path / "one.npz", tmp_path / "many.npz"
    nets[0].save(one)
    Ensemble(nets).save(many)
    with pytest.raises(CheckpointError, match="an ensemble, which fastbp.Ensemble.load reads"):
        fastbp.load(many)
    with pytest.raises(CheckpointError, match="no list of networks; fastbp.load reads"):
        Ensemble.load(one)
    with pytest.raises(FileNotFoundError):
        Ensemble.load(tmp_path / "none.npz")


@pytest.mark.parametrize("metadata", [{"networks": []}, {"networks": None}, {"networks": [{}]}, {"networks": {"a": 1}}])
def test_damaged_files(tmp_path: Path, metadata: Any) -> None:
    path = tmp_path / "wrong.npz"
    fastbp.model.npz_file.write(path, {"0.parameters": np.zeros(3)}, metadata)
    with pytest.raises(CheckpointError, match="wrong.npz: not an ensemble"):
        Ensemble.load(path)
    assert json.dumps(metadata)  # is what JSON can hold: it was the reader that refused
