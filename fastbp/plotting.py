"""Pictures, by way of matplotlib (the extra `plot`): graphs with both passes, histories, decision regions, descents.

Every function returns a `Picture`, which shows itself in a notebook and goes to a file with `savefig`. Neither pyplot
nor a backend is touched, and a user's style sheet does not reach in: the same picture everywhere.
"""

from __future__ import annotations

import errno
import io
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    from matplotlib import colors, style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import Circle, PathPatch, Polygon
    from matplotlib.path import Path
    from matplotlib.textpath import text_to_path
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "matplotlib":
        raise
    what = "fastbp.plotting: needs matplotlib: pip install 'fastbp[plot]'"
    raise ModuleNotFoundError(what, name="matplotlib") from None

from . import validation
from .graph import Variable, derivative, ordered, summary
from .inputs.in_memory import rows_of
from .kernels.losses import LOSSES
from .network import MLP
from .training.history import History

Array = NDArray[Any]
Drawn = TypeVar("Drawn", bound=Figure)
PathLike = str | os.PathLike[str]
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}

# The palette of Okabe and Ito, told apart by the colour-blind too.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
CLASS_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, "#56B4E9", "#CC79A7", "#F0E442", "#666666")
CLASS_MARKERS = "os^DvPX*"
INK, LINE = "#222222", "#555555"
STYLE = style.context(["default", {
    "font.size": 10, "axes.edgecolor": LINE, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "lines.markersize": 5, "lines.linewidth": 1.8,
    "figure.constrained_layout.w_pad": 0.08, "figure.constrained_layout.h_pad": 0.06,
    "svg.hashsalt": "fastbp", "svg.fonttype": "path",
}])  # fmt: skip


