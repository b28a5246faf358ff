"""The register tile: rows x vectors of sums as one Numba value, held in one LLVM array of vectors.

LLVM's scalar replacement keeps the whole array in registers, so a loop over `rank1` in plain Numba runs at the
processor's multiply-add rate without a spill. A shape is a compile-time constant: one kernel text serves all shapes.
A tile is always whole, with no mask: where a matrix ends within one, its end is worked on aside (`microkernel`). AVX2
has no mask registers, and a masked store takes tens of micro-operations there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_constant
from numba.extending import typeof_impl

from . import activations, formulas, updates
from .jit import instruction
from .shapes import Shape
from .simd import I64, VectorLanes, first_lanes, load_vector, prefetch, splat, store_vector, vector_ir
from .target import TARGET

LINE_BYTES = 64  # of the cache


class ShapeType(types.Type):  # type: ignore[misc]
    def __init__(self, rows: int, vectors: int):
        self.rows, self.vectors = rows, vectors
        super().__init__(f"Shape({rows}, {vectors})")


class TileType(types.Type):  # type: ignore[misc]
    def __init__(self, dtype: types.Type, shape: ShapeType):
        self.dtype, self.rows, self.vectors = dtype, shape.rows, shape.vectors
        self.lanes = TARGET.lanes(dtype)
        super().__init__(f"Tile({dtype}, {self.rows}, {self.vectors}, {self.lanes})")

    def steps(self) -> Iterator[tuple[int, int, int]]:
        """(index in the LLVM array, row, vector)."""
        for row in range(self.rows):
            for vector in range(self.vectors):
                yield row * self.vectors + vector, row, vector


@typeof_impl.register(Shape)
def _typeof_shape(value: Shape, context: Any) -> ShapeType:
    return ShapeType(value.rows, value.vectors)


@register_default(ShapeType)
class _ShapeModel(models.OpaqueModel):  # type: ignore[misc]
    pass


@lower_constant(ShapeType)
def _lower_shape(context: Any, builder: Any, kind: ShapeType, value: Shape) -> Any:
    return context.get_dummy_value()


@register_default(TileType)
class _TileModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, tile: TileType):
        super().__init__(dmm, tile, ir.ArrayType(vector_ir(tile.dtype), tile.rows * tile.vectors))


# ---- writing one instruction for each vector of a tile ----


def _rows(builder: Any, start: Any, stride: Any, count: int) -> list[Any]:
    """Return where each row begins."""
    return [builder.gep(start, [builder.mul(stride, I64(row))]) for row in range(count)]


def _at(builder: Any, tile: TileType, row: Any, vector: int) -> Any:
    return builder.gep(row, [I64(vector * tile.lanes)])


@instruction
def tile_zero(typingctx: Any, shape: Any, like: Any) -> Any:
    """Return a tile of +0; `like` is a pointer that gives the dtype."""
    tile = TileType(like.dtype, shape)
    return tile(shape, like), lambda context, builder, sig, args: ir.Constant(context.get_value_type(tile), None)


@instruction
def tile_ahead(typingctx: Any, shape: Any, start: Any, stride: Any) -> Any:
    """Fetch the block of memory under a tile, which its end will read or write."""
    tile = TileType(start.dtype, shape)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, start, stride = args
        for pointer in _rows(builder, start, stride, tile.rows):
            for vector in range(0, tile.vectors, max(1, LINE_BYTES // TARGET.vector_bytes)):
                prefetch(builder, _at(builder, tile, pointer, vector))
        return context.get_dummy_value()

    return types.void(shape, start, types.intp), codegen


@instruction
def tile_aside(typingctx: Any, shape: Any, like: Any) -> Any:
    """Return memory on the stack for one tile, whose rows follow one another."""
    tile = TileType(like.dtype, shape)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():  # Numba's own `alloca_once` would fill it with zeros for each tile
            memory = builder.alloca(context.get_value_type(tile))
        memory.align = tile.lanes * tile.dtype.bitwidth // 8
        return builder.bitcast(memory, context.get_value_type(like))

    return like(shape, like), codegen


@instruction
def rows_of(typingctx: Any, shape: Any) -> Any:
    """Return the rows of a tile."""
    return types.intp(shape), lambda context, builder, signature, args: I64(shape.rows)


@instruction
def width_of(typingctx: Any, shape: Any, like: Any) -> Any:
    """Return the columns of a tile."""
    tile = TileType(like.dtype, shape)
    return types.intp(shape, like), lambda context, builder, signature, args: I64(tile.vectors * tile.lanes)


@instruction
def tile_load(typingctx: Any, shape: Any, start: Any, stride: Any) -> Any:
    tile = TileType(start.dtype, shape)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, start, stride = args
        pointers = _rows(builder, start, stride, tile.rows)
        value = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for index, row, vector in tile.steps():
            loaded = load_vector(builder, tile.dtype, _at(builder, tile, pointers[row], vector))
            value = builder.insert_value(value, loaded, index)
        return value

    return tile(shape, start, types.intp), codegen


@instruction
def tile_store(typingctx: Any, tile: Any, start: Any, stride: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, start, stride = args
        pointers = _rows(builder, start, stride, tile.rows)
        for index, row, vector in tile.steps():
            target = _at(builder, tile, pointers[row], vector)
            store_vector(builder, tile.dtype, builder.extract_value(value, index), target)
        return context.get_dummy_value()

    return types.void(tile, start, types.intp), codegen


@instruction
def rank1(typingctx: Any, tile: Any, left: Any, left_step: Any, right: Any) -> Any:
    """Add outer(left, right) to a tile: its rows of left, `left_step` elements apart, and its columns of right."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, left, step, right = args
        columns = [
            VectorLanes(builder, tile.dtype, load_vector(builder, tile.dtype, _at(builder, tile, right, vector)))
            for vector in range(tile.vectors)
        ]
        for row, pointer in enumerate(_rows(builder, left, step, tile.rows)):
            number = builder.load(pointer, align=tile.dtype.bitwidth // 8)
            factor = VectorLanes(builder, tile.dtype, splat(builder, number, tile.lanes))
            for vector, column in enumerate(columns):
                index = row * tile.vectors + vector
                total = VectorLanes(builder, tile.dtype, builder.extract_value(value, index))
                value = builder.insert_value(value, factor.fma(column, total).value, index)
        return value

    return tile(tile, left, types.intp, right), codegen


@instruction
def factors_of_row(typingctx: Any, shape: Any, start: Any, step: Any) -> Any:
    """Return entries that lie `step` elements apart, each in every lane of a tile's row."""
    tile = TileType(start.dtype, shape)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, start, step = args
        value = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for row, pointer in enumerate(_rows(builder, start, step, tile.rows)):
            number = builder.load(pointer, align=tile.dtype.bitwidth // 8)
            value = builder.insert_value(value, splat(builder, number, tile.lanes), row)
        return value

    return tile(shape, start, types.intp), codegen


def _add_rows(builder: Any, tile: TileType, args: Any, mask: Any = None) -> Any:
    total, factors, start, stride, *_ = args
    for row, pointer in enumerate(_rows(builder, start, stride, tile.rows)):
        vector = VectorLanes(builder, tile.dtype, load_vector(builder, tile.dtype, pointer, mask))
        factor = VectorLanes(builder, tile.dtype, builder.extract_value(factors, row))
        total = factor.fma(vector, VectorLanes(builder, tile.dtype, total)).value
    return total


@instruction
def add_rows(typingctx: Any, total: Any, factors: Any, start: Any, stride: Any) -> Any:
    """Add to a vector, in ascending order, each factor times the vector of its row of memory."""
    return total(total, factors, start, types.intp), lambda context, builder, signature, args: _add_rows(
        builder, factors, args
    )


@instruction
def add_ends_of_rows(typingctx: Any, total: Any, factors: Any, start: Any, stride: Any, count: Any) -> Any:
    """Do the same with the first `count` entries of each row, and 0 behind them."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _add_rows(builder, factors, args, first_lanes(builder, factors.dtype, args[-1]))

    return total(total, factors, start, types.intp, types.intp), codegen


def map_tile(write: Callable[..., Any]) -> Any:
    """``write(sum)`` for each vector of a tile."""

    @instruction
    def call(typingctx: Any, tile: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (value,) = args
            for index, _, _ in tile.steps():
                total = VectorLanes(builder, tile.dtype, builder.extract_value(value, index))
                value = builder.insert_value(value, write(total).value, index)
            return value

        return tile(tile), codegen

    return call


def _map_with_row(write: Callable[..., Any]) -> Any:
    """``write(sum, x)`` with x from one row of memory that all rows of the tile share."""

    @instruction
    def call(typingctx: Any, tile: Any, start: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, start = args
            shared = [load_vector(builder, tile.dtype, _at(builder, tile, start, v)) for v in range(tile.vectors)]
            for index, _, vector in tile.steps():
                total = VectorLanes(builder, tile.dtype, builder.extract_value(value, index))
                new = write(total, VectorLanes(builder, tile.dtype, shared[vector]))
                value = builder.insert_value(value, new.value, index)
            return value

        return tile(tile, start), codegen

    return call


def _map_with_block(write: Callable[..., Any]) -> Any:
    """``write(sum, x, *scalars)`` with x from the block of memory that lies under the tile."""

    @instruction
    def call(typingctx: Any, tile: Any, start: Any, stride: Any, scalars: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, start, stride, packed = args
            numbers = [builder.extract_value(packed, i) for i in range(len(scalars))]
            shared = [VectorLanes(builder, tile.dtype, splat(builder, number, tile.lanes)) for number in numbers]
            pointers = _rows(builder, start, stride, tile.rows)
            for index, row, vector in tile.steps():
                under = load_vector(builder, tile.dtype, _at(builder, tile, pointers[row], vector))
                total = VectorLanes(builder, tile.dtype, builder.extract_value(value, index))
                new = write(total, VectorLanes(builder, tile.dtype, under), *shared)
                value = builder.insert_value(value, new.value, index)
            return value

        return tile(tile, start, types.intp, scalars), codegen

    return call


tile_relu = map_tile(activations.relu.write)
tile_add_row = _map_with_row(formulas.add.write)
tile_add_block = _map_with_block(formulas.add.write)
tile_relu_mask = _map_with_block(activations.relu_mask.write)
tile_sgd = _map_with_block(lambda dw, w, learning_rate, l2: updates.sgd.write(w, dw, learning_rate, l2))
