"""The settings by which networks are trained on tables: those that did best on public sets, for the time they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..learning_rates import Cosine
from ..optimizers import AdamW, Optimizer

MANY_ROWS = 5000  # from here on epochs, each of which has more steps, become fewer, by the cube root of the rows
EPOCHS, MOST_EPOCHS = 30, 10**9
LEAST_DROPPED = 1 / 3  # of the share to drop: of many rows less is learned by heart
MANY_CLASSES = 20  # from here on networks are larger, and trained longer
ONE_NETWORK_FROM = 8000  # rows: a second one gained 0.003 on letter and nothing on magic, for twice the time
BINS, LEAST_BINS, MOST_BINS = 256, 8, 64  # in all, and of a column


@dataclass(frozen=True)
class Encoding:
    """One way to encode numbers, and what goes with it.

    Attributes
    ----------
    binned : bool
        Whether each number has parts between quantiles beside it.
    dropout, learning_rate : float
        Of up to 5,000 rows; of more, less is dropped.
    """

    binned: bool
    dropout: float
    learning_rate: float

    def bins(self, columns: int) -> int:
        """Return the number of parts for each of so many columns of numbers; 0 for none."""
        return int(np.clip(BINS // max(1, columns), LEAST_BINS, MOST_BINS)) if self.binned else 0


@dataclass(frozen=True)
class Recipe:
    """How many networks are trained, and how.

    Attributes
    ----------
    networks : int or None
        With each encoding; each leaves out another part of the rows, by which its best epoch is found. None: 3, or 1 of
        8,000 rows or more.
    epochs : int or None
        At most; the learning rate falls to 0 with the last. None: 30, or fewer of over 5,000 rows.
    patience : int
        Epochs without a lower held-out loss after which a training ends.
    hidden : tuple of int or None
        None: 128 and 128 units, or 256 and 128 for 20 classes or more.
    activation : str
    weight_decay : float
    warmup : float
        Share of the steps in which the learning rate rises.
    encodings : tuple of Encoding
    """

    networks: int | None = None
    epochs: int | None = None
    patience: int = 10
    hidden: tuple[int, ...] | None = None
    activation: str = "silu"
    weight_decay: float = 0.1
    warmup: float = 0.05
    encodings: tuple[Encoding, ...] = (Encoding(False, 0.3, 6e-3), Encoding(True, 0.15, 4e-3))

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of all networks."""
        return AdamW(weight_decay=self.weight_decay)

    def schedule(self, encoding: Encoding) -> Cosine:
        """Return the learning rates of a training."""
        return Cosine(encoding.learning_rate, warmup=self.warmup)

    def networks_of(self, rows: int) -> int:
        """Return how many networks are trained with each encoding."""
        return self.networks or (3 if rows < ONE_NETWORK_FROM else 1)

    def trainings(self, rows: int) -> int:
        """Return how many networks are trained in all."""
        return self.networks_of(rows) * len(self.encodings)

    def epochs_of(self, rows: int, classes: int) -> int:
        """Return the number of epochs."""
        if self.epochs is not None:
            return min(self.epochs, MOST_EPOCHS)
        share = min(1.0, float(np.cbrt(MANY_ROWS / rows)))
        return max(1, round(EPOCHS * (max(1.0, 2 * share) if classes >= MANY_CLASSES else share)))

    def dropout_of(self, encoding: Encoding, rows: int) -> float:
        """Return the share of hidden outputs to drop."""
        return encoding.dropout * float(np.clip(MANY_ROWS / rows, LEAST_DROPPED, 1.0))

    def hidden_of(self, classes: int) -> tuple[int, ...]:
        """Return the units of the hidden layers."""
        return self.hidden or ((128, 128) if classes < MANY_CLASSES else (256, 128))

    def batch_size(self, rows: int) -> int:
        """Return the rows of a step: some 60 steps an epoch, in a power of two."""
        return int(np.clip(2 ** np.round(np.log2(max(1.0, rows / 60))), 16, 256))
