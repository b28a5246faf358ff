"""The graph: every node against numeric derivatives, networks of nodes against `MLP.gradient`, wrong use told."""

from __future__ import annotations

import gc
import itertools
import math
import operator
import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastbp import MLP, gradcheck, reference
from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy, summary
from fastbp.numeric_gradients.check import numeric_gradient

DTYPES = ("float32", "float64")
EPS = float(np.finfo(np.float64).eps)
LARGE = 1.5e308  # finite, twice it is not

BINARY: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "×": operator.mul}
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
LABELS = np.array([2, 0, 2, 1])
ROWS = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.125, 0.375, 0.5], [0.25, 0.25, 0.5]])

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


def off_zero(seed: int, shape: tuple[int, ...]) -> Any:
    """Numbers of both signs, of size 0.25 to 2: no kink of a ReLU is near."""
    rng = np.random.default_rng([seed, *shape])
    return rng.uniform(0.25, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def whole(seed: int, shape: tuple[int, ...]) -> Any:
    """Small whole numbers: sums and products of them are exact."""
    return np.random.default_rng([seed, *shape]).integers(-4, 5, shape).astype(np.float64)


def summed_to(shape: tuple[int, ...], values: Any) -> Any:
    """The transpose of broadcasting, entry by entry: each entry of `shape` collects those that it was repeated to."""
    result = np.zeros(math.prod(shape))
    source = np.broadcast_to(np.arange(result.size).reshape(shape), np.shape(values))
    np.add.at(result, source, values)
    return result.reshape(shape)


def network_of_nodes(parameters: list[Variable], X: Any, labels: Any, rectified: bool = True) -> tuple[Variable, ...]:
    """The loss and the input of the network with these parameters: W1, b1, W2, b2, ..."""
    h = x = Variable(X, "X")
    for k in range(0, len(parameters), 2):
        h = affine(h, *parameters[k : k + 2])
        if rectified and k + 2 < len(parameters):
            h = h.relu()
    return softmax_cross_entropy(h, labels), x


# ---- the car ----


def car() -> tuple[Variable, ...]:
    price, number, tax = Variable(20.0, "price"), Variable(2.0, "number"), Variable(1.1, "tax")
    cost = price * number
    return price, number, tax, cost, cost * tax


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


def assert_sums_of_what_was_sent(result: Variable, rounding: float = 0.0) -> None:
    sent: dict[int, Any] = {}
    largest: dict[int, Any] = {}
    for variable in ordered(result):
        assert len(variable.operand_gradients) == len(variable.operands)
        for operand, dx in zip(variable.operands, variable.operand_gradients, strict=True):
            assert np.shape(dx) == operand.shape
            sent[id(operand)] = sent.get(id(operand), 0.0) + dx
            largest[id(operand)] = largest.get(id(operand), 0.0) + np.abs(dx)
    for variable in ordered(result):
        if variable is not result:
            error = np.abs(variable.grad - sent[id(variable)])
            assert (error <= rounding * largest[id(variable)]).all()


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


# ---- networks ----

NETWORKS = [(2, 50, 4), (13, 57, 129, 7), (9, 20, 37), (5, 3)]
BATCHES = [1, 2, 5, 37, 200]


def network(sizes: tuple[int, ...], dtype: str, activation: str = "relu") -> MLP:
    """With biases that are not 0, so that a bias left out is seen."""
    net = MLP(sizes, activation=activation, dtype=dtype, seed=1)
    for b in net.biases:
        b[...] = np.random.default_rng(2).normal(0.0, 0.3, b.shape)
    return net


def batch(n: int, sizes: tuple[int, ...], dtype: str, form: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    if form == "indices":
        return X, rng.integers(0, sizes[-1], n)
    return X, rng.multinomial(64, np.full(sizes[-1], 1 / sizes[-1]), size=n) / 64  # sums exactly 1


def parameters_of(net: MLP) -> list[Variable]:
    pairs = zip(net.weights, net.biases, strict=True)
    return [Variable(part, f"{name}{k}") for k, pair in enumerate(pairs) for name, part in zip("Wb", pair, strict=True)]


def interleaved(weights: list[Any], biases: list[Any]) -> list[Any]:
    return list(itertools.chain.from_iterable(zip(weights, biases, strict=True)))


def check_network(net: MLP, n: int, form: str) -> None:
    X, labels = batch(n, net.sizes, net.dtype.name, form)
    expected = net.gradient(X, labels)
    parameters = parameters_of(net)
    loss, x = network_of_nodes(parameters, X, labels, net.activation == "relu")
    loss.backward()
    for got, gradient in zip(
        [*parameters, x], [*interleaved(expected.weights, expected.biases), expected.inputs], strict=True
    ):
        assert_same_bits(got.grad, gradient)
    # The same losses of rows, in float64 summed in another order: both sums are within (n - 1) eps/2.
    assert loss.value == pytest.approx(expected.loss, rel=(n + 1) * EPS, abs=0)
    for variable in ordered(loss):
        for part in (variable.value, variable.grad, *variable.operand_gradients, *variable.local_gradients):
            assert np.shape(part) == () or part.dtype == net.dtype


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("form", ["indices", "rows"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", NETWORKS, ids=str)
def test_network_has_the_bits_of_mlp_gradient(sizes: tuple[int, ...], dtype: str, form: str, n: int) -> None:
    check_network(network(sizes, dtype), n, form)


@pytest.mark.parametrize("dtype", DTYPES)
def test_network_without_activation_has_the_bits_of_mlp_gradient(dtype: str) -> None:
    check_network(network((13, 57, 129, 7), dtype, "identity"), 37, "indices")


@pytest.mark.parametrize("dtype", DTYPES)
def test_network_that_the_mlp_takes_part_by_part_has_its_bits(dtype: str) -> None:
    check_network(network((8, 9000, 4), dtype), 200, "indices")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(2, 50, 4), (13, 57, 129, 7)], ids=str)
def test_network_with_penalty(sizes: tuple[int, ...], dtype: str) -> None:
    net, l2, n = network(sizes, dtype), 0.03, 37
    X, labels = batch(n, sizes, dtype, "indices")
    expected, plain = net.gradient(X, labels, l2), net.gradient(X, labels)
    parameters = parameters_of(net)
    loss, x = network_of_nodes(parameters, X, labels)
    for W in parameters[::2]:
        loss = loss + 0.5 * l2 * (W * W).sum()
    loss.backward()
    eps = float(np.finfo(dtype).eps)
    for W, dW, without, array in zip(parameters[::2], expected.weights, plain.weights, net.weights, strict=True):
        assert W.grad is not None and W.grad.dtype == net.dtype
        # l2/2, its product with W and two sums are rounded here, l2 and one or two there.
        bound = 4 * eps * (np.abs(without) + l2 * np.abs(array))
        assert (np.abs(W.grad - dW) <= bound).all()
        assert np.abs(W.grad - without).max() > 100 * bound.max()
    for b, db in zip(parameters[1::2], expected.biases, strict=True):
        assert_same_bits(b.grad, db)
    assert_same_bits(x.grad, expected.inputs)
    terms = max(W.size for W in net.weights)
    assert loss.value == pytest.approx(expected.loss, rel=(terms + 3) * eps, abs=0)


@pytest.mark.parametrize("form", ["indices", "rows"])
@pytest.mark.parametrize("sizes", [(3, 8, 4), (3, 7, 6, 4)], ids=["two layers", "three layers"])
def test_network_has_the_numeric_gradient(sizes: tuple[int, ...], form: str) -> None:
    net = network(sizes, "float64")
    X, labels = batch(5, sizes, "float64", form)
    parameters = parameters_of(net)
    penalty = 0.02

    def penalised(parameters: list[Variable], X: Any) -> tuple[Variable, ...]:
        loss, x = network_of_nodes(parameters, X, labels)
        for W in parameters[::2]:
            loss = loss + 0.5 * penalty * (W * W).sum()
        return loss, x

    loss, x = penalised(parameters, X)
    loss.backward()
    for k, parameter in enumerate(parameters):

        def of_parameter(value: Any, k: int = k) -> Any:
            return penalised([*parameters[:k], Variable(value), *parameters[k + 1 :]], X)[0].value

        check = gradcheck(of_parameter, parameter.grad, parameter.value)
        assert check, f"{parameter.name}: {check}"
        assert check.skipped < np.size(parameter.value) / 4
    assert gradcheck(lambda X: penalised(parameters, X)[0].value, x.grad, X)


def test_gradient_steps_lower_the_loss() -> None:
    net = network((13, 57, 129, 7), "float64")
    X, labels = batch(37, net.sizes, "float64", "indices")
    parameters = parameters_of(net)
    losses = []
    for _ in range(5):
        loss, _ = network_of_nodes(parameters, X, labels)
        loss.backward()
        losses.append(loss.value)
        parameters = [Variable(p.value - 0.05 * p.grad, p.name) for p in parameters]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


# ---- random graphs ----

LEAF_SHAPES: list[tuple[int, ...]] = [(), (3,), (2, 3), (1, 3), (2, 1), (3, 3), (2, 2, 3)]
Step = tuple[Callable[..., Variable], tuple[int, ...], float]


def fits(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    try:
        return math.prod(np.broadcast_shapes(x, y)) <= 64
    except ValueError:
        return False


def multiplies(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    return len(x) in (1, 2) and len(y) in (1, 2) and x[-1] == y[0]


def random_graph(seed: int) -> tuple[list[Any], Callable[..., tuple[list[Variable], Variable]]]:
    """Values of leaves, and a function that builds one and the same graph of 5 to 30 operations on such leaves.

    Every result is scaled to entries of at most 1 in size, and a ReLU is taken only where no entry is near its kink, so
    that numeric derivatives are good ones. Half of the operands are among the last three results: the graph gets deep,
    and what came before is used again.
    """
    rng = np.random.default_rng(seed)
    values = [off_zero(seed + i, LEAF_SHAPES[k]) / 2 for i, k in enumerate(rng.integers(0, len(LEAF_SHAPES), 4))]
    made = [Variable(value) for value in values]
    steps: list[Step] = []

    def pick() -> int:
        recent = min(3, len(made))
        return int(len(made) - 1 - rng.integers(recent) if rng.random() < 0.5 else rng.integers(len(made)))

    def take(function: Callable[..., Variable], *operands: int) -> None:
        result = function(*(made[i] for i in operands))
        largest = float(np.abs(result.value).max())
        scale = 1.0 / largest if largest > 1 else 1.0
        steps.append((function, operands, scale))
        made.append(result * scale)

    while len(steps) < 5 + seed % 26:
        kind, i, j = rng.choice(["+", "-", "×", "neg", "ReLU", "sum", "mean", "@", "affine", "loss"]), pick(), pick()
        x, y = made[i].shape, made[j].shape
        if kind in BINARY and fits(x, y):
            take(BINARY[kind], i, j)
        elif kind == "neg":
            take(operator.neg, i)
        elif kind == "ReLU" and np.abs(made[i].value).min() > 1e-3:
            take(Variable.relu, i)
        elif kind in ("sum", "mean"):
            take(getattr(Variable, kind), i)
        elif kind == "@" and multiplies(x, y):
            take(operator.matmul, i, j)
        elif kind == "affine" and len(x) == len(y) == 2 and x[1] == y[0]:
            biases = [k for k, variable in enumerate(made) if variable.shape == y[1:]]
            if biases:
                take(affine, i, j, biases[-1])
        elif kind == "loss" and len(x) == 2:
            labels = rng.integers(0, x[1], x[0])
            take(lambda z, labels=labels: softmax_cross_entropy(z, labels), i)

    def build(*values: Any) -> tuple[list[Variable], Variable]:
        nodes = leaves = [Variable(value) for value in values]
        for function, operands, scale in steps:
            nodes = [*nodes, function(*(nodes[i] for i in operands)) * scale]
        total = nodes[-1].mean()
        for i, node in enumerate(nodes[:-1]):  # all of them count, each with a weight of its own
            total = total + (0.3 + 0.1 * (i % 7)) * node.mean()
        return leaves, total

    return values, build


@pytest.mark.parametrize("seed", range(52))
def test_random_graph_has_the_numeric_gradient(seed: int) -> None:
    values, build = random_graph(seed)
    leaves, result = build(*values)
    result.backward()
    assert_sums_of_what_was_sent(result, rounding=len(ordered(result)) * EPS)
    for k, leaf in enumerate(leaves):

        def of_leaf(x: Any, k: int = k) -> Any:
            return build(*values[:k], x, *values[k + 1 :])[1].value

        # Half the step has a quarter of the truncation error, so that this is known of the function alone; to it comes
        # the rounding of a sum of up to 60 means.
        h = math.cbrt(EPS)
        numeric, finer = numeric_gradient(of_leaf, values[k], eps=h), numeric_gradient(of_leaf, values[k], eps=h / 2)
        truncation = np.abs(numeric - finer).max()
        allowed = 2 * truncation + 60 * EPS / h
        assert allowed < 1e-6 * max(1.0, np.abs(numeric).max())
        assert np.abs(leaf.grad - finer).max() <= allowed


# ---- backward, again and elsewhere ----


def test_backward_twice_gives_the_same() -> None:
    x, y = Variable(whole(1, (2, 3))), Variable(whole(2, (3,)))
    z = ((x * y + x) * x).sum()
    z.backward()
    first = [np.copy(v.grad) for v in (x, y)], [np.copy(dx) for dx in z.operands[0].operand_gradients]
    z.backward()
    second = [v.grad for v in (x, y)], list(z.operands[0].operand_gradients)
    for one, other in zip(itertools.chain(*first), itertools.chain(*second), strict=True):
        np.testing.assert_array_equal(one, other)
    z.backward(2.0)
    np.testing.assert_array_equal(x.grad, 2 * first[0][0])


def test_grad_is_of_the_result_whose_backward_was_called_last() -> None:
    x, y = Variable(3.0), Variable(4.0)
    trunk = x * y
    one, other = trunk * 2, x + 1
    assert x.grad is y.grad is one.grad is None
    one.backward()
    assert (x.grad, y.grad, one.grad, other.grad) == (8.0, 6.0, 1.0, None)
    other.backward()
    assert (x.grad, other.grad) == (1.0, 1.0)
    assert (y.grad, one.grad) == (6.0, 1.0)  # no part of that graph
    trunk.backward()
    assert (x.grad, y.grad, trunk.grad) == (4.0, 3.0, 1.0)


def test_backward_of_a_given_variable() -> None:
    x = Variable(3.0)
    x.backward()
    assert x.grad == 1.0
    assert x.operand_gradients == ()
    x = Variable([1.0, 2.0])
    x.backward([3.0, 4.0])
    np.testing.assert_array_equal(x.grad, [3, 4])


@pytest.mark.parametrize("seed", [2, 2.0, True, np.float32(2), np.array(2), np.int8(2)])
def test_seed_of_any_real_number(seed: Any) -> None:
    x = Variable(3.0)
    (x * 5).backward(seed)
    assert x.grad == 5 * float(seed)


@pytest.mark.parametrize("dtype", ["int8", "bool", ">f8", "float32", "float16"])
def test_seed_of_any_real_dtype_and_layout(dtype: str) -> None:
    x, seed = Variable(np.ones((2, 3))), np.array([[1, 0], [1, 1], [0, 1]], dtype).T
    (x * 5).backward(seed)
    np.testing.assert_array_equal(x.grad, 5.0 * seed)
    assert x.grad is not None and x.grad.dtype == np.float64


def test_seed_is_copied() -> None:
    seed = np.ones(2)
    x = Variable([1.0, 2.0])
    z = x * 3
    z.backward(seed)
    seed[:] = 7
    np.testing.assert_array_equal(z.grad, [1, 1])
    seed[:] = 8  # and still writable


DEEP: dict[str, Callable[[Variable], Variable]] = {
    "sum of two": lambda z: z + 1.0, "product": lambda z: z * 1.0, "ReLU": Variable.relu, "sum": Variable.sum,
    "used twice": lambda z: z * 0.5 + z * 0.5,
}  # fmt: skip


@pytest.mark.parametrize("operation", DEEP)
def test_deep_graph(operation: str) -> None:
    x = z = Variable(1.0)
    nodes = 0
    while nodes < 20_000:
        z = DEEP[operation](z)
        nodes += 3 if operation == "used twice" else 1
    z.backward()
    assert x.grad == 1.0
    assert ordered(z)[0] is x
    z.free()
    del z
    x.backward()


def test_deep_graph_dies_without_recursion() -> None:
    z = Variable(1.0)
    for _ in range(50_000):
        z = z.sum()
    del z


def test_deep_graph_as_a_tree() -> None:
    z = Variable(1.0, "x")
    for _ in range(1500):
        z = z.relu()
    assert z.tree().splitlines()[-1].split() == ["└─", "x", "1", "-"]


def test_order_has_operands_first_and_each_once() -> None:
    values, build = random_graph(29)
    _, result = build(*values)
    order = ordered(result)
    place = {id(variable): i for i, variable in enumerate(order)}
    assert len(place) == len(order)
    assert order[-1] is result
    for variable in order:
        assert all(place[id(operand)] < place[id(variable)] for operand in variable.operands)


# ---- what is given ----

FORMS: dict[str, Callable[[Any], Any]] = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a)) if a.ndim == 2 else tuple(a),
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "big-endian": lambda a: a.astype(">f8"),
    "big-endian integers": lambda a: a.astype(">i4"),
    "Fortran order": np.asfortranarray,
    "every other": lambda a: np.kron(a, np.ones((2,) * a.ndim))[(slice(None, None, 2),) * a.ndim],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "unaligned": lambda a: np.frombuffer(b" " + a.tobytes(), np.uint8)[1:].view(np.float64).reshape(a.shape),
    "subclass": lambda a: a.view(np.recarray),
}


def everything(A: Any, B: Any, b: Any, c: Any) -> tuple[list[Variable], Variable]:
    leaves = [Variable(value) for value in (A, B, b, c)]
    x, w, bias, v = leaves
    return leaves, (affine(x, w, bias).relu() * v + (x @ w) * 2 - v).sum() + softmax_cross_entropy(v, [3, 0])


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_real_dtype_and_layout_mean_the_same(form: str) -> None:
    plain = [whole(1, (2, 3)), whole(2, (3, 4)), whole(3, (4,)), whole(4, (2, 4))]
    leaves, result = everything(*plain)
    result.backward()
    others, other = everything(*map(FORMS[form], plain))
    other.backward()
    assert other.value == result.value
    for leaf, same in zip(leaves, others, strict=True):
        assert type(same.value) is np.ndarray
        assert same.value.dtype == np.float64 and same.value.dtype.isnative
        np.testing.assert_array_equal(leaf.value, same.value)
        np.testing.assert_array_equal(leaf.grad, same.grad, strict=True)
    # On the right of an operator, and as labels' logits, the same array need not be made a variable first.
    x = Variable(plain[0])
    np.testing.assert_array_equal((x @ FORMS[form](plain[1])).value, plain[0] @ plain[1])
    np.testing.assert_array_equal(affine(FORMS[form](plain[0]), FORMS[form](plain[1]), FORMS[form](plain[2])).value,
                                  plain[0] @ plain[1] + plain[2])  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("float32", "float32"), (">f4", "float32"), ("float64", "float64"), ("int64", "float64"), ("uint8", "float64"),
     ("bool", "float64"), ("longdouble", "float64"), ("float16", "float32")],
)  # fmt: skip
def test_arrays_are_float32_where_that_holds_them_as_everywhere_in_fastbp(dtype: str, kept: str) -> None:
    value = Variable(np.ones(3, dtype)).value
    assert isinstance(value, np.ndarray)
    assert value.dtype == kept


