"""What a long call shows and hears: a progress bar, and a flag that ends it as Ctrl-C does."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Iterator
from typing import Any

_stop: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("fastbp_stop", default=None)


@contextlib.contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """Once the event is set, training within the block ends as by Ctrl-C, which only the main thread hears."""
    token = _stop.set(event)
    try:
        yield
    finally:
        _stop.reset(token)


def stop_asked() -> bool:
    """Whether that event is set."""
    event = _stop.get()
    return event is not None and event.is_set()


class _NoBar:
    """Takes what a progress bar takes, and shows nothing."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None: ...

    def update(self, rows: int) -> None: ...

    def set_postfix(self, refresh: bool, **values: str) -> None: ...

    def set_description(self, what: str) -> None: ...


def _shown(wanted: bool | None) -> bool:
    """Return whether a bar is wanted, and there is a standard error to show it on; by default, only on a terminal."""
    stream = sys.stderr
    if stream is None or getattr(stream, "closed", False):  # of a service, of a program without a console
        return False
    return hasattr(stream, "isatty") and stream.isatty() if wanted is None else bool(wanted)


def progress_bar(wanted: bool | None, total: int | None, unit: str = "row", done: int = 0) -> Any:
    if not _shown(wanted):
        return _NoBar()
    from tqdm import tqdm  # 40 ms that only a terminal pays

    return tqdm(total=total, initial=done, unit=unit, unit_scale=unit == "row", dynamic_ncols=True, leave=False)
