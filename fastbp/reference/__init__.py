"""The oracle: the mathematics of fastbp in plain NumPy float64.

What the kernels do fast, this package says plainly, one formula a function, so that it can be checked by eye against a
textbook. Tests and ``verify`` compare the kernels with it; therefore it imports nothing else of fastbp, and a fault in
a kernel cannot hide here. Every argument is converted to float64 first (a copy), nothing is changed in place, and NaN
and infinity go through without a warning, as they do in a kernel.
"""

from __future__ import annotations

from .activations import relu_backward, relu_forward
from .arrays import Array
from .layers import affine_backward, affine_forward, scale_inputs
from .losses import row_losses, softmax, softmax_cross_entropy
from .network import forward, gradient, loss, train
from .optimizers import sgd_update

__all__ = [
    "Array",
    "affine_backward",
    "affine_forward",
    "forward",
    "gradient",
    "loss",
    "relu_backward",
    "relu_forward",
    "row_losses",
    "scale_inputs",
    "sgd_update",
    "softmax",
    "softmax_cross_entropy",
    "train",
]
