"""The kernels for a user's own ``@njit`` code: serial, GIL released, nothing allocated, nothing checked.

Arrays are C-contiguous, of one dtype (float32 or float64); results go into arrays that the caller gives. Each is
compiled into the function that calls it, so it may be called inside a ``prange``, with a workspace for each iteration.
The results have the same bits as those of the functions of the same names in `fastbp`.

========================================================  ==========================================================
``affine_forward(X, W, b, H, workspace)``                 ``H = X W + b``
``affine_relu_forward(X, W, b, H, workspace)``            ``H = relu(X W + b)``
``affine_backward(dH, X, W, dX, dW, db, workspace)``      ``dX = dH W^T``, ``dW = X^T dH``, ``db = sum of rows``
``relu_forward(x, y)``                                    ``y = 0 where x <= 0, else x``; flat or of any shape
``relu_backward(dy, y, dx)``                              ``dx = 0 where y <= 0, else dy``
``softmax_cross_entropy(logits, labels, dlogits,``        ``dlogits = (softmax - one-hot) / n``, row losses; returns
``losses, workspace)``                                    the mean loss; labels int64, within the classes
``sgd_update(W, dW, learning_rate, l2)``                  ``W -= learning_rate (dW + l2 W)``; rates of W's dtype
========================================================  ==========================================================

Numba is imported when one of them is first accessed.
"""

from typing import Any

from ..lazy_names import load as _load

_WHERE = {
    "affine_backward": "affine",
    "affine_forward": "affine",
    "affine_relu_forward": "affine",
    "relu_backward": "affine",
    "relu_forward": "affine",
    "sgd_update": "affine",
    "softmax_cross_entropy": "affine",
    "workspace": "shapes",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    return _load(__name__, _WHERE, name)


def __dir__() -> list[str]:
    return sorted(__all__)