class Picture(Figure):
    """A figure that shows itself in a notebook and is saved as the same bytes each time."""

    @STYLE
    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as `matplotlib.figure.Figure.savefig`, without the date, PNG files with 144 dots an inch."""
        ending = os.path.splitext(fname)[1] if isinstance(fname, (str, os.PathLike)) else ""
        kind = str(options.get("format") or ending.lstrip(".") or "png").lower()
        super().savefig(fname, **{"dpi": 144, "format": kind, "metadata": METADATA.get(kind), **options})

    def _bytes(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format=kind)
        return buffer.getvalue()

    def _repr_svg_(self) -> str:
        return self._bytes("svg").decode()

    def _repr_png_(self) -> bytes:
        return self._bytes("png")


def check_path(path: PathLike | None) -> None:
    """Refuse, before any work is done, a path that no picture can be saved to.

    Raises
    ------
    ValueError
        Its ending is none of .svg, .png, .pdf.
    TypeError
        It is no path. None is: there is nothing to save.
    FileNotFoundError
        Its folder does not exist.

    Examples
    --------
    >>> check_path("graph.gif")
    Traceback (most recent call last):
    ValueError: path: got 'graph.gif', expected a file name that ends in .svg, .png or .pdf
    """
    if path is None:
        return
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"path: got {type(path).__name__}, expected str or os.PathLike of str")
    if os.path.splitext(name)[1].lower().lstrip(".") not in METADATA:
        raise ValueError(f"path: got {name!r}, expected a file name that ends in .svg, .png or .pdf")
    if not os.path.isdir(os.path.dirname(name) or "."):
        raise FileNotFoundError(errno.ENOENT, "path: its folder does not exist", name)


def _saved(picture: Drawn, path: PathLike | None) -> Drawn:
    if path is not None:
        picture.savefig(path)
    return picture


# ---- graphs ----
#
# Lengths are in inches, y grows downwards. A spot (column, variable) is a variable's row in one column: a level trunk
# with room for labels. Between the trunks and the next column there is a zone in which lines bend to their next spots.
# So nothing overlaps, by construction: rows keep their distance, and bends have a place of their own.

Spot = tuple[int, int]
Links = dict[Spot, list[Spot]]
Line = tuple[str, str]  # a kind of text, and the text
SIZE = 9.5  # of the letters, in points
PITCH = 1.3 * SIZE / 72  # from one line of text to the next
MARGIN, GAP, PAD, RADIUS, HEAD = 0.14, 0.11, 0.09, 0.15, 0.09
PLAIN, BOLD = (FontProperties(family="DejaVu Sans", size=SIZE, weight=weight) for weight in ("normal", "bold"))
TEXT = {"name": (INK, BOLD), "note": (INK, PLAIN), "value": (BLUE, PLAIN), "derivative": (VERMILLION, PLAIN)}


@dataclass(frozen=True)
class _Item:
    """What a variable puts into the picture, and the room it takes."""

    symbol: str
    above: list[Line]
    below: list[Line]

    @cached_property
    def radius(self) -> float:
        lines = self.symbol.split()
        across = max((_width("note", line) for line in lines), default=0.0)
        return max(RADIUS, math.hypot(across, len(lines) * PITCH) / 2 + 0.02) if lines else 0.0

    @cached_property
    def up(self) -> float:
        return max(self.radius, len(self.above) * PITCH + 0.06)

    @cached_property
    def down(self) -> float:
        return max(self.radius, len(self.below) * PITCH + 0.04)

    @cached_property
    def width(self) -> float:
        return max(_width(*line) for line in self.above + self.below)


PASSING = _Item("", [], [])  # a long arrow in the columns that it only passes through


@STYLE
def plot_graph(result: Variable, path: PathLike | None = None) -> Picture:
    """Draw the graph of a result: operations are circles, variables are arrows with their value and derivative.

    Above an arrow stand the variable's name and its value, an array's as shape and norm (the root of the sum of
    squares); below it, once `result.backward` was called, its derivative. A number that is used two or three times
    shows the sum of what comes back to it.

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
        `result` is no Variable.
    ValueError
        The ending of `path`; a graph that was freed or has a cycle.

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
    items = _items(result, order)
    number = {id(variable): i for i, variable in enumerate(order)}
    start, links = _links([[number[id(operand)] for operand in variable.operands] for variable in order])
    rows = {spot: items[spot[1]] if spot[0] == start[spot[1]] else PASSING for spot in links}
    layers = _rows_in_order(links)
    y = _heights(rows, links, layers)
    left, right, fork = _columns(rows, links, layers, y)

    caption = _caption(result, arrays=any(variable.shape for variable in order))
    spare = max(0.0, 2 * MARGIN + _length(caption) - (fork[-1] + HEAD + MARGIN)) / 2
    x_limits = -spare, fork[-1] + HEAD + MARGIN + spare
    foot = max(y[spot] + row.down for spot, row in rows.items()) + PITCH + MARGIN
    size = x_limits[1] - x_limits[0], foot + MARGIN
    picture = Picture(size, facecolor="white")
    axes = picture.add_axes((0, 0, 1, 1), xlim=x_limits, ylim=(size[1], 0))
    axes.set_axis_off()
    for (c, i), row in rows.items():
        middle, level = (right[c] + fork[c]) / 2, y[c, i]
        for k, line in enumerate(row.above):
            _write(axes, middle, level - 0.08 - (len(row.above) - 1 - k) * PITCH, line)
        for k, line in enumerate(row.below):
            _write(axes, middle, level + (k + 0.9) * PITCH, line)
        if row.symbol:
            centre = (left[c] + right[c]) / 2, level
            axes.add_artist(Circle(centre, row.radius, facecolor="#F4F4F4", edgecolor=LINE, zorder=3))
            axes.text(*centre, row.symbol.replace(" ", "\n"), color=INK, fontproperties=PLAIN, linespacing=1.05,
                      ha="center", va="center", zorder=4)  # fmt: skip
    for lines, tips in _arrows(rows, links, y, left, right, fork):
        axes.add_artist(PathPatch(lines, facecolor="none", edgecolor=LINE, linewidth=1.1, zorder=2))
        for x_tip, y_tip in tips:
            corners = [(x_tip, y_tip), (x_tip - HEAD, y_tip - 0.4 * HEAD), (x_tip - HEAD, y_tip + 0.4 * HEAD)]
            axes.add_artist(Polygon(corners, facecolor=LINE, linewidth=0, zorder=4))
    x = (x_limits[0] + x_limits[1] - _length(caption)) / 2
    for line in caption:
        _write(axes, x, foot, line, "left")
        x += _length([line])
    return _saved(picture, path)


