"""Losses: of each row, their mean, and its gradient with respect to the logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .activations import logistic
from .arrays import Array, float64

LOSSES = (
    "softmax_cross_entropy",
    "binary_cross_entropy",
    "binary_cross_entropy_sum",
    "mean_squared_error",
    "half_squared_error",
    "mean_absolute_error",
    "huber",
    "poisson_deviance",
    "half_poisson_deviance_sum",
)


@np.errstate(over="ignore", invalid="ignore")
def softmax(logits: ArrayLike) -> Array:
    """Softmax of each row, ``p = exp(x − max x) / Σ exp(x − max x)``.

    Parameters
    ----------
    logits : array_like, (n, classes)

    Returns
    -------
    p : ndarray of float64, (n, classes)
        NaN throughout a row that holds NaN or +inf, or nothing but -inf.

    Raises
    ------
    ValueError
        If ``logits`` is not 2-D.

    Examples
    --------
    >>> softmax([[1000, 1000], [0, -1000]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    logits = float64("logits", logits, (None, None))
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@np.errstate(over="ignore", invalid="ignore")
def row_losses(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Cross-entropy of each row, ``Σ_j t_j (log Σ_k exp x_k − x_j)``.

    Parameters
    ----------
    logits : array_like, (n, classes)
    labels : array_like, (n,) of class indices or (n, classes) of probabilities
        The probabilities of a row are taken to add up to 1.

    Returns
    -------
    losses : ndarray of float64, (n,)

    Raises
    ------
    TypeError
        If 1-D labels are not integers.
    ValueError
        If a shape does not fit or a class index is out of range.

    Examples
    --------
    >>> row_losses([[0, 0], [1000, 0], [0, -1000]], [1, 0, 1]).round(6)
    array([6.93147e-01, 0.00000e+00, 1.00000e+03])
    """
    logits = float64("logits", logits, (None, None))
    t = probability_rows(labels, *logits.shape)
    shifted = logits - logits.max(axis=1, keepdims=True)
    surprisal = np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted
    # A class of probability 0 costs nothing, also where its logit is -inf: 0 * inf would be NaN.
    losses: Array = np.multiply(t, surprisal, out=np.zeros_like(t), where=t != 0).sum(axis=1)
    return losses


@np.errstate(over="ignore", invalid="ignore")
def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> tuple[float, Array]:
    """Softmax and cross-entropy as one node: the mean of `row_losses` and ``dlogits = (softmax − t) / n``.

    Parameters
    ----------
    logits : array_like, (n, classes)
        At least one row, for a mean.
    labels : array_like, (n,) of class indices or (n, classes) of probabilities

    Returns
    -------
    loss : float
    dlogits : ndarray of float64, (n, classes)

    Raises
    ------
    TypeError
        If 1-D labels are not integers.
    ValueError
        If there is no row, a shape does not fit or a class index is out of range.

    Examples
    --------
    >>> value, dlogits = softmax_cross_entropy([[0, 0], [0, 0]], [0, 1])
    >>> round(value, 6), dlogits
    (0.693147, array([[-0.25,  0.25],
           [ 0.25, -0.25]]))
    """
    p = softmax(logits)
    if len(p) == 0:
        raise ValueError(f"logits: got shape {p.shape}, expected at least one row to take the mean over")
    return float(row_losses(logits, labels).mean()), (p - probability_rows(labels, *p.shape)) / len(p)


def probability_rows(labels: ArrayLike, n: int, classes: int) -> Array:
    """Labels as float64 rows of probabilities (n, classes): class indices become one-hot rows."""
    t = np.asarray(labels)
    if t.ndim != 1:
        return float64("labels", labels, (n, classes))
    if t.dtype.kind not in "iu":
        raise TypeError(f"labels: got dtype {t.dtype}, expected integer class indices (n,) or rows (n, classes)")
    if t.shape != (n,):
        raise ValueError(f"labels: got shape {t.shape}, expected {(n,)} or {(n, classes)}")
    if n > 0 and not (t.min() >= 0 and t.max() < classes):  # a negative index would count from the end
        raise ValueError(f"labels: got class indices from {t.min()} to {t.max()}, expected 0 to {classes - 1}")
    one_hot: Array = np.eye(classes)[t]
    return one_hot


def outputs_of(name: str, logits: ArrayLike) -> Array:
    """What a network with that loss predicts: softmax, logistic function, exp or identity of the logits.

    Parameters
    ----------
    name : str
        One of `LOSSES`.
    logits : array_like, (n, outputs)

    Returns
    -------
    outputs : ndarray of float64, (n, outputs)

    Raises
    ------
    ValueError
        If the name is not known or ``logits`` is not 2-D.

    Examples
    --------
    >>> outputs_of("binary_cross_entropy", [[0.0, 1000.0]]), outputs_of("huber", [[7.0]])
    (array([[0.5, 1. ]]), array([[7.]]))
    """
    _check_name(name)
    logits = float64("logits", logits, (None, None))
    if name == "softmax_cross_entropy":
        return softmax(logits)
    if name.startswith("binary"):
        return logistic(logits)
    with np.errstate(over="ignore"):
        return np.exp(logits) if "poisson" in name else logits


def losses_of(name: str, logits: ArrayLike, targets: ArrayLike, delta: float = 1.0) -> Array:
    """Any loss of each row, by name.

    With a row's logits z and targets t, the mean over outputs (the sum where the name ends in "_sum") of

    ===================================================  ==================================================
    binary_cross_entropy, binary_cross_entropy_sum       ``−t log s(z) − (1 − t) log s(−z)``, s logistic
    mean_squared_error, half_squared_error               ``(z − t)²``, half of it
    mean_absolute_error                                  ``|z − t|``
    huber                                                ``(z − t)² / 2`` where ``|z − t| <= delta``, else
                                                         ``delta (|z − t| − delta / 2)``
    poisson_deviance, half_poisson_deviance_sum          ``2 (t log(t / μ) − t + μ)`` with ``μ = exp z``,
                                                         half of it
    ===================================================  ==================================================

    and `row_losses` for softmax_cross_entropy.

    Parameters
    ----------
    name : str
    logits : array_like, (n, outputs)
    targets : array_like, (n, outputs), or (n,) where there is one output
        For softmax_cross_entropy labels as in `row_losses`.
    delta : float
        Of huber.

    Returns
    -------
    losses : ndarray of float64, (n,)

    Raises
    ------
    TypeError, ValueError
        If the name is not known, a shape does not fit, or targets lie outside the loss's range.

    Examples
    --------
    >>> losses_of("huber", [[1.0, 5.0]], [[0.0, 0.0]], delta=2.0)  # (1/2 + 2 * (5 - 1)) / 2
    array([4.25])
    """
    return _rows(name, logits, targets, delta)[0]


def loss_of(
    name: str, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None, delta: float = 1.0
) -> tuple[float, Array]:
    """The mean over rows of `losses_of`, and its gradient with respect to the logits.

    Parameters
    ----------
    name, logits, targets, delta
        As in `losses_of`; at least one row.
    sample_weight : array_like, (n,), optional
        The mean is then ``Σ w r / Σ w``.

    Returns
    -------
    loss : float
    dlogits : ndarray of float64, (n, outputs)

    Raises
    ------
    TypeError, ValueError
        As `losses_of`; and if there is no row, or the weights do not add up to more than 0.

    Examples
    --------
    >>> loss_of("mean_squared_error", [[2.0], [0.0]], [1.0, 3.0])
    (5.0, array([[ 1.],
           [-3.]]))
    >>> loss_of("mean_squared_error", [[2.0], [0.0]], [1.0, 3.0], sample_weight=[3.0, 1.0])
    (3.0, array([[ 1.5],
           [-1.5]]))
    """
    losses, slopes = _rows(name, logits, targets, delta)
    if len(losses) == 0:
        raise ValueError(f"logits: got shape {slopes.shape}, expected at least one row to take the mean over")
    if sample_weight is None:
        return float(losses.mean()), slopes / len(losses)
    weight = float64("sample_weight", sample_weight, losses.shape)
    total = float(weight.sum())
    if not total > 0:
        raise ValueError(f"sample_weight: got weights that add up to {total}, expected more than 0")
    return float(np.sum(weight * losses)) / total, slopes * weight[:, np.newaxis] / total


@np.errstate(over="ignore", invalid="ignore")
def _rows(name: str, logits: ArrayLike, targets: ArrayLike, delta: float) -> tuple[Array, Array]:
    """The loss of each row and its slopes in the row's logits."""
    _check_name(name)
    z = float64("logits", logits, (None, None))
    if name == "softmax_cross_entropy":
        return row_losses(z, targets), softmax(z) - probability_rows(targets, *z.shape)
    one_column = z.shape[1] == 1 and np.ndim(targets) == 1
    t = float64("targets", targets, z.shape[:1] if one_column else z.shape).reshape(z.shape)
    if name.startswith("binary"):
        losses, slopes = _binary_cross_entropy(z, t)
    elif "poisson" in name:
        losses, slopes = _half_poisson_deviance(z, t)
    else:
        losses, slopes = _of_differences(name, z - t, float(delta))
    if name == "poisson_deviance":
        losses, slopes = 2.0 * losses, 2.0 * slopes
    outputs = 1 if name.endswith("_sum") else z.shape[1]
    return losses.sum(axis=1) / outputs, slopes / outputs


def _binary_cross_entropy(z: Array, t: Array) -> tuple[Array, Array]:
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError("targets: got numbers below 0 or above 1, expected probabilities")
    # −log s(z) = log(1 + exp(−z)). What has probability 0 costs nothing, also where its logarithm is infinite.
    of_yes = np.multiply(t, np.logaddexp(0.0, -z), out=np.zeros_like(z), where=t != 0)
    of_no = np.multiply(1.0 - t, np.logaddexp(0.0, z), out=np.zeros_like(z), where=t != 1)
    return of_yes + of_no, (1.0 - t) * logistic(z) - t * logistic(-z)  # s(z) − t, without its cancellation


def _half_poisson_deviance(z: Array, t: Array) -> tuple[Array, Array]:
    if not (t >= 0).all():
        raise ValueError("targets: got numbers below 0, expected none")
    mu = np.exp(z)
    part = np.multiply(t, np.log(t, out=np.zeros_like(t), where=t > 0) - z, out=np.zeros_like(z), where=t != 0)
    return part - t + mu, mu - t


def _of_differences(name: str, d: Array, delta: float) -> tuple[Array, Array]:
    if name == "mean_squared_error":
        return d**2, 2.0 * d
    if name == "half_squared_error":
        return d**2 / 2.0, d
    if name == "mean_absolute_error":
        return np.abs(d), np.sign(d)
    inside = np.abs(d) <= delta
    return np.where(inside, d**2 / 2.0, delta * (np.abs(d) - delta / 2.0)), np.clip(d, -delta, delta)


def _check_name(name: str) -> None:
    if name not in LOSSES:
        raise ValueError(f"loss: got {name!r}, expected one of {', '.join(map(repr, LOSSES))}")
