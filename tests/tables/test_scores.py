"""Scores, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from fastbp.tables import scores

EPS = np.finfo(float).eps
RNG = np.random.default_rng(0)


def drawn(classes: int, rows: int = 200) -> tuple[Any, Any]:
    """Labels, and probabilities with ties, some of them 0."""
    labels = RNG.integers(0, classes, rows)
    shares = RNG.integers(0, 5, (rows, classes)) + np.eye(classes)[labels] + 1e-9
    shares[:3] = np.eye(classes)[(labels[:3] + [0, 1, 1]) % classes]
    return labels, shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_of_classes(classes: int) -> None:
    labels, probabilities = drawn(classes)
    predicted = probabilities.argmax(axis=1)
    of_auc = probabilities[:, 1] if classes == 2 else probabilities
    for actual, expected in (
        (scores.log_loss(labels, probabilities), metrics.log_loss(labels, probabilities)),
        (scores.mean_roc_auc(labels, probabilities), metrics.roc_auc_score(labels, of_auc, multi_class="ovr")),
    ):
        assert actual == pytest.approx(expected, rel=len(labels) * EPS)
    matrix = scores.confusion_matrix(labels, predicted, classes)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(labels, predicted, labels=range(classes)))
    assert scores.majority(labels) == np.bincount(labels).max() / len(labels)


def test_classes_that_no_row_has() -> None:
    labels, probabilities = (
        np.array([0, 0, 1, 1]),
        np.array([[0.5, 0.4, 0.1], [0.7, 0.2, 0.1], [0.3, 0.6, 0.1]] * 2)[:4],
    )
    areas = [metrics.roc_auc_score(labels == each, probabilities[:, each]) for each in (0, 1)]
    assert scores.mean_roc_auc(labels, probabilities) == pytest.approx(np.mean(areas), rel=8 * EPS)
    assert np.isnan(scores.mean_roc_auc(np.zeros(4, int), probabilities[:, :2]))


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_of_numbers(scale: float) -> None:
    wanted = scale * RNG.normal(size=300)
    predicted = wanted + 0.3 * scale * RNG.normal(size=300)
    for actual, expected in (
        (scores.mean_absolute_error(wanted, predicted), metrics.mean_absolute_error(wanted, predicted)),
        (scores.root_mean_squared_error(wanted, predicted), metrics.root_mean_squared_error(wanted, predicted)),
    ):
        assert actual == pytest.approx(expected, rel=len(wanted) * EPS)