def _items(result: Variable, order: list[Variable]) -> list[_Item]:
    sent = defaultdict(list)
    for variable in order:
        for operand, gradient in zip(variable.operands, variable.operand_gradients, strict=False):
            sent[id(operand)].append(gradient)
    items = []
    for variable in order:
        name = _short(variable.name)
        names = [("name", name)] if name else []
        values = [("value", part) for part in summary(variable.value).rpartition(" ")[::2] if part]
        below = _derivative(variable, sent[id(variable)]) if derivative(result, variable) is not None else []
        items.append(_Item(variable.operation, names + values, [("derivative", text) for text in below]))
    return items


def _derivative(variable: Variable, sent: list[Any]) -> list[str]:
    """The derivative, a number's as the sum of what was sent back to it; an array's norm alone, its shape is known."""
    total = summary(variable.grad).rpartition(" ")[2]
    if variable.shape or not 2 <= len(sent) <= 3:
        return [f"← {total}"]
    terms = "← " + " + ".join(f"{float(gradient):.4g}" for gradient in sent).replace("+ -", "- ")
    return [f"{terms} = {total}"] if len(terms + total) <= 16 else [terms, f"= {total}"]


def _caption(result: Variable, arrays: bool) -> list[Line]:
    lines = [("note", "above:"), ("value", "value (array: shape, ‖norm‖)" if arrays else "value")]
    below = [("note", "   below:"), ("derivative", f"← derivative of {_short(result.name) or 'the result'}")]
    return lines if derivative(result, result) is None else lines + below


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= 20 else line[:19].rstrip() + "…"


def _write(axes: Axes, x: float, y: float, line: Line, align: str = "center") -> None:
    colour, font = TEXT[line[0]]
    axes.text(x, y, line[1], color=colour, fontproperties=font, ha=align, va="baseline", parse_math=False)


def _width(kind: str, text: str) -> float:
    return float(text_to_path.get_text_width_height_descent(text, TEXT[kind][1], False)[0]) / 72


def _length(lines: list[Line]) -> float:
    return sum(_width(*line) + 0.06 for line in lines)


def _links(operands: list[list[int]]) -> tuple[list[int], Links]:
    """The column that each variable starts in, and the way of all arrows: from spot to spot of the next column."""
    count = len(operands)
    users = [[u for u in range(count) for j in operands[u] if j == i] for i in range(count)]
    start = [0] * count
    for i, parts in enumerate(operands):
        start[i] = 1 + max(start[j] for j in parts) if parts else 0

    def begin(i: int) -> int:  # what is given starts where it is needed
        return start[i] if operands[i] or not users[i] else min(start[u] for u in users[i]) - 1

    def length(i: int) -> int:  # of all arrows that the column of an operation matters to
        return sum(max(start[u] for u in users[j]) - begin(j) for j in {i, *operands[i]})

    inner = [i for i in range(count) if operands[i] and users[i]]
    for some, side in ((inner[::-1], -1), (inner, 1)):  # all to the right where it costs nothing, then to the left
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


def _rows_in_order(links: Links) -> list[list[Spot]]:
    """Each column's spots from top to bottom: sweeps by the mean place of the neighbours, the best of them."""
    layers = [sorted(spot for spot in links if spot[0] == c) for c in range(1 + max(c for c, _ in links))]
    back = _reversed(links)
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


def _reversed(links: Links) -> Links:
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


def _heights(rows: dict[Spot, _Item], links: Links, layers: list[list[Spot]]) -> dict[Spot, float]:
    """Where each row is: near its neighbours' mean, in sweeps to and fro; rows keep their order and their distance."""
    back = _reversed(links)
    gaps = [[rows[a].down + GAP + rows[b].up for a, b in pairwise(layer)] for layer in layers]
    y = dict.fromkeys(rows, 0.0)

    def stiffness(a: Spot, b: Spot) -> float:  # long arrows and chains are to be straight
        passing = (rows[a] is PASSING) + (rows[b] is PASSING)
        return 25.0 if passing == 2 or len(links[a]) == len(back[b]) == 1 else 1.0 + passing

    pulls = {spot: [(a, stiffness(a, spot)) for a in back[spot]] + [(b, stiffness(spot, b)) for b in links[spot]]
             for spot in rows}  # fmt: skip
    for sweep in range(100):
        for c in range(len(layers))[:: 1 if sweep % 2 else -1]:
            weights = np.array([sum(pull for _, pull in pulls[spot]) or 1.0 for spot in layers[c]])
            sums = np.array([sum(pull * y[near] for near, pull in pulls[spot]) for spot in layers[c]])
            y.update(zip(layers[c], _nearest(sums / weights, weights, gaps[c]), strict=True))
    top = min(y[spot] - row.up for spot, row in rows.items()) - MARGIN
    return {spot: height - top for spot, height in y.items()}


