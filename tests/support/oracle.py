"""What the tests of the oracle share: differences by brute force, and comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def slopes(function: Callable[[Any], float], point: Any, h: float = 1e-5) -> Any:
    """Central differences, written out once more so that nothing under test is leant on."""
    point = np.asarray(point, dtype=float)
    result = np.zeros_like(point)
    for i in np.ndindex(point.shape):
        above, below = point.copy(), point.copy()
        above[i] += h
        below[i] -= h
        result[i] = (function(above) - function(below)) / (2 * h)
    return result


def assert_close(gradient: Any, expected: Any) -> None:
    scale = np.abs(expected).max()
    assert scale > 0
    assert np.abs(gradient - expected).max() <= 1e-8 * scale


def assert_gradient(function: Callable[[Any], float], gradient: Any, point: Any) -> None:
    assert_close(gradient, slopes(function, point))


def network(rng: np.random.Generator, sizes: tuple[int, ...], n: int) -> tuple[list[Any], list[Any], Any, Any]:
    weights = [rng.standard_normal(shape) for shape in zip(sizes, sizes[1:], strict=False)]
    biases = [rng.standard_normal(size) for size in sizes[1:]]
    return weights, biases, rng.standard_normal((n, sizes[0])), rng.integers(0, sizes[-1], n)
