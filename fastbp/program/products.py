"""Operations and their parts: products, cut by rows and columns and never along k, and what works row by row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from ..hardware import caches
from ..kernels import operations as op
from ..kernels.shapes import BY_ROWS, FEW_ROWS, IN_PLACE, MR, PACKED, panels_size, strips_size
from .cost_model import (
    AGAIN,
    AGAIN_FAR,
    AHEAD,
    COPY,
    FAR,
    MOST_OF_A_LINE,
    NARROW_ROWS,
    NARROW_STRIPS,
    OPERATION,
    PAGE,
    TILE,
    TRANSPOSE,
    CostModel,
)
from .table import Operation, operation


class Product(NamedTuple):
    """A product: shape, form, operands, epilogue."""

    rows: int
    columns: int
    depth: int
    a: tuple[int, int, int]  # buffer, offset, leading dimension
    b: tuple[int, int, int]
    c: tuple[int, int, int]
    a_transposed: bool = False
    b_transposed: bool = False
    bias: tuple[int, int] = (op.PARAMETERS, 0)
    y: tuple[int, int] = (op.ACTIVATIONS, 0)
    epilogue: int = 0
    resume: bool = False

    def part(self, model: CostModel, i0: int, i1: int, j0: int, j1: int) -> Operation:
        access, sums_aside = self.access(model, i1 - i0, j1 - j0), bool(self.epilogue & op.SGD)
        a_in_place = self.a_in_place(model, j1 - j0)
        mc, kc, nc, packed_columns = model.blocking(self.depth, i1 - i0, j1 - j0, a_in_place, sums_aside)
        strips, behind = panels_size(2 * MR if a_in_place else mc, kc), strips_size(kc, packed_columns)
        if access == BY_ROWS:  # nothing is packed, and a row's sums take the strips' place
            strips, behind = 0, nc
        return operation(
            op.GEMM_BY_ROWS if access == BY_ROWS else op.GEMM,
            epilogue=self.epilogue,
            resume=int(self.resume),
            access=access,
            a_in_place=int(a_in_place),
            a_transposed=int(self.a_transposed),
            b_transposed=int(self.b_transposed),
            row_begin=i0,
            row_end=i1,
            column_begin=j0,
            column_end=j1,
            depth=self.depth,
            a=self.a,
            b=self.b,
            c=self.c,
            bias=self.bias,
            y=self.y,
            mc=mc,
            kc=kc,
            nc=nc,
            packed_columns=packed_columns,
            strips=strips,
            partial=strips + behind,
        )

    def access(self, model: CostModel, rows: int, columns: int) -> int:
        """Return how B is read."""
        if self.b_transposed:
            return PACKED
        if model.forced.access is not None:
            return model.forced.access
        if rows <= FEW_ROWS and (columns > NARROW_ROWS * model.lanes or not self.a_transposed):
            return BY_ROWS
        return PACKED if -(-rows // MR) * self._again(model) > self._packing(model) else IN_PLACE

    def a_in_place(self, model: CostModel, columns: int) -> bool:
        """Return whether rows of A are read in place: where packing would not pay, and not from one cache set.

        A tile's rows of a transposed A lie side by side, and must fill most of a cache line where it is read more than
        once.
        """
        if model.forced.a_in_place is not None:
            return model.forced.a_in_place
        if self.a_transposed and MR * model.dtype.itemsize < MOST_OF_A_LINE:
            return columns <= 2 * model.lanes
        return columns <= NARROW_STRIPS * 2 * model.lanes and self.a[2] * model.dtype.itemsize % PAGE != 0

    def _is_far(self, model: CostModel) -> bool:
        return self.columns * self.depth * model.dtype.itemsize > caches().l2

    def _packing(self, model: CostModel) -> int:
        """Return the cost of packing a vector of B."""
        return (FAR if self._is_far(model) else 0) + (TRANSPOSE if self.b_transposed else COPY)

    def _again(self, model: CostModel) -> float:
        """Return the cost of reading a vector of B in place, for each tile that does."""
        return AGAIN_FAR if self._is_far(model) else AGAIN

    def cost(self, model: CostModel, rows: int, columns: int) -> float:
        """Return the vector multiply-adds of a part, packing included."""
        wide = -(-columns // model.lanes)
        access = self.access(model, rows, columns)
        if access == BY_ROWS:
            return OPERATION + rows * (TILE + 2.0 * self.depth * wide)  # one load each multiply-add
        high = -(-rows // MR)
        reading = high * self._again(model) if access == IN_PLACE else self._packing(model)
        extra = reading * wide * self.depth
        if not self.a_transposed and not self.a_in_place(model, columns):
            extra += TRANSPOSE * rows * -(-self.depth // model.lanes)
        return OPERATION + TILE * high * -(-wide // 2) + (rows + rows % 2) * wide * self.depth + extra

    def part_cost(self, model: CostModel, rows: int, columns: int, begins: bool = True) -> float:
        """Return the cost of one of several threads' parts, with what it reads that others wrote; `begins` a phase."""
        a = self.depth * rows * (0.0 if not begins or self.a[0] == op.INPUTS else AHEAD if self.a_transposed else 1.0)
        b = self.depth * columns * (1.0 if self.b[0] != op.PARAMETERS else AHEAD if model.trains else 0.0)
        if self._is_far(model) and self.access(model, rows, columns) == PACKED:
            b = 0  # `cost` has it
        return self.cost(model, rows, columns) + model.moved(a + b)

    def grid(self, model: CostModel, strands: int) -> tuple[float, int, int]:
        """Return the time of the best cut on all threads, and its number of row and column parts."""
        forced = model.forced
        costs: dict[tuple[int, int], float] = {}
        strips = -(-self.columns // (2 * model.lanes))
        best = (float("inf"), 1, 1)
        for row_parts in range(1, min(strands, -(-self.rows // 2)) + 1):
            for column_parts in range(1, min(strands // row_parts, strips) + 1):
                if forced.row_parts not in (None, row_parts) or forced.column_parts not in (None, column_parts):
                    continue
                rows = -(-self.rows // row_parts)
                columns = min(self.columns, -(-strips // column_parts) * 2 * model.lanes)
                if (rows, columns) not in costs:
                    costs[rows, columns] = self.part_cost(model, rows, columns)
                time = model.makespan(row_parts * column_parts, costs[rows, columns])
                best = min(best, (time, row_parts, column_parts))
        return best if best[0] < float("inf") else (self.cost(model, self.rows, self.columns), 1, 1)

    def blocks(self, model: CostModel, row_parts: int, column_parts: int) -> list[tuple[int, int, int, int]]:
        """Return where each part's rows and columns begin and end."""
        rows = bounds(self.rows, row_parts, 2)
        columns = bounds(self.columns, column_parts, 2 * model.lanes)
        return [(*i, *j) for i in rows for j in columns]

    def split(self, model: CostModel, row_parts: int, column_parts: int) -> list[Operation]:
        return [self.part(model, *block) for block in self.blocks(model, row_parts, column_parts)]


def bounds(total: int, parts: int, unit: int) -> list[tuple[int, int]]:
    """Cut [0, total) into parts of nearly the same size, at multiples of `unit`; empty ones are left out."""
    units = -(-total // unit)
    cuts = [min(total, units * i // parts * unit) for i in range(parts)] + [total]
    return [(begin, end) for begin, end in itertools.pairwise(cuts) if begin < end] or [(0, total)]


@dataclass(eq=False, repr=False)
class RowWise:
    """An operation that takes any range of rows, such as the loss: all of it but that range."""

    rows: int
    whole: Operation
    row_cost: float

    def part(self, model: CostModel, i0: int, i1: int, j0: int, j1: int) -> Operation:
        return {**self.whole, "row_begin": i0, "row_end": i1}

    columns = 0

    def cost(self, model: CostModel, rows: int, columns: int) -> float:
        return OPERATION + self.row_cost * rows

    def part_cost(self, model: CostModel, rows: int, columns: int, begins: bool = True) -> float:
        """Return the cost of one of several threads' parts, with what it reads that others wrote; `begins` a phase."""
        theirs = begins and self.whole.get("a_buffer", op.INPUTS) != op.INPUTS
        return self.cost(model, rows, columns) + (model.moved(rows * self.whole.get("lda", 0)) if theirs else 0)

    def grid(self, model: CostModel, strands: int) -> tuple[float, int, int]:
        parts = model.forced.row_parts or max(1, min(strands, self.rows // 16))
        return model.makespan(parts, self.part_cost(model, -(-self.rows // parts), 0)), parts, 1

    def split(self, model: CostModel, row_parts: int, column_parts: int) -> list[Operation]:
        return [self.part(model, *rows, 0, 0) for rows in bounds(self.rows, row_parts, 1)]


Link = Product | RowWise
