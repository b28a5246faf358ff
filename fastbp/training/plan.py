"""How to train: everything that was decided before the first step, and the numbers of each step that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..inputs.blocks import Terms
from ..kernels import coefficients as co
from ..kernels.dropout import UNITS
from ..kernels.losses import Loss
from ..learning_rates import LearningRate
from ..optimizers import Optimizer
from ..program.network import StepForm
from .magnitudes import Magnitudes

Array = NDArray[Any]


class DivergenceError(ArithmeticError):
    """Training produced infinity or NaN; the parameters from before the epoch were kept.

    Attributes
    ----------
    about_targets : str
        What to do about targets that are far from order one; "" where they are not.
    """

    def __init__(self, message: str, about_targets: str = ""):
        super().__init__(message)
        self.about_targets = about_targets


@dataclass
class Plan:
    """How to train: what `MLP.fit` and the estimators decide.

    Attributes
    ----------
    order : callable
        Called with the number of rows at the begin of each epoch: their order, (n,) int64, or None for as they are.
    l2_per_weight : bool
        Divide `l2` by the rows, or the sum of the weights, of each minibatch, as scikit-learn does its alpha.
    dropout : float
        Share of each hidden layer's outputs that are 0 in a step.
    max_grad_norm : float or None
        A longer gradient, penalty included, is shortened to this norm.
    time_budget : float or None
        Seconds after which training ends, at the next step boundary that Python sees.
    memory_limit : int or None
        Bytes that the rows in flight may take: beyond them X is read block by block (`fastbp.inputs.blocks`).
    generator : numpy.random.Generator or None
        What the order of blocks, and of rows within them, is drawn from; None: as they are.
    streams : bool
        Whether a mapped file larger than half of memory is read block by block, too.
    """

    epochs: int
    batch_size: int
    learning_rate: LearningRate
    l2: float
    optimizer: Optimizer
    order: Callable[[int], Any]
    l2_per_weight: bool = False
    dropout: float = 0.0
    max_grad_norm: float | None = None
    time_budget: float | None = None
    memory_limit: int | None = None
    generator: np.random.Generator | None = None
    streams: bool = False

    @property
    def terms(self) -> Terms:
        """What of it decides how rows are read."""
        needs_total = type(self.learning_rate).__name__ if self.learning_rate.needs_total else None
        return Terms(self.epochs, self.batch_size, self.memory_limit, self.streams, needs_total)

    def form(self, targets: Array, weighted: bool) -> StepForm:
        """What a step consists of."""
        return StepForm("labels" if targets.ndim == 1 else "targets", weighted, self.l2 > 0,
                        int(self.dropout * UNITS), self.optimizer.form, self.max_grad_norm is not None)  # fmt: skip

    def coefficients(self, fixed: dict[str, Any], steps: NDArray[np.int64], updates: NDArray[np.int64], total: int,
                     dtype: np.dtype[Any]) -> Array:  # fmt: skip
        """Return one row of coefficients for each step; SCALE and L2, which follow from the minibatch, are 0.

        Parameters
        ----------
        fixed : dict of str to float or array
            Those that follow from the network.
        steps, updates : ndarray of int64, (n,)
            The numbers of the steps in a fit of `total`, from 0, and those of the optimizer's updates, from 1.
        """
        learning_rate = validation.real_array("learning_rate", self.learning_rate.at(steps, total))
        validation.shape("learning_rate", learning_rate, steps.shape)
        numbers = {"keep": 1.0, "max_norm": self.max_grad_norm or 0.0, **fixed}
        rows = co.table(len(steps), numbers | self.optimizer.coefficients(updates, learning_rate))
        with np.errstate(over="ignore"):  # to infinity: such a max_norm clips nothing, such an epsilon leaves no step
            return rows.astype(dtype)

    def diverged(self, what: str, epoch: int, loss: Loss, magnitudes: Magnitudes) -> DivergenceError:
        """The error to raise: first in it what the data themselves show to be wrong."""
        about_targets = magnitudes.about_targets(loss)
        remedies = [about_targets, magnitudes.about_inputs(),
                    f"a smaller learning_rate (now {self.learning_rate.learning_rate:g})",
                    f"a smaller l2 (now {self.l2:g})" if self.l2 else ""]  # fmt: skip
        return DivergenceError(
            f"training diverged in epoch {epoch + 1} of {self.epochs}: {what} became infinite or NaN; the parameters "
            f"from before that epoch are kept. Try {', or '.join(filter(None, remedies))}",
            about_targets,
        )
