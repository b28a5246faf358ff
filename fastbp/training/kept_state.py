"""The state of a training before some epochs, from which they can be trained again with the same bits."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .optimizer_state import OptimizerState
from .orders import Orders
from .position import FitPosition


class KeptState:
    """Copies of all that epochs change: parameters, optimizer state, the number of steps, the generator."""

    def __init__(self, parameters: NDArray[Any], memory: OptimizerState, position: FitPosition, orders: Orders):
        self._parameters, self._memory, self._position, self._orders = parameters, memory, position, orders
        self._copies = parameters.copy(), memory.values.copy()
        self._counts = position.steps, memory.steps
        self._draws = orders.state

    def put_back(self) -> None:
        """Write the copies back, in place."""
        self._parameters[...], self._memory.values[...] = self._copies
        self._position.steps, self._memory.steps = self._counts
        self._orders.state = self._draws
