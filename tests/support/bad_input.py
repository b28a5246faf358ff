"""What the tests of bad input share: the good input they start from, and what a refusal is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp import MLP

SIZES = (6, 9, 5)
N = 12


def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(N, SIZES[0])), rng.integers(0, SIZES[-1], N)


def network(dtype: str = "float32") -> MLP:
    return MLP(SIZES, seed=3, dtype=dtype)


def refuses(name: str, call: Callable[[], object]) -> None:
    """The error is a ValueError or TypeError that begins with the argument's name."""
    with pytest.raises((ValueError, TypeError), match=rf"^{re.escape(name)}(\[\d+\])?( in \w+)?: ") as caught:
        call()
    for word in ("got", "expected"):
        assert word in str(caught.value)


def refuses_and_keeps(name: str, call: Callable[[MLP], object], dtype: str = "float32") -> None:
    net = network(dtype)
    before, state = net.parameters.copy(), net.rng.bit_generator.state
    refuses(name, lambda: call(net))
    np.testing.assert_array_equal(net.parameters, before)
    assert net.rng.bit_generator.state == state
    X, y = rows()
    assert np.isfinite(net.loss(X, y))  # and it works on


def changed(array: Any, where: Any, value: Any, dtype: Any = None) -> Any:
    array = np.array(array, dtype)
    array[where] = value
    return array


def cases(table: dict[str, Any]) -> Any:
    """Parameters of a test, each under its name."""
    return pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in table.items()])


Y_METHODS = ("fit", "gradient", "loss", "score")


# ---- numbers ----
BAD_RATES = {
    "negative": -0.1, "barely negative": -1e-300, "NaN": math.nan, "infinite": math.inf, "-infinite": -math.inf,
    "bool": True, "NumPy bool": np.False_, "text": "0.1", "bytes": b"1", "None": None, "complex": 1j,
    "complex64": np.complex64(1), "list": [0.1], "vector": np.array([0.1]), "empty": np.array([]), "object": object(),
    "NumPy NaN": np.float32("nan"),
}  # fmt: skip
