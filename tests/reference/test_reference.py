"""The oracle against numbers worked by hand and against differences taken by brute force here."""

from __future__ import annotations

import ast
import doctest
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp import reference
from support.oracle import assert_close, assert_gradient, network, slopes

ALLOWED_IMPORTS = {"__future__", "collections", "math", "numpy", "typing"}


def network_slopes(weights: list[Any], biases: list[Any], *rest: Any) -> tuple[list[Any], list[Any]]:
    """The slopes of `reference.loss` in every weight and bias."""
    dWs, dbs = [], []
    for k in range(len(weights)):
        before, after = slice(None, k), slice(k + 1, None)

        def of_W(W: Any, before: slice = before, after: slice = after) -> float:
            return reference.loss([*weights[before], W, *weights[after]], biases, *rest)

        def of_b(b: Any, before: slice = before, after: slice = after) -> float:
            return reference.loss(weights, [*biases[before], b, *biases[after]], *rest)

        dWs.append(slopes(of_W, weights[k]))
        dbs.append(slopes(of_b, biases[k]))
    return dWs, dbs


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


MODULES = sorted(Path(reference.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_numpy_and_nothing_else_of_fastbp(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level > 0:
            siblings = {module.stem for module in MODULES}
            assert node.level == 1 and node.module in siblings, "a relative import reaches into the rest of fastbp"
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Name):
            assert node.id not in ("__import__", "importlib")
    assert imported <= ALLOWED_IMPORTS
    assert "numpy" in imported or path.stem == "__init__"


def test_examples_in_the_docstrings() -> None:
    results = [doctest.testmod(importlib.import_module(f"fastbp.reference.{path.stem}")) for path in MODULES]
    assert sum(result.attempted for result in results) >= 10
    assert sum(result.failed for result in results) == 0


# Worked by hand


def test_affine_by_hand() -> None:
    X, W, b = [[1, 2], [3, 4]], [[1, 0, -1], [2, 1, 0]], [10, 20, 30]
    np.testing.assert_array_equal(reference.affine_forward(X, W, b), [[15, 22, 29], [21, 24, 27]])
    dX, dW, db = reference.affine_backward([[1, 0, 2], [0, 1, 0]], X, W)
    np.testing.assert_array_equal(dX, [[-1, 2], [0, 1]])
    np.testing.assert_array_equal(dW, [[1, 3, 2], [2, 4, 4]])
    np.testing.assert_array_equal(db, [1, 1, 2])


def test_relu_at_zero_nan_and_infinity() -> None:
    nan, inf = math.nan, math.inf
    x = [-inf, -1.0, -0.0, 0.0, 5e-324, 2.0, inf, nan]
    y = reference.relu_forward(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 0, 5e-324, 2, inf, nan])
    assert not np.signbit(y[:4]).any()
    np.testing.assert_array_equal(reference.relu_backward(np.arange(1, 9), y), [0, 0, 0, 0, 5, 6, 7, 8])
    np.testing.assert_array_equal(reference.relu_backward([nan, nan], [0, 1]), [0, nan])


def test_softmax_cross_entropy_by_hand() -> None:
    log3 = math.log(3)
    logits = [[0, log3], [log3, 0]]  # probabilities 1/4 and 3/4
    np.testing.assert_allclose(reference.softmax(logits), [[0.25, 0.75], [0.75, 0.25]], rtol=1e-15)
    np.testing.assert_allclose(reference.row_losses(logits, [0, 0]), [math.log(4), math.log(4 / 3)], rtol=1e-15)
    loss, dlogits = reference.softmax_cross_entropy(logits, [0, 0])
    assert loss == pytest.approx(math.log(16 / 3) / 2, rel=1e-15)
    np.testing.assert_allclose(dlogits, [[-0.375, 0.375], [-0.125, 0.125]], rtol=1e-15)
    loss, dlogits = reference.softmax_cross_entropy(logits, np.array([[0.5, 0.5], [1, 0]]))
    expected = (math.log(4) + math.log(4 / 3)) / 2 + math.log(4 / 3)
    assert loss == pytest.approx(expected / 2, rel=1e-15)
    np.testing.assert_allclose(dlogits, [[-0.125, 0.125], [-0.125, 0.125]], rtol=1e-15)


def test_losses_of_extreme_logits() -> None:
    nan, inf = math.nan, math.inf
    logits = [[1e4, 0.0], [1e4, 0.0], [-inf, 3.0], [-inf, 3.0], [1e300, -1e300], [nan, 0.0], [inf, 0.0]]
    losses = reference.row_losses(logits, [0, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(losses, [0, 1e4, 0, inf, 2e300, nan, nan])
    np.testing.assert_array_equal(reference.softmax(logits)[:4], [[1, 0], [1, 0], [0, 1], [0, 1]])
    assert np.isnan(reference.softmax(logits)[5:]).all()


def test_index_labels_are_one_hot_rows(rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    by_index = reference.softmax_cross_entropy(logits, labels.astype(np.uint8))
    by_row = reference.softmax_cross_entropy(logits, np.eye(4)[labels])
    assert by_index[0] == by_row[0]
    np.testing.assert_array_equal(by_index[1], by_row[1])


def test_network_by_hand() -> None:
    weights, biases = [np.array([[1.0, -1.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])], [np.zeros(2), np.array([0.0, 4.0])]
    activations = reference.forward(weights, biases, [[2.0]])
    assert [a.tolist() for a in activations] == [[[2]], [[2, 0]], [[4, 4]]]
    assert reference.forward(weights, biases, [[2.0]], "identity")[-1].tolist() == [[4, 2]]
    # Both logits are 4: p = 1/2. Input (6 − 2) / 2 = 2. Squares: 1 + 1 + 4 + 0 + 0 + 1 = 7.
    arguments = (weights, biases, [[6.0]], [0], 0.5, "relu", 2.0, 0.5)
    assert reference.loss(*arguments) == pytest.approx(math.log(2) + 0.25 * 7, rel=1e-15)
    loss, dWs, dbs, dX = reference.gradient(*arguments)
    assert loss == reference.loss(*arguments)
    np.testing.assert_array_equal(dbs[1], [-0.5, 0.5])
    np.testing.assert_array_equal(dWs[1], [[-1 + 1, 1], [0, 0.5]])
    np.testing.assert_array_equal(dbs[0], [-1, 0])
    np.testing.assert_array_equal(dWs[0], [[-2 + 0.5, -0.5]])
    np.testing.assert_array_equal(dX, [[-0.5]])


def test_sgd_update_by_hand() -> None:
    np.testing.assert_array_equal(reference.sgd_update([[1.0], [-2.0]], [[4.0], [8.0]], 0.25, 2.0), [[-0.5], [-3.0]])


def test_a_32_bit_scalar_rounds_nothing() -> None:
    tenth: Any = np.float32(0.1)
    W, b = [[[1 / 3]]], [[0.0]]
    assert float(reference.sgd_update(1 / 3, 0.0, tenth, 1.0)) == 1 / 3 - float(tenth) * (1 / 3)
    assert float(reference.loss(W, b, [[0.0]], [0], l2=tenth)) == float(tenth) / 2 * (1 / 3) ** 2


# By brute force


def test_affine_gradient(rng: np.random.Generator) -> None:
    X, W, b, dH = (rng.standard_normal(shape) for shape in [(5, 3), (3, 4), (4,), (5, 4)])
    dX, dW, db = reference.affine_backward(dH, X, W)
    assert_gradient(lambda X: np.sum(reference.affine_forward(X, W, b) * dH), dX, X)
    assert_gradient(lambda W: np.sum(reference.affine_forward(X, W, b) * dH), dW, W)
    assert_gradient(lambda b: np.sum(reference.affine_forward(X, W, b) * dH), db, b)


def test_relu_gradient(rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 4, 5))
    assert np.abs(x).min() > 1e-3
    dx = reference.relu_backward(dy, reference.relu_forward(x))
    assert_gradient(lambda x: np.sum(reference.relu_forward(x) * dy), dx, x)


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_softmax_cross_entropy_gradient(rng: np.random.Generator, kind: str) -> None:
    logits = rng.standard_normal((6, 4))
    labels = rng.integers(0, 4, 6) if kind == "indices" else rng.dirichlet(np.ones(4), 6)
    loss, dlogits = reference.softmax_cross_entropy(logits, labels)
    assert_gradient(lambda x: reference.softmax_cross_entropy(x, labels)[0], dlogits, logits)
    t = np.eye(4)[labels] if kind == "indices" else labels
    naive = -np.mean(np.sum(t * np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)), axis=1))
    assert loss == pytest.approx(naive, rel=1e-14)


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("sizes", [(3, 4), (3, 5, 4), (3, 6, 5, 2)])
def test_network_gradient(rng: np.random.Generator, activation: str, sizes: tuple[int, ...]) -> None:
    weights, biases, X, labels = network(rng, sizes, n=7)
    rest: tuple[Any, ...] = (labels, 0.3, activation, rng.standard_normal(3), rng.uniform(0.5, 2, 3))
    activations = reference.forward(weights, biases, reference.scale_inputs(X, *rest[3:]), activation)
    for W, b, below in zip(weights, biases, activations[:-1], strict=True):
        assert np.abs(reference.affine_forward(below, W, b)).min() > 1e-3  # no kink is near
    loss, dWs, dbs, dX = reference.gradient(weights, biases, X, *rest)
    assert loss == reference.loss(weights, biases, X, *rest)
    assert_gradient(lambda X: reference.loss(weights, biases, X, *rest), dX, X)
    for gradients, expected in zip((dWs, dbs), network_slopes(weights, biases, X, *rest), strict=True):
        for gradient, slope in zip(gradients, expected, strict=True):
            assert_close(gradient, slope)


# Training


def test_train_is_gradient_steps_with_a_short_last_one(rng: np.random.Generator) -> None:
    weights, biases, X, labels = network(rng, (3, 5, 4), n=8)
    order, options = np.array([6, 1, 7, 0, 2]), (0.1, "relu", 0.5, 2.0)
    trained = reference.train(weights, biases, X, labels, order, 2, 0.05, *options)
    Ws, bs, losses = list(weights), list(biases), []
    for rows in ([6, 1], [7, 0], [2]):
        losses.append(reference.loss(Ws, bs, X[rows], labels[rows], *options))
        dWs, dbs = network_slopes(Ws, bs, X[rows], labels[rows], *options)
        Ws = [W - 0.05 * dW for W, dW in zip(Ws, dWs, strict=True)]
        bs = [b - 0.05 * db for b, db in zip(bs, dbs, strict=True)]
    for got, expected in zip([*trained[0], *trained[1], trained[2]], [*Ws, *bs, losses], strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-8)


def test_training_goes_on_where_it_stopped_and_learns(rng: np.random.Generator) -> None:
    weights, biases, X, _ = network(rng, (2, 8, 2), n=64)
    labels = (X[:, 0] > 0).astype(np.int64)
    order = np.concatenate([rng.permutation(64) for _ in range(20)])
    Ws, bs, losses = reference.train(weights, biases, X, labels, order, 8, 0.2)
    half = reference.train(weights, biases, X, labels, order[:640], 8, 0.2)
    rest = reference.train(half[0], half[1], X, labels, order[640:], 8, 0.2)
    np.testing.assert_array_equal(np.concatenate([half[2], rest[2]]), losses)
    for got, expected in zip([*rest[0], *rest[1]], [*Ws, *bs], strict=True):
        np.testing.assert_array_equal(got, expected)
    assert losses[-8:].mean() < 0.3 * losses[:8].mean()


def test_nothing_in_place_and_nothing_shared(rng: np.random.Generator) -> None:
    weights, biases, X, labels = network(rng, (3, 5, 4), n=8)
    given = [*weights, *biases, X, labels]
    before = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    results = [
        *reference.forward(weights, biases, X, "identity"),
        *reference.train(weights, biases, X, labels, [], 2, 0.1)[0],
        *reference.train(weights, biases, X, labels, [1, 2], 2, 0.1)[1],
        reference.scale_inputs(X),
        reference.gradient(weights, biases, X, labels)[3],
    ]
    for result in results:
        assert result.dtype == np.float64
        assert not any(np.shares_memory(result, array) for array in given)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_arithmetic_is_float64_whatever_comes_in() -> None:
    third = np.float32(1 / 3)
    H = reference.affine_forward(np.array([[third]]), np.array([[third]]), np.zeros(1, np.float32))
    assert H[0, 0] == float(third) * float(third)
    assert reference.scale_inputs(np.array([[255]], dtype=np.uint8), 256, 1)[0, 0] == -1


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "X: got shape", lambda: reference.affine_forward([[1, 2]], [[1]], [1])),
        (ValueError, "b: got shape", lambda: reference.affine_forward([[1]], [[1, 2]], [1])),
        (ValueError, "W: got shape", lambda: reference.affine_forward([[1]], [1], [1])),
        (ValueError, "dH: got shape", lambda: reference.affine_backward([[1]], [[1], [2]], [[1]])),
        (ValueError, "y: got shape", lambda: reference.relu_backward([1, 2], [1])),
        (ValueError, "dW: got shape", lambda: reference.sgd_update([1, 2], [1], 0.1)),
        (ValueError, "logits: got shape", lambda: reference.softmax([1, 2])),
        (ValueError, "at least one row", lambda: reference.softmax_cross_entropy(np.ones((0, 2)), [])),
        (ValueError, "labels: got class indices from -1", lambda: reference.row_losses([[1, 2]], [-1])),
        (ValueError, "labels: got class indices from 2", lambda: reference.row_losses([[1, 2]], [2])),
        (ValueError, "labels: got shape", lambda: reference.row_losses([[1, 2]], [0, 1])),
        (ValueError, "labels: got shape", lambda: reference.row_losses([[1, 2]], [[0.5, 0.25, 0.25]])),
        (TypeError, "labels: got dtype float64", lambda: reference.row_losses([[1, 2]], [0.0])),
        (ValueError, "activation: got 'ReLU'", lambda: reference.forward([[[1]]], [[1]], [[1]], "ReLU")),
        (ValueError, "biases: got 0", lambda: reference.forward([[[1]]], [], [[1]])),
        (ValueError, "batch_size: got 0", lambda: reference.train([[[1]]], [[1]], [[1]], [0], [0], 0, 0.1)),
        (ValueError, "order: got row numbers -1", lambda: reference.train([[[1]]], [[1]], [[1]], [0], [-1], 1, 0.1)),
        (ValueError, "order: got shape", lambda: reference.train([[[1]]], [[1]], [[1]], [0], [0.5], 1, 0.1)),
    ],
)
def test_errors_name_the_argument(error: type[Exception], message: str, call: Callable[[], object]) -> None:
    with pytest.raises(error, match=message):
        call()
