"""Activations and their derivatives over vectors and scalars, against wider arithmetic, in units of the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastbp.kernels import activations, formulas
from fastbp.kernels.target import TARGET
from support.comparisons import assert_same_bits
from support.formula_cases import (
    DTYPES,
    WIDER,
    WITH_WIDER,
    assert_ulps,
    errors_in_ulps,
    finite_bits,
    mapped,
    needs_longdouble,
    neighbours,
    normal_density,
    normal_distribution,
    table,
)

logistic = mapped(formulas.logistic, 1)
tanh = mapped(formulas.tanh, 1)
normal_cdf = mapped(formulas.normal_cdf, 1)
gelu = mapped(activations.gelu, 1)
silu = mapped(activations.silu, 1)
elu = mapped(activations.elu, 1, scalars=1)
selu = mapped(activations.selu, 1)
mish = mapped(activations.mish, 1)
elu_backward = mapped(activations.elu_backward, 2, scalars=1)
selu_backward = mapped(activations.selu_backward, 2)
mish_backward = mapped(activations.mish_backward, 2)
leaky_relu = mapped(activations.leaky_relu, 1, scalars=1)
logistic_backward = mapped(activations.logistic_backward, 2)
tanh_backward = mapped(activations.tanh_backward, 2)
gelu_backward = mapped(activations.gelu_backward, 2)
silu_backward = mapped(activations.silu_backward, 2)
leaky_relu_backward = mapped(activations.leaky_relu_backward, 2, scalars=1)

FARTHEST = {np.float32: 110.0, np.float64: 750.0}  # there exp(-|x|) is 0
NORMAL_FARTHEST = {np.float32: 15.0, np.float64: 39.0}  # there Phi(-|x|) is 0


def arguments(dtype: Any, farthest: float) -> Any:
    """Dense where the formulas bend, every exponent below, and the neighbours of the powers of two."""
    x = np.concatenate([
        np.linspace(-farthest, farthest, 100_003).astype(dtype),
        np.linspace(-3, 3, 100_001).astype(dtype),
        np.linspace(-0.1, 0.1, 20_001).astype(dtype),
        *(sign * neighbours(2.0**k, dtype, 100) for k in range(-4, 7) for sign in (1, -1)),
        finite_bits(dtype, 50_000, 6),
    ])  # fmt: skip
    return x[np.abs(x) <= farthest]


def exact_logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def exact_silu(x: Any) -> Any:
    return x / (1 + np.exp(-x))


def exact_gelu(x: Any) -> Any:
    return x * normal_distribution(x)


# ---- activations ----


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_logistic_within_three_ulp(dtype: Any) -> None:
    x = arguments(dtype, FARTHEST[dtype])
    assert_ulps(logistic(x), exact_logistic(x.astype(np.longdouble)), 3)


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_tanh_within_three_ulp(dtype: Any) -> None:
    x = arguments(dtype, 25.0)
    assert (np.abs(x) < 1e-20).sum() > 1000
    assert_ulps(tanh(x), np.tanh(x.astype(WIDER[dtype])), 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd(dtype: Any) -> None:
    x = arguments(dtype, 25.0)
    assert_same_bits(tanh(-x), -tanh(x))


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_silu_within_four_ulp(dtype: Any) -> None:
    x = arguments(dtype, FARTHEST[dtype])
    exact = exact_silu(x.astype(np.longdouble))
    denormal = exact_logistic(x.astype(np.longdouble)) < np.finfo(dtype).smallest_normal
    assert denormal.any()
    assert_ulps(silu(x), exact, 4, np.where(denormal, np.abs(x) * np.finfo(dtype).smallest_subnormal, 0))


def normal_bound(dtype: Any, x: Any) -> Any:
    """4 ulp right of -1; left of it more of the roundings weigh; without fma the square of x is rounded too."""
    bound = np.where(x > -1, 4.0, {np.float32: 7.0, np.float64: 9.0}[dtype])
    return bound if TARGET.has_fma else bound + x.astype(float) ** 2 / 2


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_distribution_and_gelu(dtype: Any) -> None:
    x = arguments(dtype, NORMAL_FARTHEST[dtype])
    exact = normal_distribution(x)
    assert (errors_in_ulps(normal_cdf(x), exact) <= normal_bound(dtype, x)).all()
    assert (errors_in_ulps(gelu(x), x * exact) <= normal_bound(dtype, x)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_activation_falls_where_it_should_rise(dtype: Any) -> None:
    x = np.linspace(-45, 45, 10_001).astype(dtype)
    for activation in (logistic, tanh, normal_cdf):
        assert (np.diff(activation(x)) >= 0).all()
    assert (np.diff(silu(x[x > -1])) > 0).all()
    assert (np.diff(gelu(x[x > -0.5])) > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_at_their_limits(dtype: Any) -> None:
    largest = float(np.finfo(dtype).max)
    x = np.array([0.0, -0.0, np.inf, -np.inf, largest, -largest], dtype)
    assert_same_bits(logistic(x), np.array([0.5, 0.5, 1, 0, 1, 0], dtype))
    assert_same_bits(tanh(x), np.array([0.0, -0.0, 1, -1, 1, -1], dtype))
    assert_same_bits(normal_cdf(x), np.array([0.5, 0.5, 1, 0, 1, 0], dtype))
    for activation in (silu, gelu):
        np.testing.assert_array_equal(activation(x), np.array([0, 0, np.inf, 0, largest, 0], dtype))
    for activation in (logistic, tanh, normal_cdf, silu, gelu):
        assert np.isnan(activation(np.array([np.nan, -np.nan], dtype))).all()


@pytest.mark.parametrize("slope", [0.01, 0.0, 1.0, 2.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_leaky_relu_and_its_derivative(dtype: Any, slope: float) -> None:
    values = np.concatenate([table(dtype), np.random.default_rng(0).normal(size=101).astype(dtype)])
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_array_equal(leaky_relu(values, slope), np.where(values <= 0, dtype(slope) * values, values))
        dy, y = (grid.ravel() for grid in np.meshgrid(values, values))
        np.testing.assert_array_equal(leaky_relu_backward(dy, y, slope), np.where(y <= 0, dtype(slope) * dy, dy))


@needs_longdouble
@pytest.mark.parametrize("alpha", [1.0, 0.0, 0.3, 2.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_elu_and_its_derivative(dtype: Any, alpha: float) -> None:
    """The value within 3 ulp; the derivative, from the output, as exact as alpha is."""
    x, factor = arguments(dtype, FARTHEST[dtype]), np.longdouble(dtype(alpha))
    wide, y = x.astype(np.longdouble), elu(x, alpha)
    assert_ulps(y, np.where(x > 0, wide, factor * np.expm1(np.minimum(wide, 0))), 3)
    slope = np.where(x > 0, 1, factor * np.exp(np.minimum(wide, 0)))
    assert (
        np.abs(elu_backward(np.ones_like(x), y, alpha) - slope) <= 4 * float(np.finfo(dtype).eps) * max(alpha, 1)
    ).all()


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
def test_selu_and_its_derivative(dtype: Any) -> None:
    x = arguments(dtype, FARTHEST[dtype])
    wide, y = x.astype(np.longdouble), selu(x)
    scale, alpha = (np.longdouble(constant) for constant in (activations.SELU_SCALE, activations.SELU_ALPHA))
    assert_ulps(y, scale * np.where(x > 0, wide, alpha * np.expm1(np.minimum(wide, 0))), 5)
    slope = scale * np.where(x > 0, 1, alpha * np.exp(np.minimum(wide, 0)))
    assert (np.abs(selu_backward(np.ones_like(x), y) - slope) <= 8 * float(np.finfo(dtype).eps)).all()


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
def test_mish_and_its_derivative(dtype: Any) -> None:
    """The value within 8 ulp, or |x| steps of a denormal exponential; the derivative, which crosses 0, within eps."""
    x = arguments(dtype, FARTHEST[dtype])
    wide, limits = x.astype(np.longdouble), np.finfo(dtype)
    n = np.exp(-np.abs(wide))
    w = np.where(x > 0, (1 + 2 * n) / (1 + 2 * n + 2 * n * n), n * (n + 2) / (n * (n + 2) + 2))
    denormal = n < limits.smallest_normal
    assert_ulps(mish(x), wide * w, 8, np.where(denormal, 2 * np.abs(x) * limits.smallest_subnormal, 0))
    slope = w + wide * (1 - w * w) * exact_logistic(wide)
    assert (np.abs(mish_backward(np.ones_like(x), x) - slope) <= 4 * float(limits.eps)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_elu_kind_and_mish_at_their_limits(dtype: Any) -> None:
    x = np.array([0.0, np.inf, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(elu(x, 0.5), np.array([0, np.inf, -0.5, np.nan], dtype))
    np.testing.assert_array_equal(mish(x), np.array([0, np.inf, 0, np.nan], dtype))
    assert selu(x)[[0, 1]].tolist() == [0.0, np.inf] and np.isnan(selu(x)[3])
    dy = np.full(4, 2, dtype)
    np.testing.assert_array_equal(elu_backward(dy, elu(x, 0.5), 0.5), np.array([1, 2, 0, np.nan], dtype))
    np.testing.assert_array_equal(mish_backward(dy, x), np.array([1.2, 2, 0, np.nan], dtype))
    assert selu_backward(dy, selu(x))[2] == 0


# ---- derivatives ----


def difference(function: Any, x: Any) -> Any:
    """The derivative by five points in long double: h^4/30 = 1e-16 times the fifth derivative, and rounding / h."""
    x, h = x.astype(np.longdouble), np.longdouble(2.0**-12)
    near, far = function(x + h) - function(x - h), function(x + 2 * h) - function(x - 2 * h)
    return (8 * near - far) / (12 * h)


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_against_differences(dtype: Any) -> None:
    """Within 3 eps for a derivative of the order 1, and 2e-14 for the rounding of the difference itself."""
    x = np.linspace(-9, 9, 20_001).astype(dtype)
    dy = np.random.default_rng(1).uniform(-2, 2, x.size).astype(dtype)
    bound = np.abs(dy) * (3 * float(np.finfo(dtype).eps) + 2e-14)
    for function, actual in (
        (exact_logistic, logistic_backward(dy, logistic(x))),
        (np.tanh, tanh_backward(dy, tanh(x))),
        (exact_silu, silu_backward(dy, x)),
        (exact_gelu, gelu_backward(dy, x)),
    ):
        assert (np.abs(actual - dy * difference(function, x)) <= bound).all()


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_and_gelu_backward_in_closed_form(dtype: Any) -> None:
    """Relative to the result wherever nothing cancels, to 1 near the zero crossing at -1.28 and -0.75."""
    x = arguments(dtype, NORMAL_FARTHEST[dtype])
    one, wide, eps = np.ones_like(x), x.astype(np.longdouble), float(np.finfo(dtype).eps)
    silu_slope = exact_logistic(wide) * (1 + wide * exact_logistic(-wide))
    gelu_slope = normal_distribution(wide) + wide * normal_density(wide)
    for actual, exact, apart in (
        (silu_backward(one, x), silu_slope, 6.0),
        (gelu_backward(one, x), gelu_slope, normal_bound(dtype, x)),
    ):
        assert (np.abs(actual - exact) <= 1.5 * eps).all()
        apart = np.where((x > 0) | (x < -2.5), apart, np.inf)
        assert (errors_in_ulps(actual, exact) <= apart).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_of_outputs_rounds_as_written(dtype: Any) -> None:
    y, dy = (grid.ravel().astype(dtype) for grid in np.meshgrid(np.arange(0, 17) / 16, np.arange(-8, 9)))
    np.testing.assert_array_equal(logistic_backward(dy, y), dy * (y * (1 - y)))
    np.testing.assert_array_equal(tanh_backward(dy, y), dy * (1 - y * y))


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_at_their_limits(dtype: Any) -> None:
    dy = np.array([1.5, -2.0, 1.5, -2.0], dtype)
    x = np.array([np.inf, np.inf, -np.inf, -np.inf], dtype)
    for backward in (silu_backward, gelu_backward):
        np.testing.assert_array_equal(backward(dy, x), np.array([1.5, -2.0, 0, 0], dtype))
        np.testing.assert_array_equal(backward(dy, np.zeros_like(x)), dy / 2)
        largest = np.full_like(x, np.finfo(dtype).max)
        np.testing.assert_array_equal(backward(dy, largest), dy)
        np.testing.assert_array_equal(backward(dy, -largest), 0)
    for backward in (silu_backward, gelu_backward, logistic_backward, tanh_backward):
        assert np.isnan(backward(dy, np.full_like(dy, np.nan))).all()
        assert np.isnan(backward(np.full_like(dy, np.nan), np.full_like(dy, 0.25))).all()
