"""Independent pieces of work side by side, one a Python thread of a pool, each serial inside.

Compiled code runs without the interpreter's lock, so that threads of small networks do not wait for one another.
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

LOOK_SECONDS = 0.1  # a wait without an end hears no Ctrl-C on Windows


def run_all(jobs: Sequence[Callable[[], Any]], costs: Sequence[float], progress: bool | None, unit: str) -> list[Any]:
    """What each job returns, or the exception that it raised; the costliest are begun first.

    As many threads as `threads.count` allows here, with the caller's context variables (`numpy.errstate` is one).
    Ctrl-C, or what else is no `Exception`, ends all: training at its next step boundary that Python sees.
    """
    finished: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    stop = threading.Event()
    outcomes: list[Any] = [None] * len(jobs)

    def work(i: int) -> None:
        try:
            with threads.limit(1), stopped_by(stop):
                finished.put((i, jobs[i]()))
        except BaseException as error:
            finished.put((i, error))

    with (
        ThreadPoolExecutor(min(threads.count(), len(jobs)), "fastbp") as pool,
        progress_bar(progress, len(jobs), unit) as bar,
    ):
        try:
            for i in sorted(range(len(jobs)), key=lambda i: -costs[i]):
                pool.submit(contextvars.copy_context().run, work, i)
            for _ in jobs:
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
        if stop_asked():  # of jobs within a job
            raise KeyboardInterrupt
        try:
            return finished.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
