"""Optimizers: hyper-parameters, and the numbers that the three update kernels take from them, step by step.

With the gradient g, L2 part included, the compiled pass knows these updates; the rest are columns of `RATES`:

- sgd: ``w -= learning_rate g``
- momentum: ``m = old_first m + new_first g``, then ``w -= first_share m + gradient_share g``
- adaptive: ``m = old_first m + new_first g`` and ``v = old_second v + new_second g²``, then
  ``w = keep w - first_share m / (sqrt(v) + epsilon)``

m and v start at 0. `keep` is for weights; biases do not decay. Conventions are PyTorch's, so that training there and
here differs by rounding alone; `tests/reference/test_against_torch.py` compares.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import validation
from .kernels import operations as op

# epsilon times Adam's sqrt(1 - beta_2^t), 1e-8 at the least, stays a normal number of float32 (1.2e-38): a parameter
# whose gradient is always 0 would else become 0 / 0.
LEAST_EPSILON = 1e-29


class Optimizer(ABC):
    """What turns a gradient into a step; its subclasses are frozen dataclasses of hyper-parameters.

    Attributes
    ----------
    kernel : {"sgd", "momentum", "adaptive"}
        Which update of the compiled pass it is a case of.
    states : int
        Vectors of the parameters' length that training keeps for it.
    default_learning_rate : float
    """

    kernel: ClassVar[str]
    states: ClassVar[int]
    default_learning_rate: ClassVar[float]

    @property
    def steady(self) -> bool:
        """Whether a constant learning rate makes every step's numbers the same."""
        return True

    @abstractmethod
    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        """Write the columns of the optimizer's kernel, and no other.

        Parameters
        ----------
        rates : ndarray of float64, (n, len(RATES))
            One row a step, to write into.
        steps : ndarray of int64, (n,)
            The numbers of the steps, 1 for the first since the state was 0.
        learning_rate : ndarray of float64, (n,)
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Plain gradient descent, ``w -= learning_rate g``.

    Examples
    --------
    >>> SGD()
    SGD()

    References
    ----------
    H. Robbins, S. Monro: A stochastic approximation method. Annals of Mathematical Statistics 22 (1951).
    """

    kernel: ClassVar[str] = "sgd"
    states: ClassVar[int] = 0
    default_learning_rate: ClassVar[float] = 0.1

    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        rates[:, op.LEARNING_RATE] = learning_rate


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Gradient descent with momentum, ``m = momentum m + g``, ``w -= learning_rate m``.

    m is a velocity in units of the gradient: with a steady gradient it grows to ``g / (1 - momentum)``.

    Parameters
    ----------
    momentum : float
        At least 0 and below 1.

    Examples
    --------
    >>> Momentum(0.95)
    Momentum(momentum=0.95)

    References
    ----------
    B. T. Polyak: Some methods of speeding up the convergence of iteration methods. USSR Computational Mathematics and
    Mathematical Physics 4 (1964).
    """

    momentum: float = 0.9

    kernel: ClassVar[str] = "momentum"
    states: ClassVar[int] = 1
    default_learning_rate: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        validation.number_field(self, "momentum", most=1.0, below=True)

    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        rates[:, op.OLD_FIRST] = self.momentum
        rates[:, op.NEW_FIRST] = 1.0
        rates[:, op.FIRST_SHARE] = learning_rate
        rates[:, op.GRADIENT_SHARE] = 0.0


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Gradient descent with Nesterov's momentum, ``m = momentum m + g``, ``w -= learning_rate (g + momentum m)``.

    The gradient is that at the point looked ahead to, for w here is that point.

    Parameters
    ----------
    momentum : float
        At least 0 and below 1.

    Examples
    --------
    >>> Nesterov()
    Nesterov(momentum=0.9)

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl, G. Hinton: On the importance of initialization and momentum in deep learning.
    ICML (2013).
    """

    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        rates[:, op.OLD_FIRST] = self.momentum
        rates[:, op.NEW_FIRST] = 1.0
        rates[:, op.FIRST_SHARE] = learning_rate * self.momentum
        rates[:, op.GRADIENT_SHARE] = learning_rate


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments, bias-corrected.

    ``m = beta_1 m + (1 - beta_1) g`` and ``v = beta_2 v + (1 - beta_2) g²``, then
    ``w -= learning_rate m̂ / (sqrt(v̂) + epsilon)`` with ``m̂ = m / (1 - beta_1^t)``, ``v̂ = v / (1 - beta_2^t)``
    in step t = 1, 2, ... An L2 penalty is part of g.

    Parameters
    ----------
    beta_1, beta_2 : float
        At least 0 and below 1: what the means of g and g² keep of the step before.
    epsilon : float
        At least 1e-29.

    Examples
    --------
    >>> Adam(beta_2=0.99)
    Adam(beta_1=0.9, beta_2=0.99, epsilon=1e-08)

    References
    ----------
    D. P. Kingma, J. Ba: Adam: a method for stochastic optimization. ICLR (2015).
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    kernel: ClassVar[str] = "adaptive"
    states: ClassVar[int] = 2
    default_learning_rate: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        validation.number_field(self, "beta_1", most=1.0, below=True)
        validation.number_field(self, "beta_2", most=1.0, below=True)
        validation.number_field(self, "epsilon", LEAST_EPSILON)

    @property
    def steady(self) -> bool:
        return False

    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        # sqrt(v / c) + epsilon = (sqrt(v) + epsilon sqrt(c)) / sqrt(c)
        root = np.sqrt(1.0 - np.power(self.beta_2, steps))
        rates[:, op.OLD_FIRST] = self.beta_1
        rates[:, op.NEW_FIRST] = 1.0 - self.beta_1
        rates[:, op.FIRST_SHARE] = learning_rate * root / (1.0 - np.power(self.beta_1, steps))
        rates[:, op.OLD_SECOND] = self.beta_2
        rates[:, op.NEW_SECOND] = 1.0 - self.beta_2
        rates[:, op.EPSILON] = self.epsilon * root
        rates[:, op.KEEP] = 1.0


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay beside the gradient: ``w = (1 - learning_rate weight_decay) w``, then Adam's step.

    Parameters
    ----------
    beta_1, beta_2, epsilon : float
        As in `Adam`.
    weight_decay : float
        At least 0. Biases do not decay.

    Examples
    --------
    >>> AdamW(weight_decay=0.1)
    AdamW(beta_1=0.9, beta_2=0.999, epsilon=1e-08, weight_decay=0.1)

    References
    ----------
    I. Loshchilov, F. Hutter: Decoupled weight decay regularization. ICLR (2019).
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.number_field(self, "weight_decay")

    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        super().fill(rates, steps, learning_rate)
        rates[:, op.KEEP] = 1.0 - learning_rate * self.weight_decay


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Steps by the root of a running mean of squares.

    ``v = smoothing v + (1 - smoothing) g²``, ``w -= learning_rate g / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    smoothing : float
        At least 0 and below 1: what the mean of g² keeps of the step before.
    epsilon : float
        At least 1e-29.

    Examples
    --------
    >>> RMSprop()
    RMSprop(smoothing=0.99, epsilon=1e-08)

    References
    ----------
    T. Tieleman, G. Hinton: Lecture 6.5, RMSprop. Coursera: Neural Networks for Machine Learning (2012).
    """

    smoothing: float = 0.99
    epsilon: float = 1e-8

    kernel: ClassVar[str] = "adaptive"
    states: ClassVar[int] = 2
    default_learning_rate: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        validation.number_field(self, "smoothing", most=1.0, below=True)
        validation.number_field(self, "epsilon", LEAST_EPSILON)

    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        _fill_by_root(rates, learning_rate, self.smoothing, 1.0 - self.smoothing, self.epsilon)


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Steps by the root of the sum of all squares so far.

    ``v = v + g²``, ``w -= learning_rate g / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    epsilon : float
        At least 1e-29.

    Examples
    --------
    >>> AdaGrad()
    AdaGrad(epsilon=1e-10)

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer: Adaptive subgradient methods for online learning and stochastic optimization. Journal
    of Machine Learning Research 12 (2011).
    """

    epsilon: float = 1e-10

    kernel: ClassVar[str] = "adaptive"
    states: ClassVar[int] = 2
    default_learning_rate: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        validation.number_field(self, "epsilon", LEAST_EPSILON)

    def fill(self, rates: NDArray[np.float64], steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> None:
        _fill_by_root(rates, learning_rate, 1.0, 1.0, self.epsilon)


def _fill_by_root(
    rates: NDArray[np.float64], learning_rate: NDArray[np.float64], old: float, new: float, epsilon: float
) -> None:
    """The columns of ``v = old v + new g²``, ``w -= learning_rate g / (sqrt(v) + epsilon)``: m is g itself."""
    rates[:, op.OLD_FIRST] = 0.0
    rates[:, op.NEW_FIRST] = 1.0
    rates[:, op.FIRST_SHARE] = learning_rate
    rates[:, op.OLD_SECOND] = old
    rates[:, op.NEW_SECOND] = new
    rates[:, op.EPSILON] = epsilon
    rates[:, op.KEEP] = 1.0


STATES = {"sgd": 0, "momentum": 1, "adaptive": 2}  # that the kernels need
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": AdaGrad,
}


