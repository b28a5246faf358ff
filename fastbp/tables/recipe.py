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


PLAIN = Encoding(bins=0, dropout=0.3, learning_rate=4e-3)
BINNED = Encoding(bins=16, dropout=0.15, learning_rate=2e-3)


@dataclass(frozen=True)
class Recipe:
    """How many networks are trained, and how.

    Attributes
    ----------
    networks : int
        How many are trained; each leaves out another part of the rows, by which its best epoch is found.
    epochs : int
        At most; the learning rate falls to 0 with the last.
    hidden : tuple of int
    activation : str
    weight_decay : float
    warmup : float
        Share of the steps in which the learning rate rises.
    encodings : tuple of Encoding
    """

    networks: int = 4
    epochs: int = 60
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

    def batch_size(self, rows: int) -> int:
        """Return the rows of a step: some 60 steps an epoch, in a power of two."""
        return int(np.clip(2 ** np.round(np.log2(max(1.0, rows / 60))), 16, 256))
