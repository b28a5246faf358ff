"""Numeric derivatives, and the check of a gradient computed by hand against them."""

from .check import gradcheck
from .comparison import GradcheckResult
from .differences import numeric_gradient

__all__ = ["GradcheckResult", "gradcheck", "numeric_gradient"]
