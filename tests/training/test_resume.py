"""A fit with checkpoints: killed at any moment, it ends in the bits of one that never was."""

from __future__ import annotations

import copy
import errno
import functools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resume_cases
from conftest import forms, python
from resume_cases import COUNT, FEATURES, KINDS, data, ended, outcome, prepared

import fastbp
from fastbp import MLP, CheckpointError, DivergenceError
from fastbp.cli import commands
from fastbp.inputs import in_memory
from fastbp.learning_rates import Adaptive, LearningRate
from fastbp.model import npz_file
from fastbp.program import execution
from fastbp.training import checkpoints, loop
from fastbp.training.checkpoints import from_json, load, save, to_json

ALWAYS: dict[str, Any] = {"checkpoint_seconds": 0}
CALLS = loop.Training._calls


class Killed(BaseException):
    """Stands for a kill: nothing of fastbp's may catch it."""


@pytest.fixture(autouse=True)
def small_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each of them one call, whatever the clock says."""
    monkeypatch.setattr(execution, "STAGED_BYTES", resume_cases.STAGE)
    monkeypatch.setattr(loop.Training, "_calls", resume_cases.calls)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.npz"


def killed_after(number: int, monkeypatch: pytest.MonkeyPatch, call: Any) -> bool:
    """Whether the call was killed right after it had written so many checkpoints, for it may end before."""
    left = [number]

    def saved(*arguments: Any) -> None:
        save(*arguments)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save", saved)
        try:
            call()
        except Killed:
            return True
    return False


def state_of(net: MLP) -> Any:
    return net.parameters.tobytes(), net.rng.bit_generator.state


# ---- the same bits ----


@functools.cache
def never_killed(kind: str) -> dict[str, Any]:
    return outcome(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_behind_any_checkpoint(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number, positions = 1, set()
    while killed_after(number, monkeypatch, lambda: outcome(kind, checkpoint=path, **ALWAYS)):
        state = load(path)
        assert state is not None
        positions.add((state["position"]["epoch"], state["position"]["rows"]))
        net, fit = prepared(kind)
        net.parameters[...] = np.nan  # nothing of the new network's counts
        net.rng.random()
        assert ended(net, fit(checkpoint=path)) == never_killed(kind)
        path.unlink()
        number += 1
    epochs = len(never_killed(kind)["history"][0])
    expected = {(epoch, done) for epoch in range(epochs) for done in range(0, COUNT, 50)} | {(epochs, 0)}
    wide = 100 if kind == "sgd" else 50  # in float32 twice as many rows are a stage
    assert positions == {(epoch, done) for epoch, done in expected if done % wide == 0}


def test_the_cases_are_what_they_are_to_try() -> None:
    """Training stops early at parameters that are not the last; the adaptive rate falls in between."""
    net, fit = prepared("early_stopping")
    seen = []
    history = fit(callbacks=[lambda net, history: seen.append(net.parameters.copy())])
    assert len(history.loss) < 15
    assert (net.parameters != seen[-1]).any()
    best = int(np.argmin(history.validation_loss))
    assert 0 < best < len(seen) - 1
    np.testing.assert_array_equal(net.parameters, seen[best])
    rate = Adaptive(0.3, factor=0.5, patience=1, tol=0.05, least=1e-3)
    rates = []
    net, fit = prepared("adaptive")
    fit(learning_rate=rate, callbacks=[lambda net, history: rates.append(rate.at(np.arange(1), 1)[0])])
    assert 0.3 in rates
    assert 0.15 in rates


def test_rows_that_are_done_are_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor trained on again, where stages begin before them."""

    def by_columns(*classes: int) -> Any:  # which the compiled step does not read itself
        X, y = data(*classes)
        return np.asfortranarray(X), y

    stages, sample = loop.Training._stages, len(np.unique(np.linspace(0, COUNT - 1, checkpoints.SAMPLE).astype(int)))
    for kept in (True, False):
        assert killed_after(4, monkeypatch, lambda: outcome("adam", checkpoint=path, **ALWAYS))  # 150 rows are done
        gathered: list[int] = []
        chosen = in_memory.Rows.chosen

        def counted(self: Any, some: Any, chosen: Any = chosen, gathered: Any = gathered) -> Any:
            gathered.append(len(some))
            return chosen(self, some)

        with monkeypatch.context() as patched:
            patched.setattr(in_memory.Rows, "chosen", counted)
            patched.setattr(resume_cases, "data", by_columns)
            if not kept:
                patched.setattr(loop.Training, "_stages", lambda self, order, done: stages(self, order))
            assert outcome("adam", checkpoint=path) == never_killed("adam")
        first = [50, 3] if kept else [50, 50, 50, 50, 3]
        assert [count for count in gathered if count] == [sample, *first, *3 * [50, 50, 50, 50, 3]]
        path.unlink()


