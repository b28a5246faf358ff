"""The shapes that programs and kernels agree on: register tiles, packed operands, and the workspace that they need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .target import LONGEST_VECTOR, TARGET


class Shape:
    """Rows of a tile, and vectors in a row; a global of this class is a constant to Numba."""

    def __init__(self, rows: int, vectors: int):
        self.rows, self.vectors = rows, vectors


# 32 registers: 14 x 2 sums, 2 of the right operand, 1 of the left, 1 to spare. 16 registers: 6 x 2.
MAIN = Shape((TARGET.registers - 4) // 2, 2)
# For what the main shape leaves over: 14 and 8 make every even number from 8 but 10 and 12, 6 and 4 all from 4.
HALF = Shape(MAIN.rows // 2 + 1, 2)
NARROW = Shape(MAIN.rows, 1)  # for the last columns, where one vector holds them
ROW, HALF_ROW = Shape(1, 8), Shape(1, 4)  # for sums of columns
# For products of few rows: a vector of a row of C; entries of a row of A, each in every lane, times as many rows of B.
VECTOR, FACTORS = Shape(1, 1), Shape(8, 1)

MR, HALF_ROWS = MAIN.rows, HALF.rows
FEW_ROWS = 3  # up to here the weights are read where they lie: packing them would cost more than it saves

# How B is read: in packed strips; where it lies, row after row, for each row of A; where it lies, by tiles as packed
# strips are, with only a last strip of fewer columns packed.
PACKED, BY_ROWS, IN_PLACE = range(3)
SLACK = LONGEST_VECTOR  # elements behind a packed panel: a vector may reach that far beyond its last row
STRIP_COLUMNS = MAIN.vectors * LONGEST_VECTOR  # width of the workspace's part for a strip of B

SQUARE = LONGEST_VECTOR**2  # elements of a vector of rows, transposed
SCRATCH = 3 * SQUARE  # elements of workspace that softmax needs besides one for each row


def panels_size(mc: int, kc: int) -> int:
    """Return the elements of workspace for packed panels of A, `mc` rows in all: a multiple of `MR`.

    Squares that are transposed may reach up to a vector of k beyond a panel: into the next one, which is packed later,
    or behind the last.
    """
    return mc * kc + (mc // HALF_ROWS + MR + 2) * SLACK


def strips_size(kc: int, columns: int) -> int:
    """Return the elements of workspace for packed strips of B, or for a row's sums of as many columns."""
    return (kc + SLACK) * (-(-columns // STRIP_COLUMNS) * STRIP_COLUMNS)


def workspace(dtype: DTypeLike = "float32", depth: int = 512, columns: int = 512) -> NDArray[Any]:
    """Workspace for the kernels that multiply matrices, for one thread at a time.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        That of the operands.
    depth : int, default 512
        Stretch of k for which operands are packed: a sum over more is resumed, with the same bits.
    columns : int, default 512
        Width of the workspace: as many rows of a product, in whole tiles, are packed at a time.

    Returns
    -------
    array (depth + 16, columns rounded up + 32)
        Uninitialised. Enough for operands of any shape; `softmax_cross_entropy` needs n + 768 elements for n rows.

    Raises
    ------
    ValueError
        Another dtype, or a size below 1.
    TypeError
        A size that is no integer.

    Examples
    --------
    >>> workspace("float64", 64, 32).shape
    (80, 64)
    """
    # Compiled code would take the bytes of another dtype for others. `validation` is not imported: kernels are all that
    # the digest of compiled code covers.
    if dtype is None or np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype: got {dtype and np.dtype(dtype)}, expected float32 or float64")
    for name, size in (("depth", depth), ("columns", columns)):
        if not isinstance(size, (int, np.integer)):
            raise TypeError(f"{name}: got {size!r}, expected an integer")
    if min(depth, columns) < 1:
        raise ValueError(f"depth, columns: got {depth}, {columns}, expected at least 1")
    columns = -(-columns // STRIP_COLUMNS) * STRIP_COLUMNS
    return np.empty((depth + SLACK, columns + STRIP_COLUMNS), np.dtype(dtype))
