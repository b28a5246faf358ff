"""Optimizers of a user's own, in NumPy or compiled: in `fit`, `partial_fit` and `apply`."""

from __future__ import annotations

import pickle
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.learning_rates import Cosine
from fastbp.optimizers import Custom
from support.comparisons import assert_same_bits
from support.fitting_cases import network, rows, same, undone

EPS = np.finfo(float).eps


class OwnSGD(Custom):
    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        parameters -= step.learning_rate * gradient


@dataclass(frozen=True)
class OwnMomentum(Custom):
    momentum: float = 0.9

    states = 1

    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        (velocity,) = state
        velocity *= self.momentum
        velocity += gradient
        parameters -= step.learning_rate * velocity


class OwnAdamW(Custom):
    """Decoupled decay of weights and tables alone."""

    states = 2

    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        m, v = state
        for part in (*step.weights(parameters), *step.embeddings(parameters).values()):
            part *= 1 - step.learning_rate * 0.01
        m *= 0.9
        m += (1 - 0.9) * gradient
        v *= 0.999
        v += (1 - 0.999) * gradient**2
        root = np.sqrt(v / (1 - 0.999**step.number)) + 1e-8
        parameters -= step.learning_rate * (m / (1 - 0.9**step.number)) / root


class OwnLion(Custom):
    states = 1

    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        (m,) = state
        parameters -= step.learning_rate * np.sign(0.9 * m + 0.1 * gradient)
        m *= 0.99
        m += 0.01 * gradient


OWN = {"sgd": OwnSGD(), "momentum": OwnMomentum(), "adamw": OwnAdamW()}
X, Y = rows(60)
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "l2": {"l2": 0.03},
    "clipped": {"max_grad_norm": 0.1},
    "clipped, l2 and dropout": {"max_grad_norm": 0.1, "l2": 0.03, "dropout": 0.3},
    "weights and a schedule": {"sample_weight": np.linspace(0, 2, 60), "learning_rate": Cosine(0.02, warmup=0.3)},
    "gathered": {"X": X.astype("float32") * 2, "shuffle": False},
    "in order": {"shuffle": False, "l2": 0.03},
    "early stopping": {"early_stopping": 2, "tol": 0.02, "validation_data": (X[:20], Y[:20])},
    "in blocks": {"X": np.tile(X, (4, 1)), "y": np.tile(Y, 4), "memory_limit": 4000},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", OWN)
def test_one_s_own_is_the_built_in_one_to_rounding(name: str, settings: str) -> None:
    """Rows, masks, losses and steps are the same; 60 rows in minibatches of 16 leave one of 12."""
    given = {"X": X.astype("float64"), "y": Y, "epochs": 8, "batch_size": 16, "learning_rate": 0.02,
             **SETTINGS[settings]}  # fmt: skip
    net, twin = network(dtype="float64", activation="tanh"), network(dtype="float64", activation="tanh")
    history, expected = net.fit(optimizer=OWN[name], **given), twin.fit(optimizer=name, **given)
    assert len(history.loss) == len(expected.loss)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=2000 * EPS)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=0, atol=2000 * EPS)
    assert net.rng.bit_generator.state == twin.rng.bit_generator.state


@pytest.mark.parametrize("name", OWN)
def test_embedded_columns_and_other_dtypes(name: str) -> None:
    given = X.copy()
    given[:, 2] = Y % 4
    for dtype, eps in (("float64", EPS), ("float32", np.finfo("float32").eps)):
        net, twin = (MLP((6, 9, 5), "tanh", embeddings={2: (4, 3)}, dtype=dtype, seed=1) for _ in range(2))
        for each, optimizer in ((net, OWN[name]), (twin, name)):
            each.fit(given, Y, epochs=3, batch_size=16, optimizer=optimizer, learning_rate=0.01, l2=0.01)
        np.testing.assert_allclose(net.parameters, twin.parameters, rtol=0, atol=4000 * eps)


@pytest.mark.parametrize("optimizer", [OwnMomentum(), OwnAdamW()], ids=lambda one: type(one).__name__)
def test_fit_partial_fit_and_apply_are_one(optimizer: Custom) -> None:
    """To the bit, since they call the same update with the same gradient."""
    for penalty in ({}, {"l2": 0.1}, {"max_grad_norm": 0.05}, {"l2": 0.1, "max_grad_norm": 0.05}):
        fitted, parts, applied = network(), network(), network()
        fitted.fit(X, Y, epochs=1, batch_size=20, optimizer=optimizer, shuffle=False, learning_rate=0.1, **penalty)
        for begin in range(0, 60, 20):
            some = X[begin : begin + 20], Y[begin : begin + 20]
            parts.partial_fit(*some, 20, 0.1, optimizer=optimizer, **penalty)
            applied.apply(applied.gradient(*some), optimizer, 0.1, **penalty)
        same(fitted, parts)
        same(fitted, applied)


