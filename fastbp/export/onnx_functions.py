"""Activations, and functions of outputs, in ONNX operators.

ONNX Runtime has no kernels of Erf, Elu, Selu and Softplus for float64. There they are composed of others, by the
formulas of `fastbp.kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..kernels.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE, Activation
from ..kernels.formulas import EXP_RANGE, NORMAL_LARGEST, NORMAL_TAIL
from .onnx_graph import FLOAT32, Tensor

BITS_OF_DOUBLE = 64


def applied(activation: Activation, x: Tensor, constants: Mapping[str, Any]) -> Tensor:
    """Return an activation of x, or a function of outputs; `constants` has what it depends on, by their names.

    Raises
    ------
    ValueError
        The activation is a user's own.
    """
    if activation.name not in FUNCTIONS:
        known = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(f"to_onnx: got a network with an activation of your own, expected only {known}")
    return FUNCTIONS[activation.name](x, *(constants[each.name] for each in activation.constants))


def softmax(logits: Tensor) -> Tensor:
    """Return the softmax of each row."""
    return logits.op("Softmax", axis=1)


def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    return x.op("PRelu", np.array([slope], x.dtype))  # the attribute of LeakyRelu has 32 bits


def _expm1_below_0(x: Tensor) -> Tensor:
    """Return ``exp(x) - 1`` where x < 0, else 0.

    With t = tanh(x / 2) = (exp(x) - 1) / (exp(x) + 1) it is ``2 t / (1 - t)``, in which nothing cancels.
    """
    t = (x.op("Min", 0.0) * 0.5).op("Tanh")
    return (t * 2.0) / (-t + 1.0)


def _elu(x: Tensor, alpha: float) -> Tensor:
    if x.dtype == FLOAT32:
        return x.op("Elu", alpha=alpha)
    return x.op("Relu") + _expm1_below_0(x) * alpha


def _selu(x: Tensor) -> Tensor:
    if x.dtype == FLOAT32:
        return x.op("Selu", alpha=SELU_ALPHA, gamma=SELU_SCALE)
    return _elu(x, SELU_ALPHA) * SELU_SCALE


def _gelu(x: Tensor) -> Tensor:
    """Return x times the normal distribution function; of float64 by the formula of `fastbp.kernels.activations`."""
    if x.dtype == FLOAT32:
        return x * 0.5 * ((x / math.sqrt(2.0)).op("Erf") + 1.0)
    numerator, denominator = NORMAL_TAIL[BITS_OF_DOUBLE]
    z = x.op("Abs").op("Min", NORMAL_LARGEST[BITS_OF_DOUBLE])
    tail = _polynomial(z, numerator) / _polynomial(z, denominator) * (z * z * -0.5).op("Exp")
    return x.op("Relu") - z * tail


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return a polynomial of x, from the coefficients with the lowest power first."""
    total = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total = total * x + coefficient
    return total


def _silu(x: Tensor) -> Tensor:
    """Return ``x logistic(x) = max(x, 0) - |x| e / (1 + e)`` with e = exp(-|x|).

    |x| is bounded where e has become 0: far to the left neither Sigmoid of float32 nor, in some versions of ONNX
    Runtime, Exp of float64 is as precise as what is multiplied with them needs.
    """
    z = x.op("Abs").op("Min", -EXP_RANGE[8 * x.dtype.itemsize][0])
    e = (-z).op("Exp")
    return x.op("Relu") - z * (e / (e + 1.0))


def _softplus(x: Tensor) -> Tensor:
    if x.dtype == FLOAT32:
        return x.op("Softplus")
    return x.op("Relu") + ((-x.op("Abs")).op("Exp") + 1.0).op("Log")


def _mish(x: Tensor) -> Tensor:
    return x * _softplus(x).op("Tanh")


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "identity": lambda x: x,
    "logistic": lambda x: x.op("Sigmoid"),
    "tanh": lambda x: x.op("Tanh"),
    "relu": lambda x: x.op("Relu"),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "exp": lambda x: x.op("Exp"),
}
