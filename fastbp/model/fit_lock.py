"""The lock that keeps a second thread out of a network's training."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
BUSY = (
    "fit: got a second call while another thread trains this network, expected one at a time; wait for the first, or "
    "train a copy (copy.deepcopy)"
)


class FitLock:
    """A reentrant lock that refuses a second thread instead of letting it wait.

    Two threads in `fit` would write the same parameters, each over the other's. A pickled or deeply copied network gets
    a new lock; `copy.copy`, which shares the parameters, shares the lock.

    Parameters
    ----------
    busy : str
        What the error says.
    """

    def __init__(self, busy: str = BUSY) -> None:
        self._busy = busy
        # One lock per process: a lock that another thread held during a fork has no thread in the child to release it.
        self._locks: dict[int, threading.RLock] = {}

    def __reduce__(self) -> tuple[type[FitLock], tuple[str]]:
        return FitLock, (self._busy,)

    def call(self, train: Callable[[], T]) -> T:
        """Return ``train()``, called with the lock held; raise RuntimeError if another thread holds it."""
        lock = self._locks.setdefault(os.getpid(), threading.RLock())
        try:  # acquired inside: Ctrl-C may come as soon as the lock is held
            if not lock.acquire(blocking=False):
                raise RuntimeError(self._busy)
            return train()
        finally:
            try:  # noqa: SIM105 (suppress() would be a call before the release, and Ctrl-C comes at calls)
                lock.release()
            except RuntimeError:  # held by another thread
                pass
