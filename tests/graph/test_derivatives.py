"""Derivatives in the graph: every node against numeric ones, broadcasting, products, local gradients, shared nodes."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastbp import gradcheck, reference
from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy
from support.graph_cases import BINARY, EPS, LABELS, ROWS, assert_sums_of_what_was_sent, car, off_zero, whole

SHAPES: list[tuple[int, ...]] = [(), (1,), (3,), (2, 3), (1, 1), (2, 2, 3)]
BROADCAST: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    *((shape, shape) for shape in SHAPES),
    ((3,), (2, 3)), ((2, 1), (1, 3)), ((), (2, 3)), ((1,), ()), ((2, 3), (4, 2, 3)), ((1, 3), (3,)), ((2, 1), (3,)),
    ((1, 1), (3,)), ((1,), (1, 1, 1)), ((), (2, 2, 2)), ((4, 1, 3), (2, 1)), ((1, 2, 1), (4, 1, 3)),
]  # fmt: skip
PAIRS = list(dict.fromkeys(itertools.chain.from_iterable((pair, pair[::-1]) for pair in BROADCAST)))
PRODUCTS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3), (3, 4)), ((1, 3), (3, 1)), ((1, 1), (1, 1)), ((4, 1), (1, 3)), ((5, 7), (7, 19)),
    ((2, 3), (3,)), ((1, 3), (3,)), ((2, 1), (1,)), ((3,), (3, 4)), ((3,), (3, 1)), ((1,), (1, 4)), ((3,), (3,)),
    ((1,), (1,)),
]  # fmt: skip


# Every node that makes one of others: how it is made, and the shapes of its operands.
NODES: dict[str, tuple[Callable[..., Variable], tuple[tuple[int, ...], ...]]] = {
    **{f"{sign} of {x} and {y}": (function, (x, y)) for sign, function in BINARY.items() for x, y in PAIRS},
    **{f"@ of {x} and {y}": (operator.matmul, (x, y)) for x, y in PRODUCTS},
    **{f"negative of {x}": (operator.neg, (x,)) for x in SHAPES},
    **{f"ReLU of {x}": (Variable.relu, (x,)) for x in SHAPES},
    **{f"sum of {x}": (Variable.sum, (x,)) for x in SHAPES},
    **{f"mean of {x}": (Variable.mean, (x,)) for x in SHAPES},
    **{
        f"affine of {n} rows, {k} to {m}": (affine, ((n, k), (k, m), (m,)))
        for n, k, m in ((1, 1, 1), (4, 3, 2), (1, 5, 3), (5, 7, 19))
    },
    "softmax loss of indices": (lambda z: softmax_cross_entropy(z, LABELS), ((4, 3),)),
    "softmax loss of rows": (lambda z: softmax_cross_entropy(z, ROWS), ((4, 3),)),
    "softmax loss of one row": (lambda z: softmax_cross_entropy(z, [1]), ((1, 2),)),
}


def summed_to(shape: tuple[int, ...], values: Any) -> Any:
    """The transpose of broadcasting, entry by entry: each entry of `shape` collects those that it was repeated to."""
    result = np.zeros(math.prod(shape))
    source = np.broadcast_to(np.arange(result.size).reshape(shape), np.shape(values))
    np.add.at(result, source, values)
    return result.reshape(shape)


def test_car_values_and_derivatives() -> None:
    price, number, tax, cost, paid = car()
    assert cost.value == 40.0
    assert paid.value == pytest.approx(44.0, rel=2 * EPS, abs=0)
    paid.backward()
    derivatives = [variable.grad for variable in (paid, cost, price, number, tax)]
    assert derivatives == pytest.approx([1.0, 1.1, 2.2, 22.0, 40.0], rel=2 * EPS, abs=0)
    assert all(type(derivative) is float for derivative in derivatives)
    assert cost.local_gradients == (2.0, 20.0)
    assert paid.local_gradients == (1.1, 40.0)
    assert cost.operand_gradients == (price.grad, number.grad)
    assert paid.operand_gradients == (cost.grad, tax.grad)
    assert paid.operands == (cost, tax)
    assert cost.operands == (price, number)
    assert price.operands == ()


def test_car_as_a_tree() -> None:
    *_, paid = car()
    assert paid.tree().splitlines() == [
        "              value  derivative",
        "×                44           -",
        "├─ ×             40           -",
        "│  ├─ price      20           -",
        "│  └─ number      2           -",
        "└─ tax          1.1           -",
    ]
    paid.backward()
    assert paid.tree() == "\n".join(
        [
            "              value  derivative",
            "×                44           1",
            "├─ ×             40         1.1",
            "│  ├─ price      20         2.2",
            "│  └─ number      2          22",
            "└─ tax          1.1          40",
        ]
    )


# ---- every node ----


@pytest.mark.parametrize("node", NODES)
def test_gradient_of_every_operand_is_the_numeric_one(node: str) -> None:
    function, shapes = NODES[node]
    points = [off_zero(i, shape) for i, shape in enumerate(shapes)]
    variables = [Variable(point) for point in points]
    result = function(*variables)
    weights = np.random.default_rng(9).uniform(0.5, 1.5, result.shape)
    result.backward(weights)
    for i, (variable, point) in enumerate(zip(variables, points, strict=True)):

        def weighted(x: Any, i: int = i) -> float:
            operands = [Variable(x if j == i else other) for j, other in enumerate(points)]
            return float(np.sum(weights * function(*operands).value))

        assert np.shape(variable.grad) == variable.shape == point.shape
        assert (type(variable.grad) is float) == (point.shape == ())
        check = gradcheck(weighted, variable.grad, point)
        assert check, f"operand {i}: {check}"
        assert check.skipped == 0


@pytest.mark.parametrize("node", [name for name in NODES if "loss" not in name])
def test_weights_in_the_graph_and_a_seed_are_the_same(node: str) -> None:
    function, shapes = NODES[node]
    seeded, weighed = ([Variable(whole(i, shape)) for i, shape in enumerate(shapes)] for _ in range(2))
    result = function(*seeded)
    weights = whole(9, result.shape)
    result.backward(weights)
    (function(*weighed) * weights).sum().backward()
    for one, other in zip(seeded, weighed, strict=True):
        np.testing.assert_array_equal(one.grad, other.grad)


NUMPY: dict[str, Callable[..., Any]] = {
    "negative": np.negative, "ReLU": lambda x: np.maximum(x, 0), "sum": np.sum, "mean": np.mean, "@": np.matmul,
    "affine": lambda X, W, b: X @ W + b, "+": np.add, "-": np.subtract, "×": np.multiply,
}  # fmt: skip


@pytest.mark.parametrize("node", [name for name in NODES if "loss" not in name])
def test_values_are_those_of_numpy(node: str) -> None:
    function, shapes = NODES[node]
    points = [whole(i, shape) for i, shape in enumerate(shapes)]
    value = function(*map(Variable, points)).value
    expected = NUMPY[node.split()[0]](*points)
    if node.startswith("mean"):  # one division, or one product with a rounded factor
        np.testing.assert_allclose(value, expected, rtol=2 * EPS)
    else:
        np.testing.assert_array_equal(value, expected)
    assert np.shape(value) == np.shape(expected)
    assert type(value) is (float if np.shape(expected) == () else np.ndarray)


@pytest.mark.parametrize("labels", [LABELS, ROWS], ids=["indices", "rows"])
def test_softmax_loss_is_that_of_the_reference(labels: Any) -> None:
    z = Variable(off_zero(3, (4, 3)))
    loss = softmax_cross_entropy(z, labels)
    loss.backward()
    expected, dlogits = reference.softmax_cross_entropy(z.value, labels)
    assert loss.value == pytest.approx(float(expected), rel=16 * EPS, abs=0)
    np.testing.assert_allclose(z.grad, dlogits, rtol=0, atol=4 * EPS)  # entries of at most 1/4, from some ten roundings


def test_relu_is_closed_at_zero() -> None:
    x = Variable([-1.0, -0.0, 0.0, 5e-324, 2.0])
    y = x.relu()
    y.backward([1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_array_equal(y.value, [0, 0, 0, 5e-324, 2])
    np.testing.assert_array_equal(y.local_gradients[0], [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(x.grad, [0, 0, 0, 4, 5])
    for point, slope in ((0.0, 0.0), (-3.0, 0.0), (3.0, 1.0)):
        x = Variable(point)
        x.relu().backward()
        assert x.grad == slope


@given(arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=1), st.sampled_from("+-×"))
@settings(deadline=None, max_examples=150)
def test_any_shapes_that_broadcast(shapes: Any, sign: str) -> None:
    check_broadcast(*shapes.input_shapes, shapes.result_shape, sign)


@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize(
    "shapes", [((0,), (0,)), ((), (0,)), ((1,), (0,)), ((3, 1), (3, 0)), ((2, 0), (1, 0)), ((1, 1), (0, 3))]
)
def test_empty_arrays_that_broadcast(shapes: Any, sign: str) -> None:
    for x, y in (shapes, shapes[::-1]):
        check_broadcast(x, y, np.broadcast_shapes(x, y), sign)


def check_broadcast(x_shape: tuple[int, ...], y_shape: tuple[int, ...], shape: tuple[int, ...], sign: str) -> None:
    x, y = Variable(whole(1, x_shape)), Variable(whole(2, y_shape))
    z = BINARY[sign](x, y)
    assert z.shape == shape
    np.testing.assert_array_equal(z.value, BINARY[sign](x.value, y.value))
    dz = whole(3, shape)
    z.backward(dz)
    by_x, by_y = {"+": (1, 1), "-": (1, -1), "×": (y.value, x.value)}[sign]
    np.testing.assert_array_equal(x.grad, summed_to(x_shape, dz * by_x), strict=bool(x_shape))
    np.testing.assert_array_equal(y.grad, summed_to(y_shape, dz * by_y), strict=bool(y_shape))


@pytest.mark.parametrize(
    ("x_shape", "y_shape"),
    [
        ((2, 0), (0, 3)),
        ((2, 0), (0,)),
        ((0,), (0, 3)),
        ((0,), (0,)),
        ((0, 3), (3, 2)),
        ((2, 3), (3, 0)),
        ((0, 3), (3,)),
    ],
)
def test_products_with_nothing_to_sum_or_nothing_to_give(x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> None:
    x, y = Variable(np.ones(x_shape)), Variable(np.ones(y_shape))
    z = x @ y
    np.testing.assert_array_equal(z.value, np.ones(x_shape) @ np.ones(y_shape))
    z.backward(np.ones(z.shape))
    np.testing.assert_array_equal(x.grad, np.zeros(x_shape), strict=True)
    np.testing.assert_array_equal(y.grad, np.zeros(y_shape), strict=True)


def test_affine_of_no_rows() -> None:
    X, W, bias = Variable(np.ones((0, 3))), Variable(np.ones((3, 2))), Variable([1.0, 2.0])
    h = affine(X, W, bias)
    assert h.shape == (0, 2)
    h.backward(np.ones((0, 2)))
    np.testing.assert_array_equal(X.grad, np.zeros((0, 3)))
    np.testing.assert_array_equal(W.grad, np.zeros((3, 2)))
    np.testing.assert_array_equal(bias.grad, np.zeros(2))


# ---- local gradients, and what is sent back ----


def by_the_chain_rule(result: Variable, i: int, dz: Any) -> Any:
    """The gradient of operand i from its local gradient."""
    local, operand = result.local_gradients[i], result.operands[i]
    if result.operation == "affine":
        return (lambda: dz @ local, lambda: local @ dz, lambda: local @ dz)[i]()
    if result.operation == "@":
        left, right = result.operands
        rows = left.shape[0] if len(left.shape) == 2 else 1
        columns = right.shape[1] if len(right.shape) == 2 else 1
        dz = np.reshape(dz, (rows, columns))
        return np.reshape(dz @ local if i == 0 else local @ dz, operand.shape)
    if result.shape == ():  # a sum or a loss, repeated back
        return np.broadcast_to(dz * local, operand.shape) if np.shape(local) == () else dz * local
    return summed_to(operand.shape, np.broadcast_to(dz * local, result.shape))


@pytest.mark.parametrize("node", [name for name in NODES if not name.startswith("negative")])
def test_gradients_follow_from_local_gradients(node: str) -> None:
    function, shapes = NODES[node]
    result = function(*(Variable(whole(i, shape)) for i, shape in enumerate(shapes)))
    for made in ordered(result):  # a difference is a sum with a product below it
        if not made.operation:
            continue
        assert len(made.local_gradients) == len(made.operands)
        for i, operand in enumerate(made.operands):
            dz = whole(9, made.shape) if made.shape else 3.0
            made.backward(dz)
            expected = by_the_chain_rule(made, i, dz)
            np.testing.assert_array_equal(made.operand_gradients[i], expected)
            if made.operands.count(operand) == 1:
                np.testing.assert_array_equal(operand.grad, expected)


def test_local_gradients_are_those_of_the_textbook() -> None:
    A, B, w = Variable(whole(1, (2, 3))), Variable(whole(2, (3, 4))), Variable(whole(3, (4,)))
    for made, factors in (
        (A + A, (1.0, 1.0)), (A * 2.0, (2.0, A.value)), (A @ B, (B.value.T, A.value.T)),
        (affine(A, B, w), (B.value.T, A.value.T, np.ones(2))), (A.relu(), (A.value > 0,)), (A.sum(), (1.0,)),
        (A.mean(), (1.0 / 6.0,)), (Variable(3.0) * 5.0, (5.0, 3.0)), (Variable(-2.0).relu(), (0.0,)),
    ):  # fmt: skip
        for got, expected in zip(made.local_gradients, factors, strict=True):
            np.testing.assert_array_equal(got, expected)


SHARED: dict[str, tuple[Callable[[Variable], Variable], Callable[[Any], Any]]] = {
    "x * x": (lambda x: x * x, lambda x: 2 * x),
    "x + x": (lambda x: x + x, lambda x: 2 * np.ones_like(x)),
    "x - x": (lambda x: x - x, lambda x: 0 * x),
    "x x x": (lambda x: x * x * x, lambda x: 3 * x**2),
    "diamond": (lambda x: (x * 2) * (x + 3), lambda x: 4 * x + 6),
    "diamond of one node": (lambda x: (lambda y: y * y + y)(x * 3), lambda x: 18 * x + 3),
    "long and short way": (lambda x: ((x * x) * x + x) * 2 + x, lambda x: 6 * x**2 + 3),
    "with its sum": (lambda x: x * x.sum(), lambda x: x.sum() + x.sum() * np.ones_like(x)),
}


@pytest.mark.parametrize("use", SHARED)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_variable_used_twice_gets_the_sum(use: str, shape: tuple[int, ...]) -> None:
    function, slope = SHARED[use]
    x = Variable(whole(5, shape))
    result = function(x)
    result.backward(np.ones(result.shape))
    assert_sums_of_what_was_sent(result)
    np.testing.assert_array_equal(x.grad, slope(np.asarray(x.value)))


def test_products_of_a_matrix_with_itself() -> None:
    x, dz = Variable(whole(5, (3, 3))), whole(6, (3, 3))
    z = x @ x
    z.backward(dz)
    np.testing.assert_array_equal(x.grad, dz @ x.value.T + x.value.T @ dz)
    assert_sums_of_what_was_sent(z)
    v = Variable([1.0, 2.0, -3.0])
    (v @ v).backward()
    np.testing.assert_array_equal(v.grad, [2, 4, -6])
    square = affine(x, x, v)
    square.backward(dz)
    np.testing.assert_array_equal(x.grad, dz @ x.value.T + x.value.T @ dz)
    np.testing.assert_array_equal(v.grad, dz.sum(axis=0))


def test_paths_that_double_at_every_node_are_walked_once() -> None:
    x = z = Variable(1.0)
    for _ in range(60):  # 2^60 paths
        z = z + z
    z.backward()
    assert x.grad == 2.0**60
    assert len(ordered(z)) == 61
    assert len(z.tree().splitlines()) == 1 + 1 + 2 * 60
