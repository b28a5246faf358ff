"""Choices of the planner that tests force, since every choice must give the same bits."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(eq=False, repr=False)  # programs are found by its identity
class Tuning:
    """Forced choices; None leaves a choice to the cost model."""

    mc: int | None = None
    kc: int | None = None
    nc: int | None = None
    packed_columns: int | None = None
    access: int | None = None
    a_in_place: bool | None = None
    row_parts: int | None = None
    column_parts: int | None = None
    slabs: bool | None = None
    parallel: bool | None = None
    specialised: bool | None = None  # from the first step on

    @property
    def nothing(self) -> bool:
        """True if nothing is forced."""
        return self is _NOTHING_FORCED


_tuning: contextvars.ContextVar[Tuning] = contextvars.ContextVar("fastbp_tuning")
_NOTHING_FORCED = Tuning()


def tuning() -> Tuning:
    """Return what is forced here and now."""
    return _tuning.get(_NOTHING_FORCED)


@contextlib.contextmanager
def forced(choice: Tuning) -> Iterator[None]:
    """Programs built within the block follow `choice` where it is not None."""
    token = _tuning.set(choice)
    try:
        yield
    finally:
        _tuning.reset(token)
