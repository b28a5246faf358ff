"""Rows that memory does not hold: the same training wherever they lie, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import reference
from fastbp.inputs import blocks
from fastbp.learning_rates import Cosine
from support.comparisons import assert_same_bits
from support.lanes import in_lanes
from support.streams import BATCH, LIMIT, SIZES, N, Sliced, chunks_of, data, fitted, network, unchanged

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


# ---- what is trained on ----


def order_of(rng: np.random.Generator, n: int, block: int, piece: int) -> Any:
    """The rows of an epoch as the documents tell it."""
    pieces, key = rng.permutation(-(-n // piece)), int(rng.integers(2**63))
    rows = np.concatenate([np.arange(p * piece, min(n, (p + 1) * piece)) for p in pieces])
    blocks = [rows[begin : begin + block] for begin in range(0, n, block)]
    return np.concatenate([part[np.random.default_rng([key, i]).permutation(len(part))]
                           for i, part in enumerate(blocks)])  # fmt: skip


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PIECE_BYTES", 1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_row_once_an_epoch_against_the_reference(shuffle: bool, small_pieces: None) -> None:
    X, y = data()
    row = SIZES[0] * 4 + 8 + 8
    block = int((LIMIT - LIMIT // 4) * blocks.BLOCK_SHARE) // row // BATCH * BATCH
    assert 10 < N // block < 40
    net = network(input_scale=None)
    rng = copy.deepcopy(net.rng)
    weights, biases = [W.copy() for W in net.weights], [b.copy() for b in net.biases]
    parameters, losses = fitted(X / 16, y, net, shuffle=shuffle, learning_rate=0.1, memory_limit=LIMIT)
    # X / 16 is float32 as well: exact.
    for epoch in range(2):
        order = order_of(rng, N, block, max(1, block // blocks.PIECES)) if shuffle else np.arange(N)
        assert sorted(order) == list(range(N))
        weights, biases, of_steps = reference.train(weights, biases, X / 16, y, order, BATCH, 0.1, 0.0,
                                                    activation="tanh")  # fmt: skip
        counts = np.minimum(BATCH, N - np.arange(0, N, BATCH))
        assert abs(losses[epoch] - of_steps @ counts / N) <= 1e-12 * losses[epoch]
    for got, want in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
        assert np.abs(got - want).max() <= 1e-12 * np.abs(want).max()
    assert parameters is net.parameters


def sources(X: Any, y: Any, folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """X and y in whatever gives rows."""
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    X.tofile(folder / "X.raw")
    mapped = np.load(folder / "X.npy", mmap_mode="r")
    yield "npy", mapped, np.load(folder / "y.npy", mmap_mode="r")
    yield "memmap", np.memmap(folder / "X.raw", X.dtype, "r+", shape=X.shape), y
    yield "copy on write", np.load(folder / "X.npy", mmap_mode="c"), y
    yield "plain view of a map", np.asarray(mapped), y
    yield "Fortran order", np.asfortranarray(X), y.astype("u1")
    yield "every other row", np.repeat(X, 2, axis=0)[::2], y.tolist()
    yield "big endian", X.astype(X.dtype.newbyteorder(">")), y.astype(">i2")
    yield "slicing", Sliced(X), Sliced(y)


@pytest.mark.parametrize("kind", in_lanes(["u1", "i1", "i2", "f2", "f4", "f8", "?"], fast=["u1"]))
def test_the_same_bits_wherever_the_rows_lie(kind: str, tmp_path: Path, small_pieces: None) -> None:
    X, y = data(kind if kind[0] in "if" else "i2")
    X = X.astype(kind)
    weights = np.arange(N) % 3 + 0.5
    for options in ({}, {"sample_weight": weights}, {"optimizer": "adam", "dropout": 0.25, "validation_data": (X, y)}):
        expected = fitted(X, y, **options)
        for name, given, labels in sources(X, y, tmp_path):
            if "sample_weight" in options:
                options = {"sample_weight": Sliced(weights)}
            parameters, losses = fitted(given, labels, **options)
            assert losses == expected[1], name
            assert_same_bits(parameters, expected[0])


def test_a_sparse_matrix_within_a_limit(small_pieces: None) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data()
    assert_same_bits(fitted(sparse.csr_array(X), y)[0], fitted(X, y)[0])


@pytest.mark.parametrize("library", in_lanes(["h5py", "zarr"], fast=["h5py"]))
def test_files_of_other_libraries(library: str, tmp_path: Path, small_pieces: None) -> None:
    module = pytest.importorskip(library)
    X, y = data()
    for chunk in (7, 64, 700):
        if library == "h5py":
            file = module.File(tmp_path / f"{chunk}.h5", "w")
            given = file.create_dataset("X", data=X, chunks=(chunk, SIZES[0]), compression="gzip")
            labels = file.create_dataset("y", data=y)
        else:
            given, labels = (module.create_array(store=str(tmp_path / f"{chunk}-{values.ndim}.zarr"), data=values,
                                                 chunks=(chunk, *values.shape[1:])) for values in (X, y))  # fmt: skip
        twin = Sliced(X)
        twin.chunks = (chunk, SIZES[0])  # type: ignore[attr-defined]
        net = network()
        parameters, losses = fitted(given, labels, net, validation_data=(given, labels))
        assert_same_bits(parameters, fitted(twin, y, validation_data=(X, y))[0])
        assert net.score(given, labels) == net.score(X, y)
        assert net.loss(given, labels) == net.loss(X, y)
        assert_same_bits(net.predict_proba(given), net.predict_proba(X))
        assert_same_bits(net.gradient(given, y).inputs, net.gradient(X, y).inputs)
        # What fits is read once, and trained on as an array.
        assert_same_bits(fitted(given, labels, memory_limit=None)[0], fitted(X, y, memory_limit=None)[0])


def test_targets_of_every_kind(small_pieces: None) -> None:
    X, y = data()
    for loss, targets in (("softmax_cross_entropy", np.eye(4)[y]), ("mean_squared_error", np.eye(4)[y] * 3)):
        expected = fitted(X, targets, network(loss=loss))
        assert_same_bits(fitted(Sliced(X), Sliced(targets), network(loss=loss))[0], expected[0])
        assert_same_bits(fitted(chunks_of(X, targets, 7), None, network(loss=loss), shuffle=False)[0],
                         fitted(X, targets, network(loss=loss), shuffle=False)[0])  # fmt: skip


@pytest.mark.parametrize("rows", [1, 7, 64, 400])
def test_chunks_in_their_order_are_the_array(rows: int) -> None:
    X, y = data()
    w = np.arange(N) % 4 / 2
    limit = LIMIT + 2 * X[:rows].nbytes
    expected = fitted(X, y, shuffle=False, sample_weight=w)
    parameters, losses = fitted(chunks_of(X, y, rows, w), shuffle=False, memory_limit=limit)
    assert losses == expected[1]
    assert_same_bits(parameters, expected[0])
    one, other = (fitted(chunks_of(X, y, rows), memory_limit=limit)[0] for _ in range(2))
    assert_same_bits(one, other)
    alone, _ = fitted(chunks_of(X, y, rows)(), epochs=1, memory_limit=limit)
    assert_same_bits(alone, fitted(chunks_of(X, y, rows), epochs=1, memory_limit=limit)[0])
    assert not np.array_equal(alone, fitted(X, y, epochs=1, shuffle=False)[0])


def test_chunks_may_come_in_one_array_and_lists() -> None:
    X, y = data()
    buffer = np.empty((20, SIZES[0]), X.dtype)

    def reused() -> Iterator[Any]:
        for begin in range(0, 1000, 20):
            buffer[...] = X[begin : begin + 20]
            yield buffer, y[begin : begin + 20].tolist()

    assert_same_bits(fitted(reused)[0], fitted(chunks_of(X[:1000], y[:1000], 20))[0])


def test_a_limit_that_holds_all_rows_changes_nothing() -> None:
    X, y = data()
    expected = fitted(X, y, memory_limit=None)
    for given in (X, Sliced(X)):
        assert_same_bits(fitted(given, y, memory_limit=10**6)[0], expected[0])


def test_a_mapped_file_larger_than_half_of_memory_is_streamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    X, y = data()
    np.save(tmp_path / "X.npy", X)
    monkeypatch.setattr(blocks.hardware, "memory", lambda: 4 * LIMIT)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_same_bits(fitted(mapped, y, memory_limit=None)[0], fitted(X, y, memory_limit=LIMIT)[0])
    assert not np.array_equal(fitted(X, y, memory_limit=None)[0], fitted(mapped, y, memory_limit=None)[0])


def test_the_limit_of_threads_holds_in_the_reader() -> None:
    X, y = data()
    counts = []

    def chunks() -> Iterator[Any]:
        counts.append(fastbp.threads.count())
        yield X, y
        counts.append(fastbp.threads.count())

    with fastbp.threads.limit(1):
        fitted(chunks, memory_limit=None)
    assert set(counts) == {1}


def test_only_parts_are_read_while_predicting() -> None:
    X, y = data(n=500_000)
    sliced = Sliced(X)
    net = network(dtype="float32")
    assert_same_bits(net.predict(sliced), net.predict(X))
    assert net.score(sliced, y) == net.score(X, y)
    assert sliced.longest * X[0].nbytes <= 8 * 2**20


# ---- what is refused ----


@pytest.mark.parametrize("bad", [0, 1, 500, N - 1])
def test_nan_is_refused_by_its_row(bad: int, small_pieces: None) -> None:
    X, y = data()
    X[bad, 2] = np.nan
    for given, labels in ((X, y), (Sliced(X), y), (chunks_of(X, y, 20), None)):
        net = network()
        with unchanged(net), pytest.raises(ValueError, match=f"X: got NaN or infinity in row {bad},"):
            fitted(given, labels, net)
    net = network()
    with unchanged(net), pytest.raises(ValueError, match=rf"validation_data\[0\]: got NaN .* in row {bad},"):
        fitted(data()[0], y, net, validation_data=(Sliced(X), y))
    with pytest.raises(ValueError, match=f"X: got NaN or infinity in row {bad},"):
        net.predict(Sliced(X))


def test_what_is_refused_before_the_first_step() -> None:
    X, y = data()
    chunks = chunks_of(X, y, 20)
    wrong = y.copy()
    wrong[900] = 4
    cases: list[tuple[type[Exception], str, Any, Any, dict[str, Any]]] = [
        (ValueError, r"memory_limit: got 100 bytes, expected at least \d+ for minibatches of 8", X, y,
         {"memory_limit": 100}),
        (TypeError, "memory_limit: got 1.5", X, y, {"memory_limit": 1.5}),
        (ValueError, "memory_limit: got 0", X, y, {"memory_limit": 0}),
        (ValueError, r"y: got 4 at \[900\]", Sliced(X), wrong, {}),
        (ValueError, r"y: got 4 at \[900\]", Sliced(X), Sliced(wrong), {}),
        (ValueError, r"y: got shape \(1002,\), expected 1003 rows", Sliced(X), y[1:], {}),
        (ValueError, r"sample_weight: got -1.0 at \[3\]", X, y, {"sample_weight": np.where(np.arange(N) == 3, -1, 1)}),
        (TypeError, "y: got None", Sliced(X), None, {}),
        (TypeError, "y: got None", X, None, {"memory_limit": None}),
        (TypeError, "must be None when X yields chunks", chunks, y, {}),
        (TypeError, "must be None when X yields chunks", chunks, None, {"sample_weight": y}),
        (ValueError, "epochs: got 2 and an iterator", chunks(), None, {}),
        (ValueError, "learning_rate: got Cosine", chunks, None, {"learning_rate": Cosine(0.1)}),
        (TypeError, "X: got int from the callable", lambda: 3, None, {}),
        (TypeError, "X: got int as chunk 0", lambda: iter([1]), None, {}),
        (ValueError, r"X of chunk 0: got shape \(3, 5\)", lambda: iter([(X[:3, :5], y[:3])]), None, {}),
        (ValueError, r"y of chunk 0: got shape \(2,\)", lambda: iter([(X[:3], y[:2])]), None, {}),
        (fastbp.StreamError, "iterator without chunks", lambda: iter([]), None, {}),
        (fastbp.StreamError, "the callable failed: ZeroDivisionError", lambda: 1 // 0, None, {}),
        (TypeError, "X: got dtype complex64", Sliced(X.astype("c8")), y, {}),
        (ValueError, r"X: got shape \(1003, 5\)", Sliced(X[:, :5]), y, {}),
        (ValueError, "X: got no rows", Sliced(X[:0]), y[:0], {}),
    ]  # fmt: skip
    for kind, message, given, labels, options in cases:
        net = network()
        with unchanged(net), pytest.raises(kind, match=message):
            fitted(given, labels, net, **options)


@pytest.mark.parametrize(
    "second, message",
    [
        (lambda X, y: (X.astype("f8"), y), "X of chunk 1: got float64, expected float32 as in the first"),
        (lambda X, y: (X, np.eye(4)[y]), r"y of chunk 1: got \(4,\), expected \(\) as in the first"),
        (lambda X, y: (X, y, np.ones(len(X))), "sample_weight of chunk 1: got one, expected none"),
        (lambda X, y: (X, y + 4), r"y of chunk 1: got \d at \[\d+\]"),
        (lambda X, y: X, "X: got ndarray as chunk 1"),
    ],
)
def test_chunks_are_alike(second: Any, message: str) -> None:
    X, y = data()
    net = network()
    with unchanged(net), pytest.raises((TypeError, ValueError), match=message):
        fitted(lambda: iter([(X[:20], y[:20]), second(X[20:40], y[20:40])]), None, net)
