"""Back-propagation from a gradient of the logits that comes from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, gradcheck, threads
from fastbp.kernels.activations import ACTIVATIONS
from support.comparisons import assert_same_bits

SIZES = (4, 17, 9, 3)


def assert_same(actual: Any, expected: Any) -> None:
    for name in ("weights", "biases"):
        for one, other in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert_same_bits(one, other)
    assert_same_bits(actual.inputs, expected.inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 70, 3000])
def test_the_gradient_of_a_loss(dtype: str, rows: int) -> None:
    """64 and 1/64 are powers of two: the mean loss's own gradient, to the bit."""
    rng = np.random.default_rng(0)
    net = MLP(SIZES, "tanh", "half_squared_error", dtype, seed=0, input_shift=0.5, input_scale=2.0)
    X, targets = rng.normal(size=(rows, 4)), rng.normal(size=(rows, 3)).astype(dtype)
    z, share = net.logits(X), np.dtype(dtype).type(1 / 3)
    dlogits = (z - targets) * (share * np.dtype(dtype).type(1 / rows))
    assert_same(net.backward(X, dlogits), net.gradient(X, targets))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", [0, 2])
def test_derivatives_of_an_output(activation: str, output: int) -> None:
    net = MLP(SIZES, activation, dtype="float64", seed=1)
    X = np.random.default_rng(2).normal(size=(5, 4))
    one = np.zeros((5, 3))
    one[:, output] = 1.0
    found = net.backward(X, one)
    assert gradcheck(lambda x: net.logits(x)[:, output].sum(), found.inputs, X)

    def of_biases(b: Any) -> float:
        net.biases[0][...] = b
        return float(net.logits(X)[:, output].sum())

    assert gradcheck(of_biases, found.biases[0], net.biases[0].copy())


def test_one_output_and_threads() -> None:
    net = MLP((30, 200, 1), loss="huber", seed=0)
    X, dlogits = np.random.default_rng(0).normal(size=(2000, 30)), np.random.default_rng(1).normal(size=2000)
    with threads.limit(1):
        expected = net.backward(X, dlogits)
    assert_same(net.backward(X, dlogits[:, None]), expected)
    assert isinstance(expected, fastbp.Derivatives)


def test_rows_of_a_frame_are_in_its_order() -> None:
    pd = pytest.importorskip("pandas")
    net = MLP((2, 3, 2), seed=0)
    net.feature_names = ("a", "b")
    X = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    swapped = pd.DataFrame({"b": X[:, 1], "a": X[:, 0]})
    assert_same_bits(net.backward(swapped, np.ones((6, 2))).inputs, net.backward(X, np.ones((6, 2))).inputs[:, ::-1])


@pytest.mark.parametrize(
    ("dlogits", "error", "words"),
    [
        (np.ones((4, 3)), ValueError, r"dlogits: got shape \(4, 3\), expected \(5, 3\)"),
        (np.ones(5), ValueError, r"dlogits: got shape \(5,\)"),
        (np.ones((5, 3), complex), TypeError, "dlogits: got dtype complex128"),
    ],
)
def test_what_is_refused(dlogits: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        MLP(SIZES).backward(np.ones((5, 4)), dlogits)
