"""Copies of the operands laid out as the micro-kernel reads them: strips of B (k, NR) and panels of A (k, MR).

Unpacked, a power-of-two row stride throws a tile's rows into one cache set: 60 GFLOP/s where packed reached 94.
Nothing is read beyond an operand: the edges are masked, and zero comes in their place.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .jit import instruction, kernel
from .simd import I32, I64, advance, first_lanes, lanes, load_vector, prefetch, store_vector
from .target import TARGET


@instruction
def copy_vector(typingctx: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy one vector of ``source[:count]``, with zeros behind, to `target`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = first_lanes(builder, source.dtype, args[2])
        store_vector(builder, source.dtype, load_vector(builder, source.dtype, args[1], mask), args[0])
        return context.get_dummy_value()

    return types.void(target, source, types.intp), codegen


AHEAD = 4  # squares: rows of a wide matrix lie pages apart, which the processor's own prefetcher does not follow


@instruction
def transpose_square(typingctx: Any, target: Any, target_step: Any, source: Any, source_step: Any, rows: Any,
                     columns: Any) -> Any:  # fmt: skip
    """``target[c, r] = source[r, c]`` for a square of vectors; zeros where r >= rows or c >= columns.

    Always writes the whole square.
    """
    dtype = source.dtype
    size = TARGET.lanes(dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, target_step, source, source_step, rows, columns = args
        mask = first_lanes(builder, dtype, columns)
        nothing = ir.Constant(mask.type, None)
        vectors = []
        for r in range(size):
            row_mask = builder.select(builder.icmp_signed("<", I64(r), rows), mask, nothing)
            vectors.append(load_vector(builder, dtype, source, row_mask))
            prefetch(builder, builder.gep(source, [I64(AHEAD * size)]))
            source = builder.gep(source, [source_step])
        distance = 1
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
        for vector in vectors:
            store_vector(builder, dtype, vector, target)
            target = builder.gep(target, [target_step])
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp, types.intp), codegen


@kernel
def transpose(target, target_step, source, source_step, rows, columns):
    """``target[c, r] = source[r, c]``, in squares, downwards in r.

    A square's surplus lanes fall on the next c's first ones, which are written after them: those of the same
    square by a later store, those of the square beside it because r goes down.
    """
    size = lanes(target)
    for c in range(0, columns, size):
        for r in range((rows - 1) // size * size, -1, -size):
            transpose_square(advance(target, c * target_step + r), target_step,
                             advance(source, r * source_step + c), source_step, rows - r, columns - c)  # fmt: skip


@kernel
def copy_rows(target, target_step, source, source_step, rows, columns):
    """``target[r, c] = source[r, c]``, in vectors; surplus lanes fall on the next row, which is written after."""
    size = lanes(target)
    for r in range(rows):
        for c in range(0, columns, size):
            copy_vector(advance(target, r * target_step + c), advance(source, r * source_step + c), columns - c)


@kernel
def copy_strips(target, strip, source, source_step, rows, columns):
    """Strips of two vectors side by side, the last one of one vector where that is enough; `strip` elements apart.

    Row by row through all strips: strip by strip, each row would be another page of memory (4 KB apart at 1024
    columns), which the processor's prefetcher does not follow.
    """
    size = lanes(target)
    whole = columns // (2 * size) * (2 * size)
    for r in range(rows):
        row = advance(source, r * source_step)
        to = advance(target, r * 2 * size)
        for c in range(0, whole, 2 * size):
            copy_vector(to, advance(row, c), size)
            copy_vector(advance(to, size), advance(row, c + size), size)
            to = advance(to, strip)
    left = columns - whole
    if left > 0:
        width = size if left <= size else 2 * size
        copy_rows(advance(target, whole // (2 * size) * strip), width, advance(source, whole), source_step, rows, left)
