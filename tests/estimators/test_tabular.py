"""`TabularClassifier` and `TabularRegressor`: tables as they are."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import d2_pinball_score, mean_pinball_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import fastbp
from fastbp import TabularClassifier, TabularRegressor
from fastbp.tables import TableModel
from fastbp.tables.reading import columns_of
from support.comparisons import assert_same_bits

HELD_OUT = "rows are divided into parts at random, each of which is held out from some networks"
KINDS = [TabularClassifier, TabularRegressor]


def people(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Return a table with all kinds of columns, and what can be learned from it in `income`."""
    rng = np.random.default_rng(seed)
    age, town = rng.uniform(18, 90, rows), rng.choice(["Rome", "Oslo", "Lima"], rows)
    income = age * np.where(town == "Oslo", 2.0, 1.0) + rng.standard_normal(rows)
    frame = pd.DataFrame({
        "age": age, "town": town, "married": rng.random(rows) < 0.5, "children": rng.integers(0, 4, rows),
        "size": pd.Categorical(rng.choice([36, 38, 40], rows)), "score": pd.array(rng.integers(0, 9, rows), "Int64"),
        "income": income,
    })  # fmt: skip
    frame.loc[::9, "age"] = np.nan
    frame.loc[::11, "town"] = None
    frame.loc[::13, "score"] = pd.NA
    return frame


FRAME = people()
X, NUMBERS = FRAME.drop(columns="income"), FRAME["income"].to_numpy()
CLASSES = np.where(np.median(NUMBERS) < NUMBERS, "rich", "poor")


def made(kind: Any, **options: Any) -> Any:
    return kind(**{"n_networks": 2, "max_iter": 5, "random_state": 0, **options})


def targets_of(kind: Any) -> Any:
    return CLASSES if kind is TabularClassifier else NUMBERS


def answers(model: Any, X: Any) -> Any:
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")  # the checks' own
def test_scikit_learns_checks(kind: Any) -> None:
    equivalence = "check_sample_weight_equivalence_on_dense_data"
    estimator = kind(n_networks=2, max_iter=30)
    results = check_estimator(estimator, on_skip=None, expected_failed_checks={equivalence: HELD_OUT})
    expected = {result["check_name"] for result in results if result["expected_to_fail"]}
    assert expected == {equivalence}


def test_a_table_is_learned_as_it_is() -> None:
    new = people(200, seed=1)
    classifier = TabularClassifier(random_state=0).fit(X, CLASSES)
    classes = np.where(np.median(NUMBERS) < new["income"], "rich", "poor")
    assert classifier.score(new.drop(columns="income"), classes) > 0.9
    assert TabularRegressor(random_state=0).fit(X, NUMBERS).score(new.drop(columns="income"), new["income"]) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits(kind: Any) -> None:
    one = made(kind).fit(X, targets_of(kind))
    assert_same_bits(answers(one, X), answers(made(kind, n_threads=1).fit(X, targets_of(kind)), X))
    assert_same_bits(answers(one, X), np.concatenate([answers(one, X.iloc[[row]]) for row in range(len(X))]))
    assert not np.array_equal(answers(one, X), answers(made(kind, random_state=1).fit(X, targets_of(kind)), X))


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_files(kind: Any, tmp_path: Any) -> None:
    one = made(kind).fit(X, targets_of(kind))
    expected = answers(one, X)
    assert b"fastbp.tables" not in pickle.dumps(one) and b"estimators" not in pickle.dumps(one)  # modules may move
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert_same_bits(answers(again, X), expected)
    assert not hasattr(clone(one), "model_")
    one.model_.save(tmp_path / "model.npz")
    assert_same_bits(
        TableModel.load(tmp_path / "model.npz").outputs(columns_of("X", X)).reshape(expected.shape), expected
    )


def test_what_training_has_not_seen() -> None:
    one = made(TabularClassifier).fit(X, CLASSES)
    unseen, missing = X.copy(), X.copy()
    unseen["town"], missing["town"] = "Atlantis", None
    assert_same_bits(answers(one, unseen), answers(one, missing))
    empty = X.copy()
    empty["age"] = np.nan
    assert np.isfinite(answers(one, empty)).all()
    infinite = X.copy()
    infinite.loc[:5, "age"] = [np.inf, -np.inf] * 3
    assert np.isfinite(answers(one, infinite)).all()
    with pytest.raises(ValueError, match="feature names should match"):
        one.predict(X.drop(columns="town"))
    with pytest.raises(ValueError, match="X: got 'old' in column 'age', expected numbers as in the fit"):
        one.predict(X.assign(age="old"))


