"""Learning rates over a fit: constant, falling with the steps, or falling where the loss no longer does."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from . import validation


class LearningRate(ABC):
    """A learning rate for each step of a fit; its subclasses are dataclasses.

    Attributes
    ----------
    learning_rate : float
        Where it starts, a warm-up apart.
    """

    learning_rate: float

    @property
    def steady(self) -> bool:
        """True if the rate stays the same within an epoch."""
        return True

    @property
    def by_steps(self) -> bool:
        """True if nothing between two epochs changes what `at` returns."""
        return False

    @property
    def needs_total(self) -> bool:
        """True if `at` uses `total`, which is unknown for an iterator of chunks."""
        return False

    @abstractmethod
    def at(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        """Return the rates of some steps.

        Parameters
        ----------
        steps : ndarray of int64, (n,)
            The numbers of the steps in this fit, 0 for the first.
        total : int
            Steps of the whole fit.

        Returns
        -------
        rates : ndarray of float64, (n,)
        """

    def start(self) -> None:  # noqa: B027  most rates remember nothing
        """Begin a fit: forget the one before."""

    def epoch_ended(self, loss: float) -> bool:
        """Take note of an epoch's loss; True where there is nothing more to gain, and training may end."""
        return False


@dataclass(frozen=True)
class Constant(LearningRate):
    """A constant rate.

    Parameters
    ----------
    learning_rate : float
        At least 0.

    Examples
    --------
    >>> Constant(0.1).at(np.arange(3), total=3)
    array([0.1, 0.1, 0.1])
    """

    learning_rate: float

    def __post_init__(self) -> None:
        validation.number_field(self, "learning_rate")

    @property
    def by_steps(self) -> bool:
        return True

    def at(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.full(len(steps), self.learning_rate)


@dataclass(frozen=True)
class InverseScaling(LearningRate):
    """``learning_rate / t^power`` in step t = 1, 2, ...

    Parameters
    ----------
    learning_rate : float
        At least 0.
    power : float
        At least 0. Gradient descent converges where it is above 1/2 and at most 1 (Robbins and Monro, 1951).

    Examples
    --------
    >>> InverseScaling(0.6, power=1).at(np.arange(3), total=3)
    array([0.6, 0.3, 0.2])
    """

    learning_rate: float
    power: float = 0.5

    def __post_init__(self) -> None:
        validation.number_field(self, "learning_rate")
        validation.number_field(self, "power")

    @property
    def steady(self) -> bool:
        return False

    @property
    def by_steps(self) -> bool:
        return True

    def at(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        rates: NDArray[np.float64] = self.learning_rate * np.power(steps + 1.0, -self.power)
        return rates


@dataclass(frozen=True)
class Cosine(LearningRate):
    """A linear warm-up, then half a cosine down.

    With k steps of warm-up out of n, step s = 0, 1, ... takes ``learning_rate (s + 1) / k`` while s < k, then
    ``learning_rate (final + (1 - final) (1 + cos(π (s - k) / (n - k))) / 2)``.

    Parameters
    ----------
    learning_rate : float
        The highest; at least 0.
    warmup : float
        Share of all steps, from 0 to 1; their number k is rounded.
    final : float
        Share of the learning rate that is left after the last step, from 0 to 1.

    Examples
    --------
    >>> Cosine(1.0, warmup=0.5).at(np.arange(8), total=8).round(3)
    array([0.25 , 0.5  , 0.75 , 1.   , 1.   , 0.854, 0.5  , 0.146])

    References
    ----------
    I. Loshchilov, F. Hutter: SGDR: stochastic gradient descent with warm restarts. ICLR (2017).
    """

    learning_rate: float
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        validation.number_field(self, "learning_rate")
        validation.number_field(self, "warmup", most=1.0)
        validation.number_field(self, "final", most=1.0)

    @property
    def steady(self) -> bool:
        return False

    @property
    def needs_total(self) -> bool:
        return True

    @property
    def by_steps(self) -> bool:
        return True

    def at(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        rising = round(self.warmup * total)
        way_down = np.clip((steps - rising) / max(1, total - rising), 0.0, 1.0)
        falling = self.final + (1.0 - self.final) * (1.0 + np.cos(np.pi * way_down)) / 2.0
        share = np.where(steps < rising, (steps + 1.0) / max(1, rising), falling)
        rates: NDArray[np.float64] = self.learning_rate * share
        return rates


@dataclass
class Adaptive(LearningRate):
    """Constant as long as the loss falls, then ``rate = factor rate``, again and again.

    As scikit-learn's "adaptive": an epoch fails where its loss is above the best before it less `tol`; after `patience`
    failures in a row the rate sinks. Training ends where it would sink below `least`. An object serves one fit
    at a time.

    Parameters
    ----------
    learning_rate : float
        At least 0.
    factor : float
        At least 0 and below 1.
    patience : int
        Epochs, at least 1.
    tol : float
        At least 0.
    least : float
        At least 0.

    Examples
    --------
    >>> rate = Adaptive(0.5, patience=2, least=0.1)
    >>> rate.start()
    >>> [rate.epoch_ended(loss) for loss in (1.0, 1.1, 1.2)], rate.at(np.arange(1), total=1)
    ([False, False, False], array([0.1]))
    >>> [rate.epoch_ended(loss) for loss in (0.9, 0.9, 0.9)]  # 0.02 would be below 0.1
    [False, False, True]
    """

    learning_rate: float
    factor: float = 0.2
    patience: int = 10
    tol: float = 1e-4
    least: float = 1e-6
    _rate: float = field(init=False, repr=False, compare=False)
    _best: float = field(init=False, repr=False, compare=False)
    _failures: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "tol", "least"):
            validation.number_field(self, name)
        validation.number_field(self, "factor", most=1.0, below=True)
        self.patience = validation.whole_number("patience", self.patience)
        self.start()

    def at(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.full(len(steps), self._rate)

    def start(self) -> None:
        self._rate, self._best, self._failures = self.learning_rate, math.inf, 0

    def epoch_ended(self, loss: float) -> bool:
        self._failures = self._failures + 1 if loss > self._best - self.tol else 0
        self._best = min(self._best, loss)
        if self._failures < self.patience:
            return False
        if self._rate * self.factor < self.least:
            return True
        self._rate *= self.factor
        self._failures = 0
        return False
