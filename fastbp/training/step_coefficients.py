"""The coefficients of the steps to come, computed for many of them at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .plan import Plan

Array = NDArray[Any]
AHEAD = 1024  # steps whose coefficients are computed at a time


class StepCoefficients:
    """The coefficients of a training's steps.

    Parameters
    ----------
    plan : Plan
    fixed : dict of str to float or array
        Those of `Plan.fixed_coefficients`.
    steps_of_epoch : int
    dtype : numpy.dtype
    weighted : bool
        Whether rows have weights, which make every step another.

    Attributes
    ----------
    known : bool
        Whether those of all steps are known, since nothing can change the learning rate.
    """

    def __init__(self, plan: Plan, fixed: dict[str, Any], steps_of_epoch: int, dtype: np.dtype[Any], weighted: bool):
        self.plan, self.fixed, self.dtype = plan, fixed, dtype
        self._steps_of_epoch, self._steps = steps_of_epoch, plan.epochs * steps_of_epoch
        alike = plan.optimizer.steady and plan.learning_rate.steady and not plan.averages_steps
        self._steady = alike and not weighted
        self.known = plan.losses_decide and plan.learning_rate.by_steps
        self._rows, self._first = np.empty((0, 0), dtype), 0  # and the number of the step whose row is the first

    def rows(self, first: int, count: int, update: int) -> Array:
        """Return those of `count` steps from `first` on, one row for all where they are the same; SCALE and L2 are the
        caller's.

        Those of more steps are computed for later calls: few take Python as long as many, 14 us, and an epoch of small
        data is two calls.

        Parameters
        ----------
        first, count : int
            Steps of the fit, from 0.
        update : int
            The number of the first one among the optimizer's updates, from 1.
        """
        begin = first - self._first
        left = self._steps - first if self.known else self._steps_of_epoch - first % self._steps_of_epoch
        more = max(count, min(left, AHEAD))
        if self._steady:
            begin, count, more = 0, 1, 1
        if begin + count > len(self._rows):
            here = np.arange(more)
            self._rows = self.plan.coefficients(self.fixed, first + here, update + here, self._steps, self.dtype)
            self._first, begin = first, 0
        return self._rows[begin : begin + count]

    def rate_may_change(self) -> None:
        """Forget those of steps to come, unless they are known."""
        if not self.known:
            self._rows = self._rows[:0]

    def rates(self, first: int, epochs: int) -> Array:
        """Return the learning rates of some epochs' first steps, from step `first` on, as far as is known by now."""
        steps = first + self._steps_of_epoch * np.arange(epochs)
        return self.plan.learning_rate.at(steps, self._steps)
