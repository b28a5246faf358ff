"""Learning rates of layers and tables, of which some are frozen: the reference, unchanged bits, programs, errors."""

from __future__ import annotations

import copy
import itertools
import re
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, reference
from fastbp.kernels import operations as op
from fastbp.learning_rates import Cosine
from fastbp.optimizers import OPTIMIZERS, AdamW, Custom, Lion, optimizer_of
from fastbp.program import passes
from fastbp.program.network import FROZEN, StepForm
from fastbp.program.tuning import Tuning, forced

SIZES, N, BATCH, EPOCHS = (5, 19, 8, 3), 53, 12, 3
STEPS = EPOCHS * -(-N // BATCH)
COLUMNS: dict[int, tuple[int, int]] = {1: (4, 3), 4: (6, 2)}
RATES: dict[str, dict[str, Any]] = {
    "different": {"layer_learning_rates": (0.1, 1, 2.5)},
    "first layer frozen": {"layer_learning_rates": [0, 1, 1]},
    "two frozen": {"layer_learning_rates": np.array([0.0, 0.0, 0.5])},
    "last layer frozen": {"layer_learning_rates": (1.0, 0.3, 0)},
}
TABLES: dict[str, dict[str, Any]] = {
    "one table frozen": {"layer_learning_rates": (0.1, 1, 0), "embedding_learning_rates": {4: 0.0, 1: 0.5}},
    "tables frozen": {"embedding_learning_rates": 0.0},
    "first layer and tables frozen": {"layer_learning_rates": (0, 1, 1), "embedding_learning_rates": 0},
    "only tables": {"layer_learning_rates": (0, 0, 0)},
}
CASES = [*((name, False) for name in RATES), *((name, True) for name in (*RATES, *TABLES))]


def case(embedded: bool, dtype: str = "float64", loss: str = "softmax_cross_entropy") -> tuple[MLP, Any, Any]:
    net = MLP(SIZES, ("tanh", "gelu"), loss, dtype=dtype, seed=3, embeddings=COLUMNS if embedded else None)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, SIZES[0])).astype(dtype)
    for column, (levels, _) in COLUMNS.items() if embedded else ():
        X[:, column] = rng.integers(0, levels, N)
    if loss != "softmax_cross_entropy":
        return net, X, rng.normal(size=(N, SIZES[-1])).astype(dtype)
    return net, X, rng.integers(0, SIZES[-1], N)


def given(name: str) -> dict[str, Any]:
    return (RATES | TABLES)[name]


def factors(name: str, embedded: bool) -> tuple[list[float], list[float]]:
    """Of each layer, and of each table."""
    layers, tables = given(name).get("layer_learning_rates", (1, 1, 1)), given(name).get("embedding_learning_rates", 1)
    of_tables = [tables[column] if isinstance(tables, dict) else tables for column in COLUMNS] if embedded else []
    return [float(each) for each in layers], [float(each) for each in of_tables]


def parts_of(net: MLP) -> tuple[Any, Any, Any]:
    return net.embeddings, net.weights, net.biases


@pytest.mark.parametrize("clipped", [None, 0.2])
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw", "lion"])
@pytest.mark.parametrize("name, embedded", CASES)
def test_fit_agrees_with_the_reference(name: str, embedded: bool, optimizer: str, clipped: float | None) -> None:
    net, X, y = case(embedded)
    draws = copy.deepcopy(net.rng)
    order = [draws.permutation(N) for _ in range(EPOCHS)]
    rate = Cosine(0.03, warmup=0.2)
    layers, tables = factors(name, embedded)
    *parts, losses = reference.embedded_train(
        *parts_of(net), X, y, order, BATCH, rate.at(np.arange(STEPS), STEPS), 0.05, net.activation, optimizer=optimizer,
        max_grad_norm=clipped, layer_rates=layers, table_rates=tables,
    )  # fmt: skip
    history = net.fit(X, y, EPOCHS, BATCH, rate, 0.05, optimizer, max_grad_norm=clipped, **given(name))
    expected = [*parts[0].values(), *parts[1], *parts[2]]
    for one, other in zip([*net.embeddings.values(), *net.weights, *net.biases], expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * max(1.0, np.abs(other).max()))
    counts = [min(BATCH, N - begin) for begin in range(0, N, BATCH)]
    np.testing.assert_allclose(history.loss, losses.reshape(EPOCHS, -1) @ counts / N, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, AdamW(weight_decay=0.5), Lion(weight_decay=0.5)], ids=str)
