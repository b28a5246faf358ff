"""Rows and networks for the tests around training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp import MLP

SIZES = (6, 12, 5)


def rows(n: int = 60, seed: int = 7) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, SIZES[0])).astype("float32"), rng.integers(0, SIZES[-1], n)


def network(**options: Any) -> MLP:
    return MLP(SIZES, **{"seed": 3, **options})


def trained(epochs: int, **options: Any) -> MLP:
    net = network()
    net.fit(*rows(), epochs=epochs, **options)
    return net


def same(net: MLP, twin: MLP) -> None:
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    assert net.rng.bit_generator.state == twin.rng.bit_generator.state


def undone(error: Any, message: str, call: Callable[[MLP], object], net: MLP | None = None) -> None:
    """The call fails and leaves parameters, generator and what partial_fit remembers as they were."""
    net = network() if net is None else net
    twin = copy.deepcopy(net)
    with pytest.raises(error, match=message):
        call(net)
    same(net, twin)
    X, y = rows(20, seed=9)
    for each in (net, twin):  # and goes on as if nothing had been
        each.partial_fit(X, y, 5, optimizer="adam")
        each.fit(X, y, epochs=1, dropout=0.5)
    same(net, twin)
