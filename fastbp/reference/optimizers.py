"""Optimizers, a step at a time, as their papers have them; the clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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


def sgd_step(w: ArrayLike, g: ArrayLike, learning_rate: float) -> Array:
    """Gradient descent, ``w − learning_rate · g``.

    Parameters
    ----------
    w, g : array_like, any shape, the same
        Parameters and their gradient, any penalty included; so in all steps here.
    learning_rate : float

    Returns
    -------
    w : ndarray of float64, the shape of ``w``

    Examples
    --------
    >>> sgd_step([1, 2], [10, 20], 0.25)
    array([-1.5, -3. ])
    """
    w, g = _alike(w=w, g=g)
    return w - float(learning_rate) * g


def momentum_step(
    w: ArrayLike, g: ArrayLike, m: ArrayLike, learning_rate: float, momentum: float = 0.9
) -> tuple[Array, Array]:
    """Momentum (Polyak, 1964): ``m ← momentum · m + g``, ``w ← w − learning_rate · m``.

    Parameters
    ----------
    w, g, m : array_like, any shape, the same
        m starts at 0.
    learning_rate, momentum : float

    Returns
    -------
    w, m : ndarray of float64, the shape of ``w``

    Examples
    --------
    >>> momentum_step([1.0], [4.0], [2.0], 0.25, 0.5)
    (array([-0.25]), array([5.]))
    """
    w, g, m = _alike(w=w, g=g, m=m)
    m = float(momentum) * m + g
    return w - float(learning_rate) * m, m


def nesterov_step(
    w: ArrayLike, g: ArrayLike, m: ArrayLike, learning_rate: float, momentum: float = 0.9
) -> tuple[Array, Array]:
    """Nesterov's momentum: ``m ← momentum · m + g``, ``w ← w − learning_rate · (g + momentum · m)``.

    Parameters
    ----------
    w, g, m : array_like, any shape, the same
        m starts at 0.
    learning_rate, momentum : float

    Returns
    -------
    w, m : ndarray of float64, the shape of ``w``

    Examples
    --------
    >>> nesterov_step([1.0], [4.0], [2.0], 0.25, 0.5)
    (array([-0.625]), array([5.]))
    """
    w, g, m = _alike(w=w, g=g, m=m)
    m = float(momentum) * m + g
    return w - float(learning_rate) * (g + float(momentum) * m), m


def adam_step(
    w: ArrayLike,
    g: ArrayLike,
    m: ArrayLike,
    v: ArrayLike,
    t: int,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Array, Array, Array]:
    """Adam (Kingma and Ba, 2015, algorithm 1), in the t-th step.

    ``m ← β₁ m + (1 − β₁) g``, ``v ← β₂ v + (1 − β₂) g²``, ``m̂ = m / (1 − β₁ᵗ)``, ``v̂ = v / (1 − β₂ᵗ)``,
    ``w ← w − learning_rate · m̂ / (√v̂ + ε)``.

    Parameters
    ----------
    w, g, m, v : array_like, any shape, the same
        m and v start at 0.
    t : int
        1 in the first step.
    learning_rate, beta_1, beta_2, epsilon : float

    Returns
    -------
    w, m, v : ndarray of float64, the shape of ``w``

    Examples
    --------
    >>> w, m, v = adam_step([1.0], [4.0], [0.0], [0.0], 1, 0.25, 0.5, 0.75, epsilon=1.0)
    >>> w, m, v  # w = 1 - 0.25 * 4 / (4 + 1)
    (array([0.8]), array([2.]), array([4.]))
    """
    w, g, m, v = _alike(w=w, g=g, m=m, v=v)
    beta_1, beta_2 = float(beta_1), float(beta_2)
    m = beta_1 * m + (1.0 - beta_1) * g
    v = beta_2 * v + (1.0 - beta_2) * g**2
    corrected_m = m / (1.0 - beta_1**t)
    corrected_v = v / (1.0 - beta_2**t)
    return w - float(learning_rate) * corrected_m / (np.sqrt(corrected_v) + float(epsilon)), m, v


def adamw_step(
    w: ArrayLike,
    g: ArrayLike,
    m: ArrayLike,
    v: ArrayLike,
    t: int,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> tuple[Array, Array, Array]:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): w loses ``learning_rate · weight_decay · w`` too.

    Parameters
    ----------
    w, g, m, v, t, learning_rate, beta_1, beta_2, epsilon
        As in `adam_step`.
    weight_decay : float
        0 for biases.

    Returns
    -------
    w, m, v : ndarray of float64, the shape of ``w``

    Examples
    --------
    >>> adamw_step([1.0], [4.0], [0.0], [0.0], 1, 0.25, 0.5, 0.75, epsilon=1.0, weight_decay=0.5)[0]  # 0.8 - 0.125
    array([0.675])
    """
    stepped, m, v = adam_step(w, g, m, v, t, learning_rate, beta_1, beta_2, epsilon)
    return stepped - float(learning_rate) * float(weight_decay) * float64("w", w), m, v


