"""Show networks and results: on one line, and in notebooks as HTML, escaped and without scripts.

Lines and text have the colour of the page around them, so that light and dark themes both show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

ROWS = 20  # of a table; the number of the others is told
POINTS = 120  # of a line of numbers, about; of more numbers it takes every second, third, ... one
WIDTH, HEIGHT, MARGIN = 240, 40, 2  # of its picture, in pixels
LONGEST = 60  # characters of a value

Head = Sequence[str]
Rows = Iterable[Sequence[Any]]


def one_line(value: Any, longest: int = LONGEST) -> str:
    """Return a value in few characters and without line breaks: text as it is, numbers with four digits."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(int(value)) if isinstance(value, Integral) else f"{float(value):.4g}"
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def arguments(values: Mapping[str, Any]) -> str:
    """Return values by their names as one writes them in a call."""
    return ", ".join(
        f"{name}={one_line(repr(value) if isinstance(value, str) else value)}" for name, value in values.items()
    )


def table(head: Head, rows: Rows) -> str:
    """Return a table of values as HTML; of more than `ROWS` rows, the first ones and the number of the others."""
    lines = [[_escaped(one_line(value)) for value in row] for row in rows]
    shown = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines[:ROWS])
    heads = "".join(f"<th>{_escaped(one_line(name))}</th>" for name in head)
    more = f"<div>and {len(lines) - ROWS} more</div>" if len(lines) > ROWS else ""
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{shown}</tbody></table>{more}"


def sparkline(what: str, values: Sequence[float]) -> str:
    """Return a line through numbers as an inline SVG picture, with gaps for NaN and infinity; "" below two numbers."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    least, most = min(finite), max(finite)
    stride = -(-len(values) // POINTS)
    kept = sorted({*range(0, len(values), stride), len(values) - 1})
    pieces: list[list[str]] = [[]]
    for i in kept:
        if not math.isfinite(values[i]):
            pieces.append([])
            continue
        x = MARGIN + (WIDTH - 2 * MARGIN) * i / (len(values) - 1)
        # Halves, because the difference of two float64 may be infinite.
        height = (values[i] / 2 - least / 2) / (most / 2 - least / 2) if most > least else 0.5
        pieces[-1].append(f"{x:.1f},{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * height:.1f}")
    lines = "".join(f'<polyline points="{" ".join(piece)}"/>' for piece in pieces if len(piece) > 1)
    title = _escaped(f"{what}: from {one_line(float(values[0]))} to {one_line(float(values[-1]))}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}" '
        f'fill="none" stroke="currentColor" stroke-width="1.5"><title>{title}</title>{lines}</svg>'
    )


def text(value: str) -> str:
    """Return a line of text as HTML."""
    return f"<div>{_escaped(one_line(value, 4 * LONGEST))}</div>"


def html(title: str, *parts: str) -> str:
    """Return a title, which is escaped, with pieces of HTML below it."""
    return f"<div><code>{_escaped(title)}</code>{''.join(f'<div>{part}</div>' for part in parts if part)}</div>"


def _escaped(text: str) -> str:
    from html import escape  # takes 1 ms, and is needed in notebooks only

    return escape(text)
