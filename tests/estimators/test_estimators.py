"""Losses of regression, arrays that a user puts in place, fits that are refused, and the import."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score

import fastbp
from fastbp import MLPClassifier, MLPRegressor
from support.comparisons import assert_same_bits
from support.estimator_cases import EPS, TARGETS, X, Y, arrays, assert_same_arrays, classifier, regressor
from support.processes import run_python

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---- losses of regression ----


@pytest.mark.parametrize(("loss", "of_errors"), [
    ("absolute_error", np.abs),
    ("huber", lambda d: np.where(np.abs(d) <= 1, d**2 / 2, np.abs(d) - 0.5)),
    ("squared_error", lambda d: d**2 / 2),
])  # fmt: skip
@pytest.mark.parametrize("targets", [1, 3])
def test_losses_of_regression(loss: str, of_errors: Callable[[Any], Any], targets: int) -> None:
    y = np.random.default_rng(0).normal(size=(120, targets)) * 3
    fitted = regressor(loss=loss, batch_size=120, alpha=2.0).fit(X, y if targets > 1 else y[:, 0])
    errors = fitted.predict(X).reshape(120, targets) - y
    expected = of_errors(errors).mean() + sum(float((W**2).sum()) for W in fitted.coefs_) / 120
    fitted.partial_fit(X, y if targets > 1 else y[:, 0])  # whose loss is that before its one step
    assert fitted.loss_ == pytest.approx(expected, rel=200 * EPS)


def test_losses_that_are_refused() -> None:
    with pytest.raises(ValueError, match="loss"):
        regressor(loss="log").fit(X, TARGETS[:, 0])
    with pytest.raises(ValueError, match="y: got"):
        regressor(loss="poisson").fit(X, -np.ones(120))


# ---- the network and its arrays ----


def test_coefs_are_views_into_the_network() -> None:
    fitted = classifier().fit(X, Y)
    assert all(np.shares_memory(array, fitted.network_.parameters) for array in arrays(fitted))
    np.testing.assert_allclose(fitted.network_.outputs(X), fitted.predict_proba(X), rtol=0)
    before = fitted.predict_proba(X)
    fitted.intercepts_[-1][0] += 1.0
    assert (fitted.predict_proba(X)[:, 0] > before[:, 0]).all()


def test_arrays_that_are_put_in_place() -> None:
    fitted, other = classifier().fit(X, Y), classifier(random_state=1).fit(X, Y)
    own = other.coefs_[0].copy()
    fitted.coefs_[0] = own
    fitted.coefs_[1:] = [other.coefs_[1].tolist(), other.coefs_[2].copy()]
    fitted.intercepts_ = [array.copy() for array in other.intercepts_]
    assert_same_bits(fitted.predict_proba(X), other.predict_proba(X))
    own[:, 0] = 0  # they stay the user's
    other.coefs_[0][:, 0] = 0
    assert_same_bits(fitted.predict_proba(X), other.predict_proba(X))
    again = pickle.loads(pickle.dumps(fitted))
    assert_same_bits(again.predict_proba(X), other.predict_proba(X))
    left = own.copy()
    fitted.partial_fit(X, Y)
    assert fitted.coefs_[0] is not own
    assert_same_bits(own, left)
    fitted.coefs_[0] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"coefs_, intercepts_: got shape \(2, 2\), expected \(6, 9\)"):
        fitted.predict(X)


def test_warm_starts_across_solvers() -> None:
    fitted = classifier(solver="lbfgs", warm_start=True).fit(X, Y)
    loss = fitted.loss_
    fitted.set_params(solver="adam", learning_rate_init=1e-12).fit(X, Y)
    assert fitted.loss_curve_[0] == pytest.approx(loss, rel=1e-2)  # minibatches' means of the penalty differ
    fitted.set_params(early_stopping=True).fit(X, Y)
    assert len(fitted.validation_scores_) == fitted.n_iter_
    with pytest.raises(ValueError, match=r"hidden_layer_sizes: got layers of \(6, 4, 3\) units, expected"):
        fitted.set_params(hidden_layer_sizes=4).fit(X, Y)


# ---- refusals ----


def state_of(value: Any) -> Any:
    """All that an estimator holds, as values that can be compared; of its network what training changes."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, fastbp.MLP):
        return state_of(value.parameters), value.rng.bit_generator.state
    if isinstance(value, (list, tuple)):
        return [state_of(item) for item in value]
    if hasattr(value, "__dict__") and not callable(value):
        return {name: state_of(item) for name, item in vars(value).items()}
    return value.get_state(legacy=True)[2] if isinstance(value, np.random.RandomState) else repr(value)


def failing(fitted: Any, history: Any) -> None:
    raise RuntimeError("a callback of the user's")


def spoiling(fitted: Any, history: Any) -> None:
    fitted.coefs_[0][...] = 1e300


