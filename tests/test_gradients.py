"""Numeric derivatives: functions whose derivative is known, kinks, and gradients made wrong on purpose."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp import gradients, reference
from fastbp.gradients import gradcheck, numeric_gradient

STEP = math.cbrt(np.finfo(np.float64).eps)


def cubic(x: Any) -> Any:
    return np.sum(x**3 - 2 * x)


def cubic_gradient(x: Any) -> Any:
    return 3 * x**2 - 2


class Recorder:
    """The function `cubic`, and what it was called with."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, x: Any) -> Any:
        self.seen.append(x)
        return cubic(x)


def test_imports_nothing_of_fastbp() -> None:
    for node in ast.walk(ast.parse(Path(gradients.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert str(node.module).split(".")[0] != "fastbp"
        elif isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "fastbp" for alias in node.names)


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(gradients)
    assert result.attempted >= 4
    assert result.failed == 0


# numeric_gradient


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 1, 3)])
def test_numeric_gradient_of_any_shape(shape: tuple[int, ...]) -> None:
    point = np.random.default_rng(0).standard_normal(shape)
    numeric = numeric_gradient(cubic, point)
    assert isinstance(numeric, np.ndarray)
    assert numeric.shape == shape
    assert numeric.dtype == np.float64
    np.testing.assert_allclose(numeric, cubic_gradient(point), rtol=0, atol=1e-9)


def test_step_goes_with_the_entry() -> None:
    point = np.array([1e8, 1.0, 1e-8, 0.0])
    np.testing.assert_allclose(numeric_gradient(lambda x: (x**2).sum() / 2, [1e8, 3e7]), [1e8, 3e7], rtol=1e-9)
    function = Recorder()
    numeric_gradient(function, point)
    for i, x in enumerate(point):
        np.testing.assert_allclose(function.seen[2 * i + 1][i] - x, STEP * max(1, abs(x)), rtol=1e-8)
        np.testing.assert_allclose(x - function.seen[2 * i + 2][i], STEP * max(1, abs(x)), rtol=1e-8)


def test_divides_by_the_step_that_float64_can_make() -> None:
    # 1e8 + 1.7e-8 comes out as 1e8 + 1.49e-8: divided by 2 · 1.7e-8, the slope of this line would be 0.88.
    assert numeric_gradient(lambda x: x[0], [1e8], eps=1.7e-8)[0] == 1.0


def test_each_entry_is_restored_exactly() -> None:
    point = np.array([0.1, 1e20, 1e-20, -3.3])
    function = Recorder()
    numeric_gradient(function, point)
    assert len(function.seen) == 9
    np.testing.assert_array_equal(function.seen[0], point)
    for call, x in enumerate(function.seen[1:]):
        changed = np.arange(4) == call // 2
        np.testing.assert_array_equal(x[~changed], point[~changed])
        assert x[changed] != point[changed]


def test_a_function_that_writes_into_its_argument_spoils_nothing() -> None:
    def destructive(x: Any) -> float:
        x *= x
        value = float(x.sum())
        x[:] = math.nan
        return value

    point = np.array([1.0, -2.0])
    point.flags.writeable = False
    assert gradcheck(destructive, lambda x: np.multiply(x, 2, out=x), point)
    np.testing.assert_array_equal(point, [1, -2])


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8", "int64", "uint8", "bool"])
def test_point_of_any_real_dtype_is_taken_in_float64(dtype: str) -> None:
    def function(x: Any) -> Any:
        assert x.dtype == np.float64 and x.flags.c_contiguous
        return cubic(x)

    point = np.ones((2, 3), dtype, order="F")
    assert gradcheck(function, cubic_gradient, point)
    np.testing.assert_allclose(numeric_gradient(function, point), np.ones((2, 3)), atol=1e-9)


@pytest.mark.parametrize("convert", [float, np.float64, np.array, np.float32])
def test_any_scalar_may_be_returned(convert: Callable[[Any], Any]) -> None:
    np.testing.assert_allclose(numeric_gradient(lambda x: convert(4 * x[0]), [0.5], eps=0.25), [4])


def test_step_of_each_entry() -> None:
    numeric = numeric_gradient(lambda x: abs(x).sum(), [1.0, 1.0], eps=[0.5, 2.0])
    np.testing.assert_array_equal(numeric, [1.0, 0.5])


