"""Elementwise losses and their derivatives over vectors and scalars, against wider arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastbp.kernels import losses
from support.formula_cases import DTYPES, WITH_WIDER, assert_ulps, mapped, needs_longdouble, table

binary_cross_entropy = mapped(losses.binary_cross_entropy, 2)
binary_cross_entropy_gradient = mapped(losses.binary_cross_entropy_gradient, 2)
squared_error = mapped(losses.squared_error, 2)
squared_error_gradient = mapped(losses.squared_error_gradient, 2)
absolute_error = mapped(losses.absolute_error, 2)
absolute_error_gradient = mapped(losses.absolute_error_gradient, 2)
quantile = mapped(losses.quantile, 2, scalars=1)
quantile_gradient = mapped(losses.quantile_gradient, 2, scalars=1)
huber = mapped(losses.huber, 2, scalars=1)
huber_gradient = mapped(losses.huber_gradient, 2, scalars=1)
half_poisson_deviance = mapped(losses.half_poisson_deviance, 2)
half_poisson_deviance_gradient = mapped(losses.half_poisson_deviance_gradient, 2)

WIDE = np.longdouble


def eps(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def grid(first: Any, second: Any, dtype: Any) -> Any:
    return tuple(values.ravel().astype(dtype) for values in np.meshgrid(first, second))


# ---- binary cross-entropy ----


def exact_cross_entropy(z: Any, t: Any) -> Any:
    """Without cancellation: both terms are never negative."""
    z, t = z.astype(WIDE), t.astype(WIDE)
    return t * np.log1p(np.exp(-z)) + (1 - t) * np.log1p(np.exp(z))


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_binary_cross_entropy_within_four_ulp(dtype: Any) -> None:
    """A sum of terms that are never negative, each within 4 ulp, hard labels or soft."""
    z, t = grid(np.linspace(-80, 80, 10_001), [0.0, 1e-3, 0.25, 0.5, 0.9, 0.999, 1.0], dtype)
    assert_ulps(binary_cross_entropy(z, t), exact_cross_entropy(z, t), 4)


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_binary_cross_entropy_gradient(dtype: Any) -> None:
    """To an eps of the largest term, which is at most 1; with a hard label to 4 ulp, however small the result."""
    z, t = grid(np.linspace(-80, 80, 10_001), [0.0, 1e-3, 0.25, 0.5, 0.9, 0.999, 1.0], dtype)
    actual, wide = binary_cross_entropy_gradient(z, t), z.astype(WIDE)
    exact = np.where(z < 0, np.exp(wide) / (1 + np.exp(wide)) - t, (1 - t.astype(WIDE)) - 1 / (1 + np.exp(wide)))
    assert (np.abs(actual - exact) <= 1.5 * eps(dtype)).all()
    hard = (t == 0) | (t == 1)
    assert_ulps(actual[hard], exact[hard], 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_cross_entropy_at_its_limits(dtype: Any) -> None:
    largest = np.finfo(dtype).max
    z = np.array([0, 0, largest, largest, -largest, -largest], dtype)
    t = np.array([0, 1, 1, 0, 0, 1], dtype)
    np.testing.assert_array_equal(binary_cross_entropy(z, t)[2:], np.array([0, largest, 0, largest], dtype))
    assert_ulps(binary_cross_entropy(z, t)[:2], np.full(2, np.log(WIDE(2))), 1)
    np.testing.assert_array_equal(binary_cross_entropy_gradient(z, t), np.array([0.5, -0.5, 0, 1, 0, -1], dtype))
    z, t = grid([np.inf, -np.inf, np.nan], [0, 0.5, 1], dtype)
    assert not np.isfinite(binary_cross_entropy(z, t)).any()
    expected = np.where(np.isnan(z), z, (z > 0) - t)
    np.testing.assert_array_equal(binary_cross_entropy_gradient(z, t), expected)


# ---- regression ----


def differences(dtype: Any) -> Any:
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(2, 1001)).astype(dtype)
    t[:50] = z[:50]
    return z, t


@pytest.mark.parametrize("dtype", DTYPES)
def test_squared_error(dtype: Any) -> None:
    z, t = differences(dtype)
    np.testing.assert_array_equal(squared_error_gradient(z, t), z - t)
    np.testing.assert_array_equal(squared_error(z, t), (z - t) * (z - t) / 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_absolute_error(dtype: Any) -> None:
    z, t = differences(dtype)
    np.testing.assert_array_equal(absolute_error(z, t), np.abs(z - t))
    np.testing.assert_array_equal(absolute_error_gradient(z, t), np.sign(z - t))
    assert (absolute_error_gradient(z, t) == 0).sum() >= 50


@pytest.mark.parametrize("delta", [1.0, 0.1, 2.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_huber(dtype: Any, delta: float) -> None:
    z, t = differences(dtype)
    delta = dtype(delta)
    t[50], t[51] = z[50] - delta, z[51] + delta  # on the edges
    d = np.abs(z.astype(WIDE) - t)
    exact = np.where(d <= delta, d * d / 2, delta * (d - WIDE(delta) / 2))
    # z - t is rounded once, with a derivative of at most d; then two products, or a difference and a product
    assert (np.abs(huber(z, t, delta) - exact) <= 2 * eps(dtype) * np.minimum(d, delta) * d).all()
    np.testing.assert_array_equal(huber_gradient(z, t, delta), np.clip(z - t, -delta, delta))


@pytest.mark.parametrize("dtype", DTYPES)
def test_regression_passes_nan_and_infinity_on(dtype: Any) -> None:
    z, t = (values.ravel() for values in np.meshgrid(table(dtype), table(dtype)))
    with np.errstate(all="ignore"):
        d = z - t
        np.testing.assert_array_equal(squared_error(z, t), d * (d / 2))
        np.testing.assert_array_equal(absolute_error(z, t), np.abs(d))
        np.testing.assert_array_equal(absolute_error_gradient(z, t), np.sign(d))
        np.testing.assert_array_equal(huber_gradient(z, t, 1.5), np.clip(d, -1.5, 1.5))
        expected = np.where(np.abs(d) <= 1.5, d * (d / 2), dtype(1.5) * (np.abs(d) - dtype(0.75)))
        np.testing.assert_array_equal(huber(z, t, 1.5), expected)


# ---- Poisson ----


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
def test_half_poisson_deviance(dtype: Any) -> None:
    z, t = grid(np.linspace(-60, 60, 2001), [0.0, 1e-30, 1e-3, 0.5, 1.0, 2.0, 7.0, 1e6, 1e30], dtype)
    wide, target = z.astype(WIDE), t.astype(WIDE)
    log_t = np.log(np.where(t > 0, target, 1))
    exact = target * (log_t - wide) - target + np.exp(wide)
    # two ulp of the logarithm and of exp, one rounding each of log t - z, of exp(z) - t and of the whole
    size = target * (np.abs(log_t) + np.abs(wide) + 1) + np.exp(wide)
    assert (np.abs(half_poisson_deviance(z, t) - exact) <= 3 * eps(dtype) * size).all()
    assert (np.abs(half_poisson_deviance_gradient(z, t) - (np.exp(wide) - target)) <= 2.5 * eps(dtype) * size).all()


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
def test_half_poisson_deviance_near_its_minimum(dtype: Any) -> None:
    """Where exp(z) is about t their difference is exact: what is left are the errors of exp and log, times t."""
    t = np.array([0.5, 1.0, 3.0, 100.0, 1e6], dtype)
    z = np.log(t.astype(WIDE)).astype(dtype)
    wide, target = z.astype(WIDE), t.astype(WIDE)
    exact = target * (np.log(target) - wide + np.expm1(wide - np.log(target)))
    bound = target * eps(dtype) * (2 + 2 * np.abs(wide))
    assert (np.abs(half_poisson_deviance(z, t) - exact) <= bound).all()
    assert half_poisson_deviance(np.array([0], dtype), np.array([1], dtype)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_poisson_deviance_at_its_limits(dtype: Any) -> None:
    z = np.array([-np.inf, 0, 1e4, -np.inf, 1e4, np.nan, 0, np.nan], dtype)
    t = np.array([0, 0, 0, 2, 2, 1, np.nan, 0], dtype)
    expected = np.array([0, 1, np.inf, np.inf, np.inf, np.nan, np.nan, np.nan], dtype)
    np.testing.assert_array_equal(half_poisson_deviance(z, t), expected)
    expected = np.array([0, 1, np.inf, -2, np.inf, np.nan, np.nan, np.nan], dtype)
    np.testing.assert_array_equal(half_poisson_deviance_gradient(z, t), expected)


# ---- all ----


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "gradient", "exact"),
    [
        (binary_cross_entropy, binary_cross_entropy_gradient, exact_cross_entropy),
        (squared_error, squared_error_gradient, lambda z, t: (z - t) ** 2 / 2),
        (half_poisson_deviance, half_poisson_deviance_gradient, lambda z, t: t * (np.log(t) - z) - t + np.exp(z)),
    ],
)
def test_gradients_against_differences(loss: Any, gradient: Any, exact: Any, dtype: Any) -> None:
    """Central differences in long double: h^2/6 = 2e-13 of the third derivative, 2^-63/h = 1e-13 of the value."""
    z, t = grid(np.linspace(-4, 4, 1001), [0.125, 0.5, 0.75], dtype)
    wide, target, h = z.astype(WIDE), t.astype(WIDE), WIDE(2.0**-20)
    difference = (exact(wide + h, target) - exact(wide - h, target)) / (2 * h)
    size = 1 + np.abs(wide) + np.exp(wide)
    assert (np.abs(gradient(z, t) - difference) <= size * (3 * eps(dtype) + 1e-12)).all()
    assert (np.abs(loss(z, t) - exact(wide, target)) <= 4 * eps(dtype) * size).all()


@pytest.mark.parametrize("level", [0.5, 0.1, 0.9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_quantile(dtype: Any, level: float) -> None:
    z, t = grid(np.linspace(-3, 3, 101), np.linspace(-3, 3, 61), dtype)
    q, one = dtype(level), dtype(1)
    np.testing.assert_array_equal(quantile(z, t, level), np.where(t > z, q, q - one) * (t - z))
    np.testing.assert_array_equal(quantile_gradient(z, t, level), np.where(z > t, one - q, np.where(z < t, -q, 0)))
    assert (quantile(z, t, level) >= 0).all()
    nan = np.full(3, np.nan, dtype)
    assert np.isnan(quantile(nan, z[:3], level)).all() and np.isnan(quantile_gradient(z[:3], nan, level)).all()
