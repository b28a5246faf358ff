"""Sums: of columns, of squares, of all entries, each in an order that no split of the work can change."""

from __future__ import annotations

from .formulas import multiply_add
from .jit import kernel
from .shapes import HALF_ROW, ROW, VECTOR
from .simd import add_lanes, advance, filled, lanes, least, load, number
from .tile import tile_add_block, tile_load, tile_store, tile_zero
from .updates import clip_factor


@kernel
def column_sums(resume, rows, columns, x, ldx, out):
    """``out[j] = sum_i x[i, j]``, i ascending from +0, or from what `out` holds; as wide as the columns ask for."""
    vl = lanes(x)
    for j in range(0, columns, 8 * vl):
        left = least(8 * vl, columns - j)
        if left <= vl:
            sums_of_strip(VECTOR, resume, rows, left, advance(x, j), ldx, advance(out, j))
        elif left <= 4 * vl:
            sums_of_strip(HALF_ROW, resume, rows, left, advance(x, j), ldx, advance(out, j))
        else:
            sums_of_strip(ROW, resume, rows, left, advance(x, j), ldx, advance(out, j))


@kernel
def sums_of_strip(shape, resume, rows, columns, x, ldx, out):
    total = tile_load(shape, out, 0, 1, columns) if resume else tile_zero(shape, x)
    for i in range(rows):
        total = tile_add_block(total, advance(x, i * ldx), 0, 1, columns, ())
    tile_store(total, out, 0, 1, columns)


@kernel
def sum_of(count, x):
    """Return the sum in float64, in ascending order."""
    total = 0.0
    for i in range(count):
        total += x[i]
    return total


@kernel
def sum_of_squares(count, w):
    """Return the sum of squares, in an order that depends on `count` and the vector width alone."""
    vl = lanes(w)
    zero = number(w, 0.0)
    a = b = c = d = filled(w, zero)
    for i in range(0, count, 4 * vl):
        left = count - i
        w0, w1 = load(advance(w, i), left, zero), load(advance(w, i + vl), left - vl, zero)
        w2, w3 = load(advance(w, i + 2 * vl), left - 2 * vl, zero), load(advance(w, i + 3 * vl), left - 3 * vl, zero)
        a, b = multiply_add(w0, w0, a), multiply_add(w1, w1, b)
        c, d = multiply_add(w2, w2, c), multiply_add(w3, w3, d)
    return (add_lanes(a) + add_lanes(b)) + (add_lanes(c) + add_lanes(d))


@kernel
def factor_of(count, squares, max_norm):
    """Return the factor that makes a gradient with these sums of squares no longer than `max_norm`."""
    total = 0.0
    for part in range(count):
        total += squares[part]
    return clip_factor(number(squares, total), max_norm)
