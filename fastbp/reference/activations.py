"""Activations and what they make of a gradient on its way back."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Array, float64


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
    x = float64("x", x)
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
    dy = float64("dy", dy)
    y = float64("y", y, dy.shape)
    return np.where(y <= 0, 0.0, dy)
