"""What a column of targets asks for: to tell classes apart, or to predict a number."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import CLASSES, NUMBERS

MOST_CLASSES, ROWS_OF_A_CLASS = 20, 5  # of whole numbers: more, or with fewer rows on average, are numbers


class Task(NamedTuple):
    """Names one of `TASKS`, and why it is that."""

    name: str
    reason: str


def task_of(numbers: NDArray[Any] | None) -> Task:
    """Return the task for a column of numbers, or of text (None).

    Text stands for classes, and fractions are numbers. Whole numbers are classes if there are two of them, or up to 20
    that have 5 rows each on average.

    Examples
    --------
    >>> import numpy as np
    >>> task_of(np.array([0.5, 1.0]))
    Task(name='numbers', reason='the target has fractions')
    """
    if numbers is None:
        return Task(CLASSES, "the target is text")
    if (numbers != np.floor(numbers)).any():
        return Task(NUMBERS, "the target has fractions")
    found = len(np.unique(numbers))
    counted = f"the target has {found:,} different whole numbers in {len(numbers):,} rows"
    few = found <= 2 or (found <= MOST_CLASSES and found * ROWS_OF_A_CLASS <= len(numbers))
    return Task(CLASSES if few else NUMBERS, counted)