def sign_step(w: Any, g: Any, m: Any) -> tuple[Any, Any]:
    return w - 0.002 * np.sign(0.9 * m + 0.1 * g), 0.99 * m + 0.01 * g


def test_lion_over_a_hundred_steps_of_plain_numpy() -> None:
    net = network(dtype="float64", activation="tanh")
    weights, biases = [W.copy() for W in net.weights], [b.copy() for b in net.biases]
    moments = [np.zeros_like(part) for part in (*weights, *biases)]
    net.fit(X, Y, epochs=25, batch_size=15, shuffle=False, optimizer=OwnLion(), learning_rate=0.002)
    for step in range(100):
        some = slice(15 * (step % 4), 15 * (step % 4) + 15)
        _, dWs, dbs, _ = reference.gradient(weights, biases, X[some], Y[some], activation="tanh")
        updated = [sign_step(*each) for each in zip((*weights, *biases), (*dWs, *dbs), moments, strict=True)]
        parts, moments = [part for part, _ in updated], [moment for _, moment in updated]
        weights, biases = parts[:2], parts[2:]
    assert np.abs(net.weights[0] - network(dtype="float64", activation="tanh").weights[0]).max() > 0.01
    for ours, theirs in zip((*net.weights, *net.biases), (*weights, *biases), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1000 * EPS)


@pytest.mark.slow
def test_a_compiled_update() -> None:
    numba = pytest.importorskip("numba")

    @numba.njit
    def move(w: Any, g: Any, v: Any, rate: Any) -> None:
        for i in range(w.size):
            v[i] = 0.9 * v[i] + g[i]
            w[i] -= rate * v[i]

    class Compiled(Custom):
        states = 1

        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            move(parameters, gradient, state[0], step.learning_rate)

    net, twin = network(dtype="float64"), network(dtype="float64")
    for each, optimizer in ((net, Compiled()), (twin, OwnMomentum())):
        each.fit(X, Y, epochs=3, optimizer=optimizer)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=0, atol=1000 * EPS)


def test_what_an_update_gets() -> None:
    seen: list[Any] = []

    class Looking(Custom):
        states = 2

        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            seen.append(step)
            arrays = parameters, gradient, *state
            assert all(each.shape == (net.parameters.size,) and each.dtype == net.dtype for each in arrays)
            assert all(each.flags.c_contiguous and each.flags.writeable for each in arrays)
            assert len(state) == 2 and all((each == step.number - 1).all() for each in state)
            assert np.shares_memory(parameters, net.parameters)
            assert not np.shares_memory(gradient, parameters)
            for flat in arrays:
                parts = [part for pair in zip(step.weights(flat), step.biases(flat), strict=True) for part in pair]
                assert_same_bits(np.concatenate([part.ravel() for part in parts]), flat)
                assert step.embeddings(flat) == {}
            for each in state:
                each += 1

    net = network()
    net.fit(X, Y, epochs=2, batch_size=25, optimizer=Looking())
    assert [step.number for step in seen] == [1, 2, 3, 4, 5, 6]
    assert {step.learning_rate for step in seen} == {float(np.float32(0.01))}
    net.partial_fit(X, Y, 30, optimizer=Looking(), learning_rate=0.5)
    assert [step.number for step in seen[6:]] == [1, 2]
    assert {step.learning_rate for step in seen[6:]} == {0.5}


def test_networks_side_by_side_share_an_optimizer() -> None:
    nets = [network(seed=seed) for seed in range(4)]
    alone = [network(seed=seed) for seed in range(4)]
    fastbp.fit_many(nets, X, Y, epochs=3, optimizer=OwnMomentum())
    for net, twin in zip(nets, alone, strict=True):
        twin.fit(X, Y, epochs=3, optimizer=OwnMomentum())
        same(net, twin)


def test_pickles_hold_the_state() -> None:
    net = network()
    net.partial_fit(X, Y, optimizer=OwnMomentum())
    twin = pickle.loads(pickle.dumps(net))
    anew = network()
    anew.parameters = net.parameters
    for each in (net, twin, anew):
        each.partial_fit(X, Y, optimizer=OwnMomentum())
    same(net, twin)
    assert (anew.parameters != net.parameters).any()


