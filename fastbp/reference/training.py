"""Training: one minibatch after another, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import Array, float64
from .dropout import dropout_mask, dropout_masks, step_key
from .embeddings import embedded_gradient
from .losses import smoothed_targets
from .optimizers import clip_gradients, optimizer_step, options_for


def train(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    order: ArrayLike,
    batch_size: int,
    learning_rate: float | Sequence[float],
    l2: float = 0.0,
    activation: str | Sequence[str] = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    optimizer: str = "sgd",
    optimizer_options: Mapping[str, float] | None = None,
    l2_per_weight: bool = False,
    max_grad_norm: float | None = None,
    dropout: float | Sequence[float] = 0.0,
    input_dropout: float = 0.0,
    dropout_key: int = 0,
    layer_rates: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    **options: Any,
) -> tuple[list[Array], list[Array], Array]:
    """Train on minibatches of the rows in a given order, with a step of an optimizer after each.

    Parameters
    ----------
    weights, biases, X, labels, l2, activation, input_shift, input_scale
        As in `loss`.
    order : array_like of int, (n_rows,) or (epochs, n_rows)
        Row numbers of ``X``. Those of an epoch are cut into consecutive minibatches; the short last one is trained too,
        on the mean over its own rows. In 1-D, all of ``order`` is one epoch.
    batch_size : int
    learning_rate : float or sequence of float
        Of all steps, or of each.
    sample_weight : array_like, (len(X),), optional
    optimizer, optimizer_options
        As name and options in `optimizer_step`; no weight decay for biases.
    l2_per_weight : bool
        The penalty of a minibatch is divided by its rows, or by the sum of their weights.
    max_grad_norm : float, optional
        As in `clip_gradients`.
    dropout : float or sequence of float
        Share p of hidden units to drop, one for all layers or one for each, by `dropout_masks` with `step_key` of
        ``dropout_key`` and the step, from 0.
    input_dropout : float
        The same for the inputs of the first layer.
    dropout_key : int
    layer_rates : sequence of float, optional
        Factors of the learning rate, one for each layer. A layer with a factor of 0 is not updated, and its gradient is
        no part of what is clipped.
    label_smoothing : float
        As in `smoothed_targets`.
    **options
        loss_name and the constants of activations and losses, as in `loss`.

    Returns
    -------
    weights, biases : list of ndarray of float64
        The trained ones; those given are not changed.
    losses : ndarray of float64, (n_minibatches,)
        The loss of each minibatch before its update, l2 term included.

    Raises
    ------
    TypeError, ValueError
        As `loss`; and if ``order`` is not 1-D or 2-D or names a row that ``X`` lacks, or ``batch_size`` is below 1.

    Examples
    --------
    >>> weights, biases, losses = train([[[0, 0]]], [[0, 0]], [[1], [1]], [0, 1], [0, 1], 1, 2.0)
    >>> weights[0].round(3), losses.round(3)
    (array([[-0.964,  0.964]]), array([0.693, 4.018]))
    """
    _, trained_weights, trained_biases, losses = embedded_train(
        {}, weights, biases, X, labels, order, batch_size, learning_rate, l2, activation, input_shift, input_scale,
        sample_weight=sample_weight, optimizer=optimizer, optimizer_options=optimizer_options,
        l2_per_weight=l2_per_weight, max_grad_norm=max_grad_norm, dropout=dropout, input_dropout=input_dropout,
        dropout_key=dropout_key, layer_rates=layer_rates, label_smoothing=label_smoothing, **options,
    )  # fmt: skip
    return trained_weights, trained_biases, losses


def embedded_train(
    tables: Mapping[int, ArrayLike],
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    X: ArrayLike,
    labels: ArrayLike,
    order: ArrayLike,
    batch_size: int,
    learning_rate: float | Sequence[float],
    l2: float = 0.0,
    activation: str | Sequence[str] = "relu",
    input_shift: ArrayLike | None = None,
    input_scale: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    optimizer: str = "sgd",
    optimizer_options: Mapping[str, float] | None = None,
    l2_per_weight: bool = False,
    max_grad_norm: float | None = None,
    dropout: float | Sequence[float] = 0.0,
    input_dropout: float = 0.0,
    dropout_key: int = 0,
    layer_rates: Sequence[float] | None = None,
    table_rates: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    **options: Any,
) -> tuple[dict[int, Array], list[Array], list[Array], Array]:
    """Do what `train` does for a network with embeddings, whose tables are updated as weights are, unused rows too.

    Parameters
    ----------
    tables
        As in `embed`.
    weights, biases, ...
        As in `train`.
    table_rates : sequence of float, optional
        Factors of the learning rate, one for each table.

    Returns
    -------
    tables : dict of int to ndarray of float64
    weights, biases, losses
        As of `train`.
    """
    X, labels = np.asarray(X), np.asarray(labels)
    if label_smoothing > 0:
        name = options.get("loss_name", "softmax_cross_entropy")
        labels = smoothed_targets(name, labels, np.shape(weights[-1])[1], label_smoothing)
    batches = _minibatches(order, len(X), batch_size)
    rates = np.broadcast_to(float64("learning_rate", learning_rate), len(batches))
    weight = np.ones(len(X)) if sample_weight is None else float64("sample_weight", sample_weight, (len(X),))
    p = [float64("weights", W) for W in weights] + [float64("biases", b) for b in biases]
    p += [float64("tables", table) for table in tables.values()]
    layers = len(weights)
    of_layers = [1.0] * layers if layer_rates is None else list(layer_rates)
    factors = [*of_layers, *of_layers, *([1.0] * len(tables) if table_rates is None else table_rates)]
    trained = [i for i, factor in enumerate(factors) if factor != 0]

    def tables_now() -> dict[int, Array]:
        return dict(zip(tables, p[2 * layers :], strict=True))

    states: list[tuple[Array, ...]] = [()] * len(p)
    losses: list[float] = []
    for step, batch in enumerate(batches):
        if sample_weight is not None:
            options["sample_weight"] = weight[batch]
        key = step_key(dropout_key, step)
        if np.any(np.asarray(dropout) > 0):
            hidden = [len(b) for b in p[layers : 2 * layers - 1]]
            options["masks"] = dropout_masks(key, hidden, len(batch), dropout)
        if input_dropout > 0:
            options["input_mask"] = dropout_mask(key, -1, len(batch), len(p[0]), input_dropout)
        strength = l2 / weight[batch].sum() if l2_per_weight else l2
        rows = X[batch], labels[batch]
        value, dWs, dbs, _, d_tables = embedded_gradient(
            tables_now(), p[:layers], p[layers : 2 * layers], *rows, strength, activation, input_shift, input_scale,
            **options,
        )  # fmt: skip
        gradients = [*dWs, *dbs, *(d_tables[column] for column in tables)]
        gradients = [gradients[i] for i in trained]
        if max_grad_norm is not None:
            gradients = clip_gradients(gradients, max_grad_norm)[0]
        for i, g in zip(trained, gradients, strict=True):
            hyper = options_for(optimizer, optimizer_options or {}, is_bias=layers <= i < 2 * layers)
            p[i], states[i] = optimizer_step(optimizer, p[i], g, states[i], step + 1, factors[i] * rates[step], **hyper)
        losses.append(value)
    return tables_now(), p[:layers], p[layers : 2 * layers], np.array(losses, dtype=np.float64)


def _minibatches(order: ArrayLike, n: int, batch_size: int) -> list[NDArray[Any]]:
    """Return the row numbers of each minibatch."""
    rows = np.asarray(order)
    if rows.ndim not in (1, 2) or (rows.size > 0 and rows.dtype.kind not in "iu"):
        raise ValueError(f"order: got shape {rows.shape} of {rows.dtype}, expected row numbers, 1-D or 2-D")
    if rows.size > 0 and not (rows.min() >= 0 and rows.max() < n):  # a negative number would count from the end
        raise ValueError(f"order: got row numbers {rows.min()} to {rows.max()}, expected 0 to {n - 1}")
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size!r}, expected at least 1")
    epochs = np.atleast_2d(rows)
    return [epoch[start : start + batch_size] for epoch in epochs for start in range(0, len(epoch), batch_size)]
