"""Levels: the whole numbers in embedded columns of X, checked before compiled code takes them for rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.parameters import Embedding

Array = NDArray[Any]


def _right(values: Array, levels: int) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = (values >= 0) & (values < np.float64(levels))  # both False for NaN
    return right & (values == np.floor(values)) if values.dtype.kind == "f" else right


def all_right(X: Array, embeddings: Sequence[Embedding]) -> bool:
    """Return whether the embedded columns of X (n, features) hold levels."""
    return all(_right(X[:, each.column], each.levels).all() for each in embeddings)


def refuse_wrong(
    name: str,
    columns: Sequence[Array],
    embeddings: Sequence[Embedding],
    names: Sequence[str] | None,
    number: Callable[[int], int],
) -> None:
    """Raise ValueError for the first entry of an embedded column that is no level.

    Parameters
    ----------
    name : str
        What the error calls X.
    columns : sequence of array (n,)
        The column of each embedding.
    names : sequence of str or None
        Names of all columns of X.
    number : callable
        Called with a place in the columns, returns the number by which the error calls the row.
    """
    for values, (column, levels, _) in zip(columns, embeddings, strict=True):
        right = _right(values, levels)
        if not right.all():
            at = int(np.argmin(right))
            where = f"column {column}" if names is None else f"column {names[column]!r}"
            raise ValueError(
                f"{name}: got {values[at]} in row {number(at)} of {where}, which is embedded; "
                f"expected whole numbers from 0 to {levels - 1}"
            )