@pytest.mark.parametrize("kind", KINDS)
def test_odd_tables(kind: Any) -> None:
    y = targets_of(kind)
    odd = X.assign(constant=1.0, empty=np.nan, name=[f"person {row}" for row in range(len(X))], nothing=None)
    odd.loc[3, "age"] = np.inf
    one = made(kind).fit(odd, y)
    assert np.isfinite(answers(one, odd)).all()
    odd["empty"], odd["nothing"] = "something", 3.0
    assert np.isfinite(answers(one, odd)).all()
    only = made(kind).fit(pd.DataFrame({"constant": np.ones(len(y))}), y)
    assert len(np.unique(answers(only, pd.DataFrame({"constant": [1.0, 2.0, 3.0]})), axis=0)) == 1


def test_one_row_a_class() -> None:
    one = made(TabularClassifier, max_iter=200).fit(X[:4], ["a", "b", "c", "d"])
    assert one.predict_proba(X[:4]).shape == (4, 4)
    with pytest.raises(ValueError, match="y: got one class, 'a', expected at least 2 classes"):
        made(TabularClassifier).fit(X[:4], ["a"] * 4)
    with pytest.raises(ValueError, match="n_samples=1, expected at least 2"):
        made(TabularClassifier).fit(X[:1], ["a"])


def test_ten_thousand_levels() -> None:
    rng = np.random.default_rng(0)
    number = rng.integers(10_000, size=30_000)
    effect = rng.standard_normal(10_000)
    table = pd.DataFrame({"shop": [f"shop {each}" for each in number], "x": rng.standard_normal(30_000)})
    y = effect[number] + table["x"].to_numpy()
    one = made(TabularRegressor, max_iter=8).fit(table[:25_000], y[:25_000])
    assert one.model_.encoder.embeddings
    assert one.score(table[25_000:], y[25_000:]) > 0.5  # x alone explains half


def test_weights_of_rows_and_classes() -> None:
    weights = np.where(CLASSES == "rich", 1.0, 50.0)
    plain, weighted = made(TabularClassifier).fit(X, CLASSES), made(TabularClassifier).fit(X, CLASSES, weights)
    assert (weighted.predict(X) == "poor").sum() > (plain.predict(X) == "poor").sum()
    by_class = made(TabularClassifier, class_weight={"rich": 1.0, "poor": 50.0}).fit(X, CLASSES)
    assert_same_bits(by_class.predict_proba(X), weighted.predict_proba(X))
    assert not np.array_equal(made(TabularRegressor).fit(X, NUMBERS, weights).predict(X),
                              made(TabularRegressor).fit(X, NUMBERS).predict(X))  # fmt: skip


def test_weights_of_classes_that_rows_lack() -> None:
    rare = np.where(np.arange(300) < 3, "rare", CLASSES)
    rows = rare != "rare"
    balanced = made(TabularClassifier, class_weight="balanced")
    balanced.fit(X, rare, X_val=X[rows], y_val=rare[rows])
    by_hand = {name: 300 / (3 * (rare == name).sum()) for name in ("poor", "rare", "rich")}
    again = made(TabularClassifier, class_weight=by_hand).fit(X, rare, X_val=X[rows], y_val=rare[rows])
    np.testing.assert_allclose(balanced.predict_proba(X), again.predict_proba(X), rtol=1e-4)
    weightless = balanced.fit(X, rare, rows * 1.0)
    assert np.isfinite(weightless.predict_proba(X)).all()
    with pytest.raises(ValueError, match="class_weight: got .* by which all rows weigh 0"):
        made(TabularClassifier, class_weight={"poor": 0, "rich": 0}).fit(X, CLASSES)


