"""The settings by which networks are trained on tables: those that did best on public sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..learning_rates import Cosine
from ..optimizers import AdamW, Optimizer


@dataclass(frozen=True)
class Encoding:
    """One way to encode numbers, and what goes with it: of several the one with the lowest held-out loss is kept.

    Attributes
    ----------
    bins : int
        Parts between quantiles, besides each number; 0 for none.
    dropout, learning_rate : float
    """

    bins: int
    dropout: float
    learning_rate: float


MOST_EPOCHS, LEAST_EPOCHS = 60, 12
MANY_ROWS = 5000

PLAIN = Encoding(bins=0, dropout=0.3, learning_rate=4e-3)
BINNED = Encoding(bins=16, dropout=0.15, learning_rate=2e-3)


@dataclass(frozen=True)
class Recipe:
    """How many networks are trained, and how.

    Attributes
    ----------
    networks : int
        How many are trained; each leaves out another part of the rows, by which its best epoch is found.
    epochs : int or None
        At most; the learning rate falls to 0 with the last. None: by the number of rows.
    patience : int
        Epochs without a lower held-out loss after which a training ends.
    hidden : tuple of int
    activation : str
    weight_decay : float
    warmup : float
        Share of the steps in which the learning rate rises.
    encodings : tuple of Encoding
    """

    networks: int = 4
    epochs: int | None = None
    patience: int = 16
    hidden: tuple[int, ...] = (128, 128)
    activation: str = "silu"
    weight_decay: float = 0.1
    warmup: float = 0.05
    encodings: tuple[Encoding, ...] = (PLAIN, BINNED)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of all networks."""
        return AdamW(weight_decay=self.weight_decay)

    def schedule(self, encoding: Encoding) -> Cosine:
        """Return the learning rates of a training."""
        return Cosine(encoding.learning_rate, warmup=self.warmup)

    def epochs_of(self, rows: int) -> int:
        """Return the number of epochs: of many rows fewer, each of which has more steps."""
        return self.epochs or int(np.clip(MOST_EPOCHS * np.sqrt(MANY_ROWS / rows), LEAST_EPOCHS, MOST_EPOCHS))

    def probes(self, rows: int) -> int:
        """Return how many networks of each encoding are trained to choose one: of few rows the losses vary more."""
        return min(self.networks, 2 if rows < MANY_ROWS else 1)

    def trainings(self, rows: int) -> int:
        """Return how many networks are trained in all."""
        return self.networks + self.probes(rows) * (len(self.encodings) - 1)

    def batch_size(self, rows: int) -> int:
        """Return the rows of a step: some 60 steps an epoch, in a power of two."""
        return int(np.clip(2 ** np.round(np.log2(max(1.0, rows / 60))), 16, 256))
