"""The labels of a graph's picture: what is written at each variable, and the room that it takes."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from ..graph import Variable, derivative, summary
from .picture import BLUE, INK, VERMILLION

Line = tuple[str, str]  # a kind of text, and the text
SIZE = 9.5  # of the letters, in points
PITCH = 1.3 * SIZE / 72  # from one line of text to the next
RADIUS = 0.15  # of a circle, at least; in inches, as all lengths
PLAIN, BOLD = (FontProperties(family="DejaVu Sans", size=SIZE, weight=weight) for weight in ("normal", "bold"))
TEXT = {"name": (INK, BOLD), "note": (INK, PLAIN), "value": (BLUE, PLAIN), "derivative": (VERMILLION, PLAIN)}


@dataclass(frozen=True)
class Label:
    """The symbol of a variable's operation, the lines of text above and below its arrow, and the room they take."""

    symbol: str
    above: list[Line]
    below: list[Line]

    @cached_property
    def radius(self) -> float:
        lines = self.symbol.split()
        across = max((width_of("note", line) for line in lines), default=0.0)
        return max(RADIUS, math.hypot(across, len(lines) * PITCH) / 2 + 0.02) if lines else 0.0

    @cached_property
    def up(self) -> float:
        return max(self.radius, len(self.above) * PITCH + 0.06)

    @cached_property
    def down(self) -> float:
        return max(self.radius, len(self.below) * PITCH + 0.04)

    @cached_property
    def width(self) -> float:
        return max(width_of(*line) for line in self.above + self.below)


def labels_of(result: Variable, order: list[Variable]) -> list[Label]:
    """Return the labels of all variables of a graph, in their order."""
    sent = defaultdict(list)
    for variable in order:
        for operand, gradient in zip(variable.operands, variable.operand_gradients, strict=False):
            sent[id(operand)].append(gradient)
    labels = []
    for variable in order:
        name = _short(variable.name)
        names = [("name", name)] if name else []
        values = [("value", part) for part in summary(variable.value).rpartition(" ")[::2] if part]
        below = _derivative(variable, sent[id(variable)]) if derivative(result, variable) is not None else []
        labels.append(Label(variable.operation, names + values, [("derivative", text) for text in below]))
    return labels


def _derivative(variable: Variable, sent: list[Any]) -> list[str]:
    """Return the lines for a derivative: a number as the sum of what was sent back to it, an array as its norm."""
    total = summary(variable.grad).rpartition(" ")[2]
    if variable.shape or not 2 <= len(sent) <= 3:
        return [f"← {total}"]
    terms = "← " + " + ".join(f"{float(gradient):.4g}" for gradient in sent).replace("+ -", "- ")
    return [f"{terms} = {total}"] if len(terms + total) <= 16 else [terms, f"= {total}"]


def caption_of(result: Variable, arrays: bool) -> list[Line]:
    """Return the line below the picture, which explains the labels."""
    lines = [("note", "above:"), ("value", "value (array: shape, ‖norm‖)" if arrays else "value")]
    below = [("note", "   below:"), ("derivative", f"← derivative of {_short(result.name) or 'the result'}")]
    return lines if derivative(result, result) is None else lines + below


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= 20 else line[:19].rstrip() + "…"


def write(axes: Axes, x: float, y: float, line: Line, align: str = "center") -> None:
    """Write a line of text, its baseline at y."""
    colour, font = TEXT[line[0]]
    axes.text(x, y, line[1], color=colour, fontproperties=font, ha=align, va="baseline", parse_math=False)


def width_of(kind: str, text: str) -> float:
    """Return the width of a text in inches."""
    return float(text_to_path.get_text_width_height_descent(text, TEXT[kind][1], False)[0]) / 72


def length_of(lines: list[Line]) -> float:
    """Return the width of texts that stand side by side."""
    return sum(width_of(*line) + 0.06 for line in lines)
