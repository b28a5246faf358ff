"""Jacobians, and derivatives along random directions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastbp.numeric_gradients.check import gradcheck, numeric_gradient
from support.functions import Recorder, cubic, cubic_gradient


# Arrays of values: the full Jacobian
def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_jacobian(x: Any) -> Any:
    p = softmax(x)
    return np.diag(p) - np.outer(p, p)


@pytest.mark.parametrize("values", [(), (1,), (2,), (3, 2), (2, 1, 2)])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3)])
def test_jacobian_of_any_shape(values: tuple[int, ...], shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    slopes, point = rng.standard_normal(values + shape), rng.standard_normal(shape)

    def function(x: Any) -> Any:
        return (slopes * x).sum(axis=tuple(range(len(values), len(values) + len(shape))))

    numeric = numeric_gradient(function, point)
    assert numeric.shape == values + shape
    np.testing.assert_allclose(numeric, slopes, atol=1e-9)
    result = gradcheck(function, slopes, point)
    assert result, str(result)
    assert result.numeric.shape == result.analytic.shape == values + shape
    wrong = slopes.copy()
    wrong[(-1,) * wrong.ndim] += 1e-3
    result = gradcheck(function, lambda x: wrong, point)
    assert not result
    assert result.worst == tuple(size - 1 for size in values + shape)
    assert result.analytic[result.worst] - result.numeric[result.worst] == pytest.approx(1e-3, rel=1e-4)


def test_jacobian_of_the_softmax() -> None:
    point = np.random.default_rng(5).standard_normal(6)
    assert gradcheck(softmax, softmax_jacobian, point)
    assert not gradcheck(softmax, lambda x: np.diag(softmax(x)), point)  # the second term forgotten
    swapped = softmax_jacobian(point)
    swapped[[1, 2], 4] = swapped[[2, 1], 4]
    result = gradcheck(softmax, swapped, point)
    assert not result
    assert result.worst in [(1, 4), (2, 4)]
    assert f"at [{result.worst[0]}, 4]: analytic" in str(result)
    assert (result.wrong, result.compared) == (2, 36)


def test_a_kink_of_one_value_leaves_out_that_value_alone() -> None:
    def function(x: Any) -> Any:
        return np.array([abs(x[0]), x[0] + x[1], x[0] * x[1]])

    right = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    result = gradcheck(function, right, [0.0, 2.0])  # |x| right at its kink
    assert result, str(result)
    assert result.skipped == 1
    assert "(5 compared, 1 left out" in str(result)
    for value in (1, 2):  # the same entry of the point, another value
        wrong = right.copy()
        wrong[value, 0] += 1e-3
        result = gradcheck(function, wrong, [0.0, 2.0])
        assert not result
        assert result.worst == (value, 0)
        assert result.skipped == 1


def test_a_list_of_values_may_be_returned() -> None:
    assert gradcheck(lambda x: [x[0], 2 * x[0]], [[1.0], [2.0]], [3.0])


# Directions
@pytest.mark.parametrize("directions", [1, 5])
@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_directions_of_a_right_and_of_a_wrong_gradient(size: int, directions: int) -> None:
    point = np.random.default_rng(size).uniform(-2, 2, size)
    function = Recorder()
    result = gradcheck(function, cubic_gradient, point, directions=directions)
    assert result, str(result)
    assert result.directions == directions
    assert result.analytic.shape == result.numeric.shape == (directions,)
    assert len(function.seen) == 2 * directions + 33
    # A factor lost, a sign lost in half of the entries, two entries wrong.
    right = cubic_gradient(point)
    assert not gradcheck(cubic, 1.001 * right, point, directions=directions)
    assert not gradcheck(cubic, np.where(np.arange(size) % 2 == 0, -right, right), point, directions=directions)
    if size > 1:
        wrong = right.copy()
        wrong[[0, 1]] = wrong[[1, 0]] + 1
        result = gradcheck(cubic, wrong, point, directions=directions)
        assert not result
        assert result.verdicts[result.worst] == "wrong"
        assert f"along direction {result.worst[0]}: analytic" in str(result)


def test_directions_are_unit_vectors_and_the_same_in_every_run() -> None:
    point = np.random.default_rng(6).standard_normal((20, 30))
    seen = []
    for directions in (3, 5):
        function = Recorder()
        assert gradcheck(function, cubic_gradient, point, directions=directions, eps=1e-3, rtol=1e-4)
        moves = [above - below for above, below in zip(function.moved[::2], function.moved[1::2], strict=True)]
        np.testing.assert_allclose([np.linalg.norm(move) for move in moves], 2e-3, rtol=1e-9)
        seen.append(moves)
    np.testing.assert_array_equal(seen[0], seen[1][:3])
    overlaps = np.tensordot(seen[1], seen[1], axes=([1, 2], [1, 2])) / 4e-6
    np.testing.assert_allclose(overlaps, np.eye(5), atol=0.15)  # 600 entries: 0.04 is usual


def test_directions_move_each_entry_in_proportion_to_its_step() -> None:
    function = Recorder()
    gradcheck(function, cubic_gradient, np.ones(1000), eps=np.where(np.arange(1000) < 500, 1e-3, 1e-6), directions=1)
    moved = abs(function.moved[0] - 1)
    assert np.sqrt(np.mean(moved[:500] ** 2) / np.mean(moved[500:] ** 2)) == pytest.approx(1000, rel=0.1)


def test_directions_compare_what_float64_makes_of_them() -> None:
    # Beside 1e6 a step of 6e-6/sqrt(100) is rounded to multiples of 1e-10, which is 2e-4 of it.
    slope = np.random.default_rng(7).uniform(1, 2, 100)
    point = np.full(100, 1e6)
    result = gradcheck(lambda x: (x - 1e6) @ slope, slope, point, eps=6e-6, directions=4)
    np.testing.assert_allclose(result.numeric, result.analytic, rtol=0, atol=1e-12)


def test_a_direction_across_the_gradient_asks_for_no_more_than_others() -> None:
    rng = np.random.default_rng(0)  # as gradcheck draws its first direction
    direction = rng.standard_normal(2)
    across = np.array([-direction[1], direction[0]])
    result = gradcheck(lambda x: 1 + x @ across, across, [0.5, 0.5], directions=1)
    assert abs(result.numeric[0]) < 1e-9
    assert result, str(result)
    assert not gradcheck(lambda x: 1 + x @ across, across + 1e-5 * direction, [0.5, 0.5], directions=1)


def test_directions_of_a_jacobian() -> None:
    point = np.random.default_rng(8).standard_normal((6,))
    result = gradcheck(softmax, softmax_jacobian, point, directions=3)
    assert result, str(result)
    assert result.numeric.shape == (6, 3)
    wrong = softmax_jacobian(point)
    wrong[4] *= 1.01
    result = gradcheck(softmax, wrong, point, directions=3)
    assert not result
    assert result.worst[0] == 4
    assert f"along direction {result.worst[1]} at value [4]" in str(result)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_directions_of_a_gradient_that_is_not_finite(bad: float) -> None:
    result = gradcheck(cubic, [0.0, bad, 1.0], np.ones(3), directions=2)
    assert not result
    assert result.error == math.inf


def test_kinks_along_directions_are_left_out_and_counted() -> None:
    point = np.full(50, 0.5)
    point[7] = 0.0
    slope = np.ones(50)  # of |x| too, but at the entry 7, where there is none
    result = gradcheck(lambda x: abs(x).sum(), slope, point, directions=4)
    assert not result
    assert result.skipped == 4
    result = gradcheck(lambda x: [abs(x).sum(), x.sum()], [slope, slope], point, directions=4)
    assert result, str(result)
    assert result.skipped == 4  # of eight: the sum has no kink
    result = gradcheck(lambda x: abs(x - 1e-3).sum(), slope, point, directions=4)  # wrong, and the kink beyond the step
    assert not result
    assert result.skipped == 0


def test_directions_of_huge_and_tiny_entries() -> None:
    point = np.array([1e200, -1e180, 1e3, 1e-200])
    assert gradcheck(lambda x: (x * [1e-200, 1e-180, 1.0, 1.0]).sum(), [1e-200, 1e-180, 1.0, 1.0], point, directions=2)
