"""The limits of each dtype, by short names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

DTYPES = [np.float32, np.float64]
nan, inf = math.nan, math.inf


class Limits:
    """Of a dtype: largest, smallest normal, smallest denormal; and a number whose square overflows, and half of it."""

    def __init__(self, dtype: Any):
        limits = np.finfo(dtype)
        self.max, self.normal, self.least = (float(v) for v in (limits.max, limits.tiny, limits.smallest_subnormal))
        self.eps = float(limits.eps)
        self.huge = 1e38 if dtype == np.float32 else 1e308
        self.twice = float(dtype(self.huge)) + float(dtype(self.huge)) if dtype == np.float32 else inf
