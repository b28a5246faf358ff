"""The loops around the micro-kernel: one block of C from A and B, in every form that back-propagation needs.

    forward          H  = X  W      C (rows, fan_out),  nothing transposed
    input gradient   dX = dH W^T    C (rows, fan_in),   B transposed
    weight gradient  dW = X^T dH    C (fan_in, fan_out), A transposed

5th loop: columns in steps of nc; 4th: k in stretches of kc; 3rd: rows in steps of mc, of which panels of A are packed;
2nd: strips of columns, some of which are packed at a time, so that they stay in the second-level cache; 1st: panels,
while the strip stays in the first-level cache; k in the micro-kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import operations as op
from .jit import kernel
from .microkernel import Epilogue, Left, Matrix, Place, tile_of_panels
from .packing import copy_strips, transpose
from .shapes import HALF, HALF_ROWS, IN_PLACE, MAIN, MR, NARROW, SLACK
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
    """The way to compute a product: how A and B are read, rows, k and columns at a time, columns that are packed at a
    time, and the workspace."""

    access: Any
    a_in_place: Any
    mc: Any
    kc: Any
    nc: Any
    packed_columns: Any
    panels: Any
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


class Panels(NamedTuple):
    """Panels of A, all of one height: rows [i0, i1) of C; where the first would begin, if it is packed; how far apart
    they lie, and where those that are packed end."""

    height: Any
    i0: Any
    i1: Any
    start: Any
    stride: Any
    end: Any


@kernel
def pack_panels(product, stretch, i, rows, height, panels, stride):
    """Pack `rows` rows of A from row i on, as panels of `height` rows, with zeros behind the last."""
    a, k0 = product.a, stretch.begin
    if product.a_transposed:
        copy_strips(panels, stride, height, advance(a.start, k0 * a.ld + i), a.ld, stretch.depth, rows)
    else:
        for row in range(0, rows, height):
            at = advance(a.start, (i + row) * a.ld + k0)
            transpose(panels, height, at, a.ld, least(height, rows - row), stretch.depth, rows - row)
            panels = advance(panels, stride)


@kernel
def packed_panels(product, blocking, stretch, i0, i1, height, start):
    """Return the panels of rows [i0, i1), of which those are packed that are not read in place."""
    stride = height * stretch.depth + SLACK
    skipped = (i1 - i0) // height if blocking.a_in_place else 0  # all but the last, if its rows do not fill a panel
    first = i0 + skipped * height
    if first < i1:
        pack_panels(product, stretch, first, i1 - first, height, start, stride)
    end = advance(start, (i1 - first + height - 1) // height * stride)
    return Panels(height, i0, i1, advance(start, -skipped * stride), stride, end)


@kernel
def strips_of_b(product, blocking, stretch, j0, j1):
    """Return where tiles read B[:, j0:j1]: in place, or packed, if need be or if asked for."""
    b, depth, vl = product.b, stretch.depth, lanes(product.b.start)
    width = 2 * vl
    whole = (j1 - j0) // width * width
    stride = (depth + vl - 1) // vl * vl * width
    rest, last = advance(blocking.strips, whole // width * stride), j1 - j0 - whole
    narrow = vl if last <= vl else width
    if product.b_transposed:
        at = advance(b.start, j0 * b.ld + stretch.begin)
        for j in range(0, whole, width):
            to = advance(blocking.strips, j // width * stride)
            transpose(to, width, advance(at, j * b.ld), b.ld, width, depth, product.j1 - j0 - j)
        transpose(rest, narrow, advance(at, whole * b.ld), b.ld, last, depth, last)
        strips = Strips(Matrix(blocking.strips, width), stride, rest)
    else:
        at = advance(b.start, stretch.begin * b.ld + j0)
        strips = Strips(Matrix(at, b.ld), width, rest)
        if blocking.access != IN_PLACE:
            copy_strips(blocking.strips, stride, width, at, b.ld, depth, whole)
            strips = Strips(Matrix(blocking.strips, width), stride, rest)
        copy_strips(rest, stride, narrow, advance(at, whole), b.ld, depth, last)
    return strips


@kernel
def tiles_of_strip(product, blocking, stretch, panels, right, j, columns, target, sums, epilogue):
    """Compute a strip of columns of C for panels of one height."""
    a, height = product.a, panels.height
    packed = panels.start
    for i in range(panels.i0, panels.i1, height):
        rows = least(height, panels.i1 - i)
        left = Left(packed, height, 1)
        if blocking.a_in_place and rows == height:
            left = Left(advance(a.start, i * a.ld + stretch.begin), 1, a.ld)
            if product.a_transposed:
                left = Left(advance(a.start, stretch.begin * a.ld + i), a.ld, 1)
        at = i * target.ld + j
        place = Place(
            Matrix(advance(target.start, at), target.ld),
            Matrix(advance(sums.start, (i - product.i0) * sums.ld + j), sums.ld),
            Matrix(advance(epilogue.y, at), target.ld),
            advance(epilogue.bias, j),
        )
        depth, resume = stretch.depth, stretch.resume
        if height == HALF_ROWS:
            # In a narrow strip, the tile's second vector is what lies behind: nothing of it is stored.
            tile_of_panels(HALF, depth, left, right, resume, place, rows, columns, epilogue)
        elif columns > lanes(product.c.start):
            tile_of_panels(MAIN, depth, left, right, resume, place, rows, columns, epilogue)
        else:
            tile_of_panels(NARROW, depth, left, right, resume, place, rows, columns, epilogue)
        packed = advance(packed, panels.stride)


@kernel
def sweep(product, blocking, stretch, main, half, strips, j0, j1, target, sums, epilogue):
    """Compute C[:, j0:j1] for the rows of some panels, strip by strip."""
    vl = lanes(product.c.start)
    right = strips.wide
    for j in range(j0, j1, 2 * vl):
        columns = least(2 * vl, j1 - j)
        if columns < 2 * vl:
            right = Matrix(strips.rest, vl if columns <= vl else 2 * vl)
        for low in range(2):
            panels = half if low else main
            tiles_of_strip(product, blocking, stretch, panels, right, j, columns, target, sums, epilogue)
        right = Matrix(advance(right.start, strips.stride), right.ld)


@kernel
def block_of_panels(product, blocking, stretch, j0, j1, target, sums, epilogue):
    """Compute C[i0:i1, j0:j1] from a stretch of A and B, by the 3rd and 2nd loop.

    Panels that are packed go through a strip one after the other, while it is in the first-level cache; one that is
    read in place goes through all strips, while its rows are.
    """
    for i in range(product.i0, product.i1, blocking.mc):
        end = least(i + blocking.mc, product.i1)
        middle = end - least(half_tiles(end - i) * HALF_ROWS, end - i)
        main = packed_panels(product, blocking, stretch, i, middle, MR, blocking.panels)
        half = packed_panels(product, blocking, stretch, middle, end, HALF_ROWS, main.end)
        step = MR if blocking.a_in_place else blocking.mc
        for j in range(j0, j1, blocking.packed_columns):
            je = least(j + blocking.packed_columns, j1)
            strips = strips_of_b(product, blocking, stretch, j, je)
            for first in range(i, middle if middle > i else i + 1, step):
                packed = advance(main.start, (first - i) // MR * main.stride)
                here = Panels(MR, first, least(first + step, middle), packed, main.stride, main.end)
                last = Panels(
                    HALF_ROWS, middle, end if first + step >= middle else middle, half.start, half.stride, half.end
                )
                sweep(product, blocking, stretch, here, last, strips, j, je, target, sums, epilogue)


@kernel
def block(product, blocking, resume, epilogue):
    """Compute C[i0:i1, j0:j1] = op(A) op(B) with an epilogue, with `resume` onto the sums that C holds already.

    The workspace is one thread's; `blocking.partial`, (i1 - i0, nc), holds the sums between two stretches of k where C
    itself must not: the fused update reads the old C in its last stretch.
    """
    c, i0, kc, nc, depth = product.c, product.i0, blocking.kc, blocking.nc, product.depth
    if depth == 0:  # no k at all: one empty stretch still applies the epilogue
        kc = 1
    aside = (epilogue.code & op.SGD) != 0 and depth > kc
    nothing = Epilogue(0, epilogue.bias, epilogue.y, epilogue.learning_rate, epilogue.l2)
    for jc in range(product.j0, product.j1, nc):
        je = least(jc + nc, product.j1)
        for k0 in range(0, depth + (depth == 0), kc):
            stretch = Stretch(k0, least(kc, depth - k0), resume != 0 or k0 > 0)
            last = k0 + stretch.depth >= depth
            now = epilogue if last else nothing
            target, sums = c, Matrix(advance(c.start, i0 * c.ld), c.ld)
            if aside:
                sums = Matrix(advance(blocking.partial, -jc), nc)
                if not last:
                    target = Matrix(advance(sums.start, -i0 * nc), nc)
            block_of_panels(product, blocking, stretch, jc, je, target, sums, now)
