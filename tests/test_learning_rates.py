"""Learning rates: the formulas step by step in plain Python, and what an adaptive one makes of losses."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from fastbp.learning_rates import Adaptive, Constant, Cosine, InverseScaling, LearningRate

EPS = float(np.finfo(np.float64).eps)


def all_of(rate: LearningRate, total: int) -> Any:
    return rate.at(np.arange(total), total)


def cosine(rate: Cosine, step: int, total: int) -> float:
    rising = round(rate.warmup * total)
    if step < rising:
        return rate.learning_rate * (step + 1) / rising
    lowest = rate.final * rate.learning_rate
    way = (step - rising) / (total - rising)
    return lowest + (rate.learning_rate - lowest) * (1 + math.cos(math.pi * way)) / 2


def test_constant() -> None:
    np.testing.assert_array_equal(all_of(Constant(0.3), 4), [0.3] * 4)


@pytest.mark.parametrize("power", [0, 0.5, 0.75, 1, 2.0])
def test_inverse_scaling(power: float) -> None:
    rates = all_of(InverseScaling(0.3, power), 100)
    expected = [0.3 / t**power for t in range(1, 101)]
    np.testing.assert_allclose(rates, expected, rtol=4 * EPS)
    assert rates[0] == 0.3


@pytest.mark.parametrize("total", [1, 2, 3, 10, 97])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_cosine(total: int, warmup: float, final: float) -> None:
    rate = Cosine(0.7, warmup, final)
    expected = [cosine(rate, step, total) for step in range(total)]
    np.testing.assert_allclose(all_of(rate, total), expected, rtol=0, atol=8 * EPS)


def test_cosine_by_hand() -> None:
    rates = all_of(Cosine(0.8, warmup=0.4, final=0.25), 10)  # 4 steps up, then 0.2 + 0.6 (1 + cos) / 2
    falling = [0.2 + 0.3 * (1 + c) for c in (1, math.sqrt(3) / 2, 0.5, 0, -0.5, -math.sqrt(3) / 2)]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, *falling], rtol=8 * EPS)
    assert all_of(Cosine(0.8), 10)[0] == 0.8
    assert all_of(Cosine(0.8), 1000)[-1] > 0  # the last step is one too


def test_cosine_does_not_rise_again() -> None:
    np.testing.assert_array_equal(Cosine(0.5, final=0.5).at(np.array([10, 11, 15, 20]), 10), 0.25)


@pytest.mark.parametrize("rate", [Constant(0.5), InverseScaling(0.5), Cosine(0.5, 0.2), Adaptive(0.5)], ids=str)
def test_steps_may_be_asked_for_in_parts(rate: LearningRate) -> None:
    whole = all_of(rate, 50)
    assert whole.dtype == np.float64 and whole.shape == (50,)
    parts = [rate.at(np.arange(begin, end), 50) for begin, end in [(0, 7), (7, 7), (7, 31), (31, 50)]]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert rate.steady == bool((whole == whole[0]).all())


@pytest.mark.parametrize("rate", [Constant(0.5), InverseScaling(0.5), Cosine(0.5)], ids=str)
def test_most_rates_take_no_note_of_losses(rate: LearningRate) -> None:
    before = all_of(rate, 5)
    rate.start()
    assert not any(rate.epoch_ended(loss) for loss in [1.0] * 100)
    np.testing.assert_array_equal(all_of(rate, 5), before)


def test_adaptive_by_hand() -> None:
    rate = Adaptive(1.0, factor=0.5, patience=3, tol=0.1, least=0.25)
    rate.start()
    seen = []
    for loss in (
        *(5.0, 4.0, 3.95, 3.95, 3.8),  # two failures, then the best less more than 0.1
        *(3.75, 3.72, 3.65),  # three failures, though the loss falls and sets what is the best: 0.5
        *(3.6, 3.55, 3.5, 3.0),  # three more: 0.25; then a success
        *(3.0, 3.0, 3.0),  # it would sink to 0.125
    ):
        ended = rate.epoch_ended(loss)
        seen.append((float(rate.at(np.arange(1), 1)[0]), ended))
    assert seen == [(1.0, False)] * 7 + [(0.5, False)] * 3 + [(0.25, False)] * 4 + [(0.25, True)]


def test_adaptive_counts_a_success_of_exactly_tol() -> None:
    rate = Adaptive(1.0, patience=1, tol=0.5)
    assert [(rate.epoch_ended(loss), rate.at(np.arange(1), 1)[0]) for loss in (2.0, 1.5, 1.25)] == [
        (False, 1.0), (False, 1.0), (False, 0.2)]  # fmt: skip


def test_adaptive_begins_anew() -> None:
    rate, fresh = Adaptive(0.5, patience=2), Adaptive(0.5, patience=2)
    losses = [1.0, 1.0, 1.0, 1.0]
    first = [(rate.epoch_ended(loss), rate.at(np.arange(1), 1)[0]) for loss in losses]
    assert first[-1][1] < 0.5
    assert rate == fresh  # what it remembers is no part of what it is
    rate.start()
    assert [(rate.epoch_ended(loss), rate.at(np.arange(1), 1)[0]) for loss in losses] == first


def test_adaptive_ends_after_so_many_epochs() -> None:
    """0.1 to 1.28e-6 in seven reductions: one epoch to set the best, then 10 failures for each and for the end."""
    rate, epochs = Adaptive(0.1), 1
    while not rate.epoch_ended(1.0):
        epochs += 1
    assert epochs == 1 + 10 * (7 + 1)
    np.testing.assert_allclose(rate.at(np.arange(1), 1), 0.1 / 5**7, rtol=8 * EPS)


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (Constant, "learning_rate", -0.1, "a finite number of at least 0"),
        (InverseScaling, "learning_rate", math.nan, "a finite number of at least 0"),
        (Adaptive, "learning_rate", math.inf, "a finite number of at least 0"),
        (Cosine, "learning_rate", 10**400, "a finite number of at least 0"),
        (InverseScaling, "power", -1, "a finite number of at least 0"),
        (Cosine, "warmup", 1.1, "a number from 0 to 1"),
        (Cosine, "warmup", -0.1, "a number from 0 to 1"),
        (Cosine, "final", 2, "a number from 0 to 1"),
        (Adaptive, "factor", 1.0, "a number from 0 to below 1"),
        (Adaptive, "patience", 0, "at least 1"),
        (Adaptive, "tol", -1e-4, "a finite number of at least 0"),
        (Adaptive, "least", -1, "a finite number of at least 0"),
    ],
)
def test_ranges(kind: Any, name: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: got .*, expected {expected}$"):
        kind(**{"learning_rate": 0.1, name: value})


@pytest.mark.parametrize("value", ["0.1", True, None, 1j, [0.1, 0.2]], ids=str)
def test_numbers(value: Any) -> None:
    for kind in (Constant, InverseScaling, Cosine, Adaptive):
        for field in dataclasses.fields(kind):
            if field.init:
                with pytest.raises(TypeError, match=f"^{field.name}: got "):
                    kind(**{"learning_rate": 0.1, field.name: value})


def test_a_rate_of_any_kind_becomes_a_plain_float() -> None:
    assert type(Constant(np.float32(0.5)).learning_rate) is float
    assert repr(Cosine(1, np.float64(0.5))) == "Cosine(learning_rate=1.0, warmup=0.5, final=0.0)"
    assert repr(Adaptive(1)) == "Adaptive(learning_rate=1.0, factor=0.2, patience=10, tol=0.0001, least=1e-06)"
