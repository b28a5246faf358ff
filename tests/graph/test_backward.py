"""The backward pass: repeated, from given seeds, through deep graphs, and the memory that a graph holds."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy
from support.graph_cases import random_graph, whole
from support.lanes import in_lanes

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


@pytest.mark.parametrize("operation", in_lanes(DEEP, fast=["product"]))
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


# ---- memory ----


def variables_alive() -> int:
    # `isinstance` would ask a weak proxy of other libraries for the class of an object that is gone.
    return sum(issubclass(type(thing), Variable) for thing in gc.get_objects())


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
