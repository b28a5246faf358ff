"""Networks of other libraries as an `MLP`: `from_torch` and `from_sklearn`, which import neither library.

What they are given is told by the names of its classes; whoever has such an object has imported its library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernels.activations import IDENTITY, LOGISTIC, Activation
from .kernels.losses import LOSSES
from .model import formulas
from .names import repeated
from .network import MLP, Formula

Array = NDArray[Any]

# ---- PyTorch ----


class Kind(NamedTuple):
    """A kind of activation module: fastbp's name of it, and fastbp's constants by the module's attributes."""

    name: str
    constants: dict[str, str] = {}
    required: dict[str, Any] = {}  # attributes that must have this value


HIDDEN = {
    "ReLU": Kind("relu"),
    "LeakyReLU": Kind("leaky_relu", {"leaky_slope": "negative_slope"}),
    "ELU": Kind("elu", {"elu_alpha": "alpha"}),
    "SELU": Kind("selu"),
    "GELU": Kind("gelu", required={"approximate": "none"}),
    "SiLU": Kind("silu"),
    "Mish": Kind("mish"),
    "Tanh": Kind("tanh"),
    "Sigmoid": Kind("logistic"),
}
OUTPUTS: dict[str, Activation | None] = {"Softmax": None, "LogSoftmax": None, "Sigmoid": LOGISTIC}  # None: softmax
LOSS_OF = {"Softmax": "softmax_cross_entropy", "LogSoftmax": "softmax_cross_entropy", "Sigmoid": "binary_cross_entropy"}
WITHOUT_EFFECT = ("Identity", "Dropout", "AlphaDropout", "FeatureAlphaDropout", "Flatten")  # on rows, in predictions
KNOWN = ", ".join(["Linear", *HIDDEN, "Softmax", "LogSoftmax", *WITHOUT_EFFECT, "Sequential"])


def from_torch(module: Any, loss: str | Formula | None = None) -> MLP:
    """Make a network of a PyTorch `nn.Sequential`, with copies of its parameters and with the same outputs.

    Parameters
    ----------
    module : torch.nn.Sequential or torch.nn.Linear
        Linear layers, with biases or without, and between them at most one activation: ReLU, LeakyReLU, ELU, SELU, GELU
        (not approximated by tanh), SiLU, Mish, Tanh or Sigmoid. Behind the last one there may be a Softmax, LogSoftmax
        or Sigmoid. Identity, Flatten and dropout are left out, and a Sequential may hold others. All parameters are
        float32, or all are float64, which becomes the network's dtype.
    loss : str or fastbp.Loss, optional
        Loss of the network, as for `MLP`: its outputs must be those of the last module. By default
        "softmax_cross_entropy" behind a Softmax or LogSoftmax, and "binary_cross_entropy" behind a Sigmoid; required
        where a Linear is the last.

    Returns
    -------
    MLP
        `MLP.outputs` returns what the module returns in evaluation mode, to rounding: behind a LogSoftmax its
        exponential, and where the last module is Linear, `MLP.logits` does.

    Raises
    ------
    TypeError
        `module` is no `nn.Sequential` or `nn.Linear`, or its parameters have another dtype.
    ValueError
        It holds another module, which the message names, or one where it cannot be; or `loss` does not fit.

    Examples
    --------
    >>> import fastbp
    >>> from torch import nn  # doctest: +SKIP
    >>> module = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))  # doctest: +SKIP
    >>> fastbp.from_torch(module, loss="softmax_cross_entropy")  # doctest: +SKIP
    MLP((64, 100, 10))
    """
    if not (_is_torch(module) and type(module).__name__ in ("Sequential", "Linear")):
        raise TypeError(f"module: got a {_kind(module)}, expected a torch.nn.Sequential")
    linear, activations, constants, last = _layers(module)
    loss = _loss(loss, last)
    arrays = [array for layer in linear for array in _parameters(layer)]
    dtypes = sorted({str(array.dtype) for array in arrays})
    if len(dtypes) > 1:
        raise TypeError(f"module: got parameters of {' and '.join(dtypes)}, expected one dtype")
    weights = arrays[::2]
    for before, after in zip(weights[:-1], weights[1:], strict=True):
        if before.shape[1] != after.shape[0]:
            raise ValueError(f"module: got a Linear of {before.shape[1]} outputs in front of one of {after.shape[0]} "
                             "inputs, expected the same number")  # fmt: skip
    sizes = (weights[0].shape[0], *(W.shape[1] for W in weights))
    same = len(set(activations)) == 1
    return MLP(sizes, (activations[0] if same else activations) if activations else "relu", loss, dtypes[0],
               initializer=arrays, **constants)  # fmt: skip


