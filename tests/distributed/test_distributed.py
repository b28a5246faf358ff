"""Training by several processes: two ranks do what one process does, in the same bits each time, and fail together."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import distributed_cases
import numpy as np
import pytest
from conftest import assert_same_bits
from distributed_cases import CASES, EVENTS, KEPT, by_one

import fastbp
from fastbp import distributed
from fastbp.distributed import shards
from fastbp.distributed.ranks import WHOLE, Exchange, Ranks

SCRIPT = Path(distributed_cases.__file__)
BESIDE = Path(sys.executable).with_name("mpirun")
MPIRUN = str(BESIDE) if BESIDE.exists() else shutil.which("mpirun")
needs_mpi = pytest.mark.skipif(
    MPIRUN is None or importlib.util.find_spec("mpi4py") is None, reason="pip install 'fastbp[mpi]'"
)
# Two ranks on however few processors, root or not; no network card is looked for.
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_rmaps_default_mapping_policy":
    ":oversubscribe", "PRTE_MCA_hwloc_default_binding_policy": "none", "OMPI_MCA_mpi_yield_when_idle": "1",
}  # fmt: skip


def mpirun(*command: Any, ranks: int = 2, folder: Path | None = None, **environment: str) -> Any:
    # TMPDIR: Open MPI's sockets lie in it, whose names may have 107 characters at most.
    return subprocess.run(
        [str(MPIRUN), "-n", str(ranks), sys.executable, *map(str, command)], timeout=240, text=True,
        capture_output=True, cwd=folder, env={**os.environ, **ENVIRONMENT, "TMPDIR": "/tmp", **environment},
    )  # fmt: skip


def succeeded(process: Any) -> Any:
    assert process.returncode == 0, process.stdout + process.stderr
    return process


@pytest.fixture(scope="module")
def by_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two ranks have found, all cases in one job."""
    out = tmp_path_factory.mktemp("ranks") / "found.npz"
    succeeded(mpirun(SCRIPT, out))
    with np.load(out) as found:
        return dict(found)


# ---- two ranks as one process ----


@needs_mpi
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_do_what_one_process_does(name: str, by_ranks: dict[str, Any]) -> None:
    case = CASES[name]
    net, history = by_one(case)
    tolerance = 1e-10 if net.dtype == np.float64 else 1e-5
    assert np.abs(by_ranks[f"{name}/parameters"] - net.parameters).max() < tolerance
    assert np.abs(net.parameters - case.net().parameters).max() > 1e-3
    for part in ("loss", "validation_loss", "validation_score"):
        values = getattr(history, part)
        assert by_ranks[f"{name}/{part}"].shape == (len(values),)
        np.testing.assert_allclose(by_ranks[f"{name}/{part}"], values, rtol=0, atol=tolerance)


@needs_mpi
def test_the_same_bits_in_another_run(by_ranks: dict[str, Any], tmp_path: Path) -> None:
    names = ["all at once", "uneven", "wide", "float32", "early stopping"]
    succeeded(mpirun(SCRIPT, tmp_path / "again.npz", *names, NUMBA_NUM_THREADS="1"))
    with np.load(tmp_path / "again.npz") as again:
        assert len(again.files) == 4 * len(names)
        for name in again.files:
            assert_same_bits(again[name], by_ranks[name])


@needs_mpi
@pytest.mark.parametrize("event", EVENTS)
def test_events(event: str, by_ranks: dict[str, Any]) -> None:
    """Asserted by each rank itself: see `distributed_cases`."""
    assert by_ranks[event]


@needs_mpi
def test_three_ranks(tmp_path: Path) -> None:
    """An odd number, each with another part of the message, and one with fewer rows than there are steps."""
    code = f"""
import sys, numpy as np, fastbp
sys.path.insert(0, {str(SCRIPT.parent)!r})
from mpi4py import MPI
from distributed_cases import Case, by_ranks, by_one
for case in (Case((11, 40, 25), {{"optimizer": "adam", "l2": 1e-3, "dropout": 0.2}}),
             Case((1, 40, 20), batch_size=4), Case((30, 30, 29), sizes=(5, 200, 330, 4))):
    net, history = by_ranks(case, MPI.COMM_WORLD)
    assert np.abs(net.parameters - by_one(case)[0].parameters).max() < 1e-10
"""
    succeeded(mpirun("-c", code, ranks=3))


# ---- killed, resumed, failed ----


