"""Blocks of rows, products by register tiles, and lists of calls: what the kernels of a narrow network share.

Kernels are written once, for any sizes. A function is a list of calls with their constants: LLVM inlines the kernels,
sees the constants, and no loop has an edge or a mask left. Every sum runs over k, or over rows, in ascending order by
fma, as in the general pass: so the bits are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..jit import kernel
from ..shapes import Shape
from ..simd import advance
from ..tile import rank1, rows_of, tile_load, tile_relu, tile_relu_mask, tile_store, tile_zero, width_of
from .forms import Tiles

Call = tuple[Any, ...]  # a kernel, and what it is called with besides the block


class Block(NamedTuple):
    """Some rows of a step: the number of the first and of all; how many are computed, whole tiles, those beyond the end
    like the last; and what the step has."""

    first: Any
    rows: Any
    width: Any
    row: Any  # of the table of operations
    operands: Any
    space: Any


@kernel
def nothing(block):
    """Do nothing."""


def in_turn(calls: Iterable[Call]) -> Any:
    """Return a kernel that makes calls, one after the other."""
    first, second, third, *others = [*calls, (nothing,), (nothing,)]
    a, b, c, rest = first[0], second[0], third[0], in_turn(others[:-2]) if len(others) > 2 else nothing
    for_a, for_b, for_c = first[1:], second[1:], third[1:]

    def calls_in_turn(block):
        a(block, *for_a)
        b(block, *for_b)
        c(block, *for_c)
        rest(block)

    return kernel(calls_in_turn)


# ---- products ----


class Cut(NamedTuple):
    """Rows in tiles of one shape up to `middle`, and of another from there on."""

    high: Any
    low: Any
    middle: Any
    rows: Any


def cut(rows: int, tiles: Tiles) -> Cut:
    """Return what a product needs to know of its tiles."""
    middle = tiles.high * tiles.rows
    high = Shape(tiles.rows, tiles.vectors)
    return Cut(high, high if middle == rows else Shape(tiles.rows - 1, tiles.vectors), middle, rows)


@kernel
def as_they_are(sums, kept, ld):
    return sums


@kernel
def with_relu(sums, kept, ld):
    return tile_relu(sums)


@kernel
def with_relu_mask(sums, kept, ld):
    return tile_relu_mask(sums, kept, ld, ())


@kernel
def multiply_matrices(cut, columns, depth, left, right, resume, finish, kept, out):
    """``out[:, :columns] = finish(left right)``, added to what `out` holds if `resume`."""
    strip_of_tiles(cut.high, 0, cut.middle, columns, depth, left, right, resume, finish, kept, out)
    strip_of_tiles(cut.low, cut.middle, cut.rows, columns, depth, left, right, resume, finish, kept, out)


@kernel
def strip_of_tiles(shape, begin, end, columns, depth, left, right, resume, finish, kept, out):
    for i in range(begin, end, rows_of(shape)):
        for j in range(0, columns, width_of(shape, out.start)):
            to = advance(out.start, i * out.ld + j)
            sums = tile_load(shape, to, out.ld) if resume else tile_zero(shape, to)
            a, b = advance(left.start, i * left.row), advance(right.start, j)
            for _ in range(depth):
                sums = rank1(sums, a, left.row, b)
                a, b = advance(a, left.step), advance(b, right.ld)
            tile_store(finish(sums, advance(kept, i * out.ld + j), out.ld), to, out.ld)
