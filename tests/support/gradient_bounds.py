"""How far rounding may move what a network computes: the error of each step, carried on to first order.

Standard analysis (N. J. Higham, "Accuracy and stability of numerical algorithms", 2002, ch. 3): a sum of k products is
off by at most (k + 1) eps times the sum of their magnitudes, in any order; a function by some ulp, and by its
argument's error times its steepest slope. So each entry has a bound of its own, which shrinks with the dtype; nothing
is fitted to what the kernels do. Where a sum lies so near a kink that rounding may cross it, the slope may be either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import MLP, reference

ULPS = 8.0  # of an activation, a loss or a slope, beyond what its argument's error does
STEEPEST, BEND = 1.8, 1.8  # of any activation at most: left of 0 the slope of SELU, and what it changes by, reach 1.76


@dataclass
class Rounded:
    """Numbers as they should be, how far off they may be, and the precision of what is done to them."""

    value: Any
    error: Any
    eps: float

    def __matmul__(self, other: Rounded) -> Rounded:
        a, b = np.abs(self.value), np.abs(other.value)
        rounding = (a.shape[1] + 1) * self.eps * (a @ b)
        return Rounded(self.value @ other.value, self.error @ b + (a + self.error) @ other.error + rounding, self.eps)

    def __add__(self, other: Rounded) -> Rounded:
        rounding = self.eps * (np.abs(self.value) + np.abs(other.value))
        return Rounded(self.value + other.value, self.error + other.error + rounding, self.eps)

    def __mul__(self, other: Rounded) -> Rounded:
        a, b = np.abs(self.value), np.abs(other.value)
        rounding = self.error * other.error + self.eps * a * b
        return Rounded(self.value * other.value, a * other.error + b * self.error + rounding, self.eps)

    @property
    def T(self) -> Rounded:
        return Rounded(self.value.T, self.error.T, self.eps)


class Bounds(NamedTuple):
    """Largest errors of a network's answers."""

    loss: float
    weights: list[Any]
    biases: list[Any]
    inputs: Any
    logits: Any


def bounds_of(net: MLP, X: Any, y: Any, l2: float, weight: Any, masks: Any) -> Bounds:
    """Of `MLP.gradient`, with dropout by these masks. X and weights are numbers of the compute dtype."""
    eps = float(np.finfo(net.dtype).eps)

    def exact(value: Any, ulps: float = 0.0) -> Rounded:
        value = np.asarray(value, np.float64)
        return Rounded(value, ulps * eps * np.abs(value), eps)

    hidden = len(net.sizes) - 2
    names = [net.activation] * hidden if isinstance(net.activation, str) else net.activation
    scale = exact(1.0 if net.input_scale is None else net.input_scale)
    H = (exact(X) + exact(0.0 if net.input_shift is None else -net.input_shift)) * scale
    inputs, sums = [H], []
    for layer, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        sums.append(inputs[-1] @ exact(W) + exact(b))
        if layer < hidden:
            value = reference.activation_forward(names[layer], sums[-1].value, **_constants_of(net, names[layer]))
            H = Rounded(value, STEEPEST * sums[-1].error + ULPS * eps * np.abs(value), eps)
            inputs.append(H if masks is None else H * exact(masks[layer], 1.0))
    loss, dH = _of_loss(net, sums[-1], y, weight)
    weights: list[Any] = []
    biases: list[Any] = []
    for layer in reversed(range(len(sums))):
        if layer < hidden:
            dH = dH if masks is None else dH * exact(masks[layer], 1.0)
            dH = dH * _slope(names[layer], sums[layer], _constants_of(net, names[layer]))
        weights.insert(0, (inputs[layer].T @ dH + exact(l2, 1.0) * exact(net.weights[layer])).error)
        biases.insert(0, (exact(np.ones((1, len(X)))) @ dH).error[0])
        dH = dH @ exact(net.weights[layer]).T
    penalty = l2 / 2 * sum(float(np.square(W, dtype=np.float64).sum()) for W in net.weights)
    loss += net.parameters.size * float(np.finfo(np.float64).eps) * penalty
    return Bounds(loss, weights, biases, (dH * scale).error, sums[-1].error)