def _nearest(wanted: Array, weights: Array, apart: list[float]) -> list[float]:
    """Least squares to the heights wanted, each so far below the one before at least: those that collide are pooled."""
    offset = np.concatenate([[0.0], np.cumsum(apart)])
    pools: list[tuple[float, float, int]] = []  # mean height, weight, rows
    for height, weight in zip(wanted - offset, weights, strict=True):
        count = 1
        while pools and pools[-1][0] >= height:
            mean, more, rows = pools.pop()
            height, weight, count = (mean * more + height * weight) / (more + weight), more + weight, count + rows
        pools.append((height, weight, count))
    return list(np.repeat([height for height, _, _ in pools], [count for _, _, count in pools]) + offset)


def _columns(rows: dict[Spot, _Item], links: Links, layers: list[list[Spot]],
             y: dict[Spot, float]) -> tuple[list[float], list[float], list[float]]:  # fmt: skip
    """Of each column the left and the right end of its circles, and where its arrows fork, behind all labels."""
    left, right, fork, x = [], [], [], MARGIN
    for layer in layers:
        left.append(x)
        right.append(x + 2 * max(rows[spot].radius for spot in layer))
        fork.append(right[-1] + max(rows[spot].width for spot in layer if rows[spot] is not PASSING) + 2 * PAD)
        climb = max((abs(y[spot] - y[target]) for spot in layer for target in links[spot]), default=0.0)
        x = fork[-1] + min(0.28 + 0.2 * climb, 0.9)
    return left, right, fork


def _arrows(rows: dict[Spot, _Item], links: Links, y: dict[Spot, float], left: list[float], right: list[float],
            fork: list[float]) -> Iterator[tuple[Path, list[tuple[float, float]]]]:  # fmt: skip
    """The lines from each spot to the next column, and the tips of their arrow heads."""
    ports = defaultdict(list)
    for target, sources in _reversed(links).items():
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


# ---- training ----


TRAINING: dict[str, Any] = {"label": "training", "color": BLUE, "linestyle": "-", "marker": "o"}
VALIDATION: dict[str, Any] = {"label": "validation", "color": VERMILLION, "linestyle": "--", "marker": "s"}


@STYLE
def plot_history(history: History, path: PathLike | None = None, axes: Axes | None = None) -> Figure:
    """Draw the loss of every epoch and, with validation data, theirs beside it and the score.

    Parameters
    ----------
    history : History
        What `MLP.fit` returned.
    path : str or path-like, optional
        Where to save the picture: .svg, .png or .pdf.
    axes : matplotlib.axes.Axes, optional
        Where to draw the losses, and nothing else; by default a picture of its own.

    Returns
    -------
    Picture, or the figure of `axes`

    Raises
    ------
    TypeError, ValueError
        `history` is no History, or has no epoch; the ending of `path`.

    Examples
    --------
    >>> import fastbp
    >>> picture = plot_history(fastbp.History(loss=[1.0, 0.5]))
    >>> picture.axes[0].get_xlabel(), picture.axes[0].lines[0].get_xdata().tolist()
    ('epoch', [1, 2])
    """
    check_path(path)
    if not isinstance(history, History):
        raise TypeError(f"history: got {type(history).__name__}, expected a fastbp.History")
    if not history.loss:
        raise ValueError("history: got no epochs, expected at least one")
    losses = [(history.loss, TRAINING), (history.validation_loss, VALIDATION)]
    known = LOSSES[history.loss_name]
    loss, score = f"loss ({known.words})", "share predicted right" if known.classifies else "R²"
    if axes is not None:
        _curves(axes, loss, losses)
        axes.legend()
        return _saved(axes.figure.canvas.figure, path)
    panels = 2 if history.validation_score else 1
    picture = Picture((0.7 + 3.8 * panels, 3.4), facecolor="white", layout="constrained")
    left = picture.add_subplot(1, panels, 1)
    _curves(left, loss, losses)
    if history.validation_score:
        _curves(picture.add_subplot(1, 2, 2), score, [(history.validation_score, VALIDATION)])
    picture.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return _saved(picture, path)


