"""Training: against the reference step by step, the same bits however it is cut, and what stops it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.kernels.gemm import BY_ROWS, IN_PLACE, PACKED
from fastbp.program import passes
from fastbp.program.split import Tuning, forced

DTYPES = ("float32", "float64")


def rows(n: int, sizes: tuple[int, ...], dtype: str = "float32", seed: int = 7) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)


def program(net: MLP, batch: int, threads: int, l2: float = 0.0, tuning: Tuning | None = None) -> Any:
    """What one training step of this network is."""
    form = passes.StepForm("labels", penalised=l2 > 0)
    return passes.training_step(net.model.network, batch, net.dtype, threads, form, tuning or Tuning())


def two_threads() -> None:
    if fastbp.threads.count() < 2:
        pytest.skip("one processor: nothing runs side by side")


def run_python(code: str, timeout: float = 120) -> Any:
    """What a process of its own prints last, as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(code)], env=environment, capture_output=True,
                          text=True, timeout=timeout, check=False)  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


# ---- against the reference ----


def replay(sizes: tuple[int, ...], seed: int, X: Any, y: Any, epochs: int, batch_size: int, shuffle: bool, *,
           activation: str = "relu", **options: Any) -> tuple[list[Any], list[Any], list[float]]:  # fmt: skip
    """The same training in NumPy: weights, biases, and the mean loss of every epoch."""
    rng = np.random.default_rng(seed)
    fans = list(zip(sizes[:-1], sizes[1:], strict=True))
    variances = [2 / i if activation == "relu" else 2 / (i + o) for i, o in fans]
    weights: Any = [rng.normal(0.0, np.sqrt(v), fan) for v, fan in zip(variances, fans, strict=True)]
    biases: Any = [np.zeros(o) for _, o in fans]
    history = []
    for _ in range(epochs):
        order = rng.permutation(len(X)) if shuffle else np.arange(len(X))
        weights, biases, losses = reference.train(
            weights, biases, X, y, order, batch_size, activation=activation, **options
        )
        counts = np.minimum(batch_size, len(X) - np.arange(0, len(X), batch_size))
        history.append(float(losses @ counts) / len(X))
    return weights, biases, history


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


# ---- the same bits ----


def trained(sizes: tuple[int, ...], n: int, dtype: str = "float32", seed: int = 2, **options: Any) -> MLP:
    X, y = rows(n, sizes, dtype)
    net = MLP(sizes, dtype=dtype, seed=seed)
    net.history = net.fit(X, y, **options)  # type: ignore[attr-defined]
    return net


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("sizes", "n", "batch"),
    [((64, 100, 10), 400, 128), ((256, 512, 256, 10), 300, 130), ((13, 700, 7), 700, 333), ((900, 9), 1100, 550)],
)
def test_one_and_two_threads_give_the_same_bits(sizes: tuple[int, ...], n: int, batch: int, dtype: str) -> None:
    two_threads()
    options = {"epochs": 2, "batch_size": batch, "l2": 0.01, "learning_rate": 0.05}
    with fastbp.threads.limit(1):
        one = trained(sizes, n, dtype, **options)
        assert program(one, batch, fastbp.threads.count(), 0.01).threads == 1
    with fastbp.threads.limit(2):
        two = trained(sizes, n, dtype, **options)
        assert program(two, batch, fastbp.threads.count(), 0.01).threads == 2  # else this test compares nothing
        again = trained(sizes, n, dtype, **options)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    np.testing.assert_array_equal(again.parameters, two.parameters)
    assert one.history.loss == two.history.loss  # type: ignore[attr-defined]


