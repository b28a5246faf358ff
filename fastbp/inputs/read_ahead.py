"""A thread that makes the next item while one is used."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
JOIN_SECONDS = 10.0  # how long to wait for a reader that is within someone else's code
POLL_SECONDS = 0.5  # where the system does not interrupt a wait, Ctrl-C takes this long


class Stop:
    """A flag: no more items are wanted."""

    requested = False


class Reader(Generic[Item]):
    """A generator run in a thread: while one item is used, the next one is made, and no third.

    The two threads share queues and a flag, and no lock that is written in Python: Ctrl-C within a semaphore or an
    event of `threading` leaves it locked for ever.

    Parameters
    ----------
    items : generator
    stop : Stop
        Requested when no more items are wanted; the generator looks at it.
    """

    def __init__(self, items: Generator[Item, None, None], stop: Stop):
        self._items, self._stop = items, stop
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(2):
            self._places.put(None)
        self._made: queue.SimpleQueue[tuple[Item | None, BaseException | None]] = queue.SimpleQueue()
        # NumPy's settings and the limit of threads hold in the reader too. A daemon, since it may wait in user code.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), daemon=True, name="fastbp-reader")

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._places.get()
                if self._stop.requested:
                    return
                item = next(self._items, None)
                self._made.put((item, None))
                if item is None:
                    return
        except BaseException as error:  # raised again where the items are used
            self._made.put((None, error))
        finally:
            self._items.close()

    def __iter__(self) -> Iterator[Item]:
        while True:
            try:
                item, error = self._made.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if item is None:
                return
            yield item
            self._places.put(None)

    def close(self) -> None:
        """End the thread: at once, or as soon as its current read returns."""
        self._stop.requested = True
        self._places.put(None)
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
