"""Networks as fitted estimators of scikit-learn: `MLP.to_sklearn`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..extras import missing
from ..kernels.activations import EXP
from ..model.model import Model

try:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import LabelBinarizer, StandardScaler
except ModuleNotFoundError as error:
    raise missing(error, "to_sklearn", "sklearn", "'fastbp[sklearn]'") from None

Array = NDArray[Any]
ACTIVATIONS = ("identity", "logistic", "relu", "tanh")  # that scikit-learn has


def estimator_of(model: Model) -> MLPClassifier | MLPRegressor | Pipeline:
    """Return what `MLP.to_sklearn` returns."""
    if model.embeddings:
        raise ValueError("to_sklearn: got a network with embeddings, expected one whose inputs are all numbers")
    estimator = _classifier(model) if model.loss.classifies else _regressor(model)
    scaled = model.input_shift is not None or model.input_scale is not None
    steps = [*([("scale", _scaler(model))] if scaled else []), ("network", estimator)]
    if model.feature_names is not None:  # the scaler passes on numbers without names
        steps[0][1].feature_names_in_ = np.array(model.feature_names, dtype=object)
    return Pipeline(steps) if scaled else estimator


def _classifier(model: Model) -> MLPClassifier:
    """Return a classifier, with ascending classes as scikit-learn has them, and two as one logistic output."""
    W, b, binarizer, outputs = model.weights[-1], model.biases[-1], LabelBinarizer(), model.sizes[-1]
    if model.loss.targets == "classes":
        if outputs == 1:
            raise ValueError("to_sklearn: got a network with one class, expected at least two")
        names = np.arange(outputs) if model.class_names is None else np.array(model.class_names)
        order = np.argsort(names)
        W, b = W[:, order], b[order]
        if outputs == 2:  # softmax of (z_0, z_1) is logistic(z_1 - z_0)
            W, b = W[:, 1:] - W[:, :1], b[1:] - b[:1]
        binarizer.fit(names)
    else:
        binarizer.fit([0, 1] if outputs == 1 else np.eye(outputs, dtype=np.int64))
    estimator = MLPClassifier(**_parameters(model))
    estimator._label_binarizer, estimator.classes_ = binarizer, binarizer.classes_
    return _fitted(estimator, model, W, b)


def _regressor(model: Model) -> MLPRegressor:
    loss = "poisson" if model.loss.output is EXP else "squared_error"
    return _fitted(MLPRegressor(loss, **_parameters(model)), model, model.weights[-1], model.biases[-1])


def _parameters(model: Model) -> dict[str, Any]:
    names = {model.activation} if isinstance(model.activation, str) else set(model.activation)
    if not model.network.activations:
        names = {"relu"}  # of no layer
    if len(names) > 1 or not names <= set(ACTIVATIONS):
        raise ValueError(f"to_sklearn: got hidden layers with {', '.join(sorted(names))}, expected one activation that "
                         f"scikit-learn has: {', '.join(ACTIVATIONS)}")  # fmt: skip
    return {"hidden_layer_sizes": model.sizes[1:-1], "activation": names.pop()}


def _fitted(estimator: Any, model: Model, W: Array, b: Array) -> Any:
    """Set what a fit sets, with W and b as the last layer; scikit-learn's `_initialize` knows what that is."""
    sizes = (*model.sizes[:-1], len(b))
    estimator._random_state = np.random.RandomState(0)
    estimator._initialize(np.empty((0, len(b))), sizes, model.dtype)
    estimator.coefs_ = [*(each.copy() for each in model.weights[:-1]), W.copy()]
    estimator.intercepts_ = [*(each.copy() for each in model.biases[:-1]), b.copy()]
    estimator.loss_ = np.nan  # of the last epoch, which was not here
    estimator.n_features_in_ = model.sizes[0]
    return estimator


def _scaler(model: Model) -> StandardScaler:
    """Return the scaling of inputs: StandardScaler divides where fastbp multiplies, an infinite divisor being 0."""
    features = model.sizes[0]
    shift = np.zeros(features) if model.input_shift is None else model.input_shift.astype(np.float64)
    scale = np.ones(features) if model.input_scale is None else model.input_scale.astype(np.float64)
    scaler = StandardScaler()
    with np.errstate(divide="ignore"):
        scaler.mean_, scaler.scale_ = shift, 1.0 / scale
    scaler.var_, scaler.n_features_in_ = scaler.scale_**2, features
    return scaler
