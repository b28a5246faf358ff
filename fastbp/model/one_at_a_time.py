"""A lock that keeps a second thread out of a network's training."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class OneThreadAtATime:
    """Keep a second thread out of a network's `fit`: two would write the same parameters, each over the other's.

    A pickled or deeply copied network gets a free one of its own; `copy.copy`, which shares the parameters, shares it.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.RLock] = {}  # by process: one that a fork left held has no thread to free it

    def __reduce__(self) -> tuple[type[OneThreadAtATime], tuple[()]]:
        return OneThreadAtATime, ()

    def call(self, train: Callable[[], T]) -> T:
        lock = self._locks.setdefault(os.getpid(), threading.RLock())
        try:  # taken within it, for Ctrl-C may come as soon as the lock is taken
            if not lock.acquire(blocking=False):
                raise RuntimeError("fit: got a second call while another thread trains this network, expected one at "
                                   "a time; wait for the first, or train a copy (copy.deepcopy)")  # fmt: skip
            return train()
        finally:
            try:  # noqa: SIM105 (suppress() would be a call before the release, and Ctrl-C comes at calls)
                lock.release()
            except RuntimeError:  # another thread's
                pass
