"""Tables of figures, printed row by row."""

from __future__ import annotations

import math

from .benchmarks.duel import Outcome


class Table:
    """A table that prints each row as soon as it is measured, and at the end why a peer has no figure."""

    def __init__(self, title: str, *names: str):
        self._widths = [30, *(max(9, len(name) + 1) for name in names[1:])]
        self._reasons: dict[str, str] = {}
        print(f"\n{title}\n")
        self.row(*names)

    def row(self, *cells: str | float) -> None:
        texts = [figure(cell) if isinstance(cell, float) else str(cell) for cell in cells]
        rest = "".join(f" {text}".rjust(width) for text, width in zip(texts[1:], self._widths[1:], strict=True))
        print(texts[0].ljust(self._widths[0]) + rest, flush=True)

    def missing(self, outcome: Outcome) -> None:
        self._reasons |= outcome.missing

    def close(self) -> None:
        for name, reason in self._reasons.items():
            print(f"{name}: {reason}")


def figure(number: float) -> str:
    """Format a number with three digits and no exponent; NaN, which was not measured, as a dash."""
    if math.isnan(number):
        return "-"
    places = 2 - math.floor(math.log10(abs(number))) if number else 0
    return f"{number:.{max(0, places)}f}"
