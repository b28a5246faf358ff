"""Optimizers: their coefficients, carried out by the compiled pass, against the textbooks' steps."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fastbp import MLP, optimizers, reference
from fastbp.kernels import coefficients as co
from fastbp.kernels import operations as op
from fastbp.kernels.updates import UPDATES
from fastbp.optimizers import (
    LEAST_EPSILON,
    OPTIMIZERS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
    optimizer_of,
)
from fastbp.program.run import Operands, run
from fastbp.program.table import Program, operation
from support.comparisons import assert_within

STEPS = 50
EPS = float(np.finfo(np.float64).eps)
NAMES = {kind: name for name, kind in OPTIMIZERS.items()}
EVERY = [kind() for kind in OPTIMIZERS.values()]
OTHERS = [Momentum(0.5), Momentum(0), Nesterov(0.99), Adam(0, 0, 1e-3), Adam(0.5, 0.9), AdamW(weight_decay=0.5),
          AdamW(0.8, 0.99, 1e-4, 0), RMSprop(0.5, 0.1), RMSprop(0), AdaGrad(1.0)]  # fmt: skip


def coefficients(optimizer: Optimizer, steps: Any, learning_rate: Any) -> Any:
    """One row a step, of which all that the optimizer does not give is 0."""
    rates = np.broadcast_to(np.float64(learning_rate), len(steps))
    given = optimizer.coefficients(np.asarray(steps, np.int64), rates)
    return co.table(len(steps), {"keep": 1.0, **given})


def updated(optimizer: Optimizer, row: Any, w: Any, g: Any, state: Any) -> tuple[Any, Any]:
    """What the compiled pass makes of weights (n,) and their state (states, n) by one row of coefficients."""
    n = len(w)
    parameters, buffer = np.array(w), np.concatenate([g, *state])
    update = operation(
        op.UPDATE, kind=UPDATES[optimizer.form].kind, takes_part=op.DECAY, row_end=1, column_end=n,
        a=(op.GRADIENT, 0), b=(op.GRADIENT, n, n), c=(op.PARAMETERS, 0, n),
    )  # fmt: skip
    program = Program.of([[[update]]], 1, 1)
    run(program, Operands(parameters, parameters, parameters, buffer, coefficients=np.array(row)))
    return parameters, buffer[n:].reshape(-1, n)


@pytest.mark.parametrize("optimizer", [*EVERY, *OTHERS], ids=str)
def test_the_compiled_pass_carries_out_the_textbook(optimizer: Optimizer) -> None:
    rng = np.random.default_rng(3)
    w = rng.standard_normal(40)
    gradients = rng.standard_normal((STEPS, 40)) * rng.uniform(1e-6, 10, 40)
    gradients[:, 0] = 0.0  # as a unit has whose inputs are always 0
    learning_rate = rng.uniform(0.01, 0.2, STEPS)
    options = dataclasses.asdict(optimizer)
    rows = coefficients(optimizer, np.arange(1, STEPS + 1), learning_rate)
    ours, memory = w, np.zeros((optimizer.states, 40))
    theirs, state = w, ()
    moved = np.abs(w)
    # 20 roundings a step; 1 - beta_2^t and its root carry half an ulp of 1 each way, relative to 1 - beta_2 in step 1.
    per_step = 20 + 2 / (1 - options.get("beta_2", 0.0))
    for step in range(STEPS):
        g = gradients[step]
        ours, memory = updated(optimizer, rows[step], ours, g, memory)
        before = theirs
        theirs, state = reference.optimizer_step(
            NAMES[type(optimizer)], theirs, g, state, step + 1, learning_rate[step], **options
        )
        moved = moved + np.abs(theirs - before)
        assert_within(ours, theirs, per_step * (step + 1) * EPS * moved)
    assert (moved[1:] > np.abs(w[1:]) * (1 + 1e-9)).all()


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_the_coefficients_of_its_form_are_given(optimizer: Optimizer) -> None:
    given = optimizer.coefficients(np.arange(1, 4), np.full(3, 0.1))
    assert given.keys() - {"keep"} == set(UPDATES[optimizer.form].coefficients)


@pytest.mark.parametrize("optimizer", [*EVERY, *OTHERS], ids=str)
def test_rows_depend_on_their_own_step_alone(optimizer: Optimizer) -> None:
    learning_rate = np.random.default_rng(0).uniform(0.1, 1, 60)
    whole = coefficients(optimizer, np.arange(1, 61), learning_rate)
    np.testing.assert_array_equal(coefficients(optimizer, np.arange(18, 31), learning_rate[17:30]), whole[17:30])
    assert coefficients(optimizer, [], 0.1).shape == (0, len(co.COEFFICIENTS))


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_steady_ones_give_the_same_numbers_in_every_step(optimizer: Optimizer) -> None:
    rows = coefficients(optimizer, np.arange(1, 61), 0.1)
    same = np.array_equal(rows, np.broadcast_to(rows[0], rows.shape))
    assert same == optimizer.steady == (not isinstance(optimizer, Adam))


def test_bias_correction_ends() -> None:
    rows = coefficients(Adam(), [10**6, 10**12, np.iinfo(np.int64).max], 0.25)
    np.testing.assert_array_equal(rows[:, co.INDEX["first_share"]], 0.25)
    np.testing.assert_array_equal(rows[:, co.INDEX["epsilon"]], 1e-8)


def test_the_first_step_of_adam_is_the_learning_rate() -> None:
    """m̂ = g and v̂ = g²: whatever the gradient, w goes by learning_rate g / (|g| + epsilon)."""
    (row,) = coefficients(Adam(epsilon=0.5), [1], 0.25)
    w, _ = updated(Adam(), row, np.zeros(3), np.array([-1.5, 0.0, 0.5]), np.zeros((2, 3)))
    assert_within(w, [0.25 * 1.5 / 2, 0, -0.25 / 2], 2000 * EPS)


def test_epsilon_never_vanishes_in_float32() -> None:
    """0 / (sqrt(0) + epsilon) is 0, and NaN were epsilon rounded to 0."""
    optimizers = [
        Adam(beta_2=1 - 2**-53, epsilon=LEAST_EPSILON),
        RMSprop(epsilon=LEAST_EPSILON),
        AdaGrad(LEAST_EPSILON),
    ]
    for optimizer in optimizers:
        (row,) = coefficients(optimizer, [1], 0.1)
        assert np.float32(row[co.INDEX["epsilon"]]) >= np.finfo(np.float32).tiny


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_the_classes_say(name: str) -> None:
    optimizer = optimizer_of(name)
    assert type(optimizer) is OPTIMIZERS[name]
    expected = {"sgd": 0.1, "momentum": 0.1, "nesterov": 0.1, "adagrad": 0.01, "lion": 0.0001}.get(name, 0.001)
    assert optimizer.default_learning_rate == expected
    assert optimizer_of(optimizer) is optimizer
    assert f'"{name}"' in (MLP.fit.__doc__ or "")
    assert optimizer == OPTIMIZERS[name]() and hash(optimizer) == hash(OPTIMIZERS[name]())
    assert eval(repr(optimizer), vars(optimizers)) == optimizer


def test_hyper_parameters_become_plain_floats_and_stay() -> None:
    optimizer: Any = AdamW(np.float32(0.5), 0, np.float64(1e-3), np.int8(1))
    assert [type(value) for value in dataclasses.astuple(optimizer)] == [float] * 4
    assert optimizer == AdamW(0.5, 0.0, 1e-3, 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.beta_1 = 0.1


@pytest.mark.parametrize("value", [-0.1, 1.0, np.nan, np.inf, -np.inf, 10**400])
@pytest.mark.parametrize(("kind", "name"), [(Momentum, "momentum"), (Nesterov, "momentum"), (Adam, "beta_1"),
                                            (Adam, "beta_2"), (AdamW, "beta_2"), (RMSprop, "smoothing")])  # fmt: skip
def test_shares_lie_below_one(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: got .*, expected a number from 0 to below 1$"):
        kind(**{name: value})


@pytest.mark.parametrize("value", [-1e-8, 0.0, 9e-30, np.nan, np.inf])
@pytest.mark.parametrize("kind", [Adam, AdamW, RMSprop, AdaGrad])
def test_epsilon_is_positive(kind: Any, value: float) -> None:
    with pytest.raises(ValueError, match=r"^epsilon: got .*, expected a finite number of at least 1e-29$"):
        kind(epsilon=value)


def test_weight_decay_is_not_negative() -> None:
    with pytest.raises(ValueError, match=r"^weight_decay: got -0.1, expected a finite number of at least 0$"):
        AdamW(weight_decay=-0.1)


@pytest.mark.parametrize("value", ["0.9", True, None, 1j, [0.9, 0.1], b"0"], ids=str)
def test_hyper_parameters_are_numbers(value: Any) -> None:
    for kind, name in [(Momentum, "momentum"), (Adam, "epsilon"), (AdamW, "weight_decay"), (RMSprop, "smoothing")]:
        with pytest.raises(TypeError, match=f"^{name}: got "):
            kind(**{name: value})


@pytest.mark.parametrize("value", ["Adam", "", None, 3, ["sgd"], {}, object()], ids=lambda value: type(value).__name__)
def test_unknown_optimizers(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^optimizer: got .*, expected one of 'sgd', 'momentum', .*, 'adagrad'"):
        optimizer_of(value)


def test_a_class_is_no_optimizer() -> None:
    with pytest.raises(ValueError, match=r"^optimizer: got the class Adam, expected an object of it, Adam\(\)$"):
        optimizer_of(Adam)
    assert optimizer_of(SGD()) == SGD()
