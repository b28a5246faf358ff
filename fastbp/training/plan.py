"""The plan of a training: all that is decided before the first step, and the coefficients of each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..averaging import Averaging
from ..inputs.options import ReadOptions
from ..kernels import coefficients as co
from ..kernels.losses import Loss
from ..learning_rates import LearningRate
from ..model.model import Model
from ..optimizers import Optimizer
from ..program.network import FROZEN, StepForm, thresholds_of
from .magnitudes import Magnitudes

Array = NDArray[Any]


class DivergenceError(ArithmeticError):
    """A loss or a parameter became infinite or NaN; the network keeps the parameters from before the epoch.

    Attributes
    ----------
    about_targets : str
        Advice on targets far larger than 1; "" where they are not.
    """

    def __init__(self, message: str, about_targets: str = ""):
        super().__init__(message)
        self.about_targets = about_targets


@dataclass(eq=False, repr=False)
class Plan:
    """The plan of a training, made by `arguments.make_plan` or by an estimator. Its numbers are not checked again.

    Attributes
    ----------
    order : callable
        Called with the number of rows at the start of each epoch; returns their order, (n,) int64, or None for the
        order of X. Epochs run ahead only with `orders.Orders`.
    l2_per_weight : bool
        Whether `l2` is divided by the rows, or the sum of the weights, of each minibatch, as alpha is in scikit-learn.
    dropout : float or tuple of float
        Share of each hidden layer's outputs that are 0 in a step: one for all layers, or one for each.
    input_dropout : float
        The same of the first layer's inputs.
    rates : tuple of float
        Factors of the learning rate, of each layer and behind them of each embedding; 0 for those that are not trained.
        Empty where all are 1.
    label_smoothing : float
        Share of each target that goes to all classes alike.
    averaging : Averaging or None
        How the parameters are averaged.
    max_grad_norm : float or None
        A longer gradient, penalty included, is scaled to this norm.
    time_budget : float or None
        Seconds after which training ends, at the next step boundary at which Python gets control.
    memory_limit : int or None
        Bytes that the rows in memory may take; beyond them X is read in blocks (`fastbp.inputs.blocks`).
    generator : numpy.random.Generator or None
        Draws the order of rows that are read in blocks; None for the order of X.
    losses_decide : bool
        Whether nothing between two epochs looks at more than their losses, or changes more than the learning rate:
        epochs may then run ahead of it, in one compiled call, and be taken back.
    mapped_in_blocks : bool
        Whether a mapped file larger than half of the memory is read in blocks without a limit.
    """

    epochs: int
    batch_size: int
    learning_rate: LearningRate
    l2: float
    optimizer: Optimizer
    order: Callable[[int], Any]
    l2_per_weight: bool = False
    dropout: float | tuple[float, ...] = 0.0
    max_grad_norm: float | None = None
    time_budget: float | None = None
    memory_limit: int | None = None
    generator: np.random.Generator | None = None
    losses_decide: bool = False
    mapped_in_blocks: bool = False
    input_dropout: float = 0.0
    rates: tuple[float, ...] = ()
    label_smoothing: float = 0.0
    averaging: Averaging | None = None

    @property
    def read_options(self) -> ReadOptions:
        """The settings that decide how rows are read."""
        needs_total, rate, averaging = None, self.learning_rate, self.averaging
        if rate.needs_total:
            needs_total = f"learning_rate: got {type(rate).__name__}"
        elif averaging is not None and averaging.every == "step" and averaging.start:
            needs_total = f"averaging: got {averaging}"
        return ReadOptions(self.epochs, self.batch_size, self.memory_limit, self.mapped_in_blocks, needs_total)

    @property
    def averages_steps(self) -> bool:
        """True if the parameters are averaged after each step."""
        return self.averaging is not None and self.averaging.every == "step"

    @property
    def drops(self) -> bool:
        """True if anything is dropped, for which a key is drawn."""
        hidden = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,)
        return any(hidden) or self.input_dropout > 0

    @property
    def _factors(self) -> list[float]:
        """The factors of the learning rate that need coefficients of their own."""
        return sorted(set(self.rates) - {0.0, 1.0})

    def coefficient_places(self, model: Model) -> list[int]:
        """Return where in a step's coefficients those of the learning rate begin, then those of each of its factors."""
        first = model.coefficients.size
        return [0, *(first + number * len(co.COEFFICIENTS) for number in range(len(self._factors)))]

    def options(self) -> dict[str, Any]:
        """Return those of the options for layers, smoothing and averages that are used, for fingerprints: checkpoints
        from before there were any go on to be read."""
        found = {
            "input_dropout": self.input_dropout,
            "layer_learning_rates": list(self.rates),
            "label_smoothing": self.label_smoothing,
            "averaging": self.averaging and repr(self.averaging),
        }
        return {name: value for name, value in found.items() if value}

    def form(self, model: Model, targets: Array, weighted: bool) -> StepForm:
        """Return the form of a step: its operations."""
        places = dict(zip((1.0, *self._factors), self.coefficient_places(model), strict=True)) | {0.0: FROZEN}
        return StepForm(
            targets="labels" if targets.ndim == 1 else "targets",
            weighted=weighted,
            penalised=self.l2 > 0,
            thresholds=thresholds_of(model.network, self.dropout, self.input_dropout),
            update=self.optimizer.form,
            clipped=self.max_grad_norm is not None,
            rates=tuple(places[rate] for rate in self.rates),
            smoothed=self.label_smoothing > 0,
            averaged=self.averages_steps,
        )

    def fixed_coefficients(self, model: Model) -> dict[str, Any]:
        """Return the coefficients that are the same in all steps of a fit of the model."""
        rest = self.label_smoothing / model.loss.classes_of(model.sizes[-1])
        return {**model.fixed_coefficients, "smooth_share": 1.0 - self.label_smoothing, "smooth_rest": rest}

    def coefficients(self, fixed: dict[str, Any], steps: NDArray[np.int64], updates: NDArray[np.int64], total: int,
                     dtype: np.dtype[Any]) -> Array:  # fmt: skip
        """Return one row of coefficients for each step; SCALE and L2, which follow from the minibatch, are 0.

        Parameters
        ----------
        fixed : dict of str to float or array
            Those of `fixed_coefficients`.
        steps, updates : ndarray of int64, (n,)
            The numbers of the steps in a fit of `total`, from 0, and those of the optimizer's updates, from 1.
        """
        learning_rate = validation.real_array("learning_rate", self.learning_rate.at(steps, total))
        validation.shape("learning_rate", learning_rate, steps.shape)
        numbers = {"keep": 1.0, "max_norm": self.max_grad_norm or 0.0, **fixed}
        if self.averaging is not None and self.averages_steps:
            before = steps - self.averaging.start * (total // self.epochs)
            numbers["average_share"] = np.where(before < 0, 0.0, self.averaging.shares(np.maximum(before, 0)))
        tables = [co.table(len(steps), numbers | self.optimizer.coefficients(updates, learning_rate))]
        for factor in self._factors:
            of_factor = self.optimizer.coefficients(updates, factor * learning_rate)
            tables.append(co.table(len(steps), {"keep": 1.0, **of_factor}))
        rows = np.concatenate(tables, axis=1)
        with np.errstate(over="ignore"):  # to infinity: such a max_norm clips nothing, such an epsilon leaves no step
            return rows.astype(dtype)

    def diverged(self, what: str, epoch: int, loss: Loss, magnitudes: Magnitudes) -> DivergenceError:
        """Return the error to raise, with advice: first on the data, as far as they show a cause."""
        about_targets = magnitudes.about_targets(loss)
        smaller_rate = f"a smaller learning_rate (now {self.learning_rate.learning_rate:g})"
        smaller_l2 = f"a smaller l2 (now {self.l2:g})" if self.l2 else ""
        remedies = [about_targets, magnitudes.about_inputs(), smaller_rate, smaller_l2]
        return DivergenceError(
            f"training diverged in epoch {epoch + 1} of {self.epochs}: {what} became infinite or NaN; the parameters "
            f"from before that epoch are kept. Try {', or '.join(filter(None, remedies))}",
            about_targets,
        )
