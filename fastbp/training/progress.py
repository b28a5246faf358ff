"""The progress bar of a long call, and a flag that ends the call as Ctrl-C does."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

_stop: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("fastbp_stop", default=None)


@contextlib.contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """End training within the block, once the event is set, as Ctrl-C does: only the main thread receives Ctrl-C."""
    token = _stop.set(event)
    try:
        yield
    finally:
        _stop.reset(token)


def stop_asked() -> bool:
    """Return whether the event of `stopped_by` is set."""
    event = _stop.get()
    return event is not None and event.is_set()


class _NoBar:
    """A progress bar that shows nothing."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None: ...

    def update(self, rows: int) -> None: ...

    def set_postfix(self, refresh: bool, **values: str) -> None: ...

    def set_description(self, what: str) -> None: ...


def _in_notebook() -> bool:
    """Return whether a kernel of Jupyter runs this code; whoever runs in one has IPython imported."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _shown(wanted: bool | None) -> bool:
    """Return whether a bar is wanted and can be shown; by default, in notebooks, and where standard error is a
    terminal."""
    stream = sys.stderr
    if stream is None or getattr(stream, "closed", False):  # in a service or a program without a console
        return False
    if wanted is None:
        return (hasattr(stream, "isatty") and stream.isatty()) or _in_notebook()
    return bool(wanted)


def progress_bar(wanted: bool | None, total: int | None, unit: str = "row", done: int = 0) -> Any:
    """Return a progress bar, to be used as a context manager.

    Parameters
    ----------
    wanted : bool or None
        None for a bar on a terminal and in notebooks only.
    total, done : int
        How many units there are, or None if that is not known, and how many are done already.
    unit : str, default "row"
    """
    if not _shown(wanted):
        return _NoBar()
    if _in_notebook() and find_spec("ipywidgets"):  # without widgets, tqdm.auto would warn
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm  # takes 40 ms, and is needed only where a bar is shown

    return tqdm(total=total, initial=done, unit=unit, unit_scale=unit == "row", dynamic_ncols=True, leave=False)
