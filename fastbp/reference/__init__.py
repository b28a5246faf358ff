"""The mathematics of fastbp in plain NumPy float64, which the compiled kernels are tested against.

Activations, losses and optimizers are one row each of `ACTIVATIONS`, `LOSSES` and `OPTIMIZERS`: formulas that can be
checked by eye against a textbook, and what ``fastbp verify`` needs to know of them. This package imports nothing else
of fastbp, so that it shares no fault with a kernel. Every argument is first converted to float64 (a copy), nothing is
changed in place, and NaN and infinity pass through without a warning, as they do in a kernel.
"""

from __future__ import annotations

from .activations import (
    ACTIVATIONS,
    activation_backward,
    activation_forward,
    logistic,
    normal_share,
    relu_backward,
    relu_forward,
)
from .arrays import Array
from .dropout import dropout_mask, dropout_masks, step_key
from .embeddings import embed, embed_backward, embedded_gradient, embedded_loss
from .layers import affine_backward, affine_forward, scale_inputs
from .losses import LOSSES, loss_of, losses_of, outputs_of, row_losses, smoothed_targets, softmax, softmax_cross_entropy
from .network import forward, gradient, loss
from .optimizers import (
    OPTIMIZERS,
    adagrad_step,
    adam_step,
    adamw_step,
    clip_gradients,
    momentum_step,
    nesterov_step,
    optimizer_step,
    rmsprop_step,
    sgd_step,
    sgd_update,
)
from .training import embedded_train, train

__all__ = [
    "ACTIVATIONS",
    "Array",
    "LOSSES",
    "OPTIMIZERS",
    "activation_backward",
    "activation_forward",
    "adagrad_step",
    "adam_step",
    "adamw_step",
    "affine_backward",
    "affine_forward",
    "clip_gradients",
    "dropout_mask",
    "dropout_masks",
    "embed",
    "embed_backward",
    "embedded_gradient",
    "embedded_loss",
    "embedded_train",
    "forward",
    "gradient",
    "logistic",
    "loss",
    "loss_of",
    "losses_of",
    "momentum_step",
    "nesterov_step",
    "normal_share",
    "optimizer_step",
    "outputs_of",
    "relu_backward",
    "relu_forward",
    "rmsprop_step",
    "row_losses",
    "scale_inputs",
    "sgd_step",
    "sgd_update",
    "smoothed_targets",
    "softmax",
    "softmax_cross_entropy",
    "step_key",
    "train",
]
