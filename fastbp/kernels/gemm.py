"""The loops around the micro-kernel: one block of C from A and B, in every form that back-propagation needs.

    forward          H  = X  W      C (rows, fan_out),  nothing transposed
    input gradient   dX = dH W^T    C (rows, fan_in),   B transposed
    weight gradient  dW = X^T dH    C (fan_in, fan_out), A transposed

5th loop: columns in steps of nc; 4th: k in stretches of kc, B packed once for each; 3rd: rows, a panel of A packed
for each; 2nd: strips of columns; 1st: k, in the micro-kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import operations as op
from .jit import kernel
from .microkernel import Epilogue, Left, Matrix, Tile, tile_of_panels, tile_of_row
from .packing import copy_rows, copy_strips, transpose
from .shapes import (
    HALF,
    HALF_ROWS,
    IN_PLACE,
    MAIN,
    MR,
    NARROW,
    NARROW_ROWS,
    ROW,
)
from .simd import advance, lanes, least


@kernel
def half_tiles(rows):
    """Return how many tiles of HALF rows leave the fewest surplus rows, the others being MAIN; the fewest on ties."""
    best, surplus = 0, MR
    for halves in range(MR):
        left = rows - halves * HALF_ROWS
        over = (MR - left % MR) % MR if left > 0 else -left
        if over < surplus:
            best, surplus = halves, over
        if left <= 0 or surplus == 0:
            break
    return best


@kernel
def pack_strips(b_transposed, b, ldb, k0, depth, j0, j1, strips, strip):
    """Pack B[k0:k0+depth, j0:j1] as strips of two vectors, the last one of one vector where that is enough."""
    vl = lanes(b)
    if b_transposed:
        for j in range(j0, j1, 2 * vl):
            columns = least(2 * vl, j1 - j)
            width = vl if columns <= vl else 2 * vl
            transpose(strips, width, advance(b, j * ldb + k0), ldb, columns, depth)
            strips = advance(strips, strip)
    else:
        copy_strips(strips, strip, advance(b, k0 * ldb + j0), ldb, depth, j1 - j0)


class Product(NamedTuple):
    """A product C = op(A) op(B), how its operands lie, and the ranges [i0, i1), [j0, j1) of C that are computed."""

    a: Any
    a_transposed: Any
    b: Any
    b_transposed: Any
    c: Any
    i0: Any
    i1: Any
    j0: Any
    j1: Any
    depth: Any


class Blocking(NamedTuple):
    """The way to compute a product: how A and B are read, stretches of k, columns at a time, and the workspace."""

    access: Any
    a_in_place: Any
    kc: Any
    nc: Any
    panel: Any
    strips: Any
    partial: Any


class Stretch(NamedTuple):
    """A stretch of k: where it begins, how long it is, and whether sums before it are resumed."""

    begin: Any
    depth: Any
    resume: Any


class Strips(NamedTuple):
    """Strips of B: the first of two vectors, how far apart strips lie, and the packed last one of fewer columns."""

    wide: Any
    stride: Any
    rest: Any


@kernel
def rows_of_a(product, blocking, stretch, i, rows, height):
    """Return where a tile reads its rows of A, and pack them where they must be."""
    a, k0 = product.a, stretch.begin
    left = Left(blocking.panel, height, 1)
    if rows == height and product.a_transposed:  # a row of a transposed A already holds a tile's values side by side
        left = Left(advance(a.start, k0 * a.ld + i), a.ld, 1)
    elif rows == height and blocking.a_in_place:
        left = Left(advance(a.start, i * a.ld + k0), 1, a.ld)
    elif product.a_transposed:
        copy_rows(blocking.panel, height, advance(a.start, k0 * a.ld + i), a.ld, stretch.depth, rows)
    else:
        transpose(blocking.panel, height, advance(a.start, i * a.ld + k0), a.ld, rows, stretch.depth)
    return left


@kernel
def block_of_panels(product, blocking, stretch, j0, j1, strips, partial, c, epilogue):
    """Compute C[i0:i1, j0:j1] from A and strips of B, by the 3rd and 2nd loop. `partial` lies under (i0, j0)."""
    i0, i1, depth = product.i0, product.i1, stretch.depth
    vl = lanes(c.start)
    left_over = (j1 - j0) % (2 * vl)
    narrow = j1 - left_over if 0 < left_over <= vl else j1  # from here on, columns that one vector holds
    halves = half_tiles(i1 - i0) if j0 < narrow else 0
    i = i0
    while i < i1 and j0 < narrow:
        height = MR
        if halves > 0:
            height = HALF_ROWS
            halves -= 1
        rows = least(height, i1 - i)
        left = rows_of_a(product, blocking, stretch, i, rows, height)
        right = strips.wide
        for j in range(j0, narrow, 2 * vl):
            tile = Tile(i, j, rows, least(2 * vl, j1 - j))
            if tile.columns < 2 * vl:
                right = Matrix(strips.rest, 2 * vl)
            under = Matrix(advance(partial.start, (i - i0) * partial.ld + (j - j0)), partial.ld)
            if height == HALF_ROWS:
                tile_of_panels(HALF, depth, left, right, stretch.resume, under, tile, c, epilogue)
            else:
                tile_of_panels(MAIN, depth, left, right, stretch.resume, under, tile, c, epilogue)
            right = Matrix(advance(right.start, strips.stride), right.ld)
        i += height
    right = Matrix(strips.rest, vl)
    for i in range(i0, i1 if narrow < j1 else i0, NARROW_ROWS):
        tile = Tile(i, narrow, least(NARROW_ROWS, i1 - i), j1 - narrow)
        left = rows_of_a(product, blocking, stretch, i, tile.rows, NARROW_ROWS)
        under = Matrix(advance(partial.start, (i - i0) * partial.ld + (narrow - j0)), partial.ld)
        tile_of_panels(NARROW, depth, left, right, stretch.resume, under, tile, c, epilogue)


@kernel
def block(product, blocking, resume, epilogue):
    """Compute C[i0:i1, j0:j1] = op(A) op(B) with an epilogue, with `resume` onto the sums that C holds already.

    The workspace is one thread's; `blocking.partial`, (i1 - i0, nc), holds the sums between two stretches of k where C
    itself must not: the fused update reads the old C in its last stretch.
    """
    b, c, i0, kc, nc, depth = product.b, product.c, product.i0, blocking.kc, blocking.nc, product.depth
    if depth == 0:  # no k at all: one empty stretch still applies the epilogue
        kc = 1
    vl = lanes(c.start)
    aside = (epilogue.code & op.SGD) != 0 and depth > kc
    nothing = Epilogue(0, epilogue.bias, epilogue.y, epilogue.learning_rate, epilogue.l2)
    for jc in range(product.j0, product.j1, nc):
        je = least(jc + nc, product.j1)
        whole = (je - jc) // (2 * vl) * (2 * vl)  # columns in strips of two vectors
        for k0 in range(0, depth + (depth == 0), kc):
            stretch = Stretch(k0, least(kc, depth - k0), resume != 0 or k0 > 0)
            last = k0 + stretch.depth >= depth
            now = epilogue if last else nothing
            strip = (stretch.depth + vl - 1) // vl * vl * 2 * vl
            packed, in_place = jc, blocking.access == IN_PLACE
            wide, rest = Matrix(blocking.strips, 2 * vl), advance(blocking.strips, whole // (2 * vl) * strip)
            if in_place:
                wide, rest, packed = Matrix(advance(b.start, k0 * b.ld + jc), b.ld), blocking.strips, jc + whole
            pack_strips(product.b_transposed, b.start, b.ld, k0, stretch.depth, packed, je, blocking.strips, strip)
            strips = Strips(wide, 2 * vl if in_place else strip, rest)
            target, sums = c, Matrix(advance(c.start, i0 * c.ld + jc), c.ld)
            if aside:
                sums = Matrix(blocking.partial, nc)
                if not last:
                    target = Matrix(advance(blocking.partial, -(i0 * nc + jc)), nc)
            block_of_panels(product, blocking, stretch, jc, je, strips, sums, target, now)


@kernel
def block_by_rows(product, blocking, resume, epilogue):
    """Compute the same row by row, with nothing packed: 26 us for one row, where packing makes it 86 (784 x 512)."""
    a, b, width = product.a, product.b, 8 * lanes(product.c.start)
    depth, kc = product.depth, blocking.kc if product.depth > 0 else 1
    nothing = Epilogue(0, epilogue.bias, epilogue.y, epilogue.learning_rate, epilogue.l2)
    for k0 in range(0, depth + (depth == 0), kc):
        stretch = least(kc, depth - k0)
        now = epilogue if k0 + stretch >= depth else nothing
        for i in range(product.i0, product.i1):
            left = Left(advance(a.start, i * a.ld + k0), 1, 1)
            if product.a_transposed:
                left = Left(advance(a.start, k0 * a.ld + i), a.ld, 1)
            for j in range(product.j0, product.j1, width):
                right = Matrix(advance(b.start, k0 * b.ld + j), b.ld)
                tile = Tile(i, j, 1, least(width, product.j1 - j))
                tile_of_row(ROW, stretch, left, right, resume != 0 or k0 > 0, tile, product.c, now)
