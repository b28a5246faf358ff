"""Special values: for each the outcome is told, a value or an error; and NaN and infinity in X are refused, always."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import assert_same_bits, forms

import fastbp
from fastbp import MLP, DivergenceError
from fastbp.kernels.simd import TARGET
from fastbp.program.split import Tuning, forced

DTYPES = [np.float32, np.float64]
nan, inf = math.nan, math.inf


class Limits:
    """Of a dtype: largest, smallest normal, smallest denormal; and a number whose square overflows, and half of it."""

    def __init__(self, dtype: Any):
        limits = np.finfo(dtype)
        self.max, self.normal, self.least = (float(v) for v in (limits.max, limits.tiny, limits.smallest_subnormal))
        self.eps = float(limits.eps)
        self.huge = 1e38 if dtype == np.float32 else 1e308
        self.twice = float(dtype(self.huge)) + float(dtype(self.huge)) if dtype == np.float32 else inf


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


# ---- NaN and infinity in X: refused exactly when one is there ----
# Passes find them by a sum of squares, one for each strand of the first phase; X in place is looked at by Python only
# where that sum is not finite, as it is for large numbers too.

NETWORKS = [(1, 2), (7, 5, 3), (64, 10), (33, 40, 40, 4), (300, 2)]
ROWS = [1, 2, 3, 15, 64, 65, 333, 2000]


def padded(X: Any) -> Any:
    wide = np.zeros((X.shape[0], X.shape[1] + 3), X.dtype)
    wide[:, 1:-2] = X
    return wide[:, 1:-2]


LAYOUTS = {
    "in place": lambda X: X, "Fortran order": np.asfortranarray, "padded": padded,
    "backwards": lambda X: X[::-1].copy()[::-1], "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "other dtype": lambda X: X.astype("f8" if X.itemsize == 4 else "f4"),
    "long double": lambda X: X.astype(np.longdouble),
    "read-only": lambda X: np.frombuffer(X.tobytes(), X.dtype).reshape(X.shape),
}  # fmt: skip


@contextlib.contextmanager
def threads(number: int, tuning: Tuning) -> Iterator[None]:
    with fastbp.threads.limit(number), forced(tuning):
        yield


TUNINGS = [Tuning(), Tuning(parallel=True), Tuning(parallel=True, row_parts=5), Tuning(parallel=True, column_parts=2),
           Tuning(slabs=True, row_parts=20, parallel=True)]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@forms(400, 40_000)
@pytest.mark.filterwarnings("ignore:overflow encountered in reduce")  # known, see test_attack_random.py
def test_nan_and_infinity_are_refused_wherever_they_are(cases: int, dtype: Any) -> None:
    rng = np.random.default_rng(6)
    v = Limits(dtype)
    counts = {"refused": 0, "taken": 0}
    scalings: tuple[dict[str, float], ...] = (
        {}, {"input_shift": 1.0}, {"input_scale": 1e-3}, {"input_shift": 2.0, "input_scale": 0.5}
    )  # fmt: skip
    nets = [
        MLP(sizes, activation, dtype=dtype, seed=0, **scaling)
        for sizes, activation, scaling in itertools.product(NETWORKS, ("relu", "identity"), scalings)
    ]
    for case in range(cases):
        net, n = nets[int(rng.integers(len(nets)))], int(rng.choice(ROWS))
        X = rng.normal(size=(n, net.sizes[0])).astype(dtype)
        # Large numbers whose squares overflow, in none, one or all places; they are well.
        large = [0.0, math.sqrt(v.max) * 2, v.huge / 100, -v.huge / 100, v.max][int(rng.integers(5))]
        where = int(rng.integers(X.size))
        if large and rng.random() < 0.3:
            X[...] = large
        elif large:
            X.flat[where] = large
        net.parameters[...] = rng.choice([0.0, 1.0, 1e-30], net.parameters.size)
        layout = list(LAYOUTS)[int(rng.integers(len(LAYOUTS))) if rng.random() < 0.7 else 0]
        wrong = [None, None, nan, inf, -inf][int(rng.integers(5))]
        at = [0, X.size - 1, int(rng.integers(X.size))][int(rng.integers(3))]
        if wrong is not None:
            X.flat[at] = wrong
        shift = dtype(0) if net.input_shift is None else net.input_shift
        scale = dtype(1) if net.input_scale is None else net.input_scale
        with np.errstate(over="ignore", invalid="ignore"):  # of this test's own making: fastbp is to warn of nothing
            given = LAYOUTS[layout](X)  # then the gather: one rounding and two operations
            seen = (given.astype(dtype) - shift) * scale
        bad = ~np.isfinite(seen).all(axis=1)
        number = int(rng.integers(1, 3))
        with threads(number, TUNINGS[int(rng.integers(len(TUNINGS)))]):
            for method in ("logits", "predict_proba", "predict"):
                if bad.any():
                    row = int(np.argmax(bad))
                    with pytest.raises(ValueError, match=rf"^X: got NaN or infinity in row {row}, expected"):
                        getattr(net, method)(given)
                    counts["refused"] += 1
                else:
                    assert len(getattr(net, method)(given)) == n, case
                    counts["taken"] += 1
            if case % 8 == 0:
                check_the_rest(net, given, bad, rng)
    assert min(counts.values()) > cases // 2
    print(f"{np.dtype(dtype)}: {counts}")


def check_the_rest(net: MLP, X: Any, bad: Any, rng: np.random.Generator) -> None:
    """loss, gradient, fit and score refuse the same."""
    y = rng.integers(0, net.sizes[-1], len(X))
    before = net.parameters.copy()
    shuffle = bool(rng.integers(2))
    for call in (
        lambda: net.loss(X, y), lambda: net.score(X, y), lambda: net.gradient(X, y),
        lambda: net.fit(X, y, epochs=1, learning_rate=float(rng.choice([0, 0.5])), shuffle=shuffle, progress=False),
    ):  # fmt: skip
        if bad.any():
            with pytest.raises(ValueError, match=r"^X: got NaN or infinity in row \d+, expected"):
                call()
            np.testing.assert_array_equal(net.parameters, before)
        else:
            with contextlib.suppress(DivergenceError):  # of numbers so large
                call()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_single_place_of_a_small_X(dtype: Any) -> None:
    net = MLP((5, 4, 3), dtype=dtype, seed=0)
    for n, wrong in itertools.product((1, 2, 17), (nan, inf, -inf)):
        X = np.zeros((n, 5), dtype)
        for at in range(X.size):
            X.flat[at] = wrong
            for number in (1, 2):
                with (
                    threads(number, Tuning(parallel=number > 1)),
                    pytest.raises(ValueError, match=f"in row {at // 5},"),
                ):
                    net.logits(X)
            X.flat[at] = math.sqrt(Limits(dtype).max) * 2
            assert_same_bits(net.logits(X)[[at // 5]], net.logits(X[[at // 5]]))
            X.flat[at] = 0
