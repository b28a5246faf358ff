"""Scaled inputs and affine layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Array, float64


@np.errstate(over="ignore", invalid="ignore")
def scale_inputs(X: ArrayLike, shift: ArrayLike | None = None, scale: ArrayLike | None = None) -> Array:
    """Shift and scale inputs, ``(X − shift) · scale``.

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
    shift = float64("shift", 0.0 if shift is None else shift)
    scale = float64("scale", 1.0 if scale is None else scale)
    return (float64("X", X, (None, None)) - shift) * scale


@np.errstate(over="ignore", invalid="ignore")
def affine_forward(X: ArrayLike, W: ArrayLike, b: ArrayLike) -> Array:
    """Compute an affine layer, ``H = X W + b``.

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
    W = float64("W", W, (None, None))
    X = float64("X", X, (None, W.shape[0]))
    b = float64("b", b, (W.shape[1],))
    return X @ W + b


@np.errstate(over="ignore", invalid="ignore")
def affine_backward(dH: ArrayLike, X: ArrayLike, W: ArrayLike) -> tuple[Array, Array, Array]:
    """Compute the gradients of an affine layer, ``dX = dH Wᵀ``, ``dW = Xᵀ dH``, ``db = Σ_rows dH``.

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
    W = float64("W", W, (None, None))
    X = float64("X", X, (None, W.shape[0]))
    dH = float64("dH", dH, (X.shape[0], W.shape[1]))
    return dH @ W.T, X.T @ dH, dH.sum(axis=0)
