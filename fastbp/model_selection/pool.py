"""A pool of Python threads for independent tasks, each of which uses a single thread.

Compiled code releases the interpreter's lock, so that the threads do not wait for one another.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .. import threads
from ..training.progress import progress_bar, stop_asked, stopped_by

POLL_SECONDS = 0.1  # a wait without a timeout does not hear Ctrl-C on Windows


def run_all(tasks: Sequence[Callable[[], Any]], costs: Sequence[float], progress: bool | None, unit: str) -> list[Any]:
    """Run tasks in `threads.count()` threads, with the caller's context variables (`numpy.errstate` is one).

    Parameters
    ----------
    tasks : sequence of callable
    costs : sequence of float
        Estimates of their work; the largest are started first.
    progress : bool or None
        A progress bar that counts tasks; None: on a terminal and in notebooks only.
    unit : str
        What the bar counts.

    Returns
    -------
    list
        For each task the value that it returned, or the exception that it raised.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, or another exception that is no `Exception`, ends all tasks: training at its next step boundary that
        Python sees.
    """
    finished: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    stop = threading.Event()
    outcomes: list[Any] = [None] * len(tasks)

    def work(i: int) -> None:
        try:
            with threads.limit(1), stopped_by(stop):
                finished.put((i, tasks[i]()))
        except BaseException as error:
            finished.put((i, error))

    with (
        ThreadPoolExecutor(min(threads.count(), len(tasks)), "fastbp") as pool,
        progress_bar(progress, len(tasks), unit) as bar,
    ):
        try:
            for i in sorted(range(len(tasks)), key=lambda i: -costs[i]):
                pool.submit(contextvars.copy_context().run, work, i)
            for _ in tasks:
                i, outcomes[i] = _next(finished)
                if isinstance(outcomes[i], BaseException) and not isinstance(outcomes[i], Exception):
                    raise outcomes[i]
                bar.update(1)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return outcomes


def _next(finished: queue.SimpleQueue[tuple[int, Any]]) -> tuple[int, Any]:
    while True:
        if stop_asked():  # this pool runs within a task of another
            raise KeyboardInterrupt
        try:
            return finished.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
