"""Rows of the user's X, in any order, converted, shifted and scaled into the buffer that the compiled pass reads."""

from __future__ import annotations

from .jit import serial_entry


@serial_entry
def gather_rows(X, rows, shift, scale, out):
    """``out[i] = (X[rows[i]] - shift) * scale``: one rounding to the compute dtype, then two.

    X (n, features) C-contiguous of uint8, float32 or float64; rows (m,) int64, checked; shift, scale (features,) and
    out (m, features) of the compute dtype. Returns the first i whose row holds NaN or infinity, or -1.
    """
    first = -1
    for i in range(rows.size):
        row, target = X[rows[i]], out[i]
        wrong = 0
        for j in range(row.size):
            value = (shift.dtype.type(row[j]) - shift[j]) * scale[j]
            target[j] = value
            wrong |= value - value != 0
        if wrong != 0 and first < 0:
            first = i
    return first
