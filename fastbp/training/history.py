"""The record of a training: losses, scores and seconds, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

LISTS = ("loss", "validation_loss", "validation_score", "seconds", "samples_per_second")


@dataclass
class History:
    """The record that `MLP.fit` returns, with one entry per epoch in each list.

    Attributes
    ----------
    loss : list of float
        Mean over the rows of the loss before each update, L2 penalty included.
    validation_loss, validation_score : list of float
        Loss without penalty, and score, on the validation data; empty without such data.
    seconds : list of float
        Training time, without compilation and validation.
    samples_per_second : list of float
        Rows trained per second.
    compile_seconds : float
        Time to compile the kernels, or to load them from the cache, before the first step.
    loss_name : str
        The loss that the network minimises.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> history = fastbp.MLP((2, 20, 4), seed=0).fit(X, y, epochs=3, batch_size=20)
    >>> len(history.loss), history.loss_name
    (3, 'softmax_cross_entropy')
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    compile_seconds: float = 0.0
    loss_name: str = "softmax_cross_entropy"