def test_killed_again_and_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process gets as far as two checkpoints behind the one it found."""
    kills = 0
    while killed_after(3, monkeypatch, lambda: outcome("adam", checkpoint=path, **ALWAYS)):
        kills += 1
    assert kills == 10
    assert outcome("adam", checkpoint=path) == never_killed("adam")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@forms(short=4, long=60)
def test_kill_9_and_ctrl_c_at_random_moments(cases: int) -> None:
    done = python(Path(resume_cases.__file__), str(cases), str(cases), *KINDS, timeout=120.0 + 30 * cases)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    print(done.stdout)
    assert [line["kind"] for line in lines] == list(KINDS)
    assert all(line["error"] is None and line["differ"] == [] for line in lines), lines
    assert any(within for line in lines for _, within in line["positions"]), "none was killed within an epoch"
    assert any(line["left"] for line in lines), "none was killed while it wrote"
    assert {end for line in lines for end in line["ends"]} == {"kill", "Ctrl-C, kill"}


def test_ctrl_c_within_an_epoch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same objects go on; what was trained behind the checkpoint is trained again."""
    net, fit = prepared("adaptive")
    run, calls = loop.execution.run, [0]

    def interrupted(*arguments: Any, **options: Any) -> None:
        run(*arguments, **options)
        calls[0] += 1
        if calls[0] in (4, 9, 14):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop.execution, "run", interrupted)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                fit(checkpoint=path, **ALWAYS)
    assert calls[0] == 14
    assert ended(net, fit(checkpoint=path, **ALWAYS)) == never_killed("adaptive")


def test_such_a_position_would_do(written: Path, path: Path) -> None:
    """That of the files that are refused, but for what is wrong with them."""
    shutil.copy(written, path)
    tampered(path, **position())
    assert len(fit_of({}, {}, path)[1]().loss) == 3


def test_a_learning_rate_that_was_used_before_starts_anew(path: Path) -> None:
    rate = Adaptive(0.3, factor=0.5, patience=1, tol=0.05, least=1e-3)
    prepared("adaptive")[1](learning_rate=rate)
    assert rate.at(np.arange(1), 1)[0] < 0.3
    net, fit = prepared("adaptive")
    assert ended(net, fit(learning_rate=rate, checkpoint=path)) == never_killed("adaptive")