CHOICES = {
    "none": Tuning(), "kc 1": Tuning(kc=1), "kc 7": Tuning(kc=7), "kc 16, nc 16": Tuning(kc=16, nc=16),
    "nc 32": Tuning(nc=32), "by rows": Tuning(access=BY_ROWS),
    "packed": Tuning(access=PACKED, a_in_place=False), "in place": Tuning(access=IN_PLACE, a_in_place=True),
    "in place, kc 9, nc 32": Tuning(access=IN_PLACE, a_in_place=True, kc=9, nc=32),
    "by rows, kc 5": Tuning(access=BY_ROWS, kc=5), "3 parts of rows": Tuning(row_parts=3),
    "2 parts of columns": Tuning(column_parts=2), "2 x 2 parts": Tuning(row_parts=2, column_parts=2),
    "slabs": Tuning(slabs=True), "4 slabs, kc 9": Tuning(slabs=True, row_parts=4, kc=9),
    "no slabs": Tuning(slabs=False),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hash_over_all_forced_choices(dtype: str) -> None:
    sizes, n, batch = (37, 90, 33, 10), 130, 50
    hashes, programs = {}, set()
    X, _ = rows(n, sizes, dtype)
    for threads in (1, 2):
        for name, tuning in CHOICES.items():
            with forced(replace(tuning, parallel=threads > 1)), fastbp.threads.limit(threads):
                net = trained(sizes, n, dtype, epochs=2, batch_size=batch, l2=0.01)
                proba = net.predict_proba(X)
                step = program(net, batch, fastbp.threads.count(), 0.01, tuning)
            content = (net.parameters.tobytes(), proba.tobytes(), repr(net.history.loss).encode())  # type: ignore[attr-defined]
            hashes[name, threads] = hashlib.sha256(b"".join(content)).hexdigest()
            programs.add(hashlib.sha256(step.table.tobytes() + step.phases.tobytes()).hexdigest())
    assert len(programs) >= 10  # the choices were really taken
    assert len(set(hashes.values())) == 1, hashes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [5, 23])
def test_rows_of_probabilities_train_as_labels_do(classes: int, dtype: str) -> None:
    sizes = (6, 12, classes)
    X, y = rows(75, sizes, dtype)
    by_index, by_row = MLP(sizes, seed=1, dtype=dtype), MLP(sizes, seed=1, dtype=dtype)
    first = by_index.fit(X, y, epochs=3, batch_size=20, l2=0.01)
    second = by_row.fit(X, np.eye(classes)[y], epochs=3, batch_size=20, l2=0.01)
    np.testing.assert_array_equal(by_index.parameters, by_row.parameters)
    assert first.loss == second.loss


def test_soft_probabilities_agree_with_the_reference() -> None:
    sizes = (6, 12, 5)
    X, _ = rows(50, sizes, "float64")
    t = np.random.default_rng(1).multinomial(64, np.full(5, 0.2), size=50) / 64
    net = MLP(sizes, dtype="float64", seed=5)
    net.fit(X, t, epochs=4, batch_size=20)
    weights, biases, _ = replay(sizes, 5, X, t, 4, 20, True, learning_rate=0.1)
    for got, want in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
        assert np.abs(got - want).max() <= 1e-13 * np.abs(want).max()


def test_a_batch_larger_than_the_data_is_all_of_them() -> None:
    whole = trained((6, 12, 5), 30, epochs=3, batch_size=30)
    for larger in (31, 1000, 10**12):
        np.testing.assert_array_equal(trained((6, 12, 5), 30, epochs=3, batch_size=larger).parameters, whole.parameters)


def test_labels_of_any_whole_dtype() -> None:
    X, y = rows(30, (6, 12, 5))
    expected = trained((6, 12, 5), 30, epochs=2).parameters
    read_only = y.copy()
    read_only.flags.writeable = False
    forms = [y.astype(kind) for kind in ("u1", "i2", ">i4", "u8", "f4", "f8", "f2")]
    forms += [y.tolist(), np.repeat(y, 2)[::2], read_only]
    for form in forms:
        net = MLP((6, 12, 5), seed=2)
        net.fit(X, form, epochs=2)
        np.testing.assert_array_equal(net.parameters, expected)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_X_trains_alike(dtype: str, shuffle: bool) -> None:
    whole = np.random.default_rng(5).integers(0, 100, (70, 6))
    y = np.arange(70) % 5
    read_only = whole.astype(dtype)
    read_only.flags.writeable = False
    forms = [whole.astype(kind) for kind in ("u1", "i8", "f2", "f4", "f8", ">f4", ">f8", ">i2", "longdouble")]
    forms += [np.asfortranarray(whole.astype(dtype)), read_only, np.repeat(whole, 2, axis=1)[:, ::2], whole.tolist()]
    for options in ({}, {"input_shift": 50, "input_scale": 1 / 64}):
        results = []
        for X in forms:
            net = MLP((6, 12, 5), seed=2, dtype=dtype, **options)
            net.fit(X, y, epochs=2, batch_size=16, learning_rate=1e-4, shuffle=shuffle)
            results.append(net.parameters)
        for result in results:
            np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("shuffle", [False, True])
