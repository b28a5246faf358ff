"""Numeric derivatives: functions whose derivative is known, kinks, and gradients made wrong on purpose."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import math
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import targets_of

from fastbp import MLP, reference
from fastbp.numeric_gradients import check, comparison, differences, roughness
from fastbp.numeric_gradients.check import gradcheck, numeric_gradient
from fastbp.spec.activations import ACTIVATIONS
from fastbp.spec.losses import LOSSES

STEP = math.cbrt(np.finfo(np.float64).eps)


def cubic(x: Any) -> Any:
    return np.sum(x**3 - 2 * x)


def cubic_gradient(x: Any) -> Any:
    return 3 * x**2 - 2


class Recorder:
    """The function `cubic`, and what it was called with; `moved` is that without the repeats at the point."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, x: Any) -> Any:
        self.seen.append(x)
        return cubic(x)

    @property
    def moved(self) -> list[Any]:
        return [x for x in self.seen if (x != self.seen[0]).any()]


MODULES = (check, comparison, roughness, differences)


def test_imports_nothing_of_fastbp() -> None:
    """What checks leans on nothing that it may be asked to check."""
    own = [module.__name__.removeprefix("fastbp.numeric_gradients.") for module in MODULES]
    for module in MODULES:
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module in own if node.level else str(node.module).split(".")[0] != "fastbp"
            elif isinstance(node, ast.Import):
                assert not any(alias.name.split(".")[0] == "fastbp" for alias in node.names)


def test_examples_in_the_docstrings() -> None:
    results = [doctest.testmod(module) for module in MODULES]
    assert sum(result.attempted for result in results) >= 10
    assert sum(result.failed for result in results) == 0


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
    # By h², with the step for that precision: a float32 point tells that the function may compute in float32.
    step = math.cbrt(np.finfo(dtype).eps) if point.dtype.kind == "f" else STEP
    np.testing.assert_allclose(numeric_gradient(function, point), np.ones((2, 3)), atol=1e-9 + 1.1 * step**2)


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
    allowed = result.rtol * max(abs(gradient[1, 2]), abs(result.numeric[1, 2])) + result.atol[1, 2]
    assert result.error == pytest.approx(wrong * scale / allowed, rel=1e-2)
    assert (result.wrong, result.compared, result.hidden) == (1, 12, 0)
    np.testing.assert_array_equal(np.argwhere(result.verdicts == "wrong"), [[1, 2]])
    np.testing.assert_array_equal(result.analytic, gradient)
    np.testing.assert_array_equal(result.numeric, numeric_gradient(cubic, point))


def test_each_entry_is_compared_on_its_own() -> None:
    slope = np.array([1000.0, 1e-3])

    def line(x: Any) -> Any:
        return x @ slope

    result = gradcheck(line, slope * [1, 2], [0.5, 0.5])  # the small entry is off by its double
    assert not result
    assert result.worst == (1,)
    assert result.wrong == 1
    assert gradcheck(line, slope * [1, 1.01], [0.5, 0.5], rtol=0.01)
    assert not gradcheck(line, slope * [1, 1.01], [0.5, 0.5], rtol=0.0098)


def test_all_zero() -> None:
    """Where nothing changes, rounding hides every derivative below it: that is no pass."""
    result = gradcheck(lambda x: 3.0, np.zeros(2), np.ones(2))
    assert not result
    assert (result.hidden, result.compared, result.wrong) == (2, 0, 0)
    result = gradcheck(lambda x: 3.0, [0, 1e-9], np.ones(2))
    assert not result
    assert result.wrong == 1
    result = gradcheck(lambda x: 0.0, np.zeros(2), np.ones(2))  # 0 is not rounded
    assert result
    assert result.error == 0.0


