"""The functions on arrays with operands for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastbp

N, FAN_IN, FAN_OUT = 5, 19, 18


def whole(seed: int, *shape: int) -> Any:
    """Small whole numbers: exact in every dtype, and in every order of summation."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float64)


X, W, b, dH = whole(1, N, FAN_IN), whole(2, FAN_IN, FAN_OUT), whole(3, FAN_OUT), whole(4, N, FAN_OUT)
LABELS = np.array([0, 17, 3, 3, 9])
PROBABILITIES = np.eye(FAN_OUT)[LABELS] / 2 + np.eye(FAN_OUT)[LABELS - 1] / 2


def updated(parameters: Any, slopes: Any) -> Any:
    parameters = np.array(parameters, np.result_type(parameters, np.float32))
    fastbp.sgd_update(parameters, slopes, 0.25, 0.5)
    return parameters


# Each function with its operands: the names that its errors must give, the values, and the result as a tuple.
FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "affine_forward": (fastbp.affine_forward, {"X": X, "W": W, "b": b}),
    "affine_relu_forward": (fastbp.affine_relu_forward, {"X": X, "W": W, "b": b}),
    "affine_backward": (fastbp.affine_backward, {"dH": dH, "X": X, "W": W}),
    "relu_forward": (fastbp.relu_forward, {"x": X}),
    "relu_backward": (fastbp.relu_backward, {"dy": X, "y": X[::-1].copy()}),
    "softmax_cross_entropy of indices": (lambda logits: fastbp.softmax_cross_entropy(logits, LABELS), {"logits": dH}),
    "softmax_cross_entropy of rows": (
        lambda logits, labels: fastbp.softmax_cross_entropy(logits, labels),
        {"logits": dH, "labels": PROBABILITIES},
    ),
    "sgd_update": (lambda dW: updated(W, dW), {"dW": W[::-1].copy()}),
}
OPERANDS = [(function, name) for function, (_, operands) in FUNCTIONS.items() for name in operands]


def results(value: Any) -> list[Any]:
    return [np.asarray(part) for part in (value if isinstance(value, tuple) else (value,))]


def call(function: str, **changed: Any) -> list[Any]:
    call_, operands = FUNCTIONS[function]
    return results(call_(**{**operands, **changed}))


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array
