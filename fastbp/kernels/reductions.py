"""Sums: of columns, of squares, of all entries, each in an order that no split of the work can change."""

from __future__ import annotations

from .formulas import add, multiply_add
from .jit import kernel
from .shapes import HALF_ROW, ROW
from .simd import add_lanes, advance, filled, lanes, load, number, store
from .tile import tile_add_block, tile_load, tile_store, tile_zero
from .updates import clip_factor


@kernel
def column_sums(resume, rows, columns, x, ldx, out):
    """``out[j] = sum_i x[i, j]``, i ascending from +0, or from what `out` holds; as wide as the columns ask for."""
    vl = lanes(x)
    j = 0
    while columns - j >= 8 * vl:
        sums_of_strip(ROW, resume, rows, advance(x, j), ldx, advance(out, j))
        j += 8 * vl
    while columns - j >= 4 * vl:
        sums_of_strip(HALF_ROW, resume, rows, advance(x, j), ldx, advance(out, j))
        j += 4 * vl
    while j < columns:
        sums_of_vector(resume, rows, columns - j, advance(x, j), ldx, advance(out, j))
        j += vl


@kernel
def sums_of_strip(shape, resume, rows, x, ldx, out):
    total = tile_load(shape, out, 0) if resume else tile_zero(shape, x)
    for i in range(rows):
        total = tile_add_block(total, advance(x, i * ldx), 0, ())
    tile_store(total, out, 0)


@kernel
def sums_of_vector(resume, rows, columns, x, ldx, out):
    zero = number(x, 0.0)
    total = load(out, columns, zero) if resume else filled(x, zero)
    for i in range(rows):
        total = add(total, load(advance(x, i * ldx), columns, zero))
    store(total, out, columns)


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
