"""The loop that does nearly all the arithmetic: one register tile over one stretch of k, and what is done to it last.

Every element is ``sum = +0; for k ascending: sum = fma(a, b, sum)``. A later stretch takes the stored partial sum up
again, so neither the tile's shape nor the length of a stretch can change a bit.
"""

from __future__ import annotations

from . import operations as op
from .jit import inlined
from .simd import advance
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


@inlined
def finish(tile, epilogue, c, ldc, bias, y, rows, columns, learning_rate, l2):
    """Apply the epilogue and store; `y` has the layout of `c`."""
    if epilogue & op.ADD_BIAS:
        tile = tile_add_row(tile, bias, columns)
    if epilogue & op.RELU:
        tile = tile_relu(tile)
    if epilogue & op.RELU_MASK:
        tile = tile_relu_mask(tile, y, ldc, rows, columns, ())
    if epilogue & op.SGD:
        tile = tile_sgd(tile, c, ldc, rows, columns, (learning_rate, l2))
    tile_store(tile, c, ldc, rows, columns)


@inlined
def tile_of_panels(shape, k, a, a_step, a_row, b, b_step, resume, partial, ldp, epilogue, c, ldc, bias, y, rows,
                   columns, learning_rate, l2):  # fmt: skip
    """c[rows, columns] from a, whose rows are `a_row` and k `a_step` apart, and b[k]; sums resumed from `partial`."""
    if epilogue & op.SGD:  # W, fetched only when it is needed, took 6 % of a step of 1024-1024-1024-10
        tile_ahead(shape, c, ldc, rows)
    tile = tile_load(shape, partial, ldp, rows, columns) if resume else tile_zero(shape, c)
    for _ in range(k):
        tile = rank1(tile, a, a_row, b)
        a = advance(a, a_step)
        b = advance(b, b_step)
    finish(tile, epilogue, c, ldc, bias, y, rows, columns, learning_rate, l2)


@inlined
def tile_of_row(shape, k, a, a_step, b, ldb, resume, partial, epilogue, c, bias, y, columns,
                learning_rate, l2):  # fmt: skip
    """c[columns] from the row a[k], `a_step` apart, and the matrix b[k, columns], read where they lie."""
    tile = tile_load(shape, partial, 0, 1, columns) if resume else tile_zero(shape, c)
    for _ in range(k):
        tile = rank1_masked(tile, a, b, columns)
        a = advance(a, a_step)
        b = advance(b, ldb)
    finish(tile, epilogue, c, 0, bias, y, 1, columns, learning_rate, l2)