# gradcheck


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_right_gradients_pass_at_any_point(point: list[float]) -> None:
    result = gradcheck(cubic, cubic_gradient, point)
    assert result, str(result)
    assert result.skipped == 0


@pytest.mark.parametrize("wrong", [1e-6, 1e-3, 1.0, 1e6])
def test_wrong_entry_is_found(wrong: float) -> None:
    point = np.random.default_rng(1).standard_normal((3, 4))
    gradient = cubic_gradient(point)
    scale = np.abs(gradient).max()
    gradient[1, 2] += wrong * scale
    result = gradcheck(cubic, gradient, point)
    assert not result
    assert result.ok is False
    assert result.worst == (1, 2)
    assert result.skipped == 0
    assert result.error == pytest.approx(wrong * scale / np.abs(gradient).max(), rel=1e-2)
    np.testing.assert_array_equal(result.analytic, gradient)
    np.testing.assert_array_equal(result.numeric, numeric_gradient(cubic, point))


def test_error_is_relative_to_the_largest_entry() -> None:
    slope = np.array([1000.0, 1e-3])

    def line(x: Any) -> Any:
        return x @ slope

    result = gradcheck(line, slope + [0, 1e-3], [0.5, 0.5])  # the small entry is off by its double
    assert result.error == pytest.approx(1e-6, rel=1e-3)
    assert not result
    assert gradcheck(line, slope + [0, 1e-3], [0.5, 0.5], rtol=1.1e-6)
    assert not gradcheck(line, slope + [0, 1e-3], [0.5, 0.5], rtol=0.9e-6)


def test_all_zero() -> None:
    result = gradcheck(lambda x: 3.0, np.zeros(2), np.ones(2))
    assert result
    assert result.error == 0.0
    result = gradcheck(lambda x: 3.0, [0, 1e-9], np.ones(2))
    assert not result
    assert result.error == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("function", [cubic, lambda x: 0.0])
def test_nan_or_infinity_in_the_gradient_fails(function: Callable[[Any], Any], bad: float) -> None:
    result = gradcheck(function, [0.0, bad], [0.5, 0.5])
    assert not result
    assert result.error == math.inf
    assert result.worst == (1,)
    assert "failed" in str(result)


def test_result_is_frozen_and_reads_in_one_line() -> None:
    passed = gradcheck(cubic, cubic_gradient, np.ones((2, 2)))
    assert bool(passed) is passed.ok is True
    assert str(passed).startswith("gradcheck passed: relative error ")
    assert "(4 compared, 0 left out at kinks)" in str(passed)
    failed = gradcheck(cubic, np.zeros((2, 2)), np.ones((2, 2)), rtol=0.5)
    assert str(failed) == (
        "gradcheck failed: relative error 1 > 0.5, worst at [0, 0]: analytic 0, numeric 1 "
        "(4 compared, 0 left out at kinks)"
    )
    assert "\n" not in str(passed) + str(failed)
    with pytest.raises(dataclasses.FrozenInstanceError):
        passed.ok = False  # type: ignore[misc]


def test_scalar_point() -> None:
    result = gradcheck(np.sin, np.cos, 0.5)
    assert result
    assert result.worst == ()
    assert result.numeric.shape == ()
    assert "worst at []" in str(result)


def test_no_more_calls_than_needed_where_nothing_differs() -> None:
    function = Recorder()
    assert gradcheck(function, cubic_gradient, np.ones(5))
    assert len(function.seen) == 2 * 5 + 1


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


def test_a_large_step_is_not_taken_for_a_kink() -> None:
    result = gradcheck(lambda x: (x**4).sum(), lambda x: 4 * x**3, [1.0], eps=1e-2)
    assert not result  # h² f'''/6 is 1e-4 of the gradient
    assert result.skipped == 0


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
    assert f"worst at [{result.worst[0]}, 4]" in str(result)


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
    assert len(function.seen) == 2 * directions + 1
    # A factor lost, a sign lost in half of the entries, two entries wrong.
    right = cubic_gradient(point)
    assert not gradcheck(cubic, 1.001 * right, point, directions=directions)
    assert not gradcheck(cubic, np.where(np.arange(size) % 2 == 0, -right, right), point, directions=directions)
    if size > 1:
        wrong = right.copy()
        wrong[[0, 1]] = wrong[[1, 0]] + 1
        result = gradcheck(cubic, wrong, point, directions=directions)
        assert not result
        assert result.worst == (int(np.argmax(abs(result.analytic - result.numeric))),)
        assert f"worst along direction {result.worst[0]}: " in str(result)