def _constants_of(net: MLP, activation: str) -> dict[str, Any]:
    return {name: net.constants[name] for name in reference.ACTIVATIONS[activation].constants}


def _slope(name: str, sums: Rounded, constants: dict[str, Any]) -> Rounded:
    """Of an activation."""
    s, eps, kink = sums.value, sums.eps, reference.ACTIVATIONS[name].kink
    value = reference.activation_backward(name, np.ones_like(s), s, **constants)
    error = BEND * sums.error + ULPS * eps  # 1 - y^2 is as exact as 1 is
    if kink is not None:  # the slope jumps by 1 at the most
        error = np.where(kink(s, **constants) <= sums.error, error + 1.0, error)
    if name == "identity":
        error = np.zeros_like(s)
    elif name.endswith("relu"):  # also where y has rounded to 0
        error = np.where(np.abs(s) <= sums.error, 1.0, eps * np.abs(value))
    return Rounded(value, error, eps)


def _of_loss(net: MLP, logits: Rounded, y: Any, weight: Any) -> tuple[float, Rounded]:
    """The error of the mean loss, and the gradient of the logits."""
    name, z, off, eps = net.loss_name, logits.value, logits.error, logits.eps
    constants = {constant: net.constants[constant] for constant in reference.LOSSES[name].constants}
    rows = reference.losses_of(name, z, y, **constants)
    n, outputs = z.shape
    of_row = np.full(n, 1.0) if weight is None else np.asarray(weight, np.float64)
    of_row = of_row / max(of_row.sum(), np.finfo(np.float64).tiny)
    _, slopes = reference.loss_of(name, z, y, **constants)
    slopes = n * slopes  # of each row's own loss
    share = (2.0 if name in ("mean_squared_error", "poisson_deviance") else 1.0) / outputs
    share = 1.0 if name.endswith("_sum") or name.startswith("softmax") else share
    t = y if name.startswith("softmax") else np.reshape(np.asarray(y, np.float64), z.shape)
    magnitudes, bend, terms = _magnitudes(name, z, t, off)
    error = share * (bend + (ULPS + outputs) * eps * magnitudes)
    terms = (ULPS + outputs) * eps * (np.abs(rows) + share * terms) + (np.abs(slopes) * off).sum(axis=1)
    terms = terms + (bend * off).sum(axis=1) * share  # second order
    column = of_row[:, np.newaxis]
    return float(of_row @ terms), Rounded(slopes * column, error * column + 4 * eps * np.abs(slopes * column), eps)


def _magnitudes(name: str, z: Any, t: Any, off: Any) -> tuple[Any, Any, Any]:
    """Of a slope's terms; how far the logits' errors move it; of the terms of a row's loss: all but for its share."""
    if name.startswith("softmax"):
        shift = np.ptp(z, axis=1, keepdims=True)
        target = np.eye(z.shape[1])[t] if np.ndim(t) == 1 else np.asarray(t, np.float64)
        widest = np.broadcast_to(off.max(axis=1, keepdims=True), z.shape)
        return (1 + shift) * reference.softmax(z) + target, 0.5 * widest, 1 + shift[:, 0]
    if name.startswith("binary"):
        return reference.logistic(z) + t, 0.25 * off, np.zeros(len(z))
    if "poisson" in name:
        mean = np.exp(z)
        terms = t * np.abs(np.log(np.where(t > 0, t, 1.0))) + t * np.abs(z) + t + mean
        return mean * (1 + np.abs(z)) + t, mean * off, terms.sum(axis=1)
    if name in ("mean_absolute_error", "quantile"):
        return np.zeros_like(z), np.where(np.abs(z - t) <= off + 1e-300, 2.0, 0.0), np.zeros(len(z))
    return np.abs(z) + np.abs(t), off, np.zeros(len(z))