def test_many_stages_train_as_minibatches_one_by_one(shuffle: bool) -> None:
    """X of 12 MB goes through three stages and many calls; a callback-free replay does each minibatch by hand."""
    sizes, n, batch = (1024, 3), 3000, 70
    X, y = rows(n, sizes)
    net, twin = MLP(sizes, seed=4), MLP(sizes, seed=4)
    assert n * sizes[0] * 4 > 2 * fastbp.program.execution.STAGED_BYTES
    net.fit(X, y, epochs=1, batch_size=batch, learning_rate=0.01, shuffle=shuffle)
    order = twin.rng.permutation(n) if shuffle else np.arange(n)
    for begin in range(0, n, batch):
        taken = order[begin : begin + batch]
        twin.fit(X[taken], y[taken], epochs=1, batch_size=batch, learning_rate=0.01, shuffle=False)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_a_return_to_python_after_each_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows(804, (6, 12, 5))
    results, calls = [], []
    run = fastbp.training.loop.execution.run

    def counted(*arguments: Any, **options: Any) -> None:
        calls.append((options["repeats"], options.get("last", 0), options.get("rounds", 1)))
        run(*arguments, **options)

    monkeypatch.setattr(fastbp.training.loop.execution, "run", counted)
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(fastbp.training.loop, "CONTROL_SECONDS", seconds)
        calls.clear()
        net = MLP((6, 12, 5), seed=3)
        history = net.fit(X, y, epochs=2, batch_size=8, l2=0.01)
        results.append((net.parameters, history.loss))
        # The last step of an epoch is of 4 rows.
        assert [call for call in calls if call[0]] == ([(1, 0, 1)] * 101 * 2 if seconds == 0 else [(100, 4, 2)])
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]  # where calls are cut is a matter of time: it may not change a bit


def test_shuffling_is_drawn_from_the_seed() -> None:
    a, b, c = (trained((6, 12, 5), 60, seed=seed, epochs=2, batch_size=7).parameters for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    X, y = rows(60, (6, 12, 5))
    in_order, state = MLP((6, 12, 5), seed=3), MLP((6, 12, 5), seed=3).rng.bit_generator.state
    in_order.fit(X, y, epochs=2, batch_size=7, shuffle=False)
    assert (in_order.parameters != a).any()
    assert in_order.rng.bit_generator.state == state  # nothing drawn


def test_epochs_one_by_one_are_the_same_training() -> None:
    X, y = rows(60, (6, 12, 5))
    at_once, one_by_one = MLP((6, 12, 5), seed=3), MLP((6, 12, 5), seed=3)
    losses = at_once.fit(X, y, epochs=4, batch_size=7, l2=0.01).loss
    assert [one_by_one.fit(X, y, epochs=1, batch_size=7, l2=0.01).loss[0] for _ in range(4)] == losses
    np.testing.assert_array_equal(at_once.parameters, one_by_one.parameters)


def test_a_learning_rate_of_0_changes_nothing() -> None:
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)
    before = net.parameters.copy()
    history = net.fit(X, y, epochs=2, learning_rate=0, l2=0.5)
    np.testing.assert_array_equal(net.parameters, before)
    assert history.loss == pytest.approx([net.loss(X, y, l2=0.5)] * 2, rel=1e-6)


# ---- callbacks and progress ----


def test_callbacks_see_each_epoch_and_may_end_the_training() -> None:
    X, y = rows(60, (6, 12, 5))
    net, calls = MLP((6, 12, 5), seed=3), []

    def first(network: MLP, history: Any) -> bool:
        calls.append(("first", len(history.loss), network is net, network.parameters.copy()))
        return len(history.loss) == 3

    def second(network: MLP, history: Any) -> str:
        calls.append(("second", len(history.loss), network is net, network.parameters.copy()))
        return "go on"  # true, but not True

    history = net.fit(X, y, epochs=10, callbacks=[first, second])
    assert len(history.loss) == len(history.seconds) == 3
    assert [call[:3] for call in calls] == [(who, epoch, True) for epoch in (1, 2, 3) for who in ("first", "second")]
    for epoch in (1, 2, 3):  # the parameters that they see are those after the epoch
        np.testing.assert_array_equal(calls[2 * epoch - 1][3], trained_for(epoch, X, y).parameters)
    np.testing.assert_array_equal(net.parameters, calls[-1][3])


def trained_for(epochs: int, X: Any, y: Any) -> MLP:
    net = MLP((6, 12, 5), seed=3)
    net.fit(X, y, epochs=epochs)
    return net


def test_what_a_callback_raises_comes_through() -> None:
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)

    def fail(network: MLP, history: Any) -> None:
        if len(history.loss) == 2:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        net.fit(X, y, epochs=5, callbacks=(fail,))
    np.testing.assert_array_equal(net.parameters, trained_for(2, X, y).parameters)


