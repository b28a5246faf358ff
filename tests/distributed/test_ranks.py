"""Training by several processes: two ranks do what one process does, in the same bits each time, and fail together."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import distributed
from support import distributed_cases
from support.comparisons import assert_same_bits
from support.distributed_cases import CASES, EVENTS, KEPT, by_one
from support.idx import idx
from support.lanes import in_lanes
from support.processes import TESTS

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
        capture_output=True, cwd=folder,
        env={**os.environ, **ENVIRONMENT, "TMPDIR": "/tmp", "PYTHONPATH": str(TESTS), **environment},
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


@pytest.mark.slow
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


@pytest.mark.slow
@needs_mpi
def test_three_ranks(tmp_path: Path) -> None:
    """An odd number, each with another part of the message, and one with fewer rows than there are steps."""
    code = f"""
import sys, numpy as np, fastbp
sys.path.insert(0, {str(SCRIPT.parents[1])!r})
from mpi4py import MPI
from support.distributed_cases import Case, by_ranks, by_one
for case in (Case((11, 40, 25), {{"optimizer": "adam", "l2": 1e-3, "dropout": 0.2}}),
             Case((1, 40, 20), batch_size=4), Case((30, 30, 29), sizes=(5, 200, 330, 4))):
    net, history = by_ranks(case, MPI.COMM_WORLD)
    assert np.abs(net.parameters - by_one(case)[0].parameters).max() < 1e-10
"""
    succeeded(mpirun("-c", code, ranks=3))


# ---- killed, resumed, failed ----


@pytest.mark.slow
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


# ---- the command ----


@needs_mpi
@pytest.mark.parametrize("gz", in_lanes([False, True], fast=[True]))
def test_command(gz: bool, tmp_path: Path) -> None:
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
    plan = fastbp.training.arguments.make_plan(alone.model, epochs=8, batch_size=32, learning_rate=0.1, l2=1e-4,
                                          optimizer="sgd", shuffle=True, dropout=0.0, **settings)  # fmt: skip
    plan.order = order
    alone.train(scaled, y[:301], plan)
    assert np.abs(net.parameters - alone.parameters).max() < 1e-10
    accuracy = 100 * net.score(X[301:400] * 15.0, y[301:400])
    assert f"test accuracy       {accuracy:.2f} %" in process.stdout


@needs_mpi
def test_command_on_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(101, 3)).round(3)
    price = (50 + X @ [3.0, -2.0, 1.0]).round(2)
    lines = [",".join(map(str, row)) for row in np.column_stack([X, price]).tolist()]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c,price", *lines]))
    options = ["train", "--data", tmp_path / "rows.csv", "--dtype", "float64", "--epochs", "5"]
    shown = succeeded(mpirun("-m", "fastbp", *options, "--mpi", "--out", tmp_path / "two.npz")).stdout
    _, test = fastbp.datasets.stratified_split(np.zeros(101, int), 0.2, 0)
    predicted = fastbp.load(tmp_path / "two.npz").predict(X[test])
    missed, spread = np.square(price[test] - predicted), np.square(price[test] - price[test].mean())
    assert f"test R^2            {1 - missed.sum() / spread.sum():.4f}\n" in shown
    assert f"test RMSE           {np.sqrt(missed.mean()):.4g} (" in shown


@needs_mpi
def test_command_says_once_what_is_wrong(tmp_path: Path) -> None:
    process = mpirun("-m", "fastbp", "train", "--mpi", "--data", tmp_path / "none", folder=tmp_path)
    assert process.returncode == 2
    assert process.stderr.count(f"fastbp train: error: {str(tmp_path / 'none')!r} does not exist") == 1
