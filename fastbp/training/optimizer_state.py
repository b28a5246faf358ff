"""The state of an optimizer between steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..model import pickles
from ..model.fit_lock import FitLock
from ..program.memory import aligned, round_up

if TYPE_CHECKING:
    from ..optimizers import Optimizer

Array = NDArray[Any]


class OptimizerState:
    """Keep what an optimizer needs from one update to the next: moments, and the number of updates.

    One is given to `MLP.apply` for each optimizer that changes a network, and starts empty. Networks share none.
    Pickles and copies hold it.

    Attributes
    ----------
    steps : int
        The updates so far.
    kind : tuple
        Class of the optimizer, dtype and length of the values: they start again from 0 where one of these changes.
    values : array
        The gradient, and behind it the moments and the parameters' average, each as long as the parameters and aligned.

    Examples
    --------
    >>> import fastbp
    >>> net, state = fastbp.MLP((2, 3, 2), seed=0), fastbp.OptimizerState()
    >>> for _ in range(3):
    ...     net.apply(net.backward([[0.5, -1.0]], [[1.0, -1.0]]), "adam", state=state)
    >>> state.steps
    3
    """

    kept: Any = None  # what `applying` keeps from call to call

    def __init__(self) -> None:
        self.steps = 0
        self.kind: tuple[Any, ...] = ()
        self.values: Array = np.empty(0)
        self.lock = FitLock("state: got one that another thread's apply is using, expected one for each network")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        return pickles.stamped(steps=self.steps, kind=self.kind, buffer=self.values)

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check("OptimizerState", state)
        self.__init__()  # type: ignore[misc]
        self.take_over(OptimizerState.of(state))

    def serves(self, optimizer: Optimizer, parameters: Array) -> bool:
        """Return whether `buffer` would go on with the values that there are."""
        return self.kind == _kind(optimizer, parameters)

    def of_others(self, optimizer: Optimizer, parameters: Array) -> bool:
        """Return whether the values are the same optimizer's, but of other dtype or length: of other parameters, unless
        the optimizer's number of states may change."""
        kind = _kind(optimizer, parameters)
        return self.kind[:1] == kind[:1] and self.kind != kind

    def take_over(self, other: OptimizerState) -> None:
        """Take the values of another state as they are."""
        self.steps, self.kind, self.values = other.steps, other.kind, other.values

    def buffer(self, optimizer: Optimizer, parameters: Array, averaged: bool = False) -> Array:
        """Return the gradient and what is behind it: kept from the last call if they are of the same kind, else 0."""
        kind = _kind(optimizer, parameters, averaged)
        if kind != self.kind:
            self.steps, self.kind, self.values = 0, kind, aligned(kind[-1], parameters.dtype)
            self.values.fill(0)
        return self.values

    def moments(self, parameters: Array) -> Array:
        """Return the moments, and the average, without the gradient before them; empty where there are none."""
        if not self.filled:
            return np.empty(0, parameters.dtype)
        return self.values[round_up(parameters.size, parameters.dtype) :]

    def state(self) -> dict[str, Any] | None:
        """Return the state as a dict that does not name this class; None if there is no state."""
        return {"steps": self.steps, "kind": self.kind, "buffer": self.values} if self.filled else None

    @classmethod
    def of(cls, state: dict[str, Any] | None) -> OptimizerState:
        """Return the state that `state` gave, in arrays of its own: joblib maps large ones from files, read-only."""
        restored = cls()
        if state is not None:
            restored.steps, restored.kind = state["steps"], state["kind"]
            restored.values = aligned(state["buffer"].size, state["buffer"].dtype)
            restored.values[...] = state["buffer"]
        return restored

    @property
    def filled(self) -> bool:
        """True if there are values."""
        return self.values.size > 0

    def forget(self) -> None:
        """Return to the state before the first step."""
        self.steps, self.kind, self.values, self.kept = 0, (), np.empty(0), None


def _kind(optimizer: Optimizer, parameters: Array, averaged: bool = False) -> tuple[Any, ...]:
    """Return class of the optimizer, dtype and length of the values."""
    length = round_up(parameters.size, parameters.dtype) * (1 + optimizer.states + averaged)
    return type(optimizer), parameters.dtype, length