def test_directions_are_unit_vectors_and_the_same_in_every_run() -> None:
    point = np.random.default_rng(6).standard_normal((20, 30))
    seen = []
    for directions in (3, 5):
        function = Recorder()
        assert gradcheck(function, cubic_gradient, point, directions=directions, eps=1e-3, rtol=1e-4)
        moves = [above - below for above, below in zip(function.seen[1::2], function.seen[2::2], strict=True)]
        np.testing.assert_allclose([np.linalg.norm(move) for move in moves], 2e-3, rtol=1e-9)
        seen.append(moves)
    np.testing.assert_array_equal(seen[0], seen[1][:3])
    overlaps = np.tensordot(seen[1], seen[1], axes=([1, 2], [1, 2])) / 4e-6
    np.testing.assert_allclose(overlaps, np.eye(5), atol=0.15)  # 600 entries: 0.04 is usual


def test_directions_move_each_entry_in_proportion_to_its_step() -> None:
    function = Recorder()
    gradcheck(function, cubic_gradient, np.ones(1000), eps=np.where(np.arange(1000) < 500, 1e-3, 1e-6), directions=1)
    moved = abs(function.seen[1] - 1)
    assert np.sqrt(np.mean(moved[:500] ** 2) / np.mean(moved[500:] ** 2)) == pytest.approx(1000, rel=0.1)


def test_directions_compare_what_float64_makes_of_them() -> None:
    # Beside 1e6 a step of 6e-6/sqrt(100) is rounded to multiples of 1e-10, which is 2e-4 of it.
    slope = np.random.default_rng(7).uniform(1, 2, 100)
    point = np.full(100, 1e6)
    result = gradcheck(lambda x: (x - 1e6) @ slope, slope, point, eps=6e-6, directions=4)
    assert result.error < 1e-13


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


# Defaults


@pytest.mark.parametrize(
    ("returned", "stored", "size", "rtol"),
    [
        ("f8", "f8", 4, 1e-7), ("f8", "f8", 1000, 1e-7), ("f8", "f8", 10**5, 1e-5), ("f8", "f4", 4, 1.2e-5),
        ("f8", "f4", 10**5, 1.2e-5), ("f4", "f8", 4, 1e-2), ("f4", "f4", 4, 1e-2), ("f4", "f8", 10**5, 0.1),
        ("f2", "f8", 4, 0.1), ("f8", "i8", 4, 1e-7), ("longdouble", "f8", 4, 1e-7),
    ],
)  # fmt: skip
def test_default_tolerance(returned: str, stored: str, size: int, rtol: float) -> None:
    result = gradcheck(lambda x: x.mean().astype(returned), np.zeros(size, stored), np.zeros(size), directions=1)
    assert result.rtol == pytest.approx(rtol, rel=0.05)


def test_float32_values_get_a_step_and_a_tolerance_that_fit() -> None:
    def function(x: Any) -> Any:
        return cubic(x.astype("f4"))

    for seed in range(20):
        point = np.random.default_rng(seed).uniform(-2, 2, 30).astype("f4")
        assert gradcheck(function, cubic_gradient(point), point)
        assert gradcheck(function, cubic_gradient(point), point, directions=3)
        assert not gradcheck(function, 1.05 * cubic_gradient(point), point)
        assert gradcheck(cubic, cubic_gradient(point), point)  # computed in float32, compared with float64


