"""Activations, one row of `ACTIVATIONS` each: the value, and the gradient on the way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Array, float64
from .tables import Constant, Constants, check_names, row_of, values_of


def relu_forward(x: ArrayLike) -> Array:
    """Compute the ReLU, ``y = select(x <= 0, 0, x)``; NaN goes through.

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
    """Compute the gradient of the ReLU from its output, ``dx = select(y <= 0, 0, dy)``; the derivative at 0 is 0.

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


@np.errstate(over="ignore")
def logistic(x: ArrayLike) -> Array:
    """Compute the logistic function, ``1 / (1 + exp(−x))``.

    Parameters
    ----------
    x : array_like, any shape

    Returns
    -------
    y : ndarray of float64, the shape of ``x``

    Examples
    --------
    >>> logistic([-1000, 0, 1000])
    array([0. , 0.5, 1. ])
    """
    return np.asarray(1.0 / (1.0 + np.exp(-float64("x", x))))


def normal_share(x: ArrayLike) -> Array:
    """Compute the distribution function of the standard normal, ``Φ(x) = erfc(−x / √2) / 2``.

    Parameters
    ----------
    x : array_like, any shape

    Returns
    -------
    share : ndarray of float64, the shape of ``x``

    Examples
    --------
    >>> normal_share([-1.959964, 0]).round(6)
    array([0.025, 0.5  ])
    """
    return np.asarray(np.vectorize(math.erfc, otypes=[np.float64])(-float64("x", x) / math.sqrt(2.0)) / 2.0)


def normal_density(x: ArrayLike) -> Array:
    """Compute the density of the standard normal, ``φ(x) = exp(−x²/2) / √(2π)``.

    Examples
    --------
    >>> normal_density([0, 1]).round(6)
    array([0.398942, 0.241971])
    """
    return np.asarray(np.exp(-(float64("x", x) ** 2) / 2.0) / math.sqrt(2.0 * math.pi))


class Activation(NamedTuple):
    """The formulas of an activation, in float64 arrays. Each takes the constants by their names.

    Attributes
    ----------
    forward : callable
        ``forward(x)``, the value.
    backward : callable
        ``backward(dy, x)``, the gradient with respect to x: `dy` times the derivative at x.
    constants : dict of str to Constant
    kink : callable, optional
        ``kink(x)``, the distance of each x from the nearest point where the derivative jumps; None: it never does.
    """

    forward: Callable[..., Array]
    backward: Callable[..., Array]
    constants: Constants = {}
    kink: Callable[..., Array] | None = None


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(
        forward=lambda x: x,
        backward=lambda dy, x: dy,
    ),
    "logistic": Activation(
        forward=logistic,
        backward=lambda dy, x: dy * (logistic(x) * logistic(-x)),
    ),
    "tanh": Activation(
        forward=np.tanh,
        backward=lambda dy, x: dy / np.cosh(x) ** 2,
    ),
    "relu": Activation(
        forward=relu_forward,
        backward=lambda dy, x: np.where(x <= 0, 0.0, dy),
        kink=np.abs,
    ),
    "leaky_relu": Activation(
        forward=lambda x, leaky_slope: np.where(x <= 0, leaky_slope * x, x),
        backward=lambda dy, x, leaky_slope: np.where(x <= 0, leaky_slope * dy, dy),
        constants={"leaky_slope": Constant(0.01, tried=(0.125,))},
        kink=lambda x, leaky_slope: np.abs(x),
    ),
    "elu": Activation(
        forward=lambda x, elu_alpha: np.where(x <= 0, elu_alpha * np.expm1(x), x),
        backward=lambda dy, x, elu_alpha: np.where(x <= 0, elu_alpha * np.exp(x) * dy, dy),
        constants={"elu_alpha": Constant(1.0, tried=(0.5,))},
        kink=lambda x, elu_alpha: np.abs(x),
    ),
    "selu": Activation(
        forward=lambda x: SELU_SCALE * np.where(x <= 0, SELU_ALPHA * np.expm1(x), x),
        backward=lambda dy, x: SELU_SCALE * np.where(x <= 0, SELU_ALPHA * np.exp(x) * dy, dy),
        kink=np.abs,
    ),
    "gelu": Activation(
        forward=lambda x: x * normal_share(x),
        backward=lambda dy, x: dy * (normal_share(x) + x * normal_density(x)),
    ),
    "silu": Activation(
        forward=lambda x: x * logistic(x),
        backward=lambda dy, x: dy * (logistic(x) + x * (logistic(x) * logistic(-x))),
    ),
    "mish": Activation(
        forward=lambda x: x * np.tanh(np.logaddexp(0.0, x)),
        backward=lambda dy, x: (
            dy * (np.tanh(np.logaddexp(0.0, x)) + x * logistic(x) / np.cosh(np.logaddexp(0.0, x)) ** 2)
        ),
    ),
}


@np.errstate(over="ignore", invalid="ignore")
def activation_forward(name: str, x: ArrayLike, leaky_slope: float = 0.01, **constants: ArrayLike) -> Array:
    """Compute any activation, by its name.

    Parameters
    ----------
    name : str
        One of `ACTIVATIONS`, whose rows are the formulas.
    x : array_like, any shape
    leaky_slope : float
        Of leaky_relu.
    **constants : array_like
        Those of other activations, by their names.

    Returns
    -------
    y : ndarray of float64, the shape of ``x``

    Raises
    ------
    ValueError
        If the name is not known.
    TypeError
        If no activation has such a constant.

    Examples
    --------
    >>> activation_forward("leaky_relu", [-2, 0, 3], 0.5)
    array([-1.,  0.,  3.])
    >>> activation_forward("gelu", [-1, 0, 1]).round(6)
    array([-0.158655,  0.      ,  0.841345])
    """
    row = row_of(ACTIVATIONS, "activation", name)
    x = float64("x", x)
    return np.asarray(row.forward(x, **_values(row, leaky_slope, constants)))


@np.errstate(over="ignore", invalid="ignore")
def activation_backward(
    name: str, dy: ArrayLike, x: ArrayLike, leaky_slope: float = 0.01, **constants: ArrayLike
) -> Array:
    """Compute the gradient of any activation from its input.

    Parameters
    ----------
    name : str
    dy : array_like, any shape
    x : array_like, the shape of ``dy``
        What `activation_forward` took.
    leaky_slope, **constants
        As in `activation_forward`.

    Returns
    -------
    dx : ndarray of float64, the shape of ``dy``

    Raises
    ------
    ValueError
        If the name is not known or the shapes differ.
    TypeError
        If no activation has such a constant.

    Examples
    --------
    >>> activation_backward("logistic", [1, 10], [0, 0])
    array([0.25, 2.5 ])
    """
    row = row_of(ACTIVATIONS, "activation", name)
    dy = float64("dy", dy)
    x = float64("x", x, dy.shape)
    return np.asarray(row.backward(dy, x, **_values(row, leaky_slope, constants)))


def _values(row: Activation, leaky_slope: float, constants: dict[str, ArrayLike]) -> dict[str, Array]:
    check_names((row.constants for row in ACTIVATIONS.values()), constants)
    return values_of(row.constants, {"leaky_slope": leaky_slope, **constants})
