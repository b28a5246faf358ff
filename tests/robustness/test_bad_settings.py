"""What bad losses' targets, weights, activations, optimizers and rates get; as in test_bad_input."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.learning_rates import Adaptive, Constant, Cosine, InverseScaling
from fastbp.optimizers import OPTIMIZERS, Adam, AdamW, Momentum, RMSprop
from support.bad_input import BAD_RATES, SIZES, Y_METHODS, N, cases, changed, network, refuses, refuses_and_keeps, rows

# ---- numbers ----

NUMBERS = {**BAD_RATES, "duration": np.timedelta64(1), "text in an array": np.array("0.5"), "nested": [[0.1]],
           "truth in an array": np.array(True), "complex in an array": np.array(1j), "beyond float64": 10**400,
           "dict": {}}  # fmt: skip


def table(*names: str, without: tuple[str, ...] = (), **more: Any) -> Any:
    """Each name with each number that none of them takes, and some of its own."""
    found = {
        f"{name}, {kind}": (name, value) for name in names for kind, value in NUMBERS.items() if kind not in without
    }
    return cases(found | more)


@table("leaky_slope", "huber_delta", least=("huber_delta", 0.0), denormal=("huber_delta", 1e-40),
       huge=("huber_delta", 1e300), huge_slope=("leaky_slope", 1e300))  # fmt: skip
def test_numbers_of_a_network(value: Any) -> None:
    refuses(value[0], lambda: MLP(SIZES, **{value[0]: value[1]}))


@table("input_dropout", one=("input_dropout", 1.0), above=("dropout", 1.5))
def test_dropout(value: Any) -> None:
    X, y = rows()
    for method in ("fit", "partial_fit", "gradient"):
        refuses_and_keeps("input_dropout", lambda net, m=method: getattr(net, m)(X, y, input_dropout=value[1]))
        of_a_layer = [value[1]] if isinstance(value[1], (list, np.ndarray)) else value[1]
        refuses_and_keeps("dropout", lambda net, m=method, v=of_a_layer: getattr(net, m)(X, y, dropout=v))


@table("label_smoothing", above=("label_smoothing", 1.1))
def test_label_smoothing(value: Any) -> None:
    X, y = rows()
    for method in ("fit", "partial_fit"):
        refuses_and_keeps("label_smoothing", lambda net, m=method: getattr(net, m)(X, y, label_smoothing=value[1]))


@table("max_grad_norm", "time_budget", "tol", without=("None",), norm_0=("max_grad_norm", 0.0),
       denormal=("max_grad_norm", 1e-40), huge=("max_grad_norm", 1e300), no_tol=("tol", None))  # fmt: skip
def test_other_numbers_of_fit(value: Any) -> None:
    X, y = rows()
    name, number = value
    refuses_and_keeps(name, lambda net: net.fit(X, y, early_stopping=2, **{name: number}))
    if name == "max_grad_norm":
        refuses_and_keeps(name, lambda net: net.partial_fit(X, y, **{name: number}))


@cases({"zero": 0, "negative": -1, "fraction": 1.5, "whole float": 2.0, "text": "3", "bool": True, "NaN": math.nan,
        "list": [1], "complex": 1j, "infinite": math.inf, "object": object()})  # fmt: skip
def test_early_stopping(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("early_stopping", lambda net: net.fit(X, y, early_stopping=value))


@cases({"negative": -1, "fraction": 1.5, "float": 2.0, "text": "3", "bool": True, "None": None, "list": [1]})
def test_dropout_key(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("dropout_key", lambda net: net.gradient(X, y, dropout=0.5, dropout_key=value))


def test_dropout_at_its_bounds_and_any_key() -> None:
    X, y = rows()
    plain = network().gradient(X, y)
    for least in (1e-300, 2.0**-54, 0.0, -0.0):  # below 2^-53 no unit is left out
        got = network().gradient(X, y, dropout=least, dropout_key=5)
        assert got.loss == plain.loss
        np.testing.assert_array_equal(got.inputs, plain.inputs)
        np.testing.assert_array_equal(got.weights[0], plain.weights[0])
        net, twin = network(), network()
        net.fit(X, y, epochs=2, dropout=least, shuffle=False)
        twin.fit(X, y, epochs=2, shuffle=False)
        np.testing.assert_array_equal(net.parameters, twin.parameters)
    all_out = network().gradient(X, y, dropout=math.nextafter(1.0, 0.0))
    assert (all_out.inputs == 0).all()
    first, again = (network().gradient(X, y, dropout=0.5, dropout_key=key).loss for key in (3, 3 + 2**64))
    assert first == again != network().gradient(X, y, dropout=0.5, dropout_key=2**70 + 1).loss


# ---- weights ----

WEIGHTS = {
    "too short": np.ones(N - 1), "too long": np.ones(N + 1), "column": np.ones((N, 1)), "number": 1.0,
    "negative": changed(np.ones(N), 4, -1e-3), "NaN": changed(np.ones(N), 0, math.nan),
    "infinite": changed(np.ones(N), 11, math.inf), "infinite in float32": changed(np.ones(N), 3, 1e300),
    "all 0 in float32": np.full(N, 1e-300), "strings": np.ones(N).astype("U3"), "objects": np.ones(N).astype(object),
    "complex": np.ones(N, complex), "masked": np.ma.array(np.ones(N)), "dates": np.zeros(N, "m8[s]"),
    "empty": [], "text": "balanced", "ragged": [[1], [1, 2]], "dict": {0: 1.0},
}  # fmt: skip


@cases(WEIGHTS)
def test_sample_weight(value: Any) -> None:
    X, y = rows()
    for method in ("fit", "partial_fit", "gradient", "loss"):
        refuses_and_keeps("sample_weight", lambda net, m=method: getattr(net, m)(X, y, sample_weight=value))


def test_weights_as_small_and_as_large_as_can_be() -> None:
    """A common factor, here a power of two, changes no bit; a sum of 0 teaches nothing."""
    X, y = rows()
    w = np.arange(1.0, N + 1)
    expected = network()
    expected.fit(X, y, epochs=2, batch_size=5, sample_weight=w)
    for factor in (2.0**-100, 2.0**100):
        net = network()
        assert net.loss(X, y, sample_weight=w * factor) == network().loss(X, y, sample_weight=w)
        net.fit(X, y, epochs=2, batch_size=5, sample_weight=w * factor)
        np.testing.assert_array_equal(net.parameters, expected.parameters)
    net = network()
    before = net.parameters.copy()
    assert net.fit(X, y, epochs=2, batch_size=5, sample_weight=np.zeros(N)).loss == [0.0, 0.0]
    np.testing.assert_array_equal(net.parameters, before)
    history = net.fit(X, y, epochs=2, batch_size=5, sample_weight=[1.0] + [1e-44] * (N - 1))  # minibatches of denormals
    assert np.isfinite(history.loss).all()


# ---- targets ----

REGRESSION = ("mean_squared_error", "half_squared_error", "mean_absolute_error", "huber")
SHARES = ("binary_cross_entropy", "binary_cross_entropy_sum")
COUNTS = ("poisson_deviance", "half_poisson_deviance_sum")


def bad_targets() -> dict[str, tuple[tuple[str, ...], Any]]:
    t = np.full((N, 5), 0.5)
    every = (*REGRESSION, *SHARES, *COUNTS)
    found: dict[str, Any] = {
        "a row too few": t[:-1], "a row too many": np.ones((N + 1, 5)), "an output too few": t[:, :4],
        "an output too many": np.ones((N, 6)), "vector": t[:, 0], "transposed": t.T, "three dimensions": t[None],
        "number": 3.0, "empty": [], "None": None, "text": "abc", "NaN": changed(t, (3, 4), math.nan),
        "infinity": changed(t, (11, 0), math.inf), "-infinity": changed(t, (0, 0), -math.inf),
        "infinity in float32": changed(t, (0, 1), 1e300), "complex": t.astype(complex), "objects": t.astype(object),
        "strings": t.astype("U3"), "masked": np.ma.array(t), "dates": np.zeros((N, 5), "M8[s]"),
        "records": np.zeros((N, 5), [("a", "f4")]), "ragged": [[0.5] * 5] * (N - 1) + [[0.5]],
    }  # fmt: skip
    return {
        **{kind: (every, value) for kind, value in found.items()},
        "above 1": (SHARES, changed(t, (2, 2), 1.001)), "whole numbers above 1": (SHARES, np.full((N, 5), 2)),
        "negative": ((*SHARES, *COUNTS), changed(t, (2, 2), -0.001)),
        "negative whole numbers": ((*SHARES, *COUNTS), np.full((N, 5), -1)),
    }  # fmt: skip


@cases(bad_targets())
def test_targets(value: Any) -> None:
    X = rows()[0]
    losses, wrong = value
    for loss in losses:
        net = MLP(SIZES, loss=loss, seed=3)
        before, state = net.parameters.copy(), net.rng.bit_generator.state
        for method in (*Y_METHODS, "partial_fit", "sample_gradients"):
            refuses("y", lambda net=net, m=method: getattr(net, m)(X, wrong))
        refuses("validation_data[1]", lambda net=net: net.fit(X, np.full((N, 5), 0.5), validation_data=(X, wrong)))
        np.testing.assert_array_equal(net.parameters, before)
        assert net.rng.bit_generator.state == state


def test_targets_of_one_output() -> None:
    X = rows()[0]
    for loss in (*REGRESSION, *SHARES, *COUNTS):
        net = MLP((6, 4, 1), loss=loss, seed=3)
        t = np.linspace(0, 1, N)
        assert net.loss(X, t) == net.loss(X, t[:, None]) == net.loss(X, t.tolist())
        for wrong in (t[None], np.ones((N, 2)), t[:-1], t[:, None, None]):
            refuses("y", lambda net=net, wrong=wrong: net.fit(X, wrong))


def test_truths_and_whole_numbers_are_targets() -> None:
    X = rows()[0]
    t = np.arange(5 * N).reshape(N, 5) % 2
    for loss in (*REGRESSION, *SHARES, *COUNTS):
        net = MLP(SIZES, loss=loss, seed=3)
        for form in (t.astype(bool), t.astype("u1"), t.astype(">i8"), t.tolist(), np.asfortranarray(t), t.astype("f2")):
            assert net.loss(X, form) == net.loss(X, t.astype(float))


@pytest.mark.parametrize("loss", [*REGRESSION, *COUNTS])
def test_targets_as_large_as_can_be_are_infinite_losses_or_divergence(loss: str) -> None:
    X = rows()[0]
    for dtype in ("float32", "float64"):
        net = MLP(SIZES, loss=loss, seed=3, dtype=dtype)
        before = net.parameters.copy()
        t = np.full((N, 5), np.finfo(dtype).max)
        assert not math.isnan(net.loss(X, t))
        assert not net.score(X, t) > 0
        with contextlib.suppress(fastbp.DivergenceError):
            net.fit(X, t, epochs=1, max_grad_norm=1.0)
            net.parameters = before
        np.testing.assert_array_equal(net.parameters, before)


# ---- activations, initial weights, optimizers, learning rates ----


@cases({"too many": ["relu", "tanh"], "none": [], "unknown": ["softmax"], "None": [None], "number": [3],
        "nested": [["relu"]], "array of objects": np.array([None]), "bytes": [b"relu"], "set": {"relu"},
        "dict": {"relu": 1}, "generator": (name for name in ["relu"]), "number alone": 3, "None alone": None,
        "0 dimensions": np.array("relu"), "matrix": np.array([["relu"]]), "bytes alone": b"relu",
        "ragged": [["relu"], ["relu", "tanh"]]})  # fmt: skip
def test_activation_lists(value: Any) -> None:
    refuses("activation", lambda: MLP(SIZES, activation=value))


@cases({"unknown": "xavier", "number": 3, "too few": [np.ones((6, 9))], "shapes": [np.ones(3)] * 4,
        "NaN": [np.full((6, 9), math.nan), np.ones(9), np.ones((9, 5)), np.ones(5)]})  # fmt: skip
def test_initializer(value: Any) -> None:
    refuses("initializer", lambda: MLP(SIZES, initializer=value))


@cases({"Constant": Constant(1e300), "InverseScaling": InverseScaling(1e300), "Cosine": Cosine(1e39),
        "Adaptive": Adaptive(1e39), "class": Constant, "text": "constant", "list": [0.1],
        "optimizer": Adam()})  # fmt: skip
def test_learning_rate_objects(value: Any) -> None:
    X, y = rows()
    for method in ("fit", "partial_fit"):
        for optimizer in ("sgd", "momentum", "adam"):
            refuses_and_keeps("learning_rate", lambda net, m=method, o=optimizer: getattr(net, m)(
                X, y, learning_rate=value, optimizer=o))  # fmt: skip


@cases({"class": Adam, "number": 3, "learning rate": Constant(0.1), "list": ["adam"], "unknown": "Adam"})
def test_optimizer_objects(value: Any) -> None:
    X, y = rows()
    for method in ("fit", "partial_fit"):
        refuses_and_keeps("optimizer", lambda net, m=method: getattr(net, m)(X, y, optimizer=value))


@cases({"decay": AdamW(weight_decay=1e300), "momentum": Momentum(1 - 2.0**-53), "epsilon": Adam(epsilon=1e300),
        "steep": RMSprop(epsilon=1e-29), "rate": InverseScaling(3e38, power=1e308)})  # fmt: skip
def test_extreme_settings_train_or_diverge(value: Any) -> None:
    """No warning of NumPy, no NaN left in the parameters."""
    X, y = rows()
    for optimizer in OPTIMIZERS if isinstance(value, InverseScaling) else (value,):
        net = network()
        rate = value if isinstance(value, InverseScaling) else 0.1
        with contextlib.suppress(fastbp.DivergenceError):
            net.fit(X, y, epochs=3, batch_size=5, optimizer=optimizer, learning_rate=rate, l2=0.1)
        assert np.isfinite(net.parameters).all()


def test_predict_proba_of_what_are_no_classes() -> None:
    for loss in (*REGRESSION, *COUNTS):
        refuses("predict_proba", lambda loss=loss: MLP(SIZES, loss=loss, seed=3).predict_proba(rows()[0]))
