"""Graphs that several test files build: every kind of node, the car, networks of nodes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy

DTYPES = ("float32", "float64")
EPS = float(np.finfo(np.float64).eps)
BINARY: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "×": operator.mul}
LABELS = np.array([2, 0, 2, 1])
ROWS = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.125, 0.375, 0.5], [0.25, 0.25, 0.5]])


def off_zero(seed: int, shape: tuple[int, ...]) -> Any:
    """Numbers of both signs, of size 0.25 to 2: no kink of a ReLU is near."""
    rng = np.random.default_rng([seed, *shape])
    return rng.uniform(0.25, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def whole(seed: int, shape: tuple[int, ...]) -> Any:
    """Small whole numbers: sums and products of them are exact."""
    return np.random.default_rng([seed, *shape]).integers(-4, 5, shape).astype(np.float64)


# ---- the car ----


def car() -> tuple[Variable, ...]:
    price, number, tax = Variable(20.0, "price"), Variable(2.0, "number"), Variable(1.1, "tax")
    cost = price * number
    return price, number, tax, cost, cost * tax


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
