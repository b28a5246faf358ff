"""Networks built of nodes against `MLP.gradient` and numeric derivatives, and random graphs."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from fastbp import MLP, gradcheck
from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy
from fastbp.numeric_gradients.check import numeric_gradient
from support.comparisons import assert_same_bits
from support.graph_cases import DTYPES, EPS, assert_sums_of_what_was_sent, random_graph
from support.lanes import in_lanes


def network_of_nodes(parameters: list[Variable], X: Any, labels: Any, rectified: bool = True) -> tuple[Variable, ...]:
    """The loss and the input of the network with these parameters: W1, b1, W2, b2, ..."""
    h = x = Variable(X, "X")
    for k in range(0, len(parameters), 2):
        h = affine(h, *parameters[k : k + 2])
        if rectified and k + 2 < len(parameters):
            h = h.relu()
    return softmax_cross_entropy(h, labels), x


# ---- networks ----
NETWORKS = [(2, 50, 4), (13, 57, 129, 7), (9, 20, 37), (5, 3)]
BATCHES = [1, 2, 5, 37, 200]


def network(sizes: tuple[int, ...], dtype: str, activation: str = "relu") -> MLP:
    """With biases that are not 0, so that a bias left out is seen."""
    net = MLP(sizes, activation=activation, dtype=dtype, seed=1)
    for b in net.biases:
        b[...] = np.random.default_rng(2).normal(0.0, 0.3, b.shape)
    return net


def batch(n: int, sizes: tuple[int, ...], dtype: str, form: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    if form == "indices":
        return X, rng.integers(0, sizes[-1], n)
    return X, rng.multinomial(64, np.full(sizes[-1], 1 / sizes[-1]), size=n) / 64  # sums exactly 1


def parameters_of(net: MLP) -> list[Variable]:
    pairs = zip(net.weights, net.biases, strict=True)
    return [Variable(part, f"{name}{k}") for k, pair in enumerate(pairs) for name, part in zip("Wb", pair, strict=True)]


def interleaved(weights: list[Any], biases: list[Any]) -> list[Any]:
    return list(itertools.chain.from_iterable(zip(weights, biases, strict=True)))


def check_network(net: MLP, n: int, form: str) -> None:
    X, labels = batch(n, net.sizes, net.dtype.name, form)
    expected = net.gradient(X, labels)
    parameters = parameters_of(net)
    loss, x = network_of_nodes(parameters, X, labels, net.activation == "relu")
    loss.backward()
    for got, gradient in zip(
        [*parameters, x], [*interleaved(expected.weights, expected.biases), expected.inputs], strict=True
    ):
        assert_same_bits(got.grad, gradient)
    # The same losses of rows, in float64 summed in another order: both sums are within (n - 1) eps/2.
    assert loss.value == pytest.approx(expected.loss, rel=(n + 1) * EPS, abs=0)
    for variable in ordered(loss):
        for part in (variable.value, variable.grad, *variable.operand_gradients, *variable.local_gradients):
            assert np.shape(part) == () or part.dtype == net.dtype


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("form", ["indices", "rows"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", NETWORKS, ids=str)
def test_network_has_the_bits_of_mlp_gradient(sizes: tuple[int, ...], dtype: str, form: str, n: int) -> None:
    check_network(network(sizes, dtype), n, form)


@pytest.mark.parametrize("dtype", DTYPES)
def test_network_without_activation_has_the_bits_of_mlp_gradient(dtype: str) -> None:
    check_network(network((13, 57, 129, 7), dtype, "identity"), 37, "indices")


@pytest.mark.parametrize("dtype", DTYPES)
def test_network_that_the_mlp_takes_part_by_part_has_its_bits(dtype: str) -> None:
    check_network(network((8, 9000, 4), dtype), 200, "indices")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(2, 50, 4), (13, 57, 129, 7)], ids=str)
def test_network_with_penalty(sizes: tuple[int, ...], dtype: str) -> None:
    net, l2, n = network(sizes, dtype), 0.03, 37
    X, labels = batch(n, sizes, dtype, "indices")
    expected, plain = net.gradient(X, labels, l2), net.gradient(X, labels)
    parameters = parameters_of(net)
    loss, x = network_of_nodes(parameters, X, labels)
    for W in parameters[::2]:
        loss = loss + 0.5 * l2 * (W * W).sum()
    loss.backward()
    eps = float(np.finfo(dtype).eps)
    for W, dW, without, array in zip(parameters[::2], expected.weights, plain.weights, net.weights, strict=True):
        assert W.grad is not None and W.grad.dtype == net.dtype
        # l2/2, its product with W and two sums are rounded here, l2 and one or two there.
        bound = 4 * eps * (np.abs(without) + l2 * np.abs(array))
        assert (np.abs(W.grad - dW) <= bound).all()
        assert np.abs(W.grad - without).max() > 100 * bound.max()
    for b, db in zip(parameters[1::2], expected.biases, strict=True):
        assert_same_bits(b.grad, db)
    assert_same_bits(x.grad, expected.inputs)
    terms = max(W.size for W in net.weights)
    assert loss.value == pytest.approx(expected.loss, rel=(terms + 3) * eps, abs=0)


@pytest.mark.parametrize("form", ["indices", "rows"])
@pytest.mark.parametrize("sizes", [(3, 8, 4), (3, 7, 6, 4)], ids=["two layers", "three layers"])
def test_network_has_the_numeric_gradient(sizes: tuple[int, ...], form: str) -> None:
    net = network(sizes, "float64")
    X, labels = batch(5, sizes, "float64", form)
    parameters = parameters_of(net)
    penalty = 0.02

    def penalised(parameters: list[Variable], X: Any) -> tuple[Variable, ...]:
        loss, x = network_of_nodes(parameters, X, labels)
        for W in parameters[::2]:
            loss = loss + 0.5 * penalty * (W * W).sum()
        return loss, x

    loss, x = penalised(parameters, X)
    loss.backward()
    for k, parameter in enumerate(parameters):

        def of_parameter(value: Any, k: int = k) -> Any:
            return penalised([*parameters[:k], Variable(value), *parameters[k + 1 :]], X)[0].value

        check = gradcheck(of_parameter, parameter.grad, parameter.value)
        assert check, f"{parameter.name}: {check}"
        assert check.skipped < np.size(parameter.value) / 4
    assert gradcheck(lambda X: penalised(parameters, X)[0].value, x.grad, X)


def test_gradient_steps_lower_the_loss() -> None:
    net = network((13, 57, 129, 7), "float64")
    X, labels = batch(37, net.sizes, "float64", "indices")
    parameters = parameters_of(net)
    losses = []
    for _ in range(5):
        loss, _ = network_of_nodes(parameters, X, labels)
        loss.backward()
        losses.append(loss.value)
        parameters = [Variable(p.value - 0.05 * p.grad, p.name) for p in parameters]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("seed", in_lanes(range(52), fast=range(12)))
def test_random_graph_has_the_numeric_gradient(seed: int) -> None:
    values, build = random_graph(seed)
    leaves, result = build(*values)
    result.backward()
    assert_sums_of_what_was_sent(result, rounding=len(ordered(result)) * EPS)
    for k, leaf in enumerate(leaves):

        def of_leaf(x: Any, k: int = k) -> Any:
            return build(*values[:k], x, *values[k + 1 :])[1].value

        # Half the step has a quarter of the truncation error, so that this is known of the function alone; to it comes
        # the rounding of a sum of up to 60 means.
        h = math.cbrt(EPS)
        numeric, finer = numeric_gradient(of_leaf, values[k], eps=h), numeric_gradient(of_leaf, values[k], eps=h / 2)
        truncation = np.abs(numeric - finer).max()
        allowed = 2 * truncation + 60 * EPS / h
        assert allowed < 1e-6 * max(1.0, np.abs(numeric).max())
        assert np.abs(leaf.grad - finer).max() <= allowed
