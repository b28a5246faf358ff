"""The place that a fit has reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import validation


@dataclass
class FitPosition:
    """The place that a fit has reached, in epochs and rows.

    Attributes
    ----------
    epoch, rows : int
        The running epoch, from 0, and how many rows of its order are done: whole minibatches.
    total : float
        Sum over these rows of the losses of their minibatches.
    seconds : float
        The time that these rows took.
    steps : int
        Steps done in the whole fit.
    generator : dict
        State of the network's generator as the epoch began. The order of the epoch's rows follows from it; where
        nothing else is drawn, so does every later state.
    finished : bool
    """

    epoch: int = 0
    rows: int = 0
    total: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    generator: Any = None
    finished: bool = False

    @classmethod
    def of(cls, values: dict[str, Any]) -> FitPosition:
        """Return a position that was read from a file; TypeError or ValueError where the values make none."""
        position = cls(**values)
        for name in ("epoch", "rows", "steps"):
            setattr(position, name, validation.whole_number(name, getattr(position, name), 0))
        position.total, position.seconds = float(position.total), float(position.seconds)
        return position

    def next_epoch(self, finished: bool) -> FitPosition:
        """Return the position at the start of the next epoch."""
        return FitPosition(self.epoch + 1, steps=self.steps, finished=finished)
