"""Estimators where they live: scikit-learn's own checks, pipelines, searches, copies, files, frames."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_regression
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from fastbp import MLPClassifier, MLPRegressor
from support.comparisons import assert_same_bits
from support.lanes import in_lanes

X, Y = make_classification(200, 6, random_state=0)
FRAME = pd.DataFrame(X, columns=[f"feature {i}" for i in range(6)])

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (10,), "max_iter": 20, "random_state": 0, "learning_rate_init": 0.01,
                            **options})  # fmt: skip


@pytest.mark.parametrize(
    "estimator",
    [MLPClassifier(), pytest.param(MLPRegressor(), marks=pytest.mark.slow)],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore")  # that of a single row has no R2, and the like: the checks' own
def test_scikit_learns_checks(estimator: Any) -> None:
    results = check_estimator(estimator, on_skip=None)  # raises at the first that fails
    assert {result["status"] for result in results} <= {"passed", "skipped"}
    assert not any(result["expected_to_fail"] for result in results)
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    of_others = {"check_array_api_input", "check_classifiers_multilabel_output_format_decision_function"}
    assert skipped <= of_others


def test_pipeline() -> None:
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, Y)
    alone = classifier().fit(StandardScaler().fit_transform(X), Y)
    assert_same_bits(pipeline.predict_proba(X), alone.predict_proba(StandardScaler().fit_transform(X)))
    assert pipeline.score(X, Y) > 0.8


@pytest.mark.slow
def test_grid_search_in_processes() -> None:
    grid = {"alpha": [1e-4, 1e4], "dropout": [0.0, 0.25]}
    searches = [GridSearchCV(classifier(), grid, cv=2, n_jobs=jobs).fit(X, Y) for jobs in (2, None)]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    assert_same_bits(scores[0], scores[1])
    assert searches[0].best_params_["alpha"] == 1e-4
    assert_same_bits(searches[0].predict_proba(X), searches[1].predict_proba(X))


def test_cross_val_score() -> None:
    assert cross_val_score(classifier(), X, Y, cv=3).mean() > 0.8
    rows, targets = make_regression(200, 4, random_state=0)
    regressor = MLPRegressor(solver="lbfgs", random_state=0)
    assert cross_val_score(regressor, rows, targets / 100, cv=3).min() > 0.9


def test_clone() -> None:
    options = {"class_weight": {0: 1.0, 1: 2.0}, "dropout": 0.1, "scoring": "roc_auc_ovr", "callbacks": [print],
               "max_grad_norm": 1.0, "time_budget": 60.0, "n_threads": 1, "dtype": "float32"}  # fmt: skip
    one = classifier(**options)
    twin = clone(one.set_params(callbacks=[]).fit(X, Y))
    assert not hasattr(twin, "coefs_")
    for name, value in one.get_params().items():
        assert twin.get_params()[name] == value
    assert_same_bits(twin.fit(X, Y).predict_proba(X), one.predict_proba(X))


COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "oldest pickle": lambda value: pickle.loads(pickle.dumps(value, protocol=0)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_copies_go_on_as_the_original(way: str, solver: str) -> None:
    one = classifier(solver=solver, dropout=0.25).fit(FRAME, Y)
    twin = COPIES[way](one)
    assert_same_bits(twin.predict_proba(FRAME), one.predict_proba(FRAME))
    np.testing.assert_array_equal(twin.feature_names_in_, FRAME.columns)
    assert np.shares_memory(twin.coefs_[0], twin.network_.parameters)
    assert not np.shares_memory(twin.coefs_[0], one.coefs_[0])
    if solver != "lbfgs":
        before = one.predict_proba(FRAME)
        twin.partial_fit(FRAME, Y)
        assert_same_bits(one.predict_proba(FRAME), before)
        assert_same_bits(twin.predict_proba(FRAME), one.partial_fit(FRAME, Y).predict_proba(FRAME))


def test_a_pickle_holds_the_parameters_once() -> None:
    one = classifier(solver="sgd", momentum=0, hidden_layer_sizes=(1000,), max_iter=1, early_stopping=True).fit(X, Y)
    bare = len(pickle.dumps(one)) - one.network_.parameters.nbytes
    assert 0 < bare < one.network_.parameters.nbytes / 2


def test_joblib_files(tmp_path: Path) -> None:
    one = classifier(hidden_layer_sizes=(30,)).fit(X, Y)
    joblib.dump(one, tmp_path / "one.joblib")
    expected = one.predict_proba(X)
    for mode in (None, "r", "c"):  # arrays mapped from the file, which cannot be written to in the second
        twin = joblib.load(tmp_path / "one.joblib", mmap_mode=mode)
        assert_same_bits(twin.predict_proba(X), expected)
        assert_same_bits(twin.partial_fit(X, Y).predict_proba(X), copy.deepcopy(one).partial_fit(X, Y).predict_proba(X))
    assert_same_bits(joblib.load(tmp_path / "one.joblib").predict_proba(X), expected)


def test_frames_and_their_names() -> None:
    one = classifier().fit(FRAME[50:], Y[50:], X_val=FRAME[:50], y_val=Y[:50])
    np.testing.assert_array_equal(one.feature_names_in_, FRAME.columns)
    assert_same_bits(one.predict_proba(FRAME), classifier().fit(X[50:], Y[50:]).predict_proba(X))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        one.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        one.predict(FRAME.rename(columns={"feature 0": "another"}))
    with pytest.raises(ValueError, match="feature names should match"):
        one.partial_fit(FRAME[FRAME.columns[::-1]], Y)


def test_targets_in_frames() -> None:
    words = pd.Series(np.array(["no", "yes"])[Y], name="answer").astype("category")
    assert set(classifier().fit(FRAME, words).predict(FRAME)) == {"no", "yes"}
    targets = pd.DataFrame({"one": X[:, 0], "two": X[:, 1]})
    assert MLPRegressor(solver="lbfgs", max_iter=500, random_state=0).fit(FRAME, targets).score(FRAME, targets) > 0.99


def test_set_output() -> None:
    """A transformer's frames arrive with their names."""
    pipeline = make_pipeline(StandardScaler(), classifier()).set_output(transform="pandas").fit(FRAME, Y)
    np.testing.assert_array_equal(pipeline[-1].feature_names_in_, FRAME.columns)
    plain = make_pipeline(StandardScaler(), classifier()).fit(FRAME, Y)
    assert not hasattr(plain[-1], "feature_names_in_")
    assert_same_bits(pipeline.predict_proba(FRAME), plain.predict_proba(FRAME))


def test_calibration() -> None:
    calibrated = CalibratedClassifierCV(classifier(dtype="float32"), cv=2).fit(X, Y)
    probabilities = calibrated.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert calibrated.score(X, Y) > 0.8


@pytest.mark.parametrize("jobs", in_lanes([None, 2], fast=[None]))
def test_permutation_importance(jobs: int | None) -> None:
    """In processes joblib hands large arrays over as read-only maps of a file: the parameters are 1.7 MB."""
    rows = np.random.default_rng(0).normal(size=(400, 50))
    rows[:, 3] *= 4
    fitted = MLPClassifier((4000,), max_iter=10, random_state=0).fit(rows, rows[:, 3] > 0)
    importances = permutation_importance(fitted, rows, rows[:, 3] > 0, n_repeats=2, random_state=0, n_jobs=jobs)
    assert np.argmax(importances.importances_mean) == 3
