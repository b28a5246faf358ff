"""The functions on arrays refuse what is no operand, and leave what they were given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastbp
from support.functions_on_arrays import (
    FAN_OUT,
    FUNCTIONS,
    LABELS,
    OPERANDS,
    PROBABILITIES,
    N,
    W,
    X,
    b,
    call,
    dH,
    read_only,
)

# ---- wrong operands ----


@pytest.mark.parametrize(("function", "name"), OPERANDS)
def test_what_is_no_real_array_is_refused(function: str, name: str) -> None:
    plain = FUNCTIONS[function][1][name]
    for wrong in (plain.astype(object), plain.astype(str), plain.astype(complex), plain.astype(np.complex64),
                  plain.astype("M8[s]"), plain.astype("m8[s]"), plain.astype("S8"), None, "text", object(),
                  [[None] * 3], {1: 2}):  # fmt: skip
        with pytest.raises(TypeError, match=f"^{name}: got .*, expected"):
            call(function, **{name: wrong})
    with pytest.raises(TypeError, match=f"^{name}: got a masked array"):
        call(function, **{name: np.ma.masked_array(plain)})
    with pytest.raises(ValueError, match=f"^{name}: got .*, expected"):
        call(function, **{name: [[1.0, 2.0], [3.0]]})


SHAPES = [
    ("affine_forward", "X", X[0]), ("affine_forward", "X", X[None]), ("affine_forward", "X", 1.0),
    ("affine_forward", "W", W[:-1]), ("affine_forward", "W", W.T), ("affine_forward", "W", W[0]),
    ("affine_forward", "b", b[:-1]), ("affine_forward", "b", b[None]), ("affine_forward", "b", 0.0),
    ("affine_relu_forward", "W", W.T), ("affine_relu_forward", "b", b[:1]),
    ("affine_backward", "dH", dH[:-1]), ("affine_backward", "dH", dH[:, :-1]), ("affine_backward", "dH", dH[0]),
    ("affine_backward", "X", X[0]), ("affine_backward", "W", W.T), ("affine_backward", "W", W[None]),
    ("relu_backward", "y", X[:-1]), ("relu_backward", "y", X.T), ("relu_backward", "y", 1.0),
    ("softmax_cross_entropy of indices", "logits", dH[0]), ("softmax_cross_entropy of indices", "logits", dH[None]),
    ("softmax_cross_entropy of indices", "logits", dH[:0]), ("softmax_cross_entropy of indices", "logits", dH[:, :0]),
    ("softmax_cross_entropy of rows", "labels", PROBABILITIES[:-1]),
    ("softmax_cross_entropy of rows", "labels", PROBABILITIES[:, :-1]),
    ("softmax_cross_entropy of rows", "labels", PROBABILITIES[None]),
    ("softmax_cross_entropy of rows", "labels", LABELS[:-1]), ("softmax_cross_entropy of rows", "labels", 1),
    ("sgd_update", "dW", W[:-1]), ("sgd_update", "dW", W.T), ("sgd_update", "dW", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("function", "name", "value"), SHAPES)
def test_wrong_shapes(function: str, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: got .*, expected"):
        call(function, **{name: value})


def changed(array: Any, at: Any, value: float) -> Any:
    array = np.array(array, np.float64)
    array[at] = value
    return array


@pytest.mark.parametrize(
    "labels",
    [
        changed(LABELS, 2, FAN_OUT), changed(LABELS, 2, FAN_OUT).astype(int), changed(LABELS, 0, -1),
        changed(LABELS, 0, -1).astype(np.int8), changed(LABELS, 4, 1.5), changed(LABELS, 4, 1e-30),
        changed(LABELS, 1, math.nan), changed(LABELS, 1, math.inf), changed(LABELS, 1, -math.inf),
        changed(LABELS, 1, 1e300), changed(LABELS, 1, 2.0**63), np.array([0, 0, 0, 0, 2**64 - 1], np.uint64),
        np.array([0, 0, 0, 0, -(2**63)]), np.array([0, 0, 0, 0, 2**32]), [0, 1, 2, 3, 255],
        changed(PROBABILITIES, (1, 2), 0.25), 2 * PROBABILITIES, 0 * PROBABILITIES, PROBABILITIES * (1 + 1e-9),
        changed(changed(PROBABILITIES, (0, 5), -0.5), (0, 6), 0.5), changed(PROBABILITIES, (1, 2), math.nan),
        changed(PROBABILITIES, (1, 2), math.inf), np.zeros((N, FAN_OUT), int), np.ones((N, FAN_OUT), bool),
        2 * np.eye(FAN_OUT, dtype=int)[LABELS],
    ],
)  # fmt: skip
def test_wrong_labels(labels: Any) -> None:
    with pytest.raises(ValueError, match="^labels: got .*, expected"):
        fastbp.softmax_cross_entropy(dH, labels)
    with pytest.raises(ValueError, match="^labels: got .*, expected"):
        fastbp.softmax_cross_entropy(dH.astype(np.float32), labels)


def test_label_errors_say_where() -> None:
    with pytest.raises(ValueError, match=r"^labels: got 18\.0 at \[2\], expected whole numbers from 0 to 17$"):
        fastbp.softmax_cross_entropy(dH, changed(LABELS, 2, 18))
    with pytest.raises(ValueError, match=r"^labels: got -0\.5 at \[0, 5\], expected probabilities"):
        fastbp.softmax_cross_entropy(dH, changed(PROBABILITIES, (0, 5), -0.5))
    with pytest.raises(ValueError, match=r"^labels: got row 1 with sum 1\.25, expected"):
        fastbp.softmax_cross_entropy(dH, changed(PROBABILITIES, (1, 5), 0.25))


def test_rows_that_sum_to_1_within_their_own_rounding_are_probabilities() -> None:
    rng = np.random.default_rng(5)
    for dtype, classes in ((np.float16, 10), (np.float32, 1000), (np.float64, 1000), (np.longdouble, 5)):
        t = rng.random((20, classes)).astype(np.longdouble)
        t = (t / t.sum(axis=1, keepdims=True)).astype(dtype)
        loss, _ = fastbp.softmax_cross_entropy(np.zeros((20, classes)), t)
        eps = max(np.finfo(dtype).eps, np.finfo(np.float64).eps)  # that of the arithmetic, where t is of a wider one
        assert abs(loss - math.log(classes)) <= 4 * classes * eps * math.log(classes)


WRONG_RATES = {
    "negative": (-0.1, ValueError), "least": (-5e-324, ValueError), "NaN": (math.nan, ValueError),
    "infinite": (math.inf, ValueError), "minus infinity": (-math.inf, ValueError), "a string": ("0.1", TypeError),
    "bytes": (b"1", TypeError), "None": (None, TypeError), "complex": (1j, TypeError),
    "NumPy's complex": (np.complex64(1), TypeError), "a bool": (True, TypeError), "a list": ([0.1], TypeError),
    "two": (np.array([0.1, 0.2]), TypeError), "beyond float64": (10**400, ValueError),
}  # fmt: skip


@pytest.mark.parametrize("name", ["learning_rate", "l2"])
@pytest.mark.parametrize("wrong", WRONG_RATES)
def test_wrong_rates(wrong: str, name: str) -> None:
    value, error = WRONG_RATES[wrong]
    parameters = W.copy()
    with pytest.raises(error, match=f"^{name}: got .*, expected"):
        fastbp.sgd_update(parameters, W, **{"learning_rate": 0.1, name: value})
    np.testing.assert_array_equal(parameters, W)


@pytest.mark.parametrize("name", ["learning_rate", "l2"])
def test_rates_that_are_infinite_in_the_dtype_are_refused(name: str) -> None:
    """1e300 is finite, but not as a float32."""
    parameters = W.astype(np.float32)
    with pytest.raises(ValueError, match=f"^{name}: got 1e\\+300, expected"):
        fastbp.sgd_update(parameters, W, **{"learning_rate": 0.1, name: 1e300})
    np.testing.assert_array_equal(parameters, W)
    fastbp.sgd_update(np.zeros(3), np.zeros(3), **{"learning_rate": 0.1, name: 1e300})


def test_rates_of_any_real_kind() -> None:
    for rate in (1, np.int8(1), np.float16(1), np.float32(1), np.longdouble(1), np.array(1.0)):
        parameters = W.copy()
        fastbp.sgd_update(parameters, W, learning_rate=rate, l2=rate)
        np.testing.assert_array_equal(parameters, -W)


WRONG_W = {
    "a list": (W.tolist(), TypeError), "float16": (W.astype(np.float16), TypeError), "int": (W.astype(int), TypeError),
    "complex": (W.astype(complex), TypeError), "object": (W.astype(object), TypeError),
    "long double": (W.astype(np.longdouble), TypeError), "masked": (np.ma.masked_array(W.copy()), TypeError),
    "a number": (1.0, TypeError), "None": (None, TypeError), "read-only": (read_only(W.copy()), ValueError),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_W)
def test_parameters_that_cannot_be_updated(wrong: str) -> None:
    value, error = WRONG_W[wrong]
    before = np.array(value, object)
    with pytest.raises(error, match=r"^W: got .*, expected"):
        fastbp.sgd_update(value, np.ones(np.shape(value)), 0.1)
    np.testing.assert_array_equal(np.array(value, object), before)


@pytest.mark.parametrize(
    "overlap", [lambda memory: memory[10:], lambda memory: memory[:-10], lambda memory: memory[9:-1][::-1]]
)
def test_parameters_that_overlap_their_gradient_are_refused(overlap: Callable[[Any], Any]) -> None:
    memory = np.arange(100.0)
    slopes = overlap(memory)
    parameters = memory[5 : 5 + slopes.size]
    with pytest.raises(ValueError, match=r"^W: got an array that overlaps"):
        fastbp.sgd_update(parameters, slopes[: parameters.size], 0.1)
    np.testing.assert_array_equal(memory, np.arange(100.0))


@pytest.mark.parametrize("wrong", [W[:-1], W.T, W.astype(complex), W.astype(object), np.ma.masked_array(W)])
def test_parameters_are_unchanged_where_the_gradient_is_refused(wrong: Any) -> None:
    parameters = W.copy()
    with pytest.raises((ValueError, TypeError), match="^dW: got "):
        fastbp.sgd_update(parameters, wrong, 0.1)
    np.testing.assert_array_equal(parameters, W)
