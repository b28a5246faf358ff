"""Every gradient of `MLP.gradient`, and that gradient and update are one step of fit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, gradcheck, reference
from fastbp.numeric_gradients.check import numeric_gradient
from fastbp.program.split import Machine, Tuning, forced
from support.networks import DTYPES, WIDE, close, network, parts, probabilities, rows

# ---- gradients ----
KC = 8  # forced: numeric derivatives of hundreds of rows would take minutes
LAYERS = {1: (11, 4), 2: (11, 9, 19), 3: (9, 10, 9, 4), 4: (9, 7, 10, 8, 4)}


def check_every_gradient(net: MLP, X: Any, y: Any, l2: float, function: Any = None) -> tuple[int, int]:
    """All tensors of `gradient` against central differences; returns how many entries were left out, of how many."""
    g = net.gradient(X, y, l2=l2)
    assert g.loss == pytest.approx(net.loss(X, y, l2=l2), rel=1e-14)
    loss = function or (lambda X: net.loss(X, y, l2=l2))
    skipped = entries = 0
    for tensor, gradient in zip([*net.weights, *net.biases], [*g.weights, *g.biases], strict=True):
        kept = tensor.copy()

        def of_tensor(value: Any, tensor: Any = tensor) -> float:
            tensor[...] = value
            return loss(X)

        result = gradcheck(of_tensor, gradient, kept, rtol=1e-7)
        tensor[...] = kept
        assert result, str(result)
        skipped, entries = skipped + result.skipped, entries + kept.size
    result = gradcheck(loss, g.inputs, X, rtol=1e-7)
    assert result, str(result)
    return skipped + result.skipped, entries + g.inputs.size


@pytest.mark.parametrize("batch", [1, KC - 1, KC, KC + 1, 3 * KC + 5])
@pytest.mark.parametrize("layers", LAYERS)
def test_every_gradient_against_central_differences(layers: int, batch: int) -> None:
    sizes = LAYERS[layers]
    shift, scale = np.linspace(-0.5, 0.5, sizes[0]), np.linspace(0.6, 1.4, sizes[0])
    net = network(sizes, "float64", seed=layers, input_shift=shift, input_scale=scale)
    X, y = rows(batch, sizes, "float64")
    with forced(Tuning(kc=KC)):
        skipped, entries = check_every_gradient(net, X, y, l2=0.03)
    assert skipped <= entries // 50  # kinks are rare here: a check that leaves out everything checks nothing


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_probabilities_and_identity_against_central_differences(threads: int) -> None:
    net = network((7, 6, 5, 3), "float64", activation="identity")
    X, _ = rows(9, net.sizes, "float64")
    with fastbp.threads.limit(threads):
        assert check_every_gradient(net, X, probabilities(9, 3), l2=0.0)[0] == 0  # it is smooth: nothing to leave out


def test_gradients_against_central_differences_of_the_reference() -> None:
    net = network((5, 8, 6, 4), "float64", input_scale=0.8, input_shift=0.1)
    X, y = rows(13, net.sizes, "float64")
    check_every_gradient(net, X, y, 0.07, lambda X: reference.loss(**parts(net), X=X, labels=y, l2=0.07))


def test_kinks_are_left_out_and_counted() -> None:
    net = network((2, 3, 2), "float64")
    X = np.array([[1.0, 0.5], [-0.3, 0.8]])
    H = X[0] @ net.weights[0]
    net.biases[0][0] = 1e-7 - H[0]  # the first unit's input at the first row: within the step of 0
    g = net.gradient(X, [0, 1])

    def of_bias(value: Any) -> float:
        net.biases[0][...] = value
        return net.loss(X, [0, 1])

    kept = net.biases[0].copy()
    numeric = numeric_gradient(of_bias, kept)
    result = gradcheck(of_bias, g.biases[0], kept)
    net.biases[0][...] = kept
    assert result, str(result)
    assert result.skipped == 1
    assert abs(numeric[0] - g.biases[0][0]) > 1e-6  # without leaving it out this would have failed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_at_the_real_stretch_agree_with_the_reference(threads: int, dtype: str) -> None:
    kc = Machine(np.dtype(dtype), 1).longest_stretch
    assert kc >= 64
    net = network((6, 9, 5), dtype, input_scale=0.5)
    for n in (1, kc - 1, kc, kc + 1, 3 * kc + 5):
        X, y = rows(n, net.sizes, dtype)
        with fastbp.threads.limit(threads):
            g = net.gradient(X, y, l2=0.01)
        loss, dWs, dbs, dX = reference.gradient(**parts(net), X=X, labels=y, l2=0.01)
        assert isinstance(g.loss, float)
        close(g.loss, loss, dtype, 60)
        close(g.inputs, dX, dtype, 60)
        for got, want in zip([*g.weights, *g.biases], [*dWs, *dbs], strict=True):
            assert got.dtype == np.dtype(dtype)
            close(got, want, dtype, n + 60)


def test_gradient_changes_nothing() -> None:
    net = network((6, 9, 5))
    X, y = rows(12, net.sizes)
    before, state = net.parameters.copy(), net.rng.bit_generator.state
    g = net.gradient(X, y, l2=0.1)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.rng.bit_generator.state == state
    assert not any(np.shares_memory(part, net.parameters) for part in (*g.weights, *g.biases))
    again = net.gradient(X, y, l2=0.1)  # a second one does not write into the first
    np.testing.assert_array_equal(g.weights[0], again.weights[0])
    assert not np.shares_memory(g.weights[0], again.weights[0])


# ---- gradient and update are one step of fit ----
STEPS = [
    ((2, 50, 4), 1), ((2, 50, 4), 32), ((64, 100, 10), 128), ((13, 57, 129, 7), 61), ((20, 10), 17), ((9, 20, 37), 33),
    ((5, 20, 3), 1500),  # beyond the stretch of a gradient
    ((5, 20, 3), 4500),  # beyond the stretch of an update: partial sums aside
    (WIDE, 150),  # a gradient part by part
]  # fmt: skip


def one_step(net: MLP, X: Any, y: Any, l2: float) -> MLP:
    net = copy.deepcopy(net)
    net.fit(X, y, epochs=1, batch_size=len(X), learning_rate=0.3, l2=l2, shuffle=False)
    return net


def gradient_and_update(net: MLP, X: Any, y: Any, l2: float) -> MLP:
    net = copy.deepcopy(net)
    g = net.gradient(X, y, l2=0.0)
    for W, dW in zip(net.weights, g.weights, strict=True):
        fastbp.sgd_update(W, dW, 0.3, l2)
    for b, db in zip(net.biases, g.biases, strict=True):
        fastbp.sgd_update(b, db, 0.3, 0.0)
    return net


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("l2", [0.0, 0.02])
@pytest.mark.parametrize(("sizes", "n"), STEPS)
def test_gradient_and_update_give_the_bits_of_a_step(sizes: tuple[int, ...], n: int, l2: float, dtype: str) -> None:
    net = network(sizes, dtype)
    X, y = rows(n, sizes, dtype)
    stepped = one_step(net, X, y, l2)
    assert (stepped.parameters != net.parameters).any()
    np.testing.assert_array_equal(gradient_and_update(net, X, y, l2).parameters, stepped.parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kc", [1, 8, 13])
def test_gradient_and_update_give_the_bits_of_a_step_with_short_stretches(kc: int, dtype: str) -> None:
    net = network((13, 57, 129, 7), dtype)
    X, y = rows(41, net.sizes, dtype)
    expected = one_step(net, X, y, 0.02).parameters
    with forced(Tuning(kc=kc)):
        np.testing.assert_array_equal(one_step(net, X, y, 0.02).parameters, expected)
        np.testing.assert_array_equal(gradient_and_update(net, X, y, 0.02).parameters, expected)
