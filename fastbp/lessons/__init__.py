"""Lessons in back-propagation: ``fastbp learn`` lists them, ``fastbp learn NAME`` runs one.

Each function is the code of a lesson, and prints what its steps print. The text around the steps is in the package too,
in English and Chinese; docs/learn/make.py makes the pages of docs/learn out of text and code.
"""

from __future__ import annotations

from collections.abc import Callable

from .steps import chain_rule, layers, nodes, quadrants, update

__all__ = ["chain_rule", "nodes", "layers", "update", "quadrants"]

LESSONS: dict[str, Callable[[], None]] = {
    "chain-rule": chain_rule,
    "nodes": nodes,
    "layers": layers,
    "update": update,
    "quadrants": quadrants,
}
