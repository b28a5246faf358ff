"""Functions whose derivative is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

STEP = math.cbrt(np.finfo(np.float64).eps)


def cubic(x: Any) -> Any:
    return np.sum(x**3 - 2 * x)


def cubic_gradient(x: Any) -> Any:
    return 3 * x**2 - 2


class Recorder:
    """The function `cubic`, and what it was called with; `moved` is that without the repeats at the point."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, x: Any) -> Any:
        self.seen.append(x)
        return cubic(x)

    @property
    def moved(self) -> list[Any]:
        return [x for x in self.seen if (x != self.seen[0]).any()]