def test_a_callback_may_write_into_the_parameters() -> None:
    X, y = rows(60, (6, 12, 5))
    net, twin = MLP((6, 12, 5), seed=3), MLP((6, 12, 5), seed=3)

    def halve(network: MLP, history: Any) -> None:
        network.parameters[...] /= 2

    net.fit(X, y, epochs=2, callbacks=[halve])
    for _ in range(2):
        twin.fit(X, y, epochs=1)
        twin.parameters[...] /= 2
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows(60, (6, 12, 5))

    def shown(progress: bool | None, **options: Any) -> str:
        MLP((6, 12, 5), seed=3).fit(X, y, epochs=2, progress=progress, **options)
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert "120" in shown(True)  # rows in all
    assert "row/s" in shown(True)
    assert "row/s" in shown(True, callbacks=[lambda net, history: True])  # stopped early
    assert shown(None) == ""  # no terminal
    assert shown(False) == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "row/s" in shown(None)
    assert shown(False) == ""


@pytest.mark.parametrize("items", [0, 1, 3])
def test_validation_data_is_a_pair(items: int) -> None:
    """Weights for its rows, as Keras takes, are refused by their number: scores know of none."""
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)
    before = net.parameters.copy()
    for kind in (tuple, list):
        expected = rf"^validation_data: got {items} items, expected a pair \(X, y\) without weights$"
        with pytest.raises(ValueError, match=expected):
            net.fit(X, y, validation_data=kind((X, y, np.ones(60))[:items]))
    with pytest.raises(TypeError, match=r"^validation_data: got ndarray, expected a pair \(X, y\)$"):
        net.fit(X, y, validation_data=X)  # type: ignore[arg-type]
    np.testing.assert_array_equal(net.parameters, before)


# ---- divergence ----


def test_divergence_keeps_the_parameters_from_before_the_epoch() -> None:
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)
    before = net.parameters.copy()
    with pytest.raises(fastbp.DivergenceError, match=r"epoch 1 of 4.*learning_rate"):
        net.fit(X, y, epochs=4, batch_size=10, learning_rate=1e30)
    np.testing.assert_array_equal(net.parameters, before)
    assert np.isfinite(net.predict_proba(X)).all()
    assert net.fit(X, y, epochs=20, batch_size=10).loss[-1] < net.loss(X, np.roll(y, 1))  # it goes on as ever


def test_divergence_names_a_later_epoch() -> None:
    X, y = rows(60, (6, 12, 5))
    for dtype in DTYPES:
        net, kept = MLP((6, 12, 5), seed=3, dtype=dtype), []

        def record(network: MLP, history: Any, kept: Any = kept) -> None:
            if len(history.loss) == 3:
                network.parameters[...] *= np.sqrt(np.finfo(network.dtype).max)
            kept.append(network.parameters.copy())

        with pytest.raises(fastbp.DivergenceError, match="epoch 4 of 9"):
            net.fit(X, y, epochs=9, callbacks=[record])
        assert len(kept) == 3
        assert np.isfinite(net.parameters).all()
        np.testing.assert_array_equal(net.parameters, kept[-1])


def test_a_parameter_that_overflows_is_divergence_too() -> None:
    """With one step an epoch the loss of that step is still finite: the parameters alone tell."""
    net = MLP((2, 3), seed=3)
    before = net.parameters.copy()
    X = np.array([[1e30, -1e30], [1.0, 2.0]], np.float32)
    with pytest.raises(fastbp.DivergenceError, match="epoch 1 of 1"):
        net.fit(X, [2, 0], epochs=1, learning_rate=1e30, shuffle=False)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("option", ["learning_rate", "l2"])
def test_a_rate_beyond_float32_is_refused_or_divergence(option: str) -> None:
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)
    before = net.parameters.copy()
    with pytest.raises((ValueError, fastbp.DivergenceError), match=option):
        net.fit(X, y, epochs=1, **{option: 1e300})
    np.testing.assert_array_equal(net.parameters, before)


# ---- NaN and infinity in X ----


