"""What an optimizer remembers from step to step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..optimizers import Optimizer
from ..program.memory import aligned, round_up

Array = NDArray[Any]


class OptimizerState:
    """Moments, and how many steps were taken."""

    def __init__(self) -> None:
        self.steps = 0
        self._kind: tuple[Any, ...] = ()
        self._buffer = np.empty(0)

    def buffer(self, optimizer: Optimizer, parameters: Array) -> Array:
        """The gradient, and behind it the moments: kept if they are those of such an optimizer, else 0."""
        length = round_up(parameters.size, parameters.dtype) * (1 + optimizer.states)
        kind = (type(optimizer), parameters.dtype, length)
        if kind != self._kind:
            self.steps, self._kind, self._buffer = 0, kind, aligned(length, parameters.dtype)
            self._buffer.fill(0)
        return self._buffer

    def state(self) -> dict[str, Any] | None:
        """Return what is remembered, without naming this class; None if that is nothing."""
        return {"steps": self.steps, "kind": self._kind, "buffer": self._buffer} if self.filled else None

    @classmethod
    def of(cls, state: dict[str, Any] | None) -> OptimizerState:
        """Return a memory of what `state` gave, in arrays of its own: joblib maps large ones from files, read-only."""
        memory = cls()
        if state is not None:
            memory.steps, memory._kind = state["steps"], state["kind"]
            memory._buffer = aligned(state["buffer"].size, state["buffer"].dtype)
            memory._buffer[...] = state["buffer"]
        return memory

    @property
    def filled(self) -> bool:
        return self._buffer.size > 0

    def forget(self) -> None:
        self.steps, self._kind, self._buffer = 0, (), np.empty(0)
