"""Optimizers, a step at a time, as their papers have them; the clipping of gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Array, float64


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
    W = float64("W", W)
    dW = float64("dW", dW, W.shape)
    return W - float(learning_rate) * (dW + float(l2) * W)