@pytest.mark.parametrize(
    "number", [1, 1.0, True, np.float32(1), np.int8(1), np.bool_(True), np.array(1), np.float64(1)]
)
def test_a_number_of_any_type_is_a_float(number: Any) -> None:
    assert type(Variable(number).value) is float
    assert Variable(number).value == 1.0
    assert Variable(number).shape == ()


@pytest.mark.parametrize(
    "operation",
    [operator.neg, Variable.relu, lambda x: x + 1, lambda x: 2.5 * x, lambda x: x - np.float64(1),
     lambda x: x @ x.value.T, lambda x: affine(x, x.value.T, np.ones(2, np.float32)), lambda x: x * x.sum(),
     lambda x: x + x.mean()],
)  # fmt: skip
def test_float32_stays_float32(operation: Callable[[Variable], Variable]) -> None:
    x = Variable(np.float32([[1, -2, 3], [0.1, 0.2, -0.3]]))
    z = operation(x)
    z.backward(np.ones(z.shape))
    for variable in ordered(z):
        for part in (variable.value, variable.grad, *variable.operand_gradients):
            assert np.shape(part) == () or part.dtype == np.float32


def test_gradients_have_the_dtype_of_their_variable() -> None:
    x, y = Variable(np.ones((2, 3), np.float32)), Variable(np.ones((3, 2)))
    z = x @ y
    z.backward(np.ones((2, 2)))
    assert z.value.dtype == y.grad.dtype == np.float64
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_copies_and_read_only(dtype: str) -> None:
    array = np.ones((2, 3), dtype)
    x = Variable(array)
    z = affine(x, np.ones((3, 2), dtype), np.ones(2, dtype))
    total = ((z.relu() * 2 + z) @ np.ones(2, dtype)).sum()
    total.backward()
    array[:] = 7  # still the user's, and writable
    np.testing.assert_array_equal(x.value, 1)
    for variable in ordered(total):
        for part in (variable.value, variable.grad, *variable.local_gradients, *variable.operand_gradients):
            if np.shape(part):
                assert not np.shares_memory(part, array)
                with pytest.raises(ValueError, match="read-only"):
                    part[...] = 0


