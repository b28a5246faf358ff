"""Activations and what they make of a gradient on its way back."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Array, float64

ACTIVATIONS = ("identity", "logistic", "tanh", "relu", "leaky_relu", "gelu", "silu")


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


@np.errstate(over="ignore")
def logistic(x: ArrayLike) -> Array:
    """Logistic function, ``1 / (1 + exp(−x))``.

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
    """Distribution function of the standard normal, ``Φ(x) = erfc(−x / √2) / 2``: what lies below x.

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


@np.errstate(over="ignore", invalid="ignore")
def activation_forward(name: str, x: ArrayLike, leaky_slope: float = 0.01) -> Array:
    """Any activation by name.

    ======================  ================================
    identity                ``x``
    logistic                ``1 / (1 + exp(−x))``
    tanh                    ``tanh x``
    relu                    ``select(x <= 0, 0, x)``
    leaky_relu              ``select(x <= 0, slope x, x)``
    gelu                    ``x Φ(x)``
    silu                    ``x / (1 + exp(−x))``
    ======================  ================================

    Parameters
    ----------
    name : str
    x : array_like, any shape
    leaky_slope : float

    Returns
    -------
    y : ndarray of float64, the shape of ``x``

    Raises
    ------
    ValueError
        If the name is not known.

    Examples
    --------
    >>> activation_forward("leaky_relu", [-2, 0, 3], 0.5)
    array([-1.,  0.,  3.])
    >>> activation_forward("gelu", [-1, 0, 1]).round(6)
    array([-0.158655,  0.      ,  0.841345])
    """
    _check_name(name)
    x = float64("x", x)
    if name == "identity":
        return x
    if name == "logistic":
        return logistic(x)
    if name == "tanh":
        return np.tanh(x)
    if name == "relu":
        return relu_forward(x)
    if name == "leaky_relu":
        return np.where(x <= 0, float(leaky_slope) * x, x)
    if name == "gelu":
        return x * normal_share(x)
    return x * logistic(x)


@np.errstate(over="ignore", invalid="ignore")
def activation_backward(name: str, dy: ArrayLike, x: ArrayLike, leaky_slope: float = 0.01) -> Array:
    """Gradient of any activation from its input.

    ======================  ============================================
    identity                ``dy``
    logistic                ``dy s(x) s(−x)``, s the logistic function
    tanh                    ``dy / cosh² x``
    relu                    ``select(x <= 0, 0, dy)``
    leaky_relu              ``select(x <= 0, slope dy, dy)``
    gelu                    ``dy (Φ(x) + x exp(−x²/2) / √(2π))``
    silu                    ``dy (s(x) + x s(x) s(−x))``
    ======================  ============================================

    Parameters
    ----------
    name : str
    dy : array_like, any shape
    x : array_like, the shape of ``dy``
        What `activation_forward` took.
    leaky_slope : float

    Returns
    -------
    dx : ndarray of float64, the shape of ``dy``

    Raises
    ------
    ValueError
        If the name is not known or the shapes differ.

    Examples
    --------
    >>> activation_backward("logistic", [1, 10], [0, 0])
    array([0.25, 2.5 ])
    """
    _check_name(name)
    dy = float64("dy", dy)
    x = float64("x", x, dy.shape)
    if name == "identity":
        return dy
    if name == "logistic":
        return dy * (logistic(x) * logistic(-x))
    if name == "tanh":
        return np.asarray(dy / np.cosh(x) ** 2)
    if name == "relu":
        return np.where(x <= 0, 0.0, dy)
    if name == "leaky_relu":
        return np.where(x <= 0, float(leaky_slope) * dy, dy)
    if name == "gelu":
        density = np.exp(-(x**2) / 2.0) / math.sqrt(2.0 * math.pi)
        return np.asarray(dy * (normal_share(x) + x * density))
    return dy * (logistic(x) + x * (logistic(x) * logistic(-x)))


def _check_name(name: str) -> None:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: got {name!r}, expected one of {', '.join(map(repr, ACTIVATIONS))}")
