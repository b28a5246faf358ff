"""Draw the chart of docs/guide/performance.md: time of a training step of each peer, relative to fastbp's."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

# Okabe and Ito's colours, which the colour-blind can tell apart; without yellow, which is too pale on white.
COLOURS = {
    "JAX": "#0072B2",
    "JAX 0.6.2": "#56B4E9",
    "torch.compile": "#E69F00",
    "NumPy": "#009E73",
    "PyTorch": "#D55E00",
    "scikit-learn": "#CC79A7",
}
HEIGHT = 0.14  # of a bar; a network has the height 1
STYLE = {"svg.hashsalt": "fastbp", "svg.fonttype": "path", "font.size": 10, "font.family": "DejaVu Sans"}


def draw(records: list[dict[str, Any]], path: str) -> None:
    """Draw a bar for each network and peer on a logarithmic axis, 830 pixels wide; equal figures give equal files."""
    peers = [peer for peer in COLOURS if any(peer in record["seconds"] for record in records)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(830 / 72, 0.75 * len(records) + 1.2), layout="constrained")
        axes = figure.add_subplot(xscale="log")
        for place, record in enumerate(records):
            ours = record["seconds"]["fastbp"]
            present = [peer for peer in peers if peer in record["seconds"]]
            for number, peer in enumerate(present):
                ratio = record["seconds"][peer] / ours
                y = place + HEIGHT * (number - (len(present) - 1) / 2)
                axes.barh(y, ratio - 1, HEIGHT * 0.9, left=1, color=COLOURS[peer])
                axes.annotate(
                    f"{ratio:.3g}",
                    (ratio, y),
                    (3 if ratio >= 1 else -3, 0),
                    textcoords="offset points",
                    va="center",
                    ha="left" if ratio >= 1 else "right",
                    fontsize=8,
                )
        for peer in peers:
            axes.barh(math.nan, math.nan, color=COLOURS[peer], label=peer)
        axes.axvline(1, color="black", linewidth=1.2)
        axes.set_yticks(range(len(records)), [label(record) for record in records])
        axes.invert_yaxis()
        axes.margins(x=0.08, y=0.02)
        axes.set_xlabel("time of a training step, fastbp = 1 (logarithmic)")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.xaxis.grid(True, color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper center", ncols=len(peers), frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def label(record: dict[str, Any]) -> str:
    """Return the network, with equal neighbours counted, its batch and fastbp's time."""
    sizes, parts = record["network"].split("-"), []
    while sizes:
        equal = next((number for number, size in enumerate(sizes) if size != sizes[0]), len(sizes))
        parts.append(sizes[0] + (f"×{equal}" if equal > 2 else f"-{sizes[0]}" if equal == 2 else ""))
        sizes = sizes[equal:]
    seconds = record["seconds"]["fastbp"]
    time = f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"
    return f"{'-'.join(parts)}, batch {record['batch']}\nfastbp: {time}"
