"""Pictures of computation graphs: `plot_graph`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from matplotlib.patches import Circle, PathPatch, Polygon
from matplotlib.path import Path

from ..graph import Variable, ordered
from .graph_labels import PITCH, PLAIN, Label, caption_of, labels_of, length_of, write
from .graph_layout import (
    MARGIN,
    PASSING,
    Columns,
    Links,
    Spot,
    columns_of,
    heights_of,
    links_of,
    reverse,
    rows_in_order,
)
from .picture import INK, LINE, STYLE, PathLike, Picture, check_path, saved

HEAD = 0.09  # length of an arrow head


@STYLE
def plot_graph(result: Variable, path: PathLike | None = None) -> Picture:
    """Draw the graph of a result: operations are circles, variables are arrows with their value and derivative.

    Above an arrow stand the variable's name and its value, for an array its shape and norm (the root of the sum of
    squares). Below it stands its derivative, once `result.backward` was called; for a number that is used two or three
    times, as the sum of the terms that come back to it.

    Parameters
    ----------
    result : Variable
    path : str or path-like, optional
        Where to save the picture: .svg, .png or .pdf.

    Returns
    -------
    Picture

    Raises
    ------
    TypeError
        `result` is not a Variable.
    ValueError
        The ending of `path` is not one of those above; the graph was freed or has a cycle.

    Examples
    --------
    >>> from fastbp.graph import Variable
    >>> price, number = Variable(20.0, "price"), Variable(2.0, "number")
    >>> paid = (price * number).named("paid")
    >>> paid.backward()
    >>> [text.get_text() for text in plot_graph(paid).axes[0].texts][:6]
    ['price', '20', '← 2', 'number', '2', '← 20']
    """
    check_path(path)
    if not isinstance(result, Variable):
        raise TypeError(f"result: got {type(result).__name__}, expected a fastbp.graph.Variable")
    order = ordered(result)
    labels = labels_of(result, order)
    number = {id(variable): i for i, variable in enumerate(order)}
    start, links = links_of([[number[id(operand)] for operand in variable.operands] for variable in order])
    rows = {spot: labels[spot[1]] if spot[0] == start[spot[1]] else PASSING for spot in links}
    layers = rows_in_order(links)
    y = heights_of(rows, links, layers)
    columns = columns_of(rows, links, layers, y)
    end = columns.fork[-1] + HEAD + MARGIN
    caption = caption_of(result, arrays=any(variable.shape for variable in order))
    spare = max(0.0, 2 * MARGIN + length_of(caption) - end) / 2
    x_limits = -spare, end + spare
    foot = max(y[spot] + row.down for spot, row in rows.items()) + PITCH + MARGIN
    size = x_limits[1] - x_limits[0], foot + MARGIN
    picture = Picture(size, facecolor="white")
    axes = picture.add_axes((0, 0, 1, 1), xlim=x_limits, ylim=(size[1], 0))
    axes.set_axis_off()
    for (c, i), row in rows.items():
        middle, level = (columns.right[c] + columns.fork[c]) / 2, y[c, i]
        for k, line in enumerate(row.above):
            write(axes, middle, level - 0.08 - (len(row.above) - 1 - k) * PITCH, line)
        for k, line in enumerate(row.below):
            write(axes, middle, level + (k + 0.9) * PITCH, line)
        if row.symbol:
            centre = (columns.left[c] + columns.right[c]) / 2, level
            axes.add_artist(Circle(centre, row.radius, facecolor="#F4F4F4", edgecolor=LINE, zorder=3))
            font: dict[str, Any] = {"color": INK, "fontproperties": PLAIN, "linespacing": 1.05}
            axes.text(*centre, row.symbol.replace(" ", "\n"), ha="center", va="center", zorder=4, **font)
    for lines, tips in _arrows(rows, links, y, columns):
        axes.add_artist(PathPatch(lines, facecolor="none", edgecolor=LINE, linewidth=1.1, zorder=2))
        for x_tip, y_tip in tips:
            corners = [(x_tip, y_tip), (x_tip - HEAD, y_tip - 0.4 * HEAD), (x_tip - HEAD, y_tip + 0.4 * HEAD)]
            axes.add_artist(Polygon(corners, facecolor=LINE, linewidth=0, zorder=4))
    x = (x_limits[0] + x_limits[1] - length_of(caption)) / 2
    for line in caption:
        write(axes, x, foot, line, "left")
        x += length_of([line])
    return saved(picture, path)


def _arrows(
    rows: dict[Spot, Label], links: Links, y: dict[Spot, float], columns: Columns
) -> Iterator[tuple[Path, list[tuple[float, float]]]]:
    """Give the lines from each spot to the next column, and the tips of their arrow heads."""
    left, right, fork = columns
    ports = defaultdict(list)
    for target, sources in reverse(links).items():
        centre, radius = (left[target[0]] + right[target[0]]) / 2, rows[target].radius
        for k, source in enumerate(sorted(sources, key=y.__getitem__)):
            angle = (2 * (k + 0.5) / len(sources) - 1) * min(1.2, 0.4 * len(sources))
            ports[source, target].append((centre - radius * math.cos(angle), y[target] + radius * math.sin(angle)))
    for (c, i), targets in links.items():
        row, level = rows[c, i], y[c, i]
        begin = left[c] if row is PASSING else (left[c] + right[c]) / 2 + row.radius if row.symbol else right[c]
        bends, tips = [], []
        for target in dict.fromkeys(targets):
            ahead, passing = left[c + 1], rows[target] is PASSING
            for x_end, y_end in [(ahead, y[target])] if passing else ports[(c, i), target]:
                half = (fork[c] + ahead) / 2
                bends += [(fork[c], level), (half, level), (half, y_end), (ahead, y_end), (x_end, y_end)]
                tips += [] if passing else [(x_end, y_end)]
        if not targets:
            tips = [(fork[c] + HEAD, level)]
        codes = [Path.MOVETO, Path.LINETO] + [Path.MOVETO, *3 * [Path.CURVE4], Path.LINETO] * (len(bends) // 5)
        yield Path([(begin, level), (fork[c], level), *bends], codes), tips
