"""The order of the rows in each epoch, drawn ahead of the training where that is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.int64]


class Orders(ABC):
    """Draws a permutation of the rows for each epoch."""

    @abstractmethod
    def __call__(self, rows: int) -> Order:
        """Return the order of the next epoch."""

    @abstractmethod
    def several(self, rows: int, epochs: int) -> Order:
        """Return the orders of the next epochs, (epochs, rows)."""

    @abstractmethod
    def put_back(self, epochs: int) -> None:
        """Leave all as if the last `epochs` of the last call of `several` had not been drawn."""


class Permutations(Orders):
    """A permutation from a generator for each epoch."""

    def __init__(self, generator: np.random.Generator):
        self.generator = generator

    def __call__(self, rows: int) -> Order:
        return self.generator.permutation(rows)

    def several(self, rows: int, epochs: int) -> Order:
        self._before = self.generator.bit_generator.state, rows, epochs
        orders = np.tile(np.arange(rows), (epochs, 1))
        # The draws of `permutation`, while other threads may run.
        return self.generator.permuted(orders, axis=1, out=orders)

    def put_back(self, epochs: int) -> None:
        self.generator.bit_generator.state, rows, drawn = self._before
        self.several(rows, drawn - epochs)
