"""Optimizers, one row of `OPTIMIZERS` each: a step as the optimizer's paper defines it; the clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Array, float64
from .tables import row_of


def sgd_update(W: ArrayLike, dW: ArrayLike, learning_rate: float, l2: float = 0.0) -> Array:
    """Take one step of gradient descent, ``W − learning_rate · (dW + l2 · W)``.

    Parameters
    ----------
    W, dW : array_like, any shape, the same
    learning_rate, l2 : float

    Returns
    -------
    W : ndarray of float64, the shape of ``W``
        The new parameters; ``W`` is not changed.

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
    """Take a step of gradient descent, ``w − learning_rate · g``.

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
    """Take a step with momentum (Polyak, 1964): ``m ← momentum · m + g``, ``w ← w − learning_rate · m``.

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
    """Take a step with Nesterov's momentum.

    ``m ← momentum · m + g``, ``w ← w − learning_rate · (g + momentum · m)``.

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
    """Take the t-th step of Adam (Kingma and Ba, 2015, algorithm 1).

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
    """Take a step of Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    As `adam_step`; w also loses ``learning_rate · weight_decay · w``.

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
    """Take a step of RMSprop (Hinton, 2012), s being the smoothing.

    ``v ← s v + (1 − s) g²``, ``w ← w − learning_rate · g / (√v + ε)``.

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
    """Take a step of AdaGrad (Duchi, Hazan and Singer, 2011).

    ``v ← v + g²``, ``w ← w − learning_rate · g / (√v + ε)``.

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


def lion_step(
    w: ArrayLike,
    g: ArrayLike,
    m: ArrayLike,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    weight_decay: float = 0.0,
) -> tuple[Array, Array]:
    """Take a step of Lion, by the sign of ``beta_1 m + (1 − beta_1) g``.

    Parameters
    ----------
    w, g, m : array_like, any shape, the same
        m is 0 in the first step.
    learning_rate, beta_1, beta_2, weight_decay : float

    Returns
    -------
    w : ndarray of float64
        ``(1 − learning_rate weight_decay) w − learning_rate sign(beta_1 m + (1 − beta_1) g)``
    m : ndarray of float64
        ``beta_2 m + (1 − beta_2) g``

    Examples
    --------
    >>> lion_step([1.0, 1.0], [4.0, -4.0], [0.0, 1.0], 0.25, beta_1=0.75, beta_2=0.5)
    (array([0.75, 1.25]), array([ 2. , -1.5]))
    """
    w, g, m = _alike(w=w, g=g, m=m)
    direction = np.sign(float(beta_1) * m + (1.0 - float(beta_1)) * g)
    kept = (1.0 - float(learning_rate) * float(weight_decay)) * w
    return kept - float(learning_rate) * direction, float(beta_2) * m + (1.0 - float(beta_2)) * g


class Optimizer(NamedTuple):
    """The step of an optimizer, and what ``fastbp verify`` sets its hyper-parameters to.

    Attributes
    ----------
    step : callable
        ``step(w, g, *state, learning_rate=..., **hyper)``, which returns the new w and the new state.
    states : int
        Number of arrays in the state, 0 at the start.
    counts : bool
        Whether `step` takes the step's number ``t``, 1 for the first, by that name.
    decays : bool
        Whether it has a hyper-parameter ``weight_decay``, which is 0 for biases.
    tried : dict of str to float
        Values other than the defaults: one that does not reach the compiled step shows.
    smooth : dict of str to float, or None
        Values that keep a step from amplifying the rounding of a small gradient, so that whole runs can be compared.
        None: a step jumps with the sign of a number, and only single steps can.
    """

    step: Callable[..., tuple[Array, ...]]
    states: int
    counts: bool = False
    decays: bool = False
    tried: Mapping[str, float] = {}
    smooth: Mapping[str, float] | None = {}


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(
        step=lambda w, g, learning_rate: (sgd_step(w, g, learning_rate),),
        states=0,
    ),
    "momentum": Optimizer(
        step=momentum_step,
        states=1,
        tried={"momentum": 0.8},
    ),
    "nesterov": Optimizer(
        step=nesterov_step,
        states=1,
        tried={"momentum": 0.8},
    ),
    "adam": Optimizer(
        step=adam_step,
        states=2,
        counts=True,
        tried={"beta_1": 0.8, "beta_2": 0.99},
        smooth={"epsilon": 0.1},
    ),
    "adamw": Optimizer(
        step=adamw_step,
        states=2,
        counts=True,
        decays=True,
        tried={"beta_2": 0.999, "weight_decay": 0.1},
        smooth={"epsilon": 0.1, "weight_decay": 0.1},
    ),
    "rmsprop": Optimizer(
        step=rmsprop_step,
        states=1,
        tried={"smoothing": 0.9},
        smooth={"epsilon": 0.1},
    ),
    "adagrad": Optimizer(
        step=adagrad_step,
        states=1,
        smooth={"epsilon": 0.1},
    ),
    "lion": Optimizer(
        step=lion_step,
        states=1,
        decays=True,
        tried={"beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.1},
        smooth=None,
    ),
}


def optimizer_step(
    name: str, w: ArrayLike, g: ArrayLike, state: Sequence[ArrayLike], t: int, learning_rate: float, **options: float
) -> tuple[Array, tuple[Array, ...]]:
    """Take a step of any optimizer, by its name.

    Parameters
    ----------
    name : str
        One of `OPTIMIZERS`.
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
    row = row_of(OPTIMIZERS, "optimizer", name)
    old = state or [np.zeros(np.shape(w))] * row.states
    number = {"t": t} if row.counts else {}
    new, *kept = row.step(w, g, *old, learning_rate=learning_rate, **number, **options)
    return new, tuple(kept)


def options_for(name: str, options: Mapping[str, float], is_bias: bool) -> dict[str, Any]:
    """Return an optimizer's options for one parameter: biases do not decay."""
    decay = {"weight_decay": 0.0} if is_bias and row_of(OPTIMIZERS, "optimizer", name).decays else {}
    return {**options, **decay}


def clip_gradients(gradients: Sequence[ArrayLike], max_norm: float) -> tuple[list[Array], float]:
    """Scale gradients so that their common norm is no more than ``max_norm``.

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
        The norm before scaling: the root of the sum of all squares.

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
    """Return all in float64, and refuse those of another shape than the first."""
    shape = np.shape(next(iter(arrays.values())))
    return [float64(name, array, shape) for name, array in arrays.items()]
