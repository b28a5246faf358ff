"""Dropout of layers and of inputs: against the reference, the same bits however it is cut, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.program.tuning import Tuning, forced

KEY, N, BATCH, EPOCHS = 2**40 + 9, 53, 12, 3
SIZES = (5, 19, 8, 3)
SHARES: dict[str, dict[str, Any]] = {
    "each layer": {"dropout": (0.25, 0.5)},
    "the second layer": {"dropout": [0.0, 0.3]},
    "inputs": {"input_dropout": 0.3},
    "both": {"dropout": np.array([0.4, 0.1]), "input_dropout": 0.2},
}
EMBEDDINGS: dict[str, Any] = {"without": {}, "with embeddings": {"embeddings": {1: (4, 3), 4: (6, 2)}}}


def case(embeddings: str, dtype: str = "float64", n: int = N) -> tuple[MLP, Any, Any]:
    net = MLP(SIZES, ("tanh", "gelu"), dtype=dtype, seed=3, **EMBEDDINGS[embeddings])
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, SIZES[0])).astype(dtype)
    for column, (levels, _) in EMBEDDINGS[embeddings].get("embeddings", {}).items():
        X[:, column] = rng.integers(0, levels, n)
    return net, X, rng.integers(0, SIZES[-1], n)


def parts_of(net: MLP) -> tuple[Any, Any, Any]:
    return net.embeddings, net.weights, net.biases


def assert_parts(net: MLP, tables: Any, weights: Any, biases: Any) -> None:
    found = [*net.embeddings.values(), *net.weights, *net.biases]
    for one, other in zip(found, [*tables.values(), *weights, *biases], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * max(1.0, np.abs(other).max()))


@pytest.mark.parametrize("embeddings", EMBEDDINGS)
@pytest.mark.parametrize("shares", SHARES)
def test_gradient_agrees_with_the_reference(shares: str, embeddings: str) -> None:
    net, X, y = case(embeddings)
    given = SHARES[shares]
    masks = reference.dropout_masks(KEY, SIZES[1:-1], N, given.get("dropout", 0.0))
    first = reference.dropout_mask(KEY, -1, N, len(net.weights[0]), given.get("input_dropout", 0.0))
    loss, dWs, dbs, dX, d_tables = reference.embedded_gradient(
        *parts_of(net), X, y, activation=net.activation, masks=masks, input_mask=first
    )
    g = net.gradient(X, y, dropout_key=KEY, **given)
    assert g.loss == pytest.approx(loss, rel=1e-13)
    found = [*g.weights, *g.biases, g.inputs, *g.embeddings.values()]
    for one, other in zip(found, [*dWs, *dbs, dX, *d_tables.values()], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * np.abs(other).max())


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("embeddings", EMBEDDINGS)
@pytest.mark.parametrize("shares", SHARES)
def test_fit_agrees_with_the_reference(shares: str, embeddings: str, shuffle: bool) -> None:
    net, X, y = case(embeddings)
    draws = copy.deepcopy(net.rng)
    key = int(draws.integers(2**63))
    order = [draws.permutation(N) if shuffle else np.arange(N) for _ in range(EPOCHS)]
    *parts, _ = reference.embedded_train(
        *parts_of(net), X, y, order, BATCH, 0.02, 0.01, net.activation, optimizer="adam", dropout_key=key,
        **SHARES[shares],
    )  # fmt: skip
    net.fit(X, y, EPOCHS, BATCH, 0.02, 0.01, "adam", shuffle, **SHARES[shares])
    assert_parts(net, *parts)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_share_for_all_layers_is_as_many_equal_ones(dtype: str) -> None:
    one, X, y = case("without", dtype)
    each = copy.deepcopy(one)
    one.fit(X, y, EPOCHS, BATCH, dropout=0.3)
    each.fit(X, y, EPOCHS, BATCH, dropout=(0.3, 0.3))
    np.testing.assert_array_equal(one.parameters, each.parameters)


def test_shares_of_0_draw_nothing() -> None:
    one, X, y = case("without")
    none = copy.deepcopy(one)
    one.fit(X, y, EPOCHS, BATCH)
    none.fit(X, y, EPOCHS, BATCH, dropout=(0.0, 0), input_dropout=0.0)
    np.testing.assert_array_equal(one.parameters, none.parameters)


WAYS = {
    "none": Tuning(), "2 x 2 parts": Tuning(row_parts=2, column_parts=2), "slabs": Tuning(slabs=True, row_parts=3),
    "specialised": Tuning(specialised=True),
}  # fmt: skip


@pytest.mark.parametrize("embeddings", EMBEDDINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_however_a_step_is_cut(dtype: str, embeddings: str) -> None:
    found = set()
    for way in WAYS.values():
        for threads in (1, 2):
            with forced(way), fastbp.threads.limit(threads):
                net, X, y = case(embeddings, dtype)
                net.fit(X, y, EPOCHS, BATCH, optimizer="adam", **SHARES["both"])
                found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_the_same_bits_from_a_stream_and_in_pieces() -> None:
    net, X, y = case("without")
    chunks, parts = copy.deepcopy(net), copy.deepcopy(net)
    options: dict[str, Any] = {"batch_size": BATCH, "learning_rate": 0.02, **SHARES["both"]}
    net.fit(X, y, 1, shuffle=False, **options)
    chunks.fit(iter([(X[:20], y[:20]), (X[20:], y[20:])]), epochs=1, shuffle=False, **options)
    parts.partial_fit(X, y, **options)
    np.testing.assert_array_equal(net.parameters, chunks.parameters)
    np.testing.assert_array_equal(net.parameters, parts.parameters)


def test_many_networks_and_each_share() -> None:
    nets = [MLP(SIZES, seed=seed) for seed in range(2)]
    _, X, y = case("without", "float32")
    shares = [(0.1, 0.3), 0.2]
    alone = copy.deepcopy(nets)
    fastbp.fit_many(nets, X, y, epochs=2, dropout=shares, input_dropout=[0.0, 0.4])
    for net, one, dropout, inputs in zip(nets, alone, shares, (0.0, 0.4), strict=True):
        one.fit(X, y, epochs=2, dropout=dropout, input_dropout=inputs)
        np.testing.assert_array_equal(net.parameters, one.parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": (0.1,)}, r"dropout: got 1 shares, expected one number, or 2: one for each hidden layer"),
        ({"dropout": (0.1, 1.0)}, r"dropout\[1\]: got 1.0, expected a number from 0 to below 1"),
        ({"input_dropout": 1.0}, r"input_dropout: got 1.0, expected a number from 0 to below 1"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    net, X, y = case("without")
    before = net.parameters.copy()
    for method in (net.fit, net.partial_fit, net.gradient):
        with pytest.raises(ValueError, match=f"^{message}$"):
            method(X, y, **options)
    np.testing.assert_array_equal(net.parameters, before)
