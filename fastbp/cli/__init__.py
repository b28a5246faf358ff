"""The command ``fastbp``."""

from .commands import main

__all__ = ["main"]
