"""Arguments that all estimators take: what they mean, and how they are checked."""

from __future__ import annotations

import contextlib
from typing import Any

from .. import threads


def limited(n_threads: int | None) -> contextlib.AbstractContextManager[None]:
    """Return a context that limits the threads to `n_threads`; None leaves a limit that holds already."""
    return contextlib.nullcontext() if n_threads is None else threads.limit(n_threads)


def check_rows_to_validate_by(X_val: Any, y_val: Any, sample_weight_val: Any) -> None:
    """Refuse rows without targets, targets without rows, and weights without either."""
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val, y_val: got only one of them, expected both, or neither")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val: got weights, but no rows: expected X_val and y_val beside them")
