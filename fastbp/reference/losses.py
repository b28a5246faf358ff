"""Losses: of each row, their mean, and its gradient with respect to the logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Array, float64


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
