"""What a training returns: losses, scores and seconds, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """What `MLP.fit` returns: one entry an epoch in each list.

    Attributes
    ----------
    loss : list of float
        Mean over rows of the losses seen before each update, L2 penalty included.
    validation_loss, validation_score : list of float
        On the validation data, without penalty; empty without such data.
    seconds : list of float
        Training alone: neither compilation nor validation.
    samples_per_second : list of float
    compile_seconds : float
        Compiling kernels, or loading them from the cache, before the first step.
    loss_name : str
        What the losses are of.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    compile_seconds: float = 0.0
    loss_name: str = "softmax_cross_entropy"