CALLS: dict[str, Any] = {
    "fit": lambda net, optimizer: net.fit(X, Y, optimizer=optimizer, epochs=3),
    "partial_fit": lambda net, optimizer: net.partial_fit(X, Y, optimizer=optimizer),
    "apply": lambda net, optimizer: net.apply(np.ones(net.parameters.size), optimizer),
}


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("call", CALLS)
def test_an_update_is_not_interrupted(call: str) -> None:
    class Asking(Custom):
        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            parameters[::2] = 1
            signal.raise_signal(signal.SIGINT)
            parameters[1::2] = 1

    net = network()
    with pytest.raises(KeyboardInterrupt):
        CALLS[call](net, Asking())
    assert (net.parameters == 1).all()


# ---- what is refused ----


def test_a_class_without_an_update() -> None:
    class Without(Custom):
        states = 1

    with pytest.raises(TypeError, match="abstract.* update"):
        Without()  # type: ignore[abstract]
    undone(
        ValueError,
        "^optimizer: got the class OwnSGD, expected an object of it",
        lambda n: n.fit(X, Y, optimizer=OwnSGD),
    )


def altered(change: Any) -> Custom:
    class Altered(Custom):
        states = 1

        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> Any:
            parameters -= gradient
            state[0][...] = 7
            return change(parameters, gradient, state) if step.number == 3 else None

    return Altered()


def reshape(array: Any) -> None:
    array.shape = (1, array.size)


WRONG: dict[str, tuple[Any, str]] = {
    "returns the parameters": (lambda w, g, s: w - g, r"^optimizer: got ndarray from Altered.update, expected None"),
    "returns a number": (lambda w, g, s: 3, r"^optimizer: got int from Altered.update, expected None"),
    "other shape": (lambda w, g, s: w + g[:3], r"operands could not be broadcast"),
    "its own error": (lambda w, g, s: 1 // 0, r"integer division or modulo by zero"),
    "too few states": (lambda w, g, s: s[1], r"tuple index out of range"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_goes_wrong_in_an_update_undoes_the_fit(case: str) -> None:
    change, message = WRONG[case]
    undone(Exception, message, lambda net: net.fit(X, Y, epochs=2, batch_size=20, optimizer=altered(change)))
    net = network()
    net.partial_fit(X, Y, optimizer="adam")
    before = net.parameters.copy()
    with pytest.raises(Exception, match=message) as caught:
        net.partial_fit(X, Y, 20, optimizer=altered(change))
    assert_same_bits(net.parameters, before)
    if not message.startswith("^optimizer"):
        assert caught.value.__notes__ == ["optimizer: raised by Altered.update, in update 3"]


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
@pytest.mark.parametrize("which", range(3))
def test_shapes_stay(which: int) -> None:
    optimizer = altered(lambda w, g, s: reshape((w, g, s[0])[which]))
    message = r"^optimizer: got an array that Altered.update has made \(1, 149\)"
    undone(ValueError, message, lambda net: net.fit(X, Y, epochs=2, batch_size=20, optimizer=optimizer))


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_apply_goes_on_after_an_update_that_failed() -> None:
    net, optimizer, gradient = network(), altered(lambda w, g, s: reshape(w)), np.zeros(149)
    for _ in range(2):
        net.apply(gradient, optimizer)
    with pytest.raises(ValueError, match=r"^optimizer: got an array that Altered.update has made \(1, 149\)"):
        net.apply(gradient, optimizer)
    net.apply(gradient, optimizer)


@pytest.mark.parametrize("states", [-1, 1.5, True, "2", None])
def test_states_are_counted(states: Any) -> None:
    class Counting(OwnSGD):
        pass

    Counting.states = states
    undone((TypeError, ValueError), r"^optimizer: Counting.states: got ", lambda n: n.fit(X, Y, optimizer=Counting()))


def test_divergence_is_found() -> None:
    class Wild(Custom):
        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            parameters[0] = np.nan

    with pytest.raises(fastbp.DivergenceError):
        network().fit(X, Y, epochs=3, optimizer=Wild())


def test_text_of_an_optimizer_tells_its_attributes() -> None:
    """Ranks and checkpoints are compared by it: no address is part of it."""
    assert repr(OwnSGD()) == "OwnSGD()"
    assert repr(OwnMomentum(0.5)) == "OwnMomentum(momentum=0.5)"
