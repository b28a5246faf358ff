"""The state of a training before some epochs, from which they can be trained again with the same bits."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .optimizer_state import OptimizerState
from .position import FitPosition


class KeptState:
    """Copies of what steps change: parameters, optimizer state, and how many steps there were."""

    def __init__(self, parameters: NDArray[Any], memory: OptimizerState, position: FitPosition):
        self._parameters, self._memory, self._position = parameters, memory, position
        self._copies = parameters.copy(), memory.values.copy()
        self._steps = position.steps, memory.steps

    def put_back(self) -> None:
        """Write the copies back, in place."""
        self._parameters[...], self._memory.values[...] = self._copies
        self._position.steps, self._memory.steps = self._steps
