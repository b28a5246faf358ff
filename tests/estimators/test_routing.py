"""All four estimators within scikit-learn's machinery: routing of metadata, tags, and pipelines of frames."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.base import is_classifier, is_regressor
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning, UnsetMetadataPassedError
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from fastbp import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor
from support.comparisons import assert_same_bits

SETTINGS: dict[Any, dict[str, Any]] = {
    MLPClassifier: {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0},
    MLPRegressor: {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0},
    TabularClassifier: {"n_networks": 1, "max_iter": 2, "random_state": 0},
    TabularRegressor: {"n_networks": 1, "max_iter": 2, "random_state": 0},
}
CLASSIFIERS = (MLPClassifier, TabularClassifier)
TABLES = (TabularClassifier, TabularRegressor)

_RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(_RNG.standard_normal((120, 3)), columns=["width", "height", "depth"])
NUMBERS = (FRAME @ [1.0, -2.0, 0.5]).to_numpy()
WEIGHTS = _RNG.uniform(0.1, 5.0, len(FRAME))

every = pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def routing() -> Iterator[None]:
    """Turn routing on; four epochs are not meant to converge."""
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def made(kind: Any, **options: Any) -> Any:
    return kind(**SETTINGS[kind] | options)


def targets_of(kind: Any) -> Any:
    return np.where(NUMBERS > 0, "above", "below") if kind in CLASSIFIERS else NUMBERS


def answers(model: Any, X: Any) -> Any:
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def score_of(kind: Any) -> Any:
    return accuracy_score if kind in CLASSIFIERS else r2_score


# ---- metadata ----


@every
def test_a_pipeline_hands_weights_to_the_fit_that_asks_for_them(kind: Any) -> None:
    y, scaled = targets_of(kind), StandardScaler().fit_transform(FRAME)
    model = make_pipeline(StandardScaler(), made(kind).set_fit_request(sample_weight=True))
    model[0].set_fit_request(sample_weight=False)
    weighted = answers(model.fit(FRAME, y, sample_weight=WEIGHTS), FRAME)
    assert_same_bits(weighted, answers(made(kind).fit(scaled, y, sample_weight=WEIGHTS), scaled))
    assert not np.array_equal(weighted, answers(made(kind).fit(scaled, y), scaled))


@every
def test_weights_that_nobody_asks_for_are_refused_or_left_out(kind: Any) -> None:
    y = targets_of(kind)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    with pytest.raises(UnsetMetadataPassedError, match=kind.__name__):
        make_pipeline(scaler, made(kind)).fit(FRAME, y, sample_weight=WEIGHTS)
    left_out = make_pipeline(
        scaler.set_fit_request(sample_weight=True), made(kind).set_fit_request(sample_weight=False)
    )
    left_out.fit(FRAME, y, sample_weight=WEIGHTS)
    scaled = StandardScaler().fit_transform(FRAME, sample_weight=WEIGHTS)
    assert_same_bits(answers(left_out, FRAME), answers(made(kind).fit(scaled, y), scaled))


@every
def test_an_alias_names_weights_otherwise(kind: Any) -> None:
    y = targets_of(kind)
    model = Pipeline([("model", made(kind).set_fit_request(sample_weight="survey_weight"))])
    model.fit(FRAME, y, survey_weight=WEIGHTS)
    assert_same_bits(answers(model, FRAME), answers(made(kind).fit(FRAME, y, sample_weight=WEIGHTS), FRAME))


@every
@pytest.mark.parametrize("scored", [True, False], ids=["scored with weights", "scored without"])
def test_cross_validation_cuts_weights_with_the_rows(kind: Any, scored: bool) -> None:
    """Each fold is what a loop by hand makes of it, in its fit and in its score."""
    y, folds = targets_of(kind), KFold(2)
    model = made(kind).set_fit_request(sample_weight=True).set_score_request(sample_weight=scored)
    found = cross_validate(model, FRAME, y, cv=folds, params={"sample_weight": WEIGHTS})["test_score"]
    expected = []
    for train, test in folds.split(FRAME):
        alone = made(kind).fit(FRAME.iloc[train], y[train], sample_weight=WEIGHTS[train])
        weights = WEIGHTS[test] if scored else None
        expected.append(score_of(kind)(y[test], alone.predict(FRAME.iloc[test]), sample_weight=weights))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@every
def test_a_scorer_asks_for_weights_of_its_own(kind: Any) -> None:
    y, folds = targets_of(kind), KFold(2)
    scorer = make_scorer(score_of(kind)).set_score_request(sample_weight=True)
    model = made(kind).set_fit_request(sample_weight=False)
    found = cross_validate(model, FRAME, y, cv=folds, scoring=scorer, params={"sample_weight": WEIGHTS})
    predicted = cross_val_predict(made(kind), FRAME, y, cv=folds)
    expected = [score_of(kind)(y[rows], predicted[rows], sample_weight=WEIGHTS[rows]) for _, rows in folds.split(y)]
    np.testing.assert_allclose(found["test_score"], expected, rtol=1e-12)


@every
def test_a_search_refits_with_weights(kind: Any) -> None:
    y = targets_of(kind)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    model = made(kind).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    pipeline = Pipeline([("scale", scaler), ("model", model)])
    search = GridSearchCV(pipeline, {"model__max_iter": [1, 3]}, cv=2).fit(FRAME, y, sample_weight=WEIGHTS)
    scaled, best = StandardScaler().fit_transform(FRAME), search.best_params_["model__max_iter"]
    alone = made(kind, max_iter=best).fit(scaled, y, sample_weight=WEIGHTS)
    assert_same_bits(answers(search, FRAME), answers(alone, scaled))
    score = search.score(FRAME, y, sample_weight=WEIGHTS)
    expected = score_of(kind)(y, alone.predict(scaled), sample_weight=WEIGHTS)
    np.testing.assert_allclose(score, expected, rtol=1e-12)


@every
def test_rows_to_validate_by_pass_through_a_pipeline(kind: Any) -> None:
    """`transform_input` lets the steps before transform them as they transform X."""
    y, options = targets_of(kind), {"early_stopping": True} if kind not in TABLES else {}
    model = made(kind, **options).set_fit_request(X_val=True, y_val=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)], transform_input=["X_val"])
    pipeline.fit(FRAME[40:], y[40:], X_val=FRAME[:40], y_val=y[:40])
    scaler = StandardScaler().fit(FRAME[40:])
    scaled, held_out = scaler.transform(FRAME[40:]), scaler.transform(FRAME[:40])
    alone = made(kind, **options).fit(scaled, y[40:], X_val=held_out, y_val=y[:40])
    assert_same_bits(answers(pipeline, FRAME[:40]), answers(alone, held_out))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor], ids=lambda kind: kind.__name__)
def test_partial_fit_has_requests_too(kind: Any) -> None:
    requests = made(kind).set_partial_fit_request(sample_weight=True).get_metadata_routing()
    assert requests.partial_fit.requests["sample_weight"] is True
    assert requests.fit.requests["sample_weight"] is None


# ---- tags ----


@every
def test_tags_say_what_an_estimator_takes(kind: Any) -> None:
    tags = get_tags(made(kind))
    classifies, of_tables = kind in CLASSIFIERS, kind in TABLES
    assert tags.estimator_type == ("classifier" if classifies else "regressor")
    assert (is_classifier(made(kind)), is_regressor(made(kind))) == (classifies, not classifies)
    assert (tags.classifier_tags is None, tags.regressor_tags is None) == (not classifies, classifies)
    assert tags.requires_fit and tags.target_tags.required and not tags.non_deterministic
    assert tags.target_tags.single_output and tags.target_tags.multi_output == (not classifies)
    assert not classifies or tags.classifier_tags.multi_label == (kind is MLPClassifier)
    assert (tags.input_tags.categorical, tags.input_tags.string, tags.input_tags.allow_nan) == (of_tables,) * 3
    assert tags.input_tags.sparse == (not of_tables) and tags.input_tags.two_d_array


@every
def test_tags_tell_the_truth(kind: Any) -> None:
    """What the tags allow is taken, and what they do not allow is refused."""
    tags, y = get_tags(made(kind)), targets_of(kind)
    takes_several = tags.classifier_tags.multi_label if kind in CLASSIFIERS else tags.target_tags.multi_output
    holes = FRAME.mask(FRAME > 2.0)
    assert holes.isna().any(axis=None)
    words = FRAME.assign(depth=np.where(FRAME["depth"] > 0, "deep", "flat"))
    several = np.column_stack([NUMBERS > 0, NUMBERS > 1]).astype(int)
    cases = [
        (holes, y, tags.input_tags.allow_nan),
        (words, y, tags.input_tags.string),
        (csr_array(FRAME), y, tags.input_tags.sparse),
        (FRAME, several, takes_several),
    ]
    for X, targets, allowed in cases:
        if allowed:
            made(kind).fit(X, targets).predict(X)
        else:
            with pytest.raises((ValueError, TypeError)):
                made(kind).fit(X, targets)


# ---- frames ----


@every
def test_a_pipeline_of_frames(kind: Any) -> None:
    """Under `set_output` every step gets a frame, and the estimator keeps the names of its columns."""
    y = targets_of(kind)
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), made(kind)).set_output(transform="pandas")
    holes = FRAME.mask(FRAME > 2.0)
    pipeline.fit(holes, y)
    np.testing.assert_array_equal(pipeline[-1].feature_names_in_, FRAME.columns)
    assert pipeline[-1].n_features_in_ == 3
    plain = make_pipeline(SimpleImputer(), StandardScaler(), made(kind)).fit(holes, y)
    assert not hasattr(plain[-1], "feature_names_in_")
    assert_same_bits(answers(pipeline, holes), answers(plain, holes))
    with pytest.raises(ValueError, match="feature names should match"):
        pipeline.predict(holes.rename(columns={"width": "breadth"}))


@every
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_a_column_transformer_of_frames(kind: Any, container: str) -> None:
    y = targets_of(kind)
    X = FRAME.assign(place=np.array(["Rome", "Oslo", "Lima"])[np.arange(len(FRAME)) % 3])
    columns = make_column_transformer(
        (StandardScaler(), ["width", "height", "depth"]), (OneHotEncoder(sparse_output=False), ["place"]),
        verbose_feature_names_out=False,
    )  # fmt: skip
    pipeline = make_pipeline(columns, made(kind)).set_output(transform=container).fit(X, y)
    expected = ["width", "height", "depth", "place_Lima", "place_Oslo", "place_Rome"]
    assert pipeline[-1].feature_names_in_.tolist() == expected
    plain = make_pipeline(columns.set_output(transform="default"), made(kind)).fit(X, y)
    assert_same_bits(answers(plain, X), answers(made(kind).fit(columns.transform(X), y), columns.transform(X)))


@every
def test_the_global_setting_of_frames(kind: Any) -> None:
    y = targets_of(kind)
    with sklearn.config_context(transform_output="pandas"):
        pipeline = make_pipeline(StandardScaler(), made(kind)).fit(FRAME, y)
        predicted = pipeline.predict(FRAME)
    assert isinstance(predicted, np.ndarray) and predicted.shape == (len(FRAME),)
    np.testing.assert_array_equal(pipeline[-1].feature_names_in_, FRAME.columns)