def test_operands_that_are_no_variables_are_copied_too() -> None:
    array = np.ones(3)
    x = Variable([1.0, 2.0, 3.0])
    z = array * x
    array[:] = 100
    z.backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, np.ones(3))
    np.testing.assert_array_equal(z.operands[0].value, np.ones(3))


def test_labels_may_change_afterwards() -> None:
    z, labels, rows = Variable(off_zero(3, (4, 3))), LABELS.copy(), ROWS.copy()
    losses = softmax_cross_entropy(z, labels), softmax_cross_entropy(z, rows)
    labels[:], rows[:] = 0, 0
    for loss, now in zip(losses, (LABELS, ROWS), strict=True):
        loss.backward()
        assert loss.value == softmax_cross_entropy(z, now).value
        np.testing.assert_array_equal(z.grad, softmax_cross_entropy(z, now).local_gradients[0])


LEFT: dict[str, Callable[[Any], Any]] = {
    "array": lambda a: a, "float32 array": lambda a: a.astype(np.float32), "integers": lambda a: a.astype(int),
    "list": lambda a: a.tolist(), "Fortran order": np.asfortranarray,
}  # fmt: skip


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("sign", ["+", "-", "×", "@"])
def test_operators_with_an_array_on_either_side(sign: str, left: str) -> None:
    function = {**BINARY, "@": operator.matmul}[sign]
    a, x = whole(1, (3, 3)), Variable(whole(2, (3, 3)))
    dz = whole(3, (3, 3))
    for z, expected in (
        (function(LEFT[left](a), x), function(a, x.value)),
        (function(x, LEFT[left](a)), function(x.value, a)),
    ):
        assert type(z) is Variable
        np.testing.assert_array_equal(z.value, expected, strict=True)
        z.backward(dz)
        mirrored = z.operands[0] is not x
        expected_gradient = {
            "+": dz, "-": -dz if mirrored else dz, "×": dz * a, "@": a.T @ dz if mirrored else dz @ a.T,
        }[sign]  # fmt: skip
        np.testing.assert_array_equal(x.grad, expected_gradient)


