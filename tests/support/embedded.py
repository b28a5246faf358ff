"""Networks with embeddings, and rows for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp import MLP

EMBEDDINGS = {1: (7, 3), 4: (90, 19)}  # of the second, levels that no row has
SIZES = (5, 12, 6, 3)
N = 53


def embedded(dtype: str = "float32", sizes: tuple[int, ...] = SIZES, **more: Any) -> MLP:
    """A network with biases that can be missed."""
    net = MLP(sizes, **{"activation": "silu", "seed": 3, "embeddings": EMBEDDINGS, **more}, dtype=dtype)
    rng = np.random.default_rng(5)
    for b in net.biases:
        b[...] = rng.normal(0, 0.5, b.shape)
    return net


def rows_for(net: MLP, n: int = N, dtype: str | None = None) -> Any:
    """X whose numbers are exact in float32, and labels."""
    rng = np.random.default_rng([n, 6])
    X = rng.normal(size=(n, net.sizes[0])).astype(np.float32).astype(dtype or net.dtype)
    for column, table in net.embeddings.items():
        X[:, column] = rng.integers(0, len(table), n)
    return X, rng.integers(0, net.sizes[-1], n)


def vectors_of(net: MLP, X: Any) -> Any:
    """What the first layer reads: written out with NumPy."""
    plain = [column for column in range(net.sizes[0]) if column not in net.embeddings]
    vectors = [table[X[:, column].astype(int)] for column, table in net.embeddings.items()]
    return np.concatenate([X[:, plain].astype(net.dtype), *vectors], axis=1)


def without_embeddings(net: MLP) -> MLP:
    """A network that reads what `vectors_of` returns, with the same layers."""
    layers = [part for pair in zip(net.weights, net.biases, strict=True) for part in pair]
    sizes = (len(net.weights[0]), *net.sizes[1:])
    return MLP(sizes, net.activation, net.loss_name, net.dtype, initializer=layers)
