"""The loops around the micro-kernel: one block of C from A and B, in every form that back-propagation needs.

    forward          H  = X  W      C (rows, fan_out),  nothing transposed
    input gradient   dX = dH W^T    C (rows, fan_in),   B transposed
    weight gradient  dW = X^T dH    C (fan_in, fan_out), A transposed

5th loop: columns in steps of nc; 4th: k in stretches of kc, B packed once for each; 3rd: rows, a panel of A packed
for each; 2nd: strips of columns; 1st: k, in the micro-kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import operations as op
from .jit import inlined, kernel
from .microkernel import tile_of_panels, tile_of_row
from .packing import copy_rows, copy_strips, transpose
from .simd import advance, lanes
from .tile import HALF, MAIN, NARROW, ROW

MR, HALF_ROWS, NARROW_ROWS = MAIN.rows, HALF.rows, NARROW.rows

# How B is read: in packed strips; where it lies, by tiles of one row; where it lies, by the tiles of packed strips,
# with only a last strip of fewer columns packed.
PACKED, BY_ROWS, IN_PLACE = range(3)
SLACK = 16  # elements: no vector is longer, and a packed square may reach that far beyond its stretch
PANEL_ROWS = (MR + SLACK - 1) // SLACK * SLACK  # width of the workspace's part for a panel of A


@kernel
def half_tiles(rows):
    """How many tiles of HALF rows leave the fewest surplus rows, the others being MAIN; the fewest on ties."""
    best, surplus = 0, MR
    for halves in range(MR):
        left = rows - halves * HALF_ROWS
        over = (MR - left % MR) % MR if left > 0 else -left
        if over < surplus:
            best, surplus = halves, over
        if left <= 0 or surplus == 0:
            break
    return best


@inlined
def pack_strips(b_transposed, b, ldb, k0, depth, j0, j1, strips, strip):
    """B[k0:k0+depth, j0:j1] as strips of two vectors, the last one of one vector where that is enough."""
    vl = lanes(b)
    if b_transposed:
        for j in range(j0, j1, 2 * vl):
            columns = min(2 * vl, j1 - j)
            width = vl if columns <= vl else 2 * vl
            transpose(strips, width, advance(b, j * ldb + k0), ldb, columns, depth)
            strips = advance(strips, strip)
    else:
        copy_strips(strips, strip, advance(b, k0 * ldb + j0), ldb, depth, j1 - j0)


@inlined
def block_of_rows(a_transposed, i0, i1, j0, j1, k0, depth, resume, a, lda, b, ldb, epilogue, c, ldc, bias, y,
                  learning_rate, l2):  # fmt: skip
    """Row by row, with nothing packed: for one row 26 us where packing would make it 86 (784 x 512)."""
    width = 8 * lanes(c)
    for i in range(i0, i1):
        left, left_step = advance(a, i * lda + k0), 1
        if a_transposed:
            left, left_step = advance(a, k0 * lda + i), lda
        for j in range(j0, j1, width):
            at = i * ldc + j
            tile_of_row(ROW, depth, left, left_step, advance(b, k0 * ldb + j), ldb, resume, advance(c, at),
                        epilogue, advance(c, at), advance(bias, j), advance(y, at), min(width, j1 - j),
                        learning_rate, l2)  # fmt: skip


@inlined
def rows_of_a(a_transposed, a_in_place, i, rows, height, k0, depth, a, lda, panel):
    """How a tile reads its rows of A: (pointer, distance of two k, distance of two rows); packed where it must be."""
    left, left_step, left_row = panel, height, 1
    if rows == height and a_transposed:  # a row of a transposed A already holds the tile's values side by side
        left, left_step = advance(a, k0 * lda + i), lda
    elif rows == height and a_in_place:
        left, left_step, left_row = advance(a, i * lda + k0), 1, lda
    elif a_transposed:
        copy_rows(panel, height, advance(a, k0 * lda + i), lda, depth, rows)
    else:
        transpose(panel, height, advance(a, i * lda + k0), lda, rows, depth)
    return left, left_step, left_row


@inlined
def block_of_panels(a_transposed, a_in_place, i0, i1, j0, j1, k0, depth, resume, a, lda, wide, wide_step, strip, rest,
                    epilogue, partial, ldp, c, ldc, bias, y, learning_rate, l2, panel):  # fmt: skip
    """The 3rd and 2nd loop: C[i0:i1, j0:j1] from A and strips of B.

    The strips of two vectors begin at `wide`, `strip` elements apart, their rows `wide_step` apart; `rest` is the
    packed last one of fewer columns, if there is one. `partial` lies under (i0, j0).
    """
    vl = lanes(c)
    left_over = (j1 - j0) % (2 * vl)
    narrow = j1 - left_over if 0 < left_over <= vl else j1  # from here on, columns that one vector holds
    halves = half_tiles(i1 - i0) if j0 < narrow else 0
    i = i0
    while i < i1 and j0 < narrow:
        height = MR
        if halves > 0:
            height = HALF_ROWS
            halves -= 1
        rows = min(height, i1 - i)
        left, left_step, left_row = rows_of_a(a_transposed, a_in_place, i, rows, height, k0, depth, a, lda, panel)
        right, right_step = wide, wide_step
        for j in range(j0, narrow, 2 * vl):
            columns = min(2 * vl, j1 - j)
            if columns < 2 * vl:
                right, right_step = rest, 2 * vl
            under = advance(partial, (i - i0) * ldp + (j - j0))
            at = i * ldc + j
            if height == HALF_ROWS:
                tile_of_panels(HALF, depth, left, left_step, left_row, right, right_step, resume, under, ldp, epilogue,
                               advance(c, at), ldc, advance(bias, j), advance(y, at), rows, columns,
                               learning_rate, l2)  # fmt: skip
            else:
                tile_of_panels(MAIN, depth, left, left_step, left_row, right, right_step, resume, under, ldp, epilogue,
                               advance(c, at), ldc, advance(bias, j), advance(y, at), rows, columns,
                               learning_rate, l2)  # fmt: skip
            right = advance(right, strip)
        i += height
    for i in range(i0, i1 if narrow < j1 else i0, NARROW_ROWS):
        rows, j = min(NARROW_ROWS, i1 - i), narrow
        left, left_step, left_row = rows_of_a(a_transposed, a_in_place, i, rows, NARROW_ROWS, k0, depth, a, lda, panel)
        under = advance(partial, (i - i0) * ldp + (j - j0))
        at = i * ldc + j
        tile_of_panels(NARROW, depth, left, left_step, left_row, rest, vl, resume, under, ldp, epilogue,
                       advance(c, at), ldc, advance(bias, j), advance(y, at), rows, j1 - j,
                       learning_rate, l2)  # fmt: skip


@inlined
def block(a_transposed, a_in_place, b_transposed, access, resume, epilogue, i0, i1, j0, j1, depth, a, lda, b, ldb,
          c, ldc, bias, y, learning_rate, l2, kc, nc, panel, strips, partial):  # fmt: skip
    """C[i0:i1, j0:j1] = op(A) op(B) with an epilogue; `resume`: onto the sums that C holds already.

    `panel`, `strips` and `partial` are one thread's workspace; `partial`, (i1 - i0, nc), holds the sums between two
    stretches of k where C itself must not: the fused update reads the old C in its last stretch.
    """
    if depth == 0:  # no k at all: one empty stretch still applies the epilogue
        kc = 1
    vl = lanes(c)
    aside = (epilogue & op.SGD) != 0 and depth > kc
    for jc in range(j0, j1, nc):
        je = min(jc + nc, j1)
        whole = (je - jc) // (2 * vl) * (2 * vl)  # columns in strips of two vectors
        for k0 in range(0, max(depth, 1), kc):
            stretch = min(kc, depth - k0)
            last = k0 + stretch >= depth
            now = epilogue if last else 0
            again = resume != 0 or k0 > 0
            if access == BY_ROWS:
                block_of_rows(a_transposed, i0, i1, jc, je, k0, stretch, again, a, lda, b, ldb, now, c, ldc, bias, y,
                              learning_rate, l2)  # fmt: skip
                continue
            strip = (stretch + vl - 1) // vl * vl * 2 * vl
            wide, wide_step, rest, packed = strips, 2 * vl, advance(strips, whole // (2 * vl) * strip), jc
            if access == IN_PLACE:
                wide, wide_step, rest, packed = advance(b, k0 * ldb + jc), ldb, strips, jc + whole
            pack_strips(b_transposed, b, ldb, k0, stretch, packed, je, strips, strip)
            if access == IN_PLACE:
                strip = 2 * vl
            target, ldt = c, ldc
            sums, lds = advance(c, i0 * ldc + jc), ldc
            if aside:
                sums, lds = partial, nc
                if not last:
                    target, ldt = advance(partial, -(i0 * nc + jc)), nc
            block_of_panels(a_transposed, a_in_place, i0, i1, jc, je, k0, stretch, again, a, lda, wide, wide_step,
                            strip, rest, now, sums, lds, target, ldt, bias, y, learning_rate, l2, panel)  # fmt: skip


def panel_size(kc: int) -> int:
    """Elements of workspace for a packed panel of A."""
    return (kc + SLACK) * PANEL_ROWS


def strips_size(kc: int, columns: int) -> int:
    """Elements of workspace for packed strips of B, whose last one may be read one vector too far."""
    widest = 2 * SLACK
    return (kc + SLACK) * ((columns + widest - 1) // widest * widest) + SLACK


def workspace(dtype: DTypeLike = "float32", depth: int = 512, columns: int = 512) -> NDArray[Any]:
    """Workspace for the kernels that multiply matrices, for one thread at a time.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        That of the operands.
    depth : int, default 512
        Stretch of k for which operands are packed: a sum over more is resumed, with the same bits.
    columns : int, default 512
        Columns that are packed at a time.

    Returns
    -------
    array (depth + 16, columns rounded up + 32)
        Uninitialised. Enough for operands of any shape; `softmax_cross_entropy` needs n + 768 elements for n rows.

    Raises
    ------
    ValueError
        Another dtype, or a size below 1.

    Examples
    --------
    >>> workspace("float64", 64, 32).shape
    (80, 64)
    """
    if np.dtype(dtype) not in (np.float32, np.float64):  # compiled code would take its bytes for others
        raise ValueError(f"dtype: got {np.dtype(dtype)}, expected float32 or float64")
    if min(depth, columns) < 1:
        raise ValueError(f"depth, columns: got {depth}, {columns}, expected at least 1")
    columns = -(-columns // (2 * SLACK)) * 2 * SLACK
    return np.empty((depth + SLACK, columns + PANEL_ROWS + SLACK), np.dtype(dtype))
