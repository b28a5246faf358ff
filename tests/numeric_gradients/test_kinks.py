"""Kinks and jumps within the step: left out and counted, and never an excuse for a wrong gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastbp import reference
from fastbp.numeric_gradients.check import gradcheck, numeric_gradient
from support.functions import STEP


# Kinks
@pytest.mark.parametrize("jump", [1e-3, 1.0, -1.0, 30.0])
def test_kinks_within_the_step_are_left_out_and_counted(jump: float) -> None:
    distances = np.linspace(-0.99, 0.99, 100)  # of the step; 1/3 itself, where a kink looks like a curve, is not there
    for distance in distances:
        kink = 0.3 + distance * STEP

        def function(x: Any, kink: float = kink) -> Any:
            return np.sin(x[0]) + jump * max(x[0] - kink, 0.0) + x[1] ** 2

        right = np.array([math.cos(0.3) + jump * (kink < 0.3), 2.0])
        result = gradcheck(function, right, [0.3, 1.0])
        assert result, (distance, str(result))
        assert result.skipped == 1, distance
        assert not gradcheck(function, right + [0, 1e-5], [0.3, 1.0])  # the other entry is still held to account


def test_a_kink_right_at_the_point_is_left_out() -> None:
    result = gradcheck(lambda x: np.maximum(x, 0).sum(), [0.0, 0.0, 1.0], [0.0, -1.0, 1.0])
    assert result
    assert result.skipped == 1
    assert result.worst != (0,)


def test_kinks_beyond_the_step_count_for_nothing() -> None:
    for distance in (-1.01, 1.01, 2.0, -50.0):
        kink = 0.3 + distance * STEP

        def function(x: Any, kink: float = kink) -> Any:
            return max(x[0] - kink, 0.0)

        result = gradcheck(function, [float(kink < 0.3)], [0.3])
        assert result.skipped == 0
        assert result


def test_nothing_compared_proves_nothing() -> None:
    result = gradcheck(lambda x: abs(x).sum(), [1.0, -1.0], [0.0, 0.0])
    assert not result
    assert result.skipped == 2
    assert math.isnan(result.error)
    assert "nothing to go by (0 compared, 2 left out" in str(result)


def test_a_kink_excuses_no_more_than_it_explains() -> None:
    assert gradcheck(lambda x: abs(x).sum(), [0.5, 1.0], [1e-6, 1.0]).skipped == 1
    result = gradcheck(lambda x: abs(x).sum(), [30.0, 1.0], [1e-6, 1.0])
    assert result.wrong == 1
    assert result.skipped == 0


@pytest.mark.parametrize("distance", [0.3, 1 / 3, 0.35])
def test_a_kink_where_halving_the_step_shows_none_is_found(distance: float) -> None:
    """A third of the step away, the bend of the function halves with the step, as that of a smooth one does."""
    kink = 0.3 + distance * STEP
    for jump in (1e-3, 1.0):
        result = gradcheck(lambda x, jump=jump: np.sin(x[0]) + jump * max(x[0] - kink, 0.0), [math.cos(0.3)], [0.3])
        assert result.skipped == 1, str(result)


def test_a_jump_within_the_step_is_left_out_and_counted() -> None:
    for distance in (-0.9, -0.3, 0.1, 0.6):
        jump = 0.3 + distance * STEP
        result = gradcheck(lambda x, at=jump: np.array([np.sin(x[0]) + (x[0] > at), x[0]]), [[0.95], [1.0]], [0.3])
        assert result, str(result)
        assert result.skipped == 1


@pytest.mark.parametrize("frequency", [1, 3, 10, 30])
def test_a_wrong_gradient_of_a_smooth_function_is_never_taken_for_a_kink(frequency: int) -> None:
    rng = np.random.default_rng(frequency)

    def function(x: Any) -> Any:
        return np.sum(np.sin(frequency * x) + np.exp(x / 3) + x**3)

    for _ in range(20):
        point = rng.uniform(-3, 3, 4)
        right = frequency * np.cos(frequency * point) + np.exp(point / 3) / 3 + 3 * point**2
        wrong = right + rng.choice([1e-5, 1e-2, 10.0]) * np.abs(right).max()
        assert gradcheck(function, right, point)
        result = gradcheck(function, wrong, point)
        assert not result
        assert result.skipped == 0


@pytest.mark.parametrize("function", [lambda x: (x**4).sum(), lambda x: np.exp(x).sum(), lambda x: np.sin(9 * x).sum()])
def test_a_large_step_is_not_taken_for_a_kink(function: Any) -> None:
    """What it is off by is seen when the step is halved, and allowed as far as the comparison still says much."""
    right = numeric_gradient(function, [1.0, 1.1])
    for eps in (1e-3, 3e-3, 1e-2, 3e-2, 0.1):
        result = gradcheck(function, right, [1.0, 1.1], eps=eps)
        assert result.skipped == result.wrong == 0, str(result)
        assert result.hidden + result.compared == 2
        assert result.compared == 0 or result.within < 0.0101
        result = gradcheck(function, 2 * right, [1.0, 1.1], eps=eps)
        assert not result
        assert result.skipped == 0
    result = gradcheck(lambda x: (x**4).sum(), lambda x: 4 * x**3, [1.0], eps=0.3)  # off by 9 %
    assert "curvature hides the answer, take a shorter step (eps) (0 compared" in str(result)
    assert (result.hidden, result.wrong) == (1, 0)


def test_rounding_is_not_taken_for_a_kink() -> None:
    # Near 1e6 a value is good to 6e-11, a central slope to 1e-5, the measure of a kink to 1e-4.
    slope, point = np.random.default_rng(2).uniform(0.5, 1, (2, 50))
    result = gradcheck(lambda x: 1e6 + x @ slope, slope + 1e-3, point, rtol=4e-5)
    assert not result
    assert result.skipped == 0
    assert gradcheck(lambda x: 1e6 + x @ slope, slope, point, rtol=4e-5)


def test_a_kink_too_small_to_matter_excuses_nothing() -> None:
    result = gradcheck(lambda x: x[0] + 1e-8 * abs(x[0]), [1.001], [0.0])
    assert not result
    assert result.skipped == 0


def test_a_kink_does_not_excuse_nan() -> None:
    result = gradcheck(lambda x: abs(x).sum(), [math.nan, 1.0], [0.0, 1.0])
    assert not result
    assert result.skipped == 0
    assert result.worst == (0,)


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_relu_network(l2: float) -> None:
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(shape) for shape in [(4, 12), (12, 6), (6, 3)]]
    biases = [rng.standard_normal(size) for size in (12, 6, 3)]
    X, labels = rng.standard_normal((20, 4)), rng.integers(0, 3, 20)
    # Put the unit 5 of the first layer within a step of its kink for the row 2, whatever b is moved by.
    biases[0][5] -= X[2] @ weights[0][:, 5] + biases[0][5] - 0.3 * STEP
    _, dWs, dbs, dX = reference.gradient(weights, biases, X, labels, l2)
    skipped = 0
    for k in range(3):

        def of_W(W: Any, k: int = k) -> float:
            return reference.loss([*weights[:k], W, *weights[k + 1 :]], biases, X, labels, l2)

        def of_b(b: Any, k: int = k) -> float:
            return reference.loss(weights, [*biases[:k], b, *biases[k + 1 :]], X, labels, l2)

        for function, gradient, point in [(of_W, dWs[k], weights[k]), (of_b, dbs[k], biases[k])]:
            result = gradcheck(function, gradient, point)
            assert result, str(result)
            skipped += result.skipped
            # Two sums exchanged, a factor lost: what goes wrong in a kernel.
            assert not gradcheck(function, gradient * 1.001, point)
            assert not gradcheck(function, np.roll(gradient, 1, axis=-1), point)
    assert 1 <= skipped <= 5  # its bias and those of its 4 weights that are large enough
    assert gradcheck(lambda X: reference.loss(weights, biases, X, labels, l2), dX, X)