@pytest.mark.parametrize("number", [3, 3.0, np.float64(3), np.float32(3), np.int64(3), np.uint8(3), np.array(3.0)])
@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_operators_with_a_number_on_either_side(shape: tuple[int, ...], sign: str, number: Any) -> None:
    x, ones = Variable(whole(1, shape)), np.ones(shape)
    for z, expected, slope in (
        (BINARY[sign](number, x), BINARY[sign](3.0, x.value), {"+": 1, "-": -1, "×": 3}[sign]),
        (BINARY[sign](x, number), BINARY[sign](x.value, 3.0), {"+": 1, "-": 1, "×": 3}[sign]),
    ):
        assert type(z) is Variable
        np.testing.assert_array_equal(z.value, expected)
        z.backward(ones)
        np.testing.assert_array_equal(x.grad, slope * ones)


# ---- names, trees ----


def test_names() -> None:
    x = Variable(3.0, "x")
    y = x * 2
    assert (x.name, y.name) == ("x", "")
    assert y.named("twice") is y
    assert y.name == "twice"
    assert Variable(1.0, name="one").name == "one"


def test_repr() -> None:
    x = Variable(3.0, "x")
    assert repr(x) == "Variable(3.0, name='x')"
    assert repr(x + 1) == "Variable(4.0)"
    x.backward()
    assert repr(x) == "Variable(3.0, name='x', grad=1.0)"


