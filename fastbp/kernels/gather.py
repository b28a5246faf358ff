"""Rows of the user's X, in any order, where the compiled pass reads them: before it, converted, shifted and scaled, or
as they are by its threads, each step's when it is due."""

from __future__ import annotations

from .jit import kernel
from .simd import advance, lanes, load, number, store


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
        for j in range(0, columns, size):
            store(load(advance(row, j), columns - j, nothing), advance(target, j), columns - j)