# Errors


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "function: got int, expected a callable", (3, [1.0], [1.0])),
        (TypeError, r"function: returned shape \(1,\) of complex128", (lambda x: x * 1j, [1.0], [1.0])),
        (TypeError, "function: returned list that is no array", (lambda x: [1.0, [1.0]], [1.0], [1.0])),
        (ValueError, r"function: returned an empty array of shape \(0,\)", (lambda x: x[1:], [1.0], [1.0])),
        (
            ValueError,
            r"function: returned shape \(1,\), expected \(2,\)",
            (lambda x: [1.0] * (2 - (x[0] > 1)), [[1.0]] * 2, [1.0]),
        ),
        (ValueError, "function: returned 1 numbers NaN or inf", (lambda x: [x[0], math.nan], [[1.0]] * 2, [1.0])),
        (TypeError, "function: returned NoneType", (lambda x: None, [1.0], [1.0])),
        (TypeError, "function: returned complex", (lambda x: 1j, [1.0], [1.0])),
        (TypeError, "function: returned str", (lambda x: "1", [1.0], [1.0])),
        (ValueError, "function: returned nan", (lambda x: math.nan, [1.0], [1.0])),
        (ValueError, "function: returned inf", (lambda x: math.inf, [1.0], [1.0])),
        (ValueError, "function: returned nan", (lambda x: math.nan if x[0] > 1 else 0.0, [1.0], [1.0])),
        (ValueError, r"gradient: got shape \(2,\), expected the point's shape \(1,\)", (cubic, [1.0, 2.0], [1.0])),
        (ValueError, r"gradient: got shape \(\)", (cubic, lambda x: 1.0, [1.0])),
        (
            ValueError,
            r"gradient: got shape \(2,\), expected \(2, 2\), the function's",
            (lambda x: x, [1.0, 1.0], [1.0, 1.0]),
        ),
        (TypeError, "gradient: got dtype complex128", (cubic, [1j], [1.0])),
        (TypeError, "gradient: got dtype object returned", (cubic, lambda x: None, [1.0])),
        (TypeError, "point: got dtype complex128", (cubic, [1.0], [1j])),
        (TypeError, "point: got dtype object", (cubic, [1.0], [None])),
        (TypeError, "point: got dtype <U3", (cubic, [1.0], ["1.0"])),
        (TypeError, "point: got list that is no array", (cubic, [1.0], [[1.0], [1.0, 2.0]])),
        (ValueError, "point: got an empty array", (cubic, [], [])),
        (ValueError, "point: got 1 entries NaN or infinite", (cubic, [1.0, 1.0], [math.nan, 1.0])),
        (ValueError, "point: got 1 entries NaN or infinite", (cubic, [1.0], [math.inf])),
        (ValueError, "eps: got 0", (cubic, [1.0], [1.0], 0)),
        (ValueError, "eps: got nan", (cubic, [1.0], [1.0], math.nan)),
        (ValueError, "eps: got 1e-17, expected one that changes 1", (cubic, [1.0], [1.0], 1e-17)),
        (ValueError, "eps: got 1.[0-9]*e.303, expected one that changes 1.8e.308", (cubic, [1.0], [1.79769e308])),
        (ValueError, r"eps: got shape \(2,\)", (cubic, [1.0], [1.0], [0.1, 0.1])),
        (TypeError, "eps: got dtype <U1", (cubic, [1.0], [1.0], "x")),
        (ValueError, "rtol: got -1", (cubic, [1.0], [1.0], None, -1)),
        (ValueError, "rtol: got nan", (cubic, [1.0], [1.0], None, math.nan)),
        (TypeError, "rtol: got str", (cubic, [1.0], [1.0], None, "1e-7")),
        (TypeError, "rtol: got bool", (cubic, [1.0], [1.0], None, True)),
        (ValueError, "directions: got 0, expected at least 1", (cubic, [1.0], [1.0], None, None, 0)),
        (TypeError, "directions: got 2.0, expected a whole number", (cubic, [1.0], [1.0], None, None, 2.0)),
        (TypeError, "directions: got True, expected a whole number", (cubic, [1.0], [1.0], None, None, True)),
        (ValueError, "eps: got steps too small", (lambda x: x.sum(), np.ones(10**4), np.ones(10**4), 3e-16, None, 1)),
    ],
)
def test_errors_name_the_argument(error: type[Exception], message: str, arguments: tuple[Any, ...]) -> None:
    keywords = dict(zip(("eps", "rtol", "directions"), arguments[3:], strict=False))
    with pytest.raises(error, match=message):
        gradcheck(*arguments[:3], **keywords)
    if not message.startswith(("gradient", "rtol", "directions", "eps: got steps")):
        with pytest.raises(error, match=message):
            numeric_gradient(arguments[0], arguments[2], eps=keywords.get("eps"))