def _curves(axes: Axes, name: str, curves: list[tuple[list[float], dict[str, Any]]]) -> None:
    epochs = max(len(values) for values, _ in curves)
    for values, look in curves:
        if values:
            marker = look["marker"] if epochs <= 15 else ""
            axes.plot(range(1, len(values) + 1), values, **{**look, "marker": marker})
    edge = max(0.5, 0.02 * epochs)
    axes.set(xlabel="epoch", ylabel=name, xlim=(1 - edge, epochs + edge))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.grid(color="#E5E5E5", linewidth=0.8)


@STYLE
def plot_decision_regions(net: MLP, X: ArrayLike, y: ArrayLike, path: PathLike | None = None,
                          axes: Axes | None = None) -> Figure:  # fmt: skip
    """Draw which class a network of two features predicts where, the paler the less sure, and points on top.

    Parameters
    ----------
    net : MLP
    X : array_like (n, 2)
    y : array_like (n,) or (n, classes)
        Class indices, or rows of probabilities, by their argmax.
    path : str or path-like, optional
        Where to save the picture: .svg, .png or .pdf.
    axes : matplotlib.axes.Axes, optional
        Where to draw, without a legend; by default a picture of its own.

    Returns
    -------
    Picture, or the figure of `axes`

    Raises
    ------
    TypeError, ValueError
        `net` is no MLP of two features; X and y as for `MLP.score`, points that are not finite; the ending of `path`.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(100, seed=0)
    >>> picture = plot_decision_regions(fastbp.MLP((2, 8, 4), seed=0), X, y)
    >>> [text.get_text() for text in picture.legends[0].get_texts()]
    ['class 0', 'class 1', 'class 2', 'class 3']
    """
    check_path(path)
    if not isinstance(net, MLP):
        raise TypeError(f"net: got {type(net).__name__}, expected a fastbp.MLP")
    if net.sizes[0] != 2:
        raise ValueError(f"net: got a network of {net.sizes[0]} features, expected one of 2")
    points = rows_of(net.model, "X", X).source.astype(np.float64)
    validation.finite("X", points)
    labels = validation.labels("y", y, len(points), net.classes, net.dtype)
    labels = labels if labels.ndim == 1 else labels.argmax(axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.06 * np.where(high > low, high - low, 1.0)
    (left, bottom), (right, top) = low - margin, high + margin
    grid = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
    chances = net.predict_proba(np.stack(grid, axis=-1).reshape(-1, 2))
    palette = [CLASS_COLOURS[c % len(CLASS_COLOURS)] for c in range(net.classes)]
    sure = (chances.max(axis=1) * net.classes - 1) / max(1, net.classes - 1)
    strength = (0.1 + 0.3 * sure)[:, None]
    image = 1 - strength * (1 - np.array([colors.to_rgb(colour) for colour in palette])[chances.argmax(axis=1)])

    picture: Picture | None = None
    if axes is None:
        picture = Picture((5.5, 4.2), facecolor="white", layout="constrained")
        axes = picture.add_subplot()
    horizontal, vertical = net.feature_names or ("feature 1", "feature 2")
    axes.set(xlabel=horizontal, ylabel=vertical)
    axes.imshow(image.reshape(200, 200, 3), extent=(left, right, bottom, top), origin="lower", aspect="auto",
                interpolation="bilinear")  # fmt: skip
    room = math.sqrt(axes.bbox.width * axes.bbox.height) / axes.figure.dpi
    size = float(np.clip(45 * room / math.sqrt(len(points)), 2.5, 6))
    for c, colour in enumerate(palette):
        marker = CLASS_MARKERS[(c + c // len(CLASS_COLOURS)) % len(CLASS_MARKERS)]  # another one in the next round
        name = net.class_names[c] if net.class_names else f"class {c}"
        axes.plot(*points[labels == c].T, marker, color=colour, markersize=size, markeredgecolor="white",
                  markeredgewidth=size / 15, label=name, rasterized=len(points) > 1000)  # fmt: skip
    if picture:
        picture.legend(loc="outside right upper", markerscale=6 / size)
    return _saved(axes.figure.canvas.figure, path)  # the whole figure, where the axes are in a part of one


@STYLE
def plot_descent(function: Callable[[float], float], paths: Mapping[str, Sequence[float]],
                 path: PathLike | None = None) -> Picture:  # fmt: skip
    """Draw the steps of gradient descents on a function of one number, a panel for each of them.

    Where a descent flees, the view stays with those that come down, and its lines lead out of it.

    Parameters
    ----------
    function : callable
        ``J(w)``, of one number.
    paths : mapping of str to sequence of float
        The title of each panel, and the numbers w that the descent went through.
    path : str or path-like, optional
        Where to save the picture: .svg, .png or .pdf.

    Returns
    -------
    Picture

    Raises
    ------
    TypeError, ValueError
        `function` is not callable, or nowhere finite; `paths` is no mapping or empty, or a sequence in it is, or starts
        at no finite number; the ending of `path`.

    Examples
    --------
    >>> picture = plot_descent(lambda w: w * w, {"rate 0.1": [1.0, 0.8, 0.64], "rate 0.9": [1.0, -0.8, 0.64]})
    >>> [axes.get_title() for axes in picture.axes]
    ['rate 0.1', 'rate 0.9']
    """
    check_path(path)
    if not callable(function):
        raise TypeError(f"function: got {function!r}, expected a function of one number")
    if not isinstance(paths, Mapping):
        raise TypeError(f"paths: got {type(paths).__name__}, expected a mapping of titles to sequences of numbers")
    if not paths:
        raise ValueError("paths: got none, expected at least one")
    walks = {title: validation.real_array(f"paths[{title!r}]", w, 1).astype(np.float64) for title, w in paths.items()}
    for title, w in walks.items():
        if not w.size:
            raise ValueError(f"paths[{title!r}]: got no numbers, expected at least one")
        validation.finite(f"paths[{title!r}]", w[:1])

    def J(w: Array) -> Array:
        with np.errstate(all="ignore"):  # what overflows is far outside the view
            return np.array([function(number) for number in w], np.float64)

    low, high = _view(walks, J)
    curve = np.linspace(low, high, 300)
    heights = J(curve)
    seen = heights[np.isfinite(heights)]
    if not seen.size:
        raise ValueError(f"function: got no finite number for any w from {low:g} to {high:g}, expected some")
    bottom, top = seen.min(), max(seen.max(), seen.min() + 1e-9)
    columns = 2 if len(walks) == 4 else min(len(walks), 3)
    rows = -(-len(walks) // columns)
    picture = Picture(figsize=(0.6 + 2.6 * columns, 0.4 + 2.6 * rows), facecolor="white", layout="constrained")
    for k, (title, w) in enumerate(walks.items()):
        axes = picture.add_subplot(rows, columns, k + 1)
        axes.plot(curve, heights, color=BLUE, linewidth=2.2, label="J(w)")
        axes.plot(w, J(w), "o-", color=VERMILLION, linewidth=1.0, markersize=4, label="descent")
        axes.plot(w[:1], J(w[:1]), "o", color=VERMILLION, markerfacecolor="white", markersize=9, label="first")
        axes.plot(w[-1:], J(w[-1:]), "s", color=INK, markersize=7, label="last")
        axes.set(title=title, xlabel="w", ylabel="" if k % columns else "J(w)", xlim=(low, high))
        axes.set_ylim(bottom - 0.06 * (top - bottom), top)
        axes.tick_params(labelleft=k % columns == 0)
    picture.legend(*picture.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return _saved(picture, path)


def _view(walks: Mapping[str, Array], J: Callable[[Array], Array]) -> tuple[float, float]:
    """The range of the descents that do not end above their start, and half of it on both sides for the others."""
    calm = [w for w in walks.values() if J(w[-1:])[0] <= J(w[:1])[0]] or [w[:3] for w in walks.values()]
    near, every = (np.concatenate(ws) for ws in (calm, list(walks.values())))
    low, high = near[np.isfinite(near)].min(), near[np.isfinite(near)].max()
    span = (high - low) or 1.0
    low, high = max(low - span / 2, np.nanmin(every)), min(high + span / 2, np.nanmax(every))
    return float(low - 0.08 * span), float(high + 0.08 * span)
