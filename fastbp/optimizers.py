"""Optimizers: hyper-parameters, and the coefficients that the compiled pass takes from them, step by step.

With the gradient g, L2 part included, and m and v, which start at 0, the pass knows these forms of update:

- sgd: ``w -= learning_rate g``
- momentum: ``m = old_first m + new_first g``, then ``w -= first_share m + gradient_share g``
- lion: ``w = keep w - learning_rate sign(old_blend m + new_blend g)``, then ``m = old_first m + new_first g``
- adaptive: ``m = old_first m + new_first g`` and ``v = old_second v + new_second g²``, then
  ``w = keep w - first_share m / (sqrt(v) + epsilon)``

`keep` is for weights and 1 unless an optimizer gives it; biases do not decay. Conventions are PyTorch's, so that
training there and here differs by rounding alone; the tests compare. Subclasses of `Custom` update by themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import validation
from .kernels.updates import OWN, UPDATES

# epsilon times Adam's sqrt(1 - beta_2^t), 1e-8 at the least, stays a normal number of float32 (1.2e-38): a parameter
# whose gradient is always 0 would else become 0 / 0.
LEAST_EPSILON = 1e-29

Array = NDArray[Any]
Coefficients = dict[str, float | NDArray[np.float64]]


class Optimizer(ABC):
    """A rule that turns a gradient into a step; its subclasses are frozen dataclasses of hyper-parameters.

    Attributes
    ----------
    form : str
        Which form of update it is a case of: a name of `kernels.updates.UPDATES`.
    default_learning_rate : float
    """

    form: ClassVar[str]
    default_learning_rate: ClassVar[float]

    @property
    def states(self) -> int:
        """Vectors of the parameters' length that training keeps for it."""
        return UPDATES[self.form].states

    @property
    def steady(self) -> bool:
        """True if a constant learning rate makes every step's coefficients the same."""
        return True

    @abstractmethod
    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        """Return the coefficients of the optimizer's form by their names, and `keep` where weights decay.

        Parameters
        ----------
        steps : ndarray of int64, (n,)
            The numbers of the steps, 1 for the first since the state was 0.
        learning_rate : ndarray of float64, (n,)

        Returns
        -------
        coefficients : dict of str to float or ndarray (n,)
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

    form: ClassVar[str] = "sgd"
    default_learning_rate: ClassVar[float] = 0.1

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return {"learning_rate": learning_rate}


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

    form: ClassVar[str] = "momentum"
    default_learning_rate: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        validation.number_field(self, "momentum", most=1.0, below=True)

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return {
            "old_first": self.momentum,
            "new_first": 1.0,
            "first_share": learning_rate,
            "gradient_share": 0.0,
        }


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

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return {
            "old_first": self.momentum,
            "new_first": 1.0,
            "first_share": learning_rate * self.momentum,
            "gradient_share": learning_rate,
        }


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

    form: ClassVar[str] = "adaptive"
    default_learning_rate: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        validation.number_field(self, "beta_1", most=1.0, below=True)
        validation.number_field(self, "beta_2", most=1.0, below=True)
        validation.number_field(self, "epsilon", LEAST_EPSILON)

    @property
    def steady(self) -> bool:
        return False

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        # sqrt(v / c) + epsilon = (sqrt(v) + epsilon sqrt(c)) / sqrt(c)
        root = np.sqrt(1.0 - np.power(self.beta_2, steps))
        return {
            "old_first": self.beta_1,
            "new_first": 1.0 - self.beta_1,
            "first_share": learning_rate * root / (1.0 - np.power(self.beta_1, steps)),
            "old_second": self.beta_2,
            "new_second": 1.0 - self.beta_2,
            "epsilon": self.epsilon * root,
        }


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

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        decay = 1.0 - learning_rate * self.weight_decay
        return {**super().coefficients(steps, learning_rate), "keep": decay}


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

    form: ClassVar[str] = "adaptive"
    default_learning_rate: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        validation.number_field(self, "smoothing", most=1.0, below=True)
        validation.number_field(self, "epsilon", LEAST_EPSILON)

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return _by_root(learning_rate, self.smoothing, 1.0 - self.smoothing, self.epsilon)


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

    form: ClassVar[str] = "adaptive"
    default_learning_rate: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        validation.number_field(self, "epsilon", LEAST_EPSILON)

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return _by_root(learning_rate, 1.0, 1.0, self.epsilon)


@dataclass(frozen=True)
class Lion(Optimizer):
    """Steps of one size, by the sign of a momentum.

    ``w = (1 - learning_rate weight_decay) w - learning_rate sign(beta_1 m + (1 - beta_1) g)``, then
    ``m = beta_2 m + (1 - beta_2) g``. Learning rates are 3 to 10 times smaller than Adam's.

    Parameters
    ----------
    beta_1, beta_2 : float
        At least 0 and below 1: what the direction, and the mean of g, keep of the mean of the step before.
    weight_decay : float
        At least 0. Biases do not decay.

    Examples
    --------
    >>> Lion(weight_decay=0.1)
    Lion(beta_1=0.9, beta_2=0.99, weight_decay=0.1)

    References
    ----------
    X. Chen et al.: Symbolic discovery of optimization algorithms. NeurIPS (2023).
    """

    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    form: ClassVar[str] = "lion"
    default_learning_rate: ClassVar[float] = 0.0001

    def __post_init__(self) -> None:
        validation.number_field(self, "beta_1", most=1.0, below=True)
        validation.number_field(self, "beta_2", most=1.0, below=True)
        validation.number_field(self, "weight_decay")

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return {
            "old_blend": self.beta_1,
            "new_blend": 1.0 - self.beta_1,
            "old_first": self.beta_2,
            "new_first": 1.0 - self.beta_2,
            "learning_rate": learning_rate,
            "keep": 1.0 - learning_rate * self.weight_decay,
        }


class Layout(Protocol):
    """Where a network's layers lie in a flat vector; see `program.parameters.ParameterLayout`."""

    def weights(self, flat: Array) -> list[Array]: ...

    def biases(self, flat: Array) -> list[Array]: ...

    def tables(self, flat: Array) -> dict[int, Array]: ...


