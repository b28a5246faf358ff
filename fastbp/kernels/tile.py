"""The register tile: rows x vectors of sums as one Numba value, held in one LLVM array of vectors.

LLVM's scalar replacement keeps the whole array in registers, so a loop over `rank1` in plain Numba runs at the
processor's multiply-add rate without a spill. A shape is a compile-time constant: one kernel text serves all shapes.
At the edges of a matrix columns are masked, and a row that is not there repeats the last one that is: loads are then
valid, and stores go from the last row upwards, so that the true row is written last.
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


def _row_pointers(builder: Any, start: Any, stride: Any, rows: Any, count: int) -> list[Any]:
    """Return where each row begins; for rows that do not exist, where the last one does."""
    pointers = [start]
    for row in range(1, count):
        step = builder.select(builder.icmp_signed("<", I64(row), rows), stride, I64(0))
        pointers.append(builder.gep(pointers[-1], [step]))
    return pointers


def _column_masks(builder: Any, tile: TileType, columns: Any) -> list[Any]:
    return [first_lanes(builder, tile.dtype, builder.sub(columns, I64(v * tile.lanes))) for v in range(tile.vectors)]


def _at(builder: Any, tile: TileType, row: Any, vector: int) -> Any:
    return builder.gep(row, [I64(vector * tile.lanes)])


@instruction
def tile_zero(typingctx: Any, shape: Any, like: Any) -> Any:
    """Return a tile of +0; `like` is a pointer that gives the dtype."""
    tile = TileType(like.dtype, shape)
    return tile(shape, like), lambda context, builder, sig, args: ir.Constant(context.get_value_type(tile), None)


@instruction
def tile_ahead(typingctx: Any, shape: Any, start: Any, stride: Any, rows: Any) -> Any:
    """Fetch the block of memory under a tile, which its end will read."""
    tile = TileType(start.dtype, shape)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, start, stride, rows = args
        for pointer in _row_pointers(builder, start, stride, rows, tile.rows):
            for vector in range(tile.vectors):
                prefetch(builder, _at(builder, tile, pointer, vector))
        return context.get_dummy_value()

    return types.void(shape, start, types.intp, types.intp), codegen


@instruction
def tile_load(typingctx: Any, shape: Any, start: Any, stride: Any, rows: Any, columns: Any) -> Any:
    tile = TileType(start.dtype, shape)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, start, stride, rows, columns = args
        pointers = _row_pointers(builder, start, stride, rows, tile.rows)
        masks = _column_masks(builder, tile, columns)
        value = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for index, row, vector in tile.steps():
            loaded = load_vector(builder, tile.dtype, _at(builder, tile, pointers[row], vector), masks[vector])
            value = builder.insert_value(value, loaded, index)
        return value

    return tile(shape, start, types.intp, types.intp, types.intp), codegen


@instruction
def tile_store(typingctx: Any, tile: Any, start: Any, stride: Any, rows: Any, columns: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, start, stride, rows, columns = args
        pointers = _row_pointers(builder, start, stride, rows, tile.rows)
        masks = _column_masks(builder, tile, columns)
        for index, row, vector in reversed(list(tile.steps())):
            target = _at(builder, tile, pointers[row], vector)
            store_vector(builder, tile.dtype, builder.extract_value(value, index), target, masks[vector])
        return context.get_dummy_value()

    return types.void(tile, start, types.intp, types.intp, types.intp), codegen


def _rank1(builder: Any, tile: TileType, value: Any, left: list[Any], right: list[Any]) -> Any:
    columns = [VectorLanes(builder, tile.dtype, vector) for vector in right]
    align = tile.dtype.bitwidth // 8
    for row in range(tile.rows):
        number = builder.load(left[row], align=align)
        factor = VectorLanes(builder, tile.dtype, splat(builder, number, tile.lanes))
        for vector, column in enumerate(columns):
            index = row * tile.vectors + vector
            total = VectorLanes(builder, tile.dtype, builder.extract_value(value, index))
            value = builder.insert_value(value, factor.fma(column, total).value, index)
    return value


@instruction
def rank1(typingctx: Any, tile: Any, left: Any, left_step: Any, right: Any) -> Any:
    """Add outer(left, right) to a tile: its rows of left, `left_step` elements apart, and its columns of right."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, left, step, right = args
        pointers = [builder.gep(left, [builder.mul(step, I64(row))]) for row in range(tile.rows)]
        vectors = [load_vector(builder, tile.dtype, _at(builder, tile, right, v)) for v in range(tile.vectors)]
        return _rank1(builder, tile, value, pointers, vectors)

    return tile(tile, left, types.intp, right), codegen


@instruction
def rank1_masked(typingctx: Any, tile: Any, left: Any, right: Any, columns: Any) -> Any:
    """Do the same with the right operand read where it lies, `columns` of it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, left, right, columns = args
        masks = _column_masks(builder, tile, columns)
        vectors = [
            load_vector(builder, tile.dtype, _at(builder, tile, right, v), masks[v]) for v in range(tile.vectors)
        ]
        return _rank1(builder, tile, value, [builder.gep(left, [I64(row)]) for row in range(tile.rows)], vectors)

    return tile(tile, left, right, types.intp), codegen


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
    def call(typingctx: Any, tile: Any, start: Any, columns: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, start, columns = args
            masks = _column_masks(builder, tile, columns)
            shared = [
                load_vector(builder, tile.dtype, _at(builder, tile, start, v), masks[v]) for v in range(tile.vectors)
            ]
            for index, _, vector in tile.steps():
                total = VectorLanes(builder, tile.dtype, builder.extract_value(value, index))
                value = builder.insert_value(
                    value, write(total, VectorLanes(builder, tile.dtype, shared[vector])).value, index
                )
            return value

        return tile(tile, start, types.intp), codegen

    return call


def _map_with_block(write: Callable[..., Any]) -> Any:
    """``write(sum, x, *scalars)`` with x from the block of memory that lies under the tile."""

    @instruction
    def call(typingctx: Any, tile: Any, start: Any, stride: Any, rows: Any, columns: Any, scalars: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, start, stride, rows, columns, packed = args
            numbers = [builder.extract_value(packed, i) for i in range(len(scalars))]
            shared = [VectorLanes(builder, tile.dtype, splat(builder, number, tile.lanes)) for number in numbers]
            pointers = _row_pointers(builder, start, stride, rows, tile.rows)
            masks = _column_masks(builder, tile, columns)
            for index, row, vector in tile.steps():
                under = load_vector(builder, tile.dtype, _at(builder, tile, pointers[row], vector), masks[vector])
                total = VectorLanes(builder, tile.dtype, builder.extract_value(value, index))
                new = write(total, VectorLanes(builder, tile.dtype, under), *shared)
                value = builder.insert_value(value, new.value, index)
            return value

        return tile(tile, start, types.intp, types.intp, types.intp, scalars), codegen

    return call


tile_relu = map_tile(activations.relu.write)
tile_add_row = _map_with_row(formulas.add.write)
tile_add_block = _map_with_block(formulas.add.write)
tile_relu_mask = _map_with_block(activations.relu_mask.write)
tile_sgd = _map_with_block(lambda dw, w, learning_rate, l2: updates.sgd.write(w, dw, learning_rate, l2))
