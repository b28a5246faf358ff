"""Outputs of hidden layers: what the rest of the network makes its logits of, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastbp import MLP, threads
from fastbp.kernels.activations import ACTIVATIONS
from support.comparisons import assert_same_bits

SIZES = (5, 17, 9, 4)


def rest_of(net: MLP, layer: int) -> MLP:
    """The layers behind a hidden one, as a network."""
    arrays = [array for pair in zip(net.weights, net.biases, strict=True) for array in pair]
    activation = net.activation if isinstance(net.activation, str) else net.activation[layer + 1 :]
    return MLP(net.sizes[layer + 1 :], activation, dtype=net.dtype, initializer=arrays[2 * layer + 2 :])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layer", [0, 1])
def test_the_rest_of_the_network_makes_the_logits_of_them(dtype: str, activation: str, layer: int) -> None:
    net = MLP(SIZES, activation, dtype=dtype, seed=0)
    X = np.random.default_rng(1).normal(size=(70, SIZES[0]))
    hidden = net.hidden(X, layer)
    assert hidden.shape == (70, SIZES[layer + 1]) and hidden.dtype == dtype
    assert_same_bits(rest_of(net, layer).logits(hidden), net.logits(X))
    assert_same_bits(net.hidden(X, layer - 2), hidden)


def test_against_numpy() -> None:
    net = MLP((3, 8, 2), dtype="float64", seed=0, input_shift=1.0, input_scale=0.5)
    X = np.random.default_rng(1).normal(size=(40, 3))
    expected = np.maximum((X - 1.0) * 0.5 @ net.weights[0] + net.biases[0], 0.0)
    bound = 8 * np.finfo(float).eps * np.abs(expected).max()
    assert np.abs(net.hidden(X) - expected).max() <= bound


@pytest.mark.parametrize("most", [1, 2])
def test_many_rows(most: int) -> None:
    net = MLP((40, 300, 5), seed=0)
    X = np.random.default_rng(1).normal(size=(5000, 40)).astype("float32")
    with threads.limit(most):
        hidden = net.hidden(X)
    assert len(X) > net.model.rows_at_once  # several calls
    assert_same_bits(hidden[[0, 1234, 4999]], net.hidden(X[[0, 1234, 4999]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_inputs_that_are_not_finite(bad: float) -> None:
    X = np.ones((30, 5))
    X[17, 2] = bad
    with pytest.raises(ValueError, match="row 17"):
        MLP(SIZES).hidden(X)


@pytest.mark.parametrize(
    ("sizes", "layer", "error", "words"),
    [
        (SIZES, 2, ValueError, "layer: got 2, expected -2 to 1"),
        (SIZES, -3, ValueError, "layer: got -3, expected at least -2"),
        (SIZES, "last", TypeError, "layer: got 'last', expected a whole number"),
        ((5, 3), -1, ValueError, "the network has no hidden layer"),
    ],
)
def test_layers_that_are_not_there(sizes: Any, layer: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        MLP(sizes).hidden(np.ones((2, 5)), layer)
