"""Which thread computes what: from shapes to programs for the compiled pass.

A product is split among threads by rows or columns of its result, never along k, so that no split changes a bit. A
chain of products over the same rows may instead go slab by slab, each thread taking some rows through all layers in
one phase. Which is best follows from an estimate in vector multiply-adds; only the ratios of its constants matter.
"""

from __future__ import annotations

import contextlib
import contextvars
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import threads
from ..cached_property import cached_property
from ..hardware import caches
from ..kernels import operations as op
from ..kernels.affine import FEW_ROWS
from ..kernels.gemm import BY_ROWS, IN_PLACE, MR, PACKED, panel_size, strips_size
from ..kernels.microkernel import SGD
from ..kernels.simd import TARGET
from .execution import Operation, Program, Strand, round_up

# In vector multiply-adds of one core, 3.4 a ns. Measured on AVX-512: to enter a parallel region 4 us; to pass from one
# phase to the next 0.15 us, and some 2 us with the cache lines that then change cores; a packed vector about 3 where it
# is copied and 12 where it is transposed, and 15 more where it comes from beyond the second level cache.
REGION, PHASE = 14_000, 7_000
COPY, TRANSPOSE, FAR = 3, 12, 15
AGAIN, AGAIN_FAR = 0.1, 1.0  # a vector of B read in place, by each tile
OPERATION, TILE = 300, 120
NARROW_ROWS = 2  # vectors of columns up to which a transposed A's few rows take tiles of their own, half empty
NARROW_STRIPS = 16  # up to so many strips of B, packing A does not pay
PAGE = 4096  # bytes: rows so far apart share one set of the first level cache, too small for a tile's rows
# More threads only where they promise this gain: 64-100-10 would go from 31 us to 23 at best, and to 61 where the
# machine's cores are far apart or busy, for its arrays change cores at each phase.
WORTHWHILE = 1.5
SHORT = 16 * REGION  # multiplications and additions that end before a region would be entered, with vectors of 8
POOL_START = 1e10  # multiplications and additions that a thread does in the 0.1 s that starting and loading take
STRANDS_A_THREAD = (1, 2, 4)  # into how many parts a thread the weight gradients are cut, as is best
MOST_STRIPS = 2 * 1024**2  # bytes of packed B a strand, and twice the second level cache where that is less
SQUARES = 16384  # weights summed to one partial of the L2 penalty


@dataclass(frozen=True, eq=False)  # programs are found by its identity
class Tuning:
    """What the schedule would choose by itself, forced: for tests that expect the same bits of every choice."""

    kc: int | None = None
    nc: int | None = None
    access: int | None = None
    a_in_place: bool | None = None
    row_parts: int | None = None
    column_parts: int | None = None
    slabs: bool | None = None
    parallel: bool | None = None


_tuning: contextvars.ContextVar[Tuning] = contextvars.ContextVar("fastbp_tuning")
_NOTHING_FORCED = Tuning()
_done_alone = 0.0  # operations of this process that were kept to one thread, as long as no pool runs


def tuning() -> Tuning:
    return _tuning.get(_NOTHING_FORCED)


@contextlib.contextmanager
def forced(choice: Tuning) -> Iterator[None]:
    """Programs built within the block follow `choice` where it is not None."""
    token = _tuning.set(choice)
    try:
        yield
    finally:
        _tuning.reset(token)


def threads_for(operations: float) -> int:
    """How many threads so much work may use.

    One where it is short (`SHORT`); one for longer work too, until as much was done as a pool takes to start.
    """
    global _done_alone
    if tuning().parallel is not None:
        return threads.count()
    if operations < SHORT:
        return 1
    if not threads.started():
        _done_alone += operations
        if _done_alone < POOL_START:
            return 1
    return threads.count()


