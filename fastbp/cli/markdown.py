"""Markdown as a terminal shows it: lines no wider than the terminal, formulas without LaTeX, tables as lists.

It knows what the texts of the lessons use, no more.
"""

from __future__ import annotations

import re
import unicodedata

SYMBOLS = {
    r"\partial ": "∂", r"\partial": "∂", r"\approx": "≈", r"\leftarrow": "←", r"\cdot": "·", r"\sum": "Σ",
    r"\quad": " ", r"\,": " ",
}  # fmt: skip
PLAIN = str.maketrans({"∂": "d", "≈": "~=", "←": "<-", "·": "*", "Σ": "sum"})  # for a terminal without the symbols
WIDE = "\u2e80-\u9fff\uff00-\uffef\u2018-\u201d"  # characters between which a line may break
CLOSING, OPENING = "，。：；、？！）”’", "（“‘"
WORD = re.compile(rf"\s+|[{OPENING}]*(?:[^\s{WIDE}]+|[{WIDE}])[{CLOSING}]*")


def shown(block: str, width: int) -> str:
    """Return a paragraph, heading, formula, table or the like as lines of at most `width` columns.

    Examples
    --------
    >>> print(shown("If $z$ depends on $t$, the *derivatives* multiply:", 26))
    If z depends on t, the
    derivatives multiply:
    >>> print(shown(r"$$\\frac{\\partial z}{\\partial x} = 2.2$$", 26))
        ∂z/∂x = 2.2
    """
    if block.startswith("#"):
        text = wrapped(block.lstrip("# "), width)
        line = "=" if block.startswith("# ") else "-"
        return f"{text}\n{line * max(map(columns, text.splitlines()))}"
    if block.startswith("$$"):
        return "    " + formula(block.strip("$"))
    if block.startswith("!"):  # a picture: what it shows
        return wrapped(block[2 : block.index("](")], width)
    if block.startswith("|"):
        return _list(block, width)
    return wrapped(inline(block), width)


def inline(text: str) -> str:
    """Return text without the marks of Markdown; a link to another lesson becomes the command that runs it."""
    text = re.sub(r"\$(.+?)\$", lambda found: formula(found[1]), text, flags=re.DOTALL)
    text = re.sub(r"\*\*?([^*]+)\*\*?", r"\1", text)
    return re.sub(r"\[([^\]]+)\]\(([\w-]+)\.md\)", _command, text)


def _command(link: re.Match[str]) -> str:
    brackets = "（{}）" if re.match(f"[{WIDE}]", link[1]) else " ({})"
    return link[1] + brackets.format(f"fastbp learn {link[2]}")


def formula(text: str) -> str:
    r"""Return a formula of LaTeX in plain text.

    Examples
    --------
    >>> formula(r"\frac{f(x + h) - f(x - h)}{2h}"), formula(r"\frac1n \sum t \log y"), formula(r"X^T\, dH^{Z}")
    ('(f(x + h) - f(x - h))/(2h)', '1/n Σ t log y', 'X^T dH^Z')
    """
    text = re.sub(r"\\text\{([^}]*)\}", r"\1", text.replace("\n", " "))
    for name, symbol in SYMBOLS.items():
        text = text.replace(name, symbol)
    text = re.sub(r"\\frac(?:\{([^}]*)\}\{([^}]*)\}|(\w)(\w))", _quotient, text)
    text = re.sub(r"\{([^}]*)\}", r"\1", text).replace("\\", "")
    return re.sub(r" {2,}", " ", text)


def _quotient(found: re.Match[str]) -> str:
    parts = (found[1] or found[3], found[2] or found[4])
    above, below = (part if re.fullmatch(r"∂?([^\W\d]\w*)?|\d+", part) else f"({part})" for part in parts)
    return f"{above}/{below}"


def _list(table: str, width: int) -> str:
    """Return a table as a list: the first cell of a row, and below it each other one after the name of its column."""
    names, _, *rows = ([inline(cell.strip()) for cell in row.strip("|").split(" | ")] for row in table.splitlines())
    lines = []
    for first, *rest in rows:
        lines.append(first)
        for name, cell in zip(names[1:], rest, strict=True):
            colon = "：" if re.match(f"[{WIDE}]", name) else ": "
            lines.append("  " + wrapped(name + colon + cell, width - 4).replace("\n", "\n    "))
    return "\n".join(lines)


def wrapped(text: str, width: int) -> str:
    """Break text into lines; Chinese breaks between any two characters, except before a mark that closes.

    Examples
    --------
    >>> print(wrapped("每个运算是一个节点，值向右流。", 18))
    每个运算是一个节
    点，值向右流。
    """
    lines, line = [], ""
    for word in WORD.findall(text):
        if line and not word.isspace() and columns(line + word) > width:
            lines.append(line.rstrip())
            line = ""
        if line or not word.isspace():
            line += " " if word.isspace() else word
    return "\n".join([*lines, line.rstrip()])


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: Chinese characters take two."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
