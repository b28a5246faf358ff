"""scikit-learn's `MLPClassifier` and `MLPRegressor`, fitted and evaluated by an `MLP`."""

from .mlp import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
