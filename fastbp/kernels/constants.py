"""Constants: the numbers that an activation or a loss depends on, as its row of the table declares them."""

from __future__ import annotations

import math
from typing import NamedTuple


class Constant(NamedTuple):
    """A number that users choose by its name.

    Attributes
    ----------
    name : str
        Unique among all rows of all tables: the keyword of `fastbp.MLP`.
    default : float
    least, most : float
        The range that is allowed, both ends included.
    above_least, below_most : bool
        Whether `least`, or `most`, itself is not allowed.
    per_output : bool
        Whether users may give one number for each output.
    """

    name: str
    default: float
    least: float = 0.0
    most: float = math.inf
    above_least: bool = False
    below_most: bool = False
    per_output: bool = False
