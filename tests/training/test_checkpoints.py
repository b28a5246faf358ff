"""Checkpoints of fits: another run's, damaged ones, none, and ones that cannot be written."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, CheckpointError
from fastbp.averaging import Equal
from fastbp.cli import program
from fastbp.learning_rates import LearningRate
from fastbp.model import npz_file
from fastbp.optimizers import Custom
from fastbp.program import memory
from fastbp.training import checkpoints, loop
from fastbp.training.checkpoint_file import from_json, load, save, to_json
from support import resume_cases
from support.checkpointed_fits import ALWAYS, X, Y, fit_of, killed_after, never_killed, position, state_of, tampered
from support.resume_cases import COUNT, FEATURES, ended, outcome, prepared

pytestmark = pytest.mark.usefixtures("small_stages")

CALLS = loop.Training._calls


# ---- the command line ----


def command(*words: Any) -> int:
    return program.main(["train", "--data", "quadrants", "--epochs", "2", "--hidden", "8", *map(str, words)])


def test_the_command_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr(loop.Training, "_calls", CALLS)
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)  # a call a step, and a checkpoint that is always due
    clock = checkpoints.time.monotonic
    monkeypatch.setattr(checkpoints.time, "monotonic", iter(range(0, 10**9, 100)).__next__)
    assert command("--out", "whole.npz") == 0
    written = [0]

    def saved(*arguments: Any) -> None:
        save(*arguments)
        written[0] += 1
        if written[0] == 130:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", saved)
    assert command("--out", "resumed.npz", "--checkpoint", path) == 130
    assert capsys.readouterr().err == (
        f"fastbp train: training was interrupted; the same command goes on from {path}\n"
    )
    state = load(path)
    assert state is not None
    assert state["position"]["epoch"] == 1
    assert state["position"]["rows"] > 0
    monkeypatch.setattr(checkpoints, "save", save)
    monkeypatch.setattr(checkpoints.time, "monotonic", clock)
    for _ in range(2):  # the second finds a finished run
        assert command("--out", "resumed.npz", "--checkpoint", path) == 0
        assert Path("resumed.npz").read_bytes() == Path("whole.npz").read_bytes()


def test_the_command_refuses(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for words, said in {("missing/run.npz",): "there is no folder", (".",): "is a folder",
                        ("a.npz", "--out", "a.npz"): "the file of --out",
                        (written,): "got another run's checkpoint, whose sizes is"}.items():  # fmt: skip
        assert command("--checkpoint", *words) == 2
        message = capsys.readouterr().err
        assert said in message
        assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


OTHERS: dict[str, dict[str, Any]] = {
    "X": {"X": np.vstack([X[:-1], X[-1:] + 1e-9])},
    "y": {"y": np.roll(Y, 1)}, "sample_weight": {"sample_weight": np.ones(COUNT)},
    "rows": {"X": X[:-1], "y": Y[:-1]}, "epochs": {"epochs": 5}, "batch_size": {"batch_size": 11}, "l2": {"l2": 0.1},
    "learning_rate": {"learning_rate": 0.2}, "optimizer": {"optimizer": "adam"}, "shuffle": {"shuffle": False},
    "dropout": {"dropout": 0.1}, "input_dropout": {"input_dropout": 0.1},
    "layer_learning_rates": {"layer_learning_rates": (0, 1)},
    "label_smoothing": {"label_smoothing": 0.1}, "averaging": {"averaging": Equal()},
    "max_grad_norm": {"max_grad_norm": 1.0}, "early_stopping": {"early_stopping": 7}, "tol": {"tol": 0.5},
    "validation_data[0]": {"validation_data": (X[:30] + 1, Y[:30])},
    "validation_data[1]": {"validation_data": (X[:30], Y[1:31])},
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "sizes": {"sizes": (FEATURES, 8, 3)}, "activation": {"activation": "tanh"}, "dtype": {"dtype": "float32"},
    "loss": {"loss": "mean_squared_error"}, "seed": {"seed": 4}, "input_shift": {"input_shift": 0.5},
    "input_scale": {"input_scale": 2.0}, "leaky_slope": {"leaky_slope": 0.2}, "huber_delta": {"huber_delta": 0.2},
    "generator": {"seed": np.random.Generator(np.random.Philox(1))},
}  # fmt: skip


@pytest.mark.parametrize("name", [*OTHERS, *NETWORKS])
def test_another_run_is_refused_by_what_differs(name: str, written: Path) -> None:
    content = written.read_bytes()
    net, fit = fit_of(NETWORKS.get(name, {}), OTHERS.get(name, {}), written)
    before = state_of(net)
    with pytest.raises(CheckpointError, match=r"run\.npz: got another run's checkpoint, whose ") as caught:
        fit()
    named = {part.split()[0] for part in str(caught.value).split("whose ")[1].split("; expected")[0].split(", ")
             if " is " in part or " has " in part}  # fmt: skip
    follow = {"rows": {"X", "y"}, "generator": {"seed"}, "input_shift": {"X", "validation_data[0]"},
              "input_scale": {"X", "validation_data[0]"}, "dtype": {"X", "y", "validation_data[0]"},
              "loss": {"y", "validation_data[1]"}, "optimizer": {"learning_rate"}}  # fmt: skip
    assert name in named
    assert named <= {name} | follow.get(name, set())
    assert repr(before) == repr(state_of(net))
    assert written.read_bytes() == content


class Masked(Custom):
    def __init__(self, masks: list[Any]):
        self.masks = masks

    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        parameters -= step.learning_rate * gradient * self.masks[0]


def test_the_middle_of_a_long_array_tells_runs_apart(path: Path) -> None:
    """`repr` leaves it out, and the first run's result would be returned as the second's."""

    def fit(*masks: Any) -> None:
        net = MLP((FEATURES, 300, 3), seed=0)
        net.fit(X, Y, epochs=1, optimizer=Masked([*masks]), checkpoint=path, progress=False)

    mask = np.ones(MLP((FEATURES, 300, 3)).parameters.size)
    other = np.ones(mask.size)
    other[mask.size // 2] = 0
    fit(mask)
    fit(mask.copy())
    with pytest.raises(CheckpointError, match=r"another run's checkpoint, whose optimizer is Masked\("):
        fit(other)


def test_what_may_be_other_when_a_run_goes_on(written: Path) -> None:
    net, _ = fit_of({}, {}, written)
    history = net.fit(X.copy(), Y.tolist(), 2, 10, validation_data=(X[:30], Y[:30]), checkpoint=str(written),
                      checkpoint_seconds=1, time_budget=100, callbacks=[print], progress=False)  # fmt: skip
    assert len(history.loss) == 2


DAMAGES: dict[str, Any] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("epoch 3"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "a bit": lambda path: path.write_bytes(bytes(b ^ (i == 700) for i, b in enumerate(path.read_bytes()))),
    "another program's": lambda path: np.savez(path, parameters=X),
    "a network's": lambda path: MLP((FEATURES, 7, 3)).save(path),
    "a metadata of ours": lambda path: npz_file.write(path, {"parameters": X}, {"run": {"dict": {}}}),
    "no dict": lambda path: npz_file.write(path, {}, {"run": [1]}),
    "shape": lambda path: tampered(path, parameters=np.zeros(3)),
    "dtype": lambda path: tampered(path, parameters=np.zeros(80, np.float32)),
    "moments": lambda path: tampered(path, moments=np.zeros(3)),
    "best": lambda path: tampered(path, best=np.zeros(3)),
    "epoch": lambda path: tampered(path, **position(epoch=2)),
    "no whole minibatches": lambda path: tampered(path, **position(rows=55)),
    "rows": lambda path: tampered(path, **position(rows=10**6)),
    "below 0": lambda path: tampered(path, **position(rows=-10)),
    "no integer": lambda path: tampered(path, **position(rows=50.0)),
    "steps": lambda path: tampered(path, **position(steps="many")),
    "total": lambda path: tampered(path, **position(total=[])),
    "another field": lambda path: tampered(path, **position(row=1)),
    "generator": lambda path: tampered(path, **position(generator={"bit_generator": "PCG64", "state": 1})),
    "history": lambda path: tampered(path, history={"loss": ["x"]}),
    "key": lambda path: tampered(path, key="x"),
    "rate": lambda path: tampered(path, learning_rate={"__class__": 1}),
    "fingerprint": lambda path: tampered(path, fingerprint=[1]),
    **{f"no {name}": lambda path, name=name: tampered(path, **{name: None})
       for name in ("parameters", "moments", "position", "history", "key", "early_stopping", "memory_steps",
                    "learning_rate", "optimizer", "fingerprint")},
    "no before": lambda path: tampered(path, **position() | {"before": None}),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_run_to_go_on_from(damage: str, written: Path, path: Path) -> None:
    shutil.copy(written, path)
    DAMAGES[damage](path)
    content = path.read_bytes()
    net, fit = fit_of({}, {}, path)
    before = state_of(net)
    with pytest.raises(CheckpointError, match=r"run\.npz: "):
        fit()
    assert state_of(net) == before
    assert path.read_bytes() == content


def test_a_network_is_not_read_from_a_run(written: Path) -> None:
    with pytest.raises(CheckpointError, match="got the checkpoint of a training, expected a network"):
        fastbp.load(written)


# ---- a file that cannot be written ----


@pytest.mark.parametrize("wrong", [3, b"run.npz", True])
def test_no_path(wrong: Any) -> None:
    net, fit = fit_of({}, {}, wrong)
    before = state_of(net)
    with pytest.raises(TypeError, match=r"^checkpoint: got "):
        fit()
    assert state_of(net) == before


@pytest.mark.parametrize("wrong", [-1, np.nan, "1", None])
def test_no_seconds(wrong: Any, path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^checkpoint_seconds: got "):
        fit_of({}, {"checkpoint_seconds": wrong}, path)[1]()
    assert not path.exists()


@pytest.mark.parametrize("where", ["missing/run.npz", "folder", "full/run.npz"])
def test_it_is_found_before_training(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "full").mkdir()
    if where.startswith("full"):
        monkeypatch.setattr(npz_file.os, "fsync", full)
    net, fit = fit_of({}, {"dropout": 0.5}, tmp_path / where)
    before = state_of(net)
    with pytest.raises(OSError, match=where.replace("full/run.npz", "No space left")):
        fit()
    assert state_of(net) == before
    assert list((tmp_path / "full").iterdir()) == []


def full(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_does_not_go_on_where_it_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert killed_after(5, monkeypatch, lambda: outcome("adam", checkpoint=path, **ALWAYS))
    content = path.read_bytes()
    net, fit = prepared("adam")
    before = state_of(net)
    with monkeypatch.context() as patched:
        patched.setattr(npz_file.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            fit(checkpoint=path)
    assert state_of(net) == before
    assert path.read_bytes() == content
    assert ended(net, fit(checkpoint=path)) == never_killed("adam")


def test_a_disk_that_fills_up_does_not_end_training(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, calls = os.fsync, [0]

    def sometimes(*arguments: Any) -> None:
        calls[0] += 1
        full() if 4 <= calls[0] < 8 or calls[0] > 10 else sync(*arguments)

    monkeypatch.setattr(npz_file.os, "fsync", sometimes)
    with pytest.warns(RuntimeWarning, match=r"^checkpoint: .*run.npz' was not written: .*No space left.*goes on"):
        assert outcome("adam", checkpoint=path, **ALWAYS) == never_killed("adam")
    assert calls[0] == 21
    state = load(path)
    assert state is not None
    assert (state["position"]["epoch"], state["position"]["rows"]) == (1, 200)  # the tenth
    assert [file.name for file in path.parent.iterdir()] == ["run.npz"]
    monkeypatch.undo()
    monkeypatch.setattr(memory, "STAGED_BYTES", resume_cases.STAGE)
    assert outcome("adam", checkpoint=path) == never_killed("adam")


# ---- what a user's own objects remember ----


class Remembering(LearningRate):
    """No dataclass, and what it remembers is given."""

    learning_rate = 0.1
    later: Any = 0

    def __init__(self, first: Any):
        self.memory = first

    def at(self, steps: Any, total: int) -> Any:
        return np.full(len(steps), 0.1)

    def epoch_ended(self, loss: float) -> bool:
        self.memory = self.later
        return False


@pytest.mark.parametrize("kept", [{1, 2}, object(), {1: 2}, 1j, [lambda: 0], b"x"])
def test_what_cannot_be_kept_is_refused_before_training(kept: Any, path: Path) -> None:
    net, fit = fit_of({}, {"learning_rate": Remembering(kept)}, path)
    before = state_of(net)
    with pytest.raises(
        TypeError, match=r"^learning_rate: cannot be kept in a checkpoint because of Remembering\.memory: got"
    ):
        fit()
    assert state_of(net) == before
    assert not path.exists()


def test_what_can_no_longer_be_kept_does_not_end_training(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Remembering, "later", {2})
    net, fit = fit_of({}, {"learning_rate": Remembering(1)}, path)
    with pytest.warns(RuntimeWarning, match=r"was not written: learning_rate: cannot be kept .*Remembering\.memory"):
        fit()
    twin = fit_of({}, {"learning_rate": 0.1}, path)[0]
    twin.fit(X, Y, 2, 10, learning_rate=0.1)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_a_state_comes_back_as_it_was(path: Path) -> None:
    values = [None, True, 3, 2**200, 0.1, -0.0, np.inf, "x", [1, [2.5]], (1, (2, [3])), {"a": (1,), "tuple": {}},
              np.float32(0.1), np.int64(3), np.uint64(2**64 - 1), np.bool_(True), np.arange(6, dtype=np.uint32)[::2],
              np.ones((2, 3)), np.ones((0, 3))]  # fmt: skip
    for value in values:
        found = from_json(json.loads(json.dumps(to_json(value))))
        assert type(found) is type(value)
        assert repr(found) == repr(value)
    assert load(path) is None
    save(path, {"values": values[:11], "array": np.arange(3.0), "nan": np.nan})
    found = load(path)
    assert found is not None
    assert found["values"] == values[:11]
    assert np.isnan(found["nan"])
    np.testing.assert_array_equal(found["array"], np.arange(3.0))
