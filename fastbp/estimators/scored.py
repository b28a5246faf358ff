"""Outputs of networks in the middle of a fit as scikit-learn's scorers take them: predictions of estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from ..tables.targets import TargetScaling

Array = NDArray[Any]


class ClassifierOfOutputs(ClassifierMixin, BaseEstimator):
    """Takes probabilities for X, and tells `classes_` apart by them."""

    def __init__(self, classes: Array):
        self.classes, self.classes_ = classes, classes

    def predict_proba(self, outputs: Array) -> Array:
        probabilities: Array = outputs.astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # scorers want sums of 1 in all bits of the dtype
        return probabilities

    def predict(self, outputs: Array) -> Array:
        predicted: Array = self.classes_[outputs.argmax(axis=1)]
        return predicted


class RegressorOfOutputs(RegressorMixin, BaseEstimator):
    """Takes scaled numbers for X, and predicts what they stand for."""

    def __init__(self, scaling: TargetScaling):
        self.scaling = scaling

    def predict(self, outputs: Array) -> Array:
        numbers = self.scaling.unscaled(outputs)
        return numbers[:, 0] if numbers.shape[1] == 1 else numbers