def test_operations_are_named_as_documented() -> None:
    A, w = Variable(np.ones((2, 2)), "A"), Variable(np.ones(2), "w")
    results = [A + A, A * A, A @ A, affine(A, A, w), A.relu(), softmax_cross_entropy(A, [0, 1]), A.sum(), A.mean(), A]
    expected = ["+", "×", "@", "affine", "ReLU", "softmax loss", "sum", "mean", ""]
    assert [result.operation for result in results] == expected


def test_tree_of_arrays_with_a_part_used_twice() -> None:
    X, W = Variable([[1.0, 2.0], [3.0, 4.0]], "X"), Variable([[3.0], [4.0]], "W")
    h = affine(X, W, [0.0]).named("h")
    loss = (h * h).mean().named("loss")
    loss.backward()
    assert loss.tree().splitlines() == [
        "                                   value      derivative",
        "mean loss                            373               1",
        "└─ ×                        (2, 1) ‖637‖  (2, 1) ‖0.707‖",
        "   ├─ affine h             (2, 1) ‖27.3‖   (2, 1) ‖27.3‖",
        "   │  ├─ X                 (2, 2) ‖5.48‖    (2, 2) ‖137‖",
        "   │  ├─ W                    (2, 1) ‖5‖    (2, 1) ‖149‖",
        "   │  └─ ·                      (1,) ‖0‖       (1,) ‖36‖",
        "   └─ affine h (as above)  (2, 1) ‖27.3‖   (2, 1) ‖27.3‖",
    ]


def test_tree_leaves_no_blanks_at_line_ends() -> None:
    for line in car()[-1].tree().splitlines():
        assert line == line.rstrip()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (1.0, "1"), (1 / 3, "0.333333"), (1e-30, "1e-30"), (-44.000000001, "-44"),
     (np.zeros((2, 3)), "(2, 3) ‖0‖"), (np.array([3.0, 4.0]), "(2,) ‖5‖"), (np.zeros(0), "(0,) ‖0‖"),
     (np.array([1e200, 1e200]), "(2,) ‖1.41e+200‖"), (np.array([1e-200, 1e-200]), "(2,) ‖1.41e-200‖"),
     (np.float32([1e30, 1e30]), "(2,) ‖1.41e+30‖")],
)  # fmt: skip
def test_summary(value: Any, text: str) -> None:
    assert summary(value) == text


# ---- memory ----


def variables_alive() -> int:
    return sum(isinstance(thing, Variable) for thing in gc.get_objects())


def test_graph_dies_with_its_result() -> None:
    gc.collect()
    before = variables_alive()
    gc.disable()  # no cycles: nothing waits for the collector
    try:
        x = Variable(np.ones((4, 3)))
        loss = softmax_cross_entropy(affine(x.relu() * 2 - 1, np.ones((3, 2)), np.ones(2)), [0, 1, 0, 1])
        loss = loss + (x @ np.ones(3)).sum() + x.mean()
        loss.backward()
        inner = [weakref.ref(v.value) for v in ordered(loss) if v is not x and np.shape(v.value)]
        assert len(inner) >= 6
        assert variables_alive() > before + 10
        del loss
        assert variables_alive() == before + 1
        assert all(value() is None for value in inner)
    finally:
        gc.enable()


