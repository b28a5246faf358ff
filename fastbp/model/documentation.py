"""Docstrings that list the names, formulas and constants of activations and losses, as their tables have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from ..kernels.activations import ACTIVATIONS
from ..kernels.losses import LOSSES

Kind = TypeVar("Kind", bound=type)


def with_tables(kind: Kind) -> Kind:
    """Fill in the lines ``{activations}``, ``{losses}`` and ``{constants}`` of a class's docstring."""
    if kind.__doc__:  # python -OO has none
        for name, lines in (("activations", _activations()), ("losses", _losses()), ("constants", _constants())):
            before, mark, after = kind.__doc__.partition(f"{{{name}}}")
            indent = before[before.rindex("\n") :] if mark else ""
            kind.__doc__ = before + indent.join(lines) + after if mark else before
    return kind


def _activations() -> Iterator[str]:
    for name, row in ACTIVATIONS.items():
        yield f'- "{name}": ``{row.formula}``'


def _losses() -> Iterator[str]:
    for name, row in LOSSES.items():
        yield f'- "{name}": ``{row.formula}``'


def _constants() -> Iterator[str]:
    for table in (ACTIVATIONS, LOSSES):
        for name, row in table.items():
            for constant in row.constants:
                several = ", or a number for each output" if constant.per_output else ""
                yield f'- {constant.name}, {constant.default:g} by default{several}: of "{name}"'
