"""Updates by a user's own optimizer, in Python between two compiled steps, each of which ends with the gradient."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import coefficients as co
from ..model.model import Model
from ..optimizers import Custom, Step
from ..program import passes
from ..program.batch_layout import BatchLayout
from ..program.interrupts import interrupt_held
from ..program.memory import round_up
from ..program.network import StepForm
from ..program.run import Course, Operands, run, steps_of
from ..program.table import Program

Array = NDArray[Any]


class OwnUpdates:
    """The updates of a model's parameters by its gradient.

    Parameters
    ----------
    optimizer : Custom
    model : Model
    values : array
        The gradient, and behind it the state, as `OptimizerState.buffer` returns them.
    form : StepForm
        Of the compiled steps. Where it is clipped, they leave a factor in the activations by which the gradient is
        still to be shortened.
    """

    def __init__(self, optimizer: Custom, model: Model, values: Array, form: StepForm):
        self._optimizer, self._network, self._form, dtype = optimizer, model.network, form, values.dtype
        size, apart = model.parameters.size, round_up(model.parameters.size, dtype)
        parts = [values[begin : begin + size] for begin in range(0, (1 + optimizer.states) * apart, apart)]
        self._arrays = model.parameters[:], *parts
        layout = functools.partial(BatchLayout, dtype=dtype, thresholds=form.thresholds, smoothed=form.smoothed)
        self._factor_at = functools.cache(lambda rows: layout(model.network, rows).clip_factor)
        self._average = passes.average(model.network, dtype, optimizer.states) if form.averaged else None

    def run(self, program: Program, operands: Operands, course: Course, first: int) -> None:
        """Carry out all steps of a course; the optimizer counts its updates, of which the next is number `first`.

        Ctrl-C is held back to the end of it: half an update would be lost in the parameters.
        """
        with interrupt_held():
            for number, (one, rows, moved) in enumerate(steps_of(program, operands, course), first):
                run(one, moved)
                self.update(number, moved, rows)

    def update(self, number: int, operands: Operands, rows: int) -> None:
        """Make update `number`, by the gradient and the factor that a step of so many rows has left."""
        parameters, gradient, *state = self._arrays
        if self._form.clipped:
            with np.errstate(invalid="ignore"):  # infinity times 0: training ends with the epoch
                gradient *= operands.activations[self._factor_at(rows)]
        assert operands.coefficients is not None
        step = Step(number, float(operands.coefficients[co.LEARNING_RATE]), self._network.layout)
        kind = type(self._optimizer).__name__
        try:
            returned = self._optimizer.update(parameters, gradient, tuple(state), step)
        except Exception as error:
            error.add_note(f"optimizer: raised by {kind}.update, in update {number}")
            raise
        if returned is not None:
            raise TypeError(f"optimizer: got {type(returned).__name__} from {kind}.update, expected None; the "
                            "parameters are changed in place: parameters -= ..., or parameters[...] = ...")  # fmt: skip
        for array in self._arrays:
            if array.shape != (parameters.size,) or array.dtype != self._arrays[0].dtype:
                raise ValueError(f"optimizer: got an array that {kind}.update has made {array.shape} of {array.dtype}, "
                                 "expected it to change values alone")  # fmt: skip
        if self._average is not None:
            run(self._average, operands)