@pytest.mark.parametrize("constant", [0.0, 1.0, 1000.0])
def test_a_derivative_of_zero_at_an_extremum_is_compared(constant: float) -> None:
    result = gradcheck(lambda x: constant + (x**2).sum(), lambda x: 2 * x, np.zeros(3))
    assert result, str(result)
    assert result.hidden == 0
    assert not gradcheck(lambda x: constant + (x**2).sum(), lambda x: 2 * x + 1e-6, np.zeros(3))


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
    assert str(passed).startswith("gradcheck passed: equal to within 1e-07, worst at [")
    assert "(4 compared, 0 left out at kinks, 0 hidden by rounding)" in str(passed)
    failed = gradcheck(cubic, np.zeros((2, 2)), np.ones((2, 2)), rtol=0.5)
    assert str(failed) == (
        "gradcheck failed: 4 of 4 wrong, at [0, 0]: analytic 0, numeric 1; at [0, 1]: analytic 0, numeric 1; "
        "at [1, 0]: analytic 0, numeric 1; at [1, 1]: analytic 0, numeric 1 "
        "(4 compared, 0 left out at kinks, 0 hidden by rounding)"
    )
    assert "\n" not in str(passed) + str(failed)
    with pytest.raises(dataclasses.FrozenInstanceError):
        passed.ok = False  # type: ignore[misc]


def test_the_first_wrong_entries_are_listed_in_order() -> None:
    wrong = 1.0 + (np.arange(40) % 4 == 1) * np.arange(40)
    text = str(gradcheck(lambda x: x.sum(), wrong, np.zeros(40)))
    assert text.startswith("gradcheck failed: 10 of 40 wrong, at [1]: analytic 2, numeric 1; at [5]: analytic 6, ")
    assert [int(i) for i in re.findall(r"at \[(\d+)\]", text)] == [1, 5, 9, 13, 17]
    assert "; and 5 more (" in text


def test_scalar_point() -> None:
    result = gradcheck(np.sin, np.cos, 0.5)
    assert result
    assert result.worst == ()
    assert result.numeric.shape == ()
    assert "worst at []" in str(result)


@pytest.mark.parametrize(("size", "repeats"), [(1, 33), (5, 33), (128, 33), (800, 117)])
def test_no_more_calls_than_needed_where_nothing_differs(size: int, repeats: int) -> None:
    function = Recorder()
    assert gradcheck(function, cubic_gradient, np.ones(size))
    at_point = [bool((x == 1).all()) for x in function.seen]
    assert sum(at_point) == repeats
    assert len(at_point) == 2 * size + repeats
    assert all(at_point[:9]) and all(at_point[-8:])
    between = np.diff(np.flatnonzero(at_point[8:-7]))  # no long stretch without one
    assert between.max() <= max(3, 2 * size // 16 + 3)


# What is not deterministic


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_mask_drawn_anew_in_each_call_is_not_deterministic(share: float) -> None:
    x = np.random.default_rng(9).standard_normal(8)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        result = gradcheck(lambda x, rng=rng: ((rng.random(8) >= share) * x**2).sum(), 2 * x, x)
        assert not result, seed
        assert "not deterministic" in str(result), (seed, str(result))
        assert result.returned is not None and result.returned[0] != result.returned[1]
        assert (result.compared, result.wrong, result.skipped, result.hidden) == (0, 0, 0, 0)


@pytest.mark.parametrize("odd", [0, 1, 3, 20, 35, 50])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e-15, -0.0])
def test_one_odd_value_at_the_point_is_found(odd: int, value: float) -> None:
    """Among the differences, too, and if no more than the sign of zero changes."""
    calls = 0
    size = 25

    def function(x: Any) -> float:
        nonlocal calls
        at_point = bool((x == 1).all())
        calls += at_point
        return value if at_point and calls == odd + 1 else float(np.sum(x - 1))

    if odd == 0 and not math.isfinite(value):
        with pytest.raises(ValueError, match="function: returned"):
            gradcheck(function, np.ones(size), np.ones(size))
    else:
        result = gradcheck(function, np.ones(size), np.ones(size))
        assert ("not deterministic" in str(result)) == (odd <= 32), str(result)
        assert bool(result) == (odd > 32)


def test_a_random_nan_at_a_step_is_not_deterministic() -> None:
    values = iter([math.nan])

    def function(x: Any) -> float:
        return next(values, 4.0) if x[1] > 1 else 3.0

    result = gradcheck(function, np.ones(3), np.ones(3))
    assert not result
    assert "not deterministic, it returned nan and then 4.0 at the same point" in str(result)
    assert result.returned is not None and math.isnan(result.returned[0])
    assert np.isnan(result.numeric).all()


