"""Layers as one node each: affine, and softmax with loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import functional
from .variable import Variable, as_variable, result_of


def affine(X: Variable | ArrayLike, W: Variable | ArrayLike, b: Variable | ArrayLike) -> Variable:
    """Compute the affine layer ``H = X W + b``: ``dX = dH W^T``, ``dW = X^T dH``, ``db`` = the sum of the rows of dH.

    Parameters
    ----------
    X : Variable or array_like (n, fan_in)
    W : Variable or array_like (fan_in, fan_out)
    b : Variable or array_like (fan_out,)

    Returns
    -------
    Variable (n, fan_out)

    Raises
    ------
    ValueError, TypeError
        Shapes do not fit, or values are not finite.

    Examples
    --------
    >>> from fastbp.graph import Variable, affine
    >>> W = Variable([[1.0], [3.0]], "W")
    >>> affine([[1.0, 2.0]], W, [0.5]).sum().backward()
    >>> W.grad
    array([[1.],
           [2.]])
    """
    x, w, bias = operands = as_variable("X", X), as_variable("W", W), as_variable("b", b)
    h = functional.affine_forward(x.value, w.value, bias.value)
    X2, W2 = np.asarray(x.value), np.asarray(w.value)
    factors = W2.T, X2.T, np.ones(len(h), h.dtype)
    return result_of("affine", h, operands, factors, lambda dH: functional.affine_backward(dH, X2, W2))


def softmax_cross_entropy(logits: Variable | ArrayLike, labels: ArrayLike) -> Variable:
    """Compute softmax with loss as one node: the mean cross-entropy over rows; ``dlogits = (y - t) / n``.

    Parameters
    ----------
    logits : Variable or array_like (n, classes)
    labels : array_like (n,) or (n, classes)
        Class indices, or rows of probabilities.

    Returns
    -------
    Variable ()

    Raises
    ------
    ValueError, TypeError
        As for `fastbp.softmax_cross_entropy`; the loss is not finite.

    Examples
    --------
    >>> from fastbp.graph import Variable, softmax_cross_entropy
    >>> z = Variable([[0.0, 0.0]], "z")
    >>> softmax_cross_entropy(z, [1]).backward()
    >>> z.grad
    array([[ 0.5, -0.5]])
    """
    z = as_variable("logits", logits)
    loss, dlogits = functional.softmax_cross_entropy(z.value, labels)
    return result_of("softmax loss", loss, (z,), (dlogits,), lambda dz: (dz * dlogits,))
