"""A fit with checkpoints: killed at any moment, it ends in the bits of one that never was."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp import MLP, DivergenceError
from fastbp.inputs import in_memory
from fastbp.learning_rates import Adaptive, LearningRate
from fastbp.training import checkpoints, loop
from fastbp.training.checkpoints import load
from support import resume_cases
from support.checkpointed_fits import ALWAYS, fit_of, killed_after, never_killed, position, state_of, tampered
from support.lanes import forms
from support.processes import python
from support.resume_cases import COUNT, FEATURES, KINDS, data, ended, outcome, prepared

pytestmark = pytest.mark.usefixtures("small_stages")


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


@pytest.mark.slow
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
