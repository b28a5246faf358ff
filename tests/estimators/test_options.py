"""Options of the estimators that scikit-learn's do not have."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import fastbp
from fastbp import MLPRegressor
from fastbp.training import loop
from support.comparisons import assert_same_bits
from support.estimator_cases import EPS, TARGETS, X, Y, arrays, assert_same_arrays, classifier, regressor

FRAME = pd.DataFrame(X, columns=[f"feature {i}" for i in range(6)])

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def differ(one: Any, other: Any) -> bool:
    return any((mine != theirs).any() for mine, theirs in zip(arrays(one), arrays(other), strict=True))


# ---- activations ----


@pytest.mark.parametrize("name", ["relu", "tanh", "identity", "gelu", "silu", "leaky_relu"])
def test_one_activation_a_layer(name: str) -> None:
    assert_same_arrays(classifier(activation=[name, name]).fit(X, Y), classifier(activation=name).fit(X, Y))


def test_logistic_layers_begin_smaller_one_by_one_too() -> None:
    def begun(activation: Any) -> list[Any]:
        return arrays(classifier(activation=activation, solver="sgd", learning_rate_init=1e-300, max_iter=1).fit(X, Y))

    alike, mixed, rectified = begun("logistic"), begun(("logistic", "relu")), begun("relu")
    for i, (small, both, large) in enumerate(zip(alike, mixed, rectified, strict=True)):
        np.testing.assert_allclose(both, small if i in (0, 3) else large, rtol=0, atol=4 * EPS)  # of bounds below 1
    np.testing.assert_allclose(begun(("relu", "logistic"))[2], alike[2], rtol=0, atol=4 * EPS)  # the last layer


def test_layers_with_activations_of_their_own() -> None:
    fitted = classifier(activation=("tanh", "logistic")).fit(X, Y)
    (W1, W2, W3), (b1, b2, b3) = fitted.coefs_, fitted.intercepts_
    logits = expit(np.tanh(X @ W1 + b1) @ W2 + b2) @ W3 + b3
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=200 * EPS)


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_activation_of_ones_own(solver: str, dtype: Any) -> None:
    own = fastbp.Activation("own_tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2)
    fitted = classifier(activation=own, solver=solver, dtype=dtype, max_iter=10).fit(X, Y)
    same = classifier(activation=[own, own], solver=solver, dtype=dtype, max_iter=10).fit(X, Y)
    assert_same_arrays(sklearn.base.clone(fitted).fit(X, Y), fitted)
    assert_same_arrays(same, fitted)
    (W1, W2, W3), (b1, b2, b3) = fitted.coefs_, fitted.intercepts_
    logits = np.tanh(np.tanh(X @ W1 + b1) @ W2 + b2) @ W3 + b3
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-4 if dtype else 200 * EPS)


@pytest.mark.parametrize("wrong", ["swish", ("relu",), ("relu", "swish"), 3])
def test_activations_that_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="activation"):
        classifier(activation=wrong).fit(X, Y)


# ---- weights of classes ----


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_class_weights_are_weights_of_rows(solver: str, early_stopping: bool) -> None:
    options = {"solver": solver, "early_stopping": early_stopping}
    of_classes = {0: 0.5, 1: 3.0, 2: 1.0}
    weights, rows = np.array([0.5, 3.0, 1.0])[Y], np.random.default_rng(0).random(len(Y))
    expected = classifier(**options).fit(X, Y, weights)
    assert_same_arrays(classifier(class_weight=of_classes, **options).fit(X, Y), expected)
    assert_same_arrays(classifier(class_weight=of_classes, **options).fit(X, Y, rows),
                       classifier(**options).fit(X, Y, weights * rows))  # fmt: skip
    assert differ(classifier(**options).fit(X, Y), expected)


def test_balanced_classes() -> None:
    words, rows = np.array(["a", "b", "c"])[Y][:100], X[:100]
    counts = {word: int((words == word).sum()) for word in "abc"}
    weights = np.array([100 / (3 * counts[word]) for word in words])
    assert_same_arrays(classifier(class_weight="balanced").fit(rows, words), classifier().fit(rows, words, weights))


def test_class_weights_of_several_labels() -> None:
    X, Y = make_multilabel_classification(80, 6, n_classes=2, random_state=0)
    weights = np.array([1.0, 2.0])[Y[:, 0]] * np.array([3.0, 1.0])[Y[:, 1]]
    weighted = classifier(class_weight=[{0: 1, 1: 2}, {0: 3, 1: 1}]).fit(X, Y)
    assert_same_arrays(weighted, classifier().fit(X, Y, weights))


def test_class_weights_in_parts() -> None:
    """Rows that lack one of the classes; and what "balanced" would mean of them."""
    few = Y < 2
    one, other = classifier(class_weight={1: 3.0, 2: 5.0}), classifier()
    one.partial_fit(X[few], Y[few], classes=[0, 1, 2])
    other.partial_fit(X[few], Y[few], classes=[0, 1, 2], sample_weight=np.array([1.0, 3.0, 5.0])[Y[few]])
    assert_same_arrays(one, other)
    with pytest.raises(ValueError, match='class_weight: got "balanced", expected a dict with partial_fit'):
        classifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


# ---- dropout, clipping, time ----


def test_dropout() -> None:
    one, same = classifier(dropout=0.5).fit(X, Y), classifier(dropout=0.5).fit(X, Y)
    assert_same_arrays(one, same)
    assert differ(one, classifier(dropout=0.5, random_state=1).fit(X, Y))
    assert differ(one, classifier().fit(X, Y))
    for proba in (one.predict_proba(X), one.predict_proba(X)):  # nothing is left out of a prediction
        assert_same_bits(proba, same.predict_proba(X))


def test_dropout_trains_a_sum_of_what_is_kept() -> None:
    """One hidden unit of the identity, half of the time left out: its gradient is 0, or twice as large."""
    steps = set()
    for seed in range(20):
        net = MLPRegressor("squared_error", (1,), "identity", solver="sgd", momentum=0, alpha=0, max_iter=1,
                           learning_rate_init=1e-3, dropout=0.5, random_state=seed)  # fmt: skip
        draws = np.random.RandomState(seed)
        begun = draws.uniform(-np.sqrt(3), np.sqrt(3), (1, 1)), draws.uniform(-np.sqrt(3), np.sqrt(3), 1)
        net.fit([[1.0]], [5.0])
        steps.add(bool(net.coefs_[0] != begun[0]))
    assert steps == {False, True}


def test_a_long_gradient_is_shortened() -> None:
    options = {"solver": "sgd", "momentum": 0, "max_iter": 1, "batch_size": 120, "learning_rate_init": 0.5}
    begun = classifier(**{**options, "learning_rate_init": 1e-300}).fit(X, Y)
    free, bound = classifier(**options).fit(X, Y), classifier(max_grad_norm=1e-3, **options).fit(X, Y)

    def step(fitted: Any) -> Any:
        return np.concatenate([(a - b).ravel() for a, b in zip(arrays(fitted), arrays(begun), strict=True)])

    assert np.linalg.norm(step(bound)) == pytest.approx(0.5e-3, rel=1e-9)  # steps of 1e-5 from weights of 1: 1e-11
    assert np.linalg.norm(step(free)) > 1e-2
    np.testing.assert_allclose(step(bound) / 0.5e-3, step(free) / np.linalg.norm(step(free)), atol=1e-9)


def test_a_time_budget_ends_the_fit() -> None:
    assert classifier(max_iter=10_000, tol=0, time_budget=1e-9).fit(X, Y).n_iter_ == 1


# ---- validation data and callbacks ----


def test_validation_data_are_scored_every_epoch() -> None:
    scores = []
    one = classifier(max_iter=8, learning_rate_init=0.3,
                     callbacks=[lambda fitted, _: scores.append(fitted.score(X[:40], Y[:40]))])  # fmt: skip
    one.fit(X[40:], Y[40:], X_val=X[:40], y_val=Y[:40])
    assert one.validation_scores_ == scores
    assert one.best_validation_score_ == max(scores) > scores[-1]
    assert one.best_loss_ == min(one.loss_curve_)
    other = classifier(max_iter=8, learning_rate_init=0.3).fit(X[40:], Y[40:])
    assert_same_arrays(one, other)  # no row set aside, no draw more


def test_validation_data_stop_early_and_the_best_is_restored() -> None:
    one = regressor(early_stopping=True, max_iter=500, tol=0, n_iter_no_change=3, learning_rate_init=0.05)
    one.fit(X[40:], TARGETS[40:, 0], X_val=X[:40], y_val=TARGETS[:40, 0])
    assert one.n_iter_ < 500
    assert one.t_ == one.n_iter_ * 80
    assert one.validation_scores_[-1] < max(one.validation_scores_) == one.best_validation_score_
    assert one.score(X[:40], TARGETS[:40, 0]) == one.best_validation_score_
    assert one.best_loss_ is None


def test_weights_of_rows_to_validate_by() -> None:
    weights = np.arange(40.0)
    one = classifier(max_iter=3).fit(X[40:], Y[40:], X_val=X[:40], y_val=Y[:40], sample_weight_val=weights)
    assert one.validation_scores_[-1] == one.score(X[:40], Y[:40], weights)


@pytest.mark.parametrize(("data", "said"), [
    ((X[:, :2], Y), "has 2 features"), ((X, Y[:-1]), "inconsistent numbers"),
    ((np.where(X > 2, np.inf, X), Y), "infinity"), ((X, Y, np.ones(3)), "sample_weight"), ((X, None), "only one of"),
    ((None, Y), "only one of"),
])  # fmt: skip
def test_rows_to_validate_by_that_are_refused(data: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"X_val, y_val: .*{said}"):
        classifier().fit(X, Y, **dict(zip(("X_val", "y_val", "sample_weight_val"), data, strict=False)))


@pytest.mark.parametrize(
    "given", [{"sample_weight_val": np.ones(3)}, {"X_val": X, "y_val": Y, "sample_weight_val": -Y - 1.0}]
)
def test_weights_to_validate_by_that_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sample_weight_val: got weights, but no rows|[Nn]egative values"):
        classifier().fit(X, Y, **given)


def test_the_parameter_for_rows_to_validate_by_is_deprecated() -> None:
    expected = classifier(max_iter=5).fit(X[40:], Y[40:], X_val=X[:40], y_val=Y[:40])
    with pytest.warns(FutureWarning, match="give fit X_val and y_val") as told:
        one = classifier(max_iter=5, validation_data=(X[:40], Y[:40])).fit(X[40:], Y[40:])
    assert one.validation_scores_ == expected.validation_scores_
    with pytest.warns(FutureWarning) as told_again:
        one.partial_fit(X, Y)
    seen = [warning for warning in (*told, *told_again) if warning.category is FutureWarning]
    assert [warning.filename for warning in seen] == [__file__] * 2  # where the user's calls are
    for data, words in (((X,), "got 1 items, expected a pair"), ((X[:, :2], Y), "has 2 features")):
        with pytest.warns(FutureWarning), pytest.raises(ValueError, match=f"validation_data: .*{words}"):
            classifier(validation_data=data).fit(X, Y)
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match="got it beside X_val"):
        classifier(validation_data=(X, Y)).fit(X, Y, X_val=X, y_val=Y)


# ---- any score ----


def test_early_stopping_by_another_score() -> None:
    y = np.minimum(Y, 1)
    one = classifier(scoring="roc_auc", early_stopping=True, max_iter=200, n_iter_no_change=5, learning_rate_init=0.05)
    one.fit(FRAME[40:], y[40:], X_val=FRAME[:40], y_val=y[:40])
    assert one.best_validation_score_ == roc_auc_score(y[:40], one.predict_proba(FRAME[:40])[:, 1])
    assert one.best_validation_score_ == max(one.validation_scores_) and one.n_iter_ < 200


@pytest.mark.parametrize("scoring", ["neg_mean_absolute_error", lambda e, X, y: -np.abs(e.predict(X) - y).mean()])
def test_a_scorer_of_numbers(scoring: Any) -> None:
    y = TARGETS[:, 0]
    one = regressor(scoring=scoring, max_iter=5).fit(X[40:], y[40:], X_val=X[:40], y_val=y[:40])
    assert one.validation_scores_[-1] == -mean_absolute_error(y[:40], one.predict(X[:40]))
    assert one.best_validation_score_ == max(one.validation_scores_)


def test_weights_reach_the_scorer() -> None:
    y, weights = np.minimum(Y, 1), np.linspace(1.0, 2.0, 40)
    one = classifier(scoring="neg_log_loss", max_iter=2)
    one.fit(X[40:], y[40:], X_val=X[:40], y_val=y[:40], sample_weight_val=weights)
    expected = -log_loss(y[:40], one.predict_proba(X[:40]), sample_weight=weights)
    assert one.validation_scores_[-1] == pytest.approx(expected, rel=1e-12)


def test_a_score_that_is_none_of_them() -> None:
    with pytest.raises(ValueError, match="scoring"):
        classifier(scoring="beauty").fit(X, Y)


def test_a_pipeline_transforms_the_rows_to_validate_by() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        one = classifier(max_iter=5).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("network", one)], transform_input=["X_val"])
        pipeline.fit(X[40:], Y[40:], X_val=X[:40], y_val=Y[:40])
    scaled = StandardScaler().fit(X[40:])
    again = classifier(max_iter=5)
    again.fit(scaled.transform(X[40:]), Y[40:], X_val=scaled.transform(X[:40]), y_val=Y[:40])
    assert pipeline[-1].validation_scores_ == again.validation_scores_


@pytest.mark.parametrize("kind", [classifier, regressor])
def test_callbacks(kind: Callable[..., Any]) -> None:
    seen: list[Any] = []

    def first(fitted: Any, history: Any) -> bool:
        seen.append((fitted.n_iter_, len(history.loss), fitted.loss_ == history.loss[-1], fitted.predict(X[:2]).shape))
        return fitted.n_iter_ == 3

    def second(fitted: Any, history: Any) -> object:
        seen.append(history.validation_score[-1] == fitted.validation_scores_[-1])
        return "no more"  # only True ends

    fitted = kind(callbacks=[first, second], max_iter=50).fit(X, Y, X_val=X, y_val=Y)
    assert seen == [value for i in (1, 2, 3) for value in ((i, i, True, (2,)), True)]
    assert fitted.n_iter_ == 3


def test_a_fit_that_a_callback_ends_has_not_run_out(recwarn: pytest.WarningsRecorder) -> None:
    classifier(callbacks=(lambda fitted, history: fitted.n_iter_ == 5,)).fit(X, Y)
    assert not [warning for warning in recwarn if warning.category is ConvergenceWarning]


@pytest.mark.parametrize("wrong", [[print, 3], (None,)])
def test_callbacks_that_cannot_be_called(wrong: Any) -> None:
    with pytest.raises(TypeError, match="callbacks: got .*expected a sequence of callables"):
        classifier(callbacks=wrong).fit(X, Y)


def test_ctrl_c_keeps_what_was_trained() -> None:
    def interrupt(fitted: Any, history: Any) -> None:
        if fitted.n_iter_ == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        fitted = classifier(callbacks=[interrupt]).fit(X, Y)
    assert_same_arrays(fitted, classifier(max_iter=2).fit(X, Y))


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"batch_size": 7, "dtype": "float32"}])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_ctrl_c_while_kernels_load_keeps_the_first_weights(
    options: dict[str, Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as Ctrl-C during training does, once they are loaded."""
    if options.get("early_stopping") and method == "partial_fit":
        pytest.skip("partial_fit refuses it")
    loaded = []

    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        prepare(*arguments)
        loaded.append(True)

    prepare = loop.prepare
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background may ignore it
    try:
        with monkeypatch.context() as patched:
            patched.setattr(loop, "prepare", interrupted)
            arguments = {"classes": np.unique(Y)} if method == "partial_fit" else {}
            with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
                fitted = getattr(classifier(**options), method)(X, Y, **arguments)
    finally:
        signal.signal(signal.SIGINT, before)
    assert loaded and fitted.n_iter_ == 0 and fitted.loss_curve_ == []
    assert fitted.network_.history.loss == []
    assert_same_arrays(fitted, classifier(**options, learning_rate_init=1e-300, max_iter=1).fit(X, Y))
    assert len(fitted.predict(X)) == len(X)