class Step(NamedTuple):
    """Tell `Custom.update` what it may want to know of its step.

    Attributes
    ----------
    number : int
        1 for the first update since the state was 0, and so on.
    learning_rate : float
        Of this step, rounded to the network's dtype.
    layout : object
        What the methods below go by.
    """

    number: int
    learning_rate: float
    layout: Layout

    def weights(self, flat: Array) -> list[Array]:
        """Return the layers' parts (fan_in, fan_out) of the parameters, the gradient or a vector of state, as views."""
        return self.layout.weights(flat)

    def biases(self, flat: Array) -> list[Array]:
        """Return what belongs to each bias vector (fan_out,), as views."""
        return self.layout.biases(flat)

    def embeddings(self, flat: Array) -> dict[int, Array]:
        """Return what belongs to each embedding's table (levels, width), by column, as views."""
        return self.layout.tables(flat)


class Custom(Optimizer):
    """An optimizer of one's own: a subclass defines `update`, in NumPy or by compiled code of its own.

    It serves `MLP.apply`, `partial_fit` and `fit`, with their learning rates, l2, clipping and checkpoints. Python runs
    between two steps of such a fit, and no step is compiled for the network: docs/how-to/use-your-own-loop.md tells
    what that takes. The rows of each step, and all losses, are those of any other optimizer.

    Attributes
    ----------
    states : int, default 0
        Vectors of the parameters' length that are kept from step to step; they start at 0. They are all that an update
        may keep: checkpoints and pickles hold them, and several fits may share one optimizer.
    default_learning_rate : float, default 0.01

    Examples
    --------
    >>> import fastbp
    >>> class Heavy(fastbp.optimizers.Custom):
    ...     states = 1
    ...     def update(self, parameters, gradient, state, step):
    ...         velocity, = state
    ...         velocity *= 0.9
    ...         velocity += gradient
    ...         parameters -= step.learning_rate * velocity
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> net = fastbp.MLP((2, 20, 4), seed=0)
    >>> history = net.fit(X, y, epochs=20, batch_size=32, optimizer=Heavy(), learning_rate=0.05)
    >>> net.score(X, y) > 0.9
    True
    """

    states: ClassVar[int] = 0  # where others have as many as their form
    form: ClassVar[str] = OWN
    default_learning_rate: ClassVar[float] = 0.01

    def __repr__(self) -> str:  # the same in every process: it tells one run from another
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return {"learning_rate": learning_rate}

    @abstractmethod
    def update(self, parameters: Array, gradient: Array, state: tuple[Array, ...], step: Step) -> None:
        """Change the parameters, and the state, in place, and return nothing.

        Parameters
        ----------
        parameters : array (n_parameters,)
            Of the network's dtype, contiguous, in the order of `MLP.parameters`.
        gradient : array (n_parameters,)
            The gradient of the objective: with its L2 part, and clipped. It may be written into.
        state : tuple of array (n_parameters,)
            As many as `states` says.
        step : Step
        """


def _by_root(learning_rate: NDArray[np.float64], old: float, new: float, epsilon: float) -> Coefficients:
    """Return those of ``v = old v + new g²``, ``w -= learning_rate g / (sqrt(v) + epsilon)``: m is g itself."""
    return {
        "old_first": 0.0,
        "new_first": 1.0,
        "first_share": learning_rate,
        "old_second": old,
        "new_second": new,
        "epsilon": epsilon,
    }


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": AdaGrad,
    "lion": Lion,
}


def optimizer_of(value: Any) -> Optimizer:
    """Return an optimizer from its name or from itself.

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
    if isinstance(value, Custom):
        validation.whole_number(f"optimizer: {type(value).__name__}.states", value.states, 0)
        if value.form != OWN:
            raise ValueError(f"optimizer: got {value!r} of the form {value.form!r}, expected {OWN!r}, as `Custom` has")
        return value
    if isinstance(value, Optimizer):
        named, forms = getattr(value, "form", None), ", ".join(UPDATES)
        if named not in UPDATES:
            raise ValueError(f"optimizer: got {value!r} of the form {named!r}, expected one of {forms}")
        form = UPDATES[value.form]
        if value.states != form.states:  # compiled code writes into them, and to the average behind them
            raise ValueError(
                f"optimizer: got {value!r} with {value.states} states, expected {form.states} as for {form.name!r}"
            )
        given = set(value.coefficients(np.ones(1, np.int64), np.ones(1)) or ()) - {"keep"}
        if given != set(form.coefficients):
            raise ValueError(f"optimizer: got {value!r} with the coefficients {', '.join(sorted(given))}; expected "
                             f"{', '.join(sorted(form.coefficients))}, which its form {form.name!r} takes")  # fmt: skip
        return value
    if isinstance(value, type) and issubclass(value, Optimizer):
        raise ValueError(f"optimizer: got the class {value.__name__}, expected an object of it, {value.__name__}()")
    if not isinstance(value, str) or value not in OPTIMIZERS:
        names = ", ".join(map(repr, OPTIMIZERS))
        raise ValueError(f"optimizer: got {value!r}, expected one of {names}, or an optimizer of fastbp.optimizers")
    return OPTIMIZERS[value]()