def refused(net: MLP, X: Any, y: Any, name: str, **options: Any) -> None:
    before, state = net.parameters.copy(), net.rng.bit_generator.state
    with pytest.raises(ValueError, match=name):
        net.fit(X, y, **options)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.rng.bit_generator.state == state


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", ">f8", "longdouble"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_in_X_are_refused_at_any_row(dtype: str, kind: str, shuffle: bool) -> None:
    X, y = rows(40, (6, 12, 5), kind)
    net = MLP((6, 12, 5), seed=3, dtype=dtype)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 7, "shuffle": shuffle}
    for row, column, value in ((0, 0, np.nan), (17, 5, np.inf), (39, 2, -np.inf), (39, 5, np.nan)):
        wrong = X.copy()
        wrong[row, column] = value
        refused(net, wrong, y, rf"^X: .*row {row}\b", **options)
        refused(net, X, y, rf"^validation_data\[0\]: .*row {row}\b", validation_data=(wrong, y), **options)
        refused(net, np.asfortranarray(wrong), y, rf"^X: .*row {row}\b", **options)
        for method in (net.predict, net.predict_proba, net.logits):
            with pytest.raises(ValueError, match=rf"^X: .*row {row}\b"):
                method(wrong)
        for method in (net.loss, net.score, net.gradient):
            with pytest.raises(ValueError, match=rf"^X: .*row {row}\b"):
                method(wrong, y)
    net.fit(X, y, **options)  # the right one is taken


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_nan_in_the_last_stage_undoes_what_was_trained(kind: str, scaled: bool, shuffle: bool) -> None:
    sizes = (1024, 3)
    X, y = rows(3000, sizes, kind)
    X[2999, 1023] = np.nan
    net = MLP(sizes, seed=3, input_scale=0.5 if scaled else None)
    refused(net, X, y, r"^X: .*row 2999\b", epochs=1, batch_size=64, shuffle=shuffle)
    refused(net, X[:9], y[:9], r"^validation_data\[0\]: .*row 2999\b", epochs=1, validation_data=(X, y))


def test_a_number_too_large_for_the_compute_dtype_is_infinity() -> None:
    X, y = rows(40, (6, 12, 5), "float64")
    X[11, 3] = 1e300
    refused(MLP((6, 12, 5), seed=3), X, y, r"^X: .*row 11\b")
    refused(MLP((6, 12, 5), seed=3), X.astype(">f8"), y, r"^X: .*row 11\b")
    small = MLP((6, 12, 5), seed=3, dtype="float64", input_scale=1e-300)
    assert np.isfinite(small.predict_proba(X)).all()
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        X = X.astype("longdouble")
        X[11, 3] = np.longdouble("1e4000")
        refused(small, X, y, r"^X: .*row 11\b")


# ---- Ctrl-C ----


def test_ctrl_c_ends_it_within_an_epoch_and_leaves_the_network_usable() -> None:
    result = run_python(
        """
        import json, os, signal, threading, time
        import numpy as np
        import fastbp
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        net = fastbp.MLP((1, 1024, 1024, 10), seed=0)
        X = np.linspace(0, 1, 1_000_000, dtype=np.float32)[:, None]  # one stage, and an epoch of about a minute
        y = np.arange(1_000_000) % 10
        net.fit(X[:256], y[:256], epochs=1, learning_rate=1e-4)
        before = net.parameters.copy()
        sent = []

        def interrupt():
            time.sleep(1.5)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            net.fit(X, y, epochs=3, learning_rate=1e-4, shuffle=False)
            interrupted = None
        except KeyboardInterrupt:
            interrupted = time.perf_counter() - sent[0]
        changed = bool((net.parameters != before).any())
        finite = bool(np.isfinite(net.parameters).all())
        proba = net.predict_proba(X[:5])
        net.fit(X[:256], y[:256], epochs=1)
        print(json.dumps({"interrupted": interrupted, "changed": changed, "finite": finite, "sum": float(proba.sum())}))
        """
    )
    assert result["interrupted"] is not None
    assert result["interrupted"] < 5  # some 50 ms; the stage would have taken a minute
    assert result["changed"]
    assert result["finite"]
    assert result["sum"] == pytest.approx(5, abs=1e-5)


# ---- memory ----


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_X_is_used_as_it_is() -> None:
    result = run_python(
        """
        import json, resource
        import numpy as np
        import fastbp

        def peak():  # MB
            with open("/proc/self/status") as file:
                high = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
            return max(high, 0) / 1024 if reset else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        net = fastbp.MLP((784, 32, 10), seed=0, input_scale=1 / 255)
        rng = np.random.default_rng(0)
        X = rng.integers(0, 256, (60_000, 784), dtype=np.uint8)
        y = rng.integers(0, 10, 60_000)
        net.fit(X[:300], y[:300], epochs=1)  # compiles, and starts what threads there are
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the peak becomes what is in use now
            reset = True
        except OSError:
            reset = False
        before = peak()
        net.fit(X, y, epochs=2, batch_size=128)
        after = peak()
        net.predict(X)
        print(json.dumps({"before": before, "fit": after - before, "predict": peak() - before, "reset": reset}))
        """
    )
    assert result["before"] > 60_000 * 784 / 2**20
    assert result["fit"] <= 40, result
    assert result["predict"] <= 40, result
