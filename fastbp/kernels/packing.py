"""Copies of the operands laid out as the micro-kernel reads them: strips of B (k, NR) and panels of A (k, MR).

Unpacked, a power-of-two row stride throws a tile's rows into one cache set: 60 GFLOP/s where packed reached 94.
Nothing is read beyond an operand: the edges are masked, and zero comes in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from .jit import instruction, outlined
from .simd import (
    I32,
    I64,
    advance,
    ahead,
    first_lanes,
    lanes,
    least,
    load_vector,
    load_whole,
    prefetch,
    store,
    store_vector,
    store_whole,
)
from .target import TARGET


@instruction
def copy_vector(typingctx: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy one vector of ``source[:count]``, with zeros behind, to `target`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = first_lanes(builder, source.dtype, args[2])
        store_vector(builder, source.dtype, load_vector(builder, source.dtype, args[1], mask), args[0])
        return context.get_dummy_value()

    return types.void(target, source, types.intp), codegen


MASKS = TARGET.vector_bytes == 64  # AVX-512 stores under a mask as fast as without; AVX2 takes tens of micro-operations
ROWS_AHEAD = 12  # rows: the next ones lie pages apart; 4 ahead took 10 % longer for 16 rows and 784 x 512
AHEAD = 4  # squares: rows of a wide matrix lie pages apart, which the processor's own prefetcher does not follow


def _write_transpose(builder: Any, dtype: types.Type, vectors: list[Any], target: Any, target_step: Any) -> None:
    """Write the transpose of a square of vectors."""
    size, distance = len(vectors), 1
    while distance < size:  # a butterfly: swap one bit of the row number with the same bit of the lane number
        lower, upper = (
            ir.Constant(ir.VectorType(I32, size), [I32(lane) for lane in order])
            for order in (
                [i if not i & distance else size + i - distance for i in range(size)],
                [i + distance if not i & distance else size + i for i in range(size)],
            )
        )
        for r in range(size):
            if not r & distance:
                a, b = vectors[r], vectors[r | distance]
                vectors[r] = builder.shuffle_vector(a, b, lower)
                vectors[r | distance] = builder.shuffle_vector(a, b, upper)
        distance *= 2
    for c, vector in enumerate(vectors):
        store_vector(builder, dtype, vector, builder.gep(target, [builder.mul(target_step, I64(c))]))


def _square(load_rows: Callable[..., list[Any]]) -> Callable[..., Any]:
    """Make what writes the transpose of a square of vectors, whose rows `load_rows` loads."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, target_step, source, source_step, *limits = args
        dtype = signature.args[2].dtype
        size = TARGET.lanes(dtype)
        rows = [builder.gep(source, [builder.mul(source_step, I64(r))]) for r in range(size)]
        for row in rows:
            prefetch(builder, builder.gep(row, [I64(AHEAD * size)]))
        _write_transpose(builder, dtype, load_rows(builder, dtype, rows, *limits), target, target_step)
        return context.get_dummy_value()

    return codegen


@instruction
def transpose_square(typingctx: Any, target: Any, target_step: Any, source: Any, source_step: Any) -> Any:
    """``target[c, r] = source[r, c]`` for a square of vectors."""

    def load_rows(builder: Any, dtype: types.Type, rows: list[Any]) -> list[Any]:
        return [load_vector(builder, dtype, row) for row in rows]

    return types.void(target, types.intp, source, types.intp), _square(load_rows)


@instruction
def transpose_corner(typingctx: Any, target: Any, target_step: Any, source: Any, source_step: Any, rows: Any,
                     columns: Any) -> Any:  # fmt: skip
    """Do the same with zeros where r >= rows or c >= columns, which are not read; write the whole square."""

    def load_rows(builder: Any, dtype: types.Type, at: list[Any], rows: Any, columns: Any) -> list[Any]:
        mask = first_lanes(builder, dtype, columns)
        nothing = ir.Constant(mask.type, None)
        return [
            load_vector(builder, dtype, row, builder.select(builder.icmp_signed("<", I64(r), rows), mask, nothing))
            for r, row in enumerate(at)
        ]

    return types.void(target, types.intp, source, types.intp, types.intp, types.intp), _square(load_rows)


