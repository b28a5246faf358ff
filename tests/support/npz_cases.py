"""Contents of checkpoint files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions, links and signals")


def content(seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    arrays = {
        "weights_0": rng.standard_normal((3, 5)).astype(np.float32),
        "biases_0": rng.standard_normal(5),
        "steps": np.array(seed, dtype=np.int64),
        "classes": np.array(["ant", "bee", "Käfer", "\N{BUTTERFLY}"]),
    }
    return arrays, {"layers": [3, 5], "activation": "relu", "l2": 0.1, "seed": seed, "shift": None}


def assert_same(got: Any, expected: Any) -> None:
    """The same arrays to the bit, and the same metadata."""
    assert got[1] == expected[1]
    assert sorted(got[0]) == sorted(expected[0])
    for name, array in expected[0].items():
        assert got[0][name].dtype == array.dtype.newbyteorder("=")
        assert got[0][name].shape == array.shape
        assert got[0][name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


# Faults while writing
class Fault:
    """Stands in for a function, does what it does, or not, and raises."""

    def __init__(self, function: Callable[..., Any], error: BaseException, calls: int = 1) -> None:
        self.function, self.error, self.calls = function, error, calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls -= 1
        if self.calls == 0:
            raise self.error
        return self.function(*args, **kwargs)
