"""The formulas over vectors and scalars against wider arithmetic: exp, log and theirs to 2 ulp, the rest exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastbp.kernels import activations, formulas, updates
from support.comparisons import assert_same_bits
from support.formula_cases import DTYPES, WIDER, WITH_WIDER, any_bits, assert_ulps, fused, mapped, neighbours, table

ULPS = 2

exp = mapped(formulas.exp, 1)
log = mapped(formulas.log, 1)
expm1 = mapped(formulas.expm1, 1)
log1p_of_small = mapped(formulas.log1p_of_small, 1)
log1p = mapped(formulas.log1p, 1)
relu = mapped(activations.relu, 1, nan_bits=True)
relu_mask = mapped(activations.relu_mask, 2, nan_bits=True)

sgd = mapped(updates.sgd, 2, scalars=2)


# ---- exp ----


def exp_limits(dtype: Any) -> tuple[float, float, float]:
    """Below the first: 0; from the second on: normal; above the third: infinity. Each within an ulp of the limit."""
    limits = np.finfo(dtype)
    wide = WIDER[dtype]
    lowest = float(np.log(wide(limits.smallest_subnormal) / 2))
    return lowest, float(np.log(wide(limits.smallest_normal))), float(np.log(wide(limits.max)))


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_exp_within_two_ulp(dtype: Any) -> None:
    lowest, _, highest = exp_limits(dtype)
    margin = 4 * float(np.finfo(dtype).eps)
    x = np.concatenate([
        np.linspace(lowest * (1 - margin), highest * (1 - margin), 200_003).astype(dtype),
        np.linspace(-1, 1, 50_001).astype(dtype),
        np.linspace(lowest, lowest * 0.8, 50_001)[1:].astype(dtype),  # denormal results
        (np.arange(-60, 60) + 0.5).astype(dtype) * dtype(np.log(2)),  # where n changes
        any_bits(dtype, 100_000, 1),
    ])  # fmt: skip
    x = x[(x > lowest * (1 - margin)) & (x < highest * (1 - margin))]
    assert x.size > 300_000
    assert_ulps(exp(x), np.exp(x.astype(WIDER[dtype])), ULPS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_at_its_limits(dtype: Any) -> None:
    lowest, normal, highest = exp_limits(dtype)
    up, tiny = dtype(np.inf), np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, tiny, -tiny, np.finfo(dtype).max,
                  np.finfo(dtype).min], dtype)  # fmt: skip
    assert_same_bits(exp(x)[[0, 1, 3, 4, 5, 6, 7, 8, 9, 10]], np.array([1, 1, up, 0, up, 0, 1, 1, up, 0], dtype))
    assert np.isnan(exp(x)[2])
    margin = 4 * float(np.finfo(dtype).eps)
    below, above = 1 - margin, 1 + margin
    edge = np.array([highest * above, lowest * above, highest * below, lowest * below, normal * above], dtype)
    result = exp(edge)
    assert result[0] == np.inf
    assert result[1] == 0
    assert np.finfo(dtype).max * 0.99 < result[2] < np.inf
    assert result[3] == tiny
    assert 0 < result[4] < np.finfo(dtype).smallest_normal


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_underflows_through_denormals(dtype: Any) -> None:
    lowest, normal, _ = exp_limits(dtype)
    result = exp(np.linspace(normal, lowest * 1.001, 3001).astype(dtype))
    assert (np.diff(result) <= 0).all()
    assert result[-1] == 0
    denormal = result[(result > 0) & (result < np.finfo(dtype).smallest_normal)]
    assert np.unique(denormal).size > 500


# ---- log ----


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_log_within_two_ulp(dtype: Any) -> None:
    limits = np.finfo(dtype)
    tiny = limits.smallest_subnormal
    x = np.concatenate([
        any_bits(dtype, 200_000, 2),
        np.linspace(0.25, 4, 100_001).astype(dtype),
        *(neighbours(c, dtype) for c in (1.0, 0.5, 2.0, 0.5**0.5, 2.0**0.5, limits.smallest_normal, 1e20, 1e-20)),
        (1 + 2.0 ** -np.arange(1, limits.nmant + 1)).astype(dtype),
        (1 - 2.0 ** -np.arange(1, limits.nmant + 2)).astype(dtype),
        np.arange(1, 2000).astype(dtype) * tiny,
        np.array([limits.max, limits.smallest_normal, tiny], dtype),
    ])  # fmt: skip
    x = x[(x > 0) & (x < np.inf) & (x != 1)]
    assert x.size > 150_000
    assert (x < limits.smallest_normal).sum() > 1000
    assert_ulps(log(x), np.log(x.astype(WIDER[dtype])), ULPS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_at_its_limits(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, 1.0, np.inf], dtype)
    assert_same_bits(log(x), np.array([-np.inf, -np.inf, 0.0, np.inf], dtype))
    assert np.isnan(log(np.array([np.nan, -1, -np.inf, -tiny, np.finfo(dtype).min], dtype))).all()


# ---- expm1 and log1p ----


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_expm1_within_two_ulp(dtype: Any) -> None:
    _, _, highest = exp_limits(dtype)
    x = np.concatenate([
        np.linspace(-45, highest * (1 - 4 * float(np.finfo(dtype).eps)), 200_003).astype(dtype),
        np.linspace(-2, 2, 200_001).astype(dtype),
        (np.arange(-60, 60) + 0.5).astype(dtype) * dtype(np.log(2)),  # where n changes
        *(sign * neighbours(c, dtype) for c in (np.log(2) / 2, 40.0, 64.0, 1e-20) for sign in (1, -1)),
        any_bits(dtype, 100_000, 4),
    ])  # fmt: skip
    x = x[x < highest]
    assert (np.abs(x) < 1e-10).sum() > 10_000
    assert_ulps(expm1(x), np.expm1(x.astype(WIDER[dtype])), ULPS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_expm1_at_its_limits(dtype: Any) -> None:
    tiny, up = np.finfo(dtype).smallest_subnormal, dtype(np.inf)
    x = np.array([0.0, -0.0, tiny, -tiny, 3 * tiny, np.inf, 1e30, -1e30, -np.inf, exp_limits(dtype)[2] * 1.001], dtype)
    assert_same_bits(expm1(x), np.array([0.0, -0.0, tiny, -tiny, 3 * tiny, up, up, -1, -1, up], dtype))
    assert np.isnan(expm1(np.array([np.nan], dtype))).all()


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_log1p_of_small_within_two_ulp(dtype: Any) -> None:
    e = np.concatenate([np.linspace(0, 1, 200_001).astype(dtype), np.abs(any_bits(dtype, 200_000, 5))])
    e = e[e <= 1]
    assert ((e > 0) & (e < np.finfo(dtype).smallest_normal)).any()
    assert_ulps(log1p_of_small(e), np.log1p(e.astype(WIDER[dtype])), ULPS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_of_small_at_its_ends(dtype: Any) -> None:
    np.testing.assert_array_equal(log1p_of_small(np.array([0, np.nan], dtype)), np.array([0, np.nan], dtype))


@pytest.mark.parametrize("dtype", WITH_WIDER)
def test_log1p(dtype: Any) -> None:
    """Within 5 ulp: 2 of the logarithm, and half of each of sum, difference (exact), quotient and product."""
    x = np.concatenate([np.linspace(-0.999, 3, 200_001).astype(dtype), any_bits(dtype, 200_000, 6)])
    x = x[x > -1]
    assert (x > 1e30).any() and ((x > 0) & (x < np.finfo(dtype).smallest_normal)).any()
    assert_ulps(log1p(x), np.log1p(x.astype(WIDER[dtype])), 5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_at_its_ends(dtype: Any) -> None:
    ends = np.array([0, -1, -1.5, -np.inf, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(log1p(ends), np.array([0, -np.inf, np.nan, np.nan, np.inf, np.nan], dtype))


# ---- relu and its mask ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu(dtype: Any) -> None:
    x = np.concatenate([table(dtype), np.random.default_rng(0).normal(size=1001).astype(dtype)])
    expected = x.copy()
    expected[x <= 0] = 0.0  # -0 becomes +0, NaN stays with its sign and payload
    assert_same_bits(relu(x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_mask(dtype: Any) -> None:
    values = table(dtype)
    dy, y = (grid.ravel() for grid in np.meshgrid(values, values))
    expected = dy.copy()
    expected[y <= 0] = 0.0
    assert_same_bits(relu_mask(dy, y), expected)


# ---- sgd ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_rounds_as_written(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    w, dw = rng.normal(size=(2, 403)).astype(dtype)
    for learning_rate, l2 in ((0.1, 1e-4), (0.37, 0.9), (0.0, 0.5), (3.0, 0.0)):
        learning_rate, l2 = dtype(learning_rate), dtype(l2)
        expected = [fused(-learning_rate, fused(l2, a, b), a) for a, b in zip(w, dw, strict=True)]
        assert_same_bits(sgd(w, dw, learning_rate, l2), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_of_small_integers_is_exact(dtype: Any) -> None:
    w, dw = (grid.ravel().astype(dtype) for grid in np.meshgrid(np.arange(-20, 21), np.arange(-8, 9)))
    np.testing.assert_array_equal(sgd(w, dw, 0.25, 0.5), w - 0.25 * (dw + 0.5 * w))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_passes_nan_and_infinity_on(dtype: Any) -> None:
    w, dw = (grid.ravel() for grid in np.meshgrid(table(dtype), table(dtype)))
    with np.errstate(invalid="ignore", over="ignore"):
        expected = w - dtype(0.5) * (dw + dtype(0.25) * w)
    actual = sgd(w, dw, 0.5, 0.25)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    special = ~np.isfinite(w) | ~np.isfinite(dw)
    np.testing.assert_array_equal(actual[special], expected[special])