# ---- threads and dtypes ----


def test_threads() -> None:
    allowed = fastbp.threads.count()
    for wanted, outer, expected in ((1, None, 1), (None, None, allowed), (None, 1, 1)):
        counts: list[int] = []
        callback = [lambda fitted, history, counts=counts: counts.append(fastbp.threads.count())]
        with fastbp.threads.limit(outer):
            classifier(n_threads=wanted, max_iter=1, callbacks=callback).fit(X, Y)
        assert counts == [expected]
    with pytest.raises(ValueError, match="n_threads"):
        classifier(n_threads=0).fit(X, Y)


def test_the_number_of_threads_changes_no_bit() -> None:
    wide = {"hidden_layer_sizes": (300, 300), "max_iter": 2}
    assert_same_arrays(classifier(n_threads=1).set_params(**wide).fit(X, Y), classifier().set_params(**wide).fit(X, Y))


@pytest.mark.parametrize(("given", "dtype", "expected"), [
    (np.float32, None, np.float32), (np.float64, None, np.float64), (np.int64, None, np.float64),
    (np.float64, "float32", np.float32), (np.float32, "float64", np.float64), (np.float64, np.float32, np.float32),
])  # fmt: skip
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_what_is_computed_in(given: Any, dtype: Any, expected: Any, solver: str) -> None:
    rows = (3 * X).astype(given)
    fitted = classifier(dtype=dtype, solver=solver).fit(rows, Y)
    assert {array.dtype for array in arrays(fitted)} == {np.dtype(expected)} == {fitted.network_.dtype}
    assert fitted.predict_proba(rows).dtype == expected
    assert regressor(dtype=dtype, solver=solver).fit(rows, TARGETS[:, 0]).predict(rows).dtype == expected
    same = np.require(rows, expected)
    assert_same_arrays(fitted, classifier(solver=solver).fit(same, Y))


def test_lbfgs_searches_in_float64() -> None:
    """From the same parameters, in float32 and not, to the same ones, rounded."""
    rows = X.astype(np.float32)
    single = classifier(solver="lbfgs", warm_start=True).fit(rows, Y)
    double = classifier(solver="lbfgs", warm_start=True, dtype="float64").fit(rows, Y)
    double.coefs_ = [array.astype(np.float64) for array in single.coefs_]
    double.intercepts_ = [array.astype(np.float64) for array in single.intercepts_]
    assert single.fit(rows, Y).loss_ == double.fit(rows, Y).loss_
    for one, other in zip(arrays(single), arrays(double), strict=True):
        assert_same_bits(one, other.astype(np.float32))


def test_dtypes_that_are_refused() -> None:
    for wrong in ("float16", np.int32):
        with pytest.raises(ValueError, match="dtype"):
            classifier(dtype=wrong).fit(X, Y)
    with pytest.raises(ValueError, match="infinity"):
        classifier(dtype="float32").fit(1e300 * X, Y)