def test_free_lets_go_of_all_that_led_to_the_result() -> None:
    gc.collect()
    before = variables_alive()
    x = Variable(np.ones((4, 3)))
    middle = x * 2
    y = middle.relu()
    z = (y * y).sum()
    z.backward()
    inner = weakref.ref(y.value), weakref.ref(y.grad)
    derivative = x.grad
    z.free()
    assert z.operands == z.local_gradients == z.operand_gradients == ()
    assert middle.operands == ()
    del middle, y
    assert all(value() is None for value in inner)
    assert variables_alive() == before + 2
    assert (z.value, z.grad) == (48.0, 1.0)
    assert x.grad is derivative
    x.backward(np.ones((4, 3)))  # what was given goes on
    again = (x * 3).sum()
    again.backward()
    np.testing.assert_array_equal(x.grad, np.full((4, 3), 3.0))


def test_backward_again_leaves_no_old_gradients() -> None:
    x = Variable(np.ones(3))
    z = (x * 2).sum()
    z.backward()
    old = weakref.ref(x.grad)
    z.backward()
    assert old() is None


# ---- errors ----

BAD_VALUES: list[tuple[type[Exception], str, Any]] = [
    (ValueError, "got nan, expected finite", math.nan),
    (ValueError, "got inf, expected finite", math.inf),
    (ValueError, "got -inf, expected finite", np.float32(-np.inf)),
    (ValueError, r"got nan at \[1, 0\], expected finite", [[1.0, 2.0], [math.nan, math.inf]]),
    (ValueError, r"got inf at \[2\]", np.array([1, 2, np.inf], np.float16)),
    (ValueError, "got tuple that is not rectangular", ((1.0,), (1.0, 2.0))),
    (TypeError, "got dtype <U3, expected real numbers", "1.0"),
    (TypeError, "got dtype <U1", ["a"]),
    (TypeError, r"got dtype \|?S1", b"1"),
    (TypeError, "got dtype complex128", 1j),
    (TypeError, "got dtype complex64", np.ones(2, np.complex64)),
    (TypeError, "got a masked array", np.ma.array([1.0, 2.0], mask=[False, True])),
    (TypeError, "got a masked array", np.ma.array([1.0, 2.0])),
    (TypeError, "got dtype object", None),
    (TypeError, "got dtype object", [1.0, None]),
    (TypeError, "got dtype object", {}),
    (TypeError, "got dtype object", 10**400),
    (TypeError, "got dtype object", [Variable(1.0)]),
    (TypeError, "got dtype datetime64", np.datetime64("2020-01-01")),
]


@pytest.mark.parametrize(("error", "message", "value"), BAD_VALUES)
def test_values_that_are_no_finite_real_numbers(error: type[Exception], message: str, value: Any) -> None:
    with pytest.raises(error, match=f"^value: {message}"):
        Variable(value)
    x = Variable(np.ones((1, 1)))
    for sign, function in {**BINARY, "@": operator.matmul}.items():
        for call in (lambda function=function: function(x, value), lambda function=function: function(value, x)):
            with pytest.raises(error, match=f"^{re.escape(sign)}: {message}"):
                call()
    for name, call in {
        "X": lambda: affine(value, x, [1.0]), "W": lambda: affine(x, value, [1.0]), "b": lambda: affine(x, x, value),
        "logits": lambda: softmax_cross_entropy(value, [0]),
    }.items():  # fmt: skip
        with pytest.raises(error, match=f"^{name}: {message}"):
            call()


def test_a_value_beyond_float64() -> None:
    for value in (np.longdouble("1e4000"), np.array([1, np.longdouble("1e4000")])):
        with pytest.raises(ValueError, match=r"^value: got inf"):
            Variable(value)


OVERFLOWS: dict[str, tuple[str, Callable[[], Any]]] = {
    "+ of numbers": (r"\+: got inf, ", lambda: Variable(LARGE) + LARGE),
    "+ of arrays": (r"\+: got inf at \[1\]", lambda: Variable([1.0, LARGE]) + [1.0, LARGE]),
    "-": (r"-: got -inf", lambda: Variable(-LARGE) - LARGE),
    "× of numbers": ("×: got -inf, ", lambda: Variable(LARGE) * -10),
    "× of arrays": (r"×: got inf at \[0, 0\]", lambda: Variable([[LARGE]]) * 10),
    "× in float32": (r"×: got inf at \[0\]", lambda: Variable(np.float32([1e30])) * np.float32([1e30])),
    "× of a large number with float32": (r"×: got inf at \[0\]", lambda: 1e300 * Variable(np.float32([1]))),
    "@": (r"@: got inf, ", lambda: Variable([LARGE, LARGE]) @ [1.0, 1.0]),
    "@ of matrices": (r"@: got inf at \[0, 1\]", lambda: Variable([[1.0, LARGE]]) @ [[1.0, 1.0], [0.0, 2.0]]),
    "affine": (r"affine: got inf at \[0, 0\]", lambda: affine([[LARGE]], [[1.0]], [LARGE])),
    "softmax loss": ("softmax loss: got inf", lambda: softmax_cross_entropy([[LARGE, -LARGE]], [1])),
    "sum": ("sum: got inf", lambda: Variable([LARGE, LARGE]).sum()),
    "mean": ("mean: got inf", lambda: Variable([LARGE, LARGE]).mean()),
}