def optimizer_of(value: Any) -> Optimizer:
    """An optimizer from its name or from itself.

    Parameters
    ----------
    value : str or Optimizer
        A name stands for the optimizer with its default hyper-parameters.

    Returns
    -------
    optimizer : Optimizer

    Raises
    ------
    ValueError
        If the name is not known, or the value is neither.

    Examples
    --------
    >>> optimizer_of("momentum"), optimizer_of(Momentum(0.5))
    (Momentum(momentum=0.9), Momentum(momentum=0.5))
    """
    if isinstance(value, Optimizer):
        if value.states < STATES.get(value.kernel, 9):  # compiled code writes into them, without asking
            raise ValueError(f"optimizer: got {value!r} with {value.states} states for the kernel {value.kernel!r}, "
                             f"expected {STATES}")  # fmt: skip
        return value
    if isinstance(value, type) and issubclass(value, Optimizer):
        raise ValueError(f"optimizer: got the class {value.__name__}, expected an object of it, {value.__name__}()")
    if not isinstance(value, str) or value not in OPTIMIZERS:
        names = ", ".join(map(repr, OPTIMIZERS))
        raise ValueError(f"optimizer: got {value!r}, expected one of {names}, or an optimizer of fastbp.optimizers")
    return OPTIMIZERS[value]()
