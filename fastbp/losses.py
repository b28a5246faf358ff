"""What a network knows of its loss, by its name: formula, targets, and what its outputs are; the kernels are
`kernels.losses`.
"""

from __future__ import annotations

from typing import NamedTuple

from .kernels import activations, losses


class Loss(NamedTuple):
    """A loss of logits and targets.

    Attributes
    ----------
    targets : {"classes", "shares", "numbers", "counts"}
        What y holds: class indices or rows of probabilities; numbers from 0 to 1; any; none below 0.
    output : int or None
        The function that makes outputs of logits, in `kernels.activations`; None: softmax.
    kind : int or None
        Its number in `kernels.losses`; None: softmax with cross-entropy.
    share : float
        What the kernel's loss is multiplied with.
    mean : bool
        Over the outputs of a row their mean, not their sum.
    """

    targets: str
    output: int | None
    kind: int | None
    share: float = 1.0
    mean: bool = True

    @property
    def classifies(self) -> bool:
        return self.targets in ("classes", "shares")

    def share_of(self, outputs: int) -> float:
        """What one output's loss counts in a row's."""
        return self.share / outputs if self.mean else self.share


IDENTITY, LOGISTIC, EXP = activations.IDENTITY, activations.LOGISTIC, activations.EXP
LOSSES = {
    "softmax_cross_entropy": Loss("classes", None, None),
    "binary_cross_entropy": Loss("shares", LOGISTIC, losses.BINARY_CROSS_ENTROPY),
    "binary_cross_entropy_sum": Loss("shares", LOGISTIC, losses.BINARY_CROSS_ENTROPY, mean=False),
    "mean_squared_error": Loss("numbers", IDENTITY, losses.SQUARED_ERROR, 2.0),
    "half_squared_error": Loss("numbers", IDENTITY, losses.SQUARED_ERROR),
    "mean_absolute_error": Loss("numbers", IDENTITY, losses.ABSOLUTE_ERROR),
    "huber": Loss("numbers", IDENTITY, losses.HUBER),
    "poisson_deviance": Loss("counts", EXP, losses.HALF_POISSON_DEVIANCE, 2.0),
    "half_poisson_deviance_sum": Loss("counts", EXP, losses.HALF_POISSON_DEVIANCE, mean=False),
}
