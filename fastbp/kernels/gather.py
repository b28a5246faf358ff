"""Rows of the user's X, in any order, where the compiled pass reads them: before it, converted, shifted and scaled, or
as they are by its threads, each step's when it is due."""

from __future__ import annotations

from .jit import kernel
from .simd import advance, ahead, lanes, least, load, load_whole, number, store, store_whole

ROWS_AHEAD = 8  # rows lie anywhere: waiting for them took a fifth of a step of 64-100-10


@kernel
def gather_rows(X, columns, rows, count, shift, scale, out):
    """``out[i] = (X[rows[i]] - shift) * scale``: one rounding to the compute dtype, then two.

    X (n, columns) of uint8, float32 or float64; rows (count,) int64, checked; shift, scale (columns,) and out
    (count, columns) of the compute dtype. Returns the first i whose row holds NaN or infinity, or -1.
    """
    first = -1
    for i in range(count):
        row, target = advance(X, rows[i] * columns), advance(out, i * columns)
        wrong = 0
        for j in range(columns):
            value = (number(out, row[j]) - shift[j]) * scale[j]
            target[j] = value
            wrong |= value - value != 0
        if wrong != 0 and first < 0:
            first = i
    return first


@kernel
def fetch_rows(rows, columns, x, order, out):
    """``out[i] = x[order[i]]``."""
    size, nothing = lanes(out), number(out, 0.0)
    for i in range(rows):
        row, target = advance(x, order[i] * columns), advance(out, i * columns)
        later = advance(x, order[least(i + ROWS_AHEAD, rows - 1)] * columns)
        for j in range(0, columns, size):
            ahead(advance(later, j))
            if columns - j >= size:
                store_whole(load_whole(advance(row, j)), advance(target, j))
            else:
                store(load(advance(row, j), columns - j, nothing), advance(target, j), columns - j)
