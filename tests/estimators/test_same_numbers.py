"""Estimators against scikit-learn's own: the same numbers from the same `random_state`, the same words."""

from __future__ import annotations

import functools
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

import fastbp
from support.lanes import pairwise

TOLERANCE = 1e-8  # relative to an array's largest entry: what is promised after 20 epochs
N = 230  # not a multiple of the minibatch: the last one is short

# scikit-learn's regression does not converge in so few epochs, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KINDS = ["binary", "multiclass", "multilabel", "regression"]
ACTIVATIONS = ["relu", "tanh", "logistic", "identity"]
SOLVERS: dict[str, dict[str, Any]] = {
    "plain": {"solver": "sgd", "momentum": 0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05, "power_t": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2},
    "adam": {"solver": "adam"},
}


@functools.cache  # scikit-learn takes a second to make some of it
def data(kind: str) -> tuple[Any, Any]:
    if kind == "binary":
        X, y = make_classification(N, 8, random_state=1)
    elif kind == "multiclass":
        X, y = make_classification(N, 8, n_classes=3, n_informative=5, random_state=1)
    elif kind == "multilabel":
        X, y = make_multilabel_classification(N, 8, n_classes=4, random_state=1)
    else:
        X, y = make_regression(N, 8, random_state=1)
        y = np.exp(np.clip(y / 200, -2, 2)) if kind == "poisson" else y / 100
    return X / X.std(axis=0), y


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """scikit-learn's estimator and ours, not yet fitted."""
    options = {"hidden_layer_sizes": (12, 7), "alpha": 0.01, "batch_size": 64, "max_iter": 20, "random_state": 3,
               "learning_rate_init": 0.01, **options}  # fmt: skip
    name = "MLPRegressor" if kind in ("regression", "poisson") else "MLPClassifier"
    if kind == "poisson":
        options["loss"] = "poisson"
    return getattr(sklearn.neural_network, name)(**options), getattr(fastbp, name)(**options)


def assert_close(ours: Any, theirs: Any, tolerance: float = TOLERANCE) -> None:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    error, largest = np.abs(ours - theirs).max(), np.abs(theirs).max()
    assert error <= tolerance * largest, f"{error / largest:.2g} of the largest"


def assert_same(theirs: Any, ours: Any) -> None:
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert_close(mine, other)
    assert_close(ours.loss_curve_, theirs.loss_curve_)
    assert_close(ours.loss_, theirs.loss_)
    assert (ours.best_loss_ is None) == (theirs.best_loss_ is None)
    if theirs.best_loss_ is not None:
        assert_close(ours.best_loss_, theirs.best_loss_)
    if theirs.validation_scores_ is None:
        assert ours.validation_scores_ is None and ours.best_validation_score_ is None
    else:
        assert_close(ours.validation_scores_, theirs.validation_scores_)
        assert_close(ours.best_validation_score_, theirs.best_validation_score_)


def assert_same_answers(theirs: Any, ours: Any, X: Any) -> None:
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        assert_close(ours.predict_proba(X), theirs.predict_proba(X))
        assert_close(ours.predict_log_proba(X), theirs.predict_log_proba(X))
    else:
        assert_close(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("kind, activation, solver", pairwise(KINDS, ACTIVATIONS, SOLVERS))
def test_parameters_and_losses_are_scikit_learns(kind: str, activation: str, solver: str) -> None:
    X, y = data(kind)
    theirs, ours = pair(kind, activation=activation, **SOLVERS[solver])
    assert_same(theirs.fit(X, y), ours.fit(X, y))
    assert_same_answers(theirs, ours, X)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=TOLERANCE)