def _chosen(number: Callable[..., Any]) -> Any:
    """Make what transposes a square of a source's rows, whose numbers `number` gives, from `first` on.

    The last row before `end` stands for those behind it, and zero for columns from `columns` on.
    """

    @instruction
    def call(typingctx: Any, target: Any, target_step: Any, source: Any, source_step: Any, order: Any, first: Any,
             end: Any, columns: Any) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            to, to_step, start, step, order, first, end, columns = args
            last, mask, vectors = builder.sub(end, I64(1)), first_lanes(builder, source.dtype, columns), []
            for r in range(TARGET.lanes(source.dtype)):
                row = builder.add(first, I64(r))
                row = number(builder, order, builder.select(builder.icmp_signed("<", row, last), row, last))
                here = builder.gep(start, [builder.mul(step, row)])
                vectors.append(load_vector(builder, source.dtype, here, mask))
            _write_transpose(builder, source.dtype, vectors, to, to_step)
            return context.get_dummy_value()

        numbers = (types.intp, types.intp, types.intp)
        return types.void(target, types.intp, source, types.intp, order, *numbers), codegen

    return call


transpose_chosen = _chosen(lambda builder, order, row: builder.load(builder.gep(order, [row])))
transpose_in_order = _chosen(lambda builder, order, row: row)


@instruction
def transpose_units(typingctx: Any, target: Any, target_step: Any, source: Any, source_step: Any, rows: Any) -> Any:
    """``target[c, r] = source[r, c]`` for a square of vectors, with zeros where r >= rows, a constant of the code."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, to_step, start, step, rows = args
        vectors = []
        for r in range(TARGET.lanes(source.dtype)):
            there = builder.icmp_signed("<", I64(r), rows)
            loaded = load_vector(builder, source.dtype, builder.gep(start, [builder.mul(step, I64(r))]))
            vectors.append(builder.select(there, loaded, ir.Constant(loaded.type, None)))
        _write_transpose(builder, source.dtype, vectors, to, to_step)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp), codegen


@outlined
def transpose(target, target_step, source, source_step, rows, columns, known):
    """``target[c, r] = source[r, c]``, in squares, downwards in r; `known` rows of the source may be read.

    A square's surplus lanes fall on the next c's first ones, which are written after them: those of the same
    square by a later store, those of the square beside it because r goes down.
    """
    size = lanes(target)
    for c in range(0, columns, size):
        for r in range((rows - 1) // size * size, -1, -size):
            to, at = advance(target, c * target_step + r), advance(source, r * source_step + c)
            if known - r >= size and columns - c >= size:
                transpose_square(to, target_step, at, source_step)
            else:
                transpose_corner(to, target_step, at, source_step, least(known, rows) - r, columns - c)


@outlined
def copy_rows(target, width, source, source_step, rows, columns):
    """Copy rows to rows of `width` columns, a multiple of a vector, with zeros behind those of the source."""
    size = lanes(target)
    for r in range(rows):
        for c in range(0, width, size):
            copy_vector(advance(target, r * width + c), advance(source, r * source_step + c), columns - c)


@outlined
def copy_back(target, target_step, source, source_step, rows, columns):
    """``target[r, c] = source[r, c]``, of which no more is written; whole vectors of the source may be read."""
    size = lanes(target)
    whole = columns // size * size
    for r in range(rows):
        to, at = advance(target, r * target_step), advance(source, r * source_step)
        for c in range(0, whole, size):
            store_whole(load_whole(advance(at, c)), advance(to, c))
        if whole < columns and MASKS:
            store(load_whole(advance(at, whole)), advance(to, whole), columns - whole)
        elif whole < columns:
            for c in range(whole, columns):
                to[c] = at[c]


@outlined
def copy_strips(target, strip, width, source, source_step, rows, columns):
    """Copy to strips of `width` columns, which lie `strip` elements apart; zeros behind the last one's columns.

    Row by row through all strips: strip by strip, each row would be another page of memory (4 KB apart at 1024
    columns), which the processor's prefetcher does not follow. Surplus lanes fall on a strip's next row.
    """
    size = lanes(target)
    reach = (width + size - 1) // size * size
    for r in range(rows):
        at, to, left = advance(source, r * source_step), advance(target, r * width), columns
        while left >= reach:
            ahead(advance(at, ROWS_AHEAD * source_step))
            for c in range(0, width, size):
                store_whole(load_whole(advance(at, c)), advance(to, c))
            at, to, left = advance(at, width), advance(to, strip), left - width
        while left > 0:
            for c in range(0, width, size):
                copy_vector(advance(to, c), advance(at, c), left - c)
            at, to, left = advance(at, width), advance(to, strip), left - width
