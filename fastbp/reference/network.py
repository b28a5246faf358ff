"""A whole network: forward, loss, gradient by back-propagation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .activations import ACTIVATIONS, activation_backward, activation_forward
from .arrays import Array, float64
from .layers import affine_backward, affine_forward, scale_inputs
from .losses import LOSSES, loss_of
from .tables import check_names, row_of


def forward(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    activation: str | Sequence[str] = "relu",
    *,
    masks: Sequence[ArrayLike] | None = None,
    input_mask: ArrayLike | None = None,
    **constants: ArrayLike,
) -> list[Array]:
    """Compute all activations of a multilayer perceptron; the last layer is linear.

    Parameters
    ----------
    weights : sequence of array_like, (fan_in, fan_out) each
    biases : sequence of array_like, (fan_out,) each
    X : array_like, (n, n_features)
        Inputs as the first layer takes them: `scale_inputs` comes before.
    activation : str or sequence of str
        Of all hidden layers, or of each: see `activation_forward`.
    masks : sequence of array_like, (n, fan_out) each, optional
        Factors of each hidden layer's activations: see `dropout_masks`.
    input_mask : array_like, (n, n_features), optional
        Factors of the inputs: see `dropout_mask`.
    **constants : array_like
        Those of activations and losses, by their names, such as leaky_slope and huber_delta.

    Returns
    -------
    activations : list of ndarray of float64, one more than layers
        ``activations[i]`` is the input of layer ``i``, the first one ``X`` (times its mask), ``activations[-1]`` the
        logits.

    Raises
    ------
    ValueError
        If a shape does not fit, the lists differ in length, or the activation is not known.
    TypeError
        If neither an activation nor a loss has such a constant.

    Examples
    --------
    >>> forward([[[1, -1]], [[2], [3]]], [[0, 0], [1]], [[4]])
    [array([[4.]]), array([[4., 0.]]), array([[9.]])]
    """
    return _forward_pass(weights, biases, X, activation, masks, input_mask, constants)[0]


def _forward_pass(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    activation: str | Sequence[str],
    masks: Sequence[ArrayLike] | None,
    input_mask: ArrayLike | None,
    constants: Mapping[str, ArrayLike],
) -> tuple[list[Array], list[Array]]:
    """Return all activations, as `forward` does, and the pre-activations of each layer, the last being the logits."""
    of_activations, _ = _by_table(constants)
    names = _names(activation, len(weights) - 1)
    if len(weights) != len(biases):
        raise ValueError(f"biases: got {len(biases)}, expected one for each of the {len(weights)} weights")
    if masks is not None and len(masks) != len(names):
        raise ValueError(f"masks: got {len(masks)}, expected one for each of the {len(names)} hidden layers")
    X = float64("X", X, (None, None))
    activations, pre_activations = [X if input_mask is None else _masked(X, input_mask)], []
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        H = affine_forward(activations[-1], W, b)
        pre_activations.append(H)
        if layer < len(names):
            H = activation_forward(names[layer], H, **of_activations)
            H = H if masks is None else _masked(H, masks[layer])
        activations.append(H)
    return activations, pre_activations


def _by_table(constants: Mapping[str, ArrayLike]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the constants of activations and those of losses."""
    tables = [[row.constants for row in table.values()] for table in (ACTIVATIONS, LOSSES)]
    check_names([*tables[0], *tables[1]], constants)
    of_activations, of_losses = (
        {name: value for name, value in constants.items() if any(name in row for row in rows)} for rows in tables
    )
    return of_activations, of_losses


def _names(activation: str | Sequence[str], hidden: int) -> list[str]:
    names = [activation] * hidden if isinstance(activation, str) else list(activation)
    if len(names) != hidden:
        raise ValueError(f"activation: got {len(names)}, expected one for each of the {hidden} hidden layers")
    for name in [activation] if isinstance(activation, str) else names:  # also where there is no hidden layer
        row_of(ACTIVATIONS, "activation", name)
    return names


