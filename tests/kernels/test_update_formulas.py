"""Updates over vectors and scalars: rounded as they are written, and special values."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastbp.kernels import formulas
from support.comparisons import assert_same_bits
from support.formula_cases import DTYPES, any_bits, fused, mapped

momentum_state = mapped(formulas.momentum_state, 2, scalars=2)
second_state = mapped(formulas.second_state, 2, scalars=2)
momentum = mapped(formulas.momentum, 3, scalars=2)
adaptive = mapped(formulas.adaptive, 3, scalars=3)
clip_factor = mapped(formulas.clip_factor, 1, scalars=1)

PAIRS = [(0.9, 0.1), (0.999, 0.001), (1.0, 1.0), (0.0, 1.0)]


def vectors(dtype: Any, count: int) -> Any:
    return np.random.default_rng(4).normal(size=(count, 103)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_states_round_as_written(dtype: Any, old: float, new: float) -> None:
    state, g = vectors(dtype, 2)
    a, b = dtype(old), dtype(new)
    expected = [fused(a, s, b * d) for s, d in zip(state, g, strict=True)]
    assert_same_bits(momentum_state(state, g, old, new), np.array(expected, dtype))
    expected = [fused(b * d, d, a * s) for s, d in zip(state, g, strict=True)]
    assert_same_bits(second_state(state, g, old, new), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_states_of_first_gradients(dtype: Any) -> None:
    """From 0 with a whole share the state is the gradient, or its square, to the bit."""
    (g,) = vectors(dtype, 1)
    zero = np.zeros_like(g)
    assert_same_bits(momentum_state(zero, g, 0.9, 1.0), g)
    assert_same_bits(second_state(zero, g, 1.0, 1.0), g * g)
    assert (second_state(zero, zero, 0.9, 0.1) == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("first", "gradient"), [(0.1, 0.0), (0.09, 0.1), (0.0, 0.5)])
def test_momentum_rounds_as_written(dtype: Any, first: float, gradient: float) -> None:
    w, m, g = vectors(dtype, 3)
    a, b = dtype(first), dtype(gradient)
    expected = [x - fused(a, y, b * z) for x, y, z in zip(w, m, g, strict=True)]
    assert_same_bits(momentum(w, m, g, first, gradient), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keep", [1.0, 0.99])
def test_adaptive_rounds_as_written(dtype: Any, keep: float) -> None:
    w, m, v = vectors(dtype, 3)
    v = v * v
    v[:5] = 0
    share, epsilon, kept = dtype(0.001), dtype(1e-8), dtype(keep)
    steps = m / (np.sqrt(v) + epsilon)
    expected = [fused(-share, step, kept * x) for step, x in zip(steps, w, strict=True)]
    assert_same_bits(adaptive(w, m, v, 0.001, 1e-8, keep), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_adaptive_leaves_weights_without_gradient(dtype: Any) -> None:
    (w,) = vectors(dtype, 1)
    zero = np.zeros_like(w)
    assert_same_bits(adaptive(w, zero, zero, 0.001, 1e-8, 1.0), w)


@pytest.mark.parametrize("dtype", DTYPES)
def test_adaptive_takes_the_correctly_rounded_root(dtype: Any) -> None:
    """Read off a step from w = 0 with m = -1, epsilon = 0: 1 / sqrt(v), the root's every bit."""
    v = np.abs(any_bits(dtype, 10_000, 8))
    v = v[np.isfinite(v) & (v > 0)]
    assert (v < np.finfo(dtype).smallest_normal).any()
    zero, one = np.zeros_like(v), np.ones_like(v)
    assert_same_bits(adaptive(zero, -one, v, 1.0, 0.0, 1.0), 1 / np.sqrt(v))


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_factor(dtype: Any) -> None:
    squares = np.array([4.0, 1.0, 0.25, 100.0, 0.0, np.inf, np.finfo(dtype).smallest_subnormal], dtype)
    np.testing.assert_array_equal(clip_factor(squares, 1.0), np.array([0.5, 1, 1, 0.1, 1, 0, 1], dtype))
    np.testing.assert_array_equal(clip_factor(squares, 5.0), np.array([1, 1, 1, 0.5, 1, 0, 1], dtype))
    assert np.isnan(clip_factor(np.array([np.nan], dtype), 1.0)).all()
    clipped = clip_factor(np.array([2.0], dtype), 1.0)[0]
    assert abs(Fraction(float(clipped)) ** 2 * 2 - 1) < 4 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_updates_pass_nan_on(dtype: Any) -> None:
    nan, one = np.full(3, np.nan, dtype), np.ones(3, dtype)
    for result in (
        momentum_state(nan, one, 0.9, 0.1),
        momentum_state(one, nan, 0.9, 0.1),
        second_state(nan, one, 0.9, 0.1),
        second_state(one, nan, 0.9, 0.1),
        momentum(nan, one, one, 0.1, 0.1),
        momentum(one, nan, one, 0.1, 0.1),
        momentum(one, one, nan, 0.1, 0.1),
        adaptive(nan, one, one, 0.1, 1e-8, 1.0),
        adaptive(one, nan, one, 0.1, 1e-8, 1.0),
        adaptive(one, one, nan, 0.1, 1e-8, 1.0),
    ):
        assert np.isnan(result).all()