def test_bools_and_texts_that_are_numbers() -> None:
    frame = pd.DataFrame({"married": X["married"], "size": np.where(X["married"], "1.0", "2.50")})
    one = made(TabularClassifier).fit(frame, CLASSES)
    numbers = pd.DataFrame({"married": X["married"] * 1.0, "size": np.where(X["married"], 1.0, 2.5)})
    assert_same_bits(one.predict_proba(frame), one.predict_proba(numbers))
    assert not np.array_equal(one.predict_proba(numbers[:1]), one.predict_proba(numbers[:1] + 7))


def test_several_numbers_at_once() -> None:
    y = np.column_stack([NUMBERS, 1e6 - 1e3 * NUMBERS])
    one = made(TabularRegressor, max_iter=60).fit(X, y)
    assert one.predict(X).shape == y.shape and one.n_outputs_ == 2
    assert one.score(X, y) > 0.8


@pytest.mark.parametrize("constant", [7.0, -1e-9, 1e300, 0.0, 5e-320])
def test_a_number_that_does_not_vary_is_predicted(constant: float) -> None:
    rounding = 10 * len(X) * np.finfo(np.float64).eps * abs(constant) + 10 * np.finfo(np.float64).tiny
    np.testing.assert_allclose(
        made(TabularRegressor).fit(X, np.full(len(X), constant)).predict(X), constant, 0, rounding
    )


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
def test_numbers_of_any_size(unit: float) -> None:
    found, scaled = made(TabularRegressor).fit(X, NUMBERS), made(TabularRegressor).fit(X, NUMBERS * unit)
    np.testing.assert_allclose(scaled.predict(X) / unit, found.predict(X), rtol=1e-3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array(["a", None] * 150, object), "y: got a missing value in row 1"),
        (pd.Series(["a", None, pd.NA] * 100, dtype=object), "y: got a missing value in row 1"),
        (np.array([1.0, np.nan] * 150), "Input y contains NaN"),
        (np.arange(300) / 7, "Unknown label type: continuous"),
    ],
)
def test_classes_that_are_none(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(TabularClassifier).fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(NUMBERS > 50, np.nan, NUMBERS), "Input y contains NaN"),
        (np.where(NUMBERS > 50, 1.7e308, -1.7e308), "y: got numbers up to 1.7e"),
        (["a"] * 300, "could not convert"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")  # of scikit-learn's sum of the second
def test_numbers_that_are_none(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(TabularRegressor).fit(X, y)


@pytest.mark.parametrize("outputs", [1, 2])
def test_quantiles(outputs: int) -> None:
    y = np.column_stack([NUMBERS, -NUMBERS])[:, :outputs]
    y = y[:, 0] if outputs == 1 else y
    one = made(TabularRegressor, quantiles=[0.9, 0.1, 0.5], max_iter=40).fit(X, y)
    predicted = one.predict(X)
    assert predicted.shape == (len(X), *y.shape[1:], 3)
    assert (np.diff(predicted, axis=-1) >= 0).all()
    below = (y[..., np.newaxis] < predicted).mean(axis=0).reshape(-1, 3)
    assert (below[:, 0] < 0.3).all() and (below[:, 2] > 0.7).all()
    each = [d2_pinball_score(y, predicted[..., i], alpha=level) for i, level in enumerate((0.1, 0.5, 0.9))]
    assert one.score(X, y) == pytest.approx(np.mean(each))
    unsorted = one.model_.outputs(columns_of("X", X)).reshape(predicted.shape)
    losses = [
        sum(mean_pinball_loss(y, found[..., i], alpha=level) for i, level in enumerate((0.1, 0.5, 0.9)))
        for found in (predicted, unsorted)
    ]
    assert losses[0] <= losses[1] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantiles": [0.1, 1.0]}, "quantiles: got"),
        ({"quantiles": []}, "quantiles: got"),
        ({"quantiles": [[0.1, 0.9]]}, "quantiles: got"),
        ({"quantiles": ["low"]}, "quantiles: got"),
        ({"quantiles": [0.5, 0.5]}, "quantiles: got"),
        ({"quantiles": [0.5], "loss": "huber"}, "loss: got 'huber' beside quantiles"),
        ({"quantiles": [0.5], "scoring": "r2"}, "scoring: got it beside quantiles"),
    ],
)
def test_quantiles_that_make_no_sense(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(TabularRegressor, **options).fit(X, NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_to_validate_by(kind: Any) -> None:
    y = targets_of(kind)
    one = made(kind).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:], sample_weight_val=np.ones(100))
    assert_same_bits(answers(one, X), answers(made(kind).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:]), X))
    assert not np.array_equal(answers(one, X), answers(made(kind).fit(X[:200], y[:200]), X))
    with pytest.raises(ValueError, match="X_val, y_val: got only one of them"):
        made(kind).fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="sample_weight_val: got weights, but no rows"):
        made(kind).fit(X, y, sample_weight_val=np.ones(3))


