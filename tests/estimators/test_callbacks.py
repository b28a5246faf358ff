"""scikit-learn's own callbacks on the estimators."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from support.comparisons import assert_same_bits
from support.estimator_cases import TARGETS, X, Y, classifier, regressor

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KINDS: list[tuple[Callable[..., Any], Any]] = [(classifier, Y), (regressor, TARGETS[:, 0])]


class Recorder:
    """Notes each call, and scores of the estimator as it is at the end of an epoch; may end the fit."""

    def __init__(self, ends_after: int | None = None, fails_after: int | None = None):
        self.ends_after, self.fails_after = ends_after, fails_after
        self.calls: list[str] = []
        self.scores: list[float] = []
        self.given: list[Any] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.calls.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.calls.append(f"{context.task_name} begins")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, metadata: Any = None,
        fitted_estimator: Any = None,
    ) -> bool:  # fmt: skip
        self.calls.append(f"{context.task_name} ends")
        if context.task_name == "epoch" and fitted_estimator is not None:
            self.given = [X, y, metadata]
            self.scores.append(fitted_estimator.score(X, y))
            assert fitted_estimator.network_ is not estimator.network_
            if len(self.scores) == self.fails_after:
                raise RuntimeError("enough")
        return len(self.scores) == self.ends_after


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_a_callback_sees_every_epoch(kind: Any, y: Any) -> None:
    recorder, seen = Recorder(), []
    weights = np.linspace(1.0, 2.0, len(X))
    one = kind(max_iter=4, callbacks=[lambda fitted, _: seen.append(fitted.score(X, y))]).set_callbacks(recorder)
    one.fit(X, y, weights)
    assert recorder.calls == ["setup", "fit begins", *["epoch begins", "epoch ends"] * 4, "fit ends", "teardown"]
    assert recorder.scores == seen
    assert recorder.given[0] is X and recorder.given[1] is y and recorder.given[2]["sample_weight"] is weights
    plain = kind(max_iter=4).fit(X, y, weights)
    assert_same_bits(plain.network_.parameters, one.network_.parameters)


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_a_callback_ends_the_fit(kind: Any, y: Any, recwarn: pytest.WarningsRecorder) -> None:
    recorder = Recorder(ends_after=3)
    one = kind(max_iter=50).set_callbacks(recorder).fit(X, y)
    assert one.n_iter_ == 3 and recorder.calls[-3:] == ["epoch ends", "fit ends", "teardown"]
    assert not recwarn.list


def test_an_epoch_that_does_not_come() -> None:
    recorder = Recorder()
    one = classifier(max_iter=50, time_budget=1e-9).set_callbacks(recorder).fit(X, Y)
    begins, ends = (sum(call == f"epoch {word}" for call in recorder.calls) for word in ("begins", "ends"))
    assert begins == ends > 0 and recorder.calls[-2:] == ["fit ends", "teardown"]
    assert one.n_iter_ <= begins


def test_a_callback_that_fails_is_torn_down() -> None:
    recorder = Recorder(fails_after=2)
    one = classifier(max_iter=50).fit(X, Y)
    before = one.network_.parameters.copy()
    with pytest.raises(RuntimeError, match="enough"):
        one.set_callbacks(recorder).fit(X, Y)
    assert recorder.calls[-1] == "teardown"
    assert_same_bits(one.network_.parameters, before)
    assert not [name for name in vars(one) if "callback_fit_ctx" in name or name == "_report"]


def test_lbfgs_has_no_epochs() -> None:
    recorder = Recorder()
    classifier(solver="lbfgs", max_iter=500).set_callbacks(recorder).fit(X, Y)
    assert recorder.calls == ["setup", "fit begins", "fit ends", "teardown"]


def test_those_of_scikit_learn(capsys: pytest.CaptureFixture[str]) -> None:
    monitor = callback.ScoringMonitor(scoring="accuracy")
    one = classifier(max_iter=5).set_callbacks(monitor)
    one.fit(X, Y)
    data = monitor.get_logs().data
    assert [row["accuracy"] for row in data][-1] == one.score(X, Y)
    assert sum(row["task_name"] == "epoch" for row in data) == 5


def test_within_a_search() -> None:
    recorder = Recorder()
    search = GridSearchCV(classifier(max_iter=2).set_callbacks(recorder), {"alpha": [0.0, 0.1]}, cv=2)
    search.fit(X, Y)
    assert recorder.calls.count("epoch ends") == 2 * (2 * 2 + 1)


def test_copies_keep_their_callbacks() -> None:
    recorder = Recorder()
    one = classifier(max_iter=2).set_callbacks(recorder)
    for twin in (clone(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        twin.fit(X, Y)
    assert recorder.calls.count("setup") == 1  # of the clone, which shares it
    one.set_callbacks().fit(X, Y)
    assert recorder.calls.count("setup") == 1
    with pytest.raises(TypeError, match="FitCallback"):
        one.set_callbacks(print)