@pytest.mark.parametrize("wrong", [0.0, 1e-3])
def test_a_value_that_rarely_differs_is_never_excused(wrong: float) -> None:
    """What would be taken for a kink or for noise is sampled twice, so what did not repeat itself does not count."""
    for odd in range(1, 120):
        calls = 0

        def function(x: Any, odd: int = odd) -> float:
            nonlocal calls
            calls += 1
            return float(np.sin(x).sum()) + 1e-3 * (calls == odd)

        result = gradcheck(function, lambda x: np.cos(x) + wrong * (np.arange(12) == 5), np.linspace(0, 1, 12))
        assert result.skipped == result.hidden == 0, (odd, str(result))
        assert (result.returned is None) == (calls < odd), (odd, str(result))
        assert bool(result) == (result.returned is None and wrong == 0), (odd, str(result))


def test_a_function_that_changes_when_the_gradient_is_asked_for_is_found() -> None:
    state = {"mask": 1.0}

    def gradient(x: Any) -> Any:
        state["mask"] = 1.5
        return np.full(3, 1.5)

    assert "not deterministic" in str(gradcheck(lambda x: state["mask"] * x.sum(), gradient, np.ones(3)))


# Rounding


def test_a_wrong_entry_does_not_hide_behind_a_large_one() -> None:
    result = gradcheck(lambda x: 1e8 * x[0] + x[1] ** 2, [1e8, 0], [1, 1])
    assert not result
    assert result.worst == (1,)
    assert result.wrong == 1
    assert "1 of 2 wrong, at [1]: analytic 0, numeric 2.0" in str(result)
    result = gradcheck(lambda x: 1e8 * x[0] + x[1] ** 2, [1e8, 2], [1, 1])
    assert result, str(result)
    assert 1e-3 < result.within < 1e-2  # and the result says that this one is known no better


