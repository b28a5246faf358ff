"""What targets ask for, and networks that were trained on scaled ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastbp import MLP
from fastbp.tables.targets import TargetScaling
from fastbp.tables.task import task_of


@pytest.mark.parametrize(
    ("numbers", "name", "reason"),
    [
        (None, "classes", "the target is text"),
        ([1.0, 2.5] * 50, "numbers", "the target has fractions"),
        ([0, 1] * 3, "classes", "the target has 2 different whole numbers in 6 rows"),
        (list(range(20)) * 5, "classes", "the target has 20 different whole numbers in 100 rows"),
        (list(range(21)) * 50, "numbers", "the target has 21 different whole numbers in 1,050 rows"),
        ([*range(20)] * 4 + [1] * 19, "numbers", "the target has 20 different whole numbers in 99 rows"),
        ([-3.0, 7.0, 1e12] * 5, "classes", "the target has 3 different whole numbers in 15 rows"),
    ],
)
def test_the_task_of_targets(numbers: Any, name: str, reason: str) -> None:
    assert task_of(None if numbers is None else np.array(numbers, float)) == (name, reason)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(3, 9, 1), (3, 2)])
def test_a_network_predicts_targets_as_they_were(dtype: str, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    X, targets = rng.normal(size=(50, 3)), 1000 + 50 * rng.normal(size=(50, sizes[-1]))
    scaling = TargetScaling(1000.0, 50.0)
    net = MLP(sizes, loss="mean_squared_error", dtype=dtype, seed=0)
    net.fit(X, scaling.scaled(targets), epochs=3)
    expected = net.outputs(X).astype(float) * 50 + 1000
    scaling.fold_into(net)
    bound = 32 * np.finfo(dtype).eps * np.abs(expected).max()
    assert np.abs(net.outputs(X) - expected).max() <= bound
    assert np.allclose(scaling.scaled(targets).mean(), 0, atol=1) and scaling.scaled(targets).std() < 2
