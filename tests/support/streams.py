"""Rows by slices and in chunks, and networks trained on them."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastbp import MLP
from support.comparisons import assert_same_bits

SIZES = (6, 9, 4)
N, BATCH = 1003, 8  # a last minibatch of 3 rows
LIMIT = 4000  # bytes: 20 blocks or so


def data(dtype: Any = "f4", n: int = N) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    X = rng.integers(-40, 40, (n, SIZES[0])).astype(dtype)
    return X, rng.integers(0, SIZES[-1], n)


def network(**options: Any) -> MLP:
    return MLP(SIZES, **{"seed": 3, "activation": "tanh", "dtype": "float64", "input_scale": 1 / 16, **options})


def fitted(X: Any, y: Any = None, net: MLP | None = None, **options: Any) -> tuple[Any, list[float]]:
    net = network() if net is None else net
    history = net.fit(X, y, **{"epochs": 2, "batch_size": BATCH, "memory_limit": LIMIT, **options})
    return net.parameters, history.loss


class Sliced:
    """Rows by slices alone, as from a file; fails, or gives less, where it is told."""

    def __init__(self, values: Any, fails_at: int = sys.maxsize, ends_at: int = sys.maxsize):
        self._values, self._fails_at, self._ends_at = values, fails_at, ends_at
        self.shape, self.dtype = values.shape, values.dtype
        self.longest = 0

    def __getitem__(self, rows: slice) -> Any:
        assert isinstance(rows, slice) and rows.step is None
        self.longest = max(self.longest, rows.stop - rows.start)
        if rows.stop > self._fails_at:
            raise OSError("the disk is gone")
        return self._values[rows.start : min(rows.stop, self._ends_at)].copy()


def chunks_of(X: Any, y: Any, rows: int, weights: Any = None) -> Callable[[], Iterator[Any]]:
    def chunks() -> Iterator[Any]:
        for begin in range(0, len(X), rows):
            part = slice(begin, begin + rows)
            yield (X[part], y[part]) if weights is None else (X[part], y[part], weights[part])

    return chunks


@contextlib.contextmanager
def unchanged(net: MLP) -> Iterator[None]:
    """Parameters and generator."""
    before, state = net.parameters.copy(), copy.deepcopy(net.rng.bit_generator.state)
    yield
    assert_same_bits(net.parameters, before)
    assert net.rng.bit_generator.state == state
