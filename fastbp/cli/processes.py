"""What a command runs on: this process alone, or all processes that mpirun has started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import distributed
from ..distributed.ranks import Ranks
from ..network import MLP
from ..training.history import History

Array = NDArray[Any]
T = TypeVar("T")


class Alone:
    """One process: all rows are its own."""

    leads, size = True, 1  # whether it is the one that prints and saves

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...  # fmt: skip

    def agree(self, action: Callable[[], T]) -> T:
        return action()

    def part(self, rows: Array) -> Array:
        """The rows that are this process's own."""
        return rows

    def summed(self, values: Any) -> Array:
        return np.asarray(values)

    def first(self, values: Array) -> Array:
        """What the first process has."""
        return values

    def fit(self, net: MLP, X: Array, y: Array, **settings: Any) -> History:
        return net.fit(X, y, **settings)

    def score(self, net: MLP, X: Array, y: Array) -> float:
        return net.score(X, y)


ALONE = Alone()


class Together(Alone):
    """One of several processes: rows are cut among them, in their order; what one finds wrong all raise."""

    def __init__(self) -> None:
        try:
            self._ranks = Ranks()
        except ModuleNotFoundError as error:
            raise ValueError(f"--mpi: {error}") from None
        self.leads, self.size = self._ranks.is_root, self._ranks.size
        self._within = contextlib.ExitStack()

    def __enter__(self) -> Together:
        self._within.enter_context(self._ranks.aborting_on_error())
        self._within.enter_context(self._ranks.sharing_processors())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self._within.__exit__(kind, error, trace)

    def agree(self, action: Callable[[], T]) -> T:
        return self._ranks.agree(action)

    def part(self, rows: Array) -> Array:
        """A copy, so that the other ranks' rows need not stay in memory."""
        rank, size, count = self._ranks.rank, self.size, len(rows)
        if count < size:
            raise ValueError(f"--mpi: got {count} rows for {size} processes, expected at least one for each")
        return rows[count * rank // size : count * (rank + 1) // size].copy()

    def summed(self, values: Any) -> Array:
        return self._ranks.summed(values)

    def first(self, values: Array) -> Array:
        received: Array = self._ranks.comm.bcast(values)
        return received

    def fit(self, net: MLP, X: Array, y: Array, **settings: Any) -> History:
        return distributed.fit(net, X, y, self._ranks.comm, **settings)

    def score(self, net: MLP, X: Array, y: Array) -> float:
        return distributed.score(net, X, y, self._ranks.comm)