@pytest.mark.parametrize("x", [0.0, 0.1, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_rounding_hides_the_answer(x: float, factor: float) -> None:
    for constant in (1e10, 1e13, 1e20):
        result = gradcheck(lambda x, constant=constant: constant + x[0] ** 2, lambda x: factor * 2 * x, [x])
        assert not result
        assert (result.hidden, result.wrong, result.skipped, result.compared) == (1, 0, 0, 0), str(result)
        assert str(result).startswith("gradcheck failed: rounding to 2.2e-16 hides the answer, ")
        assert math.isnan(result.error) and math.isnan(result.within)


def test_a_gradient_far_beyond_rounding_is_wrong() -> None:
    result = gradcheck(lambda x: 1e10 + x[0] ** 2, lambda x: 20 * x, [1.0])
    assert result.wrong == 1
    assert gradcheck(lambda x: 1e10 + x[0] ** 2, lambda x: 2 * x, [1e4])  # there it can be told
    assert not gradcheck(lambda x: 1e10 + x[0] ** 2, lambda x: 2.001 * x, [1e4])


def test_hidden_derivatives_are_counted() -> None:
    slope = np.array([1e12, 1.0, 2.0, 3.0])
    result = gradcheck(lambda x: x @ slope, slope, [1, 1, 1, 1e5])
    assert result, str(result)
    assert (result.compared, result.hidden) == (2, 2)
    np.testing.assert_array_equal(result.verdicts, ["agrees", "rounding", "rounding", "agrees"])
    result = gradcheck(lambda x: x[:4] @ slope, np.append(slope, 0), [1, 1, 1, 1e5, 1])
    assert str(result).startswith("gradcheck passed, most derivatives left out (2 compared, 0 left out at kinks, 3 hid")
    wrong = gradcheck(lambda x: x[:4] @ slope, np.append(1.1 * slope, 0), [1, 1, 1, 1e5, 1])
    assert str(wrong).startswith("gradcheck failed, most derivatives left out (2 compared, ")
    assert "2 of 2 wrong, at [0]: " in str(wrong)


def hashed(x: Any) -> float:
    """Noise of about one, the same for the same bits."""
    return zlib.crc32(np.ascontiguousarray(x).tobytes()) / 2**31 - 1


@pytest.mark.parametrize("noise", [1e-9, 1e-6, 1e-3, 1.0])
def test_noise_is_not_taken_for_kinks(noise: float) -> None:
    """Noise beyond the rounding of the values, as of sums that cancel: deterministic, and large beside the step."""
    point = np.random.default_rng(11).uniform(-1, 1, 60)
    result = gradcheck(lambda x: np.sin(x).sum() + noise * hashed(x), np.cos(point), point)
    assert result.skipped == 0
    assert result.wrong == 0
    assert bool(result) == (noise < 1e-8), str(result)
    result = gradcheck(lambda x: np.sin(x).sum() + noise * hashed(x), np.cos(point) + 1e3 * noise / STEP, point)
    assert result.skipped == 0
    assert result.wrong >= 58
    cancelled = gradcheck(lambda x: ((1e9 + x) - 1e9).sum(), np.ones(60), point)
    assert cancelled.skipped == cancelled.wrong == 0
    assert cancelled.hidden == 60


def test_a_kink_within_noise_is_no_excuse() -> None:
    for seed in range(20):
        point = np.append(STEP / 2, np.random.default_rng(seed).uniform(0.5, 1, 3))
        result = gradcheck(lambda x: abs(x).sum() + 1e-13 * hashed(x), np.full(4, 1.001), point)
        assert result.wrong >= 3
        assert result.skipped <= 1


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


# Defaults


@pytest.mark.parametrize(
    ("returned", "stored", "point", "rtol"),
    [
        ("f8", "f8", "f8", 1e-7), ("f8", "f4", "f8", 1e-2), ("f8", "f8", "f4", 1e-2), ("f4", "f8", "f8", 1e-2),
        ("f4", "f4", "f4", 1e-2), ("f2", "f8", "f8", 0.1), ("f4", "f8", "f2", 0.1), ("f8", "i8", "i8", 1e-7),
        ("longdouble", "f8", "f8", 1e-7),
    ],
)  # fmt: skip
def test_default_tolerance_is_that_of_the_coarsest_dtype(returned: str, stored: str, point: str, rtol: float) -> None:
    for size in (4, 10**5):
        at = np.zeros(size, point)
        result = gradcheck(lambda x: x.mean().astype(returned), np.zeros(size, stored), at, directions=1)
        assert result.rtol == pytest.approx(rtol, rel=0.05)
        assert result.precision == {0.1: 2.0**-10, 1e-2: 2.0**-23}.get(rtol, 2.0**-52)


def test_float32_values_get_a_step_and_a_tolerance_that_fit() -> None:
    def function(x: Any) -> Any:
        return cubic(x.astype("f4"))

    for seed in range(20):
        point = np.random.default_rng(seed).uniform(-2, 2, 30).astype("f4")
        assert gradcheck(function, cubic_gradient(point), point)
        assert gradcheck(function, cubic_gradient(point), point, directions=3)
        assert not gradcheck(function, 1.05 * cubic_gradient(point), point)
        assert gradcheck(cubic, cubic_gradient(point), point)  # computed in float32, compared with float64


def float32_norm(x: Any) -> float:
    return float(np.sum(np.tanh(x.astype("f4")), dtype="f4"))


def float32_norm_gradient(x: Any) -> Any:
    return 1 - np.tanh(x.astype("f4")) ** 2


def test_a_float32_function_that_returns_a_python_float_is_told_by_point_or_gradient() -> None:
    for seed in range(20):
        point = np.random.default_rng(seed).uniform(-2, 2, 10)
        for at in (point, point.astype("f4")):
            assert gradcheck(float32_norm, float32_norm_gradient, at)
            assert gradcheck(float32_norm, lambda x: float32_norm_gradient(x).astype("f8"), at.astype("f4"))
            assert gradcheck(float32_norm, float32_norm_gradient, at, directions=3)
            result = gradcheck(float32_norm, lambda x: 1.1 * float32_norm_gradient(x), at)
            assert result.wrong >= 5, str(result)


SATURATING = (1.0, 10.0, 30.0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_networks(activation: str, loss: str) -> None:
    """`MLP.loss` computes in float32 and returns a Python float. Saturated networks, too, and kinks by the dozen."""
    net = MLP((2, 6, 5, 3), activation=activation, loss=loss, dtype="float32", seed=3)
    weights = [W.copy() for W in net.weights[:2]]
    X, y = np.random.default_rng(5).normal(size=(5, 2)).astype("f4"), targets_of(loss, 5, 3, "float32")
    for scale in SATURATING:
        for W, unscaled in zip(net.weights, weights, strict=False):
            W[...] = scale * unscaled
        if not math.isfinite(1000 * net.loss(X, y)):
            continue  # exp of such logits overflows
        result = gradcheck(lambda x: net.loss(x, y), lambda x: net.gradient(x, y).inputs, X)
        assert result, (scale, str(result))
        assert result.skipped <= 1
        result = gradcheck(lambda x: net.loss(x, y), lambda x: 1.1 * net.gradient(x, y).inputs, X)
        assert result.wrong, (scale, str(result))


def test_a_float32_network_by_its_parameters() -> None:
    """Of a hundred rows, so that a kink of one is small beside the loss, and there are many."""
    skipped = 0
    for activation in ("relu", "leaky_relu", "tanh"):
        net = MLP((2, 6, 5, 3), activation=activation, dtype="float32", seed=3)
        X, y = np.random.default_rng(5).normal(size=(100, 2)).astype("f4"), np.arange(100) % 3
        at, found = net.parameters.copy(), net.gradient(X, y)

        def of_parameters(values: Any, net: MLP = net, X: Any = X, y: Any = y) -> float:
            net.parameters = values
            return net.loss(X, y)

        flat = np.concatenate([part.ravel() for pair in zip(found.weights, found.biases, strict=True) for part in pair])
        result = gradcheck(of_parameters, flat, at)
        assert result, str(result)
        assert result.compared > 0.7 * at.size
        skipped += result.skipped
        assert gradcheck(of_parameters, np.float32(1.1) * flat, at).wrong > 0.3 * at.size
    assert skipped > 0


# Several inputs


def product(w: Any, b: Any) -> Any:
    return np.sum(np.sin(w) @ b)


def product_gradient(w: Any, b: Any) -> Any:
    return np.cos(w) * b, np.sin(w).sum(axis=0)


def test_several_inputs() -> None:
    rng = np.random.default_rng(12)
    point = rng.standard_normal((4, 3)), rng.standard_normal(3)
    result = gradcheck(product, product_gradient, point)
    assert result, str(result)
    assert [array.shape for array in result.numeric] == [(4, 3), (3,)]
    for numeric, analytic, direct in zip(
        result.numeric, result.analytic, numeric_gradient(product, point), strict=True
    ):
        np.testing.assert_allclose(numeric, analytic, atol=1e-8)
        np.testing.assert_array_equal(numeric, direct)
    assert gradcheck(product, product_gradient(*point), point)  # the gradient itself
    assert gradcheck(product, list(product_gradient(*point)), point)
    of_w, of_b = product_gradient(*point)
    of_b[1] += 1e-3
    result = gradcheck(product, (of_w, of_b), point)
    assert not result
    assert result.worst == (1, 1)
    assert "1 of 15 wrong, of input 1 at [1]: analytic" in str(result)
    of_w[2, 0] *= -1
    assert "2 of 15 wrong, of input 0 at [2, 0]: analytic" in str(gradcheck(product, (of_w, of_b), point))
    assert gradcheck(product, product_gradient, point, directions=2)
    assert not gradcheck(product, (of_w, of_b), point, directions=2)


def test_several_inputs_of_any_shape_with_a_jacobian() -> None:
    matrix, number = np.random.default_rng(13).standard_normal((2, 3)), np.array(0.7)

    def jacobian(matrix: Any, number: Any) -> Any:
        return number * np.eye(6).reshape(2, 3, 2, 3), matrix

    result = gradcheck(lambda m, n: m * n, jacobian, (matrix, number))
    assert result, str(result)
    assert [array.shape for array in result.numeric] == [(2, 3, 2, 3), (2, 3)]
    of_matrix, of_number = jacobian(matrix, number)
    of_number = of_number + [[0, 0, 0], [0, 1e-3, 0]]
    result = gradcheck(lambda m, n: m * n, (of_matrix, of_number), (matrix, number))
    assert result.worst == (1, 1, 1)
    assert "of input 1 at [1, 1]: analytic" in str(result)


def test_each_of_several_inputs_is_the_function_s_own() -> None:
    def destructive(a: Any, b: Any) -> float:
        assert a.dtype == b.dtype == np.float64 and a.flags.c_contiguous and b.flags.c_contiguous
        value = float(a.sum() + b.sum())
        a[...] = b[...] = math.nan
        return value

    point = np.ones((2, 2), "f4").T, np.array([1, 2])
    for array in point:
        array.flags.writeable = False
    assert gradcheck(destructive, lambda a, b: (np.ones_like(a), np.ones_like(b)), point)


def test_what_counts_as_several_inputs() -> None:
    """A tuple with an array in it. Tuples of numbers and of lists are arrays, as in NumPy."""
    assert gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, (1.0, np.float64(2.0)))
    assert gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, ((1.0, 2.0), [3.0, 4.0]))
    assert gradcheck(lambda x: (x**2).sum(), lambda x: 2 * x, [np.ones(2), np.ones(2)])
    assert gradcheck(lambda a, b: (a**2).sum() + b, lambda a, b: (2 * a, 1.0), (np.ones(2), 3))
    assert gradcheck(lambda a: (a**2).sum(), lambda a: (2 * a,), (np.ones(2),))


def test_steps_of_several_inputs() -> None:
    seen = []

    def function(a: Any, b: Any) -> float:
        seen.append((a, b))
        return float(a.sum() + b)

    for eps in (0.25, (0.25, 0.5), (np.array([0.25, 0.125]), 0.5)):
        seen.clear()
        assert gradcheck(function, (np.ones(2), 1.0), (np.zeros(2), np.array(0.0)), eps=eps)
        steps = np.max([np.append(a, b) for a, b in seen], axis=0)
        second, third = (0.25 if np.isscalar(eps) else np.ravel(eps[0])[-1]), (0.25 if np.isscalar(eps) else 0.5)
        np.testing.assert_array_equal(steps, [0.25, second, third])


@pytest.mark.parametrize(
    ("error", "message", "gradient", "point", "eps"),
    [
        (TypeError, "gradient: got ndarray, expected a tuple of 2 arrays, one for", np.ones(2), "good", None),
        (ValueError, "gradient: got 1 arrays, expected 2, one for each input", (np.ones(2),), "good", None),
        (ValueError, r"gradient\[1\]: got shape \(3,\), expected the shape of point\[1\], \(2,\)",
         (np.ones(2), np.ones(3)), "good", None),
        (TypeError, r"gradient\[1\]: got dtype complex128", (np.ones(2), np.ones(2) * 1j), "good", None),
        (TypeError, r"point\[1\]: got dtype <U1", (np.ones(2), np.ones(2)), (np.ones(2), "x"), None),
        (ValueError, r"point\[0\]: got an empty array", (np.ones(2), np.ones(2)), (np.ones(0), np.ones(2)), None),
        (ValueError, r"point\[1\]: got 1 entries NaN", (np.ones(1), np.ones(1)), (np.ones(1), [math.nan]), None),
        (ValueError, "eps: got 3 steps, expected one for each of 2 inputs", (1, 1), "good", (1, 1, 1)),
        (ValueError, r"eps\[1\]: got -1, expected positive finite", (1, 1), "good", (1, -1)),
        (ValueError, r"eps\[0\]: got shape \(3,\), expected one number or", (1, 1), "good", (np.ones(3), 1)),
    ],
)  # fmt: skip
def test_errors_of_several_inputs(error: type[Exception], message: str, gradient: Any, point: Any, eps: Any) -> None:
    point = (np.ones(2), np.ones(2)) if isinstance(point, str) else point
    with pytest.raises(error, match=message):
        gradcheck(lambda a, b: a.sum() + b.sum(), gradient, point, eps=eps)


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
        (ValueError, r"gradient: got shape \(2,\), expected the shape of point, \(1,\)", (cubic, [1.0, 2.0], [1.0])),
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
