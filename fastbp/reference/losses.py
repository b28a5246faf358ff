"""Losses, one row of `LOSSES` each: of each row of data, their mean, and its gradient with respect to the logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .activations import logistic
from .arrays import Array, float64
from .tables import Constant, Constants, check_names, row_of, values_of


@np.errstate(over="ignore", invalid="ignore")
def softmax(logits: ArrayLike) -> Array:
    """Compute the softmax of each row, ``p = exp(x − max x) / Σ exp(x − max x)``.

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
    """Compute the cross-entropy of each row, ``Σ_j t_j (log Σ_k exp x_k − x_j)``.

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
    losses: Array = _cross_entropies(logits, probability_rows(labels, *logits.shape)).sum(axis=1)
    return losses


def _cross_entropies(z: Array, t: Array) -> Array:
    """Return each class's part of the cross-entropy of its row."""
    shifted = z - z.max(axis=1, keepdims=True)
    surprisal = np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted
    # A class of probability 0 costs nothing, also where its logit is -inf: 0 * inf would be NaN.
    return np.asarray(np.multiply(t, surprisal, out=np.zeros_like(t), where=t != 0))


@np.errstate(over="ignore", invalid="ignore")
def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> tuple[float, Array]:
    """Compute softmax and cross-entropy as one node: the mean of `row_losses`, and ``dlogits = (softmax − t) / n``.

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
    """Return labels as float64 rows of probabilities (n, classes); class indices become one-hot rows."""
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


# ---- targets ----


def numbers(targets: ArrayLike, n: int, outputs: int) -> Array:
    """Return targets as float64 (n, outputs); with one output they may be 1-D."""
    one_column = outputs == 1 and np.ndim(targets) == 1
    return float64("targets", targets, (n,) if one_column else (n, outputs)).reshape(n, outputs)


def shares(targets: ArrayLike, n: int, outputs: int) -> Array:
    """Return targets as `numbers` does, which must be probabilities."""
    t = numbers(targets, n, outputs)
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError("targets: got numbers below 0 or above 1, expected probabilities")
    return t


def counts(targets: ArrayLike, n: int, outputs: int) -> Array:
    """Return targets as `numbers` does, of which none may be negative."""
    t = numbers(targets, n, outputs)
    if not (t >= 0).all():
        raise ValueError("targets: got numbers below 0, expected none")
    return t


# ---- formulas of one logit z and one target t ----


def _binary_cross_entropy(z: Array, t: Array) -> Array:
    """Return ``−t log s(z) − (1 − t) log s(−z)``, s the logistic function, with ``−log s(z) = log(1 + exp(−z))``."""
    # What has probability 0 costs nothing, also where its logarithm is infinite.
    of_yes = np.multiply(t, np.logaddexp(0.0, -z), out=np.zeros_like(z), where=t != 0)
    of_no = np.multiply(1.0 - t, np.logaddexp(0.0, z), out=np.zeros_like(z), where=t != 1)
    return of_yes + of_no


def _binary_cross_entropy_slope(z: Array, t: Array) -> Array:
    """Return ``s(z) − t``, without its cancellation."""
    return (1.0 - t) * logistic(z) - t * logistic(-z)


def _half_poisson_deviance(z: Array, t: Array) -> Array:
    """Return ``t log(t / μ) − t + μ`` with ``μ = exp z``; the first term is 0 where t is."""
    first = np.multiply(t, np.log(t, out=np.zeros_like(t), where=t > 0) - z, out=np.zeros_like(z), where=t != 0)
    return first - t + np.exp(z)


def _poisson_terms(z: Array, t: Array) -> Array:
    return 2.0 * (np.exp(z) + t * (2.0 + np.abs(z)))


def _huber(z: Array, t: Array, huber_delta: Array) -> Array:
    """Return ``(z − t)² / 2`` where ``|z − t| <= δ``, else ``δ (|z − t| − δ / 2)``."""
    d = np.abs(z - t)
    return np.where(d <= huber_delta, d**2 / 2.0, huber_delta * (d - huber_delta / 2.0))


class Loss(NamedTuple):
    """The formulas of a loss, of logits and targets (n, outputs). Each takes the constants by their names.

    Attributes
    ----------
    value : callable
        ``value(z, t)``, the loss of each entry. A row's is their mean or their sum.
    slope : callable
        ``slope(z, t)``, the derivative of the row's sum by each logit.
    targets : callable
        ``targets(targets, n, outputs)``, what users give as float64 (n, outputs).
    outputs : callable
        ``outputs(z)``, what the network predicts.
    mean : bool
        Whether a row's loss is the mean over its outputs, not the sum.
    constants : dict of str to Constant
    kink : callable, optional
        ``kink(z, t)``, the distance of each logit from the nearest point where the slope, or the slope's derivative,
        jumps; None: neither does.
    terms : callable, optional
        ``terms(z, t)``, the magnitude of the terms of `value`, where they cancel; None: they do not.
    """

    value: Callable[..., Array]
    slope: Callable[..., Array]
    targets: Callable[[ArrayLike, int, int], Array] = numbers
    outputs: Callable[[Array], Array] = lambda z: z
    mean: bool = True
    constants: Constants = {}
    kink: Callable[..., Array] | None = None
    terms: Callable[..., Array] | None = None


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss(
        value=_cross_entropies,
        slope=lambda z, t: softmax(z) - t,
        targets=probability_rows,
        outputs=softmax,
        mean=False,
    ),
    "binary_cross_entropy": Loss(
        value=_binary_cross_entropy,
        slope=_binary_cross_entropy_slope,
        targets=shares,
        outputs=logistic,
    ),
    "binary_cross_entropy_sum": Loss(
        value=_binary_cross_entropy,
        slope=_binary_cross_entropy_slope,
        targets=shares,
        outputs=logistic,
        mean=False,
    ),
    "mean_squared_error": Loss(
        value=lambda z, t: (z - t) ** 2,
        slope=lambda z, t: 2.0 * (z - t),
    ),
    "half_squared_error": Loss(
        value=lambda z, t: (z - t) ** 2 / 2.0,
        slope=lambda z, t: z - t,
    ),
    "mean_absolute_error": Loss(
        value=lambda z, t: np.abs(z - t),
        slope=lambda z, t: np.sign(z - t),
        kink=lambda z, t: np.abs(z - t),
    ),
    "huber": Loss(
        value=_huber,
        slope=lambda z, t, huber_delta: np.clip(z - t, -huber_delta, huber_delta),
        constants={"huber_delta": Constant(1.0, tried=(0.75,))},
        kink=lambda z, t, huber_delta: np.abs(np.abs(z - t) - huber_delta),
    ),
    "quantile": Loss(
        value=lambda z, t, quantile_level: np.where(z < t, quantile_level, quantile_level - 1.0) * (t - z),
        slope=lambda z, t, quantile_level: np.sign(z - t) * np.where(z < t, quantile_level, 1.0 - quantile_level),
        constants={"quantile_level": Constant(0.5, tried=(0.25, lambda outputs: np.linspace(0.1, 0.8, outputs)))},
        kink=lambda z, t, quantile_level: np.abs(z - t),
    ),
    "poisson_deviance": Loss(
        value=lambda z, t: 2.0 * _half_poisson_deviance(z, t),
        slope=lambda z, t: 2.0 * (np.exp(z) - t),
        targets=counts,
        outputs=np.exp,
        terms=_poisson_terms,
    ),
    "half_poisson_deviance_sum": Loss(
        value=_half_poisson_deviance,
        slope=lambda z, t: np.exp(z) - t,
        targets=counts,
        outputs=np.exp,
        mean=False,
        terms=_poisson_terms,
    ),
}


# ---- by name ----


@np.errstate(over="ignore")
def outputs_of(name: str, logits: ArrayLike) -> Array:
    """Compute what a network with that loss predicts: softmax, logistic function, exp or identity of the logits.

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
    row = row_of(LOSSES, "loss", name)
    return row.outputs(float64("logits", logits, (None, None)))


