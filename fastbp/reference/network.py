"""A whole network: forward, loss, gradient by back-propagation, training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .activations import relu_backward, relu_forward
from .arrays import Array, float64
from .layers import affine_backward, affine_forward, scale_inputs
from .losses import softmax_cross_entropy
from .optimizers import sgd_update


def forward(
    weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], X: ArrayLike, activation: str = "relu"
) -> list[Array]:
    """All activations of a multilayer perceptron; the last layer is linear.

    Parameters
    ----------
    weights : sequence of array_like, (fan_in, fan_out) each
    biases : sequence of array_like, (fan_out,) each
    X : array_like, (n, n_features)
        Inputs as the first layer takes them: `scale_inputs` comes before.
    activation : {"relu", "identity"}
        Of the hidden layers.

    Returns
    -------
    activations : list of ndarray of float64, one more than layers
        ``activations[0]`` is ``X``, ``activations[i]`` the input of layer ``i``, ``activations[-1]`` the logits.

    Raises
    ------
    ValueError
        If a shape does not fit, the lists differ in length, or the activation is not known.

    Examples
    --------
    >>> forward([[[1, -1]], [[2], [3]]], [[0, 0], [1]], [[4]])
    [array([[4.]]), array([[4., 0.]]), array([[9.]])]
    """
    if activation not in ("relu", "identity"):
        raise ValueError(f"activation: got {activation!r}, expected 'relu' or 'identity'")
    if len(weights) != len(biases):
        raise ValueError(f"biases: got {len(biases)}, expected one for each of the {len(weights)} weights")
    activations = [float64("X", X, (None, None))]
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        H = affine_forward(activations[-1], W, b)
        hidden = layer < len(weights) - 1
        activations.append(relu_forward(H) if hidden and activation == "relu" else H)
    return activations


def penalty(weights: Sequence[ArrayLike], l2: float) -> float:
    """``(l2/2) Σ‖W‖²``."""
    return float(l2) / 2 * sum(float(np.sum(float64("weights", W) ** 2)) for W in weights)


def loss(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    l2: float = 0.0,
    activation: str = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
) -> float:
    """The objective, mean cross-entropy ``+ (l2/2) Σ‖W‖²``.

    Parameters
    ----------
    weights, biases, activation
        As in `forward`.
    X : array_like, (n, n_features)
        Raw inputs: `scale_inputs` is applied here.
    labels : array_like, (n,) of class indices or (n, classes) of probabilities
    l2 : float
        Biases are not penalised, and the term is not divided by n.
    input_shift, input_scale : array_like, () or (n_features,), optional

    Returns
    -------
    loss : float

    Raises
    ------
    TypeError, ValueError
        As `forward` and `softmax_cross_entropy`.

    Examples
    --------
    >>> round(loss([[[0, 0]]], [[0, 0]], [[7]], [1]), 6)
    0.693147
    >>> round(loss([[[3, 3]]], [[0, 0]], [[7]], [1], l2=0.5), 6)  # + 0.5 / 2 * (9 + 9)
    5.193147
    """
    logits = forward(weights, biases, scale_inputs(X, input_shift, input_scale), activation)[-1]
    return softmax_cross_entropy(logits, labels)[0] + penalty(weights, l2)


def gradient(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    l2: float = 0.0,
    activation: str = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
) -> tuple[float, list[Array], list[Array], Array]:
    """`loss` and its gradient by back-propagation.

    Parameters
    ----------
    weights, biases, X, labels, l2, activation, input_shift, input_scale
        As in `loss`.

    Returns
    -------
    loss : float
        l2 term included.
    dWs : list of ndarray of float64, (fan_in, fan_out) each
        ``l2 · W`` included.
    dbs : list of ndarray of float64, (fan_out,) each
    dX : ndarray of float64, (n, n_features)
        With respect to the raw inputs: chained through ``input_scale``.

    Raises
    ------
    TypeError, ValueError
        As `loss`.

    Examples
    --------
    >>> value, dWs, dbs, dX = gradient([[[0, 0]]], [[0, 0]], [[6]], [1], input_scale=0.5)
    >>> dWs, dbs
    ([array([[ 1.5, -1.5]])], [array([ 0.5, -0.5])])
    """
    activations = forward(weights, biases, scale_inputs(X, input_shift, input_scale), activation)
    value, dH = softmax_cross_entropy(activations[-1], labels)
    dWs: list[Array] = []
    dbs: list[Array] = []
    for layer in reversed(range(len(weights))):
        dH, dW, db = affine_backward(dH, activations[layer], weights[layer])
        if layer > 0 and activation == "relu":
            dH = relu_backward(dH, activations[layer])
        dWs.insert(0, dW + float(l2) * float64("weights", weights[layer]))
        dbs.insert(0, db)
    dX = dH * float64("input_scale", 1.0 if input_scale is None else input_scale)
    return value + penalty(weights, l2), dWs, dbs, dX


def train(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    order: ArrayLike,
    batch_size: int,
    learning_rate: float,
    l2: float = 0.0,
    activation: str = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
) -> tuple[list[Array], list[Array], Array]:
    """Minibatch gradient descent over the rows in a given order.

    Parameters
    ----------
    weights, biases, X, labels, l2, activation, input_shift, input_scale
        As in `loss`.
    order : array_like of int, (n_rows,)
        Row numbers of ``X``. They are cut into consecutive minibatches; the short last one is trained too, on the mean
        over its own rows. An epoch's end inside ``order`` means nothing: where ``batch_size`` does not divide the
        epoch, call once an epoch.
    batch_size : int
    learning_rate : float

    Returns
    -------
    weights, biases : list of ndarray of float64
        The trained ones; those given are left as they are.
    losses : ndarray of float64, (n_minibatches,)
        The loss of each minibatch before its update, l2 term included.

    Raises
    ------
    TypeError, ValueError
        As `loss`; and if ``order`` is not 1-D or names a row that ``X`` lacks, or ``batch_size`` is below 1.

    Examples
    --------
    >>> weights, biases, losses = train([[[0, 0]]], [[0, 0]], [[1], [1]], [0, 1], [0, 1], 1, 2.0)
    >>> weights[0].round(3), losses.round(3)
    (array([[-0.964,  0.964]]), array([0.693, 4.018]))
    """
    rows, X, labels = np.asarray(order), np.asarray(X), np.asarray(labels)
    if rows.ndim != 1 or (rows.size > 0 and rows.dtype.kind not in "iu"):
        raise ValueError(f"order: got shape {rows.shape} of {rows.dtype}, expected row numbers, 1-D")
    if rows.size > 0 and not (rows.min() >= 0 and rows.max() < len(X)):  # a negative number would count from the end
        raise ValueError(f"order: got row numbers {rows.min()} to {rows.max()}, expected 0 to {len(X) - 1}")
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size!r}, expected at least 1")
    Ws = [float64("weights", W) for W in weights]
    bs = [float64("biases", b) for b in biases]
    losses: list[float] = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        value, dWs, dbs, _ = gradient(Ws, bs, X[batch], labels[batch], l2, activation, input_shift, input_scale)
        Ws = [sgd_update(W, dW, learning_rate) for W, dW in zip(Ws, dWs, strict=True)]  # dW holds the l2 term already
        bs = [sgd_update(b, db, learning_rate) for b, db in zip(bs, dbs, strict=True)]
        losses.append(value)
    return Ws, bs, np.array(losses, dtype=np.float64)
