"""The names of the C functions that programs call, and which of them there are; `objects` has them in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from . import losses, updates
from . import operations as op
from .activations import FUNCTIONS
from .narrow.forms import NarrowForward, NarrowStep

# The names of the kinds of an operation that is a function for each, in the order of their numbers; users' own come
# behind.
ACTIVATIONS = [row.name for row in FUNCTIONS.values()]
LOSSES = [formula.__name__ for formula in losses.FORMULAS]
KINDS: dict[int, list[str]] = {
    op.ACTIVATE: ACTIVATIONS,
    op.ACTIVATE_BACKWARD: ACTIVATIONS,
    op.ELEMENTWISE_LOSS: LOSSES,
    op.UPDATE: list(updates.KINDS),
}
OWN = "own_"  # what the names of users' own formulas begin with
DTYPES = ("float32", "float64")
SOURCES = ("uint8", "float32", "float64")  # of rows that are gathered


class Function(NamedTuple):
    """A C function: an operation, of one kind where it has kinds, for one dtype; or what serves all dtypes."""

    operation: str
    kind: str = ""
    dtype: str = ""

    @property
    def symbol(self) -> str:
        return "_".join(("fastbp", *filter(None, self)))


Compiled = Function | NarrowStep | NarrowForward

RUN = Function("run")
LEAD, CARRY_OUT, SERVE = TEAM = Function("lead"), Function("carry_out"), Function("serve")


def of_operation(code: int, kind: int, dtype: str) -> Function:
    """Return the function of a row of a table."""
    return Function(op.NAMES[code], KINDS[code][kind] if code in KINDS else "", dtype)


def gathering(source: str, dtype: str) -> Function:
    """Return the function that gathers rows of `source`."""
    return Function("gather", source, dtype)


def every(dtypes: Iterable[str] = DTYPES, own: Collection[str] = ()) -> list[Function]:
    """Return all functions for these dtypes; of users' own formulas, those for the ones that are named."""
    found = [RUN, *TEAM]
    for dtype in dtypes:
        for code, operation in enumerate(op.NAMES):
            kinds = [kind for kind in KINDS.get(code, ("",)) if _exists(code, kind, own)]
            found += [Function(operation, kind, dtype) for kind in kinds]
        found += [gathering(source, dtype) for source in SOURCES]
    return found


def _exists(code: int, kind: str, own: Collection[str]) -> bool:
    """Return whether an operation has this kind: the identity is no function, and not every one has a derivative."""
    if kind.startswith(OWN):
        return kind in own
    row = next((row for row in FUNCTIONS.values() if row.name == kind), None)
    if row is None or code not in (op.ACTIVATE, op.ACTIVATE_BACKWARD):
        return True
    return (row.value if code == op.ACTIVATE else row.derivative) is not None
