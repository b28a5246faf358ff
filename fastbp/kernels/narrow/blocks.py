"""What the kernels of a narrow network have in common: blocks of rows, and products by register tiles.

Kernels are written once, for any sizes: a function passes them its own, LLVM sees constants, and no loop has an edge or
a mask left. Every sum runs over k, or over rows, in ascending order by fma, as in the general pass: so the bits are the
same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..jit import kernel
from ..shapes import Shape
from ..simd import advance
from ..tile import rank1, rows_of, tile_load, tile_relu, tile_relu_mask, tile_store, tile_zero, width_of
from .forms import Tiles


class Block(NamedTuple):
    """Some rows of a step: the number of the first and of all; how many are computed, whole tiles, those beyond the end
    like the last; and what the step has."""

    first: Any
    rows: Any
    width: Any
    row: Any  # of the table of operations
    operands: Any
    space: Any


def in_turn(parts: Iterable[Any]) -> Any:
    """Return a kernel that calls kernels of one argument, one after the other."""
    first, *others = parts
    if not others:
        return first
    rest = in_turn(others)

    def both(block):
        first(block)
        rest(block)

    return kernel(both)


@kernel
def nothing(block):
    """Do nothing."""


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
def strip_of_tiles(shape, begin, end, columns, depth, left, right, resume, finish, kept, out):
    """``out[begin:end, :columns] = finish(left right)``, added to what `out` holds if `resume`."""
    for i in range(begin, end, rows_of(shape)):
        for j in range(0, columns, width_of(shape, out.start)):
            to = advance(out.start, i * out.ld + j)
            sums = tile_load(shape, to, out.ld) if resume else tile_zero(shape, to)
            a, b = advance(left.start, i * left.row), advance(right.start, j)
            for _ in range(depth):
                sums = rank1(sums, a, left.row, b)
                a, b = advance(a, left.step), advance(b, right.ld)
            tile_store(finish(sums, advance(kept, i * out.ld + j), out.ld), to, out.ld)


def product(rows: int, cut: Tiles, finish: Any = as_they_are) -> Any:
    """Return a kernel for products of so many rows, in tiles of two heights."""
    high, low, middle = Shape(cut.rows, cut.vectors), Shape(max(1, cut.rows - 1), cut.vectors), cut.high * cut.rows

    def multiply_matrices(columns, depth, left, right, resume, kept, out):
        strip_of_tiles(high, 0, middle, columns, depth, left, right, resume, finish, kept, out)
        if middle < rows:
            strip_of_tiles(low, middle, rows, columns, depth, left, right, resume, finish, kept, out)

    return kernel(multiply_matrices)
