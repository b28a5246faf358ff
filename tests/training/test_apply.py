"""`MLP.apply`: one step along a gradient from outside, to the bit the one that training makes of it."""

from __future__ import annotations

import copy
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, OptimizerState, threads
from fastbp.optimizers import OPTIMIZERS, SGD, Adam, Custom, Momentum
from support.comparisons import assert_same_bits
from support.fitting_cases import network, rows, same

PENALTIES: dict[str, dict[str, Any]] = {
    "plain": {}, "l2": {"l2": 0.01}, "clipped": {"max_grad_norm": 0.05}, "both": {"l2": 0.01, "max_grad_norm": 0.05},
}  # fmt: skip
NETWORKS: dict[str, Callable[[], MLP]] = {
    "float32": network,
    "float64": lambda: network(dtype="float64"),
    "one layer": lambda: MLP((6, 5), seed=3),
    "embeddings": lambda: MLP((6, 12, 5), embeddings={2: (4, 3)}, seed=3),
    "quantiles": lambda: MLP((6, 9, 2), loss="quantile", quantile_level=(0.1, 0.9), seed=3),
    "wide": lambda: MLP((6, 300, 200, 5), seed=3),
}


def data(net: MLP) -> tuple[Any, Any]:
    X, y = rows(20)
    for column in net.embeddings:
        X[:, column] = y % 4
    return X, y if net.loss_name == "softmax_cross_entropy" else np.stack([X[:, 0], X[:, 1]], axis=1)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_step_is_that_of_partial_fit(kind: str, optimizer: str, penalty: str) -> None:
    net, twin = NETWORKS[kind](), NETWORKS[kind]()
    X, y = data(net)
    for step in range(6):
        rate = 0.1 / (1 + step)
        twin.partial_fit(X, y, 20, rate, optimizer=optimizer, **PENALTIES[penalty])
        net.apply(net.gradient(X, y), optimizer, rate, **PENALTIES[penalty])
        assert_same_bits(net.parameters, twin.parameters)


def test_a_hundred_steps_of_plain_numpy() -> None:
    """Momentum with a penalty that biases do not have, by the rule of its paper."""
    net, rng = network(dtype="float64"), np.random.default_rng(0)
    weights, biases = [W.copy() for W in net.weights], [b.copy() for b in net.biases]
    velocities = [np.zeros_like(part) for part in (*weights, *biases)]
    for _ in range(100):
        gradient = [rng.normal(size=part.shape) for part in (*weights, *biases)]
        arrays = [part for pair in zip(gradient[:2], gradient[2:], strict=True) for part in pair]
        net.apply(arrays, Momentum(0.8), 0.01, l2=0.1)
        for place, (part, v, g) in enumerate(zip((*weights, *biases), velocities, gradient, strict=True)):
            v[...] = 0.8 * v + g + (0.1 * part if place < 2 else 0)
            part -= 0.01 * v
    for ours, theirs in zip((*net.weights, *net.biases), (*weights, *biases), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=100 * 20 * np.finfo(float).eps * np.abs(theirs).max())


def test_forms_of_a_gradient() -> None:
    """float64 is rounded once; lists of arrays come in the order of `parameters`, tables behind."""
    first = NETWORKS["embeddings"]()
    X, y = data(first)
    g = first.gradient(X, y)
    wide = g.parameters.astype("float64") * (1 + 1e-12)
    arrays = [part for pair in zip(g.weights, g.biases, strict=True) for part in pair] + list(g.embeddings.values())
    given: list[Any] = [
        g, g.parameters, wide, g.parameters.tolist(), arrays, tuple(arrays), [part.tolist() for part in arrays],
        np.repeat(g.parameters, 2)[::2], first.backward(X, first.logits(X)),
    ]  # fmt: skip
    first.apply(g, "adam")
    for each in given[:-1]:
        net = NETWORKS["embeddings"]()
        net.apply(each, "adam")
        assert_same_bits(net.parameters, first.parameters)
    net, twin = NETWORKS["embeddings"](), NETWORKS["embeddings"]()
    net.apply(given[-1], "adam")
    twin.apply(given[-1].parameters, "adam")
    assert_same_bits(net.parameters, twin.parameters)


def test_the_gradient_stays_as_it_is() -> None:
    net = network()
    g = net.gradient(*rows())
    before = g.parameters.copy()
    net.apply(g, "adam", l2=0.1, max_grad_norm=1e-3)
    assert_same_bits(g.parameters, before)


# ---- the state ----


