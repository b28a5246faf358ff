"""Pictures of training: `plot_history`."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..kernels.losses import LOSSES
from ..training.history import History
from .picture import BLUE, STYLE, VERMILLION, PathLike, Picture, check_path, saved

TRAINING: dict[str, Any] = {"label": "training", "color": BLUE, "linestyle": "-", "marker": "o"}
VALIDATION: dict[str, Any] = {"label": "validation", "color": VERMILLION, "linestyle": "--", "marker": "s"}


@STYLE
def plot_history(history: History, path: PathLike | None = None, axes: Axes | None = None) -> Figure:
    """Draw the loss of every epoch; with validation data, also their loss and score.

    Parameters
    ----------
    history : History
        The result of `MLP.fit`.
    path : str or path-like, optional
        Where to save the picture: .svg, .png or .pdf.
    axes : matplotlib.axes.Axes, optional
        Where to draw the losses, and nothing else; by default a new picture.

    Returns
    -------
    Picture, or the figure of `axes`

    Raises
    ------
    TypeError, ValueError
        `history` is not a History, or has no epoch; the ending of `path` is not one of those above.

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
    known = LOSSES.get(history.loss_name)  # None of a user's own loss
    words = history.loss_name if known is None else known.words
    loss, score = f"loss ({words})", "share predicted right" if known is not None and known.classifies else "R²"
    if axes is not None:
        _curves(axes, loss, losses)
        axes.legend()
        return saved(axes.figure.canvas.figure, path)
    panels = 2 if history.validation_score else 1
    picture = Picture((0.7 + 3.8 * panels, 3.4), facecolor="white", layout="constrained")
    left = picture.add_subplot(1, panels, 1)
    _curves(left, loss, losses)
    if history.validation_score:
        _curves(picture.add_subplot(1, 2, 2), score, [(history.validation_score, VALIDATION)])
    picture.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return saved(picture, path)


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
