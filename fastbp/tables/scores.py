"""Scores of predictions beside those of `MLP.score`, in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Labels = NDArray[np.int64]

# ---- classes ----


def majority(labels: Labels) -> float:
    """Return the accuracy of predicting the most frequent class for every row."""
    return float(np.bincount(labels).max() / len(labels))


def log_loss(labels: Labels, probabilities: Array) -> float:
    """Return the mean of ``-log p`` over rows, p the probability (n, classes) of the row's own class.

    A probability below the smallest distance from 1 that its dtype has counts as that, as in scikit-learn.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, np.finfo(probabilities.dtype).eps), dtype=np.float64).mean())


def roc_auc(positive: NDArray[np.bool_], scores: Array) -> float:
    """Return the area below the curve of true by false positives; NaN unless there are rows of both kinds.

    It is the probability that a positive row has a higher score than another one, ties counted as halves, by the sum of
    the positives' ranks (Mann and Whitney 1947).
    """
    count, wanted = len(positive), int(positive.sum())
    if wanted in (0, count):
        return float("nan")
    _, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2  # the mean one, of equal scores
    return float((ranks[place][positive].sum() - wanted * (wanted + 1) / 2) / (wanted * (count - wanted)))


def mean_roc_auc(labels: Labels, probabilities: Array) -> float:
    """Return `roc_auc` of the second of two classes, or the mean over more classes, each against the rest.

    Classes that no row, or each one, belongs to have none.
    """
    classes = probabilities.shape[1]
    areas = [roc_auc(labels == each, probabilities[:, each]) for each in ([1] if classes == 2 else range(classes))]
    found = [area for area in areas if not np.isnan(area)]
    return float(np.mean(found)) if found else float("nan")


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> Labels:
    """Return how many rows of each class (by rows) are predicted as each class (by columns)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


# ---- numbers ----


def mean_absolute_error(wanted: Array, predicted: Array) -> float:
    """Return the mean of ``|t - y|``."""
    return float(np.abs(wanted - predicted).mean())


def root_mean_squared_error(wanted: Array, predicted: Array) -> float:
    """Return the root of the mean of ``(t - y)^2``."""
    return float(np.sqrt(np.square(wanted - predicted).mean()))
