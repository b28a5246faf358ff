"""Blocks of parameters, as the operations that compute their gradient name them, and what averages them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import operations as op
from .memory import round_up
from .network import Network
from .table import Operation, operation


def extent_of(block: Operation) -> tuple[dict[str, int], int]:
    """Return the rows and columns of the parameters whose gradient `block` computes, and their leading dimension."""
    weights = block["code"] != op.COLUMN_SUMS
    extent = {
        "row_begin": block.get("row_begin", 0),
        "row_end": block.get("row_end", 0) if weights else 1,
        "column_begin": block.get("column_begin", 0),
        "column_end": block["column_end"],
    }
    return extent, block["ldc"] if weights else block["column_end"]


def average_place(network: Network, dtype: np.dtype[Any], states: int) -> int:
    """Return where the average of the parameters begins: behind the gradient and so many vectors of state."""
    return (1 + states) * round_up(network.layout.total, dtype)


def average_of(block: Operation, place: int) -> Operation:
    """Return what moves the average, which begins at `place`, towards the parameters of `block`."""
    extent, ld = extent_of(block)
    return operation(op.AVERAGE, **extent, a=(op.PARAMETERS, block["c"]), c=(op.GRADIENT, place + block["c"], ld))


def average_of_all(network: Network, dtype: np.dtype[Any], states: int) -> Operation:
    """Return what moves the average of all parameters towards them."""
    total, place = network.layout.total, average_place(network, dtype, states)
    a, c = (op.PARAMETERS, 0), (op.GRADIENT, place, total)
    return operation(op.AVERAGE, row_end=1, column_end=total, a=a, c=c)
