"""Row weights in the form that the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def balanced(weights: Array) -> tuple[Array, NDArray[np.float64], NDArray[np.float64]]:
    """Scale row weights by a power of two for each step, so that the largest is near 1.

    The scaling is exact, and no step's weights, however large or small, leave the range of the dtype.

    Parameters
    ----------
    weights : array (steps, batch)

    Returns
    -------
    weights : array (steps, batch)
        The scaled weights, in the same dtype.
    sums : float64 array (steps,)
        Their sums; 1 in place of 0, so that a step whose rows all weigh 0 changes nothing.
    unscaled_sums : float64 array (steps,)
        The sums before scaling.
    """
    _, exponents = np.frexp(weights.max(axis=1, keepdims=True))
    weights = np.ldexp(weights, -exponents)
    sums = weights.sum(axis=1, dtype=np.float64)
    sums[sums == 0] = 1.0
    with np.errstate(over="ignore"):
        return weights, sums, np.ldexp(sums, exponents[:, 0])
