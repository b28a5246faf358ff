"""Estimators, rows and comparisons for their tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import make_classification

from fastbp import MLPClassifier, MLPRegressor
from support.comparisons import assert_same_bits

X, Y = make_classification(120, 6, n_classes=3, n_informative=4, random_state=0)
TARGETS = X[:, :2] @ [[1.0], [-0.5]]
EPS = float(np.finfo(np.float64).eps)


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier((9, 5), **{"max_iter": 5, "batch_size": 50, "random_state": 0, **options})


def regressor(**options: Any) -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(9, 5), **{"max_iter": 5, "batch_size": 50, "random_state": 0, **options})


def arrays(estimator: Any) -> list[Any]:
    return [*estimator.coefs_, *estimator.intercepts_]


def assert_same_arrays(one: Any, other: Any) -> None:
    for mine, theirs in zip(arrays(one), arrays(other), strict=True):
        assert_same_bits(mine, theirs)