def _masked(H: Array, mask: ArrayLike) -> Array:
    """Multiply by the mask; dropped units become 0 even where they were infinite or NaN."""
    mask = float64("masks", mask, H.shape)
    return np.multiply(H, mask, out=np.zeros_like(H), where=mask != 0)


def penalty(weights: Sequence[ArrayLike], l2: float) -> float:
    """Compute ``(l2/2) Σ‖W‖²``."""
    return float(l2) / 2 * sum(float(np.sum(float64("weights", W) ** 2)) for W in weights)


def loss(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    l2: float = 0.0,
    activation: str | Sequence[str] = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
    *,
    loss_name: str = "softmax_cross_entropy",
    sample_weight: ArrayLike | None = None,
    masks: Sequence[ArrayLike] | None = None,
    input_mask: ArrayLike | None = None,
    **constants: ArrayLike,
) -> float:
    """Compute the objective, the mean loss of the rows ``+ (l2/2) Σ‖W‖²``.

    Parameters
    ----------
    weights, biases, activation
        As in `forward`.
    X : array_like, (n, n_features)
        Raw inputs: `scale_inputs` is applied here.
    labels : array_like, (n,) of class indices or (n, classes) of probabilities
        What the loss takes as targets: see `losses_of`.
    l2 : float
        Biases are not penalised, and the term is not divided by n.
    input_shift, input_scale : array_like, () or (n_features,), optional
    loss_name, sample_weight
        As in `loss_of`, where the first is called name.
    masks, input_mask, **constants
        As in `forward`.

    Returns
    -------
    loss : float

    Raises
    ------
    TypeError, ValueError
        As `forward` and `loss_of`.

    Examples
    --------
    >>> round(loss([[[0, 0]]], [[0, 0]], [[7]], [1]), 6)
    0.693147
    >>> round(loss([[[3, 3]]], [[0, 0]], [[7]], [1], l2=0.5), 6)  # + 0.5 / 2 * (9 + 9)
    5.193147
    """
    inputs = scale_inputs(X, input_shift, input_scale)
    _, of_losses = _by_table(constants)
    logits = forward(weights, biases, inputs, activation, masks=masks, input_mask=input_mask, **constants)[-1]
    return loss_of(loss_name, logits, labels, sample_weight, **of_losses)[0] + penalty(weights, l2)


def gradient(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    l2: float = 0.0,
    activation: str | Sequence[str] = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
    *,
    loss_name: str = "softmax_cross_entropy",
    sample_weight: ArrayLike | None = None,
    masks: Sequence[ArrayLike] | None = None,
    input_mask: ArrayLike | None = None,
    **constants: ArrayLike,
) -> tuple[float, list[Array], list[Array], Array]:
    """Compute `loss` and its gradient by back-propagation.

    Parameters
    ----------
    weights, biases, X, labels, l2, activation, input_shift, input_scale, ...
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
    names = _names(activation, len(weights) - 1)
    inputs = scale_inputs(X, input_shift, input_scale)
    of_activations, of_losses = _by_table(constants)
    activations, pre_activations = _forward_pass(weights, biases, inputs, names, masks, input_mask, constants)
    value, dH = loss_of(loss_name, activations[-1], labels, sample_weight, **of_losses)
    dWs: list[Array] = []
    dbs: list[Array] = []
    for layer in reversed(range(len(weights))):
        if layer < len(names):
            dH = dH if masks is None else _masked(dH, masks[layer])
            dH = activation_backward(names[layer], dH, pre_activations[layer], **of_activations)
        dH, dW, db = affine_backward(dH, activations[layer], weights[layer])
        dWs.insert(0, dW + float(l2) * float64("weights", weights[layer]))
        dbs.insert(0, db)
    dH = dH if input_mask is None else _masked(dH, input_mask)
    dX = dH * float64("input_scale", 1.0 if input_scale is None else input_scale)
    return value + penalty(weights, l2), dWs, dbs, dX