@pytest.mark.parametrize("operation", OVERFLOWS)
def test_a_result_that_is_not_finite(operation: str) -> None:
    message, call = OVERFLOWS[operation]
    with pytest.raises(ValueError, match=f"^{message}.*expected finite numbers"):
        call()


x1, x32 = Variable([1.0], "x"), Variable(np.float32([1]), "x")
OVERFLOWS_BACK: dict[str, tuple[str, Callable[[], Any]]] = {
    "product of numbers": ("gradient behind ×: got inf", lambda: (Variable(1.0) * 10).backward(LARGE)),
    "product of arrays": (r"gradient behind ×: got inf at \[0\]", lambda: (x1 * [10.0]).backward([LARGE])),
    "matrix product": ("gradient behind @", lambda: (Variable([[1.0]]) @ [[10.0]]).backward([[LARGE]])),
    "affine": (
        "gradient behind affine: got inf",
        lambda: affine(np.ones((2, 1)), [[1.0]], [0.0]).backward([[LARGE], [LARGE]]),
    ),
    "numbers added up": (
        "gradient of the variable 'x': got inf",
        lambda: (lambda x: x + x)(Variable(1.0, "x")).backward(LARGE),
    ),
    "numbers without a name": (
        r"gradient of a variable \(given\)",
        lambda: (lambda x: x + x)(Variable(1.0)).backward(LARGE),
    ),
    "arrays added up": (r"gradient of the variable 'x': got inf at \[0\]", lambda: (x1 + x1).backward([LARGE])),
    "summed where it was repeated": (
        r"gradient behind \+: got inf at \[0\]",
        lambda: (x1 + np.zeros(2)).backward([LARGE, LARGE]),
    ),
    "in float32": (
        r"gradient behind ×: got inf at \[0\]",
        lambda: (x32 * np.float32([1e10])).backward(np.float32([1e30])),
    ),
    "beyond float32": (r"gradient behind \+: got inf at \[0\]", lambda: (x32 + np.ones(1)).backward([1e300])),
    "a seed beyond float32": (r"gradient: got inf at \[0\]", lambda: x32.backward([1e300])),
}


@pytest.mark.parametrize("where", OVERFLOWS_BACK)
def test_a_gradient_that_is_not_finite(where: str) -> None:
    message, call = OVERFLOWS_BACK[where]
    with pytest.raises(ValueError, match=f"^{message}.*expected finite numbers"):
        call()


@pytest.mark.parametrize("sign", ["+", "×"])
@pytest.mark.parametrize("shapes", [((2,), (3,)), ((2, 3), (2,)), ((2, 3), (3, 2)), ((4, 2, 3), (3, 3)), ((0,), (2,))])
def test_shapes_that_do_not_broadcast(shapes: tuple[tuple[int, ...], ...], sign: str) -> None:
    x, y = map(np.ones, shapes)
    message = re.escape(f"{sign}: got shapes {shapes[0]} and {shapes[1]}, expected two that broadcast")
    for call in (
        lambda: BINARY[sign](Variable(x), Variable(y)), lambda: BINARY[sign](x, Variable(y)),
        lambda: BINARY[sign](Variable(x), y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


def test_differences_of_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(3,\), expected two that broadcast"):
        Variable([1.0, 2.0]) - [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "shapes",
    [((2, 3), (2, 3)), ((3,), (2,)), ((3,), (2, 3)), ((2, 3), (2,)), ((), (3,)), ((3,), ()), ((), ()), ((2, 3), ()),
     ((4, 2, 3), (3, 2)), ((2, 3), (4, 3, 2)), ((4, 2, 3), (4, 3, 2))],
)  # fmt: skip
def test_shapes_that_do_not_multiply(shapes: tuple[tuple[int, ...], ...]) -> None:
    x, y = map(np.ones, shapes)
    message = re.escape(f"@: got shapes {shapes[0]} and {shapes[1]}, expected (n, k) and (k, m), or vectors")
    for call in (lambda: Variable(x) @ Variable(y), lambda: x @ Variable(y), lambda: Variable(x) @ y):
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


@pytest.mark.parametrize(
    ("message", "shapes"),
    [
        (r"X: got 1 dimensions, shape \(3,\), expected 2", ((3,), (3, 2), (2,))),
        (r"X: got 0 dimensions, shape \(\), expected 2", ((), (3, 2), (2,))),
        (r"X: got 3 dimensions, shape \(4, 2, 3\), expected 2", ((4, 2, 3), (3, 2), (2,))),
        (r"W: got 1 dimensions, shape \(3,\), expected 2", ((4, 3), (3,), (2,))),
        (r"W: got shape \(2, 3\), expected \(3, 3\)", ((4, 3), (2, 3), (3,))),
        (r"b: got shape \(3,\), expected \(2,\)", ((4, 3), (3, 2), (3,))),
        (r"b: got 2 dimensions, shape \(1, 2\), expected 1", ((4, 3), (3, 2), (1, 2))),
        (r"b: got 0 dimensions, shape \(\), expected 1", ((4, 3), (3, 1), ())),
    ],
)
def test_shapes_that_make_no_affine_layer(message: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    for form in (np.ones, lambda shape: Variable(np.ones(shape))):
        with pytest.raises(ValueError, match=f"^{message}"):
            affine(*map(form, shapes))


@pytest.mark.parametrize(
    ("error", "message", "logits", "labels"),
    [
        (ValueError, r"logits: got 1 dimensions, shape \(3,\), expected 2", np.ones(3), [0]),
        (ValueError, r"logits: got 0 dimensions", 1.0, [0]),
        (ValueError, r"logits: got shape \(0, 3\), expected at least one row", np.ones((0, 3)), []),
        (ValueError, r"labels: got 3 at \[1\], expected whole numbers from 0 to 2", np.ones((2, 3)), [0, 3]),
        (ValueError, r"labels: got -1 at \[0\]", np.ones((2, 3)), [-1, 0]),
        (ValueError, r"labels: got 0.5 at \[1\]", np.ones((2, 3)), [0, 0.5]),
        (ValueError, r"labels: got nan at \[1\]", np.ones((2, 3)), [0, math.nan]),
        (ValueError, r"labels: got shape \(3,\), expected \(2,\)", np.ones((2, 3)), [0, 1, 2]),
        (ValueError, r"labels: got shape \(2, 2\), expected \(2, 3\)", np.ones((2, 3)), np.eye(2)),
        (ValueError, "labels: got row 1 with sum 2", np.ones((2, 2)), [[0.5, 0.5], [1.0, 1.0]]),
        (TypeError, "labels: got dtype <U1", np.ones((2, 3)), ["0", "1"]),
        (TypeError, "labels: got dtype object", np.ones((2, 3)), None),
    ],
)
def test_logits_and_labels_that_do_not_fit(error: type[Exception], message: str, logits: Any, labels: Any) -> None:
    for operand in (logits, Variable(logits)):
        with pytest.raises(error, match=f"^{message}"):
            softmax_cross_entropy(operand, labels)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("operation", ["sum", "mean"])
def test_nothing_to_sum(operation: str, shape: tuple[int, ...]) -> None:
    message = re.escape(f"{operation}: got an empty array of shape {shape}, expected at least one entry")
    with pytest.raises(ValueError, match=message):
        getattr(Variable(np.ones(shape)), operation)()


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 3)])
def test_backward_of_an_array_needs_a_gradient(shape: tuple[int, ...]) -> None:
    x = Variable(np.ones(shape))
    for result in (x, x * 2, x.relu()):
        with pytest.raises(ValueError, match=re.escape(f"gradient: got none for a result of shape {shape}")):
            result.backward()
        assert result.grad is None


