"""What bad input gets: an error that names the argument, what came and what was expected, and nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from support.bad_input import BAD_RATES, SIZES, Y_METHODS, N, cases, changed, network, refuses, refuses_and_keeps, rows


def test_what_the_tables_start_from_is_good() -> None:
    X, y = rows()
    net = network()
    net.fit(X, y, epochs=1, validation_data=(X, y))
    assert len(net.predict(X)) == len(net.predict_proba(X)) == len(net.logits(X)) == N
    assert len(net.gradient(X, y).inputs) == N
    assert net.loss(X, np.eye(5)[y]) == net.loss(X, y)


# ---- MLP() ----

BAD_SIZES = {
    "empty": (), "one": (3,), "zero": (3, 0), "zero inputs": (0, 3), "negative": (3, -4), "fraction": (3, 2.5),
    "whole float": (3, 4.0), "text in it": (3, "4"), "text": "34", "bytes": b"34", "number": 5, "None": None,
    "None in it": (3, None), "bool": (True, 3), "NumPy bool": (np.True_, 3), "nested": ((3, 4),),
    "matrix": np.array([[3, 4]]), "float array": np.array([3.0, 4.0]), "NaN": (3, math.nan),
}  # fmt: skip


@cases(BAD_SIZES)
def test_sizes(value: Any) -> None:
    refuses("sizes", lambda: MLP(value))


@pytest.mark.parametrize("name", ["activation", "loss"])
@cases({"unknown": "softmax", "empty": "", "None": None, "number": 1, "upper case": "ReLU",
        "list of another length": ["relu"] * 9, "array": np.array(["relu", "identity"])})  # fmt: skip
def test_activation_and_loss(name: str, value: Any) -> None:
    refuses(name, lambda: MLP(SIZES, **{name: value}))


@cases({"float16": "float16", "int32": "int32", "complex64": np.complex64, "unknown": "nonsense", "object": object,
        "text": "U5", "longdouble": np.longdouble if np.longdouble(1).itemsize > 8 else "f2", "bool": bool, "number": 7,
        "dict": {}, "record": [("a", "f4")],
        "other byte order": np.dtype("f4").newbyteorder(), "None": None})  # fmt: skip
def test_dtype(value: Any) -> None:
    refuses("dtype", lambda: MLP(SIZES, dtype=value))


@cases({"negative": -1, "fraction": 1.5, "text": "abc", "object": object(), "negative in a list": [-1], "NaN": math.nan,
        "bool": True})  # fmt: skip
def test_seed(value: Any) -> None:
    refuses("seed", lambda: MLP(SIZES, seed=value))


@pytest.mark.parametrize("name", ["input_shift", "input_scale"])
@cases({
    "too short": [1.0] * 5, "too long": [1.0] * 7, "matrix": np.ones((1, 6)), "NaN": math.nan,
    "infinite": [math.inf] * 6, "infinite in float32": 1e300, "text": "1", "complex": 1j,
    "None in it": [None] * 6, "object": object(),
    "masked": np.ma.masked_equal(np.ones(6), 1.0), "ragged": [[1.0], [1.0, 2.0]], "bool": True,
})  # fmt: skip
def test_input_scaling(name: str, value: Any) -> None:
    refuses(name, lambda: MLP(SIZES, **{name: value}))


# ---- X ----


def bad_X() -> dict[str, Any]:
    X, _ = rows()
    return {
        "vector": X[0], "three dimensions": X[None], "number": 3.0, "a feature too few": X[:, :5],
        "a feature too many": np.ones((N, 7)), "transposed": X.T, "no rows": X[:0], "no features": X[:, :0],
        "empty": [], "None": None, "text": "abc", "strings": X.astype("U8"), "bytes": X.astype("S8"),
        "objects": X.astype(object),
        "complex": X.astype(complex), "dates": np.zeros((N, 6), "M8[s]"), "durations": np.zeros((N, 6), "m8[s]"),
        "records": np.zeros((N, 6), [("a", "f4")]), "ragged": [[1.0] * 6, [1.0] * 5], "dict": {"a": 1},
        "masked": np.ma.masked_greater(X, 0.0), "masked nowhere": np.ma.array(X),
        "huge whole numbers": [[10**30] * 6] * N, "NaN": changed(X, (3, 4), math.nan),
        "infinity": changed(X, (11, 5), math.inf, "f4"),
        "-infinity": changed(X, (0, 0), -math.inf, "f2"), "NaN everywhere": np.full((N, 6), math.nan, ">f8"),
    }  # fmt: skip


X_METHODS: dict[str, Callable[[MLP, Any, Any], object]] = {
    "fit": lambda net, X, y: net.fit(X, y), "gradient": lambda net, X, y: net.gradient(X, y),
    "loss": lambda net, X, y: net.loss(X, y), "score": lambda net, X, y: net.score(X, y),
    "predict": lambda net, X, y: net.predict(X), "predict_proba": lambda net, X, y: net.predict_proba(X),
    "logits": lambda net, X, y: net.logits(X),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", X_METHODS)
@cases(bad_X())
def test_X(method: str, dtype: str, value: Any) -> None:
    y = rows()[1]
    refuses_and_keeps("X", lambda net: X_METHODS[method](net, value, y), dtype)


def test_masked_arrays_are_refused_by_name() -> None:
    X, y = rows()
    net = network()
    with pytest.raises(TypeError, match=r"^X: got a masked array"):
        net.fit(np.ma.array(X), y)
    with pytest.raises(TypeError, match=r"^y: got a masked array"):
        net.fit(X, np.ma.array(y))


def test_a_refused_X_is_named_by_its_row() -> None:
    X, y = rows()
    with pytest.raises(ValueError, match=r"^X: .*NaN or infinity in row 3\b"):
        network().fit(changed(X, (3, 4), math.nan), y)


# ---- y ----


def bad_y() -> dict[str, Any]:
    y = rows()[1]
    one_hot = np.eye(5)[y]
    return {
        "too short": y[:-1], "too long": np.append(y, 0), "empty": [], "number": 3, "None": None,
        "three dimensions": one_hot[None], "out of range": changed(y, 4, 5), "far out of range": changed(y, 0, 10**15),
        "negative": changed(y, 11, -1), "out of range uint64": changed(y, 2, 2**64 - 1, np.uint64),
        "out of range uint8": changed(y, 2, 255, np.uint8), "most negative": changed(y, 2, -(2**63)),
        "fractional": changed(y, 3, 0.5, float), "barely fractional": changed(y, 3, np.nextafter(1, 2), float),
        "barely negative": changed(y, 3, -1e-300, float), "NaN": changed(y, 7, math.nan, float),
        "infinity": changed(y, 7, math.inf, float), "objects": y.astype(object), "strings": y.astype("U2"),
        "complex": y.astype(complex), "dates": y.astype("M8[s]"), "masked": np.ma.masked_equal(y, y[0]),
        "masked nowhere": np.ma.array(y), "ragged": [[1], [1, 2]], "text": "abc",
        "a row too few": one_hot[:-1], "a row too many": np.ones((N + 1, 5)) / 5,
        "a class too few": np.ones((N, 4)) / 4,
        "a class too many": np.ones((N, 6)) / 6, "transposed": one_hot.T, "no classes": one_hot[:, :0],
        "sum below 1": changed(one_hot, (slice(2, 3),), 0.19), "sum above 1": changed(one_hot, (slice(2, 3),), 0.21),
        "sum 0": changed(one_hot, 5, 0), "sum 2": 2 * one_hot, "sum above 1 by float32's rounding": one_hot + 1e-7,
        "whole numbers of sum 2": changed(one_hot, (5, slice(0, 2)), 1, int) + changed(0 * one_hot, 5, 1, int),
        "two true in bool": np.ones((N, 5), bool), "negative probability": changed(one_hot, 3, [2, -1, 0, 0, 0]),
        "NaN probability": changed(one_hot, (0, 0), math.nan),
        "infinite probability": changed(one_hot, (0, 0), math.inf),
        "infinities that cancel": changed(one_hot, 0, [math.inf, -math.inf, 1, 0, 0]),
        "complex probabilities": one_hot.astype(complex), "objects in rows": one_hot.astype(object),
        "masked rows": np.ma.masked_equal(one_hot, 0.0),
    }  # fmt: skip


@pytest.mark.parametrize("method", Y_METHODS)
@cases(bad_y())
def test_y(method: str, value: Any) -> None:
    X = rows()[0]
    refuses_and_keeps("y", lambda net: X_METHODS[method](net, X, value))


def test_probabilities_are_allowed_the_rounding_of_their_own_dtype() -> None:
    X, _ = rows()
    t = np.random.default_rng(0).dirichlet(np.ones(5), N)
    for kind in ("f2", "f4", "f8", "longdouble", ">f4"):
        assert math.isfinite(network().loss(X, t.astype(kind)))
    assert math.isfinite(network().loss(X, np.eye(5, dtype=bool)[np.arange(N) % 5]))
    assert math.isfinite(network().loss(X, np.eye(5, dtype=np.uint8)[np.arange(N) % 5]))


# ---- numbers ----

RATES: dict[str, Callable[[MLP, Any, Any, Any], object]] = {
    "learning_rate of fit": lambda net, X, y, value: net.fit(X, y, learning_rate=[] if value is None else value),
    "l2 of fit": lambda net, X, y, value: net.fit(X, y, l2=value),
    "l2 of gradient": lambda net, X, y, value: net.gradient(X, y, l2=value),
    "l2 of loss": lambda net, X, y, value: net.loss(X, y, l2=value),
}


@pytest.mark.parametrize("argument", RATES)
@cases(BAD_RATES)
def test_rates(argument: str, value: Any) -> None:
    X, y = rows()
    refuses_and_keeps(argument.split()[0], lambda net: RATES[argument](net, X, y, value))


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@cases({"zero": 0, "negative": -1, "fraction": 1.5, "whole float": 2.0, "NumPy float": np.float64(3), "text": "3",
        "None": None, "bool": True, "NumPy bool": np.True_, "NaN": math.nan, "infinite": math.inf, "list": [1],
        "complex": 1j, "most negative": -(2**63), "object": object()})  # fmt: skip
def test_whole_numbers(name: str, value: Any) -> None:
    X, y = rows()
    refuses_and_keeps(name, lambda net: net.fit(X, y, **{name: value}))


def test_numbers_of_any_kind_are_taken() -> None:
    X, y = rows()
    net, twin = network(), network()
    net.fit(X, y, epochs=2, batch_size=5, learning_rate=0.5, l2=0.25)
    twin.fit(X, y, epochs=np.int8(2), batch_size=np.uint64(5), learning_rate=np.float16(0.5), l2=np.array(0.25))
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    twin.fit(X, y, epochs=1, learning_rate=1, l2=0)


# ---- the rest of fit ----


@cases({"unknown": "newton", "None": None, "number": 3, "empty": "", "list": ["sgd"]})
def test_optimizer(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("optimizer", lambda net: net.fit(X, y, optimizer=value))


@cases({"word": "no", "empty": "", "None": None, "two": 2, "negative": -1, "float": 1.0, "NumPy float": np.float64(0),
        "list": [], "array": np.zeros(2), "without a dimension": np.array(True), "duration": np.timedelta64(1),
        "bytes": b"1", "object": object()})  # fmt: skip
def test_shuffle(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("shuffle", lambda net: net.fit(X, y, epochs=1, shuffle=value))


def test_truths_of_any_kind_are_taken() -> None:
    X, y = rows()

    def trained(shuffle: Any) -> Any:
        net = network()
        net.fit(X, y, epochs=2, batch_size=2, learning_rate=0.5, shuffle=shuffle)
        return net.parameters

    for truth in (True, False):
        for value in (np.bool_(truth), int(truth), np.int8(truth), np.uint64(truth)):
            np.testing.assert_array_equal(trained(value), trained(truth))
    assert (trained(True) != trained(False)).any()


@cases({"number": 3, "function": print, "not callable": [3], "None in it": [None], "text": "abc", "None": None})
def test_callbacks(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("callbacks", lambda net: net.fit(X, y, epochs=1, callbacks=value))


@cases(bad_X())
def test_X_of_validation_data(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("validation_data[0]", lambda net: net.fit(X, y, validation_data=(value, y)))


@cases(bad_y())
def test_y_of_validation_data(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("validation_data[1]", lambda net: net.fit(X, y, validation_data=(X, value)))


@cases({"X alone": rows()[0], "one": (rows()[0],), "three": (*rows(), None), "number": 3, "text": "ab", "empty": (),
        "dict": dict(zip("ab", rows(), strict=True)), "False": False})  # fmt: skip
def test_validation_data(value: Any) -> None:
    X, y = rows()
    refuses_and_keeps("validation_data", lambda net: net.fit(X, y, validation_data=value))


def test_lengths_of_X_and_y_must_agree() -> None:
    X, y = rows()
    for method in Y_METHODS:
        refuses_and_keeps("y", lambda net, method=method: X_METHODS[method](net, X[:-1], y))


# ---- threads ----


@cases({"zero": 0, "negative": -1, "fraction": 1.5, "bool": True, "text": "2"})
def test_limit_of_threads(value: Any) -> None:
    refuses("threads", lambda: fastbp.threads.limit(value).__enter__())


# ---- files ----


@cases({"number": 0, "None": None, "bytes": b"net.npz", "list": ["net.npz"], "bool": True})
def test_paths(value: Any) -> None:
    refuses_and_keeps("path", lambda net: net.save(value))
    refuses("path", lambda: fastbp.load(value))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    net = network()
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        fastbp.load(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError):
        fastbp.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        net.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "no folder" / "net.npz")
    assert list(tmp_path.iterdir()) == []
