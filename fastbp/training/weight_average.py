"""The average of the parameters in a training, and its exchange for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..averaging import Averaging
from ..kernels import coefficients as co
from ..model.model import Model
from ..optimizers import Optimizer
from ..program import passes
from ..program.parameter_blocks import average_place
from ..program.run import Operands, run
from ..program.table import NO_PROGRAM


class WeightAverage:
    """The average of the parameters so far; without `averaging` it never has any.

    Parameters
    ----------
    model : Model
    averaging : Averaging or None
    """

    def __init__(self, model: Model, averaging: Averaging | None):
        self.model, self.averaging = model, averaging
        self._taken = 0  # parameters that have been averaged
        self._buffer: NDArray[Any] = np.empty(0)
        self._values, self._program, self._steps_of_epoch = self._buffer, NO_PROGRAM, 1

    def begin(self, buffer: NDArray[Any], optimizer: Optimizer, steps_of_epoch: int) -> None:
        """Begin a training, whose buffer holds the gradient, the optimizer's state, and behind them the average.

        The average is the parameters until it is written, and stays so where a layer is frozen.
        """
        if self.averaging is not None:
            place = average_place(self.model.network, self.model.dtype, optimizer.states)
            self._program = passes.average(self.model.network, self.model.dtype, optimizer.states)
            self._buffer, self._steps_of_epoch = buffer, steps_of_epoch
            self._values = buffer[place : place + self.model.parameters.size]
            self._values[...] = self.model.parameters

    def reached(self, steps: int, epochs: int) -> None:
        """Take note of how many steps and whole epochs of the fit are done."""
        averaging = self.averaging
        if averaging is not None:
            by_steps = averaging.every == "step"
            self._taken = steps - averaging.start * self._steps_of_epoch if by_steps else epochs - averaging.start

    def epoch_ended(self, steps: int, epochs: int) -> None:
        """Take the parameters into an average of epochs; so many steps and epochs of the fit are done."""
        averaging, dtype = self.averaging, self.model.dtype
        if averaging is not None and averaging.every == "epoch" and epochs > averaging.start:
            share = averaging.shares(np.array([epochs - averaging.start - 1]))[0]
            parameters = self.model.parameters
            coefficients = co.row(dtype, average_share=share)
            run(self._program, Operands(parameters, parameters, parameters, self._buffer, coefficients=coefficients))
        self.reached(steps, epochs)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the parameters' place for a while, if there is one yet."""
        if self._taken <= 0:
            yield
            return
        trained = self.model.parameters.copy()
        self.model.parameters[...] = self._values
        try:
            yield
        finally:
            self.model.parameters[...] = trained

    def keep(self) -> None:
        """Leave the average in the parameters' place, if there is one."""
        if self._taken > 0:
            self.model.parameters[...] = self._values
