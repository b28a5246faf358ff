"""The layout of a graph's picture: columns of rows, without crossing arrows where possible.

Lengths are in inches, y grows downwards. A spot (column, variable) is a variable's row in one column: a level trunk
with room for labels. Between the trunks and the next column there is a zone in which lines bend to their next spots.
So nothing overlaps, by construction: rows keep their distance, and bends have a place of their own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .graph_labels import Label

Array = NDArray[Any]
Spot = tuple[int, int]
Links = dict[Spot, list[Spot]]
MARGIN, GAP, PAD = 0.14, 0.11, 0.09  # around the picture; between rows; beside labels
PASSING = Label("", [], [])  # the row of a long arrow in a column that it only passes through


class Columns(NamedTuple):
    """The x of each column: the left and right end of its circles, and where its arrows fork, behind all labels."""

    left: list[float]
    right: list[float]
    fork: list[float]


def links_of(operands: list[list[int]]) -> tuple[list[int], Links]:
    """Return the column that each variable starts in, and the arrows, each from a spot to one of the next column."""
    count = len(operands)
    users = [[u for u in range(count) for j in operands[u] if j == i] for i in range(count)]
    start = [0] * count
    for i, parts in enumerate(operands):
        start[i] = 1 + max(start[j] for j in parts) if parts else 0

    def begin(i: int) -> int:  # a given variable starts in the column before its first user
        return start[i] if operands[i] or not users[i] else min(start[u] for u in users[i]) - 1

    def length(i: int) -> int:  # of all arrows whose length depends on the operation's column
        return sum(max(start[u] for u in users[j]) - begin(j) for j in {i, *operands[i]})

    inner = [i for i in range(count) if operands[i] and users[i]]
    for some, side in ((inner[::-1], -1), (inner, 1)):  # at equal length as far right as possible, then left
        for i in some:
            first, last = 1 + max(start[j] for j in operands[i]), min(start[u] for u in users[i])
            costs = []
            for start[i] in range(first, last):
                costs.append((length(i), side * start[i], start[i]))
            start[i] = min(costs)[2]
    start = [begin(i) for i in range(count)]
    links: Links = {}
    for i in range(count):
        last = max((start[u] for u in users[i]), default=start[i] + 1)
        for c in range(start[i], last):
            passing = [(c + 1, i)] if c + 1 < last else []
            links[c, i] = passing + [(c + 1, u) for u in users[i] if start[u] == c + 1]
    return start, links


def rows_in_order(links: Links) -> list[list[Spot]]:
    """Return each column's spots from top to bottom: the order with the fewest crossings of 24 barycentre sweeps."""
    layers = [sorted(spot for spot in links if spot[0] == c) for c in range(1 + max(c for c, _ in links))]
    back = reverse(links)
    best, fewest = layers, _crossings(links, layers)
    for sweep in range(24):
        if not fewest:
            break
        layers = list(layers)
        neighbours, step = (back, 1) if sweep % 2 == 0 else (links, -1)
        for c in range(len(layers))[::step]:
            place = {spot: k for layer in layers for k, spot in enumerate(layer)}
            mean = {spot: np.mean([place[near] for near in neighbours[spot]] or place[spot]) for spot in layers[c]}
            layers[c] = sorted(layers[c], key=mean.__getitem__)
        crossings = _crossings(links, layers)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def reverse(links: Links) -> Links:
    """Return the same links from each target to its sources."""
    back: Links = {spot: [] for spot in links}
    for spot, targets in links.items():
        for target in targets:
            back[target].append(spot)
    return back


def _crossings(links: Links, layers: list[list[Spot]]) -> int:
    place = {spot: k for layer in layers for k, spot in enumerate(layer)}
    total = 0
    for layer in layers:
        ends = np.array([(place[spot], place[target]) for spot in layer for target in links[spot]]).reshape(-1, 2)
        apart = ends[:, None] - ends
        total += int(np.sum(apart[..., 0] * apart[..., 1] < 0)) // 2
    return total


def heights_of(rows: dict[Spot, Label], links: Links, layers: list[list[Spot]]) -> dict[Spot, float]:
    """Return the y of each row: near the mean of its neighbours, by sweeps; rows keep their order and distance."""
    back = reverse(links)
    gaps = [[rows[a].down + GAP + rows[b].up for a, b in pairwise(layer)] for layer in layers]
    y = dict.fromkeys(rows, 0.0)

    def stiffness(a: Spot, b: Spot) -> float:  # keeps long arrows and chains straight
        passing = (rows[a] is PASSING) + (rows[b] is PASSING)
        return 25.0 if passing == 2 or len(links[a]) == len(back[b]) == 1 else 1.0 + passing

    pulls = {}
    for spot in rows:
        pulls[spot] = [(a, stiffness(a, spot)) for a in back[spot]] + [(b, stiffness(spot, b)) for b in links[spot]]
    for sweep in range(100):
        for c in range(len(layers))[:: 1 if sweep % 2 else -1]:
            weights = np.array([sum(pull for _, pull in pulls[spot]) or 1.0 for spot in layers[c]])
            sums = np.array([sum(pull * y[near] for near, pull in pulls[spot]) for spot in layers[c]])
            y.update(zip(layers[c], _nearest(sums / weights, weights, gaps[c]), strict=True))
    top = min(y[spot] - row.up for spot, row in rows.items()) - MARGIN
    return {spot: height - top for spot, height in y.items()}


def _nearest(wanted: Array, weights: Array, apart: list[float]) -> list[float]:
    """Fit the heights wanted by least squares, each at least `apart` below the one before, by pooling collisions."""
    offset = np.concatenate([[0.0], np.cumsum(apart)])
    pools: list[tuple[float, float, int]] = []  # mean height, weight, rows
    for height, weight in zip(wanted - offset, weights, strict=True):
        count = 1
        while pools and pools[-1][0] >= height:
            mean, more, rows = pools.pop()
            height, weight, count = (mean * more + height * weight) / (more + weight), more + weight, count + rows
        pools.append((height, weight, count))
    return list(np.repeat([height for height, _, _ in pools], [count for _, _, count in pools]) + offset)


def columns_of(rows: dict[Spot, Label], links: Links, layers: list[list[Spot]], y: dict[Spot, float]) -> Columns:
    """Return the x of each column; steeper arrows get more room to bend."""
    columns, x = Columns([], [], []), MARGIN
    for layer in layers:
        columns.left.append(x)
        columns.right.append(x + 2 * max(rows[spot].radius for spot in layer))
        width = max(rows[spot].width for spot in layer if rows[spot] is not PASSING)
        columns.fork.append(columns.right[-1] + width + 2 * PAD)
        climb = max((abs(y[spot] - y[target]) for spot in layer for target in links[spot]), default=0.0)
        x = columns.fork[-1] + min(0.28 + 0.2 * climb, 0.9)
    return columns