def _layers(module: Any) -> tuple[list[Any], list[str], dict[str, Any], str]:
    """Return the Linear modules, the activations between them, their constants, and what stands behind the last."""
    linear: list[Any] = []
    activations: list[str] = []
    constants: dict[str, Any] = {}
    between: Any = None  # the activation since the last Linear
    for each in _flat(module):
        kind = _kind(each)
        if kind == "Linear":
            if linear:
                activations.append(_activation(between, constants))
            elif between is not None:
                raise ValueError(f"module: got a {_kind(between)} in front of the first Linear, expected it behind one")
            linear.append(each)
            between = None
        elif between is not None:
            raise ValueError(f"module: got a {_kind(between)} and then a {kind}, expected a Linear between them")
        else:
            between = each
    if not linear:
        raise ValueError("module: got no Linear, expected at least one")
    return linear, activations, constants, "" if between is None else _output(between)


def _flat(module: Any) -> Iterator[Any]:
    """Iterate over what computes anything, in its order; ValueError for what is not known."""
    kind = _kind(module)
    if not _is_torch(module) or (kind not in ("Linear", "Sequential", *HIDDEN, *OUTPUTS, *WITHOUT_EFFECT)):
        raise ValueError(f"module: got a {kind}, which fastbp does not have; expected only {KNOWN}")
    if kind == "Sequential":
        for each in module:  # not `children`, which has a module that stands in several places only once
            yield from _flat(each)
    elif kind == "Flatten" and module.start_dim != 1:
        raise ValueError(f"module: got a Flatten from dimension {module.start_dim}, expected 1, so that rows stay rows")
    elif kind not in WITHOUT_EFFECT:
        yield module


def _activation(module: Any, constants: dict[str, Any]) -> str:
    """Return the name of a hidden layer's activation, whose constants are added to those found before."""
    if module is None:
        return IDENTITY.name
    kind = _kind(module)
    if kind not in HIDDEN:
        raise ValueError(f"module: got a {kind} in front of a Linear, expected it behind the last one")
    for attribute, value in HIDDEN[kind].required.items():
        if getattr(module, attribute) != value:
            raise ValueError(
                f"module: got a {kind} with {attribute}={getattr(module, attribute)!r}, expected {value!r}"
            )
    for name, attribute in HIDDEN[kind].constants.items():
        value = float(getattr(module, attribute))
        if constants.setdefault(name, value) != value:
            raise ValueError(f"module: got a {kind} with {attribute}={value:g} and one with {constants[name]:g}, "
                             "expected the same for all layers")  # fmt: skip
    return HIDDEN[kind].name


def _output(module: Any) -> str:
    """Return the class of the last module, which makes outputs of logits."""
    kind = _kind(module)
    if kind not in OUTPUTS:
        raise ValueError(f"module: got a {kind} behind the last Linear, expected {', '.join(OUTPUTS)} or none")
    if OUTPUTS[kind] is None and module.dim not in (None, 1, -1):
        raise ValueError(f"module: got a {kind} over dimension {module.dim}, expected 1, the classes of each row")
    return kind


def _loss(given: str | Formula | None, last: str) -> str | Formula:
    """Return the loss: the given one if the last module makes its outputs."""
    if given is None:
        if not last:
            raise ValueError(f"loss: got None for a module that ends in a Linear, expected one of {', '.join(LOSSES)}")
        return LOSS_OF[last]
    loss, _ = formulas.loss_of(given)
    if last and loss.output is not OUTPUTS[last]:
        fitting = [name for name, row in LOSSES.items() if row.output is OUTPUTS[last]]
        raise ValueError(f"loss: got {given!r} for a module that ends in a {last}, expected {' or '.join(fitting)}")
    return given


def _parameters(linear: Any) -> tuple[Array, Array]:
    """Return W (fan_in, fan_out) and b of a Linear module."""
    for tensor in (linear.weight, linear.bias):
        if tensor is not None and str(tensor.dtype) not in ("torch.float32", "torch.float64"):
            raise TypeError(f"module: got parameters of {tensor.dtype}, expected torch.float32 or torch.float64, as "
                            "module.float() makes them")  # fmt: skip
    W = linear.weight.detach().cpu().numpy().T
    return W, np.zeros(W.shape[1], W.dtype) if linear.bias is None else linear.bias.detach().cpu().numpy()


