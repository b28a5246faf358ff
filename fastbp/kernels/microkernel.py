"""The loop that does nearly all the arithmetic: one register tile over one stretch of k, and what is done to it last.

Every element is ``sum = +0; for k ascending: sum = fma(a, b, sum)``. A later stretch takes the stored partial sum up
again, so neither the tile's shape nor the length of a stretch can change a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import operations as op
from .jit import kernel, outlined
from .packing import copy_back, copy_rows
from .simd import advance
from .tile import (
    rank1,
    rows_of,
    tile_add_row,
    tile_ahead,
    tile_aside,
    tile_load,
    tile_relu,
    tile_relu_mask,
    tile_sgd,
    tile_store,
    tile_zero,
    width_of,
)


class Matrix(NamedTuple):
    """A matrix: where it begins, and how many elements apart its rows lie."""

    start: Any
    ld: Any


class Left(NamedTuple):
    """The tile's rows of A: where they begin, how far apart two k and two rows lie; one of these distances is 1."""

    start: Any
    step: Any
    row: Any


class Place(NamedTuple):
    """Where a tile lies: in C, in the sums that it resumes, in Y, and in the bias of its columns."""

    c: Any
    sums: Any
    y: Any
    bias: Any


class Epilogue(NamedTuple):
    """The last treatment of a tile's sums: bits of `operations`, and what these need; `y` has the layout of C."""

    code: Any
    bias: Any
    y: Any
    learning_rate: Any
    l2: Any


@kernel
def finish(sums, place, epilogue):
    """Apply the epilogue to a tile's sums and store them."""
    if epilogue.code & op.ADD_BIAS:
        sums = tile_add_row(sums, place.bias)
    if epilogue.code & op.RELU:
        sums = tile_relu(sums)
    if epilogue.code & op.RELU_MASK:
        sums = tile_relu_mask(sums, place.y.start, place.y.ld, ())
    if epilogue.code & op.SGD:
        sums = tile_sgd(sums, place.c.start, place.c.ld, (epilogue.learning_rate, epilogue.l2))
    tile_store(sums, place.c.start, place.c.ld)


@outlined
def bring(aside, place, resume, rows, columns, code):
    """Copy what a tile's end reads to the memory aside, where a matrix ends within the tile."""
    width = aside.c.ld
    if resume:
        copy_rows(aside.sums.start, width, place.sums.start, place.sums.ld, rows, columns)
    if code & op.SGD:
        copy_rows(aside.c.start, width, place.c.start, place.c.ld, rows, columns)
    if code & op.RELU_MASK:
        copy_rows(aside.y.start, width, place.y.start, place.y.ld, rows, columns)
    if code & op.ADD_BIAS:
        copy_rows(aside.bias, width, place.bias, 0, 1, columns)


@kernel
def tile_of_panels(shape, depth, left, right, resume, place, rows, columns, epilogue):
    """Compute a tile of C from rows of A and a strip of B, with `resume` onto the sums that are there already."""
    like = place.c.start
    width = width_of(shape, like)
    # The stack's memory is this function's: LLVM takes it back where a function ends, inlined or not.
    here = Place(Matrix(tile_aside(shape, like), width), Matrix(tile_aside(shape, like), width),
                 Matrix(tile_aside(shape, like), width), tile_aside(shape, like))  # fmt: skip
    whole = rows == rows_of(shape) and columns == width
    if whole:  # C, fetched only when it is needed, took 6 % of a step of 1024-1024-1024-10
        here = place
        tile_ahead(shape, place.c.start, place.c.ld)
    else:
        bring(here, place, resume, rows, columns, epilogue.code)
    sums = tile_load(shape, here.sums.start, here.sums.ld) if resume else tile_zero(shape, like)
    a, b = left.start, right.start
    if left.row == 1:
        for _ in range(depth):
            sums = rank1(sums, a, 1, b)
            a = advance(a, left.step)
            b = advance(b, right.ld)
    else:
        for k in range(depth):
            sums = rank1(sums, advance(a, k), left.row, b)
            b = advance(b, right.ld)
    finish(sums, here, epilogue)
    if not whole:
        copy_back(place.c.start, place.c.ld, here.c.start, here.c.ld, rows, columns)