@pytest.mark.parametrize("name, embedded", CASES)
def test_frozen_parameters_keep_their_bits(name: str, embedded: bool, optimizer: Any, dtype: str) -> None:
    """Also where momentum, from steps in which they were trained, decay and the penalty would move them."""
    net, X, y = case(embedded, dtype)
    net.partial_fit(X, y, BATCH, optimizer=optimizer)
    before = copy.deepcopy(net)
    for options in ({}, {"max_grad_norm": 0.1}):
        net.partial_fit(X, y, BATCH, l2=0.1, optimizer=optimizer, **options, **given(name))
        net.fit(X, y, 2, BATCH, l2=0.1, optimizer=optimizer, **options, **given(name))
    layers, tables = factors(name, embedded)
    parts = [[*each.embeddings.values(), *each.weights, *each.biases] for each in (net, before)]
    for one, other, factor in zip(*parts, [*tables, *layers, *layers], strict=True):
        assert (one.tobytes() == other.tobytes()) == (factor == 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_factors_of_1_are_none(optimizer: str) -> None:
    one, X, y = case(True, "float32")
    same = copy.deepcopy(one)
    one.fit(X, y, EPOCHS, BATCH, optimizer=optimizer)
    same.fit(
        X, y, EPOCHS, BATCH, optimizer=optimizer, layer_learning_rates=[1, 1.0, 1], embedding_learning_rates={4: 1}
    )
    np.testing.assert_array_equal(one.parameters, same.parameters)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_factor_for_all_is_another_learning_rate(optimizer: str) -> None:
    """By powers of two, to the bit."""
    one, X, y = case(True, "float32")
    other = copy.deepcopy(one)
    one.fit(X, y, EPOCHS, BATCH, 0.02, 0.01, optimizer)
    other.fit(X, y, EPOCHS, BATCH, 0.04, 0.01, optimizer, layer_learning_rates=[0.5] * 3, embedding_learning_rates=0.5)
    np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("loss", ["quantile", "huber"])
def test_coefficients_behind_those_of_each_output(loss: str) -> None:
    """The coefficients of factors lie behind a constant for each output."""
    net, X, y = case(False, loss=loss)
    if loss == "quantile":
        net = MLP(SIZES, ("tanh", "gelu"), loss, "float64", seed=3, quantile_level=[0.1, 0.5, 0.9])
    start, order = copy.deepcopy(net), [np.arange(N)] * 2
    Ws, bs, _ = reference.train(
        start.weights, start.biases, X, y, order, BATCH, 0.02, 0.0, net.activation, optimizer="adam", loss_name=loss,
        layer_rates=(0.5, 1, 3), **net.constants,
    )  # fmt: skip
    net.fit(X, y, 2, BATCH, 0.02, 0.0, "adam", False, layer_learning_rates=(0.5, 1, 3))
    for one, other in zip([*net.weights, *net.biases], [*Ws, *bs], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


WAYS = {
    "none": Tuning(), "2 x 2 parts": Tuning(row_parts=2, column_parts=2), "slabs": Tuning(slabs=True, row_parts=3),
    "specialised": Tuning(specialised=True), "parallel": Tuning(parallel=True),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name, embedded", CASES)
def test_the_same_bits_however_a_step_is_cut(name: str, embedded: bool, optimizer: str) -> None:
    found = set()
    for way, threads in itertools.product(WAYS.values(), (1, 2)):
        with forced(way), fastbp.threads.limit(threads):
            net, X, y = case(embedded, "float32")
            net.fit(X, y, EPOCHS, BATCH, 0.02, 0.01, optimizer, max_grad_norm=None, **given(name))
            found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_many_networks_each_with_its_own() -> None:
    _, X, y = case(False, "float32")
    for rates in ((0.5, 1, 0), [(0.5, 1, 0), None]):
        nets = [MLP(SIZES, seed=seed) for seed in range(2)]
        alone = copy.deepcopy(nets)
        fastbp.fit_many(nets, X, y, epochs=2, layer_learning_rates=rates)
        each = rates if isinstance(rates, list) else [rates] * 2
        for net, one, own in zip(nets, alone, each, strict=True):
            one.fit(X, y, epochs=2, layer_learning_rates=own)
            np.testing.assert_array_equal(net.parameters, one.parameters)


# ---- programs ----


def codes(form: StepForm, embedded: bool = False) -> list[int]:
    net, *_ = case(embedded)
    return passes.training_step(net.model.network, BATCH, net.dtype, 1, form, Tuning()).table[:, op.CODE].tolist()


def products(form: StepForm, embedded: bool = False) -> int:
    return sum(code in (op.GEMM, op.GEMM_BY_ROWS) for code in codes(form, embedded))


def test_frozen_layers_at_the_bottom_take_no_way_back() -> None:
    sgd, adam = StepForm("labels"), StepForm("labels", update=optimizer_of("adam").form)
    for form in (sgd, adam):
        assert products(form) == 3 + 2 + 3  # forward, back to the first layer's outputs, gradients
        assert products(form._replace(rates=(FROZEN, 0, 0))) == 3 + 1 + 2
        assert products(form._replace(rates=(FROZEN, FROZEN, 0))) == 3 + 0 + 1
        assert products(form._replace(rates=(0, 0, FROZEN))) == 3 + 2 + 2
        assert products(form._replace(rates=(FROZEN, 0, 0, FROZEN, FROZEN)), True) == 3 + 1 + 2
        assert products(form._replace(rates=(FROZEN, 0, 0, FROZEN, 0)), True) == 3 + 3 + 2
    assert op.UPDATE not in codes(sgd._replace(rates=(FROZEN, 0, 0)))  # fused still
    assert codes(sgd._replace(rates=(0, 99, 0))).count(op.UPDATE) == 6


# ---- errors ----


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"layer_learning_rates": (1, 1)}, ValueError, "got 2 factors, expected 3: one for each layer"),
        ({"layer_learning_rates": 0.5}, TypeError, "got 0.5, expected a sequence of 3 numbers, "),
        ({"layer_learning_rates": {0: 1.0}}, TypeError, "got {0: 1.0}, expected a sequence of 3 numbers, "),
        ({"layer_learning_rates": (1, -1, 1)}, ValueError, "got -1.0, expected a number of at least 0"),
        ({"layer_learning_rates": (1, np.nan, 1)}, ValueError, "got nan, expected a number of at least 0"),
        ({"layer_learning_rates": (1, 1, "0")}, TypeError, "got '0', expected a number of at least 0"),
        ({"layer_learning_rates": (0, 0, 0)}, ValueError, "got 0 for all that is trained, expected a factor above 0"),
        ({"embedding_learning_rates": 0.0}, ValueError, "got 0.0, but the network has no embeddings"),
        ({"embedding_learning_rates": {2: 1}}, ValueError, "got column 2, expected embedded ones: there are none"),
        ({"embedding_learning_rates": "all"}, TypeError, "got 'all', expected a number of at least 0"),
    ],
)  # fmt: skip
def test_errors(options: dict[str, Any], kind: Any, message: str) -> None:
    net, X, y = case(False)
    before = net.parameters.copy()
    for method in (net.fit, net.partial_fit):
        with pytest.raises(kind, match=rf"^{next(iter(options))}(\[\d\])?: {re.escape(message)}"):
            method(X, y, **options)
    np.testing.assert_array_equal(net.parameters, before)


def test_an_optimizer_of_your_own_refuses_them() -> None:
    class Plain(Custom):
        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            parameters -= step.learning_rate * gradient

    net, X, y = case(False)
    with pytest.raises(ValueError, match="^layer_learning_rates: got factors other than 1 and Plain, an optimizer"):
        net.fit(X, y, optimizer=Plain(), layer_learning_rates=(0, 1, 1))
    net.fit(X, y, optimizer=Plain(), layer_learning_rates=(1, 1, 1))
    embedded = MLP((5, 8, 3), embeddings={1: (4, 3)}, seed=0)
    with pytest.raises(ValueError, match="^embedding_learning_rates: got factors other than 1 and Plain, an optimizer"):
        embedded.fit(X, y, optimizer=Plain(), embedding_learning_rates=0)
