"""What a network knows of its loss, by its name: formula, targets, and what its outputs are; the kernels are
`kernels.losses`.
"""

from __future__ import annotations

from typing import NamedTuple

from ..kernels import activations, losses


class Loss(NamedTuple):
    """A loss of logits and targets.

    Attributes
    ----------
    name : str
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

    name: str
    targets: str
    output: int | None
    kind: int | None
    share: float = 1.0
    mean: bool = True

    @property
    def classifies(self) -> bool:
        return self.targets in ("classes", "shares")

    @property
    def words(self) -> str:
        return "mean cross-entropy" if self.kind is None else self.name.replace("_", " ")

    def share_of(self, outputs: int) -> float:
        """What one output's loss counts in a row's."""
        return self.share / outputs if self.mean else self.share


IDENTITY, LOGISTIC, EXP = activations.IDENTITY, activations.LOGISTIC, activations.EXP
_ALL = (
    Loss("softmax_cross_entropy", "classes", None, None),
    Loss("binary_cross_entropy", "shares", LOGISTIC, losses.BINARY_CROSS_ENTROPY),
    Loss("binary_cross_entropy_sum", "shares", LOGISTIC, losses.BINARY_CROSS_ENTROPY, mean=False),
    Loss("mean_squared_error", "numbers", IDENTITY, losses.SQUARED_ERROR, 2.0),
    Loss("half_squared_error", "numbers", IDENTITY, losses.SQUARED_ERROR),
    Loss("mean_absolute_error", "numbers", IDENTITY, losses.ABSOLUTE_ERROR),
    Loss("huber", "numbers", IDENTITY, losses.HUBER),
    Loss("poisson_deviance", "counts", EXP, losses.HALF_POISSON_DEVIANCE, 2.0),
    Loss("half_poisson_deviance_sum", "counts", EXP, losses.HALF_POISSON_DEVIANCE, mean=False),
)
LOSSES = {loss.name: loss for loss in _ALL}
