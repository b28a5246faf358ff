"""Comparison with numeric derivatives: right gradients pass, wrong entries are found one by one; rounding, dtypes."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp import MLP
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from fastbp.numeric_gradients.check import gradcheck, numeric_gradient
from support.functions import cubic, cubic_gradient
from support.lanes import pairwise
from support.network_cases import targets_of


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


@pytest.mark.parametrize("activation, loss", pairwise(ACTIVATIONS, LOSSES))
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
