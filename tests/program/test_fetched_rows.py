"""Rows of X that a training step fetches itself, by the order of the epoch: the same bits as of staged rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.learning_rates import Constant
from fastbp.optimizers import SGD
from fastbp.program.split import Tuning, forced
from fastbp.training import loop
from support.memory import guarded

N, BATCH = 53, 12
Array = np.ndarray[Any, Any]


def data(features: int, dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(features)
    return rng.normal(size=(N, features)).astype(dtype), rng.integers(0, 3, N)


def trained(X: Any, y: Array, dtype: str, **options: Any) -> tuple[bytes, list[float]]:
    net = MLP((X.shape[1], 6, 3), dtype=dtype, seed=1)
    history = net.fit(X, y, 3, BATCH, 0.1, l2=0.01, **options)
    return net.parameters.tobytes(), history.loss


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each call of the compiled pass, whether it was given an order."""
    seen: list[bool] = []
    call = loop.Training._call

    def watched(self: Any, stage: Any, *arguments: Any) -> Any:
        seen.append(stage.order is not None)
        return call(self, stage, *arguments)

    monkeypatch.setattr(loop.Training, "_call", watched)
    return seen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 7, 16, 33, 200])
def test_the_bits_of_staged_rows(features: int, dtype: str, fetches: list[bool]) -> None:
    X, y = data(features, dtype)
    staged = trained(np.asfortranarray(X) if features > 1 else X[::1].astype(">f8"), y, dtype)
    assert not any(fetches)
    for way, threads in ((Tuning(), 2), (Tuning(parallel=True), 2), (Tuning(parallel=True, row_parts=3), 2),
                         (Tuning(parallel=True, slabs=False), 2), (Tuning(parallel=False), 1)):  # fmt: skip
        fetches.clear()
        with forced(way), fastbp.threads.limit(threads):
            assert trained(X, y, dtype) == staged
        assert all(fetches)


@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("features", [1, 7, 33])
def test_nothing_beyond_x_is_read(features: int, side: str, fetches: list[bool]) -> None:
    X, y = data(features, "float32")
    assert trained(guarded(X, side), y, "float32") == trained(X, y, "float32")
    assert all(fetches)


def test_chosen_rows(fetches: list[bool]) -> None:
    X, y = data(9, "float64")
    rows = np.random.default_rng(0).integers(0, N, 40)  # some of them twice
    assert trained(X, y, "float64", rows=rows) == trained(X[rows], y[rows], "float64")
    assert all(fetches)


def test_rows_in_their_own_order_are_read_where_they_lie(fetches: list[bool]) -> None:
    trained(*data(9, "float64"), "float64", shuffle=False)
    assert not any(fetches)


def test_a_row_is_named_that_is_not_finite() -> None:
    X, y = data(9, "float32")
    X[31, 4] = np.inf
    net = MLP((9, 6, 3), seed=1)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="X: got NaN or infinity in row 31"):
        net.fit(X, y, epochs=2)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("place", [-1, N])
def test_an_order_that_leaves_x_is_refused(place: int) -> None:
    X, y = data(9, "float32")
    order = np.arange(N)
    order[20] = place
    net = MLP((9, 6, 3), seed=1)
    plan = loop.Plan(epochs=1, batch_size=BATCH, learning_rate=Constant(0.1), l2=0.0, optimizer=SGD(),
                         order=lambda rows: order)  # fmt: skip
    with pytest.raises(ValueError, match=rf"order: got {place} at \[20\]"):
        net.train(X, y, plan)
