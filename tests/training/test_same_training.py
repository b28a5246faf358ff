"""The same training bit by bit, however it is cut: threads, forced choices, stages, forms of X, epochs one by one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.kernels.shapes import BY_ROWS, IN_PLACE, PACKED
from fastbp.program import passes
from fastbp.program.tuning import Tuning, forced
from support.training_cases import DTYPES, replay, rows


def program(net: MLP, batch: int, threads: int, l2: float = 0.0, tuning: Tuning | None = None) -> Any:
    """What one training step of this network is."""
    form = passes.StepForm("labels", penalised=l2 > 0)
    return passes.training_step(net.model.network, batch, net.dtype, threads, form, tuning or Tuning())


def two_threads() -> None:
    if fastbp.threads.count() < 2:
        pytest.skip("one processor: nothing runs side by side")


# ---- the same bits ----


def trained(sizes: tuple[int, ...], n: int, dtype: str = "float32", seed: int = 2, **options: Any) -> MLP:
    X, y = rows(n, sizes, dtype)
    net = MLP(sizes, dtype=dtype, seed=seed)
    net.fit(X, y, **options)
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
    assert one.history.loss == two.history.loss


CHOICES = {
    "none": Tuning(), "kc 1": Tuning(kc=1), "kc 7": Tuning(kc=7), "kc 16, nc 16": Tuning(kc=16, nc=16),
    "mc 1": Tuning(mc=1, access=PACKED, a_in_place=False), "one strip": Tuning(packed_columns=1, access=PACKED),
    "mc 20, kc 9, two strips": Tuning(mc=20, kc=9, packed_columns=32, a_in_place=False),
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
            content = (net.parameters.tobytes(), proba.tobytes(), repr(net.history.loss).encode())
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
    assert n * sizes[0] * 4 > 2 * fastbp.program.memory.STAGED_BYTES
    net.fit(X, y, epochs=1, batch_size=batch, learning_rate=0.01, shuffle=shuffle)
    order = twin.rng.permutation(n) if shuffle else np.arange(n)
    for begin in range(0, n, batch):
        taken = order[begin : begin + batch]
        twin.fit(X[taken], y[taken], epochs=1, batch_size=batch, learning_rate=0.01, shuffle=False)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_a_return_to_python_after_each_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows(804, (6, 12, 5))
    results, calls = [], []
    run = fastbp.training.loop.run

    def counted(program: Any, operands: Any, course: Any) -> None:
        calls.append((course.repeats, course.last, course.rounds))
        run(program, operands, course)

    monkeypatch.setattr(fastbp.training.loop, "run", counted)
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
