"""Conversion of arguments to float64 arrays of the expected shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def float64(name: str, value: ArrayLike, shape: tuple[int | None, ...] | None = None) -> Array:
    """Copy ``value`` to float64 and check its shape, in which None stands for any length."""
    array = np.array(value, dtype=np.float64)
    if shape is not None:
        fits = array.ndim == len(shape) and all(e in (None, a) for a, e in zip(array.shape, shape, strict=True))
        if not fits:
            expected = str(shape).replace("None", "any")
            raise ValueError(f"{name}: got shape {array.shape}, expected {expected}")
    return array
