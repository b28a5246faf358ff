"""Frames of several libraries over the same numbers, and networks trained on them: for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp import MLP

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

NAMES = ("length", "width", "depth", "mass")
REVERSED = NAMES[::-1]
RNG = np.random.default_rng(0)
X = np.ascontiguousarray(RNG.normal(size=(60, 4)))
Y = RNG.integers(0, 3, 60)


class Exchanged:
    """A frame of a library that fastbp does not know, by one protocol of exchange."""

    def __init__(self, protocol: str, frame: Any):
        self.__class__ = type("Exchanged", (), {protocol: lambda self, *given, **named: getattr(frame, protocol)()})


FRAMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table,
    "record batch": lambda columns: pa.record_batch(columns),
    "arrow stream": lambda columns: Exchanged("__arrow_c_stream__", pl.DataFrame(columns)),
    "interchange": lambda columns: Exchanged("__dataframe__", pa.table(columns)),
}  # fmt: skip


def frame(names: tuple[str, ...] = NAMES, kind: str = "pandas", values: Any = X) -> Any:
    return FRAMES[kind]({name: values[:, NAMES.index(name)].copy() for name in names})


def network(**options: Any) -> MLP:
    return MLP((4, 6, 3), seed=1, **{"dtype": "float64", **options})


def fitted(X: Any = X, **options: Any) -> MLP:
    net = network()
    net.fit(X, Y, epochs=2, batch_size=16, **options)
    return net


PLAIN = fitted()
NAMED = fitted(frame())
