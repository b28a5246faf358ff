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
"""

from .affine import (
    affine_backward,
    affine_forward,
    affine_relu_forward,
    relu_backward,
    relu_forward,
    sgd_update,
    softmax_cross_entropy,
)
from .gemm import workspace

__all__ = [
    "affine_backward",
    "affine_forward",
    "affine_relu_forward",
    "relu_backward",
    "relu_forward",
    "sgd_update",
    "softmax_cross_entropy",
    "workspace",
]
