"""The oracle: the mathematics of fastbp in plain NumPy float64.

What the kernels do fast, this module says plainly, one formula a function, so that it can be checked by eye against a
textbook. Tests and ``verify`` compare the kernels with it; therefore it imports nothing of fastbp, and a fault in a
kernel cannot hide here. Every argument is converted to float64 first (a copy), nothing is changed in place, and NaN and
infinity go through without a warning, as they do in a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def _float64(name: str, value: ArrayLike, shape: tuple[int | None, ...] | None = None) -> Array:
    """Copy ``value`` to float64 and check its shape, in which None stands for any length."""
    array = np.array(value, dtype=np.float64)
    if shape is not None:
        fits = array.ndim == len(shape) and all(e in (None, a) for a, e in zip(array.shape, shape, strict=True))
        if not fits:
            expected = str(shape).replace("None", "any")
            raise ValueError(f"{name}: got shape {array.shape}, expected {expected}")
    return array


def _targets(labels: ArrayLike, n: int, classes: int) -> Array:
    """Labels as float64 rows of probabilities (n, classes): class indices become one-hot rows."""
    t = np.asarray(labels)
    if t.ndim != 1:
        return _float64("labels", labels, (n, classes))
    if t.dtype.kind not in "iu":
        raise TypeError(f"labels: got dtype {t.dtype}, expected integer class indices (n,) or rows (n, classes)")
    if t.shape != (n,):
        raise ValueError(f"labels: got shape {t.shape}, expected {(n,)} or {(n, classes)}")
    if n > 0 and not (t.min() >= 0 and t.max() < classes):  # a negative index would count from the end
        raise ValueError(f"labels: got class indices from {t.min()} to {t.max()}, expected 0 to {classes - 1}")
    one_hot: Array = np.eye(classes)[t]
    return one_hot


@np.errstate(over="ignore", invalid="ignore")
def affine_forward(X: ArrayLike, W: ArrayLike, b: ArrayLike) -> Array:
    """Affine layer, ``H = X W + b``.

    Parameters
    ----------
    X : array_like, (n, fan_in)
    W : array_like, (fan_in, fan_out)
    b : array_like, (fan_out,)

    Returns
    -------
    H : ndarray of float64, (n, fan_out)

    Raises
    ------
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> affine_forward([[1, 2]], [[1, 0, 2], [0, 1, 3]], [10, 20, 30])
    array([[11., 22., 38.]])
    """
    W = _float64("W", W, (None, None))
    X = _float64("X", X, (None, W.shape[0]))
    b = _float64("b", b, (W.shape[1],))
    return X @ W + b


@np.errstate(over="ignore", invalid="ignore")
def affine_backward(dH: ArrayLike, X: ArrayLike, W: ArrayLike) -> tuple[Array, Array, Array]:
    """Gradients of an affine layer, ``dX = dH Wᵀ``, ``dW = Xᵀ dH``, ``db = Σ_rows dH``.

    Parameters
    ----------
    dH : array_like, (n, fan_out)
        Gradient of the loss with respect to the layer's output.
    X : array_like, (n, fan_in)
    W : array_like, (fan_in, fan_out)

    Returns
    -------
    dX : ndarray of float64, (n, fan_in)
    dW : ndarray of float64, (fan_in, fan_out)
    db : ndarray of float64, (fan_out,)

    Raises
    ------
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> dX, dW, db = affine_backward([[1, 10]], [[2, 3]], [[1, 2], [3, 4]])
    >>> dX, dW, db
    (array([[21., 43.]]), array([[ 2., 20.],
           [ 3., 30.]]), array([ 1., 10.]))
    """
    W = _float64("W", W, (None, None))
    X = _float64("X", X, (None, W.shape[0]))
    dH = _float64("dH", dH, (X.shape[0], W.shape[1]))
    return dH @ W.T, X.T @ dH, dH.sum(axis=0)


def relu_forward(x: ArrayLike) -> Array:
    """ReLU, ``y = select(x <= 0, 0, x)``; NaN goes through.

    Parameters
    ----------
    x : array_like, any shape

    Returns
    -------
    y : ndarray of float64, the shape of ``x``

    Examples
    --------
    >>> relu_forward([-1, 0, 2, float("nan")])
    array([ 0.,  0.,  2., nan])
    """
    x = _float64("x", x)
    return np.where(x <= 0, 0.0, x)


def relu_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    """Gradient of ReLU from its output, ``dx = select(y <= 0, 0, dy)``; the derivative at 0 is 0.

    Parameters
    ----------
    dy : array_like, any shape
    y : array_like, the shape of ``dy``
        What `relu_forward` returned. Where it is NaN, ``dy`` goes through.

    Returns
    -------
    dx : ndarray of float64, the shape of ``dy``

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> relu_backward([5, 6, 7], [0, 2, float("nan")])
    array([0., 6., 7.])
    """
    dy = _float64("dy", dy)
    y = _float64("y", y, dy.shape)
    return np.where(y <= 0, 0.0, dy)


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
    logits = _float64("logits", logits, (None, None))
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
    logits = _float64("logits", logits, (None, None))
    t = _targets(labels, *logits.shape)
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
    return float(row_losses(logits, labels).mean()), (p - _targets(labels, *p.shape)) / len(p)


def sgd_update(W: ArrayLike, dW: ArrayLike, learning_rate: float, l2: float = 0.0) -> Array:
    """One step of gradient descent, ``W − learning_rate · (dW + l2 · W)``.

    Parameters
    ----------
    W, dW : array_like, any shape, the same
    learning_rate, l2 : float

    Returns
    -------
    W : ndarray of float64, the shape of ``W``
        The new parameters; the old ones are left as they are.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> sgd_update([1, 2], [10, 20], 0.25, 0.5)
    array([-1.625, -3.25 ])
    """
    W = _float64("W", W)
    dW = _float64("dW", dW, W.shape)
    return W - float(learning_rate) * (dW + float(l2) * W)


@np.errstate(over="ignore", invalid="ignore")
def scale_inputs(X: ArrayLike, shift: ArrayLike | None = None, scale: ArrayLike | None = None) -> Array:
    """Shifted and scaled inputs, ``(X − shift) · scale``.

    Parameters
    ----------
    X : array_like, (n, n_features)
    shift, scale : array_like, () or (n_features,), optional
        None stands for 0 and 1.

    Returns
    -------
    X : ndarray of float64, (n, n_features)

    Examples
    --------
    >>> scale_inputs([[0, 4], [2, 8]], [1, 4], 0.5)
    array([[-0.5,  0. ],
           [ 0.5,  2. ]])
    """
    shift = _float64("shift", 0.0 if shift is None else shift)
    scale = _float64("scale", 1.0 if scale is None else scale)
    return (_float64("X", X, (None, None)) - shift) * scale


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
    activations = [_float64("X", X, (None, None))]
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        H = affine_forward(activations[-1], W, b)
        hidden = layer < len(weights) - 1
        activations.append(relu_forward(H) if hidden and activation == "relu" else H)
    return activations


def _penalty(weights: Sequence[ArrayLike], l2: float) -> float:
    """``(l2/2) Σ‖W‖²``."""
    return float(l2) / 2 * sum(float(np.sum(_float64("weights", W) ** 2)) for W in weights)


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
    return softmax_cross_entropy(logits, labels)[0] + _penalty(weights, l2)


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
        dWs.insert(0, dW + float(l2) * _float64("weights", weights[layer]))
        dbs.insert(0, db)
    dX = dH * _float64("input_scale", 1.0 if input_scale is None else input_scale)
    return value + _penalty(weights, l2), dWs, dbs, dX


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
    Ws = [_float64("weights", W) for W in weights]
    bs = [_float64("biases", b) for b in biases]
    losses: list[float] = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        value, dWs, dbs, _ = gradient(Ws, bs, X[batch], labels[batch], l2, activation, input_shift, input_scale)
        Ws = [sgd_update(W, dW, learning_rate) for W, dW in zip(Ws, dWs, strict=True)]  # dW holds the l2 term already
        bs = [sgd_update(b, db, learning_rate) for b, db in zip(bs, dbs, strict=True)]
        losses.append(value)
    return Ws, bs, np.array(losses, dtype=np.float64)
