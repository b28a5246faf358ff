"""The loop that does nearly all the arithmetic: one register tile over one stretch of k, and what is done to it last.

Every element is ``sum = +0; for k ascending: sum = fma(a, b, sum)``. A later stretch takes the stored partial sum up
again, so neither the tile's shape nor the length of a stretch can change a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import operations as op
from .jit import kernel
from .simd import advance, lanes
from .tile import (
    rank1,
    rank1_masked,
    tile_add_row,
    tile_ahead,
    tile_load,
    tile_relu,
    tile_relu_mask,
    tile_sgd,
    tile_store,
    tile_zero,
)


class Matrix(NamedTuple):
    """A matrix: where it begins, and how many elements apart its rows lie."""

    start: Any
    ld: Any


class Left(NamedTuple):
    """The tile's rows of A: where they begin, how far apart two k and two rows lie."""

    start: Any
    step: Any
    row: Any


class Tile(NamedTuple):
    """A tile of C: its first row and column, and how many of its rows and columns C has."""

    i: Any
    j: Any
    rows: Any
    columns: Any


class Epilogue(NamedTuple):
    """The last treatment of a tile's sums: bits of `operations`, and what these need; `y` has the layout of C."""

    code: Any
    bias: Any
    y: Any
    learning_rate: Any
    l2: Any


@kernel
def finish(sums, tile, c, epilogue):
    """Apply the epilogue to a tile's sums and store them."""
    at = tile.i * c.ld + tile.j
    under, rows, columns = advance(c.start, at), tile.rows, tile.columns
    if epilogue.code & op.ADD_BIAS:
        sums = tile_add_row(sums, advance(epilogue.bias, tile.j), columns)
    if epilogue.code & op.RELU:
        sums = tile_relu(sums)
    if epilogue.code & op.RELU_MASK:
        sums = tile_relu_mask(sums, advance(epilogue.y, at), c.ld, rows, columns, ())
    if epilogue.code & op.SGD:
        sums = tile_sgd(sums, under, c.ld, rows, columns, (epilogue.learning_rate, epilogue.l2))
    tile_store(sums, under, c.ld, rows, columns)


@kernel
def tile_of_panels(shape, depth, left, right, resume, partial, tile, c, epilogue):
    """Compute a tile of C from rows of A and a strip of B, with `resume` onto the sums at `partial`."""
    rows, columns = tile.rows, tile.columns
    if epilogue.code & op.SGD:  # W, fetched only when it is needed, took 6 % of a step of 1024-1024-1024-10
        tile_ahead(shape, advance(c.start, tile.i * c.ld + tile.j), c.ld, rows)
    sums = tile_load(shape, partial.start, partial.ld, rows, columns) if resume else tile_zero(shape, c.start)
    a, b = left.start, right.start
    for _ in range(depth):
        sums = rank1(sums, a, left.row, b)
        a = advance(a, left.step)
        b = advance(b, right.ld)
    finish(sums, tile, c, epilogue)


@kernel
def tile_of_row(shape, depth, left, b, resume, tile, c, epilogue):
    """Compute a tile of one row of C, up to 8 vectors, from a row of A and the matrix B, read where they lie."""
    under, columns = advance(c.start, tile.i * c.ld + tile.j), tile.columns
    sums = tile_load(shape, under, 0, 1, columns) if resume else tile_zero(shape, c.start)
    a, row = left.start, b.start
    if columns == 8 * lanes(b.start):  # with AVX2's 16 registers, masks are read from memory for each k
        for _ in range(depth):
            sums = rank1(sums, a, 0, row)
            a = advance(a, left.step)
            row = advance(row, b.ld)
    else:
        for _ in range(depth):
            sums = rank1_masked(sums, a, row, columns)
            a = advance(a, left.step)
            row = advance(row, b.ld)
    finish(sums, tile, c, epilogue)
