"""The compiled functions that a wheel brings along, one shared library for each instruction-set level."""

from __future__ import annotations


def address(symbol: str) -> int | None:
    """Return where a function of the shipped library lies, or None if this machine has to compile it."""
    return None


def holds(symbol: str) -> bool:
    """Return whether the shipped library has a function, without loading it."""
    return False
