"""The reader's thread: readers that fail, ends of training, and bounded memory."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.inputs import read_ahead
from support.comparisons import assert_same_bits
from support.processes import run_python
from support.streams import BATCH, LIMIT, Sliced, chunks_of, data, fitted, network, unchanged

pytestmark = pytest.mark.usefixtures("no_thread_is_left")

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

    stop = read_ahead.Stop()
    reader = read_ahead.Reader(items(), stop)
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's figures")
def test_resident_memory_stays_within_the_limit(tmp_path: Path) -> None:
    script = tmp_path / "resident.py"

    def share(how: str) -> float:
        script.write_text(RESIDENT.replace("sys.argv[1]", repr(str(tmp_path / "X"))).replace("sys.argv[2]", repr(how)))
        return float(json.loads(run_python(script)))

    assert share("in place") > 3  # it is measured
    assert share("plain") <= 1.1
    assert share("validated") <= 1.1