def losses_of(name: str, logits: ArrayLike, targets: ArrayLike, delta: float = 1.0, **constants: ArrayLike) -> Array:
    """Compute any loss of each row, by its name.

    Parameters
    ----------
    name : str
        One of `LOSSES`, whose rows are the formulas.
    logits : array_like, (n, outputs)
    targets : array_like, (n, outputs), or (n,) where there is one output
        For softmax_cross_entropy labels as in `row_losses`.
    delta : float
        Of huber, elsewhere called huber_delta.
    **constants : array_like
        Those of other losses, by their names: a number, or one for each output.

    Returns
    -------
    losses : ndarray of float64, (n,)

    Raises
    ------
    TypeError, ValueError
        If the name is not known, a shape does not fit, targets lie outside the loss's range, or no loss has such a
        constant.

    Examples
    --------
    >>> losses_of("huber", [[1.0, 5.0]], [[0.0, 0.0]], delta=2.0)  # (1/2 + 2 * (5 - 1)) / 2
    array([4.25])
    """
    return _rows(name, logits, targets, delta, constants)[0]


def loss_of(
    name: str,
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    delta: float = 1.0,
    **constants: ArrayLike,
) -> tuple[float, Array]:
    """Compute the mean over rows of `losses_of`, and its gradient with respect to the logits.

    Parameters
    ----------
    name, logits, targets, delta, **constants
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
    losses, slopes = _rows(name, logits, targets, delta, constants)
    if len(losses) == 0:
        raise ValueError(f"logits: got shape {slopes.shape}, expected at least one row to take the mean over")
    if sample_weight is None:
        return float(losses.mean()), slopes / len(losses)
    weight = float64("sample_weight", sample_weight, losses.shape)
    total = float(weight.sum())
    if not total > 0:
        raise ValueError(f"sample_weight: got weights that add up to {total}, expected more than 0")
    return float(np.sum(weight * losses)) / total, slopes * weight[:, np.newaxis] / total


def smoothed_targets(name: str, targets: ArrayLike, outputs: int, smoothing: float) -> Array:
    """Compute the targets of label smoothing, ``(1 − s) t + s / classes`` (Szegedy et al.: Rethinking the Inception
    architecture for computer vision. CVPR, 2016).

    Parameters
    ----------
    name : str
        A loss of classes: as many as outputs for softmax, else 2.
    targets
        As in `losses_of`.
    outputs : int
    smoothing : float
        s, from 0 to 1.

    Returns
    -------
    targets : ndarray of float64, (n, outputs)

    Examples
    --------
    >>> smoothed_targets("softmax_cross_entropy", [1, 0], 4, 0.2)
    array([[0.05, 0.85, 0.05, 0.05],
           [0.85, 0.05, 0.05, 0.05]])
    >>> smoothed_targets("binary_cross_entropy", [1.0, 0.0], 1, 0.2)
    array([[0.9],
           [0.1]])
    """
    t = row_of(LOSSES, "loss", name).targets(targets, len(np.asarray(targets)), outputs)
    return (1 - smoothing) * t + smoothing / (outputs if name == "softmax_cross_entropy" else 2)


@np.errstate(over="ignore", invalid="ignore")
def _rows(
    name: str, logits: ArrayLike, targets: ArrayLike, delta: float, constants: dict[str, ArrayLike]
) -> tuple[Array, Array]:
    """Return the loss of each row, and its slopes in the row's logits."""
    row = row_of(LOSSES, "loss", name)
    check_names((row.constants for row in LOSSES.values()), constants)
    values = values_of(row.constants, {"huber_delta": delta, **constants})
    z = float64("logits", logits, (None, None))
    t = row.targets(targets, *z.shape)
    outputs = z.shape[1] if row.mean else 1
    return row.value(z, t, **values).sum(axis=1) / outputs, row.slope(z, t, **values) / outputs
