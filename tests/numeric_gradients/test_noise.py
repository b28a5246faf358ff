"""Functions that are not deterministic or noisy, and what is concluded from them."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pytest

from fastbp.numeric_gradients.check import gradcheck
from support.functions import STEP


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