CALLS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "gap": ({}, lambda e: e.fit(np.where(X > 2, np.nan, X), Y)),
    "gap in part": ({}, lambda e: e.partial_fit(np.where(X > 2, np.nan, X), Y)),
    "features": ({}, lambda e: e.partial_fit(X[:, :2], Y)),
    "lengths": ({}, lambda e: e.fit(X[:, :2], Y[:3])),
    "classes": ({}, lambda e: e.partial_fit(X, Y + 1)),
    "weights": ({}, lambda e: e.fit(X, Y, np.ones(3))),
    "parameter": ({"alpha": -1}, lambda e: e.fit(X, Y)),
    "activation": ({"activation": ["relu"]}, lambda e: e.fit(X[:, :4], np.minimum(Y, 1))),
    "early": ({"early_stopping": True}, lambda e: e.partial_fit(X, Y)),
    "size": ({"warm_start": True, "hidden_layer_sizes": 3}, lambda e: e.fit(X, Y)),
    "validation": ({"warm_start": True}, lambda e: e.fit(X, Y, X_val=X[:, :2], y_val=Y)),
    "callback": ({"callbacks": [failing]}, lambda e: e.partial_fit(X, Y)),
    "callback, anew": ({"callbacks": [failing]}, lambda e: e.fit(X[:, :4], np.minimum(Y, 1))),
    "callback, warm": ({"callbacks": [failing], "warm_start": True, "dropout": 0.5}, lambda e: e.fit(X, Y)),
    "diverges": ({"callbacks": [spoiling], "warm_start": True}, lambda e: e.fit(X, Y)),
    "diverges, anew": ({"callbacks": [spoiling]}, lambda e: e.fit(X, Y)),
    "too large": ({"dtype": "float32"}, lambda e: e.partial_fit(1e300 * X, Y)),
    "too large, lbfgs": ({"dtype": "float32", "solver": "lbfgs", "warm_start": True}, lambda e: e.fit(1e300 * X, Y)),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_what_is_refused_changes_nothing(case: str, solver: str) -> None:
    options, call = CALLS[case]
    fitted = classifier(solver=solver, learning_rate="adaptive", dropout=0.25).fit(X, Y).partial_fit(X, Y)
    untouched = classifier(solver=solver, learning_rate="adaptive", dropout=0.25).fit(X, Y).partial_fit(X, Y)
    views, network = arrays(fitted), fitted.network_
    fitted.set_params(**options)
    before = state_of(fitted)
    with pytest.raises((ValueError, RuntimeError)):
        call(fitted)
    assert state_of(fitted) == before
    assert fitted.network_ is network
    assert all(array is view for array, view in zip(arrays(fitted), views, strict=True))
    fitted.set_params(**untouched.get_params())
    assert_same_arrays(fitted.partial_fit(X, Y), untouched.partial_fit(X, Y))
    assert fitted.loss_curve_ == untouched.loss_curve_


def test_a_first_part_that_is_refused_leaves_nothing() -> None:
    one = classifier()
    with pytest.raises(ValueError, match="NaN"):
        one.partial_fit(np.where(X > 2, np.nan, X), Y, classes=[0, 1, 2])
    with pytest.raises(NotFittedError):
        one.predict(X)
    one.partial_fit(X, Y, classes=[0, 1, 2, 3])
    assert one.n_outputs_ == 4


def test_divergence() -> None:
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights") as caught:
        classifier(solver="sgd", learning_rate_init=1e200, activation="identity").fit(X, Y)
    assert isinstance(caught.value.__cause__, fastbp.DivergenceError)


def test_divergence_by_targets() -> None:
    """scikit-learn's words, and what they leave out."""
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights.* Try targets of order one"):
        MLPRegressor(solver="sgd", random_state=0).fit(X, 1e6 * (1 + X[:, 0] ** 2))
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights.*be preprocessed.$"):
        MLPRegressor(solver="sgd", random_state=0, learning_rate_init=1e200).fit(X, X[:, 0])


def test_divergence_after_a_best_epoch_goes_back_to_it() -> None:
    """As scikit-learn does, whose epochs then go on with NaN."""

    def spoil(fitted: Any, history: Any) -> None:
        if fitted.n_iter_ == 3:
            spoiling(fitted, history)

    with pytest.warns(ConvergenceWarning, match="diverged"):
        fitted = classifier(callbacks=[spoil], early_stopping=True, activation="identity", max_iter=9).fit(X, Y)
    assert fitted.n_iter_ == 3
    assert_same_arrays(fitted, classifier(early_stopping=True, activation="identity", max_iter=3).fit(X, Y))


# ---- the import ----


def test_without_scikit_learn() -> None:
    code = """
import sys
sys.modules["sklearn"] = None
import fastbp
fastbp.MLP((2, 3, 2), seed=0).predict([[0.5, 1.0]])
for name in ("MLPClassifier", "MLPRegressor"):
    try:
        getattr(fastbp, name)
    except ImportError as error:
        print(error)
"""
    assert run_python(code).splitlines() == ["fastbp's estimators need scikit-learn: pip install 'fastbp[sklearn]'"] * 2


def test_scikit_learn_is_imported_when_it_is_needed() -> None:
    code = """
import sys
import fastbp
print("sklearn" in sys.modules)
fastbp.MLPClassifier()
print("sklearn" in sys.modules)
"""
    assert run_python(code).split() == ["False", "True"]


def test_accuracy_of_digits() -> None:
    rows, labels = fastbp.datasets.load_digits()
    rows = np.asarray(rows, np.float32) / 16
    fitted = MLPClassifier((64,), random_state=0, max_iter=40, learning_rate_init=0.005).fit(rows[:1400], labels[:1400])
    assert accuracy_score(labels[1400:], fitted.predict(rows[1400:])) > 0.9