def test_a_network_without_a_seed_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data()
    net = MLP((FEATURES, 7, 3))
    twin = copy.deepcopy(net)
    twin.fit(X, y, epochs=3, dropout=0.5)
    assert killed_after(1, monkeypatch, lambda: net.fit(X, y, epochs=3, dropout=0.5, checkpoint=path))
    other = MLP((FEATURES, 7, 3))
    other.fit(X, y, epochs=3, dropout=0.5, checkpoint=path)
    assert state_of(other) == state_of(twin)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_any_generator_of_numpy(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data()

    def fit(**more: Any) -> MLP:
        net = MLP((FEATURES, 4, 3), seed=np.random.Generator(getattr(np.random, kind)(4)))
        net.fit(X, y, epochs=2, dropout=0.1, **more)
        return net

    twin = fit()
    assert killed_after(3, monkeypatch, lambda: fit(checkpoint=path, **ALWAYS))
    net = fit(checkpoint=path)
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    np.testing.assert_array_equal(net.rng.integers(2**62, size=700), twin.rng.integers(2**62, size=700))


def test_a_finished_run_is_returned_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, fit = prepared("early_stopping")
    expected = ended(net, fit(checkpoint=path))
    assert expected == never_killed("early_stopping")
    content = path.read_bytes()
    monkeypatch.setattr(loop.Training, "_call", None)
    monkeypatch.setattr(loop.execution, "prepare", None)
    seen: list[Any] = []
    net, fit = prepared("early_stopping")
    assert ended(net, fit(checkpoint=path, callbacks=[lambda *given: seen.append(given)])) == expected
    assert seen == []
    assert path.read_bytes() == content


def test_a_time_budget_counts_anew_in_each_call(path: Path) -> None:
    """One of 0 seconds ends behind each compiled call; the histories of all but the last have the part of an epoch."""
    lengths = []
    for _ in range(100):
        net, fit = prepared("adam")
        history = fit(checkpoint=path, checkpoint_seconds=1e9, time_budget=0)
        lengths.append(len(history.loss))
        state = load(path)
        assert state is not None
        if state["position"]["finished"]:
            break
    assert lengths == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    assert ended(net, history) == never_killed("adam")


def test_a_run_that_diverges_does_so_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters from before the epoch, which the killed process began, are kept."""

    class Jump(LearningRate):
        learning_rate = 0.1
        steady = False

        def at(self, steps: Any, total: int) -> Any:
            return np.where(steps >= 37, 1e300, 0.1)  # 21 steps an epoch

    X, y = data()

    def fit(net: MLP, **more: Any) -> MLP:
        with pytest.raises(DivergenceError, match="epoch 2 of 3"), np.errstate(all="ignore"):
            net.fit(X, y, epochs=3, batch_size=10, learning_rate=Jump(), **more)
        return net

    def new() -> MLP:
        return MLP((FEATURES, 7, 3), seed=3, dtype="float64")

    twin = fit(new())
    first = new()
    first.fit(X, y, epochs=1, batch_size=10, learning_rate=0.1)
    np.testing.assert_array_equal(twin.parameters, first.parameters)
    assert killed_after(9, monkeypatch, lambda: fit(new(), checkpoint=path, **ALWAYS))
    state = load(path)
    assert state is not None
    assert (state["position"]["epoch"], state["position"]["rows"]) == (1, 150)
    np.testing.assert_array_equal(fit(new(), checkpoint=path).parameters, twin.parameters)


def test_the_seconds_and_when_a_checkpoint_is_due(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = [100.0], []

    def saved(where: Any, state: Any) -> None:
        written.append((state["position"]["epoch"], state["position"]["rows"]))

    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "save", saved)
    call = loop.Training._call

    def slow(self: Any, *arguments: Any) -> Any:
        clock[0] += 25
        return call(self, *arguments)

    monkeypatch.setattr(loop.Training, "_call", slow)
    prepared("adam")[1](checkpoint=path, epochs=2)
    # 5 calls an epoch, the checkpoint behind the last one being the epoch's end; 60 seconds are over after 3.
    assert written == [(0, 0), (0, 150), (1, 50), (1, 200), (2, 0)]
    written.clear()
    prepared("adam")[1](checkpoint=path, epochs=2, checkpoint_seconds=1e6)
    assert written == [(0, 0), (2, 0)]


def test_the_history_of_a_run_that_went_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert killed_after(9, monkeypatch, lambda: outcome("early_stopping", checkpoint=path, **ALWAYS))
    state = load(path)
    assert state is not None
    assert state["position"]["seconds"] > 0
    history = prepared("early_stopping")[1](checkpoint=path)
    assert len(history.seconds) == len(history.samples_per_second) == len(history.loss) == len(history.validation_score)
    assert history.seconds[0] == state["history"]["seconds"][0]
    assert history.seconds[1] > state["position"]["seconds"]


# ---- the command line ----


def command(*words: Any) -> int:
    return commands.main(["train", "--data", "quadrants", "--epochs", "2", "--hidden", "8", *map(str, words)])


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
                        ("a.npz", "--out", "a.npz"): "is where the network goes",
                        (written,): "got another run's checkpoint, whose sizes is"}.items():  # fmt: skip
        assert command("--checkpoint", *words) == 2
        message = capsys.readouterr().err
        assert said in message
        assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# ---- another run's file ----

X, Y = data()
OTHERS: dict[str, dict[str, Any]] = {
    "X": {"X": np.vstack([X[:-1], X[-1:] + 1e-9])},
    "y": {"y": np.roll(Y, 1)}, "sample_weight": {"sample_weight": np.ones(COUNT)},
    "rows": {"X": X[:-1], "y": Y[:-1]}, "epochs": {"epochs": 5}, "batch_size": {"batch_size": 11}, "l2": {"l2": 0.1},
    "learning_rate": {"learning_rate": 0.2}, "optimizer": {"optimizer": "adam"}, "shuffle": {"shuffle": False},
    "dropout": {"dropout": 0.1}, "max_grad_norm": {"max_grad_norm": 1.0}, "early_stopping": {"early_stopping": 7},
    "tol": {"tol": 0.5}, "validation_data[0]": {"validation_data": (X[:30] + 1, Y[:30])},
    "validation_data[1]": {"validation_data": (X[:30], Y[1:31])},
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "sizes": {"sizes": (FEATURES, 8, 3)}, "activation": {"activation": "tanh"}, "dtype": {"dtype": "float32"},
    "loss": {"loss": "mean_squared_error"}, "seed": {"seed": 4}, "input_shift": {"input_shift": 0.5},
    "input_scale": {"input_scale": 2.0}, "leaky_slope": {"leaky_slope": 0.2}, "huber_delta": {"huber_delta": 0.2},
    "generator": {"seed": np.random.Generator(np.random.Philox(1))},
}  # fmt: skip


def fit_of(net: dict[str, Any], options: dict[str, Any], path: Path) -> tuple[MLP, Any]:
    made = MLP(**{"sizes": (FEATURES, 7, 3), "seed": 3, "dtype": "float64", **net})
    options = {"X": X, "y": Y, "epochs": 2, "batch_size": 10, "validation_data": (X[:30], Y[:30]), **options}
    if made.loss_name == "mean_squared_error":
        options |= {"y": np.eye(3)[Y], "validation_data": (X[:30], np.eye(3)[Y[:30]])}
    return made, lambda: made.fit(checkpoint=path, **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("resume") / "run.npz"
    fit_of({}, {}, path)[1]()
    return path


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


def test_what_may_be_other_when_a_run_goes_on(written: Path) -> None:
    net, _ = fit_of({}, {}, written)
    history = net.fit(X.copy(), Y.tolist(), 2, 10, validation_data=(X[:30], Y[:30]), checkpoint=str(written),
                      checkpoint_seconds=1, time_budget=100, callbacks=[print], progress=False)  # fmt: skip
    assert len(history.loss) == 2


# ---- no such file ----


def tampered(path: Path, **changes: Any) -> None:
    """A whole file whose digest agrees, with other values."""
    state = load(path)
    assert state is not None
    save(path, {name: value for name, value in (state | changes).items() if value is not None})


def position(**changes: Any) -> dict[str, Any]:
    """A position within an epoch; all else that such a file holds is in order."""
    values = {"epoch": 1, "rows": 50, "total": 1.0, "seconds": 1.0, "steps": 26, "finished": False,
              "generator": np.random.PCG64(1).state}  # fmt: skip
    return {"position": values | changes, "before": MLP((FEATURES, 7, 3), dtype="float64").parameters}


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
    with pytest.raises(CheckpointError, match="not a network"):
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
    monkeypatch.setattr(execution, "STAGED_BYTES", resume_cases.STAGE)
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
        TypeError, match=r"^learning_rate: cannot be kept in a checkpoint, for Remembering\.memory: got"
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
