"""The objective as a textbook has it: what is differentiated numerically, and where it has kinks.

Plain NumPy, one line a formula, sharing no code with the kernels, nor with `fastbp.reference`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..network import MLP
from .tally import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS: dict[str, Callable[[Array, float], Array]] = {
    "identity": lambda x, slope: x,
    "logistic": lambda x, slope: 1 / (1 + np.exp(-x)),
    "tanh": lambda x, slope: np.tanh(x),
    "relu": lambda x, slope: np.maximum(x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "gelu": lambda x, slope: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "silu": lambda x, slope: x / (1 + np.exp(-x)),
}


def _huber(z: Array, t: Array, delta: float) -> Array:
    d = np.abs(z - t)
    return np.asarray(np.where(d <= delta, d**2 / 2, delta * (d - delta / 2)))


def _half_deviance(z: Array, t: Array, delta: float) -> Array:
    return np.asarray(t * np.log(np.where(t > 0, t, 1)) - t * z - t + np.exp(z))


# Of logits z and targets t, (n, outputs) both, the loss of each row.
LOSSES: dict[str, Callable[[Array, Array, float], Array]] = {
    "softmax_cross_entropy": lambda z, t, delta: np.log(np.exp(z).sum(axis=1)) - (t * z).sum(axis=1),
    "binary_cross_entropy": lambda z, t, delta: (np.log(1 + np.exp(z)) - t * z).mean(axis=1),
    "binary_cross_entropy_sum": lambda z, t, delta: (np.log(1 + np.exp(z)) - t * z).sum(axis=1),
    "mean_squared_error": lambda z, t, delta: ((z - t) ** 2).mean(axis=1),
    "half_squared_error": lambda z, t, delta: ((z - t) ** 2 / 2).mean(axis=1),
    "mean_absolute_error": lambda z, t, delta: np.abs(z - t).mean(axis=1),
    "huber": lambda z, t, delta: _huber(z, t, delta).mean(axis=1),
    "poisson_deviance": lambda z, t, delta: (2 * _half_deviance(z, t, delta)).mean(axis=1),
    "half_poisson_deviance_sum": lambda z, t, delta: _half_deviance(z, t, delta).sum(axis=1),
}
# How far logits lie from the kinks of a loss: where a derivative jumps, its own or, for Huber's, that of its slope.
KINKS: dict[str, Callable[[Array, Array, float], Array]] = {
    "mean_absolute_error": lambda z, t, delta: np.abs(z - t),
    "huber": lambda z, t, delta: np.abs(np.abs(z - t) - delta),
}


def _names(net: MLP) -> Sequence[str]:
    """The activation of each hidden layer."""
    return (net.activation,) * (len(net.sizes) - 2) if isinstance(net.activation, str) else net.activation


def _or(value: Array | None, otherwise: float) -> Any:
    return otherwise if value is None else value.astype(np.float64)


def sums(net: MLP, weights: Sequence[Array], biases: Sequence[Array], X: Array, masks: Sequence[Array] | None
         ) -> list[Array]:  # fmt: skip
    """What each layer has before its activation, the logits last. `masks` are factors of the hidden outputs."""
    names = _names(net)
    found: list[Array] = []
    h = (X.astype(np.float64) - _or(net.input_shift, 0.0)) * _or(net.input_scale, 1.0)
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        found.append(h @ W.astype(np.float64) + b)
        if layer < len(names):
            h = ACTIVATIONS[names[layer]](found[-1], net.leaky_slope)
            h = h if masks is None else h * masks[layer]
    return found


def objective(
    net: MLP,
    weights: Sequence[Array],
    biases: Sequence[Array],
    X: Array,
    t: Array,
    l2: float,
    sample_weight: Array | None = None,
    masks: Sequence[Array] | None = None,
) -> float:
    """The weighted mean of the rows' losses and the penalty; `t` (n, outputs), for softmax probabilities."""
    losses = LOSSES[net.loss_name](sums(net, weights, biases, X, masks)[-1], t, net.huber_delta)
    w = np.ones(len(X)) if sample_weight is None else sample_weight
    return float((w * losses).sum() / w.sum() + l2 / 2 * sum((W * W).sum() for W in weights))


def nearest_kink(net: MLP, X: Array, t: Array, masks: Sequence[Array] | None) -> Array:
    """How near each row comes to a kink: of ReLU and leaky ReLU in hidden sums, or of the loss in its logits."""
    nearest = np.full(len(X), np.inf)
    if not (set(_names(net)) & {"relu", "leaky_relu"} or net.loss_name in KINKS):
        return nearest
    *hidden, logits = sums(net, net.weights, net.biases, X, masks)
    for name, h in zip(_names(net), hidden, strict=True):
        if name in ("relu", "leaky_relu"):
            nearest = np.minimum(nearest, np.abs(h).min(axis=1))
    if net.loss_name in KINKS:
        nearest = np.minimum(nearest, KINKS[net.loss_name](logits, t, net.huber_delta).min(axis=1))
    return nearest
