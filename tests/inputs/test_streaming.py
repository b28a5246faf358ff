"""Rows that memory does not hold: the same training wherever they lie, memory bounded, no thread left behind."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import assert_same_bits, run_python

import fastbp
from fastbp import MLP, reference
from fastbp.inputs import blocks
from fastbp.learning_rates import Cosine

SIZES = (6, 9, 4)
N, BATCH = 1003, 8  # a last minibatch of 3 rows
LIMIT = 4000  # bytes: 20 blocks or so


def data(dtype: Any = "f4", n: int = N) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    X = rng.integers(-40, 40, (n, SIZES[0])).astype(dtype)
    return X, rng.integers(0, SIZES[-1], n)


def network(**options: Any) -> MLP:
    return MLP(SIZES, **{"seed": 3, "activation": "tanh", "dtype": "float64", "input_scale": 1 / 16, **options})


def fitted(X: Any, y: Any = None, net: MLP | None = None, **options: Any) -> tuple[Any, list[float]]:
    net = network() if net is None else net
    history = net.fit(X, y, **{"epochs": 2, "batch_size": BATCH, "memory_limit": LIMIT, **options})
    return net.parameters, history.loss


class Sliced:
    """Rows by slices alone, as from a file; fails, or gives less, where it is told."""

    def __init__(self, values: Any, fails_at: int = sys.maxsize, ends_at: int = sys.maxsize):
        self._values, self._fails_at, self._ends_at = values, fails_at, ends_at
        self.shape, self.dtype = values.shape, values.dtype
        self.longest = 0

    def __getitem__(self, rows: slice) -> Any:
        assert isinstance(rows, slice) and rows.step is None
        self.longest = max(self.longest, rows.stop - rows.start)
        if rows.stop > self._fails_at:
            raise OSError("the disk is gone")
        return self._values[rows.start : min(rows.stop, self._ends_at)].copy()


def chunks_of(X: Any, y: Any, rows: int, weights: Any = None) -> Callable[[], Iterator[Any]]:
    def chunks() -> Iterator[Any]:
        for begin in range(0, len(X), rows):
            part = slice(begin, begin + rows)
            yield (X[part], y[part]) if weights is None else (X[part], y[part], weights[part])

    return chunks


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread for thread in threading.enumerate() if thread.name == "fastbp-reader"] == []


@contextlib.contextmanager
def unchanged(net: MLP) -> Iterator[None]:
    """Parameters and generator."""
    before, state = net.parameters.copy(), copy.deepcopy(net.rng.bit_generator.state)
    yield
    assert_same_bits(net.parameters, before)
    assert net.rng.bit_generator.state == state


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


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "f2", "f4", "f8", "?"])
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


@pytest.mark.parametrize("library", ["h5py", "zarr"])
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
        (TypeError, "expected them in the chunks", chunks, y, {}),
        (TypeError, "expected them in the chunks", chunks, None, {"sample_weight": y}),
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


# ---- readers that fail ----


def after_one_epoch(given: Any, labels: Any = None, **options: Any) -> MLP:
    net = network()
    fitted(given, labels, net, epochs=1, **options)
    return net


def test_a_reader_that_fails_keeps_the_last_whole_epoch() -> None:
    X, y = data()
    fails, ends = Sliced(X, fails_at=800), Sliced(X, ends_at=800)
    for faulty, message in ((fails, r"X: rows \d+ to \d+ of 1003 could not be read: OSError: the disk is gone"),
                            (ends, r"X: got shape \(\d+, 6\) for rows \d+ to \d+, expected")):  # fmt: skip
        net = network()
        with unchanged(net), pytest.raises(fastbp.StreamError, match=message) as raised:
            fitted(faulty, y, net)
        if "OSError" in message:
            assert isinstance(raised.value.__cause__, OSError)

    good = Sliced(X)

    def breaks(net: MLP, history: fastbp.History) -> None:
        good._fails_at = 800

    net = network()
    with pytest.raises(fastbp.StreamError, match="could not be read"):
        fitted(good, y, net, epochs=3, callbacks=[breaks])
    assert_same_bits(net.parameters, after_one_epoch(X, y).parameters)


@pytest.mark.parametrize("fault", ["fails", "ends early", "gives more", "gives nothing"])
def test_an_iterator_that_fails_keeps_the_last_whole_epoch(fault: str) -> None:
    X, y = data()
    calls = []

    def chunks() -> Iterator[Any]:
        calls.append(1)
        if len(calls) == 2:
            if fault == "gives nothing":
                return
            if fault == "gives more":
                yield X[:5], y[:5]
        for i, chunk in enumerate(chunks_of(X, y, 20)()):
            if len(calls) == 2 and i == 9:
                if fault == "fails":
                    raise LookupError("no such file")
                if fault == "ends early":
                    return
            yield chunk

    messages = {"fails": "asked for chunk 9, failed: LookupError: no such file",
                "ends early": "ended after 180 rows, expected 1003 as in the epoch before",
                "gives more": "ended after 1008 rows, expected 1003",
                "gives nothing": "ended after 0 rows, expected 1003"}  # fmt: skip
    net = network()
    with pytest.raises(fastbp.StreamError, match=messages[fault]):
        fitted(chunks, None, net, epochs=3)
    assert_same_bits(net.parameters, after_one_epoch(chunks_of(X, y, 20)).parameters)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a mapped file cannot be cut")
def test_a_mapped_file_that_is_cut_short(tmp_path: Path) -> None:
    X, y = data(n=20_000)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")

    def cut(net: MLP, history: fastbp.History) -> None:
        with open(tmp_path / "X.npy", "r+b") as file:
            file.truncate(9000)

    net = network()
    with pytest.raises(fastbp.StreamError, match="the file has 9000 bytes, 480128 when training began"):
        fitted(mapped, y, net, epochs=3, callbacks=[cut], memory_limit=40_000)
    assert_same_bits(net.parameters, after_one_epoch(X, y, memory_limit=40_000).parameters)


# ---- the reader's thread ----


def test_one_block_is_read_ahead_and_no_second() -> None:
    """While the first minibatches are trained on, the second block is read; the third waits for the first's place."""
    X, y = data()
    made: list[int] = []

    def items() -> Any:
        for i in range(9):
            made.append(i)
            yield i

    stop = blocks.Stop()
    reader = blocks.Reader(items(), stop)
    reader.start()
    for i in reader:
        deadline = time.monotonic() + 30
        while len(made) < min(9, i + 2):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0.005)
        assert len(made) <= i + 2
    assert len(made) == 9
    reader.close()


