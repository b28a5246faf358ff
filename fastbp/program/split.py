"""Which thread computes what: from operations that follow one another to phases of strands.

A chain of products over the same rows may be cut product by product, or go slab by slab, each thread taking some rows
through all layers in one phase. No cut changes a bit. Which is best follows from `CostModel`.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels import operations as op
from .cost_model import CostModel
from .memory import round_up
from .products import Link, Product, bounds
from .table import Program, Strand
from .tuning import tuning

DOUBLED = 0.85  # twice as many threads must bring the time down to this share of it, since others have a use for them
WORSE = 1.15  # fewer threads are not tried where the last estimate was so much above the best
AT_LEAST = 0.9  # no estimate is below this share of the serial time over the number of threads
STRANDS_A_THREAD = (1, 2, 4)  # into how many parts a thread the weight gradients are cut, as is best


def chain(links: Sequence[Link], model: CostModel) -> tuple[float, list[list[Strand]]]:
    """Return the time and the phases of operations that follow one another over the same rows.

    Neighbours are joined to slabs of rows where that saves more phases than it packs weights again: the cheapest way to
    cut the chain, found from its end.
    """
    if model.threads == 1:
        time = sum(link.cost(model, link.rows, link.columns) for link in links)
        if (model.forced.row_parts or 1) == 1 and (model.forced.column_parts or 1) == 1:
            return time, [[[link.part(model, 0, link.rows, 0, link.columns) for link in links]]]
    heights = slab_heights(links[0].rows, model)
    slab_costs = [[link.part_cost(model, height, link.columns, begins=False) for height in heights] for link in links]
    best: list[tuple[float, list[Cut]]] = [(0.0, [])]  # of the links behind
    for first in reversed(range(len(links))):
        options = []
        slabs = [links[first].part_cost(model, height, links[first].columns) for height in heights]
        for end in range(first + 1, len(links) + 1):
            rest_time, rest = best[len(links) - end]
            if end == first + 1:
                time, row_parts, column_parts = links[first].grid(model, model.threads)
            elif model.forced.slabs is False:
                break
            else:
                slabs = [cost + more for cost, more in zip(slabs, slab_costs[end - 1], strict=True)]
                times = [model.makespan(parts, cost) for parts, cost in zip(heights.values(), slabs, strict=True)]
                time, row_parts, column_parts = *min(zip(times, heights.values(), strict=True)), 0
            options.append((model.phase + time + rest_time, [Cut(first, end, row_parts, column_parts), *rest]))
        if model.forced.slabs and first == 0:
            options = options[-1:]
        best.append(min(options, key=lambda option: option[0]))
    time, cuts = best[-1]
    return time, [cut.phase(links, model) for cut in cuts]


class Cut(NamedTuple):
    """A phase of a chain: links [begin, end), one cut by rows and columns, or several joined to slabs of rows."""

    begin: int
    end: int
    row_parts: int
    column_parts: int

    def phase(self, links: Sequence[Link], model: CostModel) -> list[Strand]:
        group = links[self.begin : self.end]
        if len(group) == 1:
            return [[operation] for operation in group[0].split(model, self.row_parts, self.column_parts)]
        slabs = bounds(group[0].rows, self.row_parts, 2)
        return [[link.part(model, *rows, 0, link.columns) for link in group] for rows in slabs]


def slab_heights(rows: int, model: CostModel) -> dict[int, int]:
    """Return the heights that slabs of rows may have, each with the least number of slabs that has it."""
    forced = model.forced.row_parts
    parts = [forced] if forced else range(1, min(model.threads, -(-rows // 2)) + 1)
    return {-(-rows // number): number for number in reversed(parts)}


def side_by_side(products: Sequence[Product], model: CostModel) -> tuple[float, list[Strand]]:
    """Put independent products in one phase, each cut by its share of the work; the longest strands come first."""
    if not products:
        return 0.0, [[]]
    costs = [product.cost(model, product.rows, product.columns) for product in products]
    if model.threads == 1 and model.forced.row_parts is None and model.forced.column_parts is None:
        return sum(costs), [[p.part(model, 0, p.rows, 0, p.columns) for p in products]]
    options = []
    for strands_a_thread in STRANDS_A_THREAD:
        blocks: list[tuple[float, Product, tuple[int, int, int, int]]] = []
        for product, cost in zip(products, costs, strict=True):
            share = max(1, round(strands_a_thread * model.threads * cost / sum(costs)))
            _, row_parts, column_parts = product.grid(model, share)
            for i0, i1, j0, j1 in product.blocks(model, row_parts, column_parts):
                blocks.append((product.part_cost(model, i1 - i0, j1 - j0), product, (i0, i1, j0, j1)))
        blocks.sort(key=lambda block: -block[0])
        options.append((finished([cost for cost, *_ in blocks], model.threads), blocks))
    time, blocks = min(options, key=lambda option: option[0])
    return time + model.phase, [[product.part(model, *block)] for _, product, block in blocks]


def finished(costs: Sequence[float], threads: int) -> float:
    """Return when all strands are done, if each is begun, in this order, by the thread that is free first."""
    free = [0.0] * threads
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def workspace_need(phases: Sequence[Sequence[Strand]], least: int, dtype: np.dtype[Any]) -> int:
    """Return the elements of workspace that one strand needs at most."""
    need = least
    for operation in itertools.chain.from_iterable(itertools.chain.from_iterable(phases)):
        if operation["code"] in (op.GEMM, op.GEMM_BY_ROWS):
            aside = operation["epilogue"] & op.SGD and operation["depth"] > operation["kc"]
            rows = operation["row_end"] - operation["row_begin"] if aside else 0
            need = max(need, operation["partial"] + rows * operation["nc"])
    return round_up(need, dtype)


def cheapest(write: Callable[[CostModel], tuple[float, list[list[Strand]]]], dtype: np.dtype[Any], threads: int,
             least_workspace: int, repeated: bool = False) -> Program:  # fmt: skip
    """Return the program for as many of the threads as pay; `write` gives time and phases for a number of them.

    A program that is repeated many times in a call is a step of training: the cost of the call is shared, and weights
    change.
    """
    numbers = {None: team_sizes(threads), True: [threads], False: [1]}[tuning().parallel]
    best, phases, team, serial = math.inf, [], 1, 0.0
    for number in numbers:
        if AT_LEAST * weighed(serial / number, number) >= best:  # and all that are fewer
            break
        model = CostModel(dtype, number, repeated)
        time, written = write(model)
        serial = serial or time
        value = weighed(time + model.overhead(len(written), repeated), number)
        if value < best:
            best, phases, team = value, written, number
        elif number < team and value > WORSE * best:
            break
    phases = merged(phases)
    return Program.of(phases, workspace_need(phases, least_workspace, dtype), team)


def team_sizes(threads: int) -> list[int]:
    """Return the numbers of threads to choose from: one, then all, then 2, 3, 4, 6, 8, 12, ... of them, most first."""
    fewer = (base << power for power in range(threads.bit_length()) for base in (2, 3))
    return list(dict.fromkeys([1, threads, *sorted((number for number in fewer if number < threads), reverse=True)]))


def weighed(time: float, threads: int) -> float:
    """Return the estimate that decides: with each doubling of the threads, the time must fall to `DOUBLED` of it."""
    return float(time * DOUBLED ** -math.log2(threads))


def merged(phases: Sequence[list[Strand]]) -> list[list[Strand]]:
    """Join phases of one strand each, which need no barrier between them."""
    result: list[list[Strand]] = []
    for phase in phases:
        if result and len(phase) == len(result[-1]) == 1:
            result[-1] = [result[-1][0] + phase[0]]
        else:
            result.append(phase)
    return result
