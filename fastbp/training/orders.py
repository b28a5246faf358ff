"""The order of the rows in each epoch, drawn from a generator that can be put back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.int64]


class Orders(ABC):
    """Draws a permutation of the rows for each epoch.

    Attributes
    ----------
    state : object
        All on which the next orders depend. Where it is put back, the same ones are drawn again.
    """

    @property
    @abstractmethod
    def state(self) -> Any: ...

    @state.setter
    @abstractmethod
    def state(self, state: Any) -> None: ...

    @abstractmethod
    def __call__(self, rows: int) -> Order:
        """Return the order of the next epoch."""

    def several(self, rows: int, epochs: int) -> Order:
        """Return the orders of the next epochs, (epochs, rows)."""
        return np.array([self(rows) for _ in range(epochs)])


class Permutations(Orders):
    """A permutation from a generator for each epoch."""

    def __init__(self, generator: np.random.Generator):
        self.generator = generator

    @property
    def state(self) -> Any:
        return self.generator.bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        self.generator.bit_generator.state = state

    def __call__(self, rows: int) -> Order:
        return self.generator.permutation(rows)

    def several(self, rows: int, epochs: int) -> Order:
        """Return the orders of the next epochs: the draws of `permutation`, while other threads may run."""
        orders = np.tile(np.arange(rows), (epochs, 1))
        return self.generator.permuted(orders, axis=1, out=orders)
