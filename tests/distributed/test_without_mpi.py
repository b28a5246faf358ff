"""What ranks agree on, tried with threads in place of processes; wrong arguments."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import distributed
from fastbp.distributed import shards
from fastbp.distributed.allreduce import ALLGATHER_BYTES, Allreduce
from fastbp.distributed.ranks import Ranks
from support import distributed_cases
from support.comparisons import assert_same_bits

# ---- without MPI ----


class Threads:
    """A communicator whose ranks are threads, with what `Ranks` and `Allreduce` use of mpi4py's."""

    def __init__(self, size: int):
        self._size, self._barrier, self._places = size, threading.Barrier(size, timeout=60), [None] * size
        self._local = threading.local()

    def run(self, function: Callable[[Any], Any]) -> list[Any]:
        found: list[Any] = [None] * self._size

        def rank(number: int) -> None:
            self._local.rank = number
            try:
                found[number] = function(self)
            except BaseException as error:
                found[number] = error

        workers = [threading.Thread(target=rank, args=(number,)) for number in range(self._size)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return found

    def Get_rank(self) -> int:
        return int(self._local.rank)

    def Get_size(self) -> int:
        return self._size

    def allgather(self, value: Any) -> list[Any]:
        self._places[self.Get_rank()] = value
        self._barrier.wait()
        everyone = list(self._places)
        self._barrier.wait()
        return everyone

    def Allgather(self, sent: Any, received: Any) -> None:
        received.reshape(self._size, -1)[...] = self.allgather(sent.copy())

    def Alltoall(self, sent: Any, received: Any) -> None:
        parts = self.allgather(sent.reshape(self._size, -1).copy())
        received[...] = [part[self.Get_rank()] for part in parts]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [1, 5, 1000, 2 * ALLGATHER_BYTES // 4 + 3])
def test_sums_are_taken_in_the_order_of_ranks(length: int, dtype: Any, size: int) -> None:
    """Whatever way the parts travel: numbers of very different sizes, whose sum shows the order."""
    parts = np.random.default_rng(0).normal(size=(size, length)) * 10.0 ** np.arange(size)[::-1, None]
    parts = parts.astype(dtype)
    expected = parts[0].copy()
    for part in parts[1:]:
        expected += part

    def rank(comm: Threads) -> Any:
        exchange = Allreduce(Ranks(comm), length, np.dtype(dtype))
        for _ in range(2):
            exchange.message[...] = parts[comm.Get_rank()]
            exchange.add_up()
        return exchange.total.copy()

    for total in Threads(size).run(rank):
        assert_same_bits(total, expected)


@pytest.mark.parametrize("failing", [{1}, {0, 2}, {0, 1, 2}])
def test_all_ranks_raise_what_one_finds(failing: set[int]) -> None:
    def rank(comm: Threads) -> None:
        def action() -> int:
            if comm.Get_rank() in failing:
                raise ValueError("l2: got -1")
            return 7

        assert Ranks(comm).agree(lambda: 7) == 7
        Ranks(comm).agree(action)

    hook = sys.excepthook
    try:
        errors = Threads(3).run(rank)
    finally:
        sys.excepthook = hook
    prefix = "" if len(failing) == 3 else f"rank {min(failing)}: "
    assert [(type(error), str(error)) for error in errors] == [(ValueError, f"{prefix}l2: got -1")] * 3


@pytest.mark.parametrize("sizes", [[5], [4, 4, 4], [6, 3], [1, 100], [7, 1, 13, 13], [1, 1], [50, 49, 51]])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 1000])
def test_minibatches_are_cut_in_proportion(sizes: list[int], batch_size: int) -> None:
    places = np.array([shards.cuts(sizes, rank, batch_size) for rank in range(len(sizes))])
    total = sum(sizes)
    ends = np.minimum(np.arange(places.shape[1]) * batch_size, total)
    assert (places[:, 0] == 0).all() and (places[:, -1] == sizes).all()
    assert (np.diff(places) >= 0).all()
    assert_same_bits(places.sum(axis=0), ends)
    assert (np.abs(places - np.outer(sizes, ends) / total) < len(sizes)).all()
    if len(set(sizes)) == 1 and batch_size % len(sizes) == 0:
        assert (places == np.outer(np.ones(len(sizes), int), ends // len(sizes))).all()


def test_the_order_of_one_process_holds_each_row_once() -> None:
    net = fastbp.MLP((2, 2), seed=0)
    before = net.rng.bit_generator.state
    order = distributed.single_process_order(net, [7, 12], 5)
    first, second = order(19), order(19)
    assert net.rng.bit_generator.state == before
    assert sorted(first) == sorted(second) == list(range(19))
    assert (first != second).any()
    with pytest.raises(ValueError, match="shards: got 19 rows in all, expected 20"):
        order(20)


def test_one_rank_is_bit_identical_to_fit() -> None:
    """The step in two halves, without anything in between."""
    for options in ({"optimizer": "sgd"}, {"optimizer": "adam"}, {"optimizer": "momentum", "max_grad_norm": 0.1}):
        case = distributed_cases.Case((101,), {"l2": 1e-3, "shuffle": False, "dropout": 0.2, **options},
                                      sizes=(5, 200, 330, 4))  # fmt: skip
        X, y, _ = case.data()
        nets = [case.net(), case.net()]
        nets[0].fit(X, y, **case.arguments())
        distributed.fit(nets[1], X, y, Single(), **case.arguments())
        assert_same_bits(nets[0].parameters, nets[1].parameters)


class Single(Threads):
    """A communicator of this process alone."""

    def __init__(self) -> None:
        super().__init__(1)
        self._local.rank = 0

    def bcast(self, value: Any) -> Any:
        return value

    def Bcast(self, value: Any) -> None: ...

    def exscan(self, value: Any) -> None: ...


def test_resumed_checkpoints_are_checked(tmp_path: Path) -> None:
    case = distributed_cases.Case((50,))
    X, y, _ = case.data()
    path = tmp_path / "run.npz"

    def fit(**options: Any) -> Any:
        return distributed.fit(case.net(), X, y, Single(), **{**case.arguments(), "checkpoint": path, **options})

    fit()
    with pytest.raises(ValueError, match=r"run.npz: got another run's checkpoint, whose l2 is 0.0, here 0.5; expected"):
        fit(l2=0.5)
    with pytest.raises(fastbp.CheckpointError, match="whose X has other values; expected"):
        distributed.fit(case.net(), X + 1, y, Single(), **{**case.arguments(), "checkpoint": path})
    case.net().save(tmp_path / "net.npz")
    with pytest.raises(fastbp.CheckpointError, match="got a network's file"):
        fit(checkpoint=tmp_path / "net.npz")
    with pytest.raises(FileNotFoundError):
        fit(checkpoint=tmp_path / "none" / "run.npz")


def test_a_checkpoint_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    case = distributed_cases.Case((50,))
    X, y, _ = case.data()
    net, folder = case.net(), tmp_path / "folder"
    folder.mkdir()

    def remove(net: fastbp.MLP, history: Any) -> None:
        (folder / "run.npz").unlink(missing_ok=True)
        folder.rmdir()

    with pytest.warns(RuntimeWarning, match="run.npz.* was not written"):
        history = distributed.fit(net, X, y, Single(), checkpoint=folder / "run.npz", callbacks=[remove],
                                  **{**case.arguments(), "epochs": 1})  # fmt: skip
    assert len(history.loss) == 1


def test_a_run_that_is_out_of_time_goes_on(tmp_path: Path) -> None:
    case = distributed_cases.Case((90,), {"optimizer": "adam"}, epochs=4)
    X, y, _ = case.data()
    whole, parts = case.net(), case.net()
    distributed.fit(whole, X, y, Single(), **case.arguments())
    for _ in range(4 * 6):  # a step or more each time
        parts = case.net()
        distributed.fit(parts, X, y, Single(), checkpoint=tmp_path / "run.npz", time_budget=0.0, **case.arguments())
    assert_same_bits(parts.parameters, whole.parameters)


def test_half_an_update_is_in_no_checkpoint(tmp_path: Path) -> None:
    """An optimizer's error is told with the next message, and the time for a checkpoint comes before."""

    class Failing(distributed_cases.Heavy):
        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            if step.number == 8 and fails:
                parameters[:3] = 99
                raise OSError("of the user's own")
            super().update(parameters, gradient, state, step)

    case = distributed_cases.Case((90,), {"optimizer": Failing()})
    X, y, _ = case.data()
    whole, parts, fails = case.net(), case.net(), False
    distributed.fit(whole, X, y, Single(), **case.arguments())
    kept: dict[str, Any] = {"checkpoint": tmp_path / "run.npz", "checkpoint_seconds": 0.0, **case.arguments()}
    fails = True
    with pytest.raises(OSError, match="of the user's own"):
        distributed.fit(case.net(), X, y, Single(), **kept)
    fails = False
    distributed.fit(parts, X, y, Single(), **kept)
    assert_same_bits(parts.parameters, whole.parameters)


@pytest.mark.usefixtures("ctrl_c")
def test_an_update_is_not_interrupted() -> None:
    class Asking(distributed_cases.Heavy):
        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            parameters[::2] = 1
            signal.raise_signal(signal.SIGINT)
            parameters[1::2] = 1

    case = distributed_cases.Case((50,))
    net, (X, y, _) = case.net(), case.data()
    with pytest.raises(KeyboardInterrupt):
        distributed.fit(net, X, y, Single(), **case.arguments(), optimizer=Asking())
    assert (net.parameters == 1).all()


def test_the_middle_of_a_long_array_tells_runs_apart(tmp_path: Path) -> None:
    class Masked(distributed_cases.Heavy):
        def __init__(self, masks: list[Any]):
            self.masks = masks

    case = distributed_cases.Case((50,), epochs=1)
    X, y, _ = case.data()
    other = np.ones(3000)
    other[1500] = 0
    for mask in (np.ones(3000), np.ones(3000)):
        settings = {**case.arguments(), "checkpoint": tmp_path / "run.npz"}
        distributed.fit(case.net(), X, y, Single(), **settings, optimizer=Masked([mask]))
    with pytest.raises(fastbp.CheckpointError, match=r"whose optimizer is Masked\("):
        distributed.fit(case.net(), X, y, Single(), **settings, optimizer=Masked([other]))


def test_without_mpi4py() -> None:
    code = ("import sys; sys.modules['mpi4py'] = None\nimport fastbp.distributed\n"
            "fastbp.distributed.fit(fastbp.MLP((2, 2)), [[1.0, 2.0]], [0])")  # fmt: skip
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    assert re.search(r"ModuleNotFoundError: fastbp.distributed: got .*, expected mpi4py .*pip install 'fastbp\[mpi\]'",
                     process.stderr)  # fmt: skip


def test_other_communicators_are_refused() -> None:
    with pytest.raises(TypeError, match="comm: got int, expected a communicator of mpi4py"):
        distributed.fit(fastbp.MLP((2, 2)), [[1.0, 2.0]], [0], 3)


@pytest.mark.parametrize("call", [distributed.fit, distributed.score])
def test_a_net_that_is_none_is_refused(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="net: got int, expected an MLP"):
        call(3, np.ones((4, 2)), np.zeros(4, int), Single())


@pytest.mark.parametrize(
    "net, sizes, message", [(3, [4], "net: got int"), (fastbp.MLP((2, 2)), [], "shards: got none")]
)
def test_an_order_of_nothing_is_refused(net: Any, sizes: list[int], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        distributed.single_process_order(net, sizes, 2)
