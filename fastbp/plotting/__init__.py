"""Pictures, drawn by matplotlib (the extra `plot`): graphs with both passes, histories, decision regions, descents.

Every function returns a `Picture`, which shows itself in a notebook and is saved by `savefig`. Neither pyplot nor a
backend is used, and a user's style sheet has no effect: a picture looks the same everywhere.
"""

from __future__ import annotations

from ..extras import missing

try:
    import matplotlib as matplotlib
except ModuleNotFoundError as error:
    raise missing(error, "fastbp.plotting", "matplotlib", "'fastbp[plot]'") from None

from .decision_regions import plot_decision_regions
from .descents import plot_descent
from .graphs import plot_graph
from .histories import plot_history
from .picture import Picture, check_path

__all__ = ["Picture", "check_path", "plot_decision_regions", "plot_descent", "plot_graph", "plot_history"]
