"""The processes that a command runs on: this one, or all that mpirun has started."""

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


class SingleProcess:
    """One process, which has all rows.

    Attributes
    ----------
    is_root : bool
        Whether this process prints and saves.
    size : int
        Number of processes.
    """

    is_root, size = True, 1

    def __enter__(self) -> SingleProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def agree(self, action: Callable[[], T]) -> T:
        """Carry out the action; an error in one process is raised in all."""
        return action()

    def part(self, rows: Array) -> Array:
        """Return this process's rows."""
        return rows

    def summed(self, values: Any) -> Array:
        """Return the sum over all processes."""
        return np.asarray(values)

    def first(self, values: Array) -> Array:
        """Return the values of the first process."""
        return values

    def fit(self, net: MLP, X: Array, y: Array, **settings: Any) -> History:
        return net.fit(X, y, **settings)

    def score(self, net: MLP, X: Array, y: Array) -> float:
        return net.score(X, y)


class MpiProcess(SingleProcess):
    """One of several processes, among which rows are divided in their order."""

    def __init__(self) -> None:
        try:
            self._ranks = Ranks()
        except ModuleNotFoundError as error:
            raise ValueError(f"--mpi: {error}") from None
        self.is_root, self.size = self._ranks.is_root, self._ranks.size
        self._within = contextlib.ExitStack()

    def __enter__(self) -> MpiProcess:
        self._within.enter_context(self._ranks.aborting_on_error())
        self._within.enter_context(self._ranks.sharing_processors())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._within.__exit__(kind, error, trace)

    def agree(self, action: Callable[[], T]) -> T:
        return self._ranks.agree(action)

    def part(self, rows: Array) -> Array:
        """Return a copy, so that the other ranks' rows need not stay in memory."""
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
