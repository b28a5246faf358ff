"""The values of variables: finite numbers and arrays that nobody writes into."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import validation

Value = Any  # a float, or a read-only array


def checked(what: str, value: Any) -> Value:
    """Return a finite number as a float, or a finite array made read-only; `what` names it in the error."""
    array = np.asarray(value)
    validation.finite(what, array)
    if array.ndim == 0:
        return float(array)
    array.flags.writeable = False
    return array


def summary(value: Value) -> str:
    """Format a number to six digits, an array as its shape and its norm, the root of the sum of squares."""
    if value is None:
        return "-"
    if np.shape(value) == ():
        return f"{value:.6g}"
    largest = float(np.abs(value).max(initial=0)) or 1.0  # else squares would overflow or vanish
    return f"{np.shape(value)} ‖{largest * float(np.linalg.norm(np.ravel(value) / largest)):.3g}‖"