def test_apply_and_partial_fit_go_on_from_each_other() -> None:
    X, y = rows(20)
    net, twin = network(), network()
    for step in range(6):
        twin.partial_fit(X, y, 20, optimizer="adam")
        if step % 2:
            net.partial_fit(X, y, 20, optimizer="adam")
        else:
            net.apply(net.gradient(X, y), "adam")
    assert_same_bits(net.parameters, twin.parameters)
    net.partial_fit(X, y, 20, optimizer="sgd")  # has no state, and the next starts from 0
    twin = network()
    twin.parameters = net.parameters
    for each in (net, twin):
        each.apply(each.gradient(X, y), "adam")
    assert_same_bits(net.parameters, twin.parameters)


def test_each_optimizer_has_its_state() -> None:
    """Two of them take turns at one network; and so they would by hand."""
    net, by_hand = network(dtype="float64"), network(dtype="float64")
    states = OptimizerState(), OptimizerState()
    g, h = net.gradient(*rows()).parameters, net.gradient(*rows(seed=1)).parameters
    velocities = [np.zeros(g.size), np.zeros(g.size)]
    for _ in range(5):
        for state, velocity, gradient in zip(states, velocities, (g, h), strict=True):
            net.apply(gradient, "momentum", 0.1, state=state)
            velocity *= 0.9
            velocity += gradient
            by_hand.parameters[...] -= 0.1 * velocity
    np.testing.assert_allclose(net.parameters, by_hand.parameters, rtol=0, atol=1e-14)
    assert [state.steps for state in states] == [5, 5]
    assert pickle.loads(pickle.dumps(net)).__getstate__()["memory"] is None, "the network's own was not used"


@pytest.mark.parametrize("other", [MLP((6, 9, 5)), network(dtype="float64")], ids=["size", "dtype"])
def test_networks_share_no_state(other: MLP) -> None:
    """Each would start it again from 0, and Adam would never get beyond its first step."""
    net, state = network(), OptimizerState()
    net.apply(net.gradient(*rows()), "adam", state=state)
    before, kept = other.parameters.copy(), state.values.copy()
    with pytest.raises(ValueError, match=r"^state: got that of a network with another number or dtype of parameters"):
        other.apply(other.gradient(*rows()), "adam", state=state)
    assert_same_bits(other.parameters, before)
    assert_same_bits(state.values, kept)
    other.apply(other.gradient(*rows()), "momentum", state=state)  # another kind of optimizer starts from 0


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)), "deepcopy": copy.deepcopy,
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, 0)),
}  # fmt: skip


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_copies_go_on_by_themselves(way: str, optimizer: str) -> None:
    X, y = rows(20)
    net, state = network(), OptimizerState()
    for given in (None, state):
        net.apply(net.gradient(X, y), optimizer, state=given)
    twin, its = COPIES[way](net), COPIES[way](state)
    assert its.steps == state.steps
    assert not COPIES[way](OptimizerState()).filled
    net.partial_fit(X, y, 5)  # plain gradient descent counts its steps, and keeps nothing else
    assert COPIES[way](net._optimizer_state).steps == net._optimizer_state.steps == 4
    twin.partial_fit(X, y, 5)
    for _ in range(2):
        for one, of_one in ((net, state), (twin, its)):
            one.apply(one.gradient(X, y), optimizer, state=of_one)
            one.apply(one.gradient(X, y), optimizer)
    same(net, twin)
    assert its.values is not state.values


def test_shared_parameters_of_a_shallow_copy() -> None:
    X, y = rows(20)
    net, twin = network(), network()
    other = copy.copy(net)
    for _ in range(2):
        net.apply(net.gradient(X, y), "adam")
        other.apply(net.gradient(X, y), "adam")
    for _ in range(4):
        twin.apply(twin.gradient(X, y), "adam")
    same(net, twin)


def test_numbers_of_an_optimizer_may_change() -> None:
    """The state goes on, as that of `partial_fit` does."""
    X, y = rows(20)
    net, twin = network(), network()
    for beta in (0.9, 0.5, 0.9):
        net.apply(net.gradient(X, y), Adam(beta_1=beta), 0.01)
        twin.partial_fit(X, y, 20, 0.01, optimizer=Adam(beta_1=beta))
    same(net, twin)


# ---- what is refused ----


