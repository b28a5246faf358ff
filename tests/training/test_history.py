"""Histories: what a network keeps of its last training, and a history as a line, as HTML and as a data frame."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, History
from support.training_cases import rows

SIZES = (6, 12, 5)


def network() -> MLP:
    return MLP(SIZES, seed=3)


def stop_after(epochs: int) -> Any:
    def stop(net: MLP, history: History) -> None:
        if len(history.loss) == epochs:
            raise KeyboardInterrupt

    return stop


# ---- what a network keeps ----


def test_the_history_of_the_last_training() -> None:
    X, y = rows(60, SIZES)
    net = network()
    assert net.history is None
    history = net.fit(X, y, epochs=2)
    assert net.history is history
    assert net.partial_fit(X, y) is net.history is not history


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_interrupt_leaves_the_epochs_before(epochs: int) -> None:
    X, y = rows(60, SIZES)
    net, whole = network(), network()
    net.fit(X, y, epochs=5)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=9, callbacks=[stop_after(epochs)])
    whole.fit(X, y, epochs=5)
    assert net.history is not None
    assert net.history.loss == whole.fit(X, y, epochs=epochs).loss


def test_an_interrupt_while_kernels_load_leaves_no_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    net = network()
    monkeypatch.setattr("fastbp.training.loop.prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.fit(*rows(60, SIZES))
    assert net.history is not None and net.history.loss == []


def test_a_divergence_leaves_the_epochs_before() -> None:
    X, y = rows(60, SIZES)
    net = network()

    def spoil(net: MLP, history: History) -> None:
        if len(history.loss) == 2:
            net.parameters[:] = np.inf

    with pytest.raises(fastbp.DivergenceError):
        net.fit(X, y, epochs=5, callbacks=[spoil])
    assert net.history is not None and len(net.history.loss) == 2


def test_a_call_that_is_refused_changes_nothing() -> None:
    X, y = rows(60, SIZES)
    net = network()
    history = net.fit(X, y, epochs=2)
    X[7, 2] = np.nan
    for arguments in ({}, {"epochs": -1}):
        with pytest.raises(ValueError):
            net.fit(X, y, **arguments)
        assert net.history is history


def test_files_pickles_and_deep_copies_have_none(tmp_path: Path) -> None:
    net = network()
    history = net.fit(*rows(60, SIZES), epochs=2)
    net.save(tmp_path / "net.npz")
    others = pickle.loads(pickle.dumps(net)), copy.deepcopy(net), fastbp.load(tmp_path / "net.npz")
    assert [other.history for other in others] == [None] * 3
    shallow = copy.copy(net)
    assert shallow.history is history
    shallow.partial_fit(*rows(60, SIZES))
    assert net.history is history


# ---- a history by itself ----


def test_one_line() -> None:
    assert repr(History()) == "History(softmax_cross_entropy, 0 epochs, 0 s)"
    history = History([2.0, 1.23456], [2.5, 1.5], [0.25, 0.5], [1.0, 1.0], [9.0, 9.0], loss_name="huber")
    assert repr(history) == "History(huber, 2 epochs, loss 1.235, validation loss 1.5, validation score 0.5, 2 s)"


def test_html_has_the_best_of_each_measure() -> None:
    history = History([3.0, 1.0, 2.0], [4.0, math.nan, 5.0], [0.25, 0.75, 0.5])
    shown = history._repr_html_()
    for row in (["loss", 3, 2, 1, 2], ["validation loss", 4, 5, 4, 1], ["validation score", 0.25, 0.5, 0.75, 2]):
        assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" in shown
    assert "<svg" in shown
    assert History([1.0], [math.nan], [math.nan])._repr_html_()
    assert "<table>" not in History()._repr_html_()


def test_a_frame_has_a_row_for_each_epoch() -> None:
    pytest.importorskip("pandas")
    X, y = rows(60, SIZES)
    net = network()
    history = net.fit(X, y, epochs=3, validation_data=(X, y))
    frame = history.to_frame()
    assert list(frame.columns) == ["loss", "validation_loss", "validation_score", "seconds", "samples_per_second"]
    assert (frame.index.name, list(frame.index)) == ("epoch", [1, 2, 3])
    for name in frame.columns:
        assert frame[name].tolist() == getattr(history, name)
    assert list(History([1.0]).to_frame().columns) == ["loss"]
    assert History().to_frame().shape == (0, 0)


def test_a_frame_of_an_epoch_without_its_validation() -> None:
    pytest.importorskip("pandas")
    frame = History([3.0, 2.0], [1.0], [0.5], [0.1, 0.1], [9.0, 9.0]).to_frame()
    assert frame.shape == (2, 5)
    assert frame.loss.tolist() == [3.0, 2.0]
    assert frame.validation_loss[1] == 1.0 and math.isnan(frame.validation_loss[2])


def test_a_frame_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="^History.to_frame: needs pandas: pip install pandas$"):
        History([1.0]).to_frame()
