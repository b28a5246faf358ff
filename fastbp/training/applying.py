"""Apply a gradient that comes from outside: one update by an optimizer, as a step of training makes it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..inputs.in_memory import all_finite
from ..kernels import coefficients as co
from ..model.evaluation import Derivatives, Gradient
from ..model.initializers import copy_in_order
from ..model.model import Model
from ..optimizers import OPTIMIZERS, Custom, Optimizer, optimizer_of
from ..program import passes
from ..program.batch_layout import BatchLayout
from ..program.cost_model import SHORT, UPDATE_COST, threads_for
from ..program.interrupts import interrupt_held
from ..program.memory import aligned
from ..program.network import StepForm
from ..program.run import Operands, bound
from ..program.tuning import Tuning, tuning
from .optimizer_state import OptimizerState
from .own_updates import OwnUpdates

Array = NDArray[Any]
UNKNOWN = object()


def apply(
    model: Model, state: OptimizerState, gradient: Any, optimizer: Any, learning_rate: Any, l2: Any, max_grad_norm: Any
) -> None:
    """Make the update of `MLP.apply`, whose arguments these are; `state` is the optimizer's, which goes on."""
    if not isinstance(state, OptimizerState):
        kind = type(state).__name__
        raise TypeError(f"state: got {kind}, expected a fastbp.OptimizerState, or None for the network's own")
    kept = state.kept if isinstance(state.kept, BoundUpdate) else None
    rule: Optimizer = kept.rule if kept is not None and optimizer is kept.given else optimizer_of(optimizer)
    rate = validation.rate(
        "learning_rate", rule.default_learning_rate if learning_rate is None else learning_rate, model.dtype
    )
    l2 = validation.rate("l2", l2, model.dtype)
    if max_grad_norm is not None:
        limits = np.finfo(model.dtype)
        max_grad_norm = validation.number("max_grad_norm", max_grad_norm, float(limits.tiny), float(limits.max))
    if not isinstance(rule, Custom) and state.of_others(rule, model.parameters):
        raise ValueError(
            "state: got that of a network with another number or dtype of parameters, expected one for each network: "
            "fastbp.OptimizerState()"
        )
    form = StepForm("", penalised=l2 > 0, update=rule.form, clipped=max_grad_norm is not None)

    def update() -> None:
        bound_update = kept
        found = state if state.serves(rule, model.parameters) else OptimizerState()  # the old one until all is checked
        values = found.buffer(rule, model.parameters)
        _copy(gradient, model, values[: model.parameters.size])
        threads = threads_for(2.0 * UPDATE_COST * model.parameters.size)
        if bound_update is None or not bound_update.serves(values, rule, model, form, threads, tuning()):
            bound_update = BoundUpdate(values, rule, model, form, threads, tuning())
        state.take_over(found)
        state.kept = None  # until it has gone well: an own optimizer that fails may have reshaped its arrays
        bound_update.remember(optimizer, rule)
        state.steps += 1  # before: Ctrl-C comes as soon as the call is over
        bound_update.make(rule, state.steps, rate, l2, max_grad_norm or 0.0)
        state.kept = bound_update

    model.lock.call(lambda: state.lock.call(update))


class BoundUpdate:
    """An update whose program, operands and workspace are kept from call to call.

    Parameters
    ----------
    values : array
        The gradient, and behind it the optimizer's state.
    rule : Optimizer
    model : Model
    form : StepForm
    threads : int
        At most.
    forced : Tuning
    """

    given: Any = UNKNOWN  # the argument that `rule` was made from, if that need not be checked at each call
    rule: Any = None

    def __init__(self, values: Array, rule: Optimizer, model: Model, form: StepForm, threads: int, forced: Tuning):
        self._values, self._model, self._like, dtype = values, model, (form, threads, forced), model.dtype
        program = passes.step_update(model.network, dtype, threads, form, forced)
        self._row = co.row(dtype, **model.fixed_coefficients)
        self._operands = Operands(
            inputs=model.parameters,
            parameters=model.parameters,
            activations=aligned(BatchLayout(model.network, 1, dtype).total, dtype),
            gradient=values,
            sums=np.zeros(2),
            coefficients=self._row,
        )
        # Short work keeps the GIL, as predictions do.
        short = program.threads == 1 and UPDATE_COST * model.parameters.size < SHORT
        prototype = ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE
        self._carry_out: Callable[[], None] = bound(program, self._operands, prototype).carry_out
        self._own = OwnUpdates(rule, model, values, form) if isinstance(rule, Custom) else None
        self._own_rule = rule if isinstance(rule, Custom) else None

    def serves(
        self, values: Array, rule: Optimizer, model: Model, form: StepForm, threads: int, forced: Tuning
    ) -> bool:
        """Return whether it was made for these arguments; the numbers of an optimizer of fastbp may be others."""
        same = values is self._values and model is self._model and self._like == (form, threads, forced)
        return same and (rule if isinstance(rule, Custom) else None) is self._own_rule

    def remember(self, given: Any, rule: Optimizer) -> None:
        """Keep what the argument `given` stands for, unless that may change from call to call."""
        self.rule, self.given = rule, given if type(rule) in OPTIMIZERS.values() else UNKNOWN

    def make(self, rule: Optimizer, number: int, learning_rate: float, l2: float, max_norm: float) -> None:
        """Make update `number`, counted from 1."""
        row = self._row
        numbers = {"keep": 1.0, **rule.coefficients(np.array([number]), np.array([learning_rate]))}
        with np.errstate(over="ignore"):  # to infinity: such a max_norm clips nothing, such an epsilon leaves no step
            for name, value in numbers.items():
                at = co.INDEX[name]
                row[at : at + 1] = value
            row[co.L2], row[co.MAX_NORM] = l2, max_norm
        self._carry_out()
        if self._own is not None:
            with interrupt_held():  # half an update would be lost in the parameters
                self._own.update(number, self._operands, 1)


def _copy(gradient: Any, model: Model, into: Array) -> None:
    """Check a gradient and copy it, in the order of the parameters; ValueError where it is not finite."""
    if isinstance(gradient, (Derivatives, Gradient)):
        gradient = gradient.parameters
    if isinstance(gradient, (list, tuple)) and any(np.ndim(each) for each in gradient):
        copy_in_order("gradient", gradient, model.network.layout, into)
    else:
        array = validation.real_array("gradient", gradient)
        validation.shape("gradient", array, into.shape)
        with np.errstate(over="ignore"):  # to infinity, which is then refused
            into[...] = array
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.add.reduce(into))  # a mask of all numbers would be an array
    if not math.isfinite(total) and not all_finite(into):
        validation.finite("gradient", into)
