"""Pictures of what a network predicts in a plane: `plot_decision_regions`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .. import validation
from ..inputs.in_memory import rows_of
from ..network import MLP
from .picture import CLASS_COLOURS, CLASS_MARKERS, STYLE, PathLike, Picture, check_path, saved


@STYLE
def plot_decision_regions(
    net: MLP, X: ArrayLike, y: ArrayLike, path: PathLike | None = None, axes: Axes | None = None
) -> Figure:
    """Draw the class that a network of two features predicts at each point of the plane, and data on top.

    The paler the colour, the less probable the class.

    Parameters
    ----------
    net : MLP
    X : array_like (n, 2)
    y : array_like (n,) or (n, classes)
        Class indices, or rows of probabilities, whose argmax is taken.
    path : str or path-like, optional
        Where to save the picture: .svg, .png or .pdf.
    axes : matplotlib.axes.Axes, optional
        Where to draw, without a legend; by default a new picture.

    Returns
    -------
    Picture, or the figure of `axes`

    Raises
    ------
    TypeError, ValueError
        `net` is not an MLP of two features; `X` or `y` is refused as by `MLP.score`, or `X` is not finite; the ending
        of `path` is not one of those above.

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
    pixels, extent = image.reshape(200, 200, 3), (left, right, bottom, top)
    axes.imshow(pixels, extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    room = math.sqrt(axes.bbox.width * axes.bbox.height) / axes.figure.dpi
    size = float(np.clip(45 * room / math.sqrt(len(points)), 2.5, 6))
    for c, colour in enumerate(palette):
        marker = CLASS_MARKERS[(c + c // len(CLASS_COLOURS)) % len(CLASS_MARKERS)]  # another one in the next round
        name = net.class_names[c] if net.class_names else f"class {c}"
        edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": size / 15}
        many = len(points) > 1000
        axes.plot(*points[labels == c].T, marker, color=colour, markersize=size, label=name, rasterized=many, **edge)
    if picture:
        picture.legend(loc="outside right upper", markerscale=6 / size)
    return saved(axes.figure.canvas.figure, path)  # the whole figure, where the axes are in a part of one
