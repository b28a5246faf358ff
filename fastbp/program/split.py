"""Which thread computes what: from operations that follow one another to phases of strands.

A chain of products over the same rows may be cut product by product, or go slab by slab, each thread taking some rows
through all layers in one phase. No cut changes a bit. Which is best follows from `CostModel`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels import operations as op
from .cost_model import PHASE, REGION, CostModel
from .memory import round_up
from .products import Link, Product, bounds
from .table import Program, Strand
from .tuning import tuning

# More threads only where they promise this gain: 64-100-10 would go from 31 us to 23 at best, and to 61 where the
# machine's cores are far apart or busy, for its arrays change cores at each phase.
WORTHWHILE = 1.5
STRANDS_A_THREAD = (1, 2, 4)  # into how many parts a thread the weight gradients are cut, as is best


def chain(links: Sequence[Link], model: CostModel) -> tuple[float, list[list[Strand]]]:
    """Return the time and the phases of operations that follow one another over the same rows.

    Neighbours are joined to slabs of rows where that saves more regions than it packs weights again: the cheapest
    way to cut the chain, found from its end.
    """
    if model.threads == 1:
        time = sum(link.cost(model, link.rows, link.columns) for link in links)
        if (model.forced.row_parts or 1) == 1 and (model.forced.column_parts or 1) == 1:
            return time, [[[link.part(model, 0, link.rows, 0, link.columns) for link in links]]]
    strands = model.threads
    best: list[tuple[float, list[list[Strand]]]] = [(0.0, [])]  # of the links behind
    for first in reversed(range(len(links))):
        options = []
        for end in range(first + 1, len(links) + 1):
            rest_time, rest = best[len(links) - end]
            group = links[first:end]
            if end == first + 1:
                time, row_parts, column_parts = group[0].grid(model, strands)
                phase = [[operation] for operation in group[0].split(model, row_parts, column_parts)]
                options.append((PHASE + time + rest_time, [phase, *rest]))
            elif model.forced.slabs is not False:
                time, parts = slab_parts(group, model, strands)
                slabs = bounds(group[0].rows, parts, 2)
                phase = [[link.part(model, *rows, 0, link.columns) for link in group] for rows in slabs]
                options.append((PHASE + time + rest_time, [phase, *rest]))
        if model.forced.slabs and first == 0:
            options = options[-1:]
        best.append(min(options, key=lambda option: option[0]))
    return best[-1]


def slab_parts(group: Sequence[Link], model: CostModel, strands: int) -> tuple[float, int]:
    rows = group[0].rows
    options = [model.forced.row_parts] if model.forced.row_parts else range(1, min(strands, -(-rows // 2)) + 1)
    return min(
        (model.makespan(parts, sum(link.cost(model, -(-rows // parts), link.columns) for link in group)), parts)
        for parts in options
    )


def side_by_side(products: Sequence[Product], model: CostModel) -> tuple[float, list[Strand]]:
    """Put independent products in one phase, each cut by its share of the work; the longest strands come first."""
    costs = [product.cost(model, product.rows, product.columns) for product in products]
    if model.threads == 1 and model.forced.row_parts is None and model.forced.column_parts is None:
        return sum(costs), [[p.part(model, 0, p.rows, 0, p.columns) for p in products]]
    options = []
    for strands_a_thread in STRANDS_A_THREAD:
        strands: list[tuple[float, Strand]] = []
        for product, cost in zip(products, costs, strict=True):
            share = max(1, round(strands_a_thread * model.threads * cost / sum(costs)))
            _, row_parts, column_parts = product.grid(model, share)
            for part in product.split(model, row_parts, column_parts):
                height, width = part["row_end"] - part["row_begin"], part["column_end"] - part["column_begin"]
                strands.append((product.cost(model, height, width), [part]))
        strands.sort(key=lambda strand: -strand[0])
        options.append((finished([cost for cost, _ in strands], model.threads), strands))
    time, strands = min(options, key=lambda option: option[0])
    return time + PHASE, [strand for _, strand in strands]


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
    """Return the parallel program where its estimate is lower than the serial one's; `write` gives time and phases.

    A program that is repeated many times in a call shares the cost of entering a parallel region among them.
    """
    numbers = {None: {1, threads}, True: {threads}, False: {1}}[tuning().parallel]
    options = [(*write(CostModel(dtype, number)), number) for number in sorted(numbers)]
    entry = 0 if repeated else REGION
    _, phases, number = min(options, key=lambda it: it[0] if it[2] == 1 else WORTHWHILE * (it[0] + entry))
    phases = merged(phases)
    return Program.of(phases, workspace_need(phases, least_workspace, dtype), number)


def merged(phases: Sequence[list[Strand]]) -> list[list[Strand]]:
    """Join phases of one strand each, which need no barrier between them."""
    result: list[list[Strand]] = []
    for phase in phases:
        if result and len(phase) == len(result[-1]) == 1:
            result[-1] = [result[-1][0] + phase[0]]
        else:
            result.append(phase)
    return result
