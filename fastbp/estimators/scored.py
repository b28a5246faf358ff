"""Networks in the middle of a fit as scikit-learn's scorers take them: estimators of encoded rows."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from ..network import MLP
from ..tables.targets import TargetScaling

Array = NDArray[Any]


class ScoredClassifier(ClassifierMixin, BaseEstimator):
    """A network that tells `classes_` apart."""

    def __init__(self, net: MLP, classes: Array):
        self.net, self.classes, self.classes_ = net, classes, classes

    def predict_proba(self, X: Array) -> Array:
        return self.net.predict_proba(X)

    def predict(self, X: Array) -> Array:
        predicted: Array = self.classes_[self.net.predict(X)]
        return predicted

    def targets(self, y: Array) -> Array:
        """Return the classes that numbers stand for."""
        targets: Array = self.classes_[y]
        return targets


class ScoredRegressor(RegressorMixin, BaseEstimator):
    """A network that predicts scaled numbers."""

    def __init__(self, net: MLP, scaling: TargetScaling):
        self.net, self.scaling = net, scaling

    def predict(self, X: Array) -> Array:
        return self.targets(self.net.outputs(X))

    def targets(self, y: Array) -> Array:
        """Return the numbers that scaled ones stand for."""
        numbers = self.scaling.unscaled(y)
        return numbers[:, 0] if numbers.shape[1] == 1 else numbers