def test_an_unknown_class_to_validate_by() -> None:
    with pytest.raises(ValueError, match="y_val: got the class 'zzz', expected only classes of y"):
        made(TabularClassifier).fit(X, CLASSES, X_val=X, y_val=np.full(len(X), "zzz"))


def test_scoring() -> None:
    seen = []

    def area(estimator: Any, X: Any, y: Any) -> float:
        found = float(roc_auc_score(y, estimator.predict_proba(X)[:, 1]))
        seen.append((len(X), found))
        return found

    by_name = made(TabularClassifier, scoring="roc_auc").fit(X, CLASSES)
    assert_same_bits(by_name.predict_proba(X), made(TabularClassifier, scoring=area).fit(X, CLASSES).predict_proba(X))
    assert {rows for rows, _ in seen[: 2 * 2 * 5]} == {60}  # one network's each; then two networks' together
    assert {rows for rows, _ in seen[2 * 2 * 5 :]} == {120}
    made(TabularClassifier, scoring="neg_log_loss", class_weight="balanced").fit(X, CLASSES)  # no warning of sums
    rare = np.where(np.arange(300) < 1, "rare", CLASSES)
    with pytest.raises(ValueError, match="scoring: got 'neg_log_loss', which cannot score 60 held-out rows"):
        made(TabularClassifier, scoring="neg_log_loss").fit(X, rare)
    errors = made(TabularRegressor, scoring="neg_mean_absolute_error").fit(X, NUMBERS)
    assert errors.predict(X).shape == NUMBERS.shape


def test_a_time_budget_that_can_be_repeated() -> None:
    made(TabularRegressor).fit(X, NUMBERS)  # compiled
    one = made(TabularRegressor, max_iter=100_000, time_budget=1.0).fit(X, NUMBERS)
    assert one.stopped_by_ == "time_budget" and 1 <= one.n_iter_ < 100_000
    again = made(TabularRegressor, max_iter=one.n_iter_).fit(X, NUMBERS)
    assert again.stopped_by_ == "max_iter"
    assert_same_bits(again.predict(X), one.predict(X))


def test_search_and_cross_validation() -> None:
    found = GridSearchCV(made(TabularClassifier), {"n_networks": [1, 2]}, cv=2).fit(X, CLASSES)
    assert found.best_estimator_.classes_.tolist() == ["poor", "rich"]


@pytest.mark.parametrize("kind", KINDS)
def test_scikit_learns_callbacks(kind: Any) -> None:
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    monitor = callback.ScoringMonitor(scoring="accuracy" if kind is TabularClassifier else "r2")
    y = targets_of(kind)
    one = made(kind).set_callbacks(monitor).fit(X, y)
    assert_same_bits(answers(one, X), answers(made(kind).fit(X, y), X))
    assert len(monitor.get_logs().data) >= 2 * 2 * 5


def test_a_callback_ends_the_fit() -> None:
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")

    class Ends:
        def setup(self, estimator: Any, context: Any) -> None: ...

        def teardown(self, estimator: Any, context: Any) -> None: ...

        def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

        def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> bool:
            return context.task_name == "epoch"

    one = made(TabularClassifier, max_iter=50).set_callbacks(Ends()).fit(X, CLASSES)
    assert one.stopped_by_ == "callback"


def test_the_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="n_networks"):
        made(TabularClassifier, n_networks=0).fit(X, CLASSES)
    with pytest.raises(ValueError, match="time_budget"):
        made(TabularClassifier, time_budget=0).fit(X, CLASSES)
    with pytest.raises(ValueError, match="requires y to be passed"):
        made(TabularClassifier).fit(X, None)
    assert "TabularClassifier" in dir(fastbp)
