"""The figure that every function of this package returns, its colours and style, and the files it is saved to."""

from __future__ import annotations

import errno
import io
import os
from typing import Any, TypeVar

from matplotlib import style
from matplotlib.figure import Figure

Drawn = TypeVar("Drawn", bound=Figure)
PathLike = str | os.PathLike[str]
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}

# The palette of Okabe and Ito, which the colour-blind can tell apart.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
CLASS_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, "#56B4E9", "#CC79A7", "#F0E442", "#666666")
CLASS_MARKERS = "os^DvPX*"
INK, LINE = "#222222", "#555555"
SETTINGS = {
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.markersize": 5,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "svg.hashsalt": "fastbp",
    "svg.fonttype": "path",
}
STYLE = style.context(["default", SETTINGS])


class Picture(Figure):
    """A figure that shows itself in a notebook and is saved as the same bytes each time."""

    @STYLE
    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as `matplotlib.figure.Figure.savefig` does, without the date; PNG files have 144 dots per inch."""
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
    """Refuse, before any work is done, a path that no picture can be saved to; None is allowed and saves nothing.

    Raises
    ------
    ValueError
        The path ends in none of .svg, .png and .pdf.
    TypeError
        It is neither a path nor None.
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


def saved(picture: Drawn, path: PathLike | None) -> Drawn:
    """Save the picture, if there is a path, and return it."""
    if path is not None:
        picture.savefig(path)
    return picture