@pytest.mark.parametrize("before", [None, "sgd", "adam"])
def test_refusals_change_nothing(before: str | None) -> None:
    net = network()
    size = net.parameters.size
    right = net.gradient(*rows())
    state = OptimizerState()
    if before:
        net.apply(right, before)
        net.apply(right, before, state=state)
    twin = copy.deepcopy(net)
    nan, large = np.zeros(size), np.zeros(size)
    nan[7], large[8] = np.nan, 1e300
    wrong: list[tuple[str, dict[str, Any]]] = [
        (rf"^gradient: got shape \(3,\), expected \({size},\)", {"gradient": np.zeros(3)}),
        (r"^gradient: got dtype complex128, expected real", {"gradient": np.zeros(size) * 1j}),
        (r"^gradient: got nan at \[7\], expected finite numbers", {"gradient": nan}),
        (r"^gradient: got inf at \[8\], expected finite numbers", {"gradient": large}),
        (r"^gradient: got 2 arrays, expected 4 arrays: W1, b1", {"gradient": right.weights}),
        (r"^gradient\[1\]: got shape \(5,\), expected \(12,\)", {
            "gradient": [right.weights[0], right.biases[1], right.weights[1], right.biases[0]]}),
        (r"^optimizer: got 'newton', expected", {"optimizer": "newton"}),
        (r"^optimizer: got None, expected", {"optimizer": None}),
        (r"^optimizer: got the class SGD", {"optimizer": SGD}),
        (r"^learning_rate: got -1.0", {"learning_rate": -1}),
        (r"^learning_rate: got Constant", {"learning_rate": fastbp.learning_rates.Constant(0.1)}),
        (r"^l2: got nan", {"l2": np.nan}),
        (r"^max_grad_norm: got 0.0", {"max_grad_norm": 0}),
        (r"^state: got dict, expected a fastbp.OptimizerState", {"state": {}}),
    ]  # fmt: skip
    for message, arguments in wrong:
        for given in (None, state):
            with pytest.raises((TypeError, ValueError), match=message):
                net.apply(**{"gradient": right, "optimizer": "momentum", "state": given, **arguments})
    same(net, twin)
    for each in (net, twin):  # and goes on as if nothing had been
        each.apply(right, "adam")
        each.partial_fit(*rows(), optimizer="adam")
    same(net, twin)
    assert state.steps == bool(before)


def test_large_numbers_are_finite() -> None:
    """Their sum is not."""
    net, twin = network(), network()
    gradient = np.full(net.parameters.size, 1e38, "float32")
    net.apply(gradient, learning_rate=1e-37)
    twin.apply(np.ones_like(gradient), learning_rate=10.0)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-5)


def test_a_network_that_another_thread_trains() -> None:
    X, y = rows()
    net, errors = network(), []

    def apply() -> None:
        with pytest.raises(RuntimeError, match="while another thread trains this network") as caught:
            net.apply(net.gradient(X, y))
        errors.append(caught)

    def callback(net: MLP, history: Any) -> None:
        thread = threading.Thread(target=apply)
        thread.start()
        thread.join()

    net.fit(X, y, epochs=1, callbacks=[callback])
    assert len(errors) == 1
    net.fit(X, y, epochs=1, callbacks=[lambda net, history: net.apply(np.zeros(net.parameters.size))])


def test_a_state_that_another_thread_uses() -> None:
    """It holds the gradient too, which one network would take from the other."""
    net, other, state, errors = network(), network(seed=4), OptimizerState(), []

    def apply() -> None:
        with pytest.raises(RuntimeError, match=r"^state: got one that another thread's apply is using") as caught:
            other.apply(np.ones(other.parameters.size), state=state)
        errors.append(caught)

    class Meanwhile(Custom):
        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            thread = threading.Thread(target=apply)
            thread.start()
            thread.join()

    before = other.parameters.copy()
    net.apply(np.ones(net.parameters.size), Meanwhile(), state=state)
    assert len(errors) == 1
    assert_same_bits(other.parameters, before)
    other.apply(np.ones(other.parameters.size), state=state)


# ---- memory ----


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lion"])
@pytest.mark.parametrize("form", ["float32", "float64"])
def test_no_array_is_allocated(optimizer: str, form: str) -> None:
    """Parameters take 320 kB; a step has some numbers in arrays of its own."""
    net = MLP((784, 100, 10), seed=0)
    gradient = np.ones(net.parameters.size, form)

    def step() -> None:
        net.apply(gradient, optimizer, 1e-3, l2=0.1, max_grad_norm=1.0)

    with threads.limit(1):
        for _ in range(3):
            step()
        tracemalloc.start()
        try:
            step()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            step()
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < 4096
    assert peak - before < (8192 if form == "float32" else 80_000)  # NumPy converts some thousand numbers at a time
