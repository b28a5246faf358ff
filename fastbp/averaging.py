"""Averages of a network's parameters over a fit: equal shares of all, or exponentially fewer of earlier ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import validation


class Averaging(ABC):
    """A rule that averages the parameters of a fit; its subclasses are frozen dataclasses.

    Attributes
    ----------
    start : int
        Whole epochs before the first parameters that count.
    every : {"step", "epoch"}
        After which the parameters count.
    """

    start: int
    every: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", validation.whole_number("start", self.start, 0))
        validation.choice("every", self.every, ("step", "epoch"))

    @abstractmethod
    def shares(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what parameters count in the average, 1 for the first.

        The average moves by this share of its distance to the parameters.

        Parameters
        ----------
        numbers : ndarray of int64, (n,)
            How many parameters have been averaged before.

        Returns
        -------
        shares : ndarray of float64, (n,)
        """


@dataclass(frozen=True)
class Equal(Averaging):
    """The mean of the parameters, ``average += (parameters - average) / (n + 1)`` after n others.

    Stochastic weight averaging is this over the last epochs of a fit, with a rate that stays high.

    Parameters
    ----------
    start : int
        Whole epochs before the first parameters that count.
    every : {"epoch", "step"}

    Examples
    --------
    >>> import numpy as np
    >>> Equal(start=10), Equal().shares(np.arange(4))
    (Equal(start=10, every='epoch'), array([1.        , 0.5       , 0.33333333, 0.25      ]))

    References
    ----------
    P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov, A. G. Wilson: Averaging weights leads to wider optima and better
    generalization. UAI (2018).
    """

    start: int = 0
    every: str = "epoch"

    def shares(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.ones(len(numbers)) / (numbers + 1)


@dataclass(frozen=True)
class Exponential(Averaging):
    """An exponential moving average, ``average = decay average + (1 - decay) parameters``.

    It begins with the first parameters that count.

    Parameters
    ----------
    decay : float
        At least 0 and below 1. The average looks back about ``1 / (1 - decay)`` steps.
    start : int
        Whole epochs before the first parameters that count.
    every : {"step", "epoch"}

    Examples
    --------
    >>> import numpy as np
    >>> Exponential(0.75), Exponential(0.75).shares(np.arange(3))
    (Exponential(decay=0.75, start=0, every='step'), array([1.  , 0.25, 0.25]))

    References
    ----------
    B. T. Polyak, A. B. Juditsky: Acceleration of stochastic approximation by averaging. SIAM Journal on Control and
    Optimization 30 (1992), of the mean; the exponential one is widely used since TensorFlow's first models.
    """

    decay: float = 0.999
    start: int = 0
    every: str = "step"

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.number_field(self, "decay", most=1.0, below=True)

    def shares(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(numbers == 0, 1.0, 1.0 - self.decay)