@dataclass(frozen=True)
class Machine:
    """What a schedule depends on beside shapes: dtype, threads, and what is forced."""

    dtype: np.dtype[Any]
    threads: int
    forced: Tuning = field(default_factory=tuning)

    @property
    def lanes(self) -> int:
        return TARGET.vector_bytes // self.dtype.itemsize

    @cached_property
    def longest_stretch(self) -> int:
        """KC: the largest power of two for which a panel of A stays within twice the first level cache."""
        return 1 << (2 * caches().l1 // (MR * self.dtype.itemsize)).bit_length() - 1

    def makespan(self, strands: int, cost: float) -> float:
        """Time of so many equal strands."""
        return -(-strands // self.threads) * cost

    def blocking(self, depth: int, columns: int) -> tuple[int, int]:
        """KC and NC of a product; k is cut into equal stretches, NC fills the budget for packed strips."""
        strip = 2 * self.lanes
        kc = self.forced.kc or max(1, -(-depth // -(-max(depth, 1) // self.longest_stretch)))
        budget = min(2 * caches().l2, MOST_STRIPS) // (kc * self.dtype.itemsize) // strip * strip
        nc = self.forced.nc or max(strip, budget)
        return kc, min(-(-nc // strip) * strip, -(-columns // strip) * strip)


# ---- products and their parts ----


@dataclass(frozen=True)
class Product:
    """One product of the chain: shape, form, operands, epilogue."""

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

    def part(self, machine: Machine, i0: int, i1: int, j0: int, j1: int) -> Operation:
        kc, nc = machine.blocking(self.depth, j1 - j0)
        strips, access = panel_size(kc), self.access(machine, i1 - i0, j1 - j0)
        if access == BY_ROWS and self.epilogue & SGD and self.depth > kc:  # it keeps no partial sums aside
            access = IN_PLACE
        return {
            "code": op.GEMM, "epilogue": self.epilogue, "resume": int(self.resume),
            "access": access, "a_in_place": int(self.a_in_place(machine, j1 - j0)),
            "a_transposed": int(self.a_transposed), "b_transposed": int(self.b_transposed),
            "row_begin": i0, "row_end": i1, "column_begin": j0, "column_end": j1, "depth": self.depth,
            "a_buffer": self.a[0], "a": self.a[1], "lda": self.a[2],
            "b_buffer": self.b[0], "b": self.b[1], "ldb": self.b[2],
            "c_buffer": self.c[0], "c": self.c[1], "ldc": self.c[2],
            "bias_buffer": self.bias[0], "bias": self.bias[1], "y_buffer": self.y[0], "y": self.y[1],
            "kc": kc, "nc": nc, "strips": strips, "partial": strips + strips_size(kc, nc),
        }  # fmt: skip

    def access(self, machine: Machine, rows: int, columns: int) -> int:
        """How B is read."""
        if self.b_transposed:
            return PACKED
        if machine.forced.access is not None:
            return machine.forced.access
        if rows <= FEW_ROWS and (columns > NARROW_ROWS * machine.lanes or not self.a_transposed):
            return BY_ROWS
        return PACKED if -(-rows // MR) * self._again(machine) > self._packing(machine) else IN_PLACE

    def a_in_place(self, machine: Machine, columns: int) -> bool:
        """Whether rows of A are read where they lie: where packing them would not pay, but not from one cache set."""
        if machine.forced.a_in_place is not None:
            return machine.forced.a_in_place
        return columns <= NARROW_STRIPS * 2 * machine.lanes and self.a[2] * machine.dtype.itemsize % PAGE != 0

    def _is_far(self, machine: Machine) -> bool:
        return self.columns * self.depth * machine.dtype.itemsize > caches().l2

    def _packing(self, machine: Machine) -> int:
        """Cost of packing a vector of B."""
        return (FAR if self._is_far(machine) else 0) + (TRANSPOSE if self.b_transposed else COPY)

    def _again(self, machine: Machine) -> float:
        """Cost of reading a vector of B in place, for each tile that does."""
        return AGAIN_FAR if self._is_far(machine) else AGAIN

    def cost(self, machine: Machine, rows: int, columns: int) -> float:
        """Vector multiply-adds of a part, packing included."""
        wide = -(-columns // machine.lanes)
        access = self.access(machine, rows, columns)
        if access == BY_ROWS:
            return OPERATION + rows * (TILE + 2.0 * self.depth * wide)  # one load each multiply-add
        high = -(-rows // MR)
        reading = high * self._again(machine) if access == IN_PLACE else self._packing(machine)
        extra = reading * wide * self.depth
        if not self.a_transposed and not self.a_in_place(machine, columns):
            extra += TRANSPOSE * rows * -(-self.depth // machine.lanes)
        return OPERATION + TILE * high * -(-wide // 2) + (rows + rows % 2) * wide * self.depth + extra

    def grid(self, machine: Machine, strands: int) -> tuple[float, int, int]:
        """The best number of row and column parts, with the time that they take on all threads."""
        forced = machine.forced
        strips = -(-self.columns // (2 * machine.lanes))
        best = (float("inf"), 1, 1)
        for row_parts in range(1, min(strands, -(-self.rows // 2)) + 1):
            for column_parts in range(1, min(strands // row_parts, strips) + 1):
                if forced.row_parts not in (None, row_parts) or forced.column_parts not in (None, column_parts):
                    continue
                rows = -(-self.rows // row_parts)
                columns = min(self.columns, -(-strips // column_parts) * 2 * machine.lanes)
                time = machine.makespan(row_parts * column_parts, self.cost(machine, rows, columns))
                best = min(best, (time, row_parts, column_parts))
        return best if best[0] < float("inf") else (self.cost(machine, self.rows, self.columns), 1, 1)

    def split(self, machine: Machine, row_parts: int, column_parts: int) -> list[Operation]:
        rows = bounds(self.rows, row_parts, 2)
        columns = bounds(self.columns, column_parts, 2 * machine.lanes)
        return [self.part(machine, *i, *j) for i in rows for j in columns]


def bounds(total: int, parts: int, unit: int) -> list[tuple[int, int]]:
    """Cut [0, total) into parts of nearly the same size, at multiples of `unit`; empty ones are left out."""
    units = -(-total // unit)
    cuts = [min(total, units * i // parts * unit) for i in range(parts)] + [total]
    return [(begin, end) for begin, end in itertools.pairwise(cuts) if begin < end] or [(0, total)]


@dataclass(frozen=True)
class RowWise:
    """An operation that takes any range of rows, such as the loss: `fields` beside the range."""

    rows: int
    fields: tuple[tuple[str, int], ...]
    row_cost: float

    def part(self, machine: Machine, i0: int, i1: int, j0: int, j1: int) -> Operation:
        return {**dict(self.fields), "row_begin": i0, "row_end": i1}

    columns = 0

    def cost(self, machine: Machine, rows: int, columns: int) -> float:
        return OPERATION + self.row_cost * rows

    def grid(self, machine: Machine, strands: int) -> tuple[float, int, int]:
        parts = machine.forced.row_parts or max(1, min(strands, self.rows // 16))
        return machine.makespan(parts, self.cost(machine, -(-self.rows // parts), 0)), parts, 1

    def split(self, machine: Machine, row_parts: int, column_parts: int) -> list[Operation]:
        return [self.part(machine, *rows, 0, 0) for rows in bounds(self.rows, row_parts, 1)]


Link = Product | RowWise


def chain(links: Sequence[Link], machine: Machine) -> tuple[float, list[list[Strand]]]:
    """Phases for operations that follow one another over the same rows, and the time they take.

    Neighbours are joined to slabs of rows where that saves more regions than it packs weights again: the cheapest
    way to cut the chain, found from its end.
    """
    if machine.threads == 1:
        time = sum(link.cost(machine, link.rows, link.columns) for link in links)
        if (machine.forced.row_parts or 1) == 1 and (machine.forced.column_parts or 1) == 1:
            return time, [[[link.part(machine, 0, link.rows, 0, link.columns) for link in links]]]
    strands = machine.threads
    best: list[tuple[float, list[list[Strand]]]] = [(0.0, [])]  # of the links behind
    for first in reversed(range(len(links))):
        options = []
        for end in range(first + 1, len(links) + 1):
            rest_time, rest = best[len(links) - end]
            group = links[first:end]
            if end == first + 1:
                time, row_parts, column_parts = group[0].grid(machine, strands)
                phase = [[operation] for operation in group[0].split(machine, row_parts, column_parts)]
                options.append((PHASE + time + rest_time, [phase, *rest]))
            elif machine.forced.slabs is not False:
                time, parts = slab_parts(group, machine, strands)
                slabs = bounds(group[0].rows, parts, 2)
                phase = [[link.part(machine, *rows, 0, link.columns) for link in group] for rows in slabs]
                options.append((PHASE + time + rest_time, [phase, *rest]))
        if machine.forced.slabs and first == 0:
            options = options[-1:]
        best.append(min(options, key=lambda option: option[0]))
    return best[-1]


def slab_parts(group: Sequence[Link], machine: Machine, strands: int) -> tuple[float, int]:
    rows = group[0].rows
    options = [machine.forced.row_parts] if machine.forced.row_parts else range(1, min(strands, -(-rows // 2)) + 1)
    return min(
        (machine.makespan(parts, sum(link.cost(machine, -(-rows // parts), link.columns) for link in group)), parts)
        for parts in options
    )


def side_by_side(products: Sequence[Product], machine: Machine) -> tuple[float, list[Strand]]:
    """Independent products in one phase, each cut by its share of the work; the longest strands first."""
    costs = [product.cost(machine, product.rows, product.columns) for product in products]
    if machine.threads == 1 and machine.forced.row_parts is None and machine.forced.column_parts is None:
        return sum(costs), [[p.part(machine, 0, p.rows, 0, p.columns) for p in products]]
    options = []
    for strands_a_thread in STRANDS_A_THREAD:
        strands: list[tuple[float, Strand]] = []
        for product, cost in zip(products, costs, strict=True):
            share = max(1, round(strands_a_thread * machine.threads * cost / sum(costs)))
            _, row_parts, column_parts = product.grid(machine, share)
            for part in product.split(machine, row_parts, column_parts):
                height, width = part["row_end"] - part["row_begin"], part["column_end"] - part["column_begin"]
                strands.append((product.cost(machine, height, width), [part]))
        strands.sort(key=lambda strand: -strand[0])
        options.append((finished([cost for cost, _ in strands], machine.threads), strands))
    time, strands = min(options, key=lambda option: option[0])
    return time + PHASE, [strand for _, strand in strands]


def finished(costs: Sequence[float], threads: int) -> float:
    """When all strands are done, each being begun, in this order, by the thread that is free first."""
    free = [0.0] * threads
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def workspace_need(phases: Sequence[Sequence[Strand]], least: int, dtype: np.dtype[Any]) -> int:
    """Elements of workspace that one strand needs at the most."""
    need = least
    for operation in itertools.chain.from_iterable(itertools.chain.from_iterable(phases)):
        if operation["code"] == op.GEMM:
            aside = operation["epilogue"] & SGD and operation["depth"] > operation["kc"]
            rows = operation["row_end"] - operation["row_begin"] if aside else 0
            need = max(need, operation["partial"] + rows * operation["nc"])
    return round_up(need, dtype)


def cheapest(write: Callable[[Machine], tuple[float, list[list[Strand]]]], dtype: np.dtype[Any], threads: int,
             least_workspace: int, repeated: bool = False) -> Program:  # fmt: skip
    """The parallel program where its estimate is lower than the serial one's; `write` gives time and phases.

    A program that is repeated many times in a call shares the cost of entering a parallel region among them.
    """
    numbers = {None: {1, threads}, True: {threads}, False: {1}}[tuning().parallel]
    options = [(*write(Machine(dtype, number)), number) for number in sorted(numbers)]
    entry = 0 if repeated else REGION
    _, phases, number = min(options, key=lambda it: it[0] if it[2] == 1 else WORTHWHILE * (it[0] + entry))
    phases = merged(phases)
    return Program.of(phases, workspace_need(phases, least_workspace, dtype), number)


def merged(phases: Sequence[list[Strand]]) -> list[list[Strand]]:
    """Phases of one strand each need no barrier between them."""
    result: list[list[Strand]] = []
    for phase in phases:
        if result and len(phase) == len(result[-1]) == 1:
            result[-1] = [result[-1][0] + phase[0]]
        else:
            result.append(phase)
    return result
