"""Special values: for each the outcome is told, a value or an error."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, DivergenceError
from fastbp.kernels.target import TARGET
from support.limits import DTYPES, Limits, inf, nan


def equal(actual: Any, expected: Any, dtype: Any) -> None:
    """The same numbers, NaN where NaN is told, and zeros of the same sign."""
    expected = np.asarray(expected, np.float64).astype(dtype)
    actual = np.asarray(actual)
    assert actual.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(actual, expected)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(actual[zero]), np.signbit(expected[zero]))


# ---- affine layers: a row of X, a column of W, b -> H ----
# Sums start at +0, so that -0 comes out of b = -0 alone, and of a product that was rounded to it (never: fused).
AFFINE: dict[str, Any] = {
    "NaN in X": lambda v: ([nan, 1], [1, 1], 0, nan),
    "NaN in X meets 0": lambda v: ([nan, 1], [0, 1], 0, nan),
    "NaN in W": lambda v: ([1, 1], [1, nan], 0, nan),
    "NaN in b": lambda v: ([1, 1], [1, 1], nan, nan),
    "infinity": lambda v: ([inf, 1], [1, 1], 0, inf),
    "-infinity": lambda v: ([-inf, 1], [1, 1], 0, -inf),
    "infinity by a negative weight": lambda v: ([inf, 1], [-1, 1], 0, -inf),
    "infinity meets 0": lambda v: ([inf, 1], [0, 1], 0, nan),
    "infinities that cancel": lambda v: ([inf, -inf], [1, 1], 0, nan),
    "infinity meets -infinity of b": lambda v: ([inf, 1], [1, 1], -inf, nan),
    "-0 in X": lambda v: ([-0.0, -0.0], [1, 1], 0, 0.0),
    "-0 throughout": lambda v: ([-0.0, -0.0], [1, 1], -0.0, 0.0),
    "the largest": lambda v: ([v.max, 0], [1, 1], 0, v.max),
    "the largest twice": lambda v: ([v.max, v.max], [1, 1], 0, inf),
    "the largest and b": lambda v: ([v.max, 0], [1, 1], v.max, inf),
    "the largest cancels": lambda v: ([v.max, v.max], [1, -1], 1, 1),
    "the largest negative doubled": lambda v: ([-v.max, 0], [2, 1], 0, -inf),
    "the smallest normal": lambda v: ([v.normal, 0], [1, 1], 0, v.normal),
    "half the smallest normal": lambda v: ([v.normal, 0], [0.5, 1], 0, v.normal / 2),
    "the smallest denormal": lambda v: ([v.least, 0], [1, 1], 0, v.least),
    "three denormals": lambda v: ([v.least, v.least], [1, 2], 0, 3 * v.least),
    "denormal of b": lambda v: ([0, 0], [1, 1], -v.least, -v.least),
    "half a denormal goes to even": lambda v: ([v.least, 0], [0.5, 1], 0, 0.0),
    "denormal by the largest": lambda v: ([v.least, 0], [v.max, 1], 0, v.least * v.max),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AFFINE)
def test_affine(name: str, dtype: Any) -> None:
    x, w, b, h = AFFINE[name](Limits(dtype))
    for rows, columns in ((1, 1), (1, 37), (3, 2), (15, 1), (29, 37)):  # every kind of tile
        X, W = np.tile(np.array([x], dtype), (rows, 1)), np.tile(np.array(w, dtype)[:, None], (1, columns))
        H = np.full((rows, columns), h)
        bias = np.full(columns, b, dtype)
        equal(fastbp.affine_forward(X, W, bias), H, dtype)
        equal(fastbp.affine_relu_forward(X, W, bias), np.where(H <= 0, 0.0, H), dtype)
        if b == 0 and TARGET.has_fma:  # the same sums as dX = dH W^T and as dW = X^T dH
            equal(fastbp.affine_backward(X, np.zeros((rows, columns), dtype), W.T)[0], H, dtype)
            nothing = np.zeros((rows, columns), dtype)
            equal(fastbp.affine_backward(W, np.ascontiguousarray(X.T), nothing)[1], H, dtype)


def test_a_column_sum_of_special_values() -> None:
    for dtype in DTYPES:
        v = Limits(dtype)
        dH = np.array([[nan, inf, inf, -0.0, v.max, v.least], [1, 1, -inf, -0.0, v.max, v.least]], dtype)
        db = fastbp.affine_backward(dH, np.ones((2, 1), dtype), np.ones((1, 6), dtype))[2]
        np.testing.assert_array_equal(db, np.array([nan, inf, nan, 0, inf, 2 * v.least], dtype))


# ---- ReLU: x -> y, and what becomes of dy = NaN, inf, 1 ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu(dtype: Any) -> None:
    v = Limits(dtype)
    table = [  # x, y, whether dy goes through
        (nan, nan, True), (inf, inf, True), (-inf, 0.0, False), (0.0, 0.0, False), (-0.0, 0.0, False),
        (v.least, v.least, True), (-v.least, 0.0, False), (v.normal, v.normal, True), (-v.normal, 0.0, False),
        (v.max, v.max, True), (-v.max, 0.0, False),
    ]  # fmt: skip
    x, y, through = (np.array(column) for column in zip(*(row for row in table for _ in range(4)), strict=True))
    equal(fastbp.relu_forward(x.astype(dtype)), y, dtype)
    for dy in (nan, inf, -inf, 1.0, -0.0, v.least, v.max):
        for mask in (x, y):  # input and output have the same mask
            actual = fastbp.relu_backward(np.full(len(x), dy, dtype), mask.astype(dtype))
            equal(actual, np.where(through, dy, 0.0), dtype)


# ---- the update: W, dW, learning_rate, l2 -> W or an error ----
UPDATES: dict[str, Any] = {
    "NaN in W": lambda v: (nan, 1, 0.5, 0, nan),
    "NaN in dW": lambda v: (1, nan, 0.5, 0, nan),
    "NaN in dW at rate 0": lambda v: (1, nan, 0, 0, nan),
    "infinity in dW": lambda v: (1, inf, 0.5, 0, -inf),
    "infinity in dW at rate 0": lambda v: (1, inf, 0, 0, nan),
    "infinity in both": lambda v: (inf, inf, 0.5, 0, nan),
    "-infinity in dW": lambda v: (1, -inf, 0.5, 0, inf),
    "infinite W without l2": lambda v: (inf, 0, 0.5, 0, nan),  # dW + 0 W
    "infinite W decays": lambda v: (inf, 0, 0.5, 0.5, nan),
    "denormal dW": lambda v: (0, v.least, 1, 0, -v.least),
    "denormal W": lambda v: (v.least, 0, 1, 0, v.least),
    "-0 in W at rate 0": lambda v: (-0.0, 1, 0, 0, -0.0),
    "the largest": lambda v: (v.max, 0, 1, 0, v.max),
    "beyond the largest": lambda v: (v.max, -v.max, 1, 0, inf),
    "the largest rate": lambda v: (0, 1, v.max, 0, -v.max),
    "the largest l2": lambda v: (1, 0, 1, v.max, -v.max),
    "NaN as rate": lambda v: (1, 1, nan, 0, "learning_rate"),
    "infinite rate": lambda v: (1, 1, inf, 0, "learning_rate"),
    "negative rate": lambda v: (1, 1, -v.least, 0, "learning_rate"),
    "rate -0": lambda v: (1, 1, -0.0, 0, 1),
    "NaN as l2": lambda v: (1, 1, 1, nan, "l2"),
    "infinite l2": lambda v: (1, 1, 1, inf, "l2"),
    "rate beyond the dtype": lambda v: (1, 1, v.max * 2 if v.max < 1e300 else 10**400, 0, "learning_rate"),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UPDATES)
def test_update(name: str, dtype: Any) -> None:
    w, dw, rate, l2, outcome = UPDATES[name](Limits(dtype))
    for count in (1, 37):
        W, dW = np.full(count, w, dtype), np.full(count, dw, dtype)
        if isinstance(outcome, str):
            with pytest.raises(ValueError, match=rf"^{outcome}: got .*, expected"):
                fastbp.sgd_update(W, dW, rate, l2)
            equal(W, np.full(count, w), dtype)
        else:
            fastbp.sgd_update(W, dW, rate, l2)
            equal(W, np.full(count, outcome), dtype)


# ---- softmax with cross-entropy: a row of logits, its label -> loss, gradient ----
LOGITS: dict[str, Any] = {
    "far apart, right": lambda v: ([v.huge, -v.huge], 0, 0, [0, 0]),
    "far apart, wrong": lambda v: ([v.huge, -v.huge], 1, v.twice, [1, -1]),
    "the largest and the lowest, right": lambda v: ([v.max, -v.max], 0, 0, [0, 0]),
    "the largest and the lowest, wrong": lambda v: ([v.max, -v.max], 1, inf, [1, -1]),
    "all huge": lambda v: ([v.huge, v.huge], 0, "log 2", [-0.5, 0.5]),
    "all hugely negative": lambda v: ([-v.huge, -v.huge], 1, "log 2", [0.5, -0.5]),
    "huge and 0, right": lambda v: ([v.huge, 0], 0, 0, [0, 0]),
    "huge and 0, wrong": lambda v: ([v.huge, 0], 1, v.huge, [1, -1]),
    "0 and -huge, wrong": lambda v: ([0, -v.huge], 1, v.huge, [1, -1]),
    "denormals": lambda v: ([v.least, -v.least], 0, "log 2", [-0.5, 0.5]),
    "zeros of both signs": lambda v: ([0.0, -0.0], 0, "log 2", [-0.5, 0.5]),
    "the smallest normals": lambda v: ([v.normal, -v.normal], 1, "log 2", [0.5, -0.5]),
    "-infinity, right": lambda v: ([0, -inf], 0, 0, [0, 0]),
    "-infinity, wrong": lambda v: ([0, -inf], 1, inf, [1, -1]),
    "nothing but -infinity": lambda v: ([-inf, -inf], 0, nan, [nan, nan]),
    "infinity": lambda v: ([inf, 0], 0, nan, [nan, nan]),
    "NaN": lambda v: ([nan, 0], 1, nan, [nan, nan]),
    "one class": lambda v: ([v.huge], 0, 0, [0]),
    "one class of -0": lambda v: ([-0.0], 0, 0, [0]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOGITS)
def test_logits(name: str, dtype: Any) -> None:
    z, label, loss, slopes = LOGITS[name](Limits(dtype))
    expected = float(dtype(math.log(2))) if loss == "log 2" else float(dtype(loss))
    for n in (1, 2, 4, 64):  # powers of two, so that the mean is exact
        Z, labels = np.tile(np.array([z], dtype), (n, 1)), np.full(n, label)
        for targets in (labels, np.eye(len(z))[labels]):
            got, dlogits = fastbp.softmax_cross_entropy(Z, targets)
            mean = expected * n / n  # the sum over rows is taken first: in float64 it may overflow
            assert got == pytest.approx(mean, rel=2 * Limits(dtype).eps, abs=0, nan_ok=True)
            np.testing.assert_array_equal(dlogits, np.tile(np.array([slopes]) / n, (n, 1)).astype(dtype))


LABELS: dict[str, Any] = {  # three classes; what it counts as, or None: refused
    "0": (0, 0), "the last": (2, 2), "one beyond": (3, None), "-1": (-1, None), "most negative": (-(2**63), None),
    "largest": (2**63 - 1, None), "2**31": (2**31, None), "2**32": (2**32, None),
    "largest uint64": (np.uint64(2**64 - 1), None),
    "255": (np.uint8(255), None), "-128": (np.int8(-128), None), "True": (True, 1), "-0.0": (-0.0, 0), "1.0": (1.0, 1),
    "next to 1": (np.nextafter(1.0, 2), None), "below 0": (-5e-324, None),
    "above 0": (5e-324, None), "2.5": (2.5, None),
    "2**53 + 1": (2.0**53 + 2, None), "NaN": (nan, None), "inf": (inf, None), "-inf": (-inf, None),
    "float16 NaN": (np.float16(nan), None), "float16 2": (np.float16(2), 2),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LABELS)
def test_labels_at_the_bounds(name: str, dtype: Any) -> None:
    value, outcome = LABELS[name]
    z = np.arange(12, dtype=dtype).reshape(4, 3)
    net = MLP((3, 3), dtype=dtype, seed=0)
    before = net.parameters.copy()
    for place in range(4):
        y = np.zeros(4, np.asarray(value).dtype)
        y[place] = value
        if outcome is None:
            for argument, function, more in (
                ("labels", fastbp.softmax_cross_entropy, (z, y)), ("y", net.loss, (z, y)), ("y", net.score, (z, y)),
                ("y", net.gradient, (z, y)), ("y", net.fit, (z, y)),
                ("validation_data[1]", functools.partial(net.fit, validation_data=(z, y)), (z, [0] * 4)),
            ):  # fmt: skip
                with pytest.raises(ValueError, match=rf"^{re.escape(argument)}: got .* at \[{place}\], expected"):
                    function(*more)
            np.testing.assert_array_equal(net.parameters, before)
        else:
            index = np.where(np.arange(4) == place, outcome, 0)
            assert fastbp.softmax_cross_entropy(z, y)[0] == fastbp.softmax_cross_entropy(z, index)[0]
            assert net.loss(z, y) == net.loss(z, index)


# ---- networks: X -> logits, probabilities, loss, gradient, fit ----
# Weights (2, 2): the identity; bias 0. The label is 0.
INPUTS: dict[str, Any] = {  # x, logits or an error, loss, gradient of W's first row, what fit does at rate 1
    "-0": lambda v: ([-0.0, -0.0], [0, 0], "log 2", [0, 0], "trains"),
    "denormals": lambda v: ([4 * v.least, -v.least], [4 * v.least, -v.least], "log 2",
                            [-2 * v.least, 2 * v.least], "trains"),
    "the smallest normal": lambda v: ([v.normal, 0], [v.normal, 0], "log 2", [-v.normal / 2, v.normal / 2], "trains"),
    "huge, right": lambda v: ([v.huge, 0], [v.huge, 0], 0, [0, 0], "trains"),
    "huge, wrong": lambda v: ([0, v.huge], [0, v.huge], v.huge, [0, 0], "trains"),
    "huge, apart": lambda v: ([-v.huge, v.huge], [-v.huge, v.huge], v.twice, [v.huge, -v.huge],
                              "trains" if v.twice < inf else "diverges"),
    "the largest": lambda v: ([v.max, v.max], [v.max, v.max], "log 2", [-v.max / 2, v.max / 2], "trains"),
    "the lowest": lambda v: ([-v.max, 0], [-v.max, 0], v.max, [v.max, -v.max], "trains"),
    "the largest, apart": lambda v: ([-v.max, v.max], [-v.max, v.max], inf, [v.max, -v.max], "diverges"),
    "NaN": lambda v: ([nan, 0], "refused"), "NaN behind": lambda v: ([0, nan], "refused"),
    "infinity": lambda v: ([inf, 0], "refused"), "-infinity": lambda v: ([0, -inf], "refused"),
    "infinities that cancel": lambda v: ([inf, -inf], "refused"),
    "NaN beside the largest": lambda v: ([v.max, nan], "refused"),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_a_network(name: str, dtype: Any) -> None:
    x, *outcome = INPUTS[name](Limits(dtype))
    X, y = np.array([x], dtype), [0]
    net = MLP((2, 2), dtype=dtype, seed=0)
    identity = np.array([1, 0, 0, 1, 0, 0], dtype)
    net.parameters = identity
    if outcome == ["refused"]:
        clean = np.zeros((1, 2), dtype)
        for argument, call in (
            ("X", lambda: net.logits(X)), ("X", lambda: net.predict(X)), ("X", lambda: net.predict_proba(X)),
            ("X", lambda: net.score(X, y)), ("X", lambda: net.loss(X, y)), ("X", lambda: net.gradient(X, y)),
            ("X", lambda: net.fit(X, y, shuffle=False)), ("X", lambda: net.fit(X, y)),
            ("X", lambda: net.fit(X, y, learning_rate=0.0, shuffle=False)),
            (r"validation_data\[0\]", lambda: net.fit(clean, y, validation_data=(X, y))),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=rf"^{argument}: got NaN or infinity in row 0, expected"):
                call()
        np.testing.assert_array_equal(net.parameters, identity)
        return
    logits, loss, slopes, training = outcome
    close = {"rtol": 2 * Limits(dtype).eps, "atol": 0}
    expected = float(dtype(math.log(2))) if loss == "log 2" else float(dtype(loss))
    equal(net.logits(X), [logits], dtype)
    p = net.predict_proba(X)
    assert p[0].tolist() in ([0.5, 0.5], [1.0, 0.0], [0.0, 1.0])
    assert net.predict(X)[0] == int(np.argmax(logits))
    np.testing.assert_allclose(net.loss(X, y), expected, **close)
    g = net.gradient(X, y)
    np.testing.assert_allclose(g.loss, expected, **close)
    np.testing.assert_allclose(
        g.weights[0][0], np.array(slopes, dtype), rtol=2 * Limits(dtype).eps, atol=Limits(dtype).least
    )
    if training == "diverges":
        with pytest.raises(DivergenceError, match="epoch 1 of 1"):
            net.fit(X, y, epochs=1, learning_rate=1.0)
        np.testing.assert_array_equal(net.parameters, identity)
    else:
        np.testing.assert_allclose(net.fit(X, y, epochs=1, learning_rate=1.0).loss, [expected], **close)
        assert np.isfinite(net.parameters).all()