def _is_torch(module: Any) -> bool:
    return type(module).__module__.startswith("torch.nn.modules.")


def _kind(module: Any) -> str:
    return type(module).__name__


# ---- scikit-learn ----

LOSS_OF_OUTPUTS = {
    "softmax": "softmax_cross_entropy",
    "logistic": "binary_cross_entropy_sum",
    "identity": "half_squared_error",
    "exp": "half_poisson_deviance_sum",
}


def from_sklearn(estimator: Any) -> MLP:
    """Make a network of a fitted `MLPClassifier` or `MLPRegressor`, with copies of its parameters and the same outputs.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier, MLPRegressor, or sklearn.pipeline.Pipeline
        Fitted. A pipeline has a `StandardScaler` in front of the estimator, which becomes the network's input scaling.

    Returns
    -------
    MLP
        With scikit-learn's loss: a classifier's is "softmax_cross_entropy", two classes being two outputs, and of
        several labels "binary_cross_entropy_sum"; a regressor's is "half_squared_error" or "half_poisson_deviance_sum".
        Classes other than 0, 1, ... are its `class_names`, as text, and the names of features its `feature_names`.

    Raises
    ------
    TypeError
        `estimator` is something else.
    ValueError
        It is not fitted.

    Examples
    --------
    >>> import fastbp
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = fastbp.datasets.quadrants(500, seed=0)
    >>> estimator = MLPClassifier((20,), solver="lbfgs", random_state=0).fit(X, y)
    >>> net = fastbp.from_sklearn(estimator)
    >>> net
    MLP((2, 20, 4), dtype='float64')
    >>> bool((net.predict(X) == estimator.predict(X)).all())
    True
    """
    scaler, fitted = _steps(estimator)
    if not hasattr(fitted, "coefs_"):
        raise ValueError(f"estimator: got a {_kind(fitted)} that is not fitted, expected one after its fit")
    weights, biases = list(fitted.coefs_), list(fitted.intercepts_)
    loss, classes = LOSS_OF_OUTPUTS[fitted.out_activation_], getattr(fitted, "classes_", None)
    if classes is not None and weights[-1].shape[1] == 1:  # logistic(z) is the second of softmax(0, z)
        loss = "softmax_cross_entropy"
        weights[-1], biases[-1] = (np.concatenate([np.zeros_like(each), each], axis=-1) for each in
                                   (weights[-1], biases[-1]))  # fmt: skip
    net = MLP(
        (weights[0].shape[0], *(W.shape[1] for W in weights)), fitted.activation, loss, weights[0].dtype, **scaler,
        initializer=[array for pair in zip(weights, biases, strict=True) for array in pair],
    )  # fmt: skip
    if classes is not None and not np.array_equal(classes, np.arange(net.classes)):
        net.class_names = list(classes)
    if not repeated(features := getattr(estimator, "feature_names_in_", ())) and len(features):
        net.feature_names = list(features)
    return net


def _steps(estimator: Any) -> tuple[dict[str, Any], Any]:
    """Return input scaling as arguments of `MLP`, and the estimator of the network."""
    if not _is_sklearn(estimator, "Pipeline"):
        return {}, _network(estimator)
    kinds = [_kind(step) for _, step in estimator.steps]
    if len(kinds) != 2 or not _is_sklearn(estimator.steps[0][1], "StandardScaler"):
        raise TypeError(f"estimator: got a pipeline of {', '.join(kinds)}, expected a StandardScaler and a network")
    (_, scaler), (_, network) = estimator.steps
    if not hasattr(scaler, "scale_"):
        raise ValueError("estimator: got a StandardScaler that is not fitted, expected a pipeline after its fit")
    found = {"input_shift": scaler.mean_} if scaler.with_mean else {}
    return found | ({"input_scale": 1.0 / scaler.scale_} if scaler.with_std else {}), _network(network)


def _network(estimator: Any) -> Any:
    if not _is_sklearn(estimator, "MLPClassifier", "MLPRegressor"):
        own = "; its attribute network_ is the MLP" if hasattr(estimator, "network_") else ""
        raise TypeError(f"estimator: got a {_kind(estimator)} of {type(estimator).__module__}, expected scikit-learn's "
                        f"MLPClassifier or MLPRegressor, or a pipeline with one{own}")  # fmt: skip
    return estimator


def _is_sklearn(value: Any, *kinds: str) -> bool:
    return type(value).__module__.startswith("sklearn.") and _kind(value) in kinds