def test_a_callback_may_end_training_and_train() -> None:
    X, y = data()
    losses: list[float] = []

    def callback(net: MLP, history: fastbp.History) -> bool:
        losses.extend(history.loss)
        copy.deepcopy(net).fit(Sliced(X), y, epochs=1, batch_size=BATCH, memory_limit=LIMIT)
        return len(history.loss) == 2

    _, found = fitted(Sliced(X), y, epochs=9, callbacks=[callback])
    assert len(found) == 2

    def fails(net: MLP, history: fastbp.History) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fitted(Sliced(X), y, callbacks=[fails])


def test_a_time_budget_ends_within_an_epoch() -> None:
    X, y = data()

    def endless() -> Iterator[Any]:
        while True:
            yield X, y

    history = network().fit(endless, batch_size=BATCH, time_budget=0.2, epochs=1, memory_limit=10**5)
    assert len(history.loss) == 1 and np.isfinite(history.loss[0])


def test_divergence_ends_the_reader() -> None:
    X, y = data()
    net = network(activation="relu", loss="half_squared_error")
    before = net.parameters.copy()
    with pytest.raises(fastbp.DivergenceError):
        fitted(Sliced(X * 100), np.eye(4)[y] * 1e200, net, learning_rate=1e10)
    assert_same_bits(net.parameters, before)


def test_memory_is_given_back() -> None:
    X, y = data()
    sliced, faulty = Sliced(X), Sliced(X, fails_at=800)
    kept = [weakref.ref(sliced), weakref.ref(faulty)]
    fitted(sliced, y)
    with contextlib.suppress(fastbp.StreamError):
        fitted(faulty, y)
    del sliced, faulty
    gc.collect()
    assert [ref() for ref in kept] == [None, None]


def test_ctrl_c_at_any_moment_ends_the_reader() -> None:
    if not hasattr(signal, "setitimer"):
        pytest.skip("needs timers")
    X, y = data(n=4000)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    stopped = 0
    try:
        for i in range(40):
            net = network()
            net.fit(Sliced(X), y, epochs=1, batch_size=BATCH, memory_limit=LIMIT)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.002 * i)
                net.fit(Sliced(X), y, epochs=10**6, batch_size=BATCH, memory_limit=LIMIT)
            except KeyboardInterrupt:
                stopped += 1
            deadline = time.monotonic() + 30
            while any(thread.name == "fastbp-reader" for thread in threading.enumerate()):
                assert time.monotonic() < deadline, "the reader goes on"
                time.sleep(0.001)
            net.fit(X, y, epochs=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped == 40


# ---- memory ----

RESIDENT = """
import json, re, sys
import numpy as np, fastbp
from pathlib import Path
def status(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
limit = 32 << 20
rows = 4 * limit // 1024
X = np.memmap(sys.argv[1], np.float32, "w+", shape=(rows, 256))
for begin in range(0, rows, 1024):
    X[begin : begin + 1024] = np.random.default_rng(begin).standard_normal((1024, 256), np.float32)
X.flush()
del X
X = np.memmap(sys.argv[1], np.float32, "r", shape=(rows, 256))
y = np.zeros(rows, np.uint8)
net = fastbp.MLP((256, 8, 3), seed=0)
net.fit(np.zeros((500, 256), np.float32), y[:500], epochs=1)
net.fit(np.zeros((500, 256), np.float32), y[:500], epochs=1, memory_limit=1 << 19)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
held = (X, y) if sys.argv[2] == "validated" else None
if sys.argv[2] == "in place":
    net.fit(X, y, epochs=1)
else:
    net.fit(X, y, epochs=2, memory_limit=limit, validation_data=held)
print(json.dumps((status("VmHWM") - before) / limit))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's figures")
def test_resident_memory_stays_within_the_limit(tmp_path: Path) -> None:
    script = tmp_path / "resident.py"

    def share(how: str) -> float:
        script.write_text(RESIDENT.replace("sys.argv[1]", repr(str(tmp_path / "X"))).replace("sys.argv[2]", repr(how)))
        return float(json.loads(run_python(script)))

    assert share("in place") > 3  # it is measured
    assert share("plain") <= 1.1
    assert share("validated") <= 1.1