@needs_mpi
@pytest.mark.parametrize("killed_after", [9, 20])
def test_a_rank_is_killed_and_the_job_resumed(killed_after: int, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    process = mpirun(SCRIPT, tmp_path / "none.npz", "kept", path, killed_after)
    assert process.returncode != 0
    assert path.exists() == (killed_after > 1)
    succeeded(mpirun(SCRIPT, tmp_path / "resumed.npz", "kept", path))
    net, history = by_one(KEPT)
    if killed_after == 9:  # the same as never killed, to the bit; the others then too, if they agree with it
        succeeded(mpirun(SCRIPT, tmp_path / "whole.npz", "kept", tmp_path / "other.npz"))
        with np.load(tmp_path / "resumed.npz") as resumed, np.load(tmp_path / "whole.npz") as whole:
            for name in whole.files:
                assert_same_bits(resumed[name], whole[name])
    with np.load(tmp_path / "resumed.npz") as resumed:
        assert len(resumed["kept/loss"]) == len(history.loss)
        assert np.abs(resumed["kept/parameters"] - net.parameters).max() < 1e-10
    succeeded(mpirun(SCRIPT, tmp_path / "at once.npz", "kept", path, 1))  # it is finished: no message is sent
    with np.load(tmp_path / "resumed.npz") as resumed, np.load(tmp_path / "at once.npz") as at_once:
        for name in resumed.files:
            assert_same_bits(resumed[name], at_once[name])


@needs_mpi
def test_a_rank_that_fails_alone_ends_the_job() -> None:
    process = mpirun(SCRIPT, "none.npz", "fail", "alone")
    assert process.returncode != 0
    assert process.stderr.count("rank 1 of 2 failed: ZeroDivisionError: a planted fault; the job ends") == 1


@needs_mpi
def test_what_all_ranks_raise_is_printed_once() -> None:
    process = mpirun(SCRIPT, "none.npz", "fail", "together")
    assert process.returncode != 0
    assert process.stderr.count("ValueError") == 1
    assert "ValueError: rank 1: X_local: got shape (98, 4), expected (n_samples, 5)" in process.stderr


# ---- without MPI ----


class Threads:
    """A communicator whose ranks are threads, with what `Ranks` and `Exchange` use of mpi4py's."""

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
@pytest.mark.parametrize("length", [1, 5, 1000, 2 * WHOLE // 4 + 3])
def test_sums_are_taken_in_the_order_of_ranks(length: int, dtype: Any, size: int) -> None:
    """Whatever way the parts travel: numbers of very different sizes, whose sum shows the order."""
    parts = np.random.default_rng(0).normal(size=(size, length)) * 10.0 ** np.arange(size)[::-1, None]
    parts = parts.astype(dtype)
    expected = parts[0].copy()
    for part in parts[1:]:
        expected += part

    def rank(comm: Threads) -> Any:
        exchange = Exchange(Ranks(comm), length, np.dtype(dtype))
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


def test_without_mpi4py() -> None:
    code = ("import sys; sys.modules['mpi4py'] = None\nimport fastbp.distributed\n"
            "fastbp.distributed.fit(fastbp.MLP((2, 2)), [[1.0, 2.0]], [0])")  # fmt: skip
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    assert re.search(r"ModuleNotFoundError: fastbp.distributed: expected mpi4py .*pip install 'fastbp\[mpi\]'",
                     process.stderr)  # fmt: skip


def test_other_communicators_are_refused() -> None:
    with pytest.raises(TypeError, match="comm: got int, expected a communicator of mpi4py"):
        distributed.fit(fastbp.MLP((2, 2)), [[1.0, 2.0]], [0], 3)


# ---- the command ----


@needs_mpi
@pytest.mark.parametrize("gz", [False, True])
def test_command(gz: bool, tmp_path: Path) -> None:
    from test_datasets import idx

    X, y = fastbp.datasets.load_digits()
    rows = {"train": slice(0, 301), "t10k": slice(301, 400)}
    for part, chosen in rows.items():
        for stem, array in ((f"{part}-images-idx3-ubyte", X[chosen].reshape(-1, 8, 8) * 15),
                            (f"{part}-labels-idx1-ubyte", y[chosen].astype(np.uint8))):  # fmt: skip
            content = idx(array)
            if gz:
                import gzip

                content = gzip.compress(content)
            (tmp_path / stem).with_suffix(".gz" if gz else "").write_bytes(content)
    options = ["train", "--data", tmp_path, "--dtype", "float64", "--hidden", "20", "--epochs", "8"]
    process = succeeded(mpirun("-m", "fastbp", *options, "--mpi", "--out", tmp_path / "two.npz"))
    assert process.stdout.count("test accuracy") == process.stdout.count("301 to train on, 99 to test on") == 1
    assert "processes           2" in process.stdout
    net = fastbp.load(tmp_path / "two.npz")
    scaled = X[:301].astype(float) * 15
    alone = fastbp.MLP((64, 20, 10), dtype="float64", seed=0, input_shift=scaled.mean(axis=0), input_scale=1 / 255)
    order = distributed.single_process_order(alone, [150, 151], 32)
    settings = dict.fromkeys(("max_grad_norm", "time_budget"))
    plan = fastbp.training.arguments.plan(alone.model, epochs=8, batch_size=32, learning_rate=0.1, l2=1e-4,
                                          optimizer="sgd", shuffle=True, dropout=0.0, **settings)  # fmt: skip
    plan.order = order
    alone.train(scaled, y[:301], plan)
    assert np.abs(net.parameters - alone.parameters).max() < 1e-10
    accuracy = 100 * net.score(X[301:400] * 15.0, y[301:400])
    assert f"test accuracy       {accuracy:.2f} %" in process.stdout


@needs_mpi
def test_command_says_once_what_is_wrong(tmp_path: Path) -> None:
    process = mpirun("-m", "fastbp", "train", "--mpi", "--data", tmp_path / "none", folder=tmp_path)
    assert process.returncode == 2
    assert process.stderr.count("fastbp train: error: there is nothing at") == 1


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
