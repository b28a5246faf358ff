"""A product of few rows with a matrix that is read where it lies, in the order in which it lies.

To pack the matrix would take longer than to multiply by it: 86 us instead of 26 for one row and 784 x 512 weights.
"""

from __future__ import annotations

from .jit import kernel
from .microkernel import Matrix, Place, bring, finish
from .packing import copy_back
from .shapes import FACTORS, VECTOR
from .simd import advance, filled, lanes, least, load, load_whole, number, store_whole
from .tile import add_ends_of_rows, add_rows, factors_of_row, rows_of, tile_aside, tile_load


@kernel
def add_products(shape, sums, a, step, b, ldb, columns):
    """Add to a row of sums as many entries of A as the shape has rows, each times its row of B."""
    vl = lanes(sums)
    factors = factors_of_row(shape, a, step)
    for j in range(0, columns, vl):
        at, right = advance(sums, j), advance(b, j)
        if columns - j >= vl:
            store_whole(add_rows(load_whole(at), factors, right, ldb), at)
        else:
            store_whole(add_ends_of_rows(load_whole(at), factors, right, ldb, columns - j), at)


@kernel
def finish_vector(sums, place, columns, epilogue):
    """Apply the epilogue to a vector of sums, and store those that are in C."""
    width = lanes(sums)
    y, bias = tile_aside(VECTOR, sums), tile_aside(VECTOR, sums)
    c = Matrix(tile_aside(VECTOR, sums), width)
    here = Place(c, c, Matrix(y, width), bias)
    if columns < width:
        bring(here, place, False, 1, columns, epilogue.code)
    else:
        here = place
    finish(tile_load(VECTOR, sums, 0), here, epilogue)
    if columns < lanes(sums):
        copy_back(place.c.start, 0, here.c.start, 0, 1, columns)


@kernel
def row_of_product(product, blocking, resume, epilogue, i, j0, j1):
    """Compute C[i, j0:j1]; its sums are kept aside until the last, in whole vectors."""
    a, b, c, sums = product.a, product.b, product.c, blocking.strips
    vl, zero, eight = lanes(sums), number(sums, 0.0), rows_of(FACTORS)
    at, step = advance(a.start, i * a.ld), 1
    if product.a_transposed:
        at, step = advance(a.start, i), a.ld
    under = advance(c.start, i * c.ld)
    for j in range(j0, j1, vl):
        before = filled(sums, zero)
        if resume:
            before = load(advance(under, j), j1 - j, zero)
        store_whole(before, advance(sums, j - j0))
    right = advance(b.start, j0)
    whole = product.depth // eight * eight
    for k in range(0, whole, eight):
        add_products(FACTORS, sums, advance(at, k * step), step, advance(right, k * b.ld), b.ld, j1 - j0)
    for k in range(whole, product.depth):
        add_products(VECTOR, sums, advance(at, k * step), step, advance(right, k * b.ld), b.ld, j1 - j0)
    for j in range(j0, j1, vl):
        here, y = Matrix(advance(under, j), c.ld), Matrix(advance(epilogue.y, i * c.ld + j), c.ld)
        place = Place(here, here, y, advance(epilogue.bias, j))
        finish_vector(advance(sums, j - j0), place, least(vl, j1 - j), epilogue)


@kernel
def block_by_rows(product, blocking, resume, epilogue):
    """Compute C[i0:i1, j0:j1] = op(A) B with an epilogue, row by row, with `resume` onto the sums that C holds."""
    for i in range(product.i0, product.i1):
        for j in range(product.j0, product.j1, blocking.nc):
            row_of_product(product, blocking, resume, epilogue, i, j, least(j + blocking.nc, product.j1))