@pytest.mark.parametrize("solver", ["nesterov", "adam"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression", "poisson"])
def test_with_sample_weights(kind: str, solver: str) -> None:
    X, y = data(kind)
    weights = np.random.default_rng(0).random(N)
    theirs, ours = pair(kind, activation="tanh", **SOLVERS[solver])
    assert_same(theirs.fit(X, y, weights), ours.fit(X, y, weights))
    assert_same_answers(theirs, ours, X)


@pytest.mark.parametrize("weighted, kind, solver", pairwise([False, True], KINDS, ["nesterov", "adaptive", "adam"]))
def test_early_stopping(kind: str, solver: str, weighted: bool) -> None:
    X, y = data(kind)
    weights = np.random.default_rng(0).random(N) if weighted else None
    theirs, ours = pair(kind, **{**SOLVERS[solver], "early_stopping": True, "n_iter_no_change": 4, "max_iter": 50})
    assert_same(theirs.fit(X, y, weights), ours.fit(X, y, weights))
    assert_same_answers(theirs, ours, X)


@pytest.mark.parametrize("options", [
    {"shuffle": False}, {"batch_size": "auto"}, {"batch_size": N}, {"hidden_layer_sizes": ()}, {"max_iter": 1},
    {"hidden_layer_sizes": 9}, {"alpha": 0}, {"momentum": 1.0, "learning_rate_init": 1e-4}, {"beta_1": 0, "beta_2": 0},
    {"epsilon": 0.1}, {"random_state": "generator"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("solver", ["nesterov", "adam"])
def test_other_options(options: dict[str, Any], solver: str) -> None:
    X, y = data("multiclass")
    theirs, ours = pair("multiclass", activation="tanh", **{**SOLVERS[solver], **options})
    if "random_state" in options:  # which goes on where it is, and is not drawn from anew
        theirs.random_state, ours.random_state = np.random.RandomState(5), np.random.RandomState(5)
    assert_same(theirs.fit(X, y), ours.fit(X, y))
    assert_same_answers(theirs, ours, X)


@pytest.mark.parametrize("solver", ["plain", "invscaling", "adaptive", "adam"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_partial_fit(kind: str, solver: str) -> None:
    X, y = data(kind)
    theirs, ours = pair(kind, **SOLVERS[solver])
    first = {} if kind == "regression" else {"classes": np.unique(y)}
    for step in range(8):
        part = slice(step * 20, step * 20 + 70)
        for estimator in (theirs, ours):
            estimator.partial_fit(X[part], y[part], **(first if step == 0 else {}))
    assert_same(theirs, ours)
    assert_same_answers(theirs, ours, X)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start(early_stopping: bool) -> None:
    """With early stopping scikit-learn trains on in the very arrays that it keeps as the best: once is compared."""
    X, y = data("binary")
    theirs, ours = pair("binary", warm_start=True, early_stopping=early_stopping)
    for _ in range(1 if early_stopping else 3):
        assert_same(theirs.fit(X, y), ours.fit(X, y))


def test_sparse_rows() -> None:
    X, y = data("multiclass")
    X[np.abs(X) < 0.5] = 0
    for form in (scipy.sparse.csr_matrix, scipy.sparse.csc_array):
        theirs, ours = pair("multiclass", activation="tanh")
        assert_same(theirs.fit(form(X), y), ours.fit(form(X), y))
        assert_same_answers(theirs, ours, form(X))


def test_labels_that_are_words() -> None:
    X, y = data("multiclass")
    words = np.array(["one", "three", "two"])[y]
    theirs, ours = pair("multiclass", activation="tanh")
    assert_same(theirs.fit(X, words), ours.fit(X, words))
    assert_same_answers(theirs, ours, X)


WHOLE: dict[str, Any] = {  # labels that are whole numbers
    "three": np.arange(90) % 3,
    "two, negative": np.where(np.arange(90) % 3 == 0, -7, 5).astype(np.int8),
    "unsigned": (np.arange(90) % 5 + 250).astype(np.uint8),
    "other bytes": (np.arange(90) % 4).astype(">i4"),
    "one": np.zeros(90, np.int64),
    "more than half of the rows": np.arange(90) // 2 * 3 + (np.arange(90) % 9 == 0),
    "a column": np.arange(90)[:, np.newaxis] % 3,
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed", "ignore:The number of unique classes")
@pytest.mark.parametrize("labels", WHOLE)
def test_labels_that_are_whole_numbers(labels: str) -> None:
    y = WHOLE[labels]
    X = np.random.default_rng(3).normal(size=(90, 4)) + y.reshape(-1, 1) % 7
    theirs, ours = pair("multiclass", max_iter=3, warm_start=True)
    for rows in (slice(None), slice(None, None, -1)):
        assert_same(theirs.fit(X[rows], y[rows]), ours.fit(X[rows], y[rows]))
        assert_same_answers(theirs, ours, X)
        assert ours.classes_.dtype == theirs.classes_.dtype
        found, expected = (dict(vars(estimator._label_binarizer)) for estimator in (ours, theirs))
        np.testing.assert_array_equal(found.pop("classes_"), expected.pop("classes_"))
        assert found == expected
    other = np.where(y == y[0], y[-1] + 1, y)
    assert said(ours, "fit", X, other) == said(theirs, "fit", X, other)
    assert said(ours, "fit", X * np.nan, y) == said(theirs, "fit", X * np.nan, y)
    assert said(ours, "fit", X[1:], y) == said(theirs, "fit", X[1:], y)


# ---- lbfgs ----


@pytest.mark.parametrize("kind, activation", pairwise([*KINDS, "poisson"], ACTIVATIONS))
def test_lbfgs_reaches_the_same_loss(kind: str, activation: str) -> None:
    """With a penalty that leaves one minimum: without, roundings decide in which valley two hundred steps end. With
    ReLU they decide at which kink the line search gives up, so that only the first steps can be compared."""
    X, y = data(kind)
    weights = np.random.default_rng(0).random(N)
    steps = 15 if activation == "relu" else 500
    theirs, ours = pair(kind, activation=activation, solver="lbfgs", max_iter=steps, alpha=20.0, tol=1e-7)
    theirs.fit(X, y, weights)
    ours.fit(X, y, weights)
    assert activation == "relu" or theirs.n_iter_ < steps
    assert_close(ours.loss_, theirs.loss_, 1e-6)
    assert not hasattr(ours, "loss_curve_")


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression", "poisson"])
def test_lbfgs_takes_the_same_steps(kind: str) -> None:
    """The first of them, before roundings have grown."""
    X, y = data(kind)
    theirs, ours = pair(kind, activation="tanh", solver="lbfgs", max_iter=10)
    theirs.fit(X, y)
    ours.fit(X, y)
    assert ours.n_iter_ == theirs.n_iter_
    assert_close(ours.loss_, theirs.loss_)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert_close(mine, other, 1e-6)


# ---- where scikit-learn is wrong ----


@pytest.mark.parametrize("targets", [1, 3])
def test_the_gradient_of_several_targets_is_that_of_the_loss(targets: int) -> None:
    """scikit-learn's is as many times as large as there are targets, its issue 8349."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 4)), rng.normal(size=(50, targets))
    draws, bound = np.random.RandomState(0), np.sqrt(6 / (4 + targets))
    W, b = draws.uniform(-bound, bound, (4, targets)), draws.uniform(-bound, bound, targets)
    expected = X.T @ (X @ W + b - y) / (50 * targets)
    found = []
    for estimator in pair("regression", hidden_layer_sizes=(), solver="sgd", momentum=0, alpha=0, max_iter=1,
                          learning_rate_init=1.0, random_state=0):  # fmt: skip
        estimator.set_params(batch_size=50).fit(X, y if targets > 1 else y[:, 0])
        found.append(W - estimator.coefs_[0])
    theirs, ours = found
    assert_close(ours, expected)
    assert_close(theirs, targets * expected)


# ---- words ----


def said(estimator: Any, method: str, *arguments: Any, **options: Any) -> tuple[Any, list[Any]]:
    """The error of a call, and its warnings: types and texts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            getattr(estimator, method)(*arguments, **options)
        except Exception as error:
            told = type(error), str(error)
        else:
            told = None
    return told, [(warning.category, str(warning.message)) for warning in caught]


X_GOOD, Y_GOOD = make_classification(60, 5, random_state=0)
REFUSED: dict[str, tuple[dict[str, Any], tuple[Any, Any]]] = {  # options, X and y
    "not a number": ({}, (np.where(X_GOOD > 2, np.nan, X_GOOD), Y_GOOD)),
    "lengths": ({}, (X_GOOD, Y_GOOD[:-1])),
    "one dimension": ({}, (X_GOOD[:, 0], Y_GOOD)),
    "no rows": ({}, (X_GOOD[:0], Y_GOOD[:0])),
    "unknown type": ({}, (X_GOOD, Y_GOOD + 0.5)),
    "solver": ({"solver": "newton"}, (X_GOOD, Y_GOOD)),
    "alpha": ({"alpha": -1}, (X_GOOD, Y_GOOD)),
    "max_iter": ({"max_iter": 0}, (X_GOOD, Y_GOOD)),
    "hidden_layer_sizes": ({"hidden_layer_sizes": (5, -1)}, (X_GOOD, Y_GOOD)),
    "one held out": ({"early_stopping": True, "validation_fraction": 0.01}, (X_GOOD, Y_GOOD)),
    "diverges": ({"solver": "sgd", "learning_rate_init": 1e10, "activation": "identity"}, (1e3 * X_GOOD, Y_GOOD)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_errors_are_scikit_learns(case: str) -> None:
    options, arguments = REFUSED[case]
    errors = []
    for estimator in pair("binary", **options):
        error, _ = said(estimator, "fit", *arguments)
        assert error is not None
        errors.append(error)
    assert errors[0] == errors[1]


def test_regressions_errors_are_scikit_learns() -> None:
    gap = np.where(Y_GOOD, np.nan, 0)
    for options, y in (({"early_stopping": True, "validation_fraction": 0.01}, Y_GOOD), ({}, gap)):
        theirs, ours = pair("regression", **options)
        expected, _ = said(theirs, "fit", X_GOOD, y)
        assert expected is not None
        assert said(ours, "fit", X_GOOD, y)[0] == expected


@pytest.mark.parametrize("options", [
    {"max_iter": 3}, {"batch_size": 100}, {"batch_size": 100, "max_iter": 2, "early_stopping": True},
    {"solver": "lbfgs", "max_iter": 2}, {"tol": 10.0},
], ids=str)  # fmt: skip
def test_warnings_are_scikit_learns(options: dict[str, Any]) -> None:
    theirs, ours = pair("binary", **options)
    expected = said(theirs, "fit", X_GOOD, Y_GOOD)
    assert said(ours, "fit", X_GOOD, Y_GOOD) == expected
    assert expected[1] or "tol" in options


def test_what_partial_fit_refuses() -> None:
    other = np.where(Y_GOOD == 1, 7, 0)
    for options, calls in {
        (("early_stopping", True),): [((X_GOOD, Y_GOOD), {"classes": [0, 1]})],
        (("solver", "lbfgs"),): [((X_GOOD, Y_GOOD), {"classes": [0, 1]})],
        (): [((X_GOOD, Y_GOOD), {}), ((X_GOOD, Y_GOOD), {"classes": [0, 1]}), ((X_GOOD, other), {}),
             ((X_GOOD, Y_GOOD), {"classes": [0, 2]}), ((X_GOOD[:, :3], Y_GOOD), {})],
    }.items():  # fmt: skip
        theirs, ours = pair("binary", **dict(options))
        for arguments, named in calls:
            expected = said(theirs, "partial_fit", *arguments, **named)
            assert said(ours, "partial_fit", *arguments, **named) == expected


def test_predictions_are_refused_in_the_same_words() -> None:
    theirs, ours = pair("binary", batch_size="auto")
    assert said(ours, "predict", X_GOOD) == said(theirs, "predict", X_GOOD)
    theirs.fit(X_GOOD, Y_GOOD)
    ours.fit(X_GOOD, Y_GOOD)
    for wrong, method in itertools.product((X_GOOD[:, :2], X_GOOD[0], X_GOOD * np.inf), ("predict", "predict_proba")):
        expected = said(theirs, method, wrong)
        assert expected[0] is not None
        assert said(ours, method, wrong) == expected


@pytest.mark.parametrize("options", [
    {}, {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 60}, {"tol": 10.0, "n_iter_no_change": 2},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1, "max_iter": 60},
], ids=str)  # fmt: skip
def test_what_verbose_prints(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    X, y = data("binary")
    theirs, ours = pair("binary", activation="tanh", verbose=True, **options)
    theirs.fit(X, y)
    expected = capsys.readouterr().out
    ours.fit(X, y)
    assert capsys.readouterr().out == expected
    assert "Iteration 2, loss = " in expected


def test_a_convergence_warning_is_one() -> None:
    X, y = data("binary")
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        pair("binary", max_iter=2)[1].fit(X, y)
