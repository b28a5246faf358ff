"""What a network knows of its activations, by their names; their formulas are `kernels.formulas`."""

from __future__ import annotations

from typing import NamedTuple

from ..kernels import activations as kernels


class Activation(NamedTuple):
    """An activation behind a hidden layer.

    Attributes
    ----------
    kind : int
        Its number in `kernels.activations`.
    of_sum : bool
        The derivative is computed from the sum before the activation, which is then kept beside the output.
    he : bool
        Of the ReLU kind: weights start as He normal, else as Glorot normal.
    cost : int
        Vector multiply-adds for a vector, forward or back.
    """

    kind: int
    of_sum: bool
    he: bool
    cost: int


ACTIVATIONS = {
    "identity": Activation(kernels.IDENTITY, False, False, 0),
    "logistic": Activation(kernels.LOGISTIC, False, False, 40),
    "tanh": Activation(kernels.TANH, False, False, 40),
    "relu": Activation(kernels.RELU, False, True, 4),
    "leaky_relu": Activation(kernels.LEAKY_RELU, False, True, 4),
    "gelu": Activation(kernels.GELU, True, True, 80),
    "silu": Activation(kernels.SILU, True, True, 50),
}
