"""The record of a training: losses, scores and seconds, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import representation
from ..extras import missing

LISTS = ("loss", "validation_loss", "validation_score", "seconds", "samples_per_second")


@dataclass(repr=False)
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

    def to_frame(self) -> Any:
        """Return the lists that are not empty as the columns of a data frame, with the epochs, from 1, as its index.

        Where an epoch was interrupted before its validation, that is NaN.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ModuleNotFoundError
            pandas is not installed.

        Examples
        --------
        >>> import fastbp
        >>> frame = fastbp.History(loss=[2.0, 1.0], seconds=[0.25, 0.25]).to_frame()
        >>> list(frame.columns), list(frame.index), float(frame.loss[2])
        (['loss', 'seconds'], [1, 2], 1.0)
        """
        try:
            import pandas  # takes half a second
        except ModuleNotFoundError as error:
            raise missing(error, "History.to_frame", "pandas", "pandas") from None
        columns = {name: values for name in LISTS if (values := getattr(self, name))}
        epochs = pandas.RangeIndex(1, 1 + max(map(len, columns.values()), default=0), name="epoch")
        series = {name: pandas.Series(values, epochs[: len(values)], "float64") for name, values in columns.items()}
        return pandas.DataFrame(series, epochs)

    def __repr__(self) -> str:
        epochs = len(self.loss)
        said = [f"{epochs} epoch{'' if epochs == 1 else 's'}"]
        said += [f"{name.replace('_', ' ')} {representation.one_line(values[-1])}" for name, values in self._measures()]
        return f"History({self.loss_name}, {', '.join(said)}, {sum(self.seconds):.3g} s)"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the losses as a line, and the first, last and best value of each measure."""
        rows = []
        for name, values in self._measures():
            finite = [i for i, value in enumerate(values) if value == value]
            best = (max if name == "validation_score" else min)(finite, key=values.__getitem__, default=0)
            rows.append((name.replace("_", " "), values[0], values[-1], values[best], best + 1))
        table = representation.table(("", "first", "last", "best", "in epoch"), rows) if rows else ""
        return representation.html(repr(self), representation.sparkline("loss", self.loss), table)

    def _measures(self) -> list[tuple[str, list[float]]]:
        """Return losses and scores, by their names; none that are empty."""
        return [(name, values) for name in LISTS[:3] if (values := getattr(self, name))]
