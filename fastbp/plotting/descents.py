"""Pictures of gradient descents on a function of one number: `plot_descent`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from .picture import BLUE, INK, STYLE, VERMILLION, PathLike, Picture, check_path, saved

Array = NDArray[Any]


@STYLE
def plot_descent(
    function: Callable[[float], float], paths: Mapping[str, Sequence[float]], path: PathLike | None = None
) -> Picture:
    """Draw the steps of gradient descents on a function of one number, one panel for each.

    All panels show the range of the descents that converge; the lines of one that diverges leave the view.

    Parameters
    ----------
    function : callable
        ``J(w)``, of one number.
    paths : mapping of str to sequence of float
        The title of each panel, and the successive values of w.
    path : str or path-like, optional
        Where to save the picture: .svg, .png or .pdf.

    Returns
    -------
    Picture

    Raises
    ------
    TypeError, ValueError
        `function` is not callable, or nowhere finite; `paths` is not a mapping or is empty; one of its sequences is
        empty or starts at NaN or infinity; the ending of `path` is not one of those above.

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
    return saved(picture, path)


def _view(walks: Mapping[str, Array], J: Callable[[Array], Array]) -> tuple[float, float]:
    """Return the range of w to show: that of the descents that end no higher than they start, and half of it around."""
    calm = [w for w in walks.values() if J(w[-1:])[0] <= J(w[:1])[0]] or [w[:3] for w in walks.values()]
    near, every = (np.concatenate(ws) for ws in (calm, list(walks.values())))
    low, high = near[np.isfinite(near)].min(), near[np.isfinite(near)].max()
    span = (high - low) or 1.0
    low, high = max(low - span / 2, np.nanmin(every)), min(high + span / 2, np.nanmax(every))
    return float(low - 0.08 * span), float(high + 0.08 * span)
