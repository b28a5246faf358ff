"""One thread at a time trains a network: a second one is refused at once, and the first one does not notice."""

from __future__ import annotations

import copy
import os
import pickle
import re
import threading
import time
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from support.comparisons import assert_same_bits
from support.processes import run_python


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 5)), rng.integers(0, 3, 60)


class Paused:
    """A thread that trains a network and waits in its first callback, until the block's end lets it go on."""

    def __init__(self, net: MLP, X: Any, y: Any):
        self.reached, self.go_on, self.error = threading.Event(), threading.Event(), None
        self.thread = threading.Thread(target=self._train, args=(net, X, y))

    def _train(self, net: MLP, X: Any, y: Any) -> None:
        try:
            net.fit(X, y, epochs=3, callbacks=[self._wait])
        except BaseException as error:
            self.error = error

    def _wait(self, net: MLP, history: Any) -> None:
        self.reached.set()
        assert self.go_on.wait(60)

    def __enter__(self) -> Paused:
        self.thread.start()
        assert self.reached.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.go_on.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        assert self.error is None


BUSY = "^fit: got a second call while another thread trains this network, expected one at a time"


def test_a_second_fit_of_one_network_is_refused_and_the_first_goes_on_unharmed() -> None:
    X, y = data()
    net, alone = MLP((5, 7, 3), seed=1), MLP((5, 7, 3), seed=1)
    alone.fit(X, y, epochs=3)
    with Paused(net, X, y):
        for _ in range(3):
            with pytest.raises(RuntimeError, match=BUSY):
                net.fit(X, y, epochs=1)
        with pytest.raises(RuntimeError, match=BUSY):  # one whose parameters are the same memory
            copy.copy(net).fit(X, y, epochs=1)
        before = net.parameters.copy()
        for apart in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            apart.fit(X, y, epochs=1)
            assert (apart.parameters != before).any()
        MLP((5, 7, 3), seed=1).fit(X, y, epochs=1)
        assert net.predict_proba(X).shape == (len(X), 3)
        assert_same_bits(net.parameters, before)
    assert_same_bits(net.parameters, alone.parameters)
    net.fit(X, y, epochs=1)
    alone.fit(X, y, epochs=1)
    assert_same_bits(net.parameters, alone.parameters)


def test_of_many_fits_at_once_one_trains() -> None:
    X, y = data()
    net, alone = MLP((5, 7, 3), seed=1), MLP((5, 7, 3), seed=1)
    alone.fit(X, y, epochs=20)
    start, refused, trained = threading.Barrier(8), [], []

    def train() -> None:
        start.wait()
        try:
            # whoever is in waits for the others to have been refused
            net.fit(X, y, epochs=20, callbacks=[lambda net, history: len(refused) < 7 and time.sleep(0.05)])
            trained.append(1)
        except RuntimeError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=train) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(trained) == 1
    assert len(refused) == 7
    assert all(re.search(BUSY, message) for message in refused)
    assert_same_bits(net.parameters, alone.parameters)


def test_a_fit_that_failed_does_not_stand_in_the_way() -> None:
    X, y = data()
    net = MLP((5, 7, 3), seed=1)

    def fail(net: MLP, history: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, callbacks=[fail])
    with pytest.raises(fastbp.DivergenceError):
        net.fit(X, y, batch_size=10, learning_rate=1e30)
    failures = []

    def train() -> None:
        try:
            net.fit(X, y, epochs=1)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join(60)
    assert failures == []


def test_a_callback_may_train_its_own_network() -> None:
    X, y = data()
    net = MLP((5, 7, 3), seed=1)
    seen = []

    def more(net: MLP, history: Any) -> None:
        net.fit(X, y, epochs=1, shuffle=False)
        seen.append(net.parameters.copy())

    net.fit(X, y, epochs=2, shuffle=False, callbacks=[more])
    other = MLP((5, 7, 3), seed=1)
    other.fit(X, y, epochs=4, shuffle=False)
    assert len(seen) == 2
    assert_same_bits(net.parameters, other.parameters)


FORK_IN_TRAINING = """
import os, threading, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
import numpy as np
import fastbp

X, y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
net = fastbp.MLP((5, 7, 3), seed=1)
reached, go_on = threading.Event(), threading.Event()

def wait(net, history):
    reached.set()
    go_on.wait(60)

thread = threading.Thread(target=lambda: net.fit(X, y, epochs=2, callbacks=[wait]))
thread.start()
assert reached.wait(60)
read, write = os.pipe()
child = os.fork()
if child == 0:
    try:
        net.fit(X, y, epochs=1)
        os.write(write, net.parameters.tobytes())
    finally:
        os._exit(0)
os.close(write)
inside = b""
while part := os.read(read, 65536):
    inside += part
status = os.waitpid(child, 0)[1]
try:
    net.fit(X, y)
    raise SystemExit("not refused")
except RuntimeError:
    pass
go_on.set()
thread.join()
print("same bits, status" if inside == net.parameters.tobytes() else "other bits, status", status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_a_network_is_trained_may_train_it() -> None:
    """Its copy of the thread that trains does not go on, so nothing would ever free the network there."""
    assert run_python(FORK_IN_TRAINING).splitlines()[-1] == "same bits, status 0"
