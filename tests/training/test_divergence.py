"""What the error of a diverged training blames: targets or inputs far from order one, as measured, else the rates."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP


def rows(n: int, sizes: tuple[int, ...]) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    return rng.standard_normal((n, sizes[0]), np.float32), rng.integers(0, sizes[-1], n)


@pytest.mark.parametrize("loss", ["mean_squared_error", "half_squared_error", "poisson_deviance"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("memory_limit", [None, 1 << 16])
def test_divergence_by_targets_far_from_order_one(loss: str, outputs: int, memory_limit: int | None) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 8))
    y = 1e4 * (2 + np.tanh(X @ rng.standard_normal((8, outputs))))
    y[:, -1] *= 20
    size = np.abs(y[:, -1]).mean()
    net = MLP((8, 32, outputs), loss=loss, seed=0)
    with pytest.raises(fastbp.DivergenceError) as caught:
        net.fit(X, y, epochs=10, batch_size=32, memory_limit=memory_limit)
    found = re.search(r"mean magnitude( of column 1)? is ([^;]+); train on (.*) and scale predictions back\), or a "
                      r"smaller learning_rate \(now 0\.1\)$", str(caught.value))  # fmt: skip
    assert found is not None, caught.value
    assert found[1] == (" of column 1" if outputs == 2 else None)
    assert float(found[2]) == pytest.approx(size, rel=0.1)  # of the rows of a stage, to two digits
    assert found[3] == ("y / y.mean(axis=0)" if "poisson" in loss else "(y - y.mean(axis=0)) / y.std(axis=0)")
    assert "inputs" not in str(caught.value)
    scaled = y / y.mean(axis=0) if "poisson" in loss else (y - y.mean(axis=0)) / y.std(axis=0)
    assert np.isfinite(net.fit(X, scaled, epochs=2, batch_size=32).loss).all()  # what it says helps
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.about_targets) == (str(caught.value), caught.value.about_targets)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_divergence_names_inputs_far_from_order_one(loss: str, shuffle: bool) -> None:
    X, y = rows(60, (6, 12, 5))
    X[:, 2] = 1e12 * (1 + X[:, 2] ** 2)
    targets = y if loss == "softmax_cross_entropy" else np.eye(5)[y]
    net = MLP((6, 12, 5), seed=3, loss=loss)
    with pytest.raises(fastbp.DivergenceError) as caught:
        net.fit(X, targets, batch_size=10, learning_rate=1e20, shuffle=shuffle)
    size = f"{np.abs(X[:, 2]).mean():.2g}"
    assert f"Try inputs of order one (the mean magnitude of column 2 is {size}; see input_shift" in str(caught.value)
    assert "targets" not in str(caught.value)
    assert caught.value.about_targets == ""


def test_divergence_blames_no_data_of_order_one() -> None:
    X, y = rows(60, (6, 12, 5))
    for loss, targets in (("softmax_cross_entropy", y), ("half_squared_error", np.eye(5)[y])):
        net = MLP((6, 12, 5), seed=3, loss=loss)
        with pytest.raises(fastbp.DivergenceError, match=r"are kept\. Try a smaller learning_rate \(now 1e\+30\)$"):
            net.fit(X, targets, batch_size=10, learning_rate=1e30)