def rmsprop_step(
    w: ArrayLike, g: ArrayLike, v: ArrayLike, learning_rate: float, smoothing: float = 0.99, epsilon: float = 1e-8
) -> tuple[Array, Array]:
    """RMSprop (Hinton, 2012): ``v ← s v + (1 − s) g²``, ``w ← w − learning_rate · g / (√v + ε)``, s the smoothing.

    Parameters
    ----------
    w, g, v : array_like, any shape, the same
        v starts at 0.
    learning_rate, smoothing, epsilon : float

    Returns
    -------
    w, v : ndarray of float64, the shape of ``w``

    Examples
    --------
    >>> rmsprop_step([1.0], [4.0], [0.0], 0.25, 0.75, epsilon=2.0)  # 1 - 0.25 * 4 / (2 + 2)
    (array([0.75]), array([4.]))
    """
    w, g, v = _alike(w=w, g=g, v=v)
    v = float(smoothing) * v + (1.0 - float(smoothing)) * g**2
    return w - float(learning_rate) * g / (np.sqrt(v) + float(epsilon)), v


def adagrad_step(
    w: ArrayLike, g: ArrayLike, v: ArrayLike, learning_rate: float, epsilon: float = 1e-10
) -> tuple[Array, Array]:
    """AdaGrad (Duchi, Hazan and Singer, 2011): ``v ← v + g²``, ``w ← w − learning_rate · g / (√v + ε)``.

    Parameters
    ----------
    w, g, v : array_like, any shape, the same
        v starts at 0.
    learning_rate, epsilon : float

    Returns
    -------
    w, v : ndarray of float64, the shape of ``w``

    Examples
    --------
    >>> adagrad_step([1.0], [4.0], [9.0], 0.25, epsilon=3.0)  # 1 - 0.25 * 4 / (5 + 3)
    (array([0.875]), array([25.]))
    """
    w, g, v = _alike(w=w, g=g, v=v)
    v = v + g**2
    return w - float(learning_rate) * g / (np.sqrt(v) + float(epsilon)), v


def optimizer_step(
    name: str, w: ArrayLike, g: ArrayLike, state: Sequence[ArrayLike], t: int, learning_rate: float, **options: float
) -> tuple[Array, tuple[Array, ...]]:
    """A step of any optimizer by name.

    Parameters
    ----------
    name : {"sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"}
    w, g : array_like, any shape, the same
    state : sequence of array_like
        What the step before returned; empty in the first.
    t : int
        1 in the first step.
    learning_rate : float
    **options
        As in the optimizer's own function.

    Returns
    -------
    w : ndarray of float64, the shape of ``w``
    state : tuple of ndarray of float64

    Raises
    ------
    ValueError
        If the name is not known.

    Examples
    --------
    >>> w, state = optimizer_step("momentum", [1.0], [4.0], (), 1, 0.25, momentum=0.5)
    >>> optimizer_step("momentum", w, [4.0], state, 2, 0.25, momentum=0.5)
    (array([-1.5]), (array([6.]),))
    """
    nothing = np.zeros(np.shape(w))
    if name == "sgd":
        return sgd_step(w, g, learning_rate, **options), ()
    if name in ("adam", "adamw"):
        m, v = state or (nothing, nothing)
        step = adam_step if name == "adam" else adamw_step
        new, *moments = step(w, g, m, v, t, learning_rate, **options)
        return new, tuple(moments)
    if name not in ONE_STATE:
        raise ValueError(f"optimizer: got {name!r}, expected 'sgd', 'adam', 'adamw' or one of {', '.join(ONE_STATE)}")
    (old,) = state or (nothing,)
    new, kept = ONE_STATE[name](w, g, old, learning_rate, **options)
    return new, (kept,)


ONE_STATE: dict[str, Callable[..., tuple[Array, Array]]] = {
    "momentum": momentum_step,
    "nesterov": nesterov_step,
    "rmsprop": rmsprop_step,
    "adagrad": adagrad_step,
}


def clip_gradients(gradients: Sequence[ArrayLike], max_norm: float) -> tuple[list[Array], float]:
    """Gradients scaled so that their common norm is no more than ``max_norm``.

    Parameters
    ----------
    gradients : sequence of array_like, any shapes
        Those of all weights and biases, any penalty included.
    max_norm : float

    Returns
    -------
    gradients : list of ndarray of float64
        Times ``min(1, max_norm / norm)``.
    norm : float
        Before: the root of the sum of all squares.

    Examples
    --------
    >>> clip_gradients([[[3.0, 0.0]], [4.0]], 1.0)
    ([array([[0.6, 0. ]]), array([0.8])], 5.0)
    """
    arrays = [float64("gradients", g) for g in gradients]
    norm = math.sqrt(sum(float(np.sum(g**2)) for g in arrays))
    factor = float(max_norm) / norm if norm > max_norm else 1.0
    return [g * factor for g in arrays], norm


def _alike(**arrays: ArrayLike) -> list[Array]:
    """All in float64 and of the first one's shape."""
    shape = np.shape(next(iter(arrays.values())))
    return [float64(name, array, shape) for name, array in arrays.items()]