@pytest.mark.parametrize(
    ("error", "message", "gradient"),
    [
        (ValueError, r"gradient: got shape \(\), expected \(2, 3\)", 1.0),
        (ValueError, r"gradient: got shape \(3,\), expected \(2, 3\)", np.ones(3)),
        (ValueError, r"gradient: got shape \(3, 2\), expected \(2, 3\)", np.ones((3, 2))),
        (ValueError, r"gradient: got shape \(1, 2, 3\), expected \(2, 3\)", np.ones((1, 2, 3))),
        (ValueError, "gradient: got list that is not rectangular", [[1.0], [1.0, 2.0]]),
        (ValueError, r"gradient: got nan at \[0, 1\], expected finite", [[1, math.nan, 1], [1, 1, 1]]),
        (ValueError, r"gradient: got -inf at \[1, 2\]", [[1, 1, 1], [1, 1, -math.inf]]),
        (TypeError, "gradient: got dtype complex128", np.full((2, 3), 1j)),
        (TypeError, "gradient: got dtype <U1", np.full((2, 3), "1")),
        (TypeError, "gradient: got a masked array", np.ma.ones((2, 3))),
        (TypeError, "gradient: got dtype object", Variable(np.ones((2, 3)))),
    ],
)
def test_seeds_that_do_not_fit(error: type[Exception], message: str, gradient: Any) -> None:
    x = Variable(np.ones((2, 3)))
    z = x * 2
    z.backward(np.full((2, 3), 5.0))
    with pytest.raises(error, match=f"^{message}"):
        z.backward(gradient)
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 10.0))  # a call that is refused changes nothing


def test_seeds_of_a_number_that_do_not_fit() -> None:
    for error, message, gradient in (
        (ValueError, r"gradient: got shape \(1,\), expected \(\)", [1.0]),
        (ValueError, "gradient: got nan, expected", math.nan),
        (TypeError, "gradient: got dtype <U1", "1"),
    ):
        with pytest.raises(error, match=f"^{message}"):
            (Variable(3.0) * 2).backward(gradient)


@pytest.mark.parametrize("use", [Variable.backward, Variable.tree, ordered])
def test_a_graph_that_was_freed(use: Callable[[Variable], Any]) -> None:
    x = Variable(3.0, "x")
    z = (x * 2).named("z")
    z.backward()
    z.free()
    with pytest.raises(ValueError, match="the variable 'z' was freed"):
        use(z)
    further = z + 1  # its value is still good
    assert further.value == 7.0
    with pytest.raises(ValueError, match="the variable 'z' was freed"):
        use(further)
    nameless = x * 2
    nameless.free()
    with pytest.raises(ValueError, match=r"a variable \(×\) was freed"):
        use(nameless + x)
    assert (x.grad, x.value) == (2.0, 3.0)
    use(x)


@pytest.mark.parametrize("use", [Variable.backward, Variable.tree, ordered])
def test_a_graph_with_a_cycle(use: Callable[[Variable], Any]) -> None:
    x = Variable(3.0, "x")
    x.operands = (x,)
    with pytest.raises(ValueError, match="the variable 'x' is among its own operands"):
        use(x)
    x.operands = ()
    y = x * 2
    z = y + 1
    y.operands = (z, *y.operands[1:])
    for start in (y, z, z * 3):
        with pytest.raises(ValueError, match=r"a variable \([+×]\) is among its own operands: .* cycle"):
            use(start)
    y.operands = ()  # lets go of it


def test_functions_of_numpy_are_refused_and_not_mapped_over_objects() -> None:
    x = Variable([1.0, 2.0])
    for call in (lambda: np.add(np.ones(2), x), lambda: np.multiply(x, 2.0), lambda: np.matmul(np.ones(2), x)):
        with pytest.raises(TypeError, match="does not support ufuncs"):
            call()
