"""Weights of rows as the kernels take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def balanced(weights: Array) -> tuple[Array, NDArray[np.float64], NDArray[np.float64]]:
    """Weights of rows (steps, batch), those of a step times a power of two that brings the largest near 1; their sums;
    and the sums before. That is exact, and no weights, however large or small, leave the dtype's range in a step.

    A sum of 0 counts as 1: a step of rows that do not count teaches nothing.
    """
    _, exponents = np.frexp(weights.max(axis=1, keepdims=True))
    weights = np.ldexp(weights, -exponents)
    sums = weights.sum(axis=1, dtype=np.float64)
    sums[sums == 0] = 1.0
    with np.errstate(over="ignore"):
        return weights, sums, np.ldexp(sums, exponents[:, 0])
